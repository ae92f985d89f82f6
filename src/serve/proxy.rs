//! PROXY protocol, version 2: front ends say who asked. From those in `[server] proxy_from` its header is demanded, from
//! all others it is never read as one, so that nobody can say to be somebody else.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::engine::Decider;
use crate::limit::{self, Acl, Cidr};
use crate::stats::Counter;
use crate::util::{Now, Throttle};

/// What a header begins with: signature, command, family and length.
const FRONT: usize = 16;
/// The longest header taken over a stream. The largest address takes 216 octets; the rest are notes nobody here reads.
const MAX_HEADER: usize = 4096;

/// Who is believed.
#[derive(Clone, Debug)]
pub(super) struct FrontEnds {
    none: bool,
    blocks: Acl,
    trouble: Arc<Throttle>,
}

impl FrontEnds {
    /// From the setting.
    pub fn new(proxy_from: &[Cidr]) -> Self {
        let blocks = Acl::new(&limit::Settings { allow_from: proxy_from.to_vec() });
        Self { none: proxy_from.is_empty(), blocks, trouble: Arc::new(Throttle::new(10_000)) }
    }

    /// Whether what comes from `address` has a header in front.
    pub fn has(&self, address: SocketAddr) -> bool {
        !self.none && self.blocks.allows(address.ip())
    }

    /// A front end has sent something else than a header: counted and said.
    pub fn headless(&self, front_end: SocketAddr, decider: &Decider) {
        decider.count(Counter::ProxyHeaderMissing);
        if let Some(held) = self.trouble.pass(Now::read()) {
            tracing::warn!(%front_end, held, "no PROXY header of version 2 from a front end in [server] proxy_from");
        }
    }
}

/// Who sent a datagram that a front end hands on, and the message; `None`: there is no header, or none that makes sense.
pub(super) fn split(datagram: &[u8], front_end: SocketAddr) -> Option<(SocketAddr, &[u8])> {
    let (client, len) = parse(datagram, front_end)?;
    Some((client, datagram.get(len..)?))
}

/// Reads the header in front of a stream, and not an octet more.
///
/// # Errors
/// There is no header, or none that makes sense.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), front_end: SocketAddr) -> io::Result<SocketAddr> {
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut header = vec![0; FRONT];
    stream.read_exact(&mut header).await?;
    let rest = header.last_chunk::<2>().map_or(0, |len| usize::from(u16::from_be_bytes(*len)));
    // Who sends something else has most likely no header at all: its first octets are no length to wait for.
    let starts_well = ProxyHeader::parse(&header, CONFIG).is_ok_and(|(_, len)| len == FRONT)
        || matches!(ProxyHeader::parse(&header, CONFIG), Err(proxy_header::Error::BufferTooShort));
    if !starts_well || rest > MAX_HEADER {
        return Err(wrong("no PROXY header of version 2"));
    }
    header.resize(FRONT + rest, 0);
    stream.read_exact(header.get_mut(FRONT..).unwrap_or_default()).await?;
    let (client, _) = parse(&header, front_end).ok_or_else(|| wrong("a PROXY header that makes no sense"))?;
    Ok(client)
}

/// Version 2 alone, and what it says beside the addresses is left alone.
const CONFIG: ParseConfig = ParseConfig { include_tlvs: false, allow_v1: false, allow_v2: true };

/// The client that a header names, and how long the header is. A front end that asks for itself (LOCAL), or cannot say
/// for whom, is the client.
fn parse(bytes: &[u8], front_end: SocketAddr) -> Option<(SocketAddr, usize)> {
    let (header, len) = ProxyHeader::parse(bytes, CONFIG).ok()?;
    let client = header.proxied_address().map_or(front_end, |proxied| proxied.source);
    Some((SocketAddr::new(client.ip().to_canonical(), client.port()), len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    /// A header by hand.
    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        [SIGNATURE, &[command, family], &(rest.len() as u16).to_be_bytes(), rest].concat()
    }

    fn front_end() -> SocketAddr {
        "192.0.2.1:4000".parse().expect("an address")
    }

    /// Over a stream, with `behind` after the header; what was read, and what is left.
    fn over_stream(bytes: &[u8]) -> (Option<SocketAddr>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut stream = bytes;
        let read = runtime.block_on(read(&mut stream, front_end()));
        (read.ok(), stream.len())
    }

    #[test]
    fn the_client_is_who_the_header_names() {
        let v4 = [10, 1, 2, 3, 192, 0, 2, 9, 0x30, 0x39, 0, 53];
        let mut v6 = [0; 36];
        (v6[..16]).copy_from_slice(&"2001:db8::7".parse::<std::net::Ipv6Addr>().expect("an address").octets());
        v6[32..34].copy_from_slice(&12345_u16.to_be_bytes());
        let mut mapped = v6;
        mapped[..16].copy_from_slice(&"::ffff:10.1.2.3".parse::<std::net::Ipv6Addr>().expect("an address").octets());
        let notes = [&v4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        for (header, client) in [
            (header(0x21, 0x12, &v4), "10.1.2.3:12345"),
            (header(0x21, 0x11, &v4), "10.1.2.3:12345"),
            (header(0x21, 0x12, &notes), "10.1.2.3:12345"),
            (header(0x21, 0x22, &v6), "[2001:db8::7]:12345"),
            (header(0x21, 0x21, &v6), "[2001:db8::7]:12345"),
            (header(0x21, 0x22, &mapped), "10.1.2.3:12345"),
            (header(0x20, 0x00, &[]), "192.0.2.1:4000"),
            (header(0x20, 0x12, &v4), "192.0.2.1:4000"),
            (header(0x21, 0x00, &[]), "192.0.2.1:4000"),
            (header(0x21, 0x32, &[b'/'; 216]), "192.0.2.1:4000"),
        ] {
            let client = Some(client.parse::<SocketAddr>().expect("an address"));
            let datagram = [&header[..], b"query"].concat();
            assert_eq!(split(&datagram, front_end()), client.map(|client| (client, &b"query"[..])));
            assert_eq!(over_stream(&datagram), (client, 5), "{header:x?}");
        }
    }

    #[test]
    fn what_is_no_header_is_not_waited_for() {
        let v4 = [10, 1, 2, 3, 192, 0, 2, 9, 0x30, 0x39, 0, 53];
        let good = header(0x21, 0x12, &v4);
        for len in 0..good.len() {
            assert_eq!(split(&good[..len], front_end()), None, "{len} octets");
        }
        for bad in [
            header(0x21, 0x12, &v4[..11]),
            header(0x22, 0x12, &v4),
            header(0x31, 0x12, &v4),
            header(0x21, 0x42, &v4),
            header(0x21, 0x31, &v4),
            b"PROXY TCP4 10.0.0.1 10.0.0.2 52953 53\r\n and more".to_vec(),
            vec![0xff; 64],
            vec![0; 64],
        ] {
            assert_eq!(split(&bad, front_end()), None, "{bad:x?}");
            assert_eq!(over_stream(&bad).0, None, "{bad:x?}");
        }
        // 60,000 octets are said to come.
        let long = [SIGNATURE, &[0x21, 0x12, 0xea, 0x60], &[0; 100]].concat();
        assert_eq!(over_stream(&long), (None, 100));
        assert_eq!(over_stream(&[0x16; 16]), (None, 0));
    }

    #[test]
    fn only_those_listed_are_believed() {
        let some = FrontEnds::new(&["192.0.2.0/28".parse().expect("a block")]);
        assert!(some.has(front_end()));
        assert!(!some.has("192.0.2.16:53".parse().expect("an address")));
        assert!(!FrontEnds::new(&[]).has(front_end()));
    }

    proptest! {
        #[test]
        fn hostile_octets_never_make_it_panic(command: u8, family: u8, len: u16, rest in proptest::collection::vec(any::<u8>(), 0..300)) {
            let bytes = [SIGNATURE, &[command, family], &len.to_be_bytes(), &rest].concat();
            if let Some((_, message)) = split(&bytes, front_end()) {
                prop_assert_eq!(message.len() + 16 + usize::from(len), bytes.len());
            }
            let (client, left) = over_stream(&bytes);
            prop_assert_eq!(client.map(|client| (client, left)), split(&bytes, front_end()).map(|(client, message)| (client, message.len())));
        }
    }
}
