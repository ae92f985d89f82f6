//! One connection, encrypted or not: frames in, answers out as they become ready. One task does both, so that an answer
//! that is known at once costs no way between tasks; an idle connection holds next to no memory.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::engine::{Decider, Peer, Verdict};
use crate::wire::STREAM_MAX;

use super::Shared;

/// Room to read into, and what an idle connection keeps of it: some queries.
const ROOM: usize = 512;
/// Room for a client that fills it.
const MORE_ROOM: usize = 16 * 1024;
/// Answers are gathered up to about this many octets for one write.
const WRITE: usize = 64 * 1024;
/// How long the end of a connection may take to say.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer, shared: &Arc<Shared>) {
    let decider = shared.decider.clone();
    let connection = Connection {
        stream,
        peer,
        shared,
        decider,
        input: Vec::new(),
        room: ROOM,
        output: Vec::new(),
        late: None,
        in_flight: 0,
        all_said: false,
    };
    connection.run().await;
}

/// Where answers come that were not known at once; an empty one: there is none.
type Late = (mpsc::Sender<Vec<u8>>, mpsc::Receiver<Vec<u8>>);

/// A connection being served.
struct Connection<'s, S> {
    stream: S,
    peer: Peer,
    shared: &'s Arc<Shared>,
    decider: Decider,
    /// What has come and is not decided about.
    input: Vec<u8>,
    /// How much is read at once.
    room: usize,
    /// What is to be written.
    output: Vec<u8>,
    /// Made with the first query that has to be asked for, and let go with the last.
    late: Option<Late>,
    /// Queries that are being asked for.
    in_flight: usize,
    /// No more is read.
    all_said: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<'_, S> {
    /// Serves until the client ends, is idle or takes no answers for too long, or the server stops.
    async fn run(mut self) {
        let idle = self.shared.settings.idle;
        let limit = self.shared.settings.max_in_flight;
        let end = Instant::now() + self.shared.settings.total;
        // When something whole last came or went: single octets are no sign of life.
        let mut alive = Instant::now();
        // Looked at when it rings, not set anew with every query.
        let mut alarm = pin!(sleep_until(end.min(alive + idle)));
        let mut stopped = self.shared.stopped.clone();
        let mut stop = pin!(stopped.wait_for(|&stop| stop));
        loop {
            if self.take() > 0 {
                alive = Instant::now();
            }
            if !self.output.is_empty() {
                let patience = end.min(alive + idle);
                if !matches!(timeout_at(patience, self.write()).await, Ok(Ok(()))) {
                    return;
                }
                alive = Instant::now();
                continue;
            }
            if self.all_said && self.in_flight == 0 {
                break;
            }
            let (listens, asked) = (!self.all_said, self.in_flight > 0);
            let reads = listens && self.in_flight < limit;
            let Self { stream, input, late, room, .. } = &mut self;
            tokio::select! {
                biased;
                read = fill(stream, input, room), if reads => match read {
                    Ok(0) => self.all_said = true,
                    Ok(_) => {}
                    Err(_) => return,
                },
                answer = next(late), if asked => {
                    self.answered(&answer);
                    alive = Instant::now();
                }
                _ = &mut stop, if listens => self.all_said = true,
                () = &mut alarm => {
                    let now = Instant::now();
                    if now >= end {
                        break;
                    }
                    if now >= alive + idle {
                        // Idle means that the client owes us a query, not that we owe it an answer (RFC 7766 section 6.2.3).
                        if self.in_flight == 0 {
                            break;
                        }
                        alive = now;
                    }
                    alarm.as_mut().reset(end.min(alive + idle));
                }
            }
        }
        let _ = timeout_at(Instant::now() + GOODBYE, self.stream.shutdown()).await;
    }

    /// Decides about all that has come, as far as the limits let it; says how many queries and late answers that were.
    fn take(&mut self) -> usize {
        let mut count = 0;
        while let Some(answer) = self.late.as_mut().and_then(|(_, late)| late.try_recv().ok()) {
            self.answered(&answer);
            count += 1;
        }
        if self.input.is_empty() {
            return count;
        }
        // Not kept from one time to the next: idle connections would hold old sets.
        let snapshot = self.shared.engine.snapshot();
        let Self { peer, shared, decider, input, output, late, in_flight, .. } = self;
        let limit = shared.settings.max_in_flight;
        let mut done = 0;
        while *in_flight < limit
            && output.len() < WRITE
            && let Some(end) = frame(&input[done..])
        {
            let message = &input[done + 2..done + end];
            done += end;
            count += 1;
            let verdict = shared.decided(decider, &snapshot, message, *peer, |verdict, reply| {
                reply.inspect(|reply| put(output, reply));
                verdict
            });
            if let Verdict::Resolve(_) = verdict {
                *in_flight += 1;
                let late = late.get_or_insert_with(|| mpsc::channel(limit)).0.clone();
                let (snapshot, message) = (Arc::clone(&snapshot), message.to_vec());
                let (engine, peer, mut decider) = (Arc::clone(&shared.engine), *peer, decider.clone());
                shared.upstreams.spawn(async move {
                    let answer = engine.resolve(&snapshot, &message, peer, &mut decider).await;
                    answer.iter().for_each(|answer| decider.answered(peer, answer));
                    // The client may have gone; then nobody wants the answer.
                    let _ = late.send(answer.unwrap_or_default()).await;
                });
            }
        }
        input.drain(..done);
        if input.is_empty() {
            input.shrink_to(ROOM);
        }
        count
    }

    /// An answer that was asked for is there.
    fn answered(&mut self, answer: &[u8]) {
        self.in_flight -= 1;
        if self.in_flight == 0 {
            self.late = None;
        }
        if !answer.is_empty() {
            put(&mut self.output, answer);
        }
    }

    /// Writes all answers there are, in as few segments as may be.
    async fn write(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output).await?;
        self.stream.flush().await?;
        self.output.clear();
        self.output.shrink_to(ROOM);
        Ok(())
    }
}

/// Reads what there is, into more room for who fills it. Cancel safe.
async fn fill(stream: &mut (impl AsyncRead + Unpin), input: &mut Vec<u8>, room: &mut usize) -> io::Result<usize> {
    input.reserve(*room);
    let read = stream.read_buf(input).await?;
    *room = if read >= *room { (*room * 4).min(MORE_ROOM) } else { read.next_power_of_two().clamp(ROOM, *room) };
    Ok(read)
}

/// The next late answer; never without any. Cancel safe.
async fn next(late: &mut Option<Late>) -> Vec<u8> {
    match late {
        // Its sender is here as well, so there always may be another.
        Some((_, late)) => late.recv().await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

/// Where the first frame in `buffer` ends, if it is there as a whole.
fn frame(buffer: &[u8]) -> Option<usize> {
    let len = buffer.first_chunk::<2>().map(|len| usize::from(u16::from_be_bytes(*len)))?;
    (buffer.len() >= 2 + len).then_some(2 + len)
}

/// Adds an answer with its length in front (RFC 1035 section 4.2.2).
fn put(output: &mut Vec<u8>, answer: &[u8]) {
    let answer = answer.get(..STREAM_MAX).unwrap_or(answer);
    output.extend_from_slice(&(answer.len() as u16).to_be_bytes());
    output.extend_from_slice(answer);
}
