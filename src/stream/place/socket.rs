//! A connection to a reader: TCP or a socket in the file system; dnstap's readers are greeted first.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::super::frames::Framing;
use super::super::queue::Batch;
use super::super::tap;
use super::{LOOK, Place, Wrote, is_timeout};
use crate::net;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a reader of dnstap may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long it may take to say that it has read everything, at the end.
const FAREWELL: Duration = Duration::from_millis(500);

/// Who listens.
pub(super) enum Address {
    /// On a host.
    Tcp(SocketAddr),
    /// On this one.
    Unix(PathBuf),
}

/// Writes to whoever listens there.
pub(super) struct Socket {
    address: Address,
    framing: Framing,
    connection: Option<Connection>,
}

/// A connection.
enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Not connected yet.
    pub(super) fn new(address: Address, framing: Framing) -> Self {
        Self { address, framing, connection: None }
    }

    /// Connects, but says nothing yet.
    fn connect(&self) -> io::Result<Connection> {
        Ok(match &self.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, CONNECT)?;
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(LOOK))?;
                stream.set_read_timeout(Some(LOOK))?;
                Connection::Tcp(stream)
            }
            Address::Unix(path) => {
                // A reader that accepts nobody would hold `UnixStream::connect` for ever.
                let stream = net::connect_unix(path, CONNECT)?;
                stream.set_write_timeout(Some(LOOK))?;
                stream.set_read_timeout(Some(LOOK))?;
                Connection::Unix(stream)
            }
        })
    }
}

impl Place for Socket {
    fn open(&mut self, stop: &dyn Fn() -> bool) -> io::Result<()> {
        self.connection = None;
        let mut connection = self.connect()?;
        if self.framing == Framing::Tap {
            let end = Instant::now() + ANSWER;
            let over = || stop() || Instant::now() >= end;
            send(&mut connection, &tap::ready(), stop)?;
            tap::read_accept(&mut Waiting { connection: &mut connection, over: &over })?;
            send(&mut connection, &tap::start(), stop)?;
        }
        self.connection = Some(connection);
        Ok(())
    }

    fn write(&mut self, batch: &Batch, from: usize, stop: &dyn Fn() -> bool) -> Wrote {
        let Some(connection) = &mut self.connection else { return Wrote::default() };
        let (written, error) = super::write_all(connection, batch.rest(from), stop);
        Wrote { sent: batch.whole(from, written), error, ..Wrote::default() }
    }

    /// Sees a reader that has gone before its system refuses what is written, which is one write too late.
    fn check(&mut self) -> io::Result<()> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        connection.set_nonblocking(true)?;
        // What a reader says nobody here wants to know.
        let heard = connection.read(&mut [0; 512]);
        connection.set_nonblocking(false)?;
        match heard {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the reader has closed the connection")),
            Err(error) if !is_timeout(&error) && error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn close(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if self.framing == Framing::Tap {
            let end = Instant::now() + FAREWELL;
            let over = || Instant::now() >= end;
            // A reader that does not say farewell is none of our concern any more.
            if send(&mut connection, &tap::stop(), &over).is_ok() {
                let _ = tap::read_finish(&mut Waiting { connection: &mut connection, over: &over });
            }
        }
    }
}

/// Writes all of it or fails.
fn send(connection: &mut Connection, bytes: &[u8], stop: &dyn Fn() -> bool) -> io::Result<()> {
    super::write_all(connection, bytes, stop).1.map_or(Ok(()), Err)
}

impl Connection {
    /// For a moment.
    fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(on),
            Self::Unix(stream) => stream.set_nonblocking(on),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads for as long as it is not over.
struct Waiting<'a> {
    connection: &'a mut Connection,
    over: &'a dyn Fn() -> bool,
}

impl Read for Waiting<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.read(bytes) {
                Err(error) if is_timeout(&error) && !(self.over)() => {}
                Err(error) if is_timeout(&error) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the reader does not answer"));
                }
                done => return done,
            }
        }
    }
}
