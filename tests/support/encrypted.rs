//! Clients of the encrypted transports: HTTP/1.1 and 2 by hand, so that they may be wrong; QUIC by quinn, HTTP/3 by h3.
#![allow(dead_code)] // Each test uses its own part.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use h3::client::SendRequest;
use hyper::body::{Buf, Bytes};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::runtime::Runtime;

use super::client::{Ask, PATIENCE, Reply};
use super::server::{Folder, Setup};

/// The media type of DNS messages.
pub const DNS_MESSAGE: &str = "application/dns-message";

/// A certificate for `dns.example` and 127.0.0.1 in the folder, and listeners of every kind that show it.
pub fn encrypted(setup: Setup, folder: &Folder) -> Setup {
    let names = ["dns.example", "*.dns.example", "localhost", "127.0.0.1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    folder.write("cert.pem", made.cert.pem());
    folder.write("key.pem", made.signing_key.serialize_pem());
    let keys: Vec<_> = ["dot", "doh", "doh3", "doq"].map(|kind| format!("{kind} = [\"127.0.0.1:0\"]")).into();
    setup.more(&format!("[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n{}", keys.join("\n")))
}

/// Trusts the certificate in the folder; offers `protocol`.
pub fn trusting(folder: &Folder, protocol: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(folder.path("cert.pem")).expect("PEM") {
        roots.add(certificate.expect("a certificate")).expect("a root");
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.into()];
    config
}

/// A TLS connection.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Connects by TLS; the handshake is made with the first octets.
pub fn tls(server: SocketAddr, folder: &Folder, protocol: &str) -> Tls {
    tls_by_name("dns.example", server, folder, protocol)
}

/// The same to a server of this name.
pub fn tls_by_name(name: &'static str, server: SocketAddr, folder: &Folder, protocol: &str) -> Tls {
    let stream = TcpStream::connect_timeout(&server, PATIENCE).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.set_nodelay(true).expect("an option");
    let name = ServerName::try_from(name).expect("a name");
    let session = ClientConnection::new(Arc::new(trusting(folder, protocol)), name).expect("a session");
    StreamOwned::new(session, stream)
}

/// An answer over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Its status.
    pub status: u16,
    /// Headers by name, in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Page {
    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A message as the parameter of a GET.
pub fn parameter(message: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(message)
}

/// The requests that ask with this message.
pub fn get(message: &[u8]) -> String {
    format!("GET /dns-query?dns={} HTTP/1.1\r\nHost: dns.example\r\n\r\n", parameter(message))
}

/// See [`get`].
pub fn post(message: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /dns-query HTTP/1.1\r\nHost: dns.example\r\nContent-Type: {DNS_MESSAGE}\r\nContent-Length: {}\r\n\r\n",
        message.len()
    );
    [head.as_bytes(), message].concat()
}

/// A connection that speaks HTTP/1.1.
pub struct Http1(pub Tls);

impl Http1 {
    /// To a server.
    pub fn to(server: SocketAddr, folder: &Folder) -> Self {
        Self(tls(server, folder, "http/1.1"))
    }

    /// Sends octets.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the server takes it");
    }

    /// The same to a server that may have closed the connection.
    ///
    /// # Errors
    /// It has.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.write_all(bytes.as_ref()).and_then(|()| self.0.flush())
    }

    /// The next answer.
    ///
    /// # Errors
    /// There is none.
    pub fn page(&mut self) -> io::Result<Page> {
        self.read(false)
    }

    /// The next answer, to a HEAD.
    pub fn head(&mut self) -> io::Result<Page> {
        self.read(true)
    }

    /// See [`Self::page`].
    fn read(&mut self, bodiless: bool) -> io::Result<Page> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut octet = [0];
            self.0.read_exact(&mut octet)?;
            head.push(octet[0]);
        }
        let head = String::from_utf8(head).expect("ASCII");
        let mut lines = head.lines();
        let first = lines.next().expect("a status line");
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let len = headers.get("content-length").map_or(0, |len| len.parse().expect("a length"));
        let mut body = vec![0; if bodiless { 0 } else { len }];
        self.0.read_exact(&mut body)?;
        Ok(Page { status, headers, body })
    }

    /// Whether the server has closed the connection, without another octet.
    pub fn is_closed(&mut self) -> bool {
        let mut octet = [0];
        match self.0.read(&mut octet) {
            Ok(len) => len == 0,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }
}

/// A connection that speaks HTTP/2, frame by frame.
pub struct Http2 {
    stream: Tls,
    next: u32,
}

/// What came on a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// The header block, compressed.
    pub head: Vec<u8>,
    /// All data.
    pub body: Vec<u8>,
    /// The code it was reset with.
    pub reset: Option<u32>,
    /// It has ended, some way.
    pub done: bool,
}

impl Stream {
    /// Status 200 has a single octet (RFC 7541 appendix A).
    pub fn is_ok(&self) -> bool {
        self.head.first() == Some(&0x88)
    }
}

/// Frame types and flags.
#[allow(missing_docs)]
pub mod frame {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const CONTINUATION: u8 = 9;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

impl Http2 {
    /// To a server, settings exchanged.
    pub fn to(server: SocketAddr, folder: &Folder) -> Self {
        let mut http = Self { stream: tls(server, folder, "h2"), next: 1 };
        http.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("taken");
        http.frame(frame::SETTINGS, 0, 0, &[]).expect("taken");
        http
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The connection is closed.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.stream.write_all(&bytes)
    }

    /// Begins a request: the stream it is on. Headers go uncompressed.
    ///
    /// # Errors
    /// The connection is closed.
    pub fn request(&mut self, method: &str, path: &str, more: &[(&str, &str)], last: bool) -> io::Result<u32> {
        let id = self.next;
        self.next += 2;
        let block = head(method, path, more);
        let end = if last { frame::END_STREAM } else { 0 };
        self.frame(frame::HEADERS, frame::END_HEADERS | end, id, &block)?;
        Ok(id)
    }

    /// Asks as browsers of one kind do.
    pub fn get(&mut self, message: &[u8]) -> u32 {
        let path = format!("/dns-query?dns={}", parameter(message));
        self.request("GET", &path, &[("accept", DNS_MESSAGE)], true).expect("open")
    }

    /// Asks as browsers of the other kind do.
    pub fn post(&mut self, message: &[u8]) -> u32 {
        let len = message.len().to_string();
        let more = [("accept", DNS_MESSAGE), ("content-type", DNS_MESSAGE), ("content-length", len.as_str())];
        let id = self.request("POST", "/dns-query", &more, false).expect("open");
        self.frame(frame::DATA, frame::END_STREAM, id, message).expect("open");
        id
    }

    /// Reads until all of these streams have ended.
    ///
    /// # Errors
    /// The connection was closed; the code of its GOAWAY is in the text, if there was one.
    pub fn answers(&mut self, wanted: &[u32]) -> io::Result<BTreeMap<u32, Stream>> {
        let mut streams: BTreeMap<u32, Stream> = BTreeMap::new();
        while !wanted.iter().all(|id| streams.get(id).is_some_and(|stream| stream.done)) {
            let mut front = [0; 9];
            self.stream.read_exact(&mut front)?;
            let mut payload = vec![0; u32::from_be_bytes([0, front[0], front[1], front[2]]) as usize];
            self.stream.read_exact(&mut payload)?;
            let id = u32::from_be_bytes([front[5], front[6], front[7], front[8]]);
            let code = |at: usize| {
                payload.get(at..at + 4).map_or(0, |code| code.iter().fold(0, |sum, &o| sum << 8 | u32::from(o)))
            };
            match front[3] {
                frame::SETTINGS if front[4] & 1 == 0 => self.frame(frame::SETTINGS, 1, 0, &[])?,
                frame::PING if front[4] & 1 == 0 => self.frame(frame::PING, 1, 0, &payload)?,
                frame::GOAWAY if code(4) != 0 => return Err(io::Error::other(format!("GOAWAY {}", code(4)))),
                frame::HEADERS => streams.entry(id).or_default().head = payload,
                frame::DATA => streams.entry(id).or_default().body.extend(payload),
                frame::RST_STREAM => {
                    let stream = streams.entry(id).or_default();
                    (stream.reset, stream.done) = (Some(code(0)), true);
                }
                _ => {}
            }
            if matches!(front[3], frame::HEADERS | frame::DATA) && front[4] & frame::END_STREAM != 0 {
                streams.entry(id).or_default().done = true;
            }
        }
        Ok(streams)
    }
}

/// A header block without compression (RFC 7541 section 6.2.2).
pub fn head(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let pseudo = [(":method", method), (":scheme", "https"), (":authority", "dns.example"), (":path", path)];
    for (name, value) in pseudo.iter().chain(more) {
        block.push(0);
        for text in [name, value] {
            // A number with a prefix of seven bits (section 5.1).
            match text.len() {
                len @ 0..127 => block.push(len as u8),
                mut len => {
                    block.push(127);
                    len -= 127;
                    while len >= 128 {
                        block.push((len % 128 + 128) as u8);
                        len /= 128;
                    }
                    block.push(len as u8);
                }
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A QUIC connection, and the runtime it lives on.
pub struct Quic {
    /// The connection.
    pub connection: Connection,
    http: Option<SendRequest<h3_quinn::OpenStreams, Bytes>>,
    runtime: Arc<Runtime>,
    _endpoint: Endpoint,
}

impl Quic {
    /// To a server that speaks DoQ.
    pub fn doq(server: SocketAddr, folder: &Folder) -> Self {
        Self::to(server, folder, "doq").expect("the server shakes hands")
    }

    /// To a server that speaks HTTP/3.
    pub fn http3(server: SocketAddr, folder: &Folder) -> Self {
        let mut quic = Self::to(server, folder, "h3").expect("the server shakes hands");
        let connection = h3_quinn::Connection::new(quic.connection.clone());
        quic.http = Some(quic.wait(async {
            let (mut driver, requests) = h3::client::new(connection).await.expect("HTTP/3");
            tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
            requests
        }));
        quic
    }

    /// To a server.
    ///
    /// # Errors
    /// What the handshake ended with.
    pub fn to(server: SocketAddr, folder: &Folder, protocol: &str) -> Result<Self, quinn::ConnectionError> {
        Self::by_name("dns.example", server, folder, protocol)
    }

    /// To a server of this name.
    ///
    /// # Errors
    /// What the handshake ended with.
    pub fn by_name(
        name: &str,
        server: SocketAddr,
        folder: &Folder,
        protocol: &str,
    ) -> Result<Self, quinn::ConnectionError> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let config = QuicClientConfig::try_from(trusting(folder, protocol)).expect("TLS 1.3");
        let (endpoint, connecting) = {
            let _inside = runtime.enter();
            let mut endpoint = Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("a socket");
            endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
            let connecting = endpoint.connect(server, name).expect("a connection");
            (endpoint, connecting)
        };
        let connection =
            runtime.block_on(async { tokio::time::timeout(PATIENCE, connecting).await.expect("in time") })?;
        Ok(Self { connection, http: None, runtime: Arc::new(runtime), _endpoint: endpoint })
    }

    /// Waits for something.
    pub fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, what).await.expect("in time") })
    }

    /// Sends these octets on a stream and ends it; all that comes back.
    ///
    /// # Errors
    /// How the stream or the connection ended.
    pub fn exchange(&self, bytes: &[u8]) -> Result<Vec<u8>, quinn::ReadToEndError> {
        self.wait(async {
            let lost = |error| quinn::ReadToEndError::Read(quinn::ReadError::ConnectionLost(error));
            let (mut send, mut receive) = self.connection.open_bi().await.map_err(lost)?;
            match send.write_all(bytes).await {
                Ok(()) => send.finish().expect("open"),
                Err(quinn::WriteError::ConnectionLost(error)) => return Err(lost(error)),
                Err(error) => panic!("not taken: {error}"),
            }
            receive.read_to_end(70_000).await
        })
    }

    /// Asks by DoQ.
    pub fn message(&self, message: &[u8]) -> Result<Vec<u8>, quinn::ReadToEndError> {
        let answer = self.exchange(&[&(message.len() as u16).to_be_bytes(), message].concat())?;
        let (front, answer) = answer.split_at(2);
        assert_eq!(usize::from(u16::from_be_bytes([front[0], front[1]])), answer.len(), "one whole answer");
        Ok(answer.to_vec())
    }

    /// Asks by DoQ, where the ID must be 0.
    pub fn ask(&self, ask: &Ask) -> Reply {
        let ask = Ask { id: 0, ..ask.clone() };
        Reply::read(&self.message(&ask.bytes()).expect("an answer"))
    }

    /// A request by HTTP/3.
    ///
    /// # Errors
    /// How the stream or the connection ended.
    pub fn request(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Page, h3::error::StreamError> {
        let mut http = self.http.take().expect("an HTTP/3 connection");
        let mut request = hyper::Request::builder().method(method).uri(format!("https://dns.example{path}"));
        if !body.is_empty() {
            request = request.header("content-type", DNS_MESSAGE);
        }
        let request = request.body(()).expect("a request");
        let page = self.wait(async {
            let mut stream = http.send_request(request).await?;
            if !body.is_empty() {
                // The server may have refused before it has read all.
                let _ = stream.send_data(Bytes::copy_from_slice(body)).await;
            }
            let _ = stream.finish().await;
            let head = stream.recv_response().await?;
            let headers = head.headers().iter();
            let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().expect("ASCII").to_owned()));
            let mut page = Page { status: head.status().as_u16(), headers: headers.collect(), body: Vec::new() };
            while let Some(mut data) = stream.recv_data().await? {
                page.body.extend(data.copy_to_bytes(data.remaining()));
            }
            Ok(page)
        });
        self.http = Some(http);
        page
    }
}
