//! A datagram a frame: syslog over UDP, `/dev/log`, the journal.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Instant;

use super::super::queue::Batch;
use super::{LOOK, Place, STALL, Wrote, is_timeout, stalled};

/// Who gets them.
pub(super) enum To {
    /// By UDP.
    Udp(SocketAddr),
    /// Through a socket of this host.
    Unix(PathBuf),
}

/// Sends datagrams.
pub(super) struct Datagrams {
    to: To,
    socket: Option<Socket>,
}

/// An open, connected socket.
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Datagrams {
    /// Not open yet.
    pub(super) fn new(to: To) -> Self {
        Self { to, socket: None }
    }
}

impl Socket {
    /// Sends one datagram.
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send(bytes),
            Self::Unix(socket) => socket.send(bytes),
        }
    }
}

impl Place for Datagrams {
    fn open(&mut self, _: &dyn Fn() -> bool) -> io::Result<()> {
        let socket = match &self.to {
            To::Udp(to) => {
                let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
                let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
                socket.set_write_timeout(Some(LOOK))?;
                socket.connect(to)?;
                Socket::Udp(socket)
            }
            To::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_write_timeout(Some(LOOK))?;
                socket.connect(path)?;
                Socket::Unix(socket)
            }
        };
        self.socket = Some(socket);
        Ok(())
    }

    fn write(&mut self, batch: &Batch, from: usize, stop: &dyn Fn() -> bool) -> Wrote {
        let Some(socket) = &self.socket else { return Wrote::default() };
        let mut wrote = Wrote::default();
        let mut moved = Instant::now();
        let mut at = from;
        while let Some(frame) = batch.frame(at) {
            match socket.send(frame) {
                Ok(_) => {
                    wrote.sent += 1;
                    at += 1;
                    moved = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) && moved.elapsed() < STALL && !stop() => {}
                Err(error) => {
                    let is_udp = matches!(socket, Socket::Udp(_));
                    wrote.error = Some(match error {
                        error if is_timeout(&error) => stalled(),
                        error if error.kind() == io::ErrorKind::ConnectionRefused && is_udp => {
                            // What the network says of the datagram before: there was no such port.
                            wrote.bounced = 1;
                            error
                        }
                        error if is_too_long(&error) => {
                            // The frames behind it must not wait for it: they follow with the next call.
                            wrote.refused = 1;
                            return wrote;
                        }
                        error => error,
                    });
                    return wrote;
                }
            }
        }
        wrote
    }

    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn close(&mut self) {
        self.socket = None;
    }
}

/// EMSGSIZE, for which std has no name.
fn is_too_long(error: &io::Error) -> bool {
    /// On every Linux.
    const EMSGSIZE: i32 = 90;
    error.raw_os_error() == Some(EMSGSIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(frames: &[&[u8]]) -> Batch {
        let mut batch = Batch::default();
        frames.iter().for_each(|frame| batch.push(frame));
        batch
    }

    #[test]
    fn a_frame_too_long_for_a_datagram_is_refused_and_the_others_go() {
        let reader = UdpSocket::bind("127.0.0.1:0").expect("a port");
        reader.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a time-out");
        let mut place = Datagrams::new(To::Udp(reader.local_addr().expect("bound")));
        place.open(&|| false).expect("opened");
        let batch = batch(&[b"one", &[0; 70_000], b"three"]);
        let first = place.write(&batch, 0, &|| false);
        assert_eq!((first.sent, first.refused, first.error.is_none()), (1, 1, true));
        let second = place.write(&batch, 2, &|| false);
        assert_eq!((second.sent, second.refused, second.error.is_none()), (1, 0, true));
        let read = || {
            let mut buffer = [0; 10];
            let length = reader.recv(&mut buffer).expect("a datagram");
            buffer[..length].to_vec()
        };
        assert_eq!((read(), read()), (b"one".to_vec(), b"three".to_vec()));
    }

    #[test]
    fn what_nobody_listened_for_is_taken_back() {
        let nobody = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let mut place = Datagrams::new(To::Udp(nobody));
        place.open(&|| false).expect("opened");
        let batch = batch(&[&[b'x'][..]; 1000]);
        let mut from = 0;
        let bounced = loop {
            let wrote = place.write(&batch, from, &|| false);
            from += wrote.sent;
            match wrote.error {
                Some(error) => break (error.kind(), wrote.bounced),
                None => assert!(from < batch.frames(), "this host does not say that nobody listens"),
            }
        };
        assert_eq!(bounced, (io::ErrorKind::ConnectionRefused, 1));
    }

    #[test]
    fn a_full_socket_of_this_host_is_waited_for_only_as_long_as_one_may() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let _reader = UnixDatagram::bind(&path).expect("a socket");
        let mut place = Datagrams::new(To::Unix(path));
        place.open(&|| false).expect("opened");
        let batch = batch(&[&[b'x'; 1000][..]; 10_000]);
        let wrote = place.write(&batch, 0, &|| true);
        assert!((1..10_000).contains(&wrote.sent), "{wrote:?}");
        assert_eq!(wrote.error.map(|error| error.kind()), Some(io::ErrorKind::TimedOut));
    }
}
