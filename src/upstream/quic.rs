//! QUIC, and DNS over it (RFC 9250): a stream for a question, its length before it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, TransportConfig, VarInt};

use super::Trouble;
use super::trust::Trust;

/// The longest message with its length.
const MAX_STREAM: usize = 2 + 65_535;
/// A connection on which nothing comes for so long has ended.
const IDLE: Duration = Duration::from_secs(30);
/// Streams a server may open: none for DNS, some for what HTTP/3 has beside its requests.
const SERVER_STREAMS: u8 = 8;

/// Shakes hands; needs a runtime.
pub(super) async fn connect(address: SocketAddr, trust: &Trust) -> Option<Connection> {
    let crypto = QuicClientConfig::try_from(Arc::clone(&trust.config)).ok()?;
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(0));
    transport.max_concurrent_uni_streams(VarInt::from(SERVER_STREAMS));
    transport.max_idle_timeout(IDLE.try_into().ok());
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    let from: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A socket for each connection: its port is as fresh as the connection.
    let endpoint = Endpoint::client(from).ok()?;
    endpoint.connect_with(config, address, &trust.name.to_str()).ok()?.await.ok()
}

/// One question on a stream of its own.
pub(super) async fn ask(connection: &Connection, question: &[u8]) -> Result<Vec<u8>, Trouble> {
    let len = u16::try_from(question.len()).map_err(|_| Trouble::Garbled)?;
    let (mut send, mut receive) = connection.open_bi().await.map_err(|_| Trouble::Unreachable)?;
    let frame = [&len.to_be_bytes()[..], question].concat();
    send.write_all(&frame).await.map_err(|_| Trouble::Unreachable)?;
    send.finish().map_err(|_| Trouble::Unreachable)?;
    let answer = receive.read_to_end(MAX_STREAM).await.map_err(|error| match error {
        quinn::ReadToEndError::TooLong => Trouble::Garbled,
        quinn::ReadToEndError::Read(_) => Trouble::Unreachable,
    })?;
    let (len, message) = answer.split_first_chunk::<2>().ok_or(Trouble::Garbled)?;
    if usize::from(u16::from_be_bytes(*len)) == message.len() { Ok(message.to_vec()) } else { Err(Trouble::Garbled) }
}
