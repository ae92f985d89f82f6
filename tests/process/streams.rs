//! DNS over TCP: pipelining, odd framing, limits, clients that behave badly.

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::support::client::{Ask, Tcp, Udp, rtype};
use crate::support::mock::{Mock, Say};
use crate::support::server::{Folder, Server, Setup, eventually};

/// What a slow name takes.
const SLOW: Duration = Duration::from_millis(800);

/// Names below slow.example take their time.
fn mock() -> Mock {
    Mock::start(|asked| {
        let say = Say::A([192, 0, 2, 4]);
        if asked.name.ends_with("slow.example") { Say::Later(SLOW, Box::new(say)) } else { say }
    })
}

/// A server that blocks `blocked.example`, with these lines in `[server.tcp]`.
fn start(mock: &Mock, limits: &str) -> (Arc<Folder>, Server) {
    let folder = Folder::new();
    folder.write("a.txt", "blocked.example\n");
    let setup = Setup::new(mock.address()).list("a", "a.txt", "").more(&format!("[server.tcp]\n{limits}"));
    let server = Server::start(&folder, &setup);
    (folder, server)
}

/// A query for an address.
fn ask(name: &str) -> Ask {
    Ask::new(name, rtype::A)
}

/// Whether a new connection is served, not closed.
fn served(server: SocketAddr) -> bool {
    let mut tcp = Tcp::to(server);
    let query = ask("blocked.example").bytes();
    let framed = [&(query.len() as u16).to_be_bytes(), &query[..]].concat();
    tcp.0.write_all(&framed).is_ok() && tcp.receive().is_ok()
}

#[test]
fn answers_come_as_they_are_ready() {
    let mock = mock();
    let (_folder, server) = start(&mock, "");
    let mut tcp = Tcp::to(server.tcp[0]);
    let asks = ["slow.example", "fast.example", "blocked.example"].map(ask);
    tcp.send(&asks[0].bytes());
    tcp.send(&asks[1].bytes());
    tcp.send(&asks[2].bytes());
    let order: Vec<u16> = (0..3).map(|_| tcp.reply().id).collect();
    assert_eq!(order.iter().position(|&id| id == asks[0].id), Some(2), "the slow one last: {order:x?} of {asks:x?}");
    assert!(order.contains(&asks[1].id) && order.contains(&asks[2].id), "{order:x?}");
}

#[test]
fn many_queries_in_flight_all_get_their_answer() {
    let mock = mock();
    let (_folder, server) = start(&mock, "max_in_flight = 8");
    let mut tcp = Tcp::to(server.tcp[0]);
    let asks: Vec<_> = (0..60).map(|index| ask(&format!("n{index}.{}", ["free", "blocked"][index % 2]))).collect();
    for ask in &asks {
        tcp.send(&ask.bytes());
    }
    let mut ids: Vec<u16> = (0..asks.len()).map(|_| tcp.reply().id).collect();
    let mut expected: Vec<u16> = asks.iter().map(|ask| ask.id).collect();
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
}

#[test]
fn frames_may_come_in_pieces_and_together() {
    let mock = mock();
    let (_folder, server) = start(&mock, "");
    let mut tcp = Tcp::to(server.tcp[0]);
    let (one, two) = (ask("blocked.example"), ask("x.blocked.example"));
    let framed = |ask: &Ask| [&(ask.bytes().len() as u16).to_be_bytes(), &ask.bytes()[..]].concat();
    for octet in framed(&one) {
        tcp.0.write_all(&[octet]).expect("taken");
    }
    assert_eq!(tcp.reply().id, one.id);
    tcp.0.write_all(&[framed(&one), framed(&two)].concat()).expect("taken");
    assert_eq!([tcp.reply().id, tcp.reply().id], [one.id, two.id]);
    let both = [framed(&one), framed(&two)].concat();
    let (first, rest) = both.split_at(framed(&one).len() + 1);
    tcp.0.write_all(first).expect("taken");
    assert_eq!(tcp.reply().id, one.id);
    tcp.0.write_all(rest).expect("taken");
    assert_eq!(tcp.reply().id, two.id);
}

#[test]
fn a_client_that_has_said_all_still_gets_its_answer() {
    let mock = mock();
    let (_folder, server) = start(&mock, "");
    let mut tcp = Tcp::to(server.tcp[0]);
    let slow = ask("slow.example");
    tcp.send(&slow.bytes());
    tcp.0.shutdown(Shutdown::Write).expect("half closed");
    assert_eq!(tcp.reply().id, slow.id);
    assert!(tcp.is_closed());
}

#[test]
fn idle_connections_are_closed_and_busy_ones_are_not() {
    let mock = mock();
    let (_folder, server) = start(&mock, "idle = \"1s\"");
    let mut idle = Tcp::to(server.tcp[0]);
    let mut half = Tcp::to(server.tcp[0]);
    half.0.write_all(&[0, 30, 1, 2, 3]).expect("taken");
    let mut spent = Tcp::to(server.tcp[0]);
    assert!(spent.ask(&ask("blocked.example")).is_address("0.0.0.0"));
    for (tcp, about) in [(&mut idle, "silent"), (&mut half, "half a frame"), (&mut spent, "after an answer")] {
        assert!(tcp.is_closed(), "{about}");
    }
}

#[test]
fn no_connection_lives_for_ever() {
    let mock = mock();
    let (_folder, server) = start(&mock, "idle = \"1s\"\ntotal = \"2s\"");
    let mut tcp = Tcp::to(server.tcp[0]);
    let query = ask("blocked.example").bytes();
    let framed = [&(query.len() as u16).to_be_bytes(), &query[..]].concat();
    eventually(
        "a busy connection is closed",
        || tcp.0.write_all(&framed).is_err() || tcp.receive().is_err(),
        || server.stderr(),
    );
    assert!(served(server.tcp[0]));
}

#[test]
fn a_client_has_only_so_many_connections() {
    let mock = mock();
    let (folder, server) = start(&mock, "max_per_client = 3");
    let mut held: Vec<_> = (0..3).map(|_| Tcp::to(server.tcp[0])).collect();
    for tcp in &mut held {
        tcp.ask(&ask("blocked.example"));
    }
    assert!(!served(server.tcp[0]), "a fourth connection is closed");
    for tcp in &mut held {
        tcp.ask(&ask("blocked.example"));
    }
    held.pop();
    eventually("a place is free again", || served(server.tcp[0]), || server.stderr());
    server.stop();
    assert!(folder.counters()["queries"]["connection_refused"].as_u64() > Some(0), "{}", folder.counters());
}

#[test]
fn a_client_that_never_reads_holds_up_nobody_and_is_closed() {
    let mock = mock();
    let (_folder, server) = start(&mock, "idle = \"1s\"\nmax_per_client = 1");
    let mut greedy = Tcp::to(server.tcp[0]);
    greedy.0.set_write_timeout(Some(Duration::from_millis(500))).expect("a time-out");
    let query = ask("blocked.example").bytes();
    let framed = [&(query.len() as u16).to_be_bytes(), &query[..]].concat().repeat(200);
    // Until nothing more goes in either direction.
    while greedy.0.write_all(&framed).is_ok() {}
    assert!(server.a("blocked.example").is_address("0.0.0.0"));
    let reply = server.ask(&ask("free.example").edns());
    assert!(reply.is_address("192.0.2.4"), "{reply:?}");
    eventually("its place is given to somebody else", || served(server.tcp[0]), || server.stderr());
}

#[test]
fn a_stop_lets_queries_under_way_finish() {
    let mock = mock();
    let (folder, mut server) = start(&mock, "");
    let (over_udp, over_tcp) = (ask("u.slow.example"), ask("t.slow.example"));
    let (udp, mut tcp) = (Udp::to(server.udp[0]), Tcp::to(server.tcp[0]));
    let mut idle = Tcp::to(server.tcp[0]);
    idle.ask(&ask("blocked.example"));
    udp.send(&over_udp.bytes());
    tcp.send(&over_tcp.bytes());
    let asked = || mock.count("u.slow.example") > 0 && mock.count("t.slow.example") > 0;
    eventually("both are under way", asked, || format!("{:?}", mock.asked()));
    server.signal("TERM");
    assert_eq!(tcp.reply().id, over_tcp.id);
    assert_eq!(udp.receive().expect("an answer").get(..2), Some(&over_udp.id.to_be_bytes()[..]));
    assert!(idle.is_closed());
    assert!(server.wait().success(), "{}", server.stderr());
    assert!(!folder.path("ready.json").exists(), "nobody is told that it answers");
}
