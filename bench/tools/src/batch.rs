//! Thirty-two messages at a time, in and out; all the unsafe socket code there is here.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::{mem, ptr};

/// Messages of one call.
pub const BATCH: usize = 32;
/// Octets of one message; longer ones are cut.
pub const SIZE: usize = 2048;
/// Words of room for the time stamp of one message.
const CONTROL: usize = 8;

/// Buffers for one batch.
pub struct Batch {
    /// The messages.
    bytes: Box<[[u8; SIZE]]>,
    /// Their lengths.
    lengths: [usize; BATCH],
    /// Where they came from.
    addresses: Box<[libc::sockaddr_in]>,
    /// Their control messages.
    controls: Box<[[u64; CONTROL]]>,
    /// For the kernel.
    vectors: Box<[libc::iovec]>,
    /// For the kernel.
    headers: Box<[libc::mmsghdr]>,
}

/// Which addresses and control messages a call passes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// None: the socket is connected.
    Nothing,
    /// Addresses of the others.
    Addresses,
    /// Time stamps.
    Times,
}

impl Batch {
    /// Buffers, all zero.
    pub fn new() -> Self {
        // SAFETY: all three are plain C structures for which zeros are a value.
        let (address, vector, header) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Self {
            bytes: vec![[0; SIZE]; BATCH].into(),
            lengths: [0; BATCH],
            addresses: vec![address; BATCH].into(),
            controls: vec![[0; CONTROL]; BATCH].into(),
            vectors: vec![vector; BATCH].into(),
            headers: vec![header; BATCH].into(),
        }
    }

    /// The message of a received one.
    pub fn message(&self, index: usize) -> &[u8] {
        &self.bytes[index][..self.lengths[index]]
    }

    /// The whole buffer of a message, and its length, to be changed.
    pub fn slot(&mut self, index: usize) -> (&mut [u8; SIZE], &mut usize) {
        (&mut self.bytes[index], &mut self.lengths[index])
    }

    /// Points the headers at the buffers.
    fn prepare(&mut self, count: usize, with: With, receive: bool) {
        for index in 0..count {
            let length = if receive { SIZE } else { self.lengths[index] };
            self.vectors[index] = libc::iovec { iov_base: self.bytes[index].as_mut_ptr().cast(), iov_len: length };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_iov = &raw mut self.vectors[index];
            header.msg_iovlen = 1;
            (header.msg_name, header.msg_namelen) = match with {
                With::Addresses => {
                    ((&raw mut self.addresses[index]).cast(), mem::size_of::<libc::sockaddr_in>() as u32)
                }
                With::Nothing | With::Times => (ptr::null_mut(), 0),
            };
            (header.msg_control, header.msg_controllen) = match with {
                With::Times => (self.controls[index].as_mut_ptr().cast(), mem::size_of::<[u64; CONTROL]>()),
                With::Nothing | With::Addresses => (ptr::null_mut(), 0),
            };
        }
    }

    /// Waits for one message if `wait`, and takes what else is there; 0 when there is nothing.
    pub fn receive(&mut self, socket: &UdpSocket, with: With, wait: bool) -> io::Result<usize> {
        self.prepare(BATCH, with, true);
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        // SAFETY: `prepare` pointed all `BATCH` headers at buffers of `self`, which outlive the call.
        let count = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), BATCH as u32, flags, ptr::null_mut())
        };
        let count = or_nothing(count)?;
        for index in 0..count {
            self.lengths[index] = self.headers[index].msg_len as usize;
        }
        Ok(count)
    }

    /// Sends the first `count` messages; how many went.
    pub fn send(&mut self, socket: &UdpSocket, with: With, count: usize) -> io::Result<usize> {
        self.prepare(count, with, false);
        // SAFETY: `prepare` pointed `count` headers at buffers of `self`, which outlive the call.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count as u32, 0) };
        or_nothing(sent)
    }

    /// When the kernel took in a message received `With::Times`.
    pub fn time(&self, index: usize) -> Option<u64> {
        // The first control message: length, level and type, then the timespec.
        let control = &self.controls[index];
        let full = self.headers[index].msg_hdr.msg_controllen >= 32;
        let kind = (libc::SCM_TIMESTAMPNS as u64) << 32 | libc::SOL_SOCKET as u64;
        (full && control[1] == kind).then(|| control[2] * 1_000_000_000 + control[3])
    }
}

/// A count; nothing to do and being refused (the other side is not there yet) count as none.
fn or_nothing(count: i32) -> io::Result<usize> {
    usize::try_from(count).or_else(|_| {
        let error = io::Error::last_os_error();
        let none = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted, io::ErrorKind::ConnectionRefused];
        if none.contains(&error.kind()) { Ok(0) } else { Err(error) }
    })
}

/// Asks for large buffers (rarely granted in full) and, for answers, for time stamps.
pub fn tune(socket: &UdpSocket, times: bool) {
    let set = |name: i32, value: i32| {
        // SAFETY: the option value is a live int of the length given.
        unsafe {
            let length = mem::size_of::<i32>() as u32;
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw const value).cast(), length)
        }
    };
    for name in [libc::SO_RCVBUF, libc::SO_SNDBUF, libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        set(name, 8 << 20);
    }
    if times {
        set(libc::SO_TIMESTAMPNS, 1);
    }
}
