//! One decision for all: every scenario over every transport, and the answers are the same.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record};

use crate::support::client::{Ask, Reply, Tcp, Udp, rcode, rtype};
use crate::support::encrypted::{Http1, Http2, Quic, Tls, encrypted, get, parameter, post, tls};
use crate::support::mock::{Mock, Say};
use crate::support::server::{Folder, Server, Setup, eventually};

/// A connection over every transport.
struct Everywhere {
    udp: Udp,
    tcp: Tcp,
    dot: Tls,
    http1: Http1,
    http2: Http2,
    http3: Quic,
    doq: Quic,
}

impl Everywhere {
    /// To a server.
    fn to(server: &Server) -> Self {
        let folder = &server.folder;
        Self {
            udp: Udp::to(server.udp[0]),
            tcp: Tcp::to(server.tcp[0]),
            dot: tls(server.at("dot"), folder, "dot"),
            http1: Http1::to(server.at("doh"), folder),
            http2: Http2::to(server.at("doh"), folder),
            http3: Quic::http3(server.at("doh3"), folder),
            doq: Quic::doq(server.at("doq"), folder),
        }
    }

    /// Asks with the same octets over all; the ID must be 0.
    fn ask(&mut self, message: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        self.udp.send(message);
        self.tcp.send(message);
        let framed = [&(message.len() as u16).to_be_bytes(), message].concat();
        self.dot.write_all(&framed).expect("taken");
        self.http1.send([get(message).as_bytes(), &post(message)].concat());
        let streams = [self.http2.get(message), self.http2.post(message)];
        let streams = self.http2.answers(&streams).expect("answers");
        assert!(streams.values().all(|stream| stream.is_ok() && stream.reset.is_none()), "{streams:?}");
        let mut streams = streams.into_values();
        let mut page = || {
            let page = self.http1.page().expect("an answer");
            assert_eq!((page.status, page.header("content-type")), (200, "application/dns-message"));
            page.body
        };
        let path = format!("/dns-query?dns={}", parameter(message));
        let mut http3 = |method, path: &str, body: &[u8]| {
            let page = self.http3.request(method, path, body).expect("an answer");
            assert_eq!((page.status, page.header("content-type")), (200, "application/dns-message"));
            page.body
        };
        vec![
            ("udp", self.udp.receive().expect("an answer")),
            ("tcp", self.tcp.receive().expect("an answer")),
            ("dot", frame(&mut self.dot)),
            ("doh 1 get", page()),
            ("doh 1 post", page()),
            ("doh 2 get", streams.next().expect("an answer").body),
            ("doh 2 post", streams.next().expect("an answer").body),
            ("doh3 get", http3("GET", &path, &[])),
            ("doh3 post", http3("POST", "/dns-query", message)),
            ("doq", self.doq.message(message).expect("an answer")),
        ]
    }
}

/// A message with its length before it.
fn frame(stream: &mut Tls) -> Vec<u8> {
    let mut len = [0; 2];
    stream.read_exact(&mut len).expect("an answer");
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut bytes).expect("a whole answer");
    bytes
}

/// 20 texts of 200 octets.
fn texts(name: &str) -> Vec<Record> {
    let name = Name::from_ascii(name).expect("a name");
    let text = |at: u8| RData::TXT(TXT::new(vec![String::from_utf8(vec![b'a' + at; 200]).expect("ASCII")]));
    (0..20).map(|at| Record::from_rdata(name.clone(), 60, text(at))).collect()
}

/// The server of these tests: lists of several answers, a local zone, an upstream that knows some names.
fn start() -> (Mock, Server) {
    let mock = Mock::start(|asked| match (asked.name.as_str(), asked.qtype) {
        ("big.example", rtype::TXT) => Say::Records(texts("big.example.")),
        ("alias.example", _) => Say::Cname("target.example".into(), [198, 51, 100, 8]),
        ("to-blocked.example", _) => Say::Cname("www.order.example".into(), [198, 51, 100, 9]),
        ("gone.example", _) => Say::Nxdomain,
        ("empty.example", _) => Say::Nodata,
        ("page.example", rtype::A) => Say::A([192, 0, 2, 99]),
        _ => Say::A([198, 51, 100, 7]),
    });
    let folder = Folder::new();
    folder.write("order.txt", "order.example\n");
    folder.write("nxdomain.txt", "nxdomain.example\n");
    folder.write("refused.txt", "refused.example\n");
    folder.write("cname.txt", "cname.example\n");
    let setup = Setup::new(mock.address())
        .uncached()
        .list("order", "order.txt", "")
        .list("nxdomain", "nxdomain.txt", "answer = \"nxdomain\"")
        .list("refused", "refused.txt", "answer = \"refused\"")
        .list("cname", "cname.txt", "answer = { mode = \"cname\", cname = \"page.example\" }");
    let server = Server::start(&folder, &encrypted(setup, &folder));
    (mock, server)
}

/// Questions, and what their answers are told by: the response code, and how many answers there are.
fn scenarios() -> Vec<(&'static str, Vec<u8>, u16, usize)> {
    let ask = |name, qtype| Ask { id: 0, ..Ask::new(name, qtype) };
    let chaos = Ask { qclass: 3, ..ask("order.example", rtype::TXT) };
    let mut two_questions = ask("order.example", rtype::A).bytes();
    two_questions[5] = 2;
    let mut cut = ask("order.example", rtype::A).bytes();
    cut.truncate(20);
    vec![
        ("blocked A", ask("Order.Example", rtype::A).edns().bytes(), rcode::NOERROR, 1),
        ("blocked AAAA", ask("www.order.example", rtype::AAAA).edns().bytes(), rcode::NOERROR, 1),
        ("blocked HTTPS", ask("order.example", rtype::HTTPS).edns().bytes(), rcode::NOERROR, 0),
        ("blocked TXT", ask("order.example", rtype::TXT).bytes(), rcode::NOERROR, 0),
        ("structured", ask("order.example", rtype::A).structured().bytes(), rcode::NOERROR, 0),
        ("nxdomain list", ask("a.nxdomain.example", rtype::A).edns().bytes(), rcode::NXDOMAIN, 0),
        ("refused list", ask("refused.example", rtype::A).edns().bytes(), rcode::REFUSED, 0),
        ("cname list", ask("cname.example", rtype::A).edns().bytes(), rcode::NOERROR, 2),
        ("allowed", ask("free.example", rtype::A).bytes(), rcode::NOERROR, 1),
        ("nodata", ask("empty.example", rtype::A).bytes(), rcode::NOERROR, 0),
        ("no such name", ask("gone.example", rtype::A).edns().bytes(), rcode::NXDOMAIN, 0),
        ("alias", ask("alias.example", rtype::A).bytes(), rcode::NOERROR, 2),
        ("alias to a blocked name", ask("to-blocked.example", rtype::A).edns().bytes(), rcode::NOERROR, 1),
        ("localhost", ask("localhost", rtype::A).bytes(), rcode::NOERROR, 1),
        ("any", ask("free.example", rtype::ANY).bytes(), rcode::NOERROR, 1),
        ("transfer", ask("free.example", rtype::AXFR).bytes(), rcode::REFUSED, 0),
        ("another class", chaos.bytes(), rcode::REFUSED, 0),
        ("another opcode", ask("order.example", rtype::A).flags(0x2900).bytes(), rcode::NOTIMP, 0),
        ("two questions", two_questions, rcode::FORMERR, 0),
        ("cut in the name", cut, rcode::FORMERR, 0),
    ]
}

#[test]
fn every_scenario_has_the_same_answer_over_every_transport() {
    let (_mock, server) = start();
    let mut everywhere = Everywhere::to(&server);
    for (scenario, message, code, answers) in scenarios() {
        let mut replies = everywhere.ask(&message).into_iter().map(|(transport, bytes)| {
            let reply = Reply::read(&bytes);
            assert_eq!(reply.id, 0, "{scenario} over {transport}");
            (transport, reply.comparable())
        });
        let (_, first) = replies.next().expect("UDP");
        assert_eq!((first.rcode, first.answers.len()), (code, answers), "{scenario}: {first:?}");
        for (transport, reply) in replies {
            assert_eq!(reply, first, "{scenario} over {transport}");
        }
    }
    let seen = || -> BTreeSet<String> {
        let hits = server.folder.hits().into_iter().filter(|hit| hit["name"] == "order.example");
        hits.filter_map(|hit| hit["transport"].as_str().map(str::to_owned)).collect()
    };
    let all: BTreeSet<String> = ["udp", "tcp", "dot", "doh", "doh3", "doq"].map(str::to_owned).into();
    eventually("the hit log names every transport", || seen() == all, || format!("{:?}", seen()));
}

#[test]
fn what_does_not_fit_a_datagram_comes_whole_over_everything_else() {
    let (_mock, server) = start();
    let mut everywhere = Everywhere::to(&server);
    let message = Ask { id: 0, ..Ask::new("big.example", rtype::TXT).edns() }.bytes();
    for (transport, bytes) in everywhere.ask(&message) {
        let reply = Reply::read(&bytes);
        let datagram = transport == "udp";
        assert_eq!(reply.truncated(), datagram, "{transport}");
        assert_eq!(reply.answers.len(), if datagram { 0 } else { 20 }, "{transport}");
    }
}
