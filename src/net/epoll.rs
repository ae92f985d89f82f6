//! Which of many sockets have something: epoll(7), never waiting itself.
#![expect(unsafe_code, reason = "epoll has no safe wrapper among the crates here")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::{EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLLIN, epoll_event};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Sockets shown at one call.
const EVENTS: usize = 64;

/// A set of sockets. It is itself readable when one of them is, so it can be waited for like a socket. Closing a socket
/// takes it out.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
}

/// Room for what [`Epoll::ready`] finds.
#[derive(Debug)]
pub struct Events {
    room: Box<[epoll_event]>,
    found: usize,
}

impl Default for Events {
    fn default() -> Self {
        Self { room: vec![epoll_event { events: 0, u64: 0 }; EVENTS].into(), found: 0 }
    }
}

impl Events {
    /// The tokens of what was found.
    pub fn tokens(&self) -> impl Iterator<Item = u64> + '_ {
        self.room.iter().take(self.found).map(|event| event.u64)
    }

    /// There was no room for more, so there may be more.
    pub fn is_full(&self) -> bool {
        self.found == self.room.len()
    }
}

impl Epoll {
    /// An empty set.
    ///
    /// # Errors
    /// As the system says.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before use.
        let fd = unsafe { libc::epoll_create1(EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Lets tasks of the current runtime wait for it.
    ///
    /// # Errors
    /// As the system says.
    pub fn watch(self) -> io::Result<AsyncFd<Self>> {
        // SAFETY: the descriptor is owned by the value that is given away here, which never changes it; so it is open
        // and the same until the `AsyncFd` is dropped, and `as_raw_fd` gives it every time.
        let watched = unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) };
        watched.map_err(io::Error::from)
    }

    /// Puts a socket in; `token` is what tells it from others. Errors on it (ICMP) are shown too.
    ///
    /// # Errors
    /// As the system says.
    pub fn add(&self, socket: &impl AsRawFd, token: u64) -> io::Result<()> {
        let mut event = epoll_event { events: EPOLLIN as u32, u64: token };
        // SAFETY: `event` lives during the call, which copies it; both descriptors are open.
        let result = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Finds sockets that have something now.
    ///
    /// # Errors
    /// As the system says.
    pub fn ready(&self, events: &mut Events) -> io::Result<()> {
        events.found = 0;
        // SAFETY: the array is alive and its length is true; a timeout of 0 never waits.
        let found =
            unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events.room.as_mut_ptr(), events.room.len() as i32, 0) };
        if found < 0 {
            return Err(io::Error::last_os_error());
        }
        events.found = found as usize;
        Ok(())
    }
}

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
