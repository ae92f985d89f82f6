//! A small DNS client: queries built by hand, so that they may be wrong; answers read by hickory-proto.
#![allow(dead_code)] // Each test binary uses its own part.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{RData, Record};

/// How long an answer may take before the test has failed. Generous: machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// RR types by name.
#[allow(missing_docs)]
pub mod rtype {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const HINFO: u16 = 13;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const DNAME: u16 = 39;
    pub const OPT: u16 = 41;
    pub const DS: u16 = 43;
    pub const RRSIG: u16 = 46;
    pub const SVCB: u16 = 64;
    pub const HTTPS: u16 = 65;
    pub const AXFR: u16 = 252;
    pub const ANY: u16 = 255;
}

/// Response codes by name.
#[allow(missing_docs)]
pub mod rcode {
    pub const NOERROR: u16 = 0;
    pub const FORMERR: u16 = 1;
    pub const SERVFAIL: u16 = 2;
    pub const NXDOMAIN: u16 = 3;
    pub const NOTIMP: u16 = 4;
    pub const REFUSED: u16 = 5;
    pub const BADVERS: u16 = 16;
}

/// EDNS option: Extended DNS Error.
pub const EDE: u16 = 15;
/// EDNS option: Structured DNS Error.
pub const STRUCTURED_ERROR: u16 = 26;

/// A query to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// As it goes out, case and all; labels are what stands between dots.
    pub name: String,
    /// RR type.
    pub qtype: u16,
    /// RR class.
    pub qclass: u16,
    /// Message id.
    pub id: u16,
    /// The header's flag word.
    pub flags: u16,
    /// The OPT record.
    pub edns: Option<Edns>,
}

/// An OPT record, asked or answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edns {
    /// Largest answer over UDP.
    pub payload: u16,
    /// EDNS version.
    pub version: u8,
    /// DNSSEC OK.
    pub dnssec_ok: bool,
    /// Codes and data.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Default for Edns {
    fn default() -> Self {
        Self { payload: 1232, version: 0, dnssec_ok: false, options: Vec::new() }
    }
}

impl Ask {
    /// A plain query with RD.
    pub fn new(name: &str, qtype: u16) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0x1234);
        let id = NEXT.fetch_add(0x0101, Ordering::Relaxed);
        Self { name: name.into(), qtype, qclass: 1, id, flags: 0x0100, edns: None }
    }

    /// With an OPT record.
    pub fn edns(mut self) -> Self {
        self.edns.get_or_insert_default();
        self
    }

    /// With DNSSEC OK.
    pub fn dnssec_ok(mut self) -> Self {
        self.edns.get_or_insert_default().dnssec_ok = true;
        self
    }

    /// With another payload size.
    pub fn payload(mut self, payload: u16) -> Self {
        self.edns.get_or_insert_default().payload = payload;
        self
    }

    /// With an empty Structured DNS Error option.
    pub fn structured(mut self) -> Self {
        self.edns.get_or_insert_default().options.push((STRUCTURED_ERROR, Vec::new()));
        self
    }

    /// With Checking Disabled.
    pub fn checking_disabled(mut self) -> Self {
        self.flags |= 0x0010;
        self
    }

    /// With another flag word.
    pub fn flags(mut self, flags: u16) -> Self {
        self.flags = flags;
        self
    }

    /// The message.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for word in [self.id, self.flags, 1, 0, 0, u16::from(self.edns.is_some())] {
            out.extend(word.to_be_bytes());
        }
        out.extend(wire(&self.name));
        out.extend(self.qtype.to_be_bytes());
        out.extend(self.qclass.to_be_bytes());
        if let Some(edns) = &self.edns {
            out.extend([0, 0, rtype::OPT as u8]);
            out.extend(edns.payload.to_be_bytes());
            out.extend([0, edns.version, if edns.dnssec_ok { 0x80 } else { 0 }, 0]);
            let mut options = Vec::new();
            for (code, data) in &edns.options {
                options.extend(code.to_be_bytes());
                options.extend((data.len() as u16).to_be_bytes());
                options.extend(data);
            }
            out.extend((options.len() as u16).to_be_bytes());
            out.extend(options);
        }
        out
    }
}

/// A name on the wire.
pub fn wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(label.len() as u8);
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

/// An answer in a form that compares: records in order, names with their case, no trace of compression.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// Message id.
    pub id: u16,
    /// The header's flag word, without the response code.
    pub flags: u16,
    /// Response code, extended bits included.
    pub rcode: u16,
    /// Name, type, class of the question.
    pub question: Option<(String, u16, u16)>,
    /// Answer section.
    pub answers: Vec<Rec>,
    /// Authority section.
    pub authorities: Vec<Rec>,
    /// Additional section without OPT.
    pub additionals: Vec<Rec>,
    /// OPT record.
    pub edns: Option<Edns>,
    /// Octets of the message.
    pub len: usize,
}

/// A record in a form that compares.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rec {
    /// Owner, case and all, no trailing dot.
    pub name: String,
    /// RR type.
    pub rtype: u16,
    /// Seconds.
    pub ttl: u32,
    /// As in a zone file; hexadecimal where hickory does not know the type.
    pub data: String,
}

/// A record.
pub fn rec(name: &str, rtype: u16, ttl: u32, data: &str) -> Rec {
    Rec { name: name.into(), rtype, ttl, data: data.into() }
}

impl fmt::Debug for Rec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} TYPE{} {}", self.name, self.ttl, self.rtype, self.data)
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flags, rcode, question, answers, authorities, additionals, edns, len, .. } = self;
        write!(f, "flags {flags:04x} rcode {rcode} question {question:?} answers {answers:?} ")?;
        write!(f, "authorities {authorities:?} additionals {additionals:?} edns {edns:?} ({len} octets)")
    }
}

impl Reply {
    /// Reads a message; it must be a proper one.
    pub fn read(bytes: &[u8]) -> Self {
        let message = Message::from_vec(bytes).unwrap_or_else(|error| panic!("not a message: {error}: {bytes:?}"));
        let flags = u16::from_be_bytes([bytes[2], bytes[3]]);
        let edns = message.edns.as_ref().map(|edns| Edns {
            payload: edns.max_payload(),
            version: edns.version(),
            dnssec_ok: edns.flags().dnssec_ok,
            options: edns.options().options.iter().map(|(code, option)| (u16::from(*code), data(option))).collect(),
        });
        let high = message.edns.as_ref().map_or(0, |edns| u16::from(edns.rcode_high()));
        let question = message.queries.first();
        Self {
            id: message.metadata.id,
            flags: flags & !0xf,
            rcode: high << 4 | flags & 0xf,
            question: question.map(|q| (plain(&q.name().to_ascii()), q.query_type().into(), q.query_class().into())),
            answers: message.answers.iter().map(Rec::of).collect(),
            authorities: message.authorities.iter().map(Rec::of).collect(),
            additionals: message.additionals.iter().map(Rec::of).collect(),
            edns,
            len: bytes.len(),
        }
    }

    /// Truncated.
    pub fn truncated(&self) -> bool {
        self.flags & 0x0200 != 0
    }

    /// Authentic data.
    pub fn authentic(&self) -> bool {
        self.flags & 0x0020 != 0
    }

    /// Code and text of the extended error.
    pub fn ede(&self) -> Option<(u16, String)> {
        let edns = self.edns.as_ref()?;
        let (_, data) = edns.options.iter().find(|(code, _)| *code == EDE)?;
        let (code, text) = data.split_first_chunk::<2>()?;
        Some((u16::from_be_bytes(*code), String::from_utf8(text.to_vec()).expect("EXTRA-TEXT is UTF-8")))
    }

    /// Code of the extended error.
    pub fn ede_code(&self) -> Option<u16> {
        self.ede().map(|(code, _)| code)
    }

    /// Data of the answers of one type.
    pub fn data(&self, rtype: u16) -> Vec<&str> {
        self.answers.iter().filter(|rec| rec.rtype == rtype).map(|rec| rec.data.as_str()).collect()
    }

    /// NOERROR with exactly this address.
    pub fn is_address(&self, address: &str) -> bool {
        self.rcode == rcode::NOERROR && self.answers.len() == 1 && self.answers[0].data == address
    }

    /// The same but for what may differ between transports and queries: id, length, and the order of nothing.
    pub fn comparable(mut self) -> Self {
        self.id = 0;
        self.len = 0;
        self
    }
}

impl Rec {
    /// Of a record of hickory's.
    fn of(record: &Record) -> Self {
        let data = match &record.data {
            RData::Unknown { rdata, .. } => rdata.anything.iter().map(|byte| format!("{byte:02x}")).collect(),
            data => data.to_string(),
        };
        Self { name: plain(&record.name.to_ascii()), rtype: record.record_type().into(), ttl: record.ttl, data }
    }
}

/// Data of an option.
fn data(option: &EdnsOption) -> Vec<u8> {
    Vec::try_from(option).expect("hickory has read it, so it can write it")
}

/// Without the trailing dot.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).into()
}

/// A UDP socket that talks to one server.
pub struct Udp(UdpSocket);

impl Udp {
    /// From any port to `server`.
    pub fn to(server: SocketAddr) -> Self {
        let local: SocketAddr =
            if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        Self::between(local, server)
    }

    /// From an address of this host, which tells clients apart, to `server`.
    pub fn from(client: Ipv4Addr, server: SocketAddr) -> Self {
        Self::between((client, 0).into(), server)
    }

    /// From `local` to `server`.
    fn between(local: SocketAddr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind(local).expect("a free port");
        socket.connect(server).expect("a route to loopback");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Self(socket)
    }

    /// Sends a datagram; that a server refuses it is no error here.
    pub fn send(&self, bytes: &[u8]) {
        let _ = self.0.send(bytes);
    }

    /// The next datagram; `None` after [`PATIENCE`] or when nobody listens.
    pub fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65_535];
        let len = self.0.recv(&mut buffer).ok()?;
        buffer.truncate(len);
        Some(buffer)
    }

    /// Asks, and reads on until the answer with the query's id is there.
    pub fn ask(&self, ask: &Ask) -> Option<Reply> {
        self.send(&ask.bytes());
        loop {
            let reply = self.receive()?;
            if reply.get(..2) == Some(&ask.id.to_be_bytes()) {
                return Some(Reply::read(&reply));
            }
        }
    }

    /// Whether the server is silent about these bytes: it answers what is asked after them, and only that. One socket
    /// is one worker, and a worker answers in order what it answers by itself, as it must `after`.
    pub fn silent_about(&self, bytes: &[u8], after: &Ask) -> bool {
        self.send(bytes);
        self.send(&after.bytes());
        let reply = self.receive().expect("the query after it is answered");
        reply.get(..2) == Some(&after.id.to_be_bytes())
    }
}

/// A TCP connection to a server.
pub struct Tcp(pub TcpStream);

impl Tcp {
    /// To `server`.
    pub fn to(server: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&server, PATIENCE).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("an option");
        Self(stream)
    }

    /// Sends a message with its length.
    pub fn send(&mut self, bytes: &[u8]) {
        let framed = [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
        self.0.write_all(&framed).expect("the server takes it");
    }

    /// The next message.
    ///
    /// # Errors
    /// The connection was closed, or [`PATIENCE`] is over.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut len = [0; 2];
        self.0.read_exact(&mut len)?;
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(len))];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The next message, read.
    pub fn reply(&mut self) -> Reply {
        Reply::read(&self.receive().expect("an answer"))
    }

    /// Asks, and takes the next answer for it.
    pub fn ask(&mut self, ask: &Ask) -> Reply {
        self.send(&ask.bytes());
        let reply = self.reply();
        assert_eq!(reply.id, ask.id, "{reply:?}");
        reply
    }

    /// Whether the server has closed the connection, without another octet.
    pub fn is_closed(&mut self) -> bool {
        let mut octet = [0];
        match self.0.read(&mut octet) {
            Ok(len) => len == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}
