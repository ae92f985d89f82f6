//! What TLS writes to, gathering: HTTP flushes after every answer, but answers that are ready together shall go out with
//! one system call. Each stays a TLS record of its own: dnsperf (2.10) keeps one answer only of those in a record.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Octets that wait at most.
const MAX: usize = 64 * 1024;
/// Room that is kept for the next ones.
const KEPT: usize = 16 * 1024;

/// A stream that two hold: TLS reads and writes, and whoever drives the connection sends what has gathered. Both are the
/// same task, so the lock is always free.
#[derive(Debug)]
pub(in super::super) struct Gather<S>(Arc<Mutex<Pipe<S>>>);

/// What both ends share.
#[derive(Debug)]
struct Pipe<S> {
    stream: S,
    waiting: Vec<u8>,
    /// Nothing is sent before it is said; until then every flush sends.
    gathering: bool,
    /// The stream has taken octets that it may still hold.
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gather<S> {
    /// Passes everything on at once, until [`Self::gathering`].
    pub fn over(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Pipe { stream, waiting: Vec::new(), gathering: false, unflushed: false })))
    }

    /// From now on nothing is sent but by what this gives.
    pub fn gathering(&self) -> Self {
        self.pipe().gathering = true;
        Self(Arc::clone(&self.0))
    }

    /// Sends what has gathered.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe().poll_send(cx)
    }

    /// See [`Gather`].
    fn pipe(&self) -> MutexGuard<'_, Pipe<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Pipe<S> {
    /// Sends what has gathered.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, waiting, unflushed, .. } = self;
        let mut sent = 0;
        let outcome = loop {
            if sent == waiting.len() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut *stream).poll_write(cx, &waiting[sent..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(more)) => sent += more,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        *unflushed |= sent > 0;
        waiting.drain(..sent);
        waiting.shrink_to(KEPT);
        ready!(outcome)?;
        if *unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            *unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gather<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.pipe();
        if pipe.waiting.len() >= MAX {
            ready!(pipe.poll_send(cx))?;
        }
        pipe.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// When gathering it is done by who drives the connection.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.pipe();
        if pipe.gathering { Poll::Ready(Ok(())) } else { pipe.poll_send(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.pipe();
        ready!(pipe.poll_send(cx))?;
        Pin::new(&mut pipe.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn nothing_goes_out_before_it_is_sent_and_then_all_of_it() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut gather = Gather::over(ours);
        let driver = gather.gathering();
        for part in ["one ", "two ", "and much more than the pipe takes"] {
            gather.write_all(part.as_bytes()).await.expect("taken");
            gather.flush().await.expect("nothing to wait for");
        }
        let mut byte = [0];
        let early = tokio::time::timeout(std::time::Duration::from_millis(20), theirs.read_exact(&mut byte)).await;
        assert!(early.is_err(), "sent before its time");
        let sending = tokio::spawn(async move { poll_fn(|cx| driver.poll_send(cx)).await });
        let mut text = vec![0; 41];
        theirs.read_exact(&mut text).await.expect("all of it");
        assert_eq!(text, b"one two and much more than the pipe takes");
        sending.await.expect("it ended").expect("sent");
    }

    #[tokio::test]
    async fn before_it_gathers_a_flush_sends() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut gather = Gather::over(ours);
        gather.write_all(b"hello").await.expect("taken");
        gather.flush().await.expect("sent");
        let mut text = [0; 5];
        theirs.read_exact(&mut text).await.expect("all of it");
        assert_eq!(&text, b"hello");
    }

    #[tokio::test]
    async fn what_nobody_reads_does_not_gather_without_end() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let mut gather = Gather::over(ours);
        gather.gathering();
        let mut taken = 0;
        let stuck = async {
            loop {
                taken += gather.write(&[0; 1000]).await.expect("open");
            }
        };
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), stuck).await.is_err());
        assert!((MAX..MAX + 2000).contains(&taken), "{taken}");
    }
}
