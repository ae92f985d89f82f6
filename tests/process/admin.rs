//! The admin listener: what it answers, whom, and what it does not put up with.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use crate::support::client::{Ask, Udp, rtype};
use crate::support::http::{connect, exchange, get, get_with, read};
use crate::support::mock::{Mock, Say};
use crate::support::server::{Folder, Server, Setup, eventually};

/// A server with an admin listener.
fn watched(mock: &Mock) -> (Arc<Folder>, Server, SocketAddr) {
    let folder = Folder::new();
    folder.write("a.txt", "a.example\n");
    let setup = Setup::new(mock.address()).list("a", "a.txt", "").admin("listen = [\"127.0.0.1:0\"]");
    let server = Server::start(&folder, &setup);
    let http = server.http[0];
    (folder, server, http)
}

/// The value of a figure with these labels in a scrape.
fn figure(body: &str, row: &str) -> Option<f64> {
    body.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn pages_are_answered_one_a_connection_and_all_else_is_refused() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (_folder, server, http) = watched(&mock);
    let metrics = get(http, "/metrics");
    assert_eq!(
        (metrics.status, metrics.header("content-type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    assert_eq!(metrics.header("connection"), Some("close"));
    assert_eq!(
        (metrics.header("cache-control"), metrics.header("x-content-type-options")),
        (Some("no-store"), Some("nosniff"))
    );
    assert!(metrics.body.contains("\n# TYPE qalqan_queries_total counter\n"), "{}", metrics.body);
    let open = get_with(http, "/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n");
    assert!(
        open.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")),
        "{open:?}"
    );
    assert!(
        open.body.contains("\n# TYPE qalqan_queries counter\nqalqan_queries_total{")
            && open.body.ends_with("\n# EOF\n")
    );
    let health = get(http, "/health");
    assert_eq!((health.status, health.json()), (200, serde_json::json!({ "status": "serving" })));
    let host = format!("Host: {http}\r\n");
    for (request, status) in [
        (format!("HEAD /metrics HTTP/1.1\r\n{host}\r\n"), 200),
        ("GET /health HTTP/1.0\r\n\r\n".to_owned(), 200),
        ("GET /health HTTP/1.1\r\nHost: localhost:1\r\n\r\n".to_owned(), 200),
        ("GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), 403),
        ("GET /metrics HTTP/1.0\r\nHost: evil.example\r\n\r\n".to_owned(), 403),
        ("GET /health HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET /health HTTP/1.1\r\n{host}Host: evil.example\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}\r\n"), 404),
        (format!("GET /metrics/ HTTP/1.1\r\n{host}\r\n"), 404),
        (format!("GET /../../etc/passwd HTTP/1.1\r\n{host}\r\n"), 404),
        (format!("POST /metrics HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\nhello"), 405),
        (format!("DELETE /health HTTP/1.1\r\n{host}\r\n"), 405),
        (format!("POST /health HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n"), 405),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ] {
        let response = exchange(http, request.as_bytes()).unwrap_or_else(|| panic!("no answer to {request:?}"));
        assert_eq!(response.status, status, "{request:?}: {response:?}");
        assert_eq!(response.header("allow").is_some(), status == 405, "{request:?}: {response:?}");
        assert!(!request.starts_with("HEAD") || response.body.is_empty(), "{response:?}");
    }
    let body = get(http, "/metrics").body;
    assert_eq!(figure(&body, "qalqan_http_refused_total{reason=\"host\"}"), Some(2.0));
    server.stop();
    assert!(TcpStream::connect(http).is_err(), "nobody listens any more");
}

#[test]
fn large_slow_and_many_are_cut_off_and_all_others_served() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (_folder, server, http) = watched(&mock);
    // Slow ones first: they are waited for at the end.
    let mut slow = connect(http);
    slow.write_all(b"GET /metrics HT").expect("sent");
    let mut silent = connect(http);
    for huge in [
        format!("GET /metrics HTTP/1.1\r\nHost: {http}\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)),
        format!("GET /metrics HTTP/1.1\r\nHost: {http}\r\n{}\r\n", "X: y\r\n".repeat(1000)),
        format!("GET /{} HTTP/1.1\r\nHost: {http}\r\n\r\n", "x".repeat(1 << 20)),
        "x".repeat(1 << 20),
    ] {
        if let Some(response) = exchange(http, huge.as_bytes()) {
            assert!(matches!(response.status, 400 | 414 | 431), "{:?}: {response:?}", &huge[..40]);
        }
    }
    // A body is not read: the answer does not wait for it.
    let large = format!("POST /metrics HTTP/1.1\r\nHost: {http}\r\nContent-Length: 1000000000\r\n\r\n");
    assert_eq!(exchange(http, large.as_bytes()).map(|response| response.status), Some(405));
    let crowd: Vec<TcpStream> = (0..100).map(|_| connect(http)).collect();
    let mut closed = 0;
    for stream in &crowd {
        stream.set_nonblocking(true).expect("set");
    }
    let closes = |closed: &mut usize| {
        *closed = crowd.iter().filter(|stream| matches!((&**stream).read(&mut [0]), Ok(0))).count();
        *closed >= 100 - 64
    };
    eventually("those beyond the limit are closed", || closes(&mut closed), || server.stderr());
    assert!(server.a("a.example").is_address("0.0.0.0"), "queries are answered meanwhile");
    drop(crowd);
    let mut body = String::new();
    let scraped = || {
        body = exchange(http, format!("GET /metrics HTTP/1.1\r\nHost: {http}\r\n\r\n").as_bytes())
            .filter(|response| response.status == 200)
            .map_or(String::new(), |response| response.body);
        !body.is_empty()
    };
    eventually("there is room again", scraped, || server.stderr());
    assert!(figure(&body, "qalqan_http_refused_total{reason=\"limit\"}") >= Some(36.0), "{body}");
    for stream in [&mut slow, &mut silent] {
        assert!(read(stream).is_none_or(|response| response.status == 408), "cut off");
    }
    let body = get(http, "/metrics").body;
    assert!(figure(&body, "qalqan_http_refused_total{reason=\"cut_off\"}") >= Some(2.0), "{body}");
}

#[test]
fn a_client_that_does_not_read_its_answer_holds_nothing_up() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (_folder, server, http) = watched(&mock);
    let idle: Vec<TcpStream> = (0..32)
        .map(|_| {
            let mut stream = connect(http);
            stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: {http}\r\n\r\n").as_bytes()).expect("sent");
            stream
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(get(http, "/health").status, 200);
    }
    drop(idle);
    server.stop();
}

#[test]
fn who_may_connect_is_configured_and_names_are_too() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("a.txt", "a.example\n");
    let admin =
        "listen = [\"127.0.0.1:0\", \"[::1]:0\"]\nallow_from = [\"127.0.0.2\", \"::1\"]\nhosts = [\"Resolver.LAN\"]";
    let server = Server::start(&folder, &Setup::new(mock.address()).list("a", "a.txt", "").admin(admin));
    let [v4, v6] = server.http[..] else { panic!("two addresses: {:?}", server.http) };
    assert!(exchange(v4, b"GET /health HTTP/1.0\r\n\r\n").is_none(), "127.0.0.1 is not allowed");
    server.says("not in [admin] allow_from");
    assert_eq!(get(v6, "/health").status, 200);
    let named = exchange(v6, b"GET /metrics HTTP/1.1\r\nHost: resolver.lan:8053\r\n\r\n").expect("an answer");
    assert_eq!(named.status, 200, "{named:?}");
    assert_eq!(figure(&named.body, "qalqan_http_refused_total{reason=\"not_allowed\"}"), Some(1.0));
}

#[test]
fn it_can_be_off_and_a_taken_port_is_told_with_all_else_that_is_wrong() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("a.txt", "a.example\n");
    let setup = Setup::new(mock.address()).list("a", "a.txt", "");
    for off in ["listen = \"\"", "listen = []"] {
        let server = Server::start(&folder, &setup.clone().admin(off));
        assert!(server.http.is_empty());
        server.stop();
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let dns = format!("[\"{address}\"]");
    let admin = format!("listen = [\"{address}\", \"192.0.2.1:1\"]");
    let (code, said) = Server::refuses(&folder, &setup.clone().listen(&dns).admin(&admin).text());
    assert_eq!(code, Some(2), "{said}");
    for told in [
        format!("cannot listen on {address} (TCP)"),
        format!("cannot listen on {address} (HTTP)"),
        "change [admin] listen, or turn it off".to_owned(),
        "cannot listen on 192.0.2.1:1 (HTTP)".to_owned(),
    ] {
        assert!(said.contains(&told), "{told}: {said}");
    }
    let wrong = "listen = [\"127.0.0.1\"]\nallow_from = []\nhosts = [\"a b\"]\nlissten = 1";
    let (code, said) = Server::refuses(&folder, &setup.admin(wrong).text());
    assert_eq!(code, Some(2), "{said}");
    for told in ["the port is missing", "[admin] allow_from", "[admin] hosts", "unknown key \"lissten\" in [admin]"] {
        assert!(said.contains(told), "{told}: {said}");
    }
}

#[test]
fn while_it_drains_it_is_not_healthy() {
    // Nobody answers, so the drain takes as long as it may.
    let mock = Mock::start(|_| Say::Silence);
    let (_folder, server, http) = watched(&mock);
    Udp::to(server.udp[0]).send(&Ask::new("free.example", rtype::A).bytes());
    eventually("the upstream is asked", || mock.total() > 0, || server.stderr());
    server.signal("TERM");
    let mut last = None;
    let unhealthy = || {
        let request = format!("GET /health HTTP/1.1\r\nHost: {http}\r\n\r\n");
        last = exchange(http, request.as_bytes());
        last.as_ref().is_some_and(|response| response.status == 503)
    };
    eventually("it says that it stops", unhealthy, || server.stderr());
    assert_eq!(last.expect("an answer").json()["status"], "stopping");
}
