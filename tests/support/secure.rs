//! Upstream servers over TCP, TLS, HTTPS, HTTP/3 and QUIC on loopback, and the authorities that vouch for them.
//!
//! Each answers any question with an A record of [`ANSWER`], all questions beside each other. A thread of its own, so
//! that nothing under test shares it.
#![allow(dead_code)] // Each test binary uses its own part.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use data_encoding::BASE64;
use hyper::body::{Buf, Bytes};
use hyper::{Response, StatusCode};
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::Digest;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What every name leads to.
pub const ANSWER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
/// The path HTTP requests must have.
pub const PATH: &str = "/dns-query";

/// Vouches for servers.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Issued {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    /// A new one, which nobody knows.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        // Each has a name of its own: two of the same name are one whose signature is wrong.
        let name = BASE64.encode(&sha2::Sha256::digest(key.subject_public_key_info()));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate of its own"))
    }

    /// As a PEM file.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names and addresses, changed as wanted.
    pub fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Issued { certificate, key }
    }
}

impl Issued {
    /// How the key is pinned.
    pub fn pin(&self) -> String {
        format!("sha256:{}", BASE64.encode(&sha2::Sha256::digest(self.key.subject_public_key_info())))
    }

    /// The certificate as a PEM file.
    pub fn chain_pem(&self) -> String {
        self.certificate.pem()
    }

    /// The key as a PEM file.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// For a server that speaks `alpn`.
    fn config(&self, alpn: &[u8]) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key)
            .expect("a certificate with its key");
        config.alpn_protocols = vec![alpn.to_vec()];
        Arc::new(config)
    }
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plain TCP.
    Tcp,
    /// TLS.
    Tls,
    /// HTTP/2.
    Https,
    /// HTTP/3.
    H3,
    /// QUIC.
    Quic,
    /// Accepts connections, and never says a word.
    Stalled,
    /// Answers a handshake with what is none.
    Garbage,
}

/// How a server behaves.
#[derive(Clone, Copy, Debug)]
pub struct Ways {
    /// So long after a question comes its answer.
    pub delay: Duration,
    /// A connection ends after so many answers.
    pub answers: usize,
    /// Status of HTTP answers.
    pub status: u16,
}

impl Default for Ways {
    fn default() -> Self {
        Self { delay: Duration::ZERO, answers: usize::MAX, status: 200 }
    }
}

/// What a server has seen.
#[derive(Debug, Default)]
pub struct Seen {
    connections: AtomicUsize,
    under_way: AtomicUsize,
    most: AtomicUsize,
    queries: Mutex<Vec<Vec<u8>>>,
}

impl Seen {
    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The most questions that were unanswered at once.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// All questions as they came.
    pub fn queries(&self) -> Vec<Vec<u8>> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A running server; dropping it ends it with all its connections.
pub struct Secure {
    address: SocketAddr,
    seen: Arc<Seen>,
    _stop: mpsc::Sender<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Secure {
    /// On 127.0.0.1 and a free port.
    pub fn start(kind: Kind, issued: &Issued, ways: Ways) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), kind, issued, ways)
    }

    /// There.
    pub fn start_at(at: SocketAddr, kind: Kind, issued: &Issued, ways: Ways) -> Self {
        let seen = Arc::<Seen>::default();
        let server = Server { ways, seen: Arc::clone(&seen) };
        let alpn: &[u8] = match kind {
            Kind::Https => b"h2",
            Kind::H3 => b"h3",
            Kind::Quic => b"doq",
            _ => b"dot",
        };
        let config = issued.config(alpn);
        let (stop, mut stopped) = mpsc::channel::<()>(1);
        let (tell, told) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let serving = async {
                    match kind {
                        Kind::H3 | Kind::Quic => {
                            let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(config).expect("TLS 1.3");
                            let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
                            let endpoint = quinn::Endpoint::server(config, at).expect("a free port");
                            tell.send(endpoint.local_addr().expect("bound")).expect("somebody waits");
                            server.datagrams(&endpoint, kind).await;
                        }
                        _ => {
                            let listener = TcpListener::bind(at).await.expect("a free port");
                            tell.send(listener.local_addr().expect("bound")).expect("somebody waits");
                            server.streams(&listener, kind, TlsAcceptor::from(config)).await;
                        }
                    }
                };
                tokio::select! {
                    () = serving => {}
                    _ = stopped.recv() => {}
                }
            });
        });
        let address = told.recv().expect("it listens");
        Self { address, seen, _stop: stop, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Ends it, and waits until its port is free.
    pub fn stop(mut self) {
        let thread = self.thread.take();
        drop(self);
        thread.map(thread::JoinHandle::join).transpose().expect("it did not panic");
    }
}

/// One server in its thread.
struct Server {
    ways: Ways,
    seen: Arc<Seen>,
}

impl Server {
    /// Connections over TCP.
    async fn streams(&self, listener: &TcpListener, kind: Kind, acceptor: TlsAcceptor) {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            self.seen.connections.fetch_add(1, Ordering::SeqCst);
            let (ways, seen, acceptor) = (self.ways, Arc::clone(&self.seen), acceptor.clone());
            connections.spawn(async move {
                match kind {
                    Kind::Tcp => framed(stream, ways, seen).await,
                    Kind::Stalled => std::future::pending().await,
                    Kind::Garbage => garbage(stream).await,
                    _ => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            if kind == Kind::Tls {
                                framed(stream, ways, seen).await
                            } else {
                                http2(stream, ways, seen).await
                            }
                        }
                    }
                }
            });
        }
    }

    /// Connections over QUIC.
    async fn datagrams(&self, endpoint: &quinn::Endpoint, kind: Kind) {
        let mut connections = JoinSet::new();
        while let Some(incoming) = endpoint.accept().await {
            let (ways, seen) = (self.ways, Arc::clone(&self.seen));
            connections.spawn(async move {
                let Ok(connection) = incoming.await else { return };
                seen.connections.fetch_add(1, Ordering::SeqCst);
                if kind == Kind::Quic {
                    quic(connection, ways, seen).await
                } else {
                    http3(connection, ways, seen).await
                }
            });
        }
    }
}

/// Waits as long as an answer takes, and gives it.
async fn answer(query: Vec<u8>, ways: Ways, seen: &Seen) -> Vec<u8> {
    let under_way = seen.under_way.fetch_add(1, Ordering::SeqCst) + 1;
    seen.most.fetch_max(under_way, Ordering::SeqCst);
    seen.queries.lock().unwrap_or_else(PoisonError::into_inner).push(query.clone());
    tokio::time::sleep(ways.delay).await;
    seen.under_way.fetch_sub(1, Ordering::SeqCst);
    reply(&query)
}

/// The query with an address behind its question.
fn reply(query: &[u8]) -> Vec<u8> {
    let mut end = 12;
    while let Some(&len) = query.get(end).filter(|&&len| len != 0) {
        end += 1 + usize::from(len);
    }
    let mut reply = query.get(..end + 5).expect("a query with a question").to_vec();
    reply[2] |= 0x80;
    reply[3] = 0x80;
    reply[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
    reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    reply.extend(ANSWER.octets());
    reply
}

/// Questions with their length before them.
async fn framed(stream: impl AsyncRead + AsyncWrite, ways: Ways, seen: Arc<Seen>) {
    let (mut read, mut write) = tokio::io::split(stream);
    let (sender, mut answers) = mpsc::unbounded_channel::<Vec<u8>>();
    let mut tasks = JoinSet::new();
    let reading = async {
        while let Ok(len) = read.read_u16().await {
            let mut query = vec![0; usize::from(len)];
            if read.read_exact(&mut query).await.is_err() {
                break;
            }
            let (sender, seen) = (sender.clone(), Arc::clone(&seen));
            tasks.spawn(async move {
                let _ = sender.send(answer(query, ways, &seen).await);
            });
        }
    };
    let writing = async {
        let mut given = 0;
        while let Some(answer) = answers.recv().await {
            let frame = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
            if write.write_all(&frame).await.is_err() || write.flush().await.is_err() {
                break;
            }
            given += 1;
            if given >= ways.answers {
                break;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

/// What no handshake begins with.
async fn garbage(mut stream: TcpStream) {
    let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
    let mut sink = [0; 1024];
    while stream.read(&mut sink).await.is_ok_and(|len| len > 0) {}
}

/// Requests by POST.
async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin, ways: Ways, seen: Arc<Seen>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut tasks = JoinSet::new();
    let mut given = 0;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let seen = Arc::clone(&seen);
        tasks.spawn(async move {
            let good = request.uri().path() == PATH && request.headers().contains_key("content-length");
            let mut body = request.into_body();
            let mut query = Vec::new();
            while let Some(Ok(data)) = body.data().await {
                query.extend_from_slice(&data);
                let _ = body.flow_control().release_capacity(data.len());
            }
            let status =
                if good { StatusCode::from_u16(ways.status).expect("a status") } else { StatusCode::NOT_FOUND };
            let answer = answer(query, ways, &seen).await;
            let head = Response::builder().status(status).header("content-type", "application/dns-message");
            if let Ok(mut body) = respond.send_response(head.body(()).expect("a head"), false) {
                let _ = body.send_data(Bytes::from(answer), true);
            }
        });
        given += 1;
        if given >= ways.answers {
            connection.graceful_shutdown();
        }
    }
}

/// The same over QUIC.
async fn http3(connection: quinn::Connection, ways: Ways, seen: Arc<Seen>) {
    let connection = h3_quinn::Connection::new(connection);
    let Ok(mut connection) = h3::server::Connection::<_, Bytes>::new(connection).await else { return };
    let mut tasks = JoinSet::new();
    while let Ok(Some(resolver)) = connection.accept().await {
        let seen = Arc::clone(&seen);
        tasks.spawn(async move {
            let Ok((_, mut stream)) = resolver.resolve_request().await else { return };
            let mut query = Vec::new();
            while let Ok(Some(mut data)) = stream.recv_data().await {
                query.extend_from_slice(&data.copy_to_bytes(data.remaining()));
            }
            let answer = answer(query, ways, &seen).await;
            let head = Response::builder().status(ways.status).header("content-type", "application/dns-message");
            let _ = stream.send_response(head.body(()).expect("a head")).await;
            let _ = stream.send_data(Bytes::from(answer)).await;
            let _ = stream.finish().await;
        });
    }
}

/// A stream for each question.
async fn quic(connection: quinn::Connection, ways: Ways, seen: Arc<Seen>) {
    let mut tasks = JoinSet::new();
    let mut given = 0;
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        let seen = Arc::clone(&seen);
        tasks.spawn(async move {
            let Ok(frame) = receive.read_to_end(65_537).await else { return };
            let query = frame.get(2..).expect("a length").to_vec();
            assert_eq!(query.get(..2), Some(&[0, 0][..]), "the id is 0 (RFC 9250 section 4.2.1)");
            let answer = answer(query, ways, &seen).await;
            let frame = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
            let _ = send.write_all(&frame).await;
            let _ = send.finish();
        });
        given += 1;
        if given >= ways.answers {
            while tasks.join_next().await.is_some() {}
            // Time for what was written to arrive.
            tokio::time::sleep(Duration::from_millis(50)).await;
            connection.close(0u8.into(), b"");
        }
    }
}

/// Queries by name, lower case.
pub fn names(queries: &[Vec<u8>]) -> HashMap<Vec<u8>, usize> {
    let mut names = HashMap::new();
    for query in queries {
        let end = query.iter().skip(12).position(|&byte| byte == 0).unwrap_or_default();
        *names.entry(query[12..12 + end].to_ascii_lowercase()).or_default() += 1;
    }
    names
}
