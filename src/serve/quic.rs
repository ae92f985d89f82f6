//! QUIC listeners: DNS over QUIC (RFC 9250), and HTTP/3.
//!
//! Every handshake is a task of its own, so that one that stalls holds up nobody, and there are no more than
//! `max_handshakes` at a time. When many are under way, clients whose address is not proven are told to come again with a
//! token (stateless retry): who forges addresses then costs nothing but a datagram. Early data (0-RTT) is not taken.

mod doh3;
mod doq;

use std::future::Future;
use std::io;
use std::net::UdpSocket as StdUdpSocket;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::{
    Connection, Endpoint, EndpointConfig, IdleTimeout, Incoming, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::desk::Desk;
use super::doh::Site;
use super::shared::Shared;
use super::{Certificates, TcpSettings, TlsSettings};
use crate::engine::Peer;
use crate::event::Transport;
use crate::limit::Door;
use crate::stats::Counter;

/// What may be sent on one stream, and on a connection, before it was read, and what we keep until it was received.
const WINDOWS: (u32, u32, u32) = (66 << 10, 256 << 10, 256 << 10);
/// Streams a client may open that go one way: HTTP/3 has three, and may have some without meaning.
const ONE_WAY: u32 = 8;
/// Connection attempts that wait for us at most, and octets each may have sent.
const INCOMING: (usize, u64) = (1024, 8 << 10);
/// One of so many places for handshakes may be taken before addresses have to be proven.
const UNPROVEN: usize = 4;
/// How much longer than [`TcpSettings::idle`] nothing may come from a client that waits for an answer.
const OWED: Duration = Duration::from_secs(30);
/// How long streams under way may take after a connection was told to end.
const GRACE: Duration = Duration::from_secs(1);

/// What is spoken over QUIC.
#[derive(Clone, Debug)]
enum Speaks {
    /// DNS over QUIC.
    Doq,
    /// DNS over HTTP/3.
    Doh3(Arc<Site>),
}

impl Speaks {
    /// What is offered in the handshake (ALPN).
    fn protocol(&self) -> &'static [u8] {
        match self {
            Self::Doq => b"doq",
            Self::Doh3(_) => b"h3",
        }
    }

    /// How queries come in.
    fn transport(&self) -> Transport {
        match self {
            Self::Doq => Transport::Doq,
            Self::Doh3(_) => Transport::Doh3,
        }
    }

    /// The error code of a connection that ends without one, and of one that is one too many.
    fn codes(&self) -> (VarInt, VarInt) {
        match self {
            Self::Doq => (doq::NO_ERROR, doq::EXCESSIVE_LOAD),
            Self::Doh3(_) => (doh3::NO_ERROR, doh3::EXCESSIVE_LOAD),
        }
    }
}

/// Starts the listeners for HTTP/3 and for DoQ on the current runtime.
///
/// # Errors
/// A socket cannot join the runtime, or the certificate does not go with QUIC.
pub(super) fn start_all(
    doh3: Vec<StdUdpSocket>,
    doq: Vec<StdUdpSocket>,
    site: &Arc<Site>,
    certificates: &Certificates,
    settings: &TlsSettings,
    shared: &Arc<Shared>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let doh3 = doh3.into_iter().map(|socket| (socket, Speaks::Doh3(Arc::clone(site))));
    let doq = doq.into_iter().map(|socket| (socket, Speaks::Doq));
    doh3.chain(doq)
        .map(|(socket, speaks)| {
            let tls = certificates.server(&[speaks.protocol()]).map_err(io::Error::other)?;
            start(socket, speaks, tls, settings, shared)
        })
        .collect()
}

/// A listener.
struct Listener {
    shared: Arc<Shared>,
    speaks: Speaks,
    handshake: Duration,
    handshakes: Arc<Semaphore>,
    max_handshakes: usize,
}

/// Starts taking connections on the current runtime. `tls` must offer [`Speaks::protocol`].
///
/// # Errors
/// The socket cannot join the runtime, or `tls` does not go with QUIC.
fn start(
    socket: StdUdpSocket,
    speaks: Speaks,
    tls: rustls::ServerConfig,
    settings: &TlsSettings,
    shared: &Arc<Shared>,
) -> io::Result<JoinHandle<()>> {
    let tls = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut server = ServerConfig::with_crypto(Arc::new(tls));
    server.transport_config(Arc::new(transport(&shared.settings, &speaks)));
    server
        .max_incoming(INCOMING.0)
        .incoming_buffer_size(INCOMING.1)
        .incoming_buffer_size_total(INCOMING.1 * INCOMING.0 as u64);
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))?;
    let listener = Arc::new(Listener {
        shared: Arc::clone(shared),
        speaks,
        handshake: settings.handshake,
        handshakes: Arc::new(Semaphore::new(settings.max_handshakes)),
        max_handshakes: settings.max_handshakes,
    });
    Ok(tokio::spawn(accept(endpoint, listener)))
}

/// The limits of a connection.
fn transport(settings: &TcpSettings, speaks: &Speaks) -> TransportConfig {
    let mut transport = TransportConfig::default();
    // Ours is watched by [`Guest::next`]; QUIC's own does not know that we owe an answer.
    let idle = IdleTimeout::try_from(settings.idle + OWED).unwrap_or(VarInt::from_u32(u32::MAX).into());
    let one_way = if matches!(speaks, Speaks::Doq) { 0 } else { ONE_WAY };
    transport
        .max_concurrent_bidi_streams(VarInt::try_from(settings.max_in_flight).unwrap_or(VarInt::MAX))
        .max_concurrent_uni_streams(one_way.into())
        .max_idle_timeout(Some(idle))
        .stream_receive_window(WINDOWS.0.into())
        .receive_window(WINDOWS.1.into())
        .send_window(WINDOWS.2.into())
        .datagram_receive_buffer_size(None);
    transport
}

/// Takes connections until stopped.
async fn accept(endpoint: Endpoint, listener: Arc<Listener>) {
    let mut stopped = listener.shared.stopped.clone();
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            _ = stopped.wait_for(|&stop| stop) => break,
        };
        let Some(incoming) = incoming else { break };
        listener.admit(incoming);
    }
    // Connections end by themselves, as they have been told; new ones are turned away meanwhile.
    endpoint.set_server_config(None);
    let _ = timeout(GRACE, endpoint.wait_idle()).await;
}

impl Listener {
    /// Begins a handshake, if there is a place for it.
    fn admit(self: &Arc<Self>, incoming: Incoming) {
        let proven = incoming.remote_address_validated();
        let free = self.handshakes.available_permits();
        if !proven && free <= self.max_handshakes - self.max_handshakes / UNPROVEN && incoming.may_retry() {
            // An error only says that it may not be retried, which it may.
            let _ = incoming.retry();
            return;
        }
        let Ok(place) = Arc::clone(&self.handshakes).try_acquire_owned() else {
            self.shared.decider.count(Counter::QuicRefused);
            // Whoever may have forged an address gets no answer to send elsewhere.
            if proven {
                incoming.refuse()
            } else {
                incoming.ignore()
            }
            return;
        };
        let listener = Arc::clone(self);
        tokio::spawn(async move {
            let shaken = async { incoming.accept()?.await };
            let Ok(Ok(connection)) = timeout(listener.handshake, shaken).await else {
                listener.shared.decider.count(Counter::QuicHandshakeFailed);
                return;
            };
            drop(place);
            listener.serve(connection).await;
        });
    }

    /// Serves a connection to its end, if there is a place for it.
    async fn serve(&self, connection: Connection) {
        let (no_error, excessive_load) = self.speaks.codes();
        let Some(_place) = self.shared.enter(connection.remote_address().ip()) else {
            connection.close(excessive_load, b"too many connections");
            return;
        };
        let guest = Guest::new(connection.clone(), &self.shared, self.speaks.transport());
        match &self.speaks {
            Speaks::Doq => doq::serve(&guest).await,
            Speaks::Doh3(site) => doh3::serve(&guest, site).await,
        }
        connection.close(no_error, b"");
    }
}

/// A client that is connected.
#[derive(Clone, Debug)]
struct Guest {
    connection: Connection,
    transport: Transport,
    /// What the name that the client gave in the handshake says.
    door: Door,
    desk: Arc<Desk>,
    /// One for each stream under way.
    streams: Arc<Semaphore>,
    max_streams: usize,
    end: Instant,
}

impl Guest {
    /// Just connected.
    fn new(connection: Connection, shared: &Arc<Shared>, transport: Transport) -> Self {
        let max_streams = shared.settings.max_in_flight;
        let streams = Arc::new(Semaphore::new(max_streams));
        let end = Instant::now() + shared.settings.total;
        let shaken = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
        let name = shaken.and_then(|shaken| shaken.server_name);
        let door = shared.named(Peer::new(connection.remote_address(), transport), name.as_deref()).door;
        Self { connection, transport, door, desk: Desk::new(shared), streams, max_streams, end }
    }

    /// Who asks; networks change, and the connection goes on.
    fn peer(&self) -> Peer {
        Peer::new(self.connection.remote_address(), self.transport).through(self.door)
    }

    /// How long a client may take for what it owes us.
    fn patience(&self) -> Duration {
        self.desk.shared().settings.idle
    }

    /// Comes when the connection's time is over, or the server's.
    async fn end(&self) {
        let mut stopped = self.desk.shared().stopped.clone();
        tokio::select! {
            _ = stopped.wait_for(|&stop| stop) => {}
            () = sleep_until(self.end) => {}
        }
    }

    /// What `accept` gives, with a place for it. `None`: nothing comes any more, or nothing came for too long.
    async fn next<T>(&self, accept: impl Future<Output = Option<T>>) -> Option<(T, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.streams).acquire_owned().await.ok()?;
        let mut accept = pin!(accept);
        loop {
            match timeout(self.patience(), accept.as_mut()).await {
                Ok(stream) => return stream.map(|stream| (stream, place)),
                // One place is ours; any other that is taken is an answer we owe.
                Err(_) if self.streams.available_permits() + 1 < self.max_streams => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits for the streams under way, for a while.
    async fn finish(&self) {
        let all = u32::try_from(self.max_streams).unwrap_or(u32::MAX);
        let _ = timeout(GRACE, self.streams.acquire_many(all)).await;
    }

    /// Waits until what was sent has arrived, if the connection is to end: what is on its way then would be lost.
    async fn delivered(&self, arrived: impl Future) {
        if *self.desk.shared().stopped.borrow() || Instant::now() >= self.end {
            let _ = timeout(GRACE, arrived).await;
        }
    }
}
