//! The sockets to one server.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::net::Connected;

use super::super::window::Window;

/// Sockets open at once to one server; each batch of questions takes one of them by chance.
pub(super) const POOL: usize = 32;
/// Questions asked through one socket before another port takes its place.
pub(super) const USES: u32 = 32;
/// Milliseconds after which it does in any case: time to search for the port is what an attacker needs.
pub(super) const AGE: u64 = 5_000;
/// Sockets that are no longer used and wait for their last replies, over all servers. At more, those in use are kept
/// beyond their time.
pub(super) const MAX_RETIRED: usize = 4096;

/// A server.
pub(super) struct Way {
    /// Where it is.
    pub(super) server: SocketAddr,
    /// Questions to be sent: their places, and the serial numbers they had there.
    pub(super) queue: VecDeque<(usize, u64)>,
    /// How many may be sent now.
    pub(super) window: Window,
    /// Of the queued ones, how many were sent before and not answered.
    pub(super) again: u32,
    /// The sockets in use, by their places.
    pub(super) pool: [Option<usize>; POOL],
}

impl Way {
    /// To a server never asked.
    pub(super) fn new(server: SocketAddr) -> Self {
        Self { server, queue: VecDeque::new(), window: Window::new(), again: 0, pool: [None; POOL] }
    }
}

/// A socket with the questions that wait for a reply through it.
pub(super) struct Socket {
    /// The socket itself.
    pub(super) socket: Connected,
    /// Number of its server.
    pub(super) way: usize,
    /// Its place in the pool; `None` once another has taken it.
    pub(super) pooled: Option<usize>,
    /// Ids and places of questions under way. There are few, so they are searched one by one.
    pub(super) pending: Vec<(u16, usize)>,
    /// Questions asked so far.
    pub(super) used: u32,
    /// When it was opened.
    pub(super) opened: u64,
}

impl Socket {
    /// It has served its time.
    pub(super) fn is_spent(&self, now: u64) -> bool {
        self.used >= USES || now.saturating_sub(self.opened) >= AGE
    }

    /// The question with this id.
    pub(super) fn find(&self, id: u16) -> Option<usize> {
        self.pending.iter().find(|(known, _)| *known == id).map(|&(_, key)| key)
    }
}
