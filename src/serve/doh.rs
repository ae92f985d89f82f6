//! DNS over HTTPS (RFC 8484) by HTTP/1.1 and HTTP/2, over any stream; HTTP/3 has the same requests and answers.
//!
//! A query whose answer is to be `drop` gets none here either: HTTP/1.1 connections are closed, on the others the stream is
//! reset.

mod body;
mod connection;
mod exchange;
mod gather;
mod request;
mod respond;

use std::net::UdpSocket;
use std::sync::Arc;

use hyper::header::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::engine::Peer;

use super::desk::Desk;
use super::shared::Shared;

pub(super) use body::Held;
pub(super) use exchange::answer;
pub(super) use gather::Gather;
pub(super) use request::Refusal;
use request::{Wanted, look};

/// What listeners offer in the handshake (ALPN), by preference.
pub(super) const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// Octets of a request line and its headers.
pub(super) const MAX_HEAD: usize = 16 << 10;
/// Seconds for which a client may remember that HTTP/3 is spoken here too.
const ALT_SVC_SECONDS: u32 = 86_400;

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// HTTP/1.1, and 1.0.
    One,
    /// HTTP/2.
    Two,
}

impl Version {
    /// What was agreed on in the handshake; without an agreement HTTP/1.1.
    pub fn agreed(alpn: Option<&[u8]>) -> Self {
        if alpn == Some(PROTOCOLS[0]) { Self::Two } else { Self::One }
    }
}

/// What is served over HTTP.
#[derive(Debug)]
pub(super) struct Site {
    /// Where queries are taken.
    path: String,
    /// Where HTTP/3 is spoken, as a header of answers over TCP.
    alt_svc: Option<HeaderValue>,
}

impl Site {
    /// Takes queries at `path`; HTTP/3 is spoken on the sockets `doh3`.
    pub fn new(path: &str, doh3: &[UdpSocket]) -> Arc<Self> {
        let ports = doh3.iter().filter_map(|socket| socket.local_addr().ok()).map(|address| address.port());
        Self::with_ports(path, ports.collect())
    }

    /// See [`Self::new`].
    fn with_ports(path: &str, mut ports: Vec<u16>) -> Arc<Self> {
        ports.dedup();
        let offers: Vec<_> = ports.iter().map(|port| format!("h3=\":{port}\"; ma={ALT_SVC_SECONDS}")).collect();
        let alt_svc = HeaderValue::try_from(offers.join(", ")).ok().filter(|_| !offers.is_empty());
        Arc::new(Self { path: path.into(), alt_svc })
    }
}

/// Serves a connection to its end; `below` is the gathering end of what `stream` is over.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    below: Gather<impl AsyncRead + AsyncWrite + Unpin>,
    version: Version,
    peer: Peer,
    shared: &Arc<Shared>,
    site: &Arc<Site>,
) {
    connection::run(stream, below, version, peer, Desk::new(shared), Arc::clone(site)).await;
}
