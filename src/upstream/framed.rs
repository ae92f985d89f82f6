//! Many questions on one stream, TCP or TLS: each with its length before it, answers in any order (RFC 7766).

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, split};
use tokio::sync::{mpsc, oneshot};

use super::Trouble;

/// Questions on a stream that have no answer yet, those nobody waits for any more included.
const MAX_WAITING: usize = 8192;
/// Questions that are written at once.
const BATCH: usize = 128;
/// Octets that are read at once.
const CHUNK: usize = 16 << 10;

/// A stream. When the last one of its clones is gone, it is closed.
#[derive(Clone)]
pub(super) struct Framed {
    queue: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Arc<Mutex<Waiting>>,
}

/// Who waits for which id.
struct Waiting {
    by_id: HashMap<u16, oneshot::Sender<Vec<u8>>>,
    next: u16,
    closed: bool,
}

impl Framed {
    /// Begins to read and write; needs a runtime.
    pub(super) fn new(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let next = RandomState::new().hash_one(()) as u16;
        let waiting = Arc::new(Mutex::new(Waiting { by_id: HashMap::new(), next, closed: false }));
        let (queue, queued) = mpsc::unbounded_channel();
        let shared = Arc::clone(&waiting);
        tokio::spawn(async move {
            let (read, write) = split(stream);
            tokio::select! {
                _ = read_all(read, &shared) => {}
                _ = write_all(write, queued) => {}
            }
            let mut waiting = lock(&shared);
            waiting.closed = true;
            waiting.by_id.clear();
        });
        Self { queue, waiting }
    }

    /// The stream has ended.
    pub(super) fn is_closed(&self) -> bool {
        lock(&self.waiting).closed
    }

    /// Sends a question under an id of ours and waits for what comes under it.
    pub(super) async fn ask(&self, question: &[u8]) -> Result<Vec<u8>, Trouble> {
        let (sender, receiver) = oneshot::channel();
        let id = lock(&self.waiting).add(sender).ok_or(Trouble::Unreachable)?;
        let rest = question.get(2..).ok_or(Trouble::Garbled)?;
        let len = u16::try_from(question.len()).map_err(|_| Trouble::Garbled)?;
        let mut frame = Vec::with_capacity(question.len() + 2);
        frame.extend(len.to_be_bytes());
        frame.extend(id.to_be_bytes());
        frame.extend(rest);
        self.queue.send(frame).map_err(|_| Trouble::Unreachable)?;
        receiver.await.map_err(|_| Trouble::Unreachable)
    }
}

impl Waiting {
    /// A place under an id that nobody has; none if the stream has ended or is full of what is never answered.
    fn add(&mut self, sender: oneshot::Sender<Vec<u8>>) -> Option<u16> {
        if self.closed || self.by_id.len() >= MAX_WAITING {
            return None;
        }
        while self.by_id.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let id = self.next;
        self.by_id.insert(id, sender);
        self.next = id.wrapping_add(1);
        Some(id)
    }
}

/// The map is whole whenever the lock is free.
fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives each message to who waits for it, until the stream ends or makes no sense.
async fn read_all(read: impl AsyncRead + Unpin, waiting: &Mutex<Waiting>) -> io::Result<()> {
    let mut read = BufReader::with_capacity(CHUNK, read);
    loop {
        let mut message = vec![0; usize::from(read.read_u16().await?)];
        read.read_exact(&mut message).await?;
        let Some(id) = message.first_chunk().copied().map(u16::from_be_bytes) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let waits = lock(waiting).by_id.remove(&id);
        if let Some(sender) = waits {
            // Who went away needs nothing.
            let _ = sender.send(message);
        }
    }
}

/// Writes what is queued, many questions at once, until nobody can queue any more.
async fn write_all(mut write: impl AsyncWrite + Unpin, mut queued: mpsc::UnboundedReceiver<Vec<u8>>) -> io::Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut octets = Vec::new();
    while queued.recv_many(&mut batch, BATCH).await > 0 {
        octets.clear();
        batch.drain(..).for_each(|frame| octets.extend(frame));
        write.write_all(&octets).await?;
        write.flush().await?;
    }
    write.shutdown().await
}
