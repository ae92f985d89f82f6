//! A web server on loopback that gives pages as told, well or badly; its authority, and signatures of lists.
#![allow(dead_code)] // Each test binary uses its own part.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ED25519,
    SigningKey,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With its length.
    Whole,
    /// In chunks.
    Chunked,
    /// In chunks, of which the last ones never come.
    ChunkedCut,
    /// With a length it does not reach.
    Cut,
    /// A byte now and then.
    Slowly,
}

/// What a path gives.
#[derive(Clone, Debug)]
pub struct Page {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    how: How,
}

impl Page {
    /// 200 with this body.
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.as_ref().to_vec(), how: How::Whole }
    }

    /// Another status.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::ok("what it says to people") }
    }

    /// A redirect.
    pub fn to(location: &str) -> Self {
        Self::status(302).header("Location", location)
    }

    /// One more header. An `ETag` is compared with `If-None-Match`.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sent in another way.
    pub fn sent(mut self, how: How) -> Self {
        self.how = how;
        self
    }
}

/// Whom clients have to trust, and who vouches for clients.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("signed"))
    }

    /// As PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a server at this name, or for a client; and its key. As PEM.
    pub fn vouch(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.0).expect("signed"), key)
    }

    /// A server's side; with `clients`, only those it vouches for may ask.
    fn server(&self, name: &str, clients: Option<&Authority>) -> Arc<ServerConfig> {
        let provider = Arc::new(default_provider());
        let (certificate, key) = self.vouch(name);
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let config = config.with_safe_default_protocol_versions().expect("versions");
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).expect("a certificate");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).expect("they fit"))
    }
}

/// The running server.
pub struct Web {
    address: SocketAddr,
    secure: bool,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    pages: Mutex<HashMap<String, Page>>,
    asked: Mutex<Vec<Asked>>,
    stop: AtomicBool,
}

impl Web {
    /// Without TLS.
    pub fn plain() -> Self {
        Self::serve(None, "127.0.0.1:0".parse().expect("an address"))
    }

    /// With a certificate of this authority.
    pub fn secure(authority: &Authority) -> Self {
        Self::serve(Some(authority.server("127.0.0.1", None)), "127.0.0.1:0".parse().expect("an address"))
    }

    /// With a certificate for another name than its own.
    pub fn misnamed(authority: &Authority) -> Self {
        Self::serve(Some(authority.server("other.example", None)), "127.0.0.1:0".parse().expect("an address"))
    }

    /// For clients with a certificate of the same authority only.
    pub fn for_members(authority: &Authority) -> Self {
        let config = authority.server("127.0.0.1", Some(authority));
        Self::serve(Some(config), "127.0.0.1:0".parse().expect("an address"))
    }

    /// A secure one at an address that was another's before.
    pub fn again(authority: &Authority, address: SocketAddr) -> Self {
        Self::serve(Some(authority.server("127.0.0.1", None)), address)
    }

    /// Accepts until dropped.
    fn serve(tls: Option<Arc<ServerConfig>>, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared::default());
        let (serving, secure) = (Arc::clone(&shared), tls.is_some());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.stop.load(Ordering::Relaxed) {
                    return;
                }
                let (serving, tls) = (Arc::clone(&serving), tls.clone());
                thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
                    // A client that goes away, or does not trust us, is part of many tests.
                    let _ = match tls {
                        None => serving.talk(stream),
                        Some(config) => ServerConnection::new(config)
                            .map_err(io::Error::other)
                            .and_then(|connection| serving.talk(StreamOwned::new(connection, stream))),
                    };
                });
            }
        });
        Self { address, secure, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http{}://{}{path}", if self.secure { "s" } else { "" }, self.address)
    }

    /// From now on the path gives this.
    pub fn put(&self, path: &str, page: Page) {
        lock(&self.shared.pages).insert(path.into(), page);
    }

    /// Everything asked for so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// How often a path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path == path).count()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts, which then lets go of the port.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    /// One request, one response.
    fn talk(&self, stream: impl Read + Write) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut first = String::new();
        stream.read_line(&mut first)?;
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let page = lock(&self.pages).get(&path).cloned().unwrap_or_else(|| Page::status(404));
        let known = headers.get("if-none-match").cloned();
        lock(&self.asked).push(Asked { path, headers });
        let same = |(name, value): &(String, String)| name == "ETag" && known.as_ref() == Some(value);
        let page = if page.headers.iter().any(same) { Page { body: Vec::new(), ..Page::status(304) } } else { page };
        let mut to = stream.into_inner();
        page.send(&mut to, &self.stop)?;
        to.flush()
    }
}

impl Page {
    /// Writes the response, and closes the connection behind it.
    fn send(&self, to: &mut impl Write, stop: &AtomicBool) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Said\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        match self.how {
            How::Chunked | How::ChunkedCut => head += "Transfer-Encoding: chunked\r\n\r\n",
            How::Cut => head += &format!("Content-Length: {}\r\n\r\n", self.body.len() + 100),
            How::Whole | How::Slowly if self.status == 304 => head += "\r\n",
            How::Whole | How::Slowly => head += &format!("Content-Length: {}\r\n\r\n", self.body.len()),
        }
        to.write_all(head.as_bytes())?;
        match self.how {
            How::Whole | How::Cut => to.write_all(&self.body),
            How::Chunked | How::ChunkedCut => {
                for chunk in self.body.chunks(1000) {
                    to.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
                    to.write_all(chunk)?;
                    to.write_all(b"\r\n")?;
                }
                if self.how == How::Chunked { to.write_all(b"0\r\n\r\n") } else { Ok(()) }
            }
            How::Slowly => {
                for byte in &self.body {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    to.write_all(&[*byte])?;
                    to.flush()?;
                    thread::sleep(Duration::from_millis(200));
                }
                Ok(())
            }
        }
    }
}

/// A proxy that lets everybody through.
pub struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// A running one; it ends with the test.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, asked) = (listener.local_addr().expect("bound"), Arc::<Mutex<Vec<String>>>::default());
        let heard = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let heard = Arc::clone(&heard);
                thread::spawn(move || Self::pass(stream, &heard));
            }
        });
        Self { address, asked }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// First lines of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }

    /// Connects a client with whom it wants.
    fn pass(client: TcpStream, heard: &Mutex<Vec<String>>) -> io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let (mut first, mut line) = (String::new(), String::new());
        reader.read_line(&mut first)?;
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line)?;
        }
        lock(heard).push(first.trim_end().to_owned());
        let server = TcpStream::connect(first.split(' ').nth(1).unwrap_or_default())?;
        let (mut up, mut down, mut back) = (server.try_clone()?, server, client);
        back.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
        thread::spawn(move || io::copy(&mut reader, &mut up));
        io::copy(&mut down, &mut back).map(drop)
    }
}

/// Signs lists as minisign does with `-l`: the content itself, not its hash.
pub struct Signer(KeyPair);

impl Signer {
    /// With a new key.
    pub fn new() -> Self {
        Self(KeyPair::generate_for(&PKCS_ED25519).expect("a key"))
    }

    /// What goes into the configuration.
    pub fn public_key(&self) -> String {
        base64(&[b"Ed".as_slice(), self.id(), self.0.public_key_raw()].concat())
    }

    /// The `.minisig` of a content, made at this time.
    pub fn sign(&self, content: &[u8], at: i64) -> String {
        let signature = self.0.sign(content).expect("signed");
        let comment = format!("timestamp:{at}\tfile:list");
        let global = self.0.sign(&[&signature[..], comment.as_bytes()].concat()).expect("signed");
        let body = base64(&[b"Ed".as_slice(), self.id(), &signature].concat());
        format!("untrusted comment: test\n{body}\ntrusted comment: {comment}\n{}\n", base64(&global))
    }

    /// Tells keys apart.
    fn id(&self) -> &[u8] {
        &self.0.public_key_raw()[..8]
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = (0..3).fold(0u32, |number, at| number << 8 | u32::from(*group.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// A poisoned lock is another test's failure.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
