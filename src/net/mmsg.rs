//! Many datagrams a system call: recvmmsg(2), sendmmsg(2), with buffers made once.
#![expect(unsafe_code, reason = "recvmmsg, sendmmsg, sendmsg and poll have no safe wrapper that fits")]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_int, c_void, iovec, mmsghdr, pollfd, sockaddr_storage, socklen_t};
use socket2::SockAddr;

use super::UdpSocket;
use super::address::{CONTROL, Control, Source, destination, from_kernel, write_source};

/// Datagrams a batch: from 8 to 128 little lies between them, beyond 32 nothing (docs/performance.md).
pub const BATCH: usize = 32;
/// Room for one query. Longer ones are cut, and answered FORMERR.
const IN: usize = 4096;
/// Room for one answer: what we ever send over UDP.
const OUT: usize = 1232;

/// One datagram of a batch.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// What came.
    pub message: &'a [u8],
    /// Who sent it.
    pub client: SocketAddr,
    /// Which of our addresses it was sent to, where the socket is bound to all.
    pub source: Option<Source>,
    /// Room for the answer.
    pub out: &'a mut [u8],
}

/// Buffers for a batch, in and out.
pub struct Batch {
    in_bytes: Box<[u8]>,
    out_bytes: Box<[u8]>,
    names: Box<[sockaddr_storage]>,
    controls: Box<[Control]>,
    in_headers: Box<[mmsghdr]>,
    out_headers: Box<[mmsghdr]>,
    in_vectors: Box<[iovec]>,
    out_vectors: Box<[iovec]>,
    /// The headers for receiving that have to be filled in (again): those from the first to before this one.
    stale: usize,
    /// They ask for control messages.
    wildcard: bool,
    queued: usize,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Datagrams received.
    pub received: usize,
    /// Answers the system would not take.
    pub unsent: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// Makes all buffers.
    pub fn new() -> Self {
        // SAFETY: all-zero bytes are valid values of these C structures: null pointers and zero lengths.
        let (name, header): (sockaddr_storage, mmsghdr) = unsafe { (zeroed(), zeroed()) };
        let vector = iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self {
            in_bytes: vec![0; BATCH * IN].into(),
            out_bytes: vec![0; BATCH * OUT].into(),
            names: vec![name; BATCH].into(),
            controls: vec![Control([0; CONTROL]); BATCH].into(),
            in_headers: vec![header; BATCH].into(),
            out_headers: vec![header; BATCH].into(),
            in_vectors: vec![vector; BATCH].into(),
            out_vectors: vec![vector; BATCH].into(),
            stale: BATCH,
            wildcard: false,
            queued: 0,
        }
    }

    /// Takes what is there, shows each datagram to `answer`, which gives the length of what it put
    /// into `out` (0: no answer), and sends the answers. Never waits.
    ///
    /// # Errors
    /// What receiving said; `WouldBlock` when nothing was there.
    pub fn serve(&mut self, socket: &UdpSocket, mut answer: impl FnMut(Datagram<'_>) -> usize) -> io::Result<Done> {
        let received = self.receive(socket)?;
        self.queued = 0;
        for index in 0..received {
            self.one(socket, index, &mut answer);
        }
        let unsent = self.flush(socket);
        Ok(Done { received, unsent })
    }

    /// recvmmsg.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        if self.wildcard != socket.wildcard {
            (self.wildcard, self.stale) = (socket.wildcard, BATCH);
        }
        for index in 0..self.stale {
            self.in_vectors[index] =
                iovec { iov_base: self.in_bytes[index * IN..].as_mut_ptr().cast::<c_void>(), iov_len: IN };
            let header = &mut self.in_headers[index].msg_hdr;
            header.msg_name = (&raw mut self.names[index]).cast();
            header.msg_namelen = size_of::<sockaddr_storage>() as socklen_t;
            header.msg_iov = &raw mut self.in_vectors[index];
            header.msg_iovlen = 1;
            header.msg_flags = 0;
            (header.msg_control, header.msg_controllen) = if socket.wildcard {
                (self.controls[index].0.as_mut_ptr().cast(), CONTROL as _)
            } else {
                (ptr::null_mut(), 0)
            };
        }
        // SAFETY: every header was pointed at buffers of `self` with their true sizes (`index * IN` leaves IN
        // octets, as in_bytes has BATCH * IN), which outlive the call and never move; those that a call since then
        // has filled were just pointed there again. The timeout may be null.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.in_headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        // What an error leaves in the headers is not worth knowing.
        self.stale = usize::try_from(count).unwrap_or(BATCH);
        if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
    }

    /// Shows one datagram and queues its answer.
    fn one(&mut self, socket: &UdpSocket, index: usize, answer: &mut impl FnMut(Datagram<'_>) -> usize) {
        let received = &self.in_headers[index];
        let Some(client) = from_kernel(&self.names[index]) else { return };
        // SAFETY: recvmmsg filled this header, and its control buffer is one of `self`.
        let source = if socket.wildcard { unsafe { destination(&received.msg_hdr) } } else { None };
        let len = (received.msg_len as usize).min(IN);
        let name_len = received.msg_hdr.msg_namelen;
        let message = &self.in_bytes[index * IN..index * IN + len];
        let out = &mut self.out_bytes[index * OUT..(index + 1) * OUT];
        let len = answer(Datagram { message, client, source, out }).min(OUT);
        if len == 0 {
            return;
        }
        let place = self.queued;
        self.queued += 1;
        self.out_vectors[place] =
            iovec { iov_base: self.out_bytes[index * OUT..].as_mut_ptr().cast::<c_void>(), iov_len: len };
        let header = &mut self.out_headers[place].msg_hdr;
        header.msg_name = (&raw mut self.names[index]).cast();
        header.msg_namelen = name_len;
        header.msg_iov = &raw mut self.out_vectors[place];
        header.msg_iovlen = 1;
        header.msg_flags = 0;
        (header.msg_control, header.msg_controllen) = match source {
            Some(source) => {
                let len = write_source(source, &mut self.controls[index]);
                (self.controls[index].0.as_mut_ptr().cast(), len as _)
            }
            None => (ptr::null_mut(), 0),
        };
    }

    /// sendmmsg until everything is sent or given up; gives the number given up.
    fn flush(&mut self, socket: &UdpSocket) -> usize {
        let mut sent = 0;
        let mut unsent = 0;
        while sent < self.queued {
            // SAFETY: the headers from `sent` to `queued` were filled by `one` in this batch and point
            // at buffers of `self`.
            let count = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.out_headers[sent..].as_mut_ptr(),
                    (self.queued - sent) as u32,
                    libc::MSG_DONTWAIT,
                )
            };
            if count > 0 {
                sent += count as usize;
            } else if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                // The error is the first message's (a dead route, a full buffer): the others have their chance.
                sent += 1;
                unsent += 1;
            }
        }
        unsent
    }
}

// SAFETY: the raw pointers in headers and vectors point only into boxes of the same Batch, which are never
// replaced, so moving it to another thread is no different from moving its boxes.
unsafe impl Send for Batch {}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("queued", &self.queued).finish_non_exhaustive()
    }
}

/// sendmsg of one datagram.
pub(super) fn send_one(socket: &UdpSocket, bytes: &[u8], client: SocketAddr, source: Option<Source>) -> io::Result<()> {
    let to = SockAddr::from(client);
    let mut control = Control([0; CONTROL]);
    let mut vector = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: an all-zero msghdr is valid.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = to.as_ptr().cast_mut().cast();
    header.msg_namelen = to.len();
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    if let Some(source) = source {
        header.msg_controllen = write_source(source, &mut control) as _;
        header.msg_control = control.0.as_mut_ptr().cast();
    }
    loop {
        // SAFETY: the header points at live locals with their true sizes; sendmsg only reads them.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
        if sent >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Waits until one of several sockets has something.
pub struct Poller {
    fds: Vec<pollfd>,
}

impl Poller {
    /// Over these sockets, which must stay open as long.
    pub fn new<'a>(sockets: impl IntoIterator<Item = &'a UdpSocket>) -> Self {
        let of = |socket: &UdpSocket| pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        Self { fds: sockets.into_iter().map(of).collect() }
    }

    /// Waits for at most `milliseconds`; an interrupted wait ends early.
    pub fn wait(&mut self, milliseconds: c_int) {
        // SAFETY: the array is ours and its length is true.
        unsafe { libc::poll(self.fds.as_mut_ptr(), self.fds.len() as libc::nfds_t, milliseconds) };
    }
}
