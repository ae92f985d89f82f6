//! DNS over HTTPS as browsers, command line tools and vandals speak it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::{Ask, Reply, rcode, rtype};
use crate::support::encrypted::{DNS_MESSAGE, Http1, Http2, Page, Quic, encrypted, frame, get, head, parameter, post};
use crate::support::mock::{Mock, Say};
use crate::support::server::{Folder, Server, Setup, eventually};

/// A server that blocks `blocked.example` with 0.0.0.0 and says nothing about `drop.example`; its upstream knows all else.
fn start(server: &str) -> (Mock, Server) {
    let mock = Mock::start(|asked| match asked.name.as_str() {
        "gone.example" => Say::Nxdomain,
        "fail.example" => Say::Rcode(hickory_proto::op::ResponseCode::ServFail),
        name if name.ends_with("slow.example") => {
            Say::Later(Duration::from_millis(700), Box::new(Say::A([198, 51, 100, 9])))
        }
        "slower.example" => Say::Later(Duration::from_millis(1500), Box::new(Say::A([198, 51, 100, 9]))),
        _ => Say::A([198, 51, 100, 7]),
    });
    let folder = Folder::new();
    folder.write("block.txt", "blocked.example\n");
    folder.write("drop.txt", "drop.example\n");
    let setup = Setup::new(mock.address()).more(server).list("block", "block.txt", "").list(
        "drop",
        "drop.txt",
        "answer = \"drop\"",
    );
    let server = Server::start(&folder, &encrypted(setup, &folder));
    (mock, server)
}

/// A query with ID 0, as browsers send it.
fn query(name: &str) -> Vec<u8> {
    Ask { id: 0, ..Ask::new(name, rtype::A).edns() }.bytes()
}

/// One of the counters, as last written; a server that has just begun has none yet.
fn counter(server: &Server, name: &str) -> Option<u64> {
    let path = server.folder.path("state/counters.json");
    path.exists().then(|| server.folder.counters()["queries"][name].as_u64().unwrap_or_else(|| panic!("no {name}")))
}

/// Waits until a counter has come to a number.
fn comes_to(server: &Server, name: &str, number: u64) {
    eventually(&format!("{name} is {number}"), || counter(server, name) == Some(number), || server.stderr());
}

/// One request on a connection of its own.
fn once(server: &Server, request: impl AsRef<[u8]>) -> io::Result<Page> {
    let mut http = Http1::to(server.at("doh"), &server.folder);
    // A server that refuses need not read all of it: its answer counts, if there is one.
    let sent = http.try_send(request);
    http.page().or_else(|error| sent.and(Err(error)))
}

#[test]
fn an_answer_may_be_kept_for_as_long_as_its_ttl_says_and_a_failure_not_at_all() {
    let (_mock, server) = start("");
    let mut http = Http1::to(server.at("doh"), &server.folder);
    let mut ask = |name| {
        http.send(get(&query(name)));
        let page = http.page().expect("an answer");
        assert_eq!((page.status, page.header("content-type")), (200, DNS_MESSAGE), "{name}");
        assert_eq!(page.header("content-length"), page.body.len().to_string(), "{name}");
        let reply = Reply::read(&page.body);
        (reply.rcode, page.header("cache-control").to_owned())
    };
    assert_eq!(ask("blocked.example"), (rcode::NOERROR, "max-age=30".into()));
    assert_eq!(ask("free.example"), (rcode::NOERROR, "max-age=300".into()));
    let (code, kept) = ask("gone.example");
    let soa = server.ask(&Ask::new("gone.example", rtype::A)).authorities[0].clone();
    let minimum: u32 = soa.data.rsplit(' ').next().and_then(|text| text.parse().ok()).expect("a minimum");
    assert_eq!((code, kept), (rcode::NXDOMAIN, format!("max-age={}", minimum.min(soa.ttl))));
    assert_eq!(ask("fail.example"), (rcode::SERVFAIL, "no-store".into()));
}

#[test]
fn every_wrong_request_gets_the_status_that_says_what_is_wrong() {
    let (_mock, server) = start("");
    let good = parameter(&query("blocked.example"));
    let line = |line: &str| format!("{line} HTTP/1.1\r\nHost: dns.example\r\n\r\n");
    let with = |method: &str, headers: &str, body: &str| {
        format!(
            "{method} /dns-query HTTP/1.1\r\nHost: dns.example\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let kind = format!("Content-Type: {DNS_MESSAGE}\r\n");
    let long = "x".repeat(70_000);
    let cases: Vec<(String, u16)> = vec![
        (line(&format!("GET /dns-query?dns={good}")), 200),
        (line("GET /health"), 200),
        (line("GET /dns-query"), 400),
        (line("GET /dns-query?dns="), 400),
        (line(&format!("GET /dns-query?dns={good}=")), 400),
        (line("GET /dns-query?dns=%%%%"), 400),
        (line("GET /dns-query?dns=AAAA"), 400),
        (with("POST", &kind, "not DNS"), 400),
        (with("POST", &kind, ""), 400),
        (line("GET /"), 404),
        (line(&format!("GET /dns-query/?dns={good}")), 404),
        (line(&format!("GET /other?dns={good}")), 404),
        (with("PUT", &kind, "x"), 405),
        (line("OPTIONS /dns-query"), 405),
        (with("POST", &kind, &long), 413),
        (line(&format!("GET /dns-query?dns={}", "A".repeat(9000))), 414),
        (with("POST", "", "x"), 415),
        (with("POST", "Content-Type: application/dns-json\r\n", "x"), 415),
        (format!("GET /health HTTP/1.1\r\nHost: dns.example\r\nX: {}\r\n\r\n", "y".repeat(20_000)), 431),
        (format!("GET /health HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100)), 431),
        ("NONSENSE\r\n\r\n".into(), 400),
    ];
    let mut refused = 0;
    for (request, status) in &cases {
        let shown = &request[..request.len().min(80)];
        let page = once(&server, request).unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(page.status, *status, "{shown}");
        assert_eq!(page.header("allow"), if *status == 405 { "GET, HEAD, POST" } else { "" }, "{shown}");
        // What is no HTTP is answered before it comes to us.
        refused += u64::from(*status != 200 && *status != 431 && !shown.starts_with("NONSENSE"));
    }
    comes_to(&server, "http_refused", refused);
    comes_to(&server, "http_cut_off", 3);
    // Nor does Accept matter: an answer is a DNS message in any case.
    let accept = format!("GET /dns-query?dns={good} HTTP/1.1\r\nHost: dns.example\r\nAccept: text/html\r\n\r\n");
    assert_eq!(once(&server, accept).expect("an answer").status, 200);
}

#[test]
fn head_is_get_without_the_body() {
    let (_mock, server) = start("");
    let mut http = Http1::to(server.at("doh"), &server.folder);
    let path = format!("/dns-query?dns={}", parameter(&query("blocked.example")));
    http.send(format!(
        "GET {path} HTTP/1.1\r\nHost: dns.example\r\n\r\nHEAD {path} HTTP/1.1\r\nHost: dns.example\r\n\r\n"
    ));
    let got = http.page().expect("an answer");
    let head = http.head().expect("an answer");
    assert_eq!((head.status, &head.headers), (200, &got.headers));
    assert!(!got.body.is_empty() && head.body.is_empty());
    let port = server.at("doh3").port();
    assert_eq!(got.header("alt-svc"), format!("h3=\":{port}\"; ma=86400"), "HTTP/3 is offered");
}

#[test]
fn a_body_that_does_not_come_is_given_up_and_nobody_else_waits() {
    let (_mock, server) = start("[server.tcp]\nidle = \"1s\"");
    let mut slow = Http1::to(server.at("doh"), &server.folder);
    let whole = post(&query("blocked.example"));
    slow.send(&whole[..whole.len() - 5]);
    let mut http2 = Http2::to(server.at("doh"), &server.folder);
    let headers = [("content-type", DNS_MESSAGE), ("content-length", "40")];
    let stuck = http2.request("POST", "/dns-query", &headers, false).expect("open");
    let other = http2.get(&query("blocked.example"));
    assert!(http2.answers(&[other]).expect("an answer")[&other].is_ok(), "the other stream is answered meanwhile");
    assert_eq!(once(&server, get(&query("blocked.example"))).expect("an answer").status, 200);
    assert_eq!(slow.page().expect("an answer").status, 408);
    assert!(slow.is_closed());
    let streams = http2.answers(&[stuck]).expect("an answer");
    assert!(!streams[&stuck].is_ok());
    comes_to(&server, "http_refused", 2);
}

#[test]
fn connections_without_a_whole_request_are_closed_and_busy_ones_are_not() {
    let (_mock, server) = start("[server.tcp]\nidle = \"1s\"");
    let mut busy = Http2::to(server.at("doh"), &server.folder);
    let waits = busy.get(&query("slower.example"));
    let mut silent = Http1::to(server.at("doh"), &server.folder);
    silent.send("");
    let mut trickling = Http1::to(server.at("doh"), &server.folder);
    trickling.send("GET /dns-query?dns=");
    let mut kept = Http1::to(server.at("doh"), &server.folder);
    kept.send(get(&query("blocked.example")));
    assert_eq!(kept.page().expect("an answer").status, 200);
    assert!(busy.answers(&[waits]).expect("an answer")[&waits].is_ok(), "we owe it an answer");
    assert!(silent.is_closed() && trickling.is_closed() && kept.is_closed());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (_mock, server) = start("");
    let mut http = Http1::to(server.at("doh"), &server.folder);
    let names = ["blocked.example", "slow.example", "a.blocked.example", "free.example", "b.blocked.example"];
    let requests: Vec<u8> =
        names.iter().flat_map(|name| [get(&query(name)).into_bytes(), post(&query(name))].concat()).collect();
    http.send(requests);
    for name in names.iter().flat_map(|name| [name, name]) {
        let page = http.page().expect("an answer");
        assert_eq!(Reply::read(&page.body).question.map(|(name, ..)| name).as_deref(), Some(*name));
    }
}

#[test]
fn streams_of_one_connection_do_not_wait_for_each_other() {
    let (_mock, server) = start("");
    let mut http = Http2::to(server.at("doh"), &server.folder);
    let slow = http.post(&query("slow.example"));
    let fast: Vec<u32> = (0..20).map(|at| http.get(&query(&format!("n{at}.blocked.example")))).collect();
    let answers = http.answers(&fast).expect("answers");
    assert!(fast.iter().all(|id| answers[id].is_ok()));
    assert!(!answers.contains_key(&slow), "the slow one is not there yet");
    let answers = http.answers(&[slow]).expect("an answer");
    assert!(Reply::read(&answers[&slow].body).is_address("198.51.100.9"));
}

#[test]
fn a_query_that_is_to_be_dropped_has_its_stream_reset_and_never_hangs() {
    let (_mock, server) = start("");
    let mut http1 = Http1::to(server.at("doh"), &server.folder);
    http1.send(get(&query("drop.example")));
    assert!(http1.is_closed());
    let mut http2 = Http2::to(server.at("doh"), &server.folder);
    let [dropped, other] = [http2.get(&query("drop.example")), http2.post(&query("blocked.example"))];
    let streams = http2.answers(&[dropped, other]).expect("both end");
    assert!(streams[&dropped].reset.is_some() && streams[&dropped].head.is_empty());
    assert!(streams[&other].is_ok(), "the connection goes on");
    let mut http3 = Quic::http3(server.at("doh3"), &server.folder);
    let path = |name| format!("/dns-query?dns={}", parameter(&query(name)));
    http3.request("GET", &path("drop.example"), &[]).expect_err("reset");
    assert_eq!(http3.request("GET", &path("blocked.example"), &[]).expect("an answer").status, 200);
    comes_to(&server, "received", 5);
    assert_eq!(counter(&server, "http_cut_off"), Some(0), "it is our doing");
}

#[test]
fn http3_refuses_as_the_others_do() {
    let (_mock, server) = start("");
    let mut http = Quic::http3(server.at("doh3"), &server.folder);
    let long = vec![0; 70_000];
    let message = query("blocked.example");
    let cases: [(&str, &str, &[u8], u16); 7] = [
        ("GET", "/health", &[], 200),
        ("POST", "/dns-query", &message, 200),
        ("GET", "/dns-query?dns=A", &[], 400),
        ("GET", "/", &[], 404),
        ("DELETE", "/dns-query", &[], 405),
        ("POST", "/dns-query", &long, 413),
        ("POST", "/dns-query", &[], 415),
    ];
    for (method, path, body, status) in cases {
        let page = http.request(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert_eq!(page.status, status, "{method} {path}");
    }
    let page = http.request("HEAD", &format!("/dns-query?dns={}", parameter(&message)), &[]).expect("an answer");
    assert!(page.status == 200 && page.body.is_empty() && page.header("content-length") != "0");
    comes_to(&server, "http_refused", 5);
}

#[test]
fn http2_floods_end_the_connection_that_makes_them_and_no_other() {
    let (_mock, server) = start("");
    let mut other = Http2::to(server.at("doh"), &server.folder);
    let path = format!("/dns-query?dns={}", parameter(&query("slow.example")));
    // Rapid reset (CVE-2023-44487): requests taken back at once.
    let mut resets = Http2::to(server.at("doh"), &server.folder);
    let mut flood = || -> io::Result<()> {
        for _ in 0..10_000 {
            let id = resets.request("GET", &path, &[], true)?;
            resets.frame(frame::RST_STREAM, 0, id, &8u32.to_be_bytes())?;
        }
        resets.answers(&[99_999]).map(drop)
    };
    let ended = flood().expect_err("it is closed");
    assert!(!matches!(ended.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{ended}");
    // Headers without end (CVE-2024-27316).
    let mut headers = Http2::to(server.at("doh"), &server.folder);
    let mut flood = || -> io::Result<()> {
        headers.frame(frame::HEADERS, frame::END_STREAM, 1, &head("GET", "/health", &[]))?;
        let block = [&[0, 1, b'a', 100][..], &[b'b'; 100]].concat().repeat(100);
        for _ in 0..10_000 {
            headers.frame(frame::CONTINUATION, 0, 1, &block)?;
        }
        headers.answers(&[1]).map(drop)
    };
    let ended = flood().expect_err("it is closed");
    assert!(!matches!(ended.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{ended}");
    let id = other.get(&query("blocked.example"));
    assert!(other.answers(&[id]).expect("an answer")[&id].is_ok(), "others are served");
    eventually("it is counted", || counter(&server, "http_cut_off") >= Some(1), || server.stderr());
}

#[test]
fn a_client_has_its_number_of_connections_and_streams() {
    let (_mock, server) = start("[server.tcp]\nmax_per_client = 3\nmax_in_flight = 4");
    let mut held: Vec<_> = (0..3).map(|_| Http2::to(server.at("doh"), &server.folder)).collect();
    for http in &mut held {
        let id = http.get(&query("blocked.example"));
        assert!(http.answers(&[id]).expect("an answer")[&id].is_ok());
    }
    let refused = Quic::doq(server.at("doq"), &server.folder);
    refused.message(&query("blocked.example")).expect_err("the fourth connection is closed, whatever it speaks");
    comes_to(&server, "connection_refused", 1);
    // More streams than may be open: those beyond are refused or wait; the connection goes on and all others are answered.
    let http = &mut held[0];
    let streams: Vec<u32> = (0..8).map(|at| http.get(&query(&format!("s{at}.slow.example")))).collect();
    let answers = http.answers(&streams).expect("the connection goes on");
    assert!(answers.values().filter(|stream| stream.is_ok()).count() >= 4, "{answers:?}");
    let id = http.get(&query("blocked.example"));
    assert!(http.answers(&[id]).expect("an answer")[&id].is_ok());
    drop(held);
    eventually(
        "the places are free again",
        || once(&server, get(&query("blocked.example"))).is_ok(),
        || server.stderr(),
    );
}

#[test]
fn a_stop_lets_requests_under_way_finish() {
    let (_mock, server) = start("");
    let mut http2 = Http2::to(server.at("doh"), &server.folder);
    let first = http2.get(&query("blocked.example"));
    http2.answers(&[first]).expect("an answer");
    let slow = http2.get(&query("slow.example"));
    let mut http3 = Quic::http3(server.at("doh3"), &server.folder);
    let path = format!("/dns-query?dns={}", parameter(&query("slow.example")));
    let under_way = thread::spawn(move || http3.request("GET", &path, &[]).map(|page| page.status));
    let both = || counter(&server, "received") >= Some(3);
    eventually("both are under way", both, || server.stderr());
    let started = Instant::now();
    server.stop();
    assert!(started.elapsed() < Duration::from_secs(10), "a stop does not wait for idle connections");
    assert!(http2.answers(&[slow]).expect("an answer")[&slow].is_ok());
    assert_eq!(under_way.join().expect("no panic").expect("an answer"), 200);
}

/// Runs a program; `None`, said aloud, where it is not installed, which in CI it must be.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            let text =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{program} {arguments:?}: {text}");
            Some(text)
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "CI must have {program}: {error}");
            eprintln!("skipped: no {program} here: {error}");
            None
        }
    }
}

/// The path of a file in the server's folder.
fn path(server: &Server, name: &str) -> String {
    server.folder.path(name).to_str().expect("UTF-8").to_owned()
}

#[test]
fn kdig_asks_by_every_way() {
    let (_mock, server) = start("");
    let authority = format!("+tls-ca={}", path(&server, "cert.pem"));
    let ask = |address: SocketAddr, ways: &[&str], name: &str| {
        let port = address.port().to_string();
        let fixed = ["@127.0.0.1", "-p", &port, authority.as_str(), "+tls-hostname=dns.example", "+edns=0"];
        run("kdig", &[&fixed[..], ways, &[name, "A"]].concat())
    };
    let doh = server.at("doh");
    for (address, ways) in
        [(doh, &["+https=/dns-query"][..]), (doh, &["+https=/dns-query", "+https-get"]), (server.at("doq"), &["+quic"])]
    {
        let Some(text) = ask(address, ways, "www.blocked.example") else { return };
        assert!(text.contains("NOERROR") && text.contains("0.0.0.0") && text.contains("EDE: 16"), "{ways:?}: {text}");
        let text = ask(address, ways, "free.example").expect("it ran before");
        assert!(text.contains("198.51.100.7"), "{ways:?}: {text}");
    }
}

#[test]
fn curl_asks_as_browsers_do_and_resolves_by_us() {
    let (_mock, server) = start("");
    let (authority, answer) = (path(&server, "cert.pem"), path(&server, "answer"));
    server.folder.write("query", query("blocked.example"));
    let port = server.at("doh").port();
    let url = format!("https://localhost:{port}/dns-query");
    let get = format!("{url}?dns={}", parameter(&query("blocked.example")));
    let body = format!("@{}", path(&server, "query"));
    let kind = format!("content-type: {DNS_MESSAGE}");
    let accept = format!("accept: {DNS_MESSAGE}");
    let fixed = [
        "-sS",
        "-m",
        "10",
        "--cacert",
        &authority,
        "-o",
        &answer,
        "-w",
        "%{http_version} %{http_code} %{content_type}",
    ];
    let ways: [(&[&str], &str); 4] = [
        (&["--http2", "-H", &accept, &get], "2 200 application/dns-message"),
        (&["--http1.1", &get], "1.1 200 application/dns-message"),
        (&["--http2", "-H", &accept, "-H", &kind, "--data-binary", &body, &url], "2 200 application/dns-message"),
        (&["--http1.1", "-H", &kind, "--data-binary", &body, &url], "1.1 200 application/dns-message"),
    ];
    for (way, expected) in ways {
        let Some(text) = run("curl", &[&fixed[..], way].concat()) else { return };
        assert_eq!(text, expected, "{way:?}");
        let reply = Reply::read(&std::fs::read(&answer).expect("an answer"));
        assert!(reply.id == 0 && reply.is_address("0.0.0.0"), "{way:?}: {reply:?}");
    }
    // A name only we know leads to a page of ours.
    let pages = TcpListener::bind("127.0.0.1:0").expect("a port");
    let page = format!("http://somewhere.example:{}/", pages.local_addr().expect("bound").port());
    thread::spawn(move || {
        for mut stream in pages.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nfound");
        }
    });
    let mock = Mock::fixed([127, 0, 0, 1]);
    let folder = Folder::new();
    let ours = Server::start(&folder, &encrypted(Setup::new(mock.address()), &folder));
    let doh = format!("https://localhost:{}/dns-query", ours.at("doh").port());
    let text = run("curl", &["-sS", "-m", "10", "-4", "--doh-insecure", "--doh-url", &doh, &page]);
    assert_eq!(text.as_deref(), Some("found"));
    assert!(mock.count("somewhere.example") > 0, "curl asked us for it");
}

#[test]
fn dnsperf_finds_nothing_lost() {
    let (_mock, server) = start("");
    // In the cache first: of answers that come from upstream at the same time dnsperf 2.10 takes one only.
    server.ask(&Ask::new("free.example", rtype::A));
    server.folder.write("names", "blocked.example A\nfree.example A\na.blocked.example AAAA\n");
    let (names, port) = (path(&server, "names"), server.at("doh").port().to_string());
    let url = "doh-uri=https://localhost/dns-query";
    // One query a connection for POST: bodies come later than headers, so several answers may be ready at once.
    for (method, outstanding) in [("doh-method=GET", "100"), ("doh-method=POST", "4")] {
        let arguments = [
            "-m",
            "doh",
            "-s",
            "127.0.0.1",
            "-p",
            &port,
            "-d",
            &names,
            "-l",
            "2",
            "-c",
            "4",
            "-q",
            outstanding,
            "-O",
            url,
            "-O",
            method,
        ];
        let Some(text) = run("dnsperf", &arguments) else { return };
        let number = |label: &str| -> u64 {
            let line = text.lines().find(|line| line.contains(label)).unwrap_or_else(|| panic!("no {label}: {text}"));
            line.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or_else(|| panic!("{line}"))
        };
        assert!(number("Queries completed") > 20, "{text}");
        assert_eq!(number("Queries lost"), 0, "{text}");
        assert!(text.contains("NOERROR") && !text.contains("SERVFAIL"), "{text}");
    }
}

#[test]
fn the_hit_log_says_by_which_way_it_came() {
    let (_mock, server) = start("");
    assert_eq!(once(&server, post(&query("blocked.example"))).expect("an answer").status, 200);
    let mut http3 = Quic::http3(server.at("doh3"), &server.folder);
    http3.request("POST", "/dns-query", &query("blocked.example")).expect("an answer");
    let transports =
        || -> Vec<Value> { server.folder.hits().into_iter().map(|mut hit| hit["transport"].take()).collect() };
    eventually("both hits are logged", || transports() == ["doh", "doh3"], || format!("{:?}", transports()));
}
