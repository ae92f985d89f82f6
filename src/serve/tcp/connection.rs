//! One TCP connection: frames in, answers out as they become ready.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use crate::engine::{Peer, Verdict};
use crate::event::Transport;
use crate::util::Now;
use crate::wire::STREAM_MAX;

use super::Shared;

/// What is read at once, and what a connection keeps while it is idle.
const READ: usize = 4096;
/// Answers are gathered up to this many octets for one write.
const WRITE: usize = 64 * 1024;

thread_local! {
    /// Room for the longest answer, one a runtime thread: idle connections hold no such buffer.
    static OUT: RefCell<Vec<u8>> = RefCell::new(vec![0; STREAM_MAX]);
}

/// Serves a connection to its end.
pub async fn serve(stream: TcpStream, client: SocketAddr, shared: &Arc<Shared>) {
    let deadline = Instant::now() + shared.settings.total;
    let (reader, writer) = stream.into_split();
    let (answers, ready) = mpsc::channel(shared.settings.max_in_flight);
    // The writer ends when the last answer is out, or when the client no longer takes any.
    let idle = shared.settings.idle;
    let writing = tokio::spawn(async move { timeout_at(deadline, write(writer, ready, idle)).await });
    let _ = timeout_at(deadline, read(reader, client, shared, answers)).await;
    let _ = writing.await;
}

/// Reads frames until the client ends, is idle for too long, or the server stops.
async fn read(
    mut reader: OwnedReadHalf,
    client: SocketAddr,
    shared: &Arc<Shared>,
    answers: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let limit = shared.settings.max_in_flight;
    let places = Arc::new(Semaphore::new(limit));
    let peer = Peer { address: client, transport: Transport::Tcp };
    let mut decider = shared.decider.clone();
    let mut stopped = shared.stopped.clone();
    let mut buffer: Vec<u8> = Vec::with_capacity(READ);
    loop {
        let mut done = 0;
        while let Some(end) = frame(&buffer[done..]) {
            let message = &buffer[done + 2..done + end];
            done += end;
            // Not kept from one query to the next: idle connections would hold old sets.
            let snapshot = shared.engine.snapshot();
            let (verdict, answer) = OUT.with_borrow_mut(|out| {
                let verdict = decider.decide(&snapshot, message, peer, Now::read(), out);
                (verdict, if let Verdict::Reply(len) = verdict { framed(&out[..len]) } else { Vec::new() })
            });
            match verdict {
                Verdict::Reply(_) => {
                    if answers.send(answer).await.is_err() {
                        return Ok(());
                    }
                }
                Verdict::Drop => {}
                Verdict::Resolve(_) => {
                    let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
                    let (snapshot, message) = (Arc::clone(&snapshot), message.to_vec());
                    let (engine, answers) = (Arc::clone(&shared.engine), answers.clone());
                    let mut decider = decider.clone();
                    shared.upstreams.spawn(async move {
                        let _place = place;
                        if let Some(answer) = engine.resolve(&snapshot, &message, peer, &mut decider).await {
                            decider.answered(peer, &answer);
                            // The client may have gone; then nobody wants the answer.
                            let _ = answers.send(framed(&answer)).await;
                        }
                    });
                }
            }
        }
        buffer.drain(..done);
        buffer.shrink_to(READ);
        let read = tokio::select! {
            read = timeout(shared.settings.idle, reader.read_buf(&mut buffer)) => read,
            _ = stopped.wait_for(|&stop| stop) => return Ok(()),
        };
        match read {
            Ok(Ok(0)) => return Ok(()),
            Ok(result) => _ = result?,
            // Idle means that the client owes us a query, not that we owe it an answer (RFC 7766 section 6.2.3).
            Err(_) if places.available_permits() < limit => {}
            Err(_) => return Ok(()),
        }
    }
}

/// Where the first frame in `buffer` ends, if it is there as a whole.
fn frame(buffer: &[u8]) -> Option<usize> {
    let len = buffer.first_chunk::<2>().map(|len| usize::from(u16::from_be_bytes(*len)))?;
    (buffer.len() >= 2 + len).then_some(2 + len)
}

/// An answer with its length in front (RFC 1035 section 4.2.2).
fn framed(answer: &[u8]) -> Vec<u8> {
    let len = answer.len().min(STREAM_MAX);
    let mut frame = Vec::with_capacity(2 + len);
    frame.extend_from_slice(&(len as u16).to_be_bytes());
    frame.extend_from_slice(&answer[..len]);
    frame
}

/// Writes answers as they come, several in one segment where they are ready together.
async fn write(mut writer: OwnedWriteHalf, mut ready: mpsc::Receiver<Vec<u8>>, patience: std::time::Duration) {
    while let Some(mut bytes) = ready.recv().await {
        while bytes.len() < WRITE
            && let Ok(more) = ready.try_recv()
        {
            bytes.extend_from_slice(&more);
        }
        if !matches!(timeout(patience, writer.write_all(&bytes)).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = writer.shutdown().await;
}
