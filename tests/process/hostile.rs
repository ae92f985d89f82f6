//! Packets nobody should send: the RFC's answer or silence, and the server goes on.

use std::sync::Arc;

use crate::support::client::{Ask, Reply, Tcp, Udp, rcode, rtype, wire};
use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup};

/// Blocked by [`start`].
const BLOCKED: &str = "blocked.example";

/// A server that blocks one name.
fn start(mock: &Mock) -> (Arc<Folder>, Server) {
    let folder = Folder::new();
    folder.write("a.txt", format!("{BLOCKED}\n"));
    let server = Server::start(&folder, &Setup::new(mock.address()).list("a", "a.txt", ""));
    (folder, server)
}

/// A query whose answer comes from the worker itself.
fn blocked() -> Ask {
    Ask::new(BLOCKED, rtype::A)
}

/// A header with these flags and counts, and what follows it.
fn message(flags: u16, counts: [u16; 4], body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xab, 0xcd];
    for word in [flags].into_iter().chain(counts) {
        out.extend(word.to_be_bytes());
    }
    out.extend(body);
    out
}

/// A question.
fn question(name: &str, qtype: u16, qclass: u16) -> Vec<u8> {
    [&wire(name)[..], &qtype.to_be_bytes(), &qclass.to_be_bytes()].concat()
}

/// An OPT record with these flags in its TTL and this data.
fn opt(owner: &[u8], ttl: [u8; 4], data: &[u8]) -> Vec<u8> {
    [owner, &[0, 41, 4, 208], &ttl, &(data.len() as u16).to_be_bytes(), data].concat()
}

/// Sends and takes the one answer.
fn exchange(udp: &Udp, bytes: &[u8], about: &str) -> Reply {
    udp.send(bytes);
    let reply = udp.receive().unwrap_or_else(|| panic!("no answer: {about}"));
    assert_eq!(reply.get(..2), bytes.get(..2), "{about}");
    Reply::read(&reply)
}

#[test]
fn what_is_no_query_gets_silence() {
    let mock = Mock::fixed([192, 0, 2, 1]);
    let (_folder, server) = start(&mock);
    let udp = Udp::to(server.udp[0]);
    let mut silent: Vec<(String, Vec<u8>)> = (0..12).map(|len| (format!("{len} octets"), vec![0; len])).collect();
    let asked = question(BLOCKED, 1, 1);
    silent.push(("QR=1".into(), message(0x8180, [1, 0, 0, 0], &asked)));
    silent.push(("QR=1 and nonsense".into(), message(0xffff, [9, 9, 9, 9], &[0xff; 40])));
    for (about, bytes) in &silent {
        assert!(udp.silent_about(bytes, &blocked()), "{about}");
    }
}

#[test]
fn what_is_a_wrong_query_gets_the_answer_of_the_rfc() {
    let mock = Mock::fixed([192, 0, 2, 1]);
    let (_folder, server) = start(&mock);
    let udp = Udp::to(server.udp[0]);
    let asked = question(BLOCKED, 1, 1);
    let twice = [&asked[..], &asked].concat();
    let long = [&[63][..], &[b'a'; 63], &[63], &[b'b'; 63], &[63], &[b'c'; 63], &[62], &[b'd'; 62], &[0]].concat();
    let tail = [0, 1, 0, 1];
    let plain_opt = opt(&[0], [0; 4], &[]);
    let formerr: &[(&str, Vec<u8>)] = &[
        ("QDCOUNT 0", message(0x0100, [0; 4], &[])),
        ("QDCOUNT 2", message(0x0100, [2, 0, 0, 0], &twice)),
        ("QDCOUNT 65535", message(0x0100, [65_535, 0, 0, 0], &asked)),
        ("an answer in a query", message(0x0100, [1, 1, 0, 0], &asked)),
        ("no question after all", message(0x0100, [1, 0, 0, 0], &[])),
        ("half a question", message(0x0100, [1, 0, 0, 0], &asked[..asked.len() - 3])),
        ("a pointer to itself", message(0x0100, [1, 0, 0, 0], &[&b"\xc0\x0c"[..], &tail].concat())),
        ("a label and a pointer back", message(0x0100, [1, 0, 0, 0], &[&b"\x01a\xc0\x0c"[..], &tail].concat())),
        ("a pointer into the header", message(0x0100, [1, 0, 0, 0], &[&b"\xc0\x00"[..], &tail].concat())),
        ("a pointer past the end", message(0x0100, [1, 0, 0, 0], &[&b"\xff\xff"[..], &tail].concat())),
        ("label type 01", message(0x0100, [1, 0, 0, 0], &[&b"\x41a\x00"[..], &tail].concat())),
        ("label type 10", message(0x0100, [1, 0, 0, 0], &[&b"\x81a\x00"[..], &tail].concat())),
        ("256 octets of name", message(0x0100, [1, 0, 0, 0], &[&long[..], &tail].concat())),
        ("two OPT", message(0x0100, [1, 0, 0, 2], &[&asked[..], &plain_opt, &plain_opt].concat())),
        ("OPT not at the root", message(0x0100, [1, 0, 0, 1], &[&asked[..], &opt(b"\x01a\x00", [0; 4], &[])].concat())),
        (
            "an option cut short",
            message(0x0100, [1, 0, 0, 1], &[&asked[..], &opt(&[0], [0; 4], &[0, 26, 0, 9])].concat()),
        ),
        ("an OPT that is not there", message(0x0100, [1, 0, 0, 1], &asked)),
        ("QTYPE OPT", message(0x0100, [1, 0, 0, 0], &question(BLOCKED, 41, 1))),
    ];
    for (about, bytes) in formerr {
        let reply = exchange(&udp, bytes, about);
        assert_eq!((reply.rcode, reply.answers.len()), (rcode::FORMERR, 0), "{about}: {reply:?}");
        let mut tcp = Tcp::to(server.tcp[0]);
        tcp.send(bytes);
        assert_eq!(tcp.reply().rcode, rcode::FORMERR, "{about} over TCP");
        assert!(tcp.ask(&blocked()).is_address("0.0.0.0"), "the connection goes on after {about}");
    }
    for opcode in 1..16 {
        let reply = exchange(&udp, &message(0x0100 | opcode << 11, [1, 0, 0, 0], &asked), "opcode");
        assert_eq!(reply.rcode, rcode::NOTIMP, "opcode {opcode}: {reply:?}");
        assert_eq!(reply.flags >> 11 & 0xf, opcode, "the opcode comes back: {reply:?}");
    }
    for class in [3, 4, 255, 0] {
        let reply = exchange(
            &udp,
            &message(0x0100, [1, 0, 0, 1], &[&question("version.bind", 16, class)[..], &plain_opt].concat()),
            "class",
        );
        assert_eq!((reply.rcode, reply.ede_code()), (rcode::REFUSED, Some(21)), "class {class}: {reply:?}");
    }
    for version in [1, 255] {
        let reply = exchange(
            &udp,
            &message(0x0100, [1, 0, 0, 1], &[&asked[..], &opt(&[0], [0, version, 0, 0], &[])].concat()),
            "version",
        );
        assert_eq!(reply.rcode, rcode::BADVERS, "EDNS version {version}: {reply:?}");
    }
    assert_eq!(mock.total(), 0, "{:?}", mock.asked());
}

#[test]
fn the_longest_names_are_served() {
    let mock = Mock::fixed([192, 0, 2, 1]);
    let (_folder, server) = start(&mock);
    let label = |octet: &str, len| octet.repeat(len);
    let longest = [label("a", 63), label("b", 63), label("c", 63), label("d", 61)].join(".");
    assert_eq!(wire(&longest).len(), 255);
    assert!(server.a(&longest).is_address("192.0.2.1"));
    let below = format!("{}.{}.{}.{}.{BLOCKED}", label("a", 63), label("b", 63), label("c", 63), label("d", 45));
    assert_eq!(wire(&below).len(), 255, "{}", below.len());
    let reply = server.ask(&Ask::new(&below, rtype::TXT).edns());
    assert_eq!((reply.rcode, reply.authorities.len()), (0, 1), "{reply:?}");
    assert_eq!(reply.authorities[0].name, BLOCKED, "{reply:?}");
    let deep = vec!["x"; 127].join(".");
    assert_eq!(wire(&deep).len(), 255);
    assert!(server.a(&deep).is_address("192.0.2.1"));
    let root = server.ask(&Ask::new("", rtype::A));
    assert!(root.is_address("192.0.2.1"), "{root:?}");
}

/// Numbers without a pattern, the same in every run.
struct Numbers(u64);

impl Numbers {
    /// The next one below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    /// Octets.
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

#[test]
fn ten_thousand_random_datagrams_and_the_server_still_answers() {
    let mock = Mock::fixed([192, 0, 2, 1]);
    let (_folder, mut server) = start(&mock);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let valid = [blocked().structured().bytes(), Ask::new("free.example", rtype::HTTPS).dnssec_ok().bytes()];
    let udp = Udp::to(server.udp[0]);
    for round in 0..200 {
        for _ in 0..50 {
            let bytes = match numbers.below(3) {
                0 => {
                    let len = numbers.below(600);
                    numbers.bytes(len)
                }
                1 => {
                    let mut bytes = valid[numbers.below(2)].clone();
                    for _ in 0..=numbers.below(4) {
                        let at = numbers.below(bytes.len());
                        bytes[at] = numbers.below(256) as u8;
                    }
                    bytes
                }
                _ => {
                    let bytes = &valid[numbers.below(2)];
                    bytes[..numbers.below(bytes.len())].to_vec()
                }
            };
            udp.send(&bytes);
        }
        // Fewer datagrams at once than a socket buffer holds; this one shows that they are all dealt with.
        let ask = Ask::new(&format!("r{round}.{BLOCKED}"), rtype::A);
        udp.send(&ask.bytes());
        loop {
            let bytes = udp.receive().unwrap_or_else(|| panic!("no answer in round {round}"));
            assert!(bytes[2] & 0x80 != 0, "an answer: {bytes:?}");
            let reply = Reply::read(&bytes);
            if reply.question.as_ref().is_some_and(|(name, _, _)| *name == ask.name) {
                assert!(reply.is_address("0.0.0.0"), "{reply:?}");
                break;
            }
        }
    }
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(!server.stderr().contains("panick"), "{}", server.stderr());
}

#[test]
fn random_frames_over_tcp() {
    let mock = Mock::fixed([192, 0, 2, 1]);
    let (_folder, server) = start(&mock);
    let mut numbers = Numbers(7);
    for _ in 0..100 {
        let mut tcp = Tcp::to(server.tcp[0]);
        for _ in 0..5 {
            let len = numbers.below(300);
            tcp.send(&numbers.bytes(len));
        }
        let ask = blocked();
        tcp.send(&ask.bytes());
        loop {
            let reply = Reply::read(&tcp.receive().expect("an answer after all"));
            if reply.question.as_ref().is_some_and(|(name, _, _)| name == BLOCKED) {
                break;
            }
        }
    }
    assert!(!server.stderr().contains("panick"), "{}", server.stderr());
}
