//! Connections to one server, of whatever kind, and what is said when one cannot be made.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::framed::Framed;
use super::hosts::Lookup;
use super::http::{Http2, Http3, Refusal};
use super::server::{Host, Protocol, Secure};
use super::trust::{Authorities, Trust};
use super::{Trouble, UpstreamError, quic, system};
use crate::util::{Now, Throttle};

/// A connection that is not there by then does not come.
const PATIENCE: Duration = Duration::from_secs(4);
/// The next address of a server is tried beside one that has not answered for so long (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses of one server that are tried.
const MAX_ADDRESSES: usize = 6;
/// A request that is not answered by then is cancelled, whoever waits.
const LINGER: Duration = Duration::from_secs(60);
/// The same complaint about a server comes no more often, in milliseconds.
const QUIET: i64 = 60_000;

/// How to reach a server over a stream.
pub(super) struct Dial {
    way: Way,
    /// As the configuration writes it.
    shown: Arc<str>,
    complaints: Throttle,
}

/// What a dial leads to.
enum Way {
    /// TCP.
    Plain(SocketAddr),
    /// Everything else.
    Secure { at: At, protocol: Protocol, port: u16, trust: Trust, uri: Uri },
}

/// Where an encrypted server is.
enum At {
    /// There.
    Address(IpAddr),
    /// Where the bootstrap servers say, but not at our own addresses.
    Name(Arc<Lookup>, Box<[SocketAddr]>),
}

/// A connection. When the last one of its clones is gone, it is closed.
#[derive(Clone)]
pub(super) enum Line {
    /// TCP or TLS.
    Framed(Framed),
    /// HTTPS.
    Http2(Http2),
    /// HTTP/3.
    Http3(Http3),
    /// QUIC.
    Quic(quinn::Connection),
}

impl Dial {
    /// Over TCP.
    pub(super) fn plain(address: SocketAddr) -> Self {
        Self { way: Way::Plain(address), shown: format!("tcp://{address}").into(), complaints: Throttle::new(QUIET) }
    }

    /// Encrypted; `lookup` is there if the server is known by name, which must not lead to one of `own`.
    pub(super) fn secure(
        secure: &Secure,
        known: &Authorities,
        lookup: Option<Arc<Lookup>>,
        own: &[SocketAddr],
    ) -> Result<Self, UpstreamError> {
        let bad = |reason: String| UpstreamError::Connections { reason: format!("{secure}: {reason}") };
        let (at, fallback) = match (&secure.host, lookup) {
            (Host::Address(ip), _) => (At::Address(*ip), ServerName::from(*ip)),
            (Host::Name(name), Some(lookup)) => {
                let name = ServerName::try_from(name.to_string()).map_err(|error| bad(error.to_string()))?;
                (At::Name(lookup, own.into()), name)
            }
            (Host::Name(_), None) => return Err(bad("there is nobody to look up its name".into())),
        };
        let trust = Trust::new(secure, fallback, known).map_err(|error| bad(error.to_string()))?;
        let path = if secure.path.is_empty() { "/" } else { &secure.path };
        let uri = Uri::builder().scheme("https").authority(secure.authority()).path_and_query(path).build();
        let uri = uri.map_err(|error| bad(error.to_string()))?;
        Ok(Self {
            way: Way::Secure { at, protocol: secure.protocol, port: secure.port, trust, uri },
            shown: secure.to_string().into(),
            complaints: Throttle::new(QUIET),
        })
    }

    /// A connection to whichever address has one first.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<(Line, SocketAddr), Trouble> {
        let (addresses, lookup) = match &self.way {
            Way::Plain(address) => (vec![*address], None),
            Way::Secure { at: At::Address(ip), port, .. } => (vec![SocketAddr::new(*ip, *port)], None),
            Way::Secure { at: At::Name(lookup, own), port, .. } => {
                let found = lookup.addresses().await.map_err(|reason| {
                    self.complain(&reason);
                    Trouble::Unreachable
                })?;
                let mut found: Vec<_> = found.iter().map(|ip| SocketAddr::new(*ip, *port)).collect();
                found.retain(|address| !system::is_own(*address, own));
                if found.is_empty() {
                    lookup.doubt();
                    self.complain(&format!("{} leads to this server itself; queries would loop", lookup.name()));
                    return Err(Trouble::Unreachable);
                }
                (found, Some(lookup))
            }
        };
        let connected = timeout(PATIENCE, self.first(&addresses)).await.unwrap_or(Err(Trouble::Silent));
        match (&connected, lookup, &self.way) {
            (Ok((_, address)), Some(lookup), _) => lookup.worked(address.ip()),
            (Err(_), Some(lookup), _) => lookup.doubt(),
            _ => {}
        }
        if let (Err(Trouble::Silent), Way::Secure { .. }) = (&connected, &self.way) {
            self.complain(&format!("no connection within {} s", PATIENCE.as_secs()));
        }
        connected
    }

    /// The addresses one after another, each a little later than the one before or as soon as that one has failed.
    async fn first(self: &Arc<Self>, addresses: &[SocketAddr]) -> Result<(Line, SocketAddr), Trouble> {
        if let [address] = addresses {
            return Ok((self.reach(*address).await?, *address));
        }
        let mut tries = JoinSet::new();
        let mut left = addresses.iter().take(MAX_ADDRESSES);
        let mut trouble = Trouble::Unreachable;
        loop {
            if let Some(&address) = left.next() {
                let dial = Arc::clone(self);
                tries.spawn(async move { (dial.reach(address).await, address) });
            } else if tries.is_empty() {
                return Err(trouble);
            }
            tokio::select! {
                Some(done) = tries.join_next() => match done {
                    Ok((Ok(line), address)) => return Ok((line, address)),
                    Ok((Err(why), _)) => trouble = why,
                    Err(_) => {}
                },
                () = sleep(STAGGER), if left.len() > 0 => {}
            }
        }
    }

    /// A connection to this address.
    async fn reach(&self, address: SocketAddr) -> Result<Line, Trouble> {
        let Way::Secure { protocol, trust, uri, .. } = &self.way else {
            let stream = TcpStream::connect(address).await.map_err(|_| Trouble::Unreachable)?;
            let _ = stream.set_nodelay(true);
            return Ok(Line::Framed(Framed::new(stream)));
        };
        match protocol {
            Protocol::Tls | Protocol::Https => {
                let stream = TcpStream::connect(address).await.map_err(|error| self.unreachable(address, &error))?;
                let _ = stream.set_nodelay(true);
                let shaken = TlsConnector::from(Arc::clone(&trust.config)).connect(trust.name.clone(), stream).await;
                let stream = shaken.map_err(|error| self.handshake(trust, address, &error))?;
                if *protocol == Protocol::Tls {
                    return Ok(Line::Framed(Framed::new(stream)));
                }
                if stream.get_ref().1.alpn_protocol() != Some(protocol.alpn()) {
                    self.complain(&format!("{address} does not speak HTTP/2"));
                    return Err(Trouble::Unreachable);
                }
                Http2::new(stream, uri.clone()).await.map(Line::Http2).map_err(Refusal::trouble)
            }
            Protocol::Quic | Protocol::H3 => {
                let Some(connection) = quic::connect(address, trust).await else {
                    return Err(self.handshake(trust, address, &"no QUIC connection"));
                };
                if *protocol == Protocol::Quic {
                    return Ok(Line::Quic(connection));
                }
                Http3::new(connection, uri.clone()).await.map(Line::Http3).map_err(Refusal::trouble)
            }
        }
    }

    /// A failed handshake: by the certificate, or for another reason.
    fn handshake(&self, trust: &Trust, address: SocketAddr, error: &dyn std::fmt::Display) -> Trouble {
        match trust.refused() {
            Some(reason) => {
                self.complain(&format!("the certificate of {address} is refused: {reason}"));
                Trouble::Untrusted
            }
            None => {
                self.complain(&format!("handshake with {address} failed: {error}"));
                Trouble::Unreachable
            }
        }
    }

    /// Nobody answers.
    fn unreachable(&self, address: SocketAddr, error: &io::Error) -> Trouble {
        self.complain(&format!("cannot connect to {address}: {error}"));
        Trouble::Unreachable
    }

    /// Tells the operator, not too often.
    pub(super) fn complain(&self, what: &str) {
        if let Some(held) = self.complaints.pass(Now::read()) {
            let more = if held > 0 { format!(" ({held} complaints about it were held back)") } else { String::new() };
            tracing::warn!("upstream server {}: {what}{more}", self.shown);
        }
    }

    /// One question over a connection made here.
    pub(super) async fn ask(&self, line: &Line, question: &[u8]) -> Result<Vec<u8>, Trouble> {
        let refused = match line {
            Line::Framed(framed) => return framed.ask(question).await,
            Line::Quic(connection) => return quic::ask(connection, question).await,
            Line::Http2(http) => {
                let (http, question) = (http.clone(), question.to_vec());
                to_the_end(async move { http.ask(question).await }).await
            }
            Line::Http3(http) => {
                let (http, question) = (http.clone(), question.to_vec());
                to_the_end(async move { http.ask(question).await }).await
            }
        };
        refused.map_err(|refusal| {
            match refusal {
                Refusal::Status(status) => self.complain(&format!("HTTP status {status}; is the path right?")),
                Refusal::Type => self.complain("the answer is no application/dns-message; is the path right?"),
                Refusal::Length => self.complain("an answer is longer than any DNS message"),
                Refusal::Broken => {}
            }
            refusal.trouble()
        })
    }
}

/// A request goes on when nobody waits for it any more: servers take many cancelled ones for an attack (RFC 9113
/// section 10.5) and close the connection.
async fn to_the_end(
    request: impl Future<Output = Result<Vec<u8>, Refusal>> + Send + 'static,
) -> Result<Vec<u8>, Refusal> {
    let request = tokio::spawn(async move { timeout(LINGER, request).await.unwrap_or(Err(Refusal::Broken)) });
    request.await.unwrap_or(Err(Refusal::Broken))
}

impl Line {
    /// It has ended.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Framed(framed) => framed.is_closed(),
            Self::Http2(http) => http.is_closed(),
            Self::Http3(http) => http.is_closed(),
            Self::Quic(connection) => connection.close_reason().is_some(),
        }
    }
}
