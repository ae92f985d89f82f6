//! From an accepted connection to one that may ask: who is there, if a front end says it; the TLS handshake, if there is
//! one; a place under the limits. Each in a task of its own, so that nobody waits for anybody's handshake.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::handshakes::{GivenUp, Handshakes};
use crate::engine::Peer;
use crate::event::Transport;
use crate::serve::proxy;
use crate::serve::shared::{Seat, Shared};
use crate::stats::Counter;

/// Greets the connections of all listeners.
#[derive(Clone, Debug)]
pub(in crate::serve) struct Greeter {
    shared: Arc<Shared>,
    handshakes: Arc<Handshakes>,
}

impl Greeter {
    /// Nobody is there yet.
    pub fn new(shared: &Arc<Shared>, handshakes: Arc<Handshakes>) -> Self {
        Self { shared: Arc::clone(shared), handshakes }
    }

    /// Has `serve` speak to a client that does not encrypt.
    pub fn plain<F>(
        &self,
        mut stream: TcpStream,
        from: SocketAddr,
        serve: impl FnOnce(TcpStream, Peer) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        if !self.shared.front_ends.has(from) {
            let Some(place) = self.shared.enter(from.ip()) else { return };
            tokio::spawn(async move {
                serve(stream, Peer::new(from, Transport::Tcp)).await;
                drop(place);
            });
            return;
        }
        let (greeter, handshake) = (self.clone(), self.handshakes.begin());
        tokio::spawn(async move {
            let work = async {
                let (client, seat) = greeter.client(&mut stream, from, None).await?;
                Some((stream, client, seat))
            };
            let Ok(Some((stream, client, seat))) = handshake
                .during(work)
                .await
                .inspect_err(|_| greeter.shared.front_ends.headless(from, &greeter.shared.decider))
            else {
                return;
            };
            let Some(place) = seat.enter() else { return };
            serve(stream, Peer::new(client, Transport::Tcp)).await;
            drop(place);
        });
    }

    /// Has `serve` speak to a client once it has shaken hands as `config` says, over what `over` makes of the stream.
    pub fn encrypted<S, F>(
        &self,
        mut stream: TcpStream,
        from: SocketAddr,
        (transport, config): (Transport, Arc<ServerConfig>),
        over: fn(TcpStream) -> S,
        serve: impl FnOnce(TlsStream<S>, Peer) -> F + Send + 'static,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let seat = match self.shared.front_ends.has(from) {
            true => None,
            false => match self.shared.seat(from.ip()) {
                Some(seat) => Some(seat),
                None => return,
            },
        };
        let (greeter, handshake) = (self.clone(), self.handshakes.begin());
        tokio::spawn(async move {
            let work = async {
                let (client, seat) = greeter.client(&mut stream, from, seat).await?;
                match TlsAcceptor::from(config).accept(over(stream)).into_fallible().await {
                    Ok(stream) => Some((stream, client, seat)),
                    Err((error, mut below)) => {
                        greeter.failed(client, &error);
                        // The alert that says why may still wait there.
                        let _ = below.flush().await;
                        None
                    }
                }
            };
            // Boxed: what a handshake takes is given back before the connection is served.
            let (stream, client, seat) = match Box::pin(handshake.during(work)).await {
                Ok(Some(done)) => done,
                Ok(None) => return,
                Err(given_up) => {
                    return greeter.shared.decider.count(match given_up {
                        GivenUp::Late => Counter::HandshakeLate,
                        GivenUp::PushedOut => Counter::HandshakePushedOut,
                    });
                }
            };
            greeter.shared.decider.count(Counter::HandshakeDone);
            let Some(place) = seat.enter() else { return };
            let peer = greeter.shared.named(Peer::new(client, transport), stream.get_ref().1.server_name());
            serve(stream, peer).await;
            drop(place);
        });
    }

    /// Who is there, with one of the connections it may have; `None`: a front end does not say, or there is a limit.
    async fn client(&self, stream: &mut TcpStream, from: SocketAddr, seat: Option<Seat>) -> Option<(SocketAddr, Seat)> {
        if let Some(seat) = seat {
            return Some((from, seat));
        }
        let Ok(client) = proxy::read(stream, from).await else {
            self.shared.front_ends.headless(from, &self.shared.decider);
            return None;
        };
        Some((client, self.shared.seat(client.ip())?))
    }

    /// A handshake broke; why is the client's own affair, but for who looks for reasons.
    fn failed(&self, client: SocketAddr, error: &io::Error) {
        self.shared.decider.count(Counter::HandshakeFailed);
        tracing::debug!(%client, %error, "TLS handshake failed");
    }
}
