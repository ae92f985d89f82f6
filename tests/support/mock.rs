//! A scriptable upstream server on loopback: UDP and TCP on one port, plain threads, no shared global state.
//!
//! ```ignore
//! let mock = Mock::start(|asked| match asked.name.as_str() {
//!     "gone.example" => Say::Nxdomain,
//!     "slow.example" => Say::Later(Duration::from_millis(300), Box::new(Say::A([192, 0, 2, 1]))),
//!     _ => Say::A([192, 0, 2, 1]),
//! });
//! // … point the server under test at udp://{mock.address()} …
//! assert_eq!(mock.count("gone.example"), 1);
//! ```
#![allow(dead_code)] // Each test binary uses its own part.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HTTPS, NULL, SOA, SVCB};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// TTL of everything the mock says.
pub const TTL: u32 = 300;
/// How often waiting threads look whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Lower case, no trailing dot; the root is empty.
    pub name: String,
    /// RR type.
    pub qtype: u16,
    /// RR class.
    pub qclass: u16,
    /// Message id.
    pub id: u16,
    /// Recursion desired.
    pub rd: bool,
    /// Checking disabled.
    pub cd: bool,
    /// Authentic data.
    pub ad: bool,
    /// EDNS payload size, if there is an OPT.
    pub edns: Option<u16>,
    /// DNSSEC OK.
    pub dnssec_ok: bool,
    /// Over TCP.
    pub tcp: bool,
    /// Who asked.
    pub client: SocketAddr,
    /// How often this name was asked before, any type.
    pub before: usize,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Say {
    /// An address for type A, NODATA with an SOA for all else.
    A([u8; 4]),
    /// An address for type AAAA, NODATA with an SOA for all else.
    Aaaa([u16; 8]),
    /// NXDOMAIN with an SOA.
    Nxdomain,
    /// NOERROR without records, with an SOA.
    Nodata,
    /// An error, question echoed.
    Rcode(ResponseCode),
    /// An error as a header only: no question, no OPT.
    Bare(ResponseCode),
    /// An error to queries with EDNS, the other answer to those without.
    NoEdns(Box<Say>),
    /// Nothing.
    Silence,
    /// The other answer, after a while; further queries are served meanwhile.
    Later(Duration, Box<Say>),
    /// TC without records over UDP, the other answer over TCP.
    Truncated(Box<Say>),
    /// A CNAME to the name, and an address there for type A.
    Cname(String, [u8; 4]),
    /// An HTTPS record in alias mode (priority 0) or service mode (priority 1 and up) with this target.
    Https(u16, String),
    /// An address with AD; with DO in the query, an RRSIG too.
    Signed([u8; 4]),
    /// A record of the type asked for with these bytes.
    Unknown(Vec<u8>),
    /// These records of any kind as answer.
    Records(Vec<Record>),
    /// These bytes, only the id filled in.
    Raw(Vec<u8>),
    /// The right answer to another question.
    OtherQuestion,
    /// Over UDP so many answers with a wrong id come first; then, and over TCP at once, the other answer.
    Forged(u16, Box<Say>),
    /// The other answer; over UDP the question in it is in lower case, however it was asked.
    LowerCase(Box<Say>),
    /// Over TCP: the connection is closed. Over UDP: nothing.
    Close,
}

/// What every query is put to.
type Script = dyn Fn(&Asked) -> Say + Send + Sync;

/// A running mock; dropping it stops it.
pub struct Mock {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the threads share.
struct Shared {
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
    counts: Mutex<HashMap<String, usize>>,
    stop: AtomicBool,
}

impl Mock {
    /// On 127.0.0.1 and a port of its own.
    pub fn start(script: impl Fn(&Asked) -> Say + Send + Sync + 'static) -> Self {
        let (udp, tcp) = sockets().expect("loopback has a free port for UDP and TCP");
        let address = udp.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            asked: Mutex::default(),
            counts: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let of_udp = Arc::clone(&shared);
        thread::spawn(move || serve_udp(&of_udp, udp));
        let of_tcp = Arc::clone(&shared);
        thread::spawn(move || serve_tcp(&of_tcp, &tcp));
        Self { address, shared }
    }

    /// The same address for every name.
    pub fn fixed(address: [u8; 4]) -> Self {
        Self::start(move |_| Say::A(address))
    }

    /// Where it listens, UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often `name` (lower case, no trailing dot) was asked, any type, any transport.
    pub fn count(&self, name: &str) -> usize {
        lock(&self.shared.counts).get(name).copied().unwrap_or(0)
    }

    /// All queries so far.
    pub fn total(&self) -> usize {
        lock(&self.shared.asked).len()
    }

    /// The last query for `name`.
    pub fn last(&self, name: &str) -> Option<Asked> {
        lock(&self.shared.asked).iter().rev().find(|asked| asked.name == name).cloned()
    }

    /// Every query in order.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// An address on loopback where nobody listens: bound and closed again.
pub fn dead_address() -> SocketAddr {
    let (udp, _tcp) = sockets().expect("loopback has a free port");
    udp.local_addr().expect("a bound socket has an address")
}

/// One port for both.
fn sockets() -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = io::Error::other("no port tried");
    for _ in 0..32 {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        match UdpSocket::bind(tcp.local_addr()?) {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Datagrams until told to stop.
fn serve_udp(shared: &Arc<Shared>, socket: UdpSocket) {
    let _ = socket.set_read_timeout(Some(TICK));
    let socket = Arc::new(socket);
    let mut buffer = [0; 65_535];
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((len, client)) = socket.recv_from(&mut buffer) else { continue };
        let Some((query, asked)) = shared.note(&buffer[..len], false, client) else { continue };
        let say = (shared.script)(&asked);
        let out = Arc::clone(&socket);
        deliver(query, asked, say, move |bytes| {
            let _ = out.send_to(bytes, client);
        });
    }
}

/// Connections until told to stop, a thread each.
fn serve_tcp(shared: &Arc<Shared>, listener: &TcpListener) {
    let _ = listener.set_nonblocking(true);
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((stream, client)) = listener.accept() else {
            thread::sleep(TICK / 5);
            continue;
        };
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let _ = serve_stream(&shared, stream, client);
        });
    }
}

/// Queries of one connection until it ends.
fn serve_stream(shared: &Arc<Shared>, mut stream: TcpStream, client: SocketAddr) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let writer = Arc::new(Mutex::new(stream.try_clone()?));
    loop {
        let mut len = [0; 2];
        stream.read_exact(&mut len)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut query)?;
        if shared.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Some((query, asked)) = shared.note(&query, true, client) else { continue };
        let say = (shared.script)(&asked);
        if matches!(say, Say::Close) {
            return stream.shutdown(std::net::Shutdown::Both);
        }
        let writer = Arc::clone(&writer);
        deliver(query, asked, say, move |bytes| {
            let framed = [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
            let _ = lock(&writer).write_all(&framed);
        });
    }
}

impl Shared {
    /// Reads a query and writes it down; `None` for what is no query.
    fn note(&self, bytes: &[u8], tcp: bool, client: SocketAddr) -> Option<(Message, Asked)> {
        let query = Message::from_vec(bytes).ok()?;
        let question = query.queries.first()?;
        let name = question.name().to_ascii().to_lowercase().trim_end_matches('.').to_owned();
        let before = {
            let mut counts = lock(&self.counts);
            let count = counts.entry(name.clone()).or_default();
            *count += 1;
            *count - 1
        };
        let asked = Asked {
            name,
            qtype: question.query_type().into(),
            qclass: question.query_class().into(),
            id: query.id,
            rd: query.recursion_desired,
            cd: query.checking_disabled,
            ad: query.authentic_data,
            edns: query.edns.as_ref().map(Edns::max_payload),
            dnssec_ok: query.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok),
            tcp,
            client,
            before,
        };
        lock(&self.asked).push(asked.clone());
        Some((query, asked))
    }
}

/// Sends what is to be said, now or later.
fn deliver(query: Message, asked: Asked, say: Say, send: impl Fn(&[u8]) + Send + 'static) {
    match say {
        Say::Later(wait, say) => {
            thread::spawn(move || {
                thread::sleep(wait);
                deliver(query, asked, *say, send);
            });
        }
        Say::Forged(count, say) => {
            let Some(bytes) = answer(&query, &asked, *say) else { return };
            for wrong in (1..=count).filter(|_| !asked.tcp) {
                let mut forged = bytes.clone();
                forged[..2].copy_from_slice(&query.id.wrapping_add(wrong).to_be_bytes());
                send(&forged);
            }
            send(&bytes);
        }
        say => {
            if let Some(bytes) = answer(&query, &asked, say) {
                send(&bytes);
            }
        }
    }
}

/// The answer on the wire; `None` for silence.
fn answer(query: &Message, asked: &Asked, say: Say) -> Option<Vec<u8>> {
    let name = query.queries.first()?.name().clone();
    let qtype = RecordType::from(asked.qtype);
    let mut message = Message::response(query.id, OpCode::Query);
    message.metadata.recursion_desired = query.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.checking_disabled = query.checking_disabled;
    message.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(1232).set_dnssec_ok(asked.dnssec_ok);
        message.set_edns(edns);
    }
    match say {
        Say::Silence | Say::Close => return None,
        Say::Later(_, say) | Say::Forged(_, say) => return answer(query, asked, *say),
        Say::LowerCase(say) => {
            let mut query = query.clone();
            for question in query.queries.iter_mut().filter(|_| !asked.tcp) {
                question.name = question.name.to_lowercase();
            }
            return answer(&query, asked, *say);
        }
        Say::A(address) if qtype == RecordType::A => {
            message.add_answer(a(&name, address));
        }
        Say::Aaaa(address) if qtype == RecordType::AAAA => {
            message.add_answer(Record::from_rdata(name, TTL, RData::AAAA(AAAA(Ipv6Addr::from(address)))));
        }
        Say::A(_) | Say::Aaaa(_) | Say::Nodata => {
            message.add_authority(soa());
        }
        Say::Nxdomain => {
            message.metadata.response_code = ResponseCode::NXDomain;
            message.add_authority(soa());
        }
        Say::Rcode(rcode) => message.metadata.response_code = rcode,
        Say::Bare(rcode) => {
            message.metadata.response_code = rcode;
            message.queries.clear();
            message.edns = None;
        }
        Say::NoEdns(_) if query.edns.is_some() => return answer(query, asked, Say::Bare(ResponseCode::FormErr)),
        Say::NoEdns(say) => return answer(query, asked, *say),
        Say::Truncated(say) if asked.tcp => return answer(query, asked, *say),
        Say::Truncated(_) => message.metadata.truncation = true,
        Say::Cname(target, address) => {
            let target = Name::from_ascii(format!("{target}.")).expect("a script's target is a name");
            message.add_answer(Record::from_rdata(name, TTL, RData::CNAME(CNAME(target.clone()))));
            if qtype == RecordType::A {
                message.add_answer(a(&target, address));
            }
        }
        Say::Https(priority, target) => {
            let target = Name::from_ascii(format!("{target}.")).expect("a script's target is a name");
            let svcb = SVCB::new(priority, target, Vec::new());
            message.add_answer(Record::from_rdata(name, TTL, RData::HTTPS(HTTPS(svcb))));
        }
        Say::Signed(address) => {
            message.metadata.authentic_data = true;
            message.add_answer(a(&name, address));
            if asked.dnssec_ok {
                message.add_answer(rrsig(&name));
            }
        }
        Say::Unknown(bytes) => {
            message.add_answer(raw(&name, qtype, bytes));
        }
        Say::Records(records) => {
            message.add_answers(records);
        }
        Say::OtherQuestion => {
            message.queries.clear();
            let other = Name::from_ascii("other.example.").expect("a name");
            message.add_query(hickory_proto::op::Query::query(other.clone(), RecordType::A));
            message.add_answer(a(&other, [192, 0, 2, 66]));
        }
        Say::Raw(mut bytes) => {
            bytes.get_mut(..2)?.copy_from_slice(&query.id.to_be_bytes());
            return Some(bytes);
        }
    }
    message.metadata.message_type = MessageType::Response;
    message.to_vec().ok()
}

/// An address record.
pub fn a(name: &Name, address: [u8; 4]) -> Record {
    Record::from_rdata(name.clone(), TTL, RData::A(A(Ipv4Addr::from(address))))
}

/// A record of any type from bytes.
pub fn raw(name: &Name, rtype: RecordType, bytes: Vec<u8>) -> Record {
    Record::from_rdata(name.clone(), TTL, RData::Unknown { code: rtype, rdata: NULL::with(bytes) })
}

/// Something that looks like a signature over type A by `example.`.
fn rrsig(name: &Name) -> Record {
    let mut bytes = vec![0, 1, 13, 2];
    for number in [TTL, 0x7000_0000, 0x6000_0000] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend([0x12, 0x34]);
    bytes.extend(b"\x07example\0");
    bytes.extend([0xab; 64]);
    raw(name, RecordType::RRSIG, bytes)
}

/// The SOA of negative answers.
fn soa() -> Record {
    let zone = Name::from_ascii("example.").expect("a name");
    let data = SOA::new(zone.clone(), zone.clone(), 1, 3600, 600, 86_400, 60);
    Record::from_rdata(zone, TTL, RData::SOA(data))
}

/// A lock no panic of another thread can take away.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
