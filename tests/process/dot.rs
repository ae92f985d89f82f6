//! DNS over TLS: what clients of all kinds get, and what those get who mean no good.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use crate::support::client::{Ask, PATIENCE, Reply, rtype};
use crate::support::encrypted::{Tls, encrypted, tls, trusting};
use crate::support::mock::{Mock, Say};
use crate::support::server::{DEADLINE, Folder, Ran, Server, Setup, eventually, within};

/// What a slow name takes.
const SLOW: Duration = Duration::from_millis(800);

/// Names below slow.example take their time.
pub fn mock() -> Mock {
    Mock::start(|asked| {
        let say = Say::A([192, 0, 2, 4]);
        if asked.name.ends_with("slow.example") { Say::Later(SLOW, Box::new(say)) } else { say }
    })
}

/// A server that blocks `blocked.example`, with these lines in `[tls]` and `[server.tcp]`.
fn start(mock: &Mock, tls: &str, tcp: &str) -> Server {
    let folder = Folder::new();
    folder.write("a.txt", "blocked.example\n");
    let setup = Setup::new(mock.address()).list("a", "a.txt", "").admin("listen = [\"127.0.0.1:0\"]");
    let setup = encrypted(setup, &folder).more(tls).more(&format!("[server.tcp]\n{tcp}"));
    Server::start(&folder, &setup)
}

/// A query for an address.
fn ask(name: &str) -> Ask {
    Ask::new(name, rtype::A)
}

/// A message with its length before it.
pub fn framed(ask: &Ask) -> Vec<u8> {
    [&(ask.bytes().len() as u16).to_be_bytes(), &ask.bytes()[..]].concat()
}

/// A connection over TLS.
pub struct Dot(pub Tls);

impl Dot {
    /// To a server.
    fn to(server: &Server) -> Self {
        Self(tls(server.at("dot"), &server.folder, "dot"))
    }

    /// With a configuration of one's own.
    fn with(server: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect_timeout(&server, PATIENCE).expect("the server accepts");
        Self::over(stream, config)
    }

    /// On a connection that is there.
    pub fn over(stream: TcpStream, config: &Arc<ClientConfig>) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("an option");
        let name = ServerName::try_from("dns.example").expect("a name");
        let session = ClientConnection::new(Arc::clone(config), name).expect("a session");
        Self(StreamOwned::new(session, stream))
    }

    /// Asks; the answer is for later.
    fn send(&mut self, ask: &Ask) {
        self.0.write_all(&framed(ask)).and_then(|()| self.0.flush()).expect("the server takes it");
    }

    /// The next answer.
    ///
    /// # Errors
    /// There is none.
    pub fn receive(&mut self) -> io::Result<Reply> {
        let mut len = [0; 2];
        self.0.read_exact(&mut len)?;
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(len))];
        self.0.read_exact(&mut bytes)?;
        Ok(Reply::read(&bytes))
    }

    /// Asks, and takes the answer.
    ///
    /// # Errors
    /// There is none.
    pub fn ask(&mut self, ask: &Ask) -> io::Result<Reply> {
        self.0.write_all(&framed(ask))?;
        self.receive()
    }

    /// Whether the server has said that it ends the connection (close_notify): so that nobody else can have ended it.
    fn is_ended(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}

/// Whether a client with good manners is served.
fn served(server: &Server) -> bool {
    Dot::to(server).ask(&ask("blocked.example")).is_ok_and(|reply| reply.is_address("0.0.0.0"))
}

/// A figure of `/metrics`.
pub fn figure(server: &Server, name: &str) -> u64 {
    let text = crate::support::http::get(server.http[0], "/metrics").body;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned);
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<f64>().expect("a number") as u64
}

/// How many handshakes have come to this.
fn handshakes(server: &Server, outcome: &str) -> u64 {
    figure(server, &format!("qalqan_tls_handshakes_total{{outcome=\"{outcome}\"}}"))
}

/// Whether the server has closed a connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = [0; 512];
    loop {
        // A last alert may come before the end.
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }
}

/// A connection on which nothing has been said.
fn silent(server: &Server) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server.at("dot"), PATIENCE).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream
}

#[test]
fn what_the_readme_says_works() {
    let mock = mock();
    let folder = Folder::new();
    folder.write("a.txt", "blocked.example\n");
    let made = Ran::of(&folder, &["cert"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let section =
        made.stdout.split("In config.toml:").nth(1).and_then(|rest| rest.split("Then").next()).expect("a section");
    let section = section.replace("127.0.0.1:8853", "127.0.0.1:0").replace("127.0.0.1:8443", "127.0.0.1:0");
    let server = Server::start(&folder, &Setup::new(mock.address()).list("a", "a.txt", "").more(&section));
    let port = server.at("dot").port().to_string();
    let commands: Vec<Vec<String>> = made
        .stdout
        .lines()
        .filter_map(|line| line.trim().strip_prefix("kdig "))
        .map(|line| line.replace("8853", &port).replace("example.com", "blocked.example"))
        .map(|line| line.split(' ').map(str::to_owned).collect())
        .collect();
    assert_eq!(commands.len(), 2, "{}", made.stdout);
    for arguments in &commands {
        let Some((good, text)) = run(&folder, "kdig", arguments) else { return };
        assert!(good && text.contains("0.0.0.0") && text.contains("TLS1.3"), "{arguments:?}: {text}");
        // The same with another name or key: kdig does not believe it.
        let wrong: Vec<_> = arguments
            .iter()
            .map(|argument| match argument.split_once('=') {
                Some(("+tls-hostname", _)) => "+tls-hostname=other.example".to_owned(),
                Some(("+tls-pin", _)) => format!("+tls-pin={}=", "A".repeat(43)),
                _ => argument.clone(),
            })
            .collect();
        let (_, text) = run(&folder, "kdig", &wrong).expect("it is there");
        assert!(!text.contains("0.0.0.0"), "{wrong:?}: {text}");
    }
    folder.write("queries", "blocked.example A\nwww.blocked.example AAAA\nfree.example A\n");
    let arguments = ["-m", "dot", "-s", "127.0.0.1", "-p", &port, "-d", "queries", "-c", "4", "-n", "50", "-q", "8"];
    let Some((good, text)) = run(&folder, "dnsperf", &arguments.map(str::to_owned)) else { return };
    assert!(good && text.contains("Queries completed:    150 (100.00%)"), "{text}");
}

/// The certificate in the folder.
fn roots(folder: &Folder) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(folder.path("cert.pem")).expect("PEM");
    roots.add(certificate).expect("a root");
    roots
}

/// What a client prints, and whether it was content; `None`, said aloud, where it is not installed, which in CI it must be.
fn run(folder: &Folder, client: &str, arguments: &[String]) -> Option<(bool, String)> {
    match within(folder, client).args(arguments).output() {
        Ok(output) => {
            let text = [&output.stdout[..], &output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "CI must have {client}: {error}");
            eprintln!("skipped: no {client} here: {error}");
            None
        }
    }
}

#[test]
fn clients_agree_on_dot_or_say_nothing_and_come_back_by_ticket() {
    let mock = mock();
    let server = start(&mock, "", "");
    let address = server.at("dot");
    let mut config = trusting(&server.folder, "dot");
    let mut ask_with = |protocols: &[&str]| {
        config.alpn_protocols = protocols.iter().map(|&protocol| protocol.into()).collect();
        let mut dot = Dot::with(address, &Arc::new(config.clone()));
        let reply = dot.ask(&ask("blocked.example"));
        (reply.is_ok_and(|reply| reply.is_address("0.0.0.0")), dot.0.conn.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(ask_with(&["dot"]), (true, Some(b"dot".to_vec())));
    assert_eq!(ask_with(&["h2", "dot"]), (true, Some(b"dot".to_vec())));
    assert_eq!(ask_with(&[]), (true, None));
    assert!(!ask_with(&["h2"]).0, "what is not spoken here is refused (RFC 7301)");
    eventually("that is counted", || handshakes(&server, "failed") == 1, || server.stderr());

    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&versions[..])
            .expect("a version")
            .with_root_certificates(roots(&server.folder))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"dot".to_vec()];
        let config = Arc::new(config);
        let kinds = [0, 1].map(|_| {
            let mut dot = Dot::with(address, &config);
            assert!(dot.ask(&ask("blocked.example")).expect("an answer").is_address("0.0.0.0"));
            dot.0.conn.handshake_kind()
        });
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)], "{versions:?}");
    }
}

#[test]
fn pipelined_answers_come_as_they_are_ready_and_without_stalls() {
    let mock = mock();
    let server = start(&mock, "", "max_in_flight = 8");
    let mut dot = Dot::to(&server);
    let asks = ["slow.example", "fast.example", "blocked.example"].map(ask);
    asks.iter().for_each(|ask| dot.send(ask));
    let order: Vec<u16> = (0..3).map(|_| dot.receive().expect("an answer").id).collect();
    assert_eq!(order.iter().position(|&id| id == asks[0].id), Some(2), "the slow one last: {order:x?}");
    // More than may be in flight, in one piece.
    let asks: Vec<_> = (0..60).map(|index| ask(&format!("n{index}.{}", ["free", "blocked"][index % 2]))).collect();
    dot.0.write_all(&asks.iter().flat_map(framed).collect::<Vec<u8>>()).expect("taken");
    let mut ids: Vec<u16> = (0..asks.len()).map(|_| dot.receive().expect("an answer").id).collect();
    let mut expected: Vec<u16> = asks.iter().map(|ask| ask.id).collect();
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    // Two small writes each: with Nagle's algorithm against delayed acknowledgements these would take 40 s.
    let started = Instant::now();
    for round in 0..1000 {
        let (one, two) = (ask("a.blocked.example"), ask("b.blocked.example"));
        dot.send(&one);
        dot.send(&two);
        let ids = [(); 2].map(|()| dot.receive().expect("an answer").id);
        assert_eq!(ids, [one.id, two.id]);
        assert!(started.elapsed() < DEADLINE, "only {round} rounds yet");
    }
}

#[test]
fn what_is_no_tls_is_closed_and_counted_and_harms_nobody() {
    let mock = mock();
    let server = start(&mock, "", "");
    let hello = [0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    let garbage: [Vec<u8>; 6] = [
        vec![0xff; 300],
        b"GET /dns-query HTTP/1.1\r\nHost: dns.example\r\n\r\n".to_vec(),
        framed(&ask("blocked.example")),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x7f\0\0\x01\x30\x39\0\x35".to_vec(),
        [&hello[..], &[7; 194]].concat(),
        vec![0x15, 3, 3, 0, 2, 2, 40],
    ];
    let mut kept = Dot::to(&server);
    assert!(kept.ask(&ask("blocked.example")).is_ok());
    for bytes in &garbage {
        let mut stream = silent(&server);
        stream.write_all(bytes).expect("taken");
        assert!(is_closed(&mut stream), "{bytes:x?}");
        let mut stream = TcpStream::connect_timeout(&server.at("doh"), PATIENCE).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.write_all(bytes).expect("taken");
        assert!(is_closed(&mut stream), "{bytes:x?}");
        assert!(kept.ask(&ask("blocked.example")).is_ok());
    }
    // Gone in the middle.
    for len in 0..hello.len() {
        let mut stream = silent(&server);
        stream.write_all(&hello[..len]).expect("taken");
        stream.shutdown(Shutdown::Write).expect("half closed");
        assert!(is_closed(&mut stream));
    }
    // Who can understand it is told what is wrong, whichever listener it is.
    for address in ["dot", "doh"].map(|transport| server.at(transport)) {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("taken");
        let mut alert = [0; 7];
        stream.read_exact(&mut alert).expect("an alert");
        assert_eq!(alert[..6], [0x15, 3, 3, 0, 2, 2], "fatal");
    }
    let broken = 2 * garbage.len() + hello.len() + 2;
    eventually("all are counted", || handshakes(&server, "failed") == broken as u64, || server.stderr());
    // Octets that nobody has encrypted, on a connection that is.
    kept.0.sock.write_all(&[0x17, 3, 3, 0, 40]).and_then(|()| kept.0.sock.write_all(&[9; 40])).expect("taken");
    assert!(kept.receive().is_err());
    assert!(served(&server));
}

#[test]
fn handshakes_that_stall_hold_up_nobody_and_end() {
    let mock = mock();
    let server = start(&mock, "handshake = \"1s\"", "");
    let mut stalled: Vec<_> = (0..40).map(|_| silent(&server)).collect();
    for (index, stream) in stalled.iter_mut().enumerate() {
        stream.write_all(&[0x16, 3, 1, 2, 0, 1][..index % 7]).expect("taken");
    }
    assert!(served(&server), "while they stall");
    for stream in &mut stalled {
        assert!(is_closed(stream));
    }
    eventually("all are counted", || handshakes(&server, "late") == 40, || server.stderr());
    assert!(served(&server), "and after");
}

#[test]
fn a_flood_of_half_open_handshakes_pushes_out_its_own() {
    let mock = mock();
    let server = start(&mock, "handshake = \"60s\"\nmax_handshakes = 10", "max_per_client = 1000");
    let mut kept = Dot::to(&server);
    assert!(kept.ask(&ask("blocked.example")).is_ok());
    let mut flood: Vec<_> = (0..100).map(|_| silent(&server)).collect();
    for stream in &mut flood {
        let _ = stream.write_all(&[0x16, 3, 1]);
    }
    assert!(served(&server), "somebody new, though ten are half open");
    assert!(kept.ask(&ask("blocked.example")).is_ok(), "somebody who was there before");
    eventually("the oldest are given up", || handshakes(&server, "pushed_out") >= 90, || server.stderr());
    assert!(flood.iter_mut().take(80).all(is_closed));
    assert_eq!(handshakes(&server, "late"), 0);
}

#[test]
fn limits_of_connections_hold_for_tls_too() {
    let mock = mock();
    let server = start(&mock, "handshake = \"60s\"", "max_per_client = 3");
    let mut held: Vec<_> = (0..2).map(|_| Dot::to(&server)).collect();
    assert!(held.iter_mut().all(|dot| dot.ask(&ask("blocked.example")).is_ok()));
    let half_open = silent(&server);
    assert!(!served(&server), "a handshake that is under way counts");
    drop(half_open);
    eventually("a place is free again", || served(&server), || server.stderr());
    assert!(held.iter_mut().all(|dot| dot.ask(&ask("blocked.example")).is_ok()));

    let server = start(&mock, "", "max_connections = 2");
    let mut held: Vec<_> = (0..2).map(|_| Dot::to(&server)).collect();
    assert!(held.iter_mut().all(|dot| dot.ask(&ask("blocked.example")).is_ok()));
    assert!(!served(&server), "a third connection is closed");
    assert!(figure(&server, "qalqan_tcp_connections_refused_total") > 0);
    held.pop();
    eventually("a place is free again", || served(&server), || server.stderr());
}

#[test]
fn single_octets_do_not_keep_a_connection() {
    let mock = mock();
    let server = start(&mock, "", "idle = \"1s\"");
    let mut idle = Dot::to(&server);
    assert!(idle.ask(&ask("blocked.example")).is_ok());
    let mut slow = Dot::to(&server);
    slow.0.sock.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
    slow.0.write_all(&60_000_u16.to_be_bytes()).expect("taken");
    let started = Instant::now();
    let ended = |slow: &mut Dot| match slow.0.read(&mut [0]) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    };
    while !ended(&mut slow) {
        let _ = slow.0.write_all(&[0]);
        assert!(started.elapsed() < DEADLINE, "it goes on for ever");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(idle.is_ended(), "who is idle is told that the server ends it");
}

#[test]
fn a_stop_lets_answers_under_way_out() {
    let mock = mock();
    let mut server = start(&mock, "", "");
    let (mut busy, mut idle) = (Dot::to(&server), Dot::to(&server));
    assert!(idle.ask(&ask("blocked.example")).is_ok());
    let slow = ask("slow.example");
    busy.send(&slow);
    eventually("it is under way", || mock.count("slow.example") > 0, || server.stderr());
    server.signal("TERM");
    assert_eq!(busy.receive().expect("an answer").id, slow.id);
    assert!(busy.is_ended() && idle.is_ended());
    assert!(server.wait().success(), "{}", server.stderr());
}

#[test]
fn out_of_descriptors_is_no_end() {
    let mock = mock();
    let folder = Folder::new();
    folder.write("a.txt", "blocked.example\n");
    let setup = encrypted(Setup::new(mock.address()).list("a", "a.txt", ""), &folder);
    folder.write("config.toml", setup.more("[server.tcp]\nmax_per_client = 1000").text());
    let mut command = Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_qalqan");
    command.current_dir(folder.path("")).stdin(std::process::Stdio::null());
    command.args(["-c", &format!("ulimit -n 100; exec {binary} serve --config config.toml")]);
    let server = Server::start_by(&folder, &mut command);
    let held: Vec<_> = (0..150).map(|_| silent(&server)).collect();
    server.says("accepting a TCP connection failed");
    assert!(server.a("blocked.example").is_address("0.0.0.0"), "UDP goes on");
    drop(held);
    eventually("there are descriptors again", || served(&server), || server.stderr());
}
