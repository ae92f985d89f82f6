//! Connections to one server: hickory's, with the reply as bytes.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name as ProtoName, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use hickory_resolver::config::{ConnectionConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::{DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime};
use hickory_resolver::net::udp::UdpClientStream;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, DnsRequestSender, FirstAnswer};
use hickory_resolver::{ConnectionProvider, PoolContext, TlsConfig};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use super::{Ask, Server};

/// EDNS payload we take over UDP (DNS flag day 2020): no fragments.
const PAYLOAD: u16 = 1232;
/// Queries under way on one stream; hickory's multiplexer walks all of them on each wake-up, so not too many.
const PER_STREAM: usize = 32;
/// Streams to one server.
const STREAMS: usize = 16;
/// A stream unused for so long is not used again: the server has closed it or is about to (RFC 7766 section 6.2.3).
const STREAM_IDLE: Duration = Duration::from_secs(5);

/// A reply and what is needed to judge it.
#[derive(Debug)]
pub(super) struct Got {
    /// The message as it came.
    pub(super) bytes: Vec<u8>,
    /// The whole response code, the OPT's upper bits included.
    pub(super) rcode: ResponseCode,
    /// Truncated, and not to be had whole over TCP.
    pub(super) truncated: bool,
    /// It carries an OPT.
    edns: bool,
}

/// Why a server gave no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Silence.
    Silent,
    /// It cannot be reached, or closed the connection.
    Unreachable,
    /// A reply that is no answer to the question, or that no parser takes.
    Garbled,
    /// An error without the question it belongs to.
    Bare(ResponseCode),
}

/// The way to one server.
pub(super) struct Link {
    address: SocketAddr,
    stream_only: bool,
    sockets: Sockets,
    stream_config: ConnectionConfig,
    context: PoolContext,
    streams: Mutex<Vec<Stream>>,
    slots: Semaphore,
}

impl Link {
    /// Connects to nobody yet. `server` is not [`Server::System`].
    pub(super) fn new(server: &Server) -> Result<Self, NetError> {
        let (address, stream_only) = match server {
            Server::Udp(address) => (*address, false),
            Server::Tcp(address) => (*address, true),
            Server::System => return Err(NetError::NoConnections),
        };
        let mut options = ResolverOpts::default();
        options.max_active_requests = PER_STREAM;
        let mut stream_config = ConnectionConfig::tcp();
        stream_config.port = address.port();
        Ok(Self {
            address,
            stream_only,
            sockets: Sockets::default(),
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
        if self.stream_only { "tcp" } else { "udp" }
    }

    /// A lost query is worth sending again.
    pub(super) fn may_lose(&self) -> bool {
        !self.stream_only
    }

    /// Asks once. Ends after `within` whatever happens.
    pub(super) async fn ask(&self, ask: &Ask, within: Duration) -> Result<Got, Trouble> {
        match tokio::time::timeout(within, self.ask_as_needed(ask, within)).await {
            Ok(result) => result,
            Err(_) => Err(Trouble::Silent),
        }
    }

    /// With EDNS first; without, if that is what the server stumbles over (RFC 6891 section 7).
    async fn ask_as_needed(&self, ask: &Ask, within: Duration) -> Result<Got, Trouble> {
        let first = self.ask_with(ask, true, within).await;
        let stumbled = match &first {
            Ok(got) => got.rcode == ResponseCode::FormErr && !got.edns,
            Err(trouble) => *trouble == Trouble::Bare(ResponseCode::FormErr),
        };
        if stumbled { self.ask_with(ask, false, within).await } else { first }
    }

    /// Over UDP, then over TCP if the answer is truncated.
    async fn ask_with(&self, ask: &Ask, edns: bool, within: Duration) -> Result<Got, Trouble> {
        let request = request(ask, edns).ok_or(Trouble::Garbled)?;
        if self.stream_only {
            return judge(self.over_stream(request).await, ask);
        }
        let got = judge(self.over_udp(request.clone(), within).await, ask)?;
        if !got.truncated {
            return Ok(got);
        }
        match judge(self.over_stream(request).await, ask) {
            Ok(whole) => Ok(whole),
            Err(_) => Ok(got),
        }
    }

    /// A fresh socket on a random port and a random id for each query; hickory checks source, id and question.
    async fn over_udp(&self, request: DnsRequest, within: Duration) -> Result<DnsResponse, NetError> {
        // One send a try: repeating it is our strategy's business.
        UdpClientStream::builder(self.address, self.sockets.clone())
            .with_timeout(Some(within))
            .with_max_retries(1)
            .build()
            .send_message(request)
            .first_answer()
            .await
    }

    /// Over a stream that is open, or a new one.
    async fn over_stream(&self, request: DnsRequest) -> Result<DnsResponse, NetError> {
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
        let handle = self.sockets.new_connection(self.address.ip(), &self.stream_config, &self.context)?.await?;
        let mut stream = Stream { handle, under_way: Arc::default(), broken: Arc::default(), used: Instant::now() };
        let busy = stream.take_place().ok_or(NetError::Busy)?;
        if streams.len() >= STREAMS {
            streams.remove(0);
        }
        streams.push(stream);
        Ok((busy, true))
    }
}

/// An open stream.
struct Stream {
    handle: DnsExchange<Sockets>,
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
    handle: DnsExchange<Sockets>,
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

/// The query as a message; `None` only if hickory does not take a name we took.
fn request(ask: &Ask, edns: bool) -> Option<DnsRequest> {
    let name = ProtoName::read(&mut BinDecoder::new(ask.name.wire())).ok()?;
    let mut query = Query::query(name, RecordType::from(ask.qtype));
    query.set_query_class(DNSClass::from(ask.qclass));
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.metadata.authentic_data = true;
    message.metadata.checking_disabled = ask.checking_disabled;
    message.add_query(query);
    if edns {
        let mut opt = Edns::new();
        opt.set_max_payload(PAYLOAD).set_dnssec_ok(ask.dnssec_ok);
        message.set_edns(opt);
    }
    Some(DnsRequest::new(message, DnsRequestOptions::default()))
}

/// Sorts what hickory gives into what a strategy wants to know.
fn judge(result: Result<DnsResponse, NetError>, ask: &Ask) -> Result<Got, Trouble> {
    match result {
        Ok(response) => {
            if !echoes(response.as_buffer(), ask) {
                return Err(match response.response_code {
                    rcode if response.queries.is_empty() && rcode != ResponseCode::NoError => Trouble::Bare(rcode),
                    _ => Trouble::Garbled,
                });
            }
            Ok(Got {
                rcode: response.response_code,
                truncated: response.truncation,
                edns: response.edns.is_some(),
                bytes: response.into_buffer(),
            })
        }
        Err(NetError::Timeout) => Err(Trouble::Silent),
        Err(NetError::Proto(_)) => Err(Trouble::Garbled),
        Err(NetError::Io(error)) => match error.get_ref().and_then(|inner| inner.downcast_ref::<BareError>()) {
            Some(bare) => Err(Trouble::Bare(bare.0)),
            None => Err(Trouble::Unreachable),
        },
        Err(_) => Err(Trouble::Unreachable),
    }
}

/// The reply carries our question and nothing else as question. hickory checks this over UDP only.
fn echoes(reply: &[u8], ask: &Ask) -> bool {
    let name = ask.name.wire();
    let Some((header, body)) = reply.split_at_checked(12) else { return false };
    let Some((asked, rest)) = body.split_at_checked(name.len()) else { return false };
    let tail = [ask.qtype.to_be_bytes(), ask.qclass.to_be_bytes()].concat();
    // Length octets are below the letters, so ignoring case cannot make two different names equal.
    header.get(4..6) == Some(&[0, 1]) && asked.eq_ignore_ascii_case(name) && rest.starts_with(&tail)
}

/// tokio's sockets for hickory, with what its own provider lacks.
#[derive(Clone, Default)]
pub(super) struct Sockets(TokioRuntimeProvider);

impl RuntimeProvider for Sockets {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = Datagrams;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.0.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        bind: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Tcp>>>> {
        self.0.connect_tcp(server, bind, timeout)
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Udp>>>> {
        Box::pin(async move {
            let socket = UdpSocket::bind(local).await?;
            // Connected, so that "port unreachable" comes back at once and others' datagrams never do.
            socket.connect(server).await?;
            Ok(Datagrams { socket, server, id: AtomicU16::new(0) })
        })
    }
}

/// A connected UDP socket that reports errors without a question, which hickory would wait past: servers that do
/// not know EDNS answer like that.
pub(super) struct Datagrams {
    socket: UdpSocket,
    server: SocketAddr,
    id: AtomicU16,
}

impl DnsUdpSocket for Datagrams {
    type Time = TokioTime;

    fn poll_recv_from(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut space = tokio::io::ReadBuf::new(buf);
        ready!(self.socket.poll_recv(cx, &mut space))?;
        Poll::Ready(self.checked(space.filled()))
    }

    /// What the trait gives waits for readability, and epoll reports "port unreachable" as an error only.
    fn recv_from<'a: 'f, 'b: 'f, 'f>(&'a self, buf: &'b mut [u8]) -> Pin<Box<Receiving<'f>>>
    where
        Self: 'f,
    {
        Box::pin(async move {
            loop {
                let ready = self.socket.ready(Interest::READABLE.add(Interest::ERROR)).await?;
                if ready.is_error() {
                    if let Some(error) = self.socket.take_error()? {
                        return Err(error);
                    }
                    // Spent: without this the next round would not wait.
                    let _ = self.socket.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                }
                match self.socket.try_recv(buf) {
                    Ok(len) => return self.checked(buf.get(..len).unwrap_or_default()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        })
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, buf: &[u8], _: SocketAddr) -> Poll<io::Result<usize>> {
        if let Some(id) = buf.first_chunk() {
            self.id.store(u16::from_be_bytes(*id), Ordering::Relaxed);
        }
        self.socket.poll_send(cx, buf)
    }
}

/// The future [`Datagrams`] receives with.
type Receiving<'f> = dyn Future<Output = io::Result<(usize, SocketAddr)>> + Send + 'f;

impl Datagrams {
    /// A datagram as hickory is to see it.
    fn checked(&self, datagram: &[u8]) -> io::Result<(usize, SocketAddr)> {
        match bare_error(datagram, self.id.load(Ordering::Relaxed)) {
            Some(bare) => Err(io::Error::other(bare)),
            None => Ok((datagram.len(), self.server)),
        }
    }
}

/// An error reply that is a header only.
#[derive(Debug)]
struct BareError(ResponseCode);

impl std::fmt::Display for BareError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} without a question", self.0)
    }
}

impl std::error::Error for BareError {}

/// Reads a reply to query `id` that has QR, no question, and a response code other than NOERROR.
fn bare_error(reply: &[u8], id: u16) -> Option<BareError> {
    let &[a, b, flags, code, q1, q2, ..] = reply else { return None };
    let bare = reply.len() >= 12 && u16::from_be_bytes([a, b]) == id && flags & 0x80 != 0 && (q1, q2) == (0, 0);
    (bare && code & 0x0f != 0).then(|| BareError(ResponseCode::from(0, code & 0x0f)))
}
