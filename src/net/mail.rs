//! Datagrams that are not answered where they are read: a batch out, a batch in, with buffers made once.
#![expect(unsafe_code, reason = "recvmmsg and sendmmsg have no safe wrapper")]

use std::io;
use std::mem::zeroed;
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use libc::{iovec, mmsghdr};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::address::{CONTROL, Control, Source, write_source};

/// Datagrams a call.
const BATCH: usize = 32;
/// Room for one that comes: more than any server should send to who says 1232.
const IN: usize = 4096;
/// Room for one that goes: what we ever send over UDP.
const OUT: usize = 1232;
/// Receive buffer asked for; the system may give less.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A UDP socket to one server: others' datagrams never arrive, "port unreachable" does. Its port is drawn by the system
/// from `ip_local_port_range` with the system's own random numbers.
#[derive(Debug)]
pub struct Connected(StdUdpSocket);

impl Connected {
    /// Opens one.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(server: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(server), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.connect(&SockAddr::from(server))?;
        Ok(Self(socket.into()))
    }
}

impl AsRawFd for Connected {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Datagrams that came in one call.
pub struct Inbox {
    bytes: Box<[u8]>,
    headers: Box<[mmsghdr]>,
    vectors: Box<[iovec]>,
    received: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { bytes: vec![0; BATCH * IN].into(), headers: headers(), vectors: vectors(), received: 0 }
    }
}

impl Inbox {
    /// Takes what is there, never waiting; `true` if there may be more.
    ///
    /// # Errors
    /// What receiving said; `WouldBlock` when nothing was there.
    pub fn receive(&mut self, socket: &Connected) -> io::Result<bool> {
        self.received = 0;
        for index in 0..BATCH {
            self.vectors[index] = iovec { iov_base: self.bytes[index * IN..].as_mut_ptr().cast(), iov_len: IN };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_iov = &raw mut self.vectors[index];
            header.msg_iovlen = 1;
            header.msg_flags = 0;
        }
        // SAFETY: every header was just pointed at a buffer of `self` with its true size (`index * IN` leaves IN octets
        // of BATCH * IN) and asks for no name and no control messages; the timeout may be null.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        self.received = count as usize;
        Ok(self.received == BATCH)
    }

    /// What came, and whether it was longer than the room for it.
    pub fn datagrams(&self) -> impl Iterator<Item = (&[u8], bool)> + '_ {
        self.headers.iter().take(self.received).enumerate().map(|(index, header)| {
            let len = (header.msg_len as usize).min(IN);
            (&self.bytes[index * IN..index * IN + len], header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0)
        })
    }
}

/// Datagrams to be sent in one call.
pub struct Outbox {
    bytes: Box<[u8]>,
    lengths: [usize; BATCH],
    names: Box<[Option<SockAddr>]>,
    controls: Box<[(Control, usize)]>,
    headers: Box<[mmsghdr]>,
    vectors: Box<[iovec]>,
    queued: usize,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            bytes: vec![0; BATCH * OUT].into(),
            lengths: [0; BATCH],
            names: vec![None; BATCH].into(),
            controls: vec![(Control([0; CONTROL]), 0); BATCH].into(),
            headers: headers(),
            vectors: vectors(),
            queued: 0,
        }
    }
}

impl Outbox {
    /// Puts a datagram in; `to` and the address it comes from only if the socket is not connected. `false`: it is full,
    /// or the datagram is longer than any of ours.
    pub fn push(&mut self, datagram: &[u8], to: Option<(SocketAddr, Option<Source>)>) -> bool {
        let at = self.queued;
        if at == BATCH || datagram.len() > OUT {
            return false;
        }
        self.bytes[at * OUT..at * OUT + datagram.len()].copy_from_slice(datagram);
        self.lengths[at] = datagram.len();
        self.names[at] = to.map(|(address, _)| SockAddr::from(address));
        self.controls[at].1 = match to {
            Some((_, Some(source))) => write_source(source, &mut self.controls[at].0),
            _ => 0,
        };
        self.queued += 1;
        true
    }

    /// No datagram fits any more.
    pub fn is_full(&self) -> bool {
        self.queued == BATCH
    }

    /// Sends everything; `failed` gets the place of each the system would not take, and why.
    pub fn send(&mut self, socket: &impl AsRawFd, mut failed: impl FnMut(usize, io::Error)) {
        for at in 0..self.queued {
            self.vectors[at] =
                iovec { iov_base: self.bytes[at * OUT..].as_mut_ptr().cast(), iov_len: self.lengths[at] };
            let header = &mut self.headers[at].msg_hdr;
            (header.msg_name, header.msg_namelen) = match &self.names[at] {
                Some(name) => (name.as_ptr().cast_mut().cast(), name.len()),
                None => (ptr::null_mut(), 0),
            };
            header.msg_iov = &raw mut self.vectors[at];
            header.msg_iovlen = 1;
            (header.msg_control, header.msg_controllen) = match &mut self.controls[at] {
                (_, 0) => (ptr::null_mut(), 0),
                (control, len) => (control.0.as_mut_ptr().cast(), *len as _),
            };
        }
        let mut sent = 0;
        while sent < self.queued {
            // SAFETY: the headers up to `queued` were just filled and point at buffers of `self` with their true sizes;
            // sendmmsg only reads what they point at.
            let count = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.headers[sent..].as_mut_ptr(),
                    (self.queued - sent) as u32,
                    libc::MSG_DONTWAIT,
                )
            };
            if count > 0 {
                sent += count as usize;
                continue;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                // The error is the first one's (a dead route, a full buffer): the others have their chance.
                failed(sent, error);
                sent += 1;
            }
        }
        self.queued = 0;
    }
}

/// Empty headers.
fn headers() -> Box<[mmsghdr]> {
    // SAFETY: all-zero bytes are a valid value of this C structure: null pointers and zero lengths.
    let header: mmsghdr = unsafe { zeroed() };
    vec![header; BATCH].into()
}

/// Empty vectors.
fn vectors() -> Box<[iovec]> {
    vec![iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH].into()
}

// SAFETY: the raw pointers in headers and vectors point only into boxes of the same value and are set anew before each
// use, so moving it to another thread is no different from moving its boxes.
unsafe impl Send for Inbox {}

// SAFETY: as for `Inbox`.
unsafe impl Send for Outbox {}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("received", &self.received).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("queued", &self.queued).finish_non_exhaustive()
    }
}
