//! The way to one server: over UDP through [`Datagrams`], over TCP through hickory's connections; either way the reply
//! comes as bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Message};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use hickory_resolver::config::{ConnectionConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use hickory_resolver::{ConnectionProvider, PoolContext, TlsConfig};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use super::datagrams::{Datagram, Datagrams};
use super::question::{Match, Question};
use super::{Ask, Server, Trouble};
use crate::wire::{self, HEADER, flag, rcode};

/// Queries under way on one stream; hickory's multiplexer walks all of them on each wake-up, so not too many.
const PER_STREAM: usize = 32;
/// Streams to one server.
const STREAMS: usize = 16;
/// A stream unused for so long is not used again: the server has closed it or is about to (RFC 7766 section 6.2.3).
const STREAM_IDLE: Duration = Duration::from_secs(5);

/// So many replies in other letter case than asked, and none in the right one between them, say that a server does not
/// keep it.
const CASE_LOST: u32 = 3;

/// A reply and what is needed to judge it.
#[derive(Clone, Debug)]
pub(super) struct Got {
    /// The message as it came.
    pub(super) bytes: Arc<[u8]>,
    /// The whole response code, the OPT's upper bits included.
    pub(super) rcode: u16,
    /// Truncated, and not to be had whole over TCP.
    pub(super) truncated: bool,
    /// It carries an OPT.
    edns: bool,
}

/// The way to one server.
pub(super) struct Link {
    address: SocketAddr,
    datagrams: Option<(Datagrams, usize)>,
    mix_case: bool,
    /// Replies in other letter case in a row.
    case_lost: AtomicU32,
    connections: TokioRuntimeProvider,
    stream_config: ConnectionConfig,
    context: PoolContext,
    streams: Mutex<Vec<Stream>>,
    slots: Semaphore,
}

impl Link {
    /// Connects to nobody yet. `server` is not [`Server::System`].
    pub(super) fn new(server: &Server, datagrams: &Datagrams, mix_case: bool) -> Result<Self, NetError> {
        let (address, datagrams) = match server {
            Server::Udp(address) => (*address, Some((datagrams.clone(), datagrams.add(*address)))),
            Server::Tcp(address) => (*address, None),
            Server::System => return Err(NetError::NoConnections),
        };
        let mut options = ResolverOpts::default();
        options.max_active_requests = PER_STREAM;
        let mut stream_config = ConnectionConfig::tcp();
        stream_config.port = address.port();
        Ok(Self {
            address,
            datagrams,
            mix_case,
            case_lost: AtomicU32::new(0),
            connections: TokioRuntimeProvider::default(),
            stream_config,
            context: PoolContext::new(options, TlsConfig::new()?),
            streams: Mutex::new(Vec::new()),
            slots: Semaphore::new(PER_STREAM * STREAMS),
        })
    }

    /// Where it leads.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How.
    pub(super) fn transport(&self) -> &'static str {
        if self.datagrams.is_some() { "udp" } else { "tcp" }
    }

    /// A lost query is worth sending again.
    pub(super) fn may_lose(&self) -> bool {
        self.datagrams.is_some()
    }

    /// Asks once and waits without end: the caller knows how long. `again`: this was asked before and is not answered.
    pub(super) async fn ask(&self, ask: &Ask, again: bool) -> Result<Got, Trouble> {
        // With EDNS first; without, if that is what the server stumbles over (RFC 6891 section 7).
        let first = self.ask_with(ask, true, again).await;
        let stumbled = match &first {
            Ok(got) => got.rcode == rcode::FORMERR && !got.edns,
            Err(trouble) => *trouble == Trouble::Bare(rcode::FORMERR),
        };
        if stumbled { Box::pin(self.ask_with(ask, false, false)).await } else { first }
    }

    /// Over UDP, then over TCP if the answer is truncated or somebody guesses at it.
    async fn ask_with(&self, ask: &Ask, edns: bool, again: bool) -> Result<Got, Trouble> {
        let question = Question::new(ask, edns);
        let Some((datagrams, server)) = &self.datagrams else {
            return Box::pin(self.over_stream(&question)).await;
        };
        let mix_case = self.mix_case && self.case_lost.load(Ordering::Relaxed) < CASE_LOST;
        let got = match datagrams.ask(*server, question, again, mix_case).await {
            Ok(datagram) => {
                if mix_case {
                    self.case_lost.store(0, Ordering::Relaxed);
                }
                whole(datagram)?
            }
            Err(Trouble::OtherCase) => {
                // Perhaps the server does not keep it, perhaps this was somebody else; a stream knows who.
                let got = Box::pin(self.over_stream(&question)).await;
                if got.is_ok() {
                    self.case_lost.fetch_add(1, Ordering::Relaxed);
                }
                return got;
            }
            Err(Trouble::Attacked) => return Box::pin(self.over_stream(&question)).await,
            Err(trouble) => return Err(trouble),
        };
        if !got.truncated {
            return Ok(got);
        }
        Box::pin(self.over_stream(&question)).await.or(Ok(got))
    }

    /// Over a stream.
    async fn over_stream(&self, question: &Question) -> Result<Got, Trouble> {
        let message = Message::read(&mut BinDecoder::new(question.bytes())).map_err(|_| Trouble::Garbled)?;
        let request = DnsRequest::new(message, DnsRequestOptions::default());
        match self.send(request).await {
            Ok(response) => judge(response, question),
            Err(NetError::Timeout) => Err(Trouble::Silent),
            Err(NetError::Proto(_)) => Err(Trouble::Garbled),
            Err(_) => Err(Trouble::Unreachable),
        }
    }

    /// Through a stream that is open, or a new one.
    async fn send(&self, request: DnsRequest) -> Result<DnsResponse, NetError> {
        let _slot = self.slots.acquire().await.map_err(|_| NetError::NoConnections)?;
        let (stream, fresh) = self.stream(true).await?;
        match stream.send(request.clone()).await {
            Err(error) if !fresh && !matches!(error, NetError::Timeout) => {
                // The server may have closed it just when we wrote: that is no failure of the server's.
                let (stream, _) = self.stream(false).await?;
                stream.send(request).await
            }
            result => result,
        }
    }

    /// A stream with room, and whether it is a new one. Those who need a stream wait for the one that connects, so a
    /// burst does not open one each.
    async fn stream(&self, reuse: bool) -> Result<(Busy, bool), NetError> {
        let mut streams = self.streams.lock().await;
        streams.retain(Stream::is_usable);
        if reuse && let Some(busy) = streams.iter_mut().find_map(Stream::take_place) {
            return Ok((busy, false));
        }
        let handle = self.connections.new_connection(self.address.ip(), &self.stream_config, &self.context)?.await?;
        let mut stream = Stream { handle, under_way: Arc::default(), broken: Arc::default(), used: Instant::now() };
        let busy = stream.take_place().ok_or(NetError::Busy)?;
        if streams.len() >= STREAMS {
            streams.remove(0);
        }
        streams.push(stream);
        Ok((busy, true))
    }
}

/// What a datagram says, which is known to answer the question.
fn whole(datagram: Datagram) -> Result<Got, Trouble> {
    let Datagram { bytes, cut } = datagram;
    if let (false, Some(glance)) = (cut, wire::glance(&bytes)) {
        return Ok(Got { bytes, rcode: glance.rcode, truncated: glance.truncated, edns: glance.edns });
    }
    let flags = bytes.get(2..HEADER).and_then(|header| header.first_chunk()).map(|flags| u16::from_be_bytes(*flags));
    let flags = flags.unwrap_or_default();
    // Cut somewhere: there is more over TCP.
    if cut || flags & flag::TC != 0 {
        return Ok(Got { bytes, rcode: flags & 0xf, truncated: true, edns: true });
    }
    Err(Trouble::Garbled)
}

/// What came over a stream; hickory has seen to the id, not to the question.
fn judge(response: DnsResponse, question: &Question) -> Result<Got, Trouble> {
    match question.compare(response.as_buffer()) {
        Match::Exact | Match::OtherCase => {
            let bytes: Arc<[u8]> = response.into_buffer().into();
            whole(Datagram { bytes, cut: false })
        }
        Match::Bare(rcode) => Err(Trouble::Bare(rcode)),
        Match::Broken | Match::No => Err(Trouble::Garbled),
    }
}

/// An open stream.
struct Stream {
    handle: DnsExchange<TokioRuntimeProvider>,
    under_way: Arc<AtomicUsize>,
    broken: Arc<AtomicUsize>,
    used: Instant,
}

impl Stream {
    /// Neither broken nor forgotten.
    fn is_usable(&self) -> bool {
        self.broken.load(Ordering::Relaxed) == 0
            && (self.under_way.load(Ordering::Relaxed) > 0 || self.used.elapsed() < STREAM_IDLE)
    }

    /// A place for one query, if there is one. Only called under the lock of the streams.
    fn take_place(&mut self) -> Option<Busy> {
        if self.under_way.load(Ordering::Relaxed) >= PER_STREAM {
            return None;
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.used = Instant::now();
        Some(Busy {
            handle: self.handle.clone(),
            under_way: Arc::clone(&self.under_way),
            broken: Arc::clone(&self.broken),
        })
    }
}

/// A place on a stream, given back on drop.
struct Busy {
    handle: DnsExchange<TokioRuntimeProvider>,
    under_way: Arc<AtomicUsize>,
    broken: Arc<AtomicUsize>,
}

impl Busy {
    /// Sends and waits. A stream that fails is not used again.
    async fn send(&self, request: DnsRequest) -> Result<DnsResponse, NetError> {
        let result = self.handle.send(request).first_answer().await;
        if result.is_err() {
            self.broken.store(1, Ordering::Relaxed);
        }
        result
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
