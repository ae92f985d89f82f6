//! One TCP connection: frames in, answers out as they become ready.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use crate::engine::{Peer, Verdict};
use crate::wire::STREAM_MAX;

use super::Shared;

/// What is read at once, and what a connection keeps while it is idle.
const READ: usize = 4096;
/// The octets that say how long a message is.
const FRONT: usize = 2;
/// Answers are gathered up to this many octets for one write.
const WRITE: usize = 64 * 1024;

/// Serves a connection to its end.
pub async fn serve(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    shared: &Arc<Shared>,
) {
    let deadline = Instant::now() + shared.settings.total;
    let (answers, ready) = mpsc::channel(shared.settings.max_in_flight);
    // The writer ends when the last answer is out, or when the client no longer takes any.
    let idle = shared.settings.idle;
    let writing = tokio::spawn(async move { timeout_at(deadline, write(writer, ready, idle)).await });
    let _ = timeout_at(deadline, read(reader, peer, shared, answers)).await;
    let _ = writing.await;
}

/// Reads frames until the client ends, is idle for too long, or the server stops.
async fn read(
    mut reader: impl AsyncRead + Unpin,
    peer: Peer,
    shared: &Arc<Shared>,
    answers: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let limit = shared.settings.max_in_flight;
    let places = Arc::new(Semaphore::new(limit));
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
            let (verdict, mut answer) = shared.decide(&mut decider, &snapshot, message, peer, FRONT);
            match verdict {
                Verdict::Reply(_) => {
                    put_length(&mut answer);
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
    let mut frame = vec![0; FRONT];
    frame.extend_from_slice(answer.get(..STREAM_MAX).unwrap_or(answer));
    put_length(&mut frame);
    frame
}

/// Writes the length of what stands behind its place.
fn put_length(frame: &mut [u8]) {
    let len = (frame.len() - FRONT) as u16;
    if let Some(front) = frame.first_chunk_mut::<FRONT>() {
        *front = len.to_be_bytes();
    }
}

/// Writes answers as they come, several in one segment where they are ready together.
async fn write(mut writer: impl AsyncWrite + Unpin, mut ready: mpsc::Receiver<Vec<u8>>, patience: Duration) {
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
