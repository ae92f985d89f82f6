//! The connections to one server: few, shared by many questions, made once for all who wait, and remade when they end.
//!
//! hickory's exchange takes 32 questions at once and fails those beyond, opens a connection for each caller of a burst,
//! reads every answer into a message and writes it again; here two thousand questions share two connections and an
//! answer is what came. What is spoken on a connection is in `framed`, `http` and `quic`, for which quinn, h2 and h3
//! are used as they are.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use super::Trouble;
use super::dial::{Dial, Line};

/// Questions on one connection; a server that takes fewer at a time lets the others wait.
const PER_CONNECTION: usize = 1024;
/// With so many on each, another connection is opened beside them.
const SPREAD: usize = 64;
/// A connection unused for so long is closed, before the server does it (RFC 7766 section 6.2.3).
const IDLE: Duration = Duration::from_secs(8);
/// A question unanswered for so long on a connection on which nothing has come since says that it is dead.
const STALLED: u64 = 900;
/// How often a question is sent again because its connection ended.
const RETRIES: usize = 3;
/// A server that could not be reached is left alone for so long by all but the first who asked.
const PAUSE: Duration = Duration::from_millis(100);

/// How a connecting ended.
type Connecting = watch::Receiver<Option<Result<(), Trouble>>>;

/// See the module's headline.
pub(super) struct Pool(Arc<Inner>);

/// What came.
pub(super) struct Answered {
    /// The message.
    pub(super) message: Vec<u8>,
    /// Who gave it.
    pub(super) from: SocketAddr,
    /// How long it took, connecting not counted: that a server is new to us does not make it a slow one.
    pub(super) took: Duration,
}

/// What connecting tasks share with those who ask.
struct Inner {
    dial: Arc<Dial>,
    most: usize,
    room: Semaphore,
    state: Mutex<State>,
    start: Instant,
}

/// What there is.
#[derive(Default)]
struct State {
    open: Vec<Arc<Connection>>,
    connecting: Option<Connecting>,
    failed: Option<(Instant, Trouble)>,
}

/// An open connection. Times are milliseconds since the pool's start.
struct Connection {
    line: Line,
    address: SocketAddr,
    under_way: AtomicUsize,
    used: AtomicU64,
    heard: AtomicU64,
    answered: AtomicU64,
    retired: AtomicBool,
}

impl Pool {
    /// At most `most` connections; opens none yet.
    pub(super) fn new(dial: Dial, most: usize) -> Self {
        Self(Arc::new(Inner {
            dial: Arc::new(dial),
            most,
            room: Semaphore::new(most.saturating_mul(PER_CONNECTION)),
            state: Mutex::default(),
            start: Instant::now(),
        }))
    }

    /// Asks once and waits without end: the caller knows how long.
    pub(super) async fn ask(&self, question: &[u8]) -> Result<Answered, Trouble> {
        let _room = self.0.room.acquire().await.map_err(|_| Trouble::Unreachable)?;
        let mut tries = 0;
        loop {
            let place = self.place().await?;
            let sent = Instant::now();
            match place.ask(&self.0, question).await {
                // The server may have closed it just when we wrote: that is no failure of the server's.
                Err(Trouble::Unreachable) if place.has_proved() && tries < RETRIES => tries += 1,
                Err(trouble) => return Err(trouble),
                Ok(message) => {
                    return Ok(Answered { message, from: place.connection.address, took: sent.elapsed() });
                }
            }
        }
    }

    /// A place on a connection that is open, or on a new one.
    async fn place(&self) -> Result<Place, Trouble> {
        let mut last = None;
        loop {
            let mut connecting = {
                let mut state = self.0.lock();
                state.open.retain(|connection| connection.is_usable());
                let least = state.open.iter().min_by_key(|connection| connection.under_way()).cloned();
                if let Some(connection) = least.as_ref().filter(|connection| connection.under_way() < SPREAD) {
                    return Ok(Place::take(connection, &self.0));
                }
                // A task that went down with its runtime tells nobody.
                if state.connecting.as_ref().is_some_and(|connecting| connecting.has_changed().is_err()) {
                    state.connecting = None;
                }
                if state.connecting.is_none() && state.open.len() < self.0.most {
                    match (last, state.failed) {
                        (Some(trouble), _) if least.is_none() => return Err(trouble),
                        (_, Some((at, trouble))) if at.elapsed() < PAUSE => {
                            if least.is_none() {
                                return Err(trouble);
                            }
                        }
                        _ => state.connecting = Some(self.0.connect()),
                    }
                }
                match (least, &state.connecting) {
                    (Some(least), None) => return Ok(Place::take(&least, &self.0)),
                    (Some(least), Some(_)) if least.under_way() < PER_CONNECTION => {
                        return Ok(Place::take(&least, &self.0));
                    }
                    (None, None) => return Err(last.unwrap_or(Trouble::Unreachable)),
                    (_, Some(connecting)) => connecting.clone(),
                }
            };
            last = match connecting.wait_for(Option::is_some).await {
                Ok(ended) => ended.and_then(Result::err),
                Err(_) => Some(Trouble::Unreachable),
            };
        }
    }
}

impl Inner {
    /// The state is whole whenever the lock is free: nothing under it panics half way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now, as connections count.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Connects in a task of its own: whoever asked may go away, the connection serves those who come later.
    fn connect(self: &Arc<Self>) -> Connecting {
        let (sender, receiver) = watch::channel(None);
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            let connected = inner.dial.connect().await;
            let mut state = inner.lock();
            state.connecting = None;
            let ended = match connected {
                Ok((line, address)) => {
                    let now = inner.now();
                    let connection = Arc::new(Connection {
                        line,
                        address,
                        under_way: AtomicUsize::new(0),
                        used: AtomicU64::new(now),
                        heard: AtomicU64::new(now),
                        answered: AtomicU64::new(0),
                        retired: AtomicBool::new(false),
                    });
                    state.open.push(Arc::clone(&connection));
                    state.failed = None;
                    inner.keep(&connection);
                    Ok(())
                }
                Err(trouble) => {
                    state.failed = Some((Instant::now(), trouble));
                    Err(trouble)
                }
            };
            drop(state);
            // Nobody may be waiting any more.
            let _ = sender.send(Some(ended));
        });
        receiver
    }

    /// Closes a connection when it has been idle, or is no longer usable.
    fn keep(self: &Arc<Self>, connection: &Arc<Connection>) {
        let (inner, connection) = (Arc::downgrade(self), Arc::downgrade(connection));
        let start = self.start;
        tokio::spawn(async move {
            loop {
                let Some(used) = connection.upgrade().map(|connection| connection.used.load(Ordering::Relaxed)) else {
                    return;
                };
                let until = start + Duration::from_millis(used) + IDLE;
                sleep_until(until.max(Instant::now() + IDLE / 8)).await;
                let (Some(inner), Some(connection)) = (inner.upgrade(), connection.upgrade()) else { return };
                let mut state = inner.lock();
                let idle = connection.under_way() == 0
                    && inner.now().saturating_sub(connection.used.load(Ordering::Relaxed)) >= IDLE.as_millis() as u64;
                if idle || !connection.is_usable() {
                    connection.retired.store(true, Ordering::Relaxed);
                    state.open.retain(|known| !Arc::ptr_eq(known, &connection));
                    return;
                }
            }
        });
    }
}

impl Connection {
    /// Questions on it.
    fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Neither ended nor given up.
    fn is_usable(&self) -> bool {
        !self.retired.load(Ordering::Relaxed) && !self.line.is_closed()
    }
}

/// A place for one question on a connection, given back on drop.
struct Place {
    connection: Arc<Connection>,
    /// Somebody had used the connection before.
    again: bool,
    inner: Arc<Inner>,
    sent: u64,
    open: AtomicBool,
}

impl Place {
    /// Only called under the lock of the pool, so that a connection is not closed as idle meanwhile.
    fn take(connection: &Arc<Connection>, inner: &Arc<Inner>) -> Self {
        let now = inner.now();
        connection.under_way.fetch_add(1, Ordering::Relaxed);
        connection.used.store(now, Ordering::Relaxed);
        let again = connection.answered.load(Ordering::Relaxed) > 0;
        Self {
            connection: Arc::clone(connection),
            again,
            inner: Arc::clone(inner),
            sent: now,
            open: AtomicBool::new(true),
        }
    }

    /// Sends and waits. A connection that fails is not used again.
    async fn ask(&self, inner: &Inner, question: &[u8]) -> Result<Vec<u8>, Trouble> {
        let result = inner.dial.ask(&self.connection.line, question).await;
        self.open.store(false, Ordering::Relaxed);
        match &result {
            Err(Trouble::Unreachable) => self.connection.retired.store(true, Ordering::Relaxed),
            _ => {
                self.connection.heard.store(inner.now(), Ordering::Relaxed);
                self.connection.answered.fetch_add(1, Ordering::Relaxed);
            }
        }
        result
    }

    /// The connection has served: that it ended says nothing about the server.
    fn has_proved(&self) -> bool {
        self.again || self.connection.answered.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.under_way.fetch_sub(1, Ordering::Relaxed);
        let now = self.inner.now();
        self.connection.used.store(now, Ordering::Relaxed);
        // Given up unanswered, and nothing has come in all the time: a line that is cut says nothing.
        let silent = self.connection.heard.load(Ordering::Relaxed) <= self.sent && now - self.sent.min(now) >= STALLED;
        if self.open.load(Ordering::Relaxed) && silent {
            self.connection.retired.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
