//! Cookies, NSID, keepalive, padding and the names of class CH, decided without asking anybody.

use std::sync::Arc;
use std::time::Duration;

use super::super::decide::Verdict;
use super::*;
use crate::event::Transport;
use crate::limit::{Acl, Settings};
use crate::name::{Name, NameBuf};
use crate::policy::{Answer, AnswerMode, AnswerSettings, HostSettings, ListPolicy};
use crate::rule::{Effect, Kind, Mode, Role, RulesBuilder, Scope};
use crate::set::Part;
use crate::stats::Stats;
use crate::util::UnixTime;
use crate::wire::{Cookies, Secret};

const NOW: Now = Now { unix_ms: 1_700_000_000_000 };
const CLIENT: &str = "192.0.2.7:4000";

/// Everything told.
fn talkative() -> HostSettings {
    HostSettings {
        cookies: true,
        require_cookies: false,
        cookie_secret_file: None,
        nsid: "ns1.almaty".into(),
        identity: "ns1".into(),
        version: "qalqan".into(),
    }
}

fn cookies() -> Cookies {
    Cookies::new(Secret::new([5; 16]), None)
}

/// `blocked.test` is blocked.
fn snapshot(settings: &HostSettings) -> Snapshot {
    let mut rules = RulesBuilder::new("list".into(), 32);
    let mut buf = NameBuf::new();
    buf.parse("blocked.test").expect("a name");
    assert!(rules.push(&buf, 1, Kind { scope: Scope::Subtree, effect: Effect::Block, order: None }));
    let answer = Answer::new(&AnswerSettings {
        mode: AnswerMode::Sinkhole,
        ipv4: vec![[192, 0, 2, 1].into()],
        ipv6: Vec::new(),
        cname: None,
        ttl: 30,
        ede: Some(16),
        text: "listed".into(),
        language: "en".into(),
    });
    let policy = ListPolicy { name: "list".into(), role: Role::Block, mode: Mode::Enforce, answer, slot: 0 };
    let acl = Acl::new(&Settings { allow_from: vec!["192.0.2.0/24".parse().expect("a block")] });
    let parts = vec![Part::new(0, Arc::new(rules.build()))];
    let snapshot = Snapshot::compile(1, vec![policy], parts, acl, UnixTime(0)).expect("few rules");
    let host = Host::new(settings, settings.cookies.then(cookies), Duration::from_secs(10));
    snapshot.with_host(&Arc::new(host))
}

/// A query of a class and type, with options.
fn query(name: &str, qtype: u16, qclass: u8, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = wire(name, qtype);
    *message.last_mut().expect("a class") = qclass;
    message[11] = 1;
    let rdata: Vec<u8> = options
        .iter()
        .flat_map(|(code, data)| [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat())
        .collect();
    message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0]);
    message.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    message.extend_from_slice(&rdata);
    message
}

fn wire(name: &str, qtype: u16) -> Vec<u8> {
    crate::wire::question(Name::parse(name).expect("a name").wire(), qtype)
}

/// An answer: its response code, its options, its octets.
struct Got {
    rcode: u16,
    options: Vec<(u16, Vec<u8>)>,
    bytes: Vec<u8>,
    moved: Vec<(&'static str, u64)>,
    resolve: bool,
}

impl Got {
    fn option(&self, code: u16) -> Option<&[u8]> {
        self.options.iter().find(|(of, _)| *of == code).map(|(_, data)| data.as_slice())
    }
}

fn ask(settings: &HostSettings, message: &[u8], client: &str, transport: Transport) -> Got {
    let stats = Stats::default();
    let mut decider = Decider::new(stats.counters(), None);
    let mut out = [0xee; 4096];
    let peer = Peer::new(client.parse().expect("an address"), transport);
    let verdict = decider.decide(&snapshot(settings), message, peer, NOW, &mut out);
    let (Verdict::Reply(len) | Verdict::Resolve(len)) = verdict else { panic!("no answer") };
    let bytes = out[..len].to_vec();
    let answer = hickory_proto::op::Message::from_vec(&bytes).expect("a message");
    let edns = answer.edns.as_ref().expect("an OPT for an OPT");
    let all = edns.options().options.iter();
    Got {
        rcode: u16::from(edns.rcode_high()) << 4 | u16::from(bytes[3] & 15),
        options: all.map(|(code, data)| (u16::from(*code), Vec::try_from(data).expect("octets"))).collect(),
        bytes,
        moved: stats.totals().queries.into_iter().filter(|&(_, count)| count > 0).collect(),
        resolve: matches!(verdict, Verdict::Resolve(_)),
    }
}

#[test]
fn a_cookie_is_answered_whatever_the_answer_is() {
    let cookie = [1; 8];
    let expected = [&cookie[..], &cookies().make(&cookie, [192, 0, 2, 7].into(), 1_700_000_000)].concat();
    let options = [(10, &cookie[..])];
    for (name, qclass, rcode, outcome) in [
        ("blocked.test", 1, rcode::NOERROR, "blocked"),
        ("other.test", 1, rcode::SERVFAIL, "cookie_new"),
        ("version.bind", 3, rcode::NOERROR, "local"),
        ("version.bind", 4, rcode::REFUSED, "not_served"),
    ] {
        for transport in Transport::ALL {
            let got = ask(&talkative(), &query(name, 16, qclass, &options), CLIENT, transport);
            assert_eq!((got.rcode, got.option(10)), (rcode, Some(&expected[..])), "{name} {qclass} {transport:?}");
            assert!(got.moved.contains(&(outcome, 1)) && got.moved.contains(&("cookie_new", 1)), "{:?}", got.moved);
            assert_eq!(got.resolve, rcode == rcode::SERVFAIL);
        }
    }
    let stranger = ask(&talkative(), &query("other.test", 1, 1, &options), "198.51.100.1:1", Transport::Udp);
    assert_eq!((stranger.rcode, stranger.option(10).map(<[u8]>::len)), (rcode::REFUSED, Some(24)));
    assert_ne!(stranger.option(10), Some(&expected[..]), "it is another address");
    let off = HostSettings { cookies: false, ..talkative() };
    let got = ask(&off, &query("blocked.test", 1, 1, &options), CLIENT, Transport::Udp);
    assert_eq!((got.option(10), got.moved.clone()), (None, vec![("received", 1), ("blocked", 1)]));
}

#[test]
fn cookies_are_counted_by_what_they_are_and_a_good_one_may_be_demanded() {
    let made = |seconds: u32| [&[1; 8][..], &cookies().make(&[1; 8], [192, 0, 2, 7].into(), seconds)].concat();
    let demanding = HostSettings { require_cookies: true, ..talkative() };
    for (cookie, counted, good) in [
        (vec![1; 8], "cookie_new", false),
        (made(1_700_000_000), "cookie_valid", true),
        (made(1_699_996_400), "cookie_valid", true),
        (made(1_699_996_399), "cookie_expired", false),
        (vec![1; 24], "cookie_wrong", false),
        (vec![1; 16], "cookie_wrong", false),
    ] {
        let message = query("blocked.test", 1, 1, &[(10, &cookie)]);
        let got = ask(&talkative(), &message, CLIENT, Transport::Udp);
        assert_eq!((got.rcode, got.bytes[7]), (rcode::NOERROR, 1), "{counted}");
        assert_eq!(got.moved, [("received", 1), ("blocked", 1), (counted, 1)]);
        let got = ask(&demanding, &message, CLIENT, Transport::Udp);
        if good {
            assert_eq!((got.rcode, got.bytes[7]), (rcode::NOERROR, 1), "{counted}");
        } else {
            assert_eq!((got.rcode, got.bytes[7]), (rcode::BADCOOKIE, 0), "{counted}");
            assert_eq!(got.moved, [("received", 1), ("bad_cookie", 1), (counted, 1)]);
            let fresh = got.option(10).expect("a good one").to_vec();
            let again = query("blocked.test", 1, 1, &[(10, &fresh)]);
            assert_eq!(ask(&demanding, &again, CLIENT, Transport::Udp).rcode, rcode::NOERROR);
        }
        let got = ask(&demanding, &message, CLIENT, Transport::Tcp);
        assert_eq!(got.rcode, rcode::NOERROR, "who has a connection has its address: {counted}");
    }
    let none = ask(&demanding, &query("blocked.test", 1, 1, &[]), CLIENT, Transport::Udp);
    assert_eq!((none.rcode, none.moved), (rcode::NOERROR, vec![("received", 1), ("blocked", 1)]));
}

#[test]
fn faults_are_answered_and_a_cookie_may_be_all_that_is_asked_for() {
    let got = ask(&talkative(), &query("blocked.test", 1, 1, &[(3, &[])]), CLIENT, Transport::Udp);
    assert_eq!(got.option(3), Some(&b"ns1.almaty"[..]));
    let mut newer = query("blocked.test", 1, 1, &[(10, &[1; 8])]);
    let version = newer.len() - 12 - 5;
    newer[version] = 1;
    let got = ask(&talkative(), &newer, CLIENT, Transport::Udp);
    assert_eq!((got.rcode, got.option(10).map(<[u8]>::len)), (rcode::BADVERS, Some(24)));

    let mut bare = query("a", 1, 1, &[(10, &[1; 8])]);
    bare.drain(12..19);
    bare[5] = 0;
    let got = ask(&talkative(), &bare, CLIENT, Transport::Udp);
    assert_eq!((got.rcode, got.bytes[5], got.option(10).map(<[u8]>::len)), (rcode::NOERROR, 0, Some(24)));
    assert_eq!(got.moved, [("received", 1), ("local", 1), ("cookie_new", 1)]);
    let off = HostSettings { cookies: false, ..talkative() };
    let got = ask(&off, &bare, CLIENT, Transport::Udp);
    assert_eq!((got.rcode, got.moved), (rcode::FORMERR, vec![("received", 1), ("invalid", 1)]));
}

#[test]
fn keepalive_is_for_streams_of_ours_and_padding_for_what_is_encrypted() {
    for transport in Transport::ALL {
        for name in ["blocked.test", "other.test"] {
            let message = query(name, 1, 1, &[(11, &[]), (12, &[0; 20])]);
            let got = ask(&talkative(), &message, CLIENT, transport);
            let stream = matches!(transport, Transport::Tcp | Transport::Dot);
            assert_eq!(got.option(11), stream.then_some(&[0, 100][..]), "{transport:?}");
            assert_eq!(got.option(12).is_some(), transport.is_encrypted(), "{transport:?}");
            assert_eq!(got.bytes.len() == 468, transport.is_encrypted(), "{transport:?}");
            let plain = ask(&talkative(), &query(name, 1, 1, &[]), CLIENT, transport);
            assert!(plain.option(12).is_none() && plain.bytes.len() < 200, "only who pads is padded for");
        }
    }
}

#[test]
fn who_and_what_this_is_is_told_only_where_it_is_set() {
    let text = |settings: &HostSettings, name: &str, qtype: u16| {
        let got = ask(settings, &query(name, qtype, 3, &[]), CLIENT, Transport::Udp);
        let answer = hickory_proto::op::Message::from_vec(&got.bytes).expect("a message");
        let shown = answer.answers.iter().map(|record| (record.dns_class, record.ttl, record.data.to_string()));
        (got.rcode, shown.collect::<Vec<_>>())
    };
    let chaos = |text: &str| (rcode::NOERROR, vec![(hickory_proto::rr::DNSClass::CH, 0, text.to_owned())]);
    for (name, expected) in
        [("Id.Server", "ns1"), ("hostname.bind", "ns1"), ("VERSION.bind", "qalqan"), ("version.server", "qalqan")]
    {
        assert_eq!(text(&talkative(), name, 16), chaos(expected));
        assert_eq!(text(&talkative(), name, 255), chaos(expected));
        assert_eq!(text(&talkative(), name, 1), (rcode::REFUSED, vec![]));
        assert_eq!(text(&HostSettings::default(), name, 16), (rcode::REFUSED, vec![]));
    }
    assert_eq!(text(&talkative(), "authors.bind", 16), (rcode::REFUSED, vec![]));
    let got = ask(&HostSettings::default(), &query("blocked.test", 1, 1, &[(3, &[])]), CLIENT, Transport::Udp);
    assert_eq!(got.option(3), None);
}
