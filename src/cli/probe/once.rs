//! One question at a time: is there a server at all, and since when is a name blocked.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::judge::{Said, Unread};
use super::pace::Ids;
use crate::cli::why::query;
use crate::event::Transport;
use crate::wire::{HEADER, rtype};

/// What a datagram may hold; we say we take 1232 octets, and a larger one is nobody's answer to us.
pub const DATAGRAM: usize = 4096;
/// What every resolver answers by itself (RFC 6761 section 6.3): `localhost`.
const LOCALHOST: &[u8] = b"\x09localhost\0";
/// Between two tries when a port is closed.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Nothing came back.
#[derive(Debug)]
pub enum Silent {
    /// Within the time there was.
    TimedOut,
    /// For this reason.
    Io(io::Error),
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// How long to wait, and how often to try.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For each try.
    pub timeout: Duration,
    /// At least 1.
    pub tries: u8,
}

/// Finds out whether a server answers, before it is asked a million things.
pub async fn greet(server: SocketAddr, transport: Transport, patience: Patience) -> Result<Said, Silent> {
    ask(server, transport, LOCALHOST, rtype::A, patience).await
}

/// Asks until there is an answer; a truncated one is asked for again over TCP.
pub async fn ask(
    server: SocketAddr,
    transport: Transport,
    name: &[u8],
    qtype: u16,
    patience: Patience,
) -> Result<Said, Silent> {
    let mut last = Silent::TimedOut;
    let mut query = query(name, qtype);
    let mut ids = Ids::default();
    for _ in 0..patience.tries.max(1) {
        if let Some(id) = query.first_chunk_mut() {
            *id = ids.next().to_be_bytes();
        }
        let deadline = Instant::now() + patience.timeout;
        let answered = match transport {
            Transport::Udp => udp(server, &query, name.len(), deadline).await,
            _ => tcp(server, &query, name.len(), deadline).await,
        };
        match answered {
            Ok(said) if said.truncated && transport == Transport::Udp => {
                let deadline = Instant::now() + patience.timeout;
                return tcp(server, &query, name.len(), deadline).await.or(Ok(said));
            }
            Ok(said) => return Ok(said),
            Err(error) => last = error,
        }
        if matches!(last, Silent::Io(_)) {
            tokio::time::sleep(REFUSED_PAUSE.min(patience.timeout)).await;
        }
    }
    Err(last)
}

/// A socket from any port to `server`.
pub async fn udp_socket(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    // The kernel then drops what comes from elsewhere, and tells of closed ports.
    socket.connect(server).await?;
    Ok(socket)
}

/// The question of a query for a name of `len` octets.
pub fn question_of(query: &[u8], len: usize) -> &[u8] {
    query.get(HEADER..HEADER + len + 4).unwrap_or_default()
}

/// Over UDP.
async fn udp(server: SocketAddr, query: &[u8], len: usize, deadline: Instant) -> Result<Said, Silent> {
    let socket = udp_socket(server).await.map_err(Silent::Io)?;
    socket.send(query).await.map_err(Silent::Io)?;
    let mut buffer = [0; DATAGRAM];
    loop {
        let received = timeout_at(deadline, socket.recv(&mut buffer)).await;
        let size = received.map_err(|_| Silent::TimedOut)?.map_err(Silent::Io)?;
        if let Some(said) = read(buffer.get(..size).unwrap_or_default(), query, len) {
            return Ok(said);
        }
    }
}

/// Over a connection of its own.
async fn tcp(server: SocketAddr, query: &[u8], len: usize, deadline: Instant) -> Result<Said, Silent> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&framed(query)).await?;
        loop {
            let mut message = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut message).await?;
            if let Some(said) = read(&message, query, len) {
                return Ok(said);
            }
        }
    };
    timeout_at(deadline, exchange).await.map_err(|_| Silent::TimedOut)?.map_err(Silent::Io)
}

/// With its length in front.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// The answer to `query`, if it is one. A broken one is an answer that says nothing.
fn read(answer: &[u8], query: &[u8], len: usize) -> Option<Said> {
    if answer.get(..2) != query.get(..2) {
        return None;
    }
    match Said::read(answer, question_of(query, len)) {
        Ok(said) => Some(said),
        Err(Unread::Malformed) => Some(Said { bare: true, ..Said::default() }),
        Err(Unread::Foreign) => None,
    }
}
