//! Provisional: takes TLS connections for DoH.

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::super::shared::Shared;
use super::{Site, Version, serve};
use crate::engine::Peer;
use crate::event::Transport;

/// Accepts until stopped.
pub(in super::super) fn start(
    listener: StdListener,
    tls: rustls::ServerConfig,
    handshake: Duration,
    shared: &Arc<Shared>,
    site: &Arc<Site>,
) -> std::io::Result<JoinHandle<()>> {
    let listener = TcpListener::from_std(listener)?;
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let (shared, site) = (Arc::clone(shared), Arc::clone(site));
    Ok(tokio::spawn(async move {
        let mut stopped = shared.stopped.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopped.wait_for(|&stop| stop) => return,
            };
            let Ok((stream, client)) = accepted else { continue };
            let _ = stream.set_nodelay(true);
            let Some(place) = shared.enter(client.ip()) else { continue };
            let (acceptor, shared, site) = (acceptor.clone(), Arc::clone(&shared), Arc::clone(&site));
            tokio::spawn(async move {
                let _place = place;
                let Ok(Ok(stream)) = timeout(handshake, acceptor.accept(stream)).await else { return };
                let version = Version::agreed(stream.get_ref().1.alpn_protocol());
                serve(stream, version, Peer::new(client, Transport::Doh), &shared, &site).await;
            });
        }
    }))
}
