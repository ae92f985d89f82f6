//! Sockets: binding, batches of datagrams, answers from the address that was asked. The only `unsafe`.

mod address;
mod cpu;
mod epoll;
mod mail;
mod mmsg;

pub use address::Source;
pub use cpu::pin_thread;
pub use epoll::{Epoll, Events};
pub use mail::{Connected, Inbox, Outbox};
pub use mmsg::{BATCH, Batch, Datagram, Poller};

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket as StdUdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Receive and send buffers asked for; the system may give less.
const SOCKET_BUFFER: usize = 4 << 20;
/// Connections waiting to be accepted.
const BACKLOG: i32 = 1024;

/// A non-blocking UDP socket of ours.
#[derive(Debug)]
pub struct UdpSocket {
    socket: StdUdpSocket,
    local: SocketAddr,
    /// Bound to all addresses: each datagram says which one was asked.
    wildcard: bool,
}

impl UdpSocket {
    /// Binds `address` for one of several workers that share it (SO_REUSEPORT).
    ///
    /// # Errors
    /// As the system says.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_port(true)?;
        socket.bind(&SockAddr::from(address))?;
        Self::adopt(socket)
    }

    /// Binds `address` alone and lets go of it: an error says that somebody else has it, which
    /// SO_REUSEPORT would hide when that is another process of the same user.
    ///
    /// # Errors
    /// As the system says.
    pub fn probe(address: SocketAddr) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&SockAddr::from(address))
    }

    /// Where it is bound.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Another handle of the same socket, for one more worker on a socket that was passed in.
    ///
    /// # Errors
    /// As the system says.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, local: self.local, wildcard: self.wildcard })
    }

    /// Sends one datagram from `source` (where the socket is bound to all addresses).
    ///
    /// # Errors
    /// As the system says; `WouldBlock` when the send buffer is full.
    pub fn send(&self, bytes: &[u8], client: SocketAddr, source: Option<Source>) -> io::Result<()> {
        mmsg::send_one(self, bytes, client, source)
    }

    /// Sets what every socket of ours has.
    fn adopt(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // The system caps these; smaller buffers are no reason not to serve.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        let wildcard = local.ip().is_unspecified();
        if wildcard {
            address::ask_for_destination(&socket, local.is_ipv6())?;
        }
        Ok(Self { socket: socket.into(), local, wildcard })
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Binds a TCP listener whose connections have TCP_NODELAY (inherited on accept).
///
/// # Errors
/// As the system says.
pub fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    adopt_tcp(socket)
}

/// Binds a UDP socket that nobody shares, for QUIC.
///
/// # Errors
/// As the system says.
pub fn bind_udp(address: SocketAddr) -> io::Result<StdUdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    socket.set_nonblocking(true)?;
    // The system caps these; smaller buffers are no reason not to serve.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    Ok(socket.into())
}

/// Connects to a stream socket in the file system, waiting no longer than `timeout` for one whose backlog is full.
///
/// # Errors
/// As the system says; `WouldBlock` when the time is over.
pub fn connect_unix(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux takes this for the time to connect as well (unix(7) leaves it to socket(7)).
    socket.set_write_timeout(Some(timeout))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// This host's name; `None` if it has none, or none in UTF-8.
pub fn host_name() -> Option<String> {
    let mut buffer = [0_u8; 256];
    // SAFETY: the call writes at most as many octets as it is told the live buffer has.
    #[expect(unsafe_code)]
    let failed = unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), buffer.len()) } != 0;
    let name = buffer.split(|&octet| octet == 0).next().filter(|name| !failed && !name.is_empty())?;
    String::from_utf8(name.to_vec()).ok()
}

/// A socket that the service manager opened for us.
#[derive(Debug)]
pub enum Passed {
    /// For UDP.
    Udp(UdpSocket),
    /// For TCP, listening.
    Tcp(TcpListener),
}

/// Takes over a descriptor passed in by systemd (sd_listen_fds(3)).
///
/// # Errors
/// It is not an IP socket for UDP, nor one for TCP.
pub fn take_passed(fd: RawFd) -> io::Result<Passed> {
    if fd < 3 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a passed descriptor"));
    }
    // SAFETY: descriptors from 3 on that LISTEN_FDS counts are ours alone by the protocol of
    // sd_listen_fds(3), and the caller takes each once.
    #[expect(unsafe_code)]
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    let socket = Socket::from(owned);
    if socket.local_addr()?.as_socket().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an IP socket"));
    }
    if socket.r#type()? == Type::DGRAM {
        return UdpSocket::adopt(socket).map(Passed::Udp);
    }
    adopt_tcp(socket).map(Passed::Tcp)
}

/// Takes as many file descriptors as the system allows: shells give 1024, which a thousand TCP clients
/// and their upstream queries use up. Failing changes nothing.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get the address of a live rlimit; they read or write nothing else.
    #[expect(unsafe_code)]
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Has the allocator give large blocks back to the system as soon as they are free. By itself glibc stops doing so
/// once the text of a large list has been freed, and then keeps room for a second set.
pub fn give_back_memory() {
    /// Bytes from which a block counts as large.
    #[cfg(target_env = "gnu")]
    const LARGE: libc::c_int = 256 << 10;
    // SAFETY: called with a parameter and a value glibc documents; it changes nothing that is allocated.
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code)]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

/// Sets what every listener of ours has.
fn adopt_tcp(socket: Socket) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
