//! Upstream servers over TLS, HTTPS, HTTP/3 and QUIC.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::support::client::{Ask, Tcp, rcode, rtype};
use crate::support::mock::{Mock, Say, dead_address};
use crate::support::secure::{Authority, Issued, Kind, Secure, Ways};
use crate::support::server::{Folder, Server, Setup, eventually};

/// What servers of [`Secure`] say.
const ANSWER: &str = "192.0.2.53";

/// A folder with the certificate of a new authority.
fn folder() -> (Arc<Folder>, Authority) {
    let (folder, authority) = (Folder::new(), Authority::new());
    folder.write("ca.pem", authority.pem());
    (folder, authority)
}

/// A setup that asks these, without a cache.
fn asking(servers: &[String]) -> Setup {
    Setup::asking(servers).uncached().upstream("ca_file = \"ca.pem\"")
}

/// So many names over two connections at once, with what they get.
fn ask_many(server: &Server, count: usize, address: &str) {
    let mut clients = [Tcp::to(server.tcp[0]), Tcp::to(server.tcp[0])];
    for index in 0..count {
        clients[index % 2].send(&Ask::new(&format!("n{index}.example"), rtype::A).bytes());
    }
    for index in 0..count {
        let reply = clients[index % 2].reply();
        assert!(reply.is_address(address), "{index}: {reply:?}\n{}", server.stderr());
    }
}

#[test]
fn two_thousand_misses_at_once_over_every_transport() {
    let (folder, authority) = folder();
    let issued = authority.issue(&["dns.example"], |_| ());
    for (kind, scheme) in [(Kind::Tls, "tls"), (Kind::Https, "https"), (Kind::H3, "h3"), (Kind::Quic, "quic")] {
        let mock = Secure::start(kind, &issued, Ways { delay: Duration::from_millis(200), ..Ways::default() });
        let setup = asking(&[format!("{scheme}://{}#dns.example", mock.address())])
            .upstream("connections = 2\ntimeout = \"30s\"")
            .more("[server.tcp]\nmax_in_flight = 1000");
        let server = Server::start(&folder, &setup);
        ask_many(&server, 2_000, ANSWER);
        assert!(mock.seen().connections() <= 2, "{scheme}: {} connections", mock.seen().connections());
        assert_eq!(mock.seen().queries().len(), 2_000, "{scheme}");
        server.stop();
    }
}

#[test]
fn the_other_server_answers_when_one_dies() {
    let (folder, authority) = folder();
    let issued = authority.issue(&["dns.example"], |_| ());
    let [first, second] = [(); 2].map(|()| Secure::start(Kind::Tls, &issued, Ways::default()));
    let servers = [&first, &second].map(|mock| format!("tls://{}#dns.example", mock.address()));
    let server = Server::start(&folder, &asking(&servers).upstream("strategy = \"ordered\""));
    for index in 0..20 {
        assert!(server.a(&format!("before{index}.example")).is_address(ANSWER));
    }
    let (at, before) = (first.address(), second.seen().queries().len());
    assert_eq!(before, 0, "the first one works");
    first.stop();
    for index in 0..20 {
        let reply = server.a(&format!("after{index}.example"));
        assert!(reply.is_address(ANSWER), "{index}: {reply:?}\n{}", server.stderr());
    }
    server.says(&format!("upstream server tls://{at}#dns.example: cannot connect"));
    let first = Secure::start_at(at, Kind::Tls, &issued, Ways::default());
    eventually(
        "the first one is used again",
        || {
            server.a("again.example");
            first.seen().queries().len() > 2
        },
        || server.stderr(),
    );
}

#[test]
fn a_wrong_certificate_is_told_and_gets_no_query() {
    let (folder, authority) = folder();
    let stranger = Authority::new();
    let expire = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let other = authority.issue(&["other.example"], |_| ());
    let expired = authority.issue(&["dns.example"], expire);
    let unknown = stranger.issue(&["dns.example"], |_| ());
    let pinned = format!("?pin={}", other.pin());
    let its_pin = unknown.pin();
    for (issued, extra, says) in [
        (&other, "#dns.example", "it is not for dns.example, but for other.example"),
        (&expired, "#dns.example", "it has expired"),
        (&unknown, "#dns.example", "no known authority stands for it"),
        (&unknown, pinned.as_str(), its_pin.as_str()),
    ] {
        for (kind, scheme) in [(Kind::Tls, "tls"), (Kind::Https, "https"), (Kind::Quic, "quic")] {
            let mock = Secure::start(kind, issued, Ways::default());
            let server = Server::start(&folder, &asking(&[format!("{scheme}://{}{extra}", mock.address())]));
            let reply = server.ask(&Ask::new("www.example", rtype::A).edns());
            assert_eq!((reply.rcode, reply.ede_code()), (rcode::SERVFAIL, Some(22)), "{reply:?}");
            server.says(says);
            server.says(&format!("{scheme}://{}", mock.address()));
            assert!(mock.seen().queries().is_empty());
        }
    }
    // The right key is enough.
    let mock = Secure::start(Kind::Tls, &unknown, Ways::default());
    let server = Server::start(&folder, &asking(&[format!("tls://{}?pin={its_pin}", mock.address())]));
    assert!(server.a("www.example").is_address(ANSWER));
}

#[test]
fn a_server_with_a_name_waits_for_bootstrap_and_never_asks_itself() {
    let (folder, authority) = folder();
    let issued = authority.issue(&["dns.example"], |_| ());
    let mock = Secure::start(Kind::Https, &issued, Ways::default());
    let url = format!("https://dns.example:{}/dns-query", mock.address().port());
    let nobody = dead_address();
    let setup = asking(std::slice::from_ref(&url)).upstream(&format!("bootstrap = [\"{nobody}\"]"));
    let server = Server::start(&folder, &setup);
    assert_eq!(server.a("www.example").rcode, rcode::SERVFAIL);
    server.says("cannot look up dns.example at the bootstrap servers");
    let bootstrap = Mock::start(|asked| match (asked.name.as_str(), asked.qtype) {
        ("dns.example", rtype::A) => Say::A([127, 0, 0, 1]),
        _ => Say::Nodata,
    });
    let setup = asking(std::slice::from_ref(&url)).upstream(&format!("bootstrap = [\"{}\"]", bootstrap.address()));
    folder.replace("config.toml", setup.text());
    server.comes_to("www.example", ANSWER);
    assert!(bootstrap.asked().iter().all(|asked| asked.name == "dns.example"), "{:?}", bootstrap.asked());
    server.stop();

    // A name that leads to an address of our own is no way out.
    let port = free_port();
    let bootstrap = Mock::start(|asked| if asked.qtype == rtype::A { Say::A([127, 0, 0, 1]) } else { Say::Nodata });
    let setup = asking(&[format!("tls://ourselves.example:{}", port.port())])
        .listen(&format!("[\"{port}\"]"))
        .upstream(&format!("bootstrap = [\"{}\"]", bootstrap.address()));
    let server = Server::start(&folder, &setup);
    assert_eq!(server.a("www.example").rcode, rcode::SERVFAIL);
    server.says("ourselves.example leads to this server itself");
    server.stop();
    let own = asking(&[url]).listen(&format!("[\"{port}\"]")).upstream(&format!("bootstrap = [\"{port}\"]"));
    let (code, said) = Server::refuses(&folder, &own.text());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("qalqan would ask itself for ever"), "{said}");
}

#[test]
fn subnets_of_clients_are_not_passed_on_in_either_direction() {
    let (folder, authority) = folder();
    let issued = authority.issue(&["dns.example"], |_| ());
    let mock = Secure::start(Kind::Tls, &issued, Ways::default());
    let server = Server::start(&folder, &asking(&[format!("tls://{}#dns.example", mock.address())]));
    // 198.51.100.0/24 (RFC 7871 section 6).
    let subnet = [0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100];
    let mut query = Ask::new("www.example", rtype::A).edns().bytes();
    let len = query.len();
    query[len - 2..].copy_from_slice(&(subnet.len() as u16).to_be_bytes());
    query.extend(subnet);
    let mut client = Tcp::to(server.tcp[0]);
    client.send(&query);
    assert!(client.reply().is_address(ANSWER));
    let sent = mock.seen().queries().concat();
    assert!(!sent.windows(3).any(|octets| octets == [198, 51, 100]), "{sent:?}");
    server.stop();
    // And what a server says of subnets stays here.
    let plain = Mock::start(move |_| {
        let mut bytes = Ask::new("told.example", rtype::A).edns().flags(0x8180).bytes();
        let len = bytes.len();
        bytes[len - 2..].copy_from_slice(&(subnet.len() as u16).to_be_bytes());
        bytes.extend(subnet);
        Say::Raw(bytes)
    });
    let server = Server::start(&folder, &Setup::new(plain.address()));
    let mut client = Tcp::to(server.tcp[0]);
    for _ in 0..2 {
        client.send(&Ask::new("told.example", rtype::A).edns().bytes());
        let reply = client.receive().expect("an answer");
        assert_eq!(reply[3] & 15, 0, "{reply:?}");
        assert!(!reply.windows(3).any(|octets| octets == [198, 51, 100]), "{reply:?}");
    }
}

#[test]
fn answers_for_one_network_are_not_kept_for_others() {
    let (folder, authority) = folder();
    let issued = authority.issue(&["dns.example"], |_| ());
    let subnet = |scope| [0, 8, 0, 7, 0, 1, 24, scope, 198, 51, 100];
    let with = |mut query: Vec<u8>, option: [u8; 11]| {
        let len = query.len();
        query[len - 2..].copy_from_slice(&11_u16.to_be_bytes());
        query.extend(option);
        query
    };
    // The client's option goes on as it is.
    let secure = Secure::start(Kind::Tls, &issued, Ways::default());
    let setup = asking(&[format!("tls://{}#dns.example", secure.address())]).upstream("client_subnet = \"forward\"");
    let server = Server::start(&folder, &setup);
    let mut client = Tcp::to(server.tcp[0]);
    client.send(&with(Ask::new("www.example", rtype::A).edns().bytes(), subnet(0)));
    assert!(client.reply().is_address(ANSWER));
    client.send(&Ask::new("plain.example", rtype::A).edns().bytes());
    assert!(client.reply().is_address(ANSWER));
    let sent = secure.seen().queries();
    assert!(sent[0].windows(11).any(|octets| octets == subnet(0)), "{:?}", sent[0]);
    assert_eq!((sent[0].len(), sent[1].len()), (128, 128), "padded all the same");
    assert!(!sent[1].windows(3).any(|octets| octets == [198, 51, 100]), "{:?}", sent[1]);
    server.stop();

    let mock = Mock::start(move |asked| {
        let scope = if asked.name == "near.example" { 24 } else { 0 };
        let mut bytes = Ask::new(&asked.name, rtype::A).edns().flags(0x8180).bytes();
        // An address between question and OPT.
        let opt = bytes.split_off(bytes.len() - 11);
        bytes[7] = 1;
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 192, 0, 2, 77]);
        bytes.extend(opt);
        Say::Raw(with(bytes, subnet(scope)))
    });
    let setup = Setup::new(mock.address()).upstream("client_subnet = \"forward\"");
    let server = Server::start(&Folder::new(), &setup);
    let mut client = Tcp::to(server.tcp[0]);
    for _ in 0..3 {
        for name in ["near.example", "all.example"] {
            client.send(&with(Ask::new(name, rtype::A).edns().bytes(), subnet(0)));
            let reply = client.reply();
            assert!(reply.is_address("192.0.2.77"), "{reply:?}");
        }
    }
    assert_eq!((mock.count("near.example"), mock.count("all.example")), (3, 1));
}

/// Other people's server, ended with the test.
struct Dnsdist(Child);

impl Drop for Dnsdist {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Dnsdist {
    /// Over TLS and HTTPS at these ports, behind it `mock`; `None`, said aloud, where it is not installed.
    fn start(folder: &Folder, issued: &Issued, mock: &Mock, ports: [SocketAddr; 3]) -> Option<Self> {
        folder.write("dns.pem", issued.chain_pem());
        folder.write("dns.key", issued.key_pem());
        let [plain, tls, https] = ports;
        let (certificate, key) = (folder.path("dns.pem"), folder.path("dns.key"));
        let config = format!(
            "setLocal(\"{plain}\")\nnewServer(\"{}\")\n\
             addTLSLocal(\"{tls}\", {certificate:?}, {key:?}, {{maxInFlight=1000}})\n\
             addDOHLocal(\"{https}\", {certificate:?}, {key:?}, \"/dns-query\")\n",
            mock.address()
        );
        folder.write("dnsdist.conf", config);
        let mut command = Command::new("dnsdist");
        command.args(["--supervised", "-C"]).arg(folder.path("dnsdist.conf"));
        match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => {
                let started = Self(child);
                let up = || [tls, https].iter().all(|&address| TcpStream::connect(address).is_ok());
                eventually("dnsdist listens", up, String::new);
                Some(started)
            }
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "CI must have dnsdist: {error}");
                eprintln!("skipped: no dnsdist here: {error}");
                None
            }
        }
    }
}

/// A port of 127.0.0.1 that is free now.
fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound")
}

#[test]
fn dnsdist_is_asked_over_tls_and_https() {
    let (folder, authority) = folder();
    let issued = authority.issue(&["dns.example"], |_| ());
    let mock = Mock::fixed([192, 0, 2, 9]);
    let ports = [free_port(), free_port(), free_port()];
    let Some(_dnsdist) = Dnsdist::start(&folder, &issued, &mock, ports) else { return };
    for url in [format!("tls://{}#dns.example", ports[1]), format!("https://{}/dns-query#dns.example", ports[2])] {
        let server = Server::start(&folder, &asking(&[url]).more("[server.tcp]\nmax_in_flight = 1000"));
        // dnsdist asks over UDP and asks once: not more than the mock's socket holds.
        for _ in 0..5 {
            ask_many(&server, 100, "192.0.2.9");
        }
        server.stop();
    }
}
