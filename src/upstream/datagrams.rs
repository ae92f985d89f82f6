//! Questions over UDP: few sockets for many questions, and still nothing in them to be guessed.
//!
//! Who asks puts his question into the shared state and waits; one task (`drive`) sends what has gathered and reads what
//! has come, many datagrams a system call. A socket is used for a few questions only, so its port is soon another.

mod drive;
mod socket;
mod state;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use super::Trouble;
use super::question::Question;
use state::State;

/// The most questions one port is used for.
#[cfg(test)]
pub(super) const MOST_USES: u32 = socket::USES + state::GROUP as u32;

/// What became of a question.
pub(super) type Answer = Result<Datagram, Trouble>;

/// A reply as it came.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    /// The message.
    pub(super) bytes: Arc<[u8]>,
    /// It was longer than the room for it.
    pub(super) cut: bool,
}

/// What has come that was not asked for, and what was done about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Strange {
    /// Datagrams that answered no question under way.
    pub(super) ignored: u64,
    /// Questions given up because too many of these came for them.
    pub(super) attacked: u64,
}

/// The way to all servers that are asked over UDP. When the last one of its clones is gone, the task ends.
#[derive(Clone)]
pub(super) struct Datagrams(Arc<Owner>);

/// Ends the task on drop.
struct Owner(Arc<Shared>);

/// What those who ask and the task share. The lock is held for a few system calls at most.
struct Shared(Mutex<State>);

impl Shared {
    /// The state is whole whenever the lock is free: nothing in it panics half way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Datagrams {
    /// Opens nothing yet.
    pub(super) fn new() -> Self {
        Self(Arc::new(Owner(Arc::new(Shared(Mutex::new(State::new()))))))
    }

    /// Makes a server known; gives its number.
    pub(super) fn add(&self, server: SocketAddr) -> usize {
        self.0.0.lock().add(server)
    }

    /// Asks server number `server`, `again` if this question was sent to it and is not answered yet. With `mix_case` the
    /// letters of the name are sent in random case, and only a reply that keeps it counts.
    pub(super) fn ask(&self, server: usize, question: Question, again: bool, mix_case: bool) -> Asking {
        let shared = &self.0.0;
        let (key, waker, start) = {
            let mut state = shared.lock();
            let key = state.enqueue(server, question, again, mix_case);
            (key, state.take_driver(), state.start())
        };
        if start {
            drive::start(shared);
        } else if let Some(waker) = waker {
            waker.wake();
        }
        Asking { shared: Arc::clone(shared), key }
    }

    /// What has come that was not asked for.
    pub(super) fn strange(&self) -> Strange {
        self.0.0.lock().strange
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        let waker = state.take_driver();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A question under way; dropped, it is forgotten.
pub(super) struct Asking {
    shared: Arc<Shared>,
    key: usize,
}

impl Future for Asking {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        self.shared.lock().poll(self.key, cx.waker())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.shared.lock().forget(self.key);
    }
}
