//! Each kind of zone, and what is not covered.

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use proptest::prelude::*;

use super::*;

mod names;

/// Nothing but what the operator gives.
fn bare() -> Settings {
    Settings {
        hosts: Vec::new(),
        special_use: false,
        empty_zones: false,
        zones: Vec::new(),
        discovery: true,
        designated: None,
        canaries: Vec::new(),
    }
}

/// The defaults.
fn registry() -> Settings {
    Settings { special_use: true, empty_zones: true, ..bare() }
}

fn local(settings: &Settings, forwarded: &[&str]) -> Local {
    let forwarded: Vec<_> = forwarded.iter().map(|text| name(text)).collect();
    Local::new(settings, &forwarded).expect("these settings are good")
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn covers(local: &Local, text: &str) -> bool {
    let mut buf = NameBuf::new();
    buf.parse(text).expect("a name");
    local.covers(&buf)
}

fn query(text: &str, qtype: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(hickory_proto::rr::Name::from_ascii(text).expect("a name"), qtype));
    message
}

async fn answer_to(local: &Local, message: &Message, transport: Transport) -> Vec<u8> {
    let client = "192.0.2.9:5353".parse().expect("an address");
    local.answer(&message.to_vec().expect("encodes"), client, transport).await.expect("an answer")
}

async fn ask(local: &Local, text: &str, qtype: RecordType) -> Message {
    let message = query(&format!("{text}."), qtype);
    let answer = Message::from_vec(&answer_to(local, &message, Transport::Udp).await).expect("a message");
    assert_eq!((answer.id, &answer.queries), (message.id, &message.queries), "{text}");
    assert!(answer.recursion_available && answer.recursion_desired && answer.authoritative, "{text}");
    answer
}

fn data(answer: &Message) -> Vec<String> {
    answer.answers.iter().map(|record| record.data.to_string()).collect()
}

/// NXDOMAIN or NODATA with the SOA of the zone.
fn assert_negative(answer: &Message, rcode: ResponseCode, zone: &str) {
    assert_eq!((answer.response_code, answer.answers.len()), (rcode, 0), "{zone}");
    let soa = answer.authorities.iter().find(|record| matches!(record.data, RData::SOA(_)));
    assert_eq!(soa.map(|record| record.name.to_ascii()), Some(format!("{zone}.")));
}

#[tokio::test]
async fn localhost_is_loopback_all_the_way_down() {
    let local = local(&registry(), &[]);
    for text in ["localhost", "a.localhost", "a.b.localhost"] {
        assert!(covers(&local, text));
        assert_eq!(data(&ask(&local, text, RecordType::A).await), ["127.0.0.1"]);
        assert_eq!(data(&ask(&local, text, RecordType::AAAA).await), ["::1"]);
        assert_negative(&ask(&local, text, RecordType::HTTPS).await, ResponseCode::NoError, "localhost");
    }
    assert_eq!(data(&ask(&local, "1.0.0.127.in-addr.arpa", RecordType::PTR).await), ["localhost."]);
    let loopback6 = reverse6("::1");
    assert_eq!(data(&ask(&local, &loopback6, RecordType::PTR).await), ["localhost."]);
    assert_negative(
        &ask(&local, "2.0.0.127.in-addr.arpa", RecordType::PTR).await,
        ResponseCode::NXDomain,
        "127.in-addr.arpa",
    );
}

#[tokio::test]
async fn special_use_names_do_not_exist() {
    let local = local(&registry(), &[]);
    for top in ["invalid", "test", "onion", "alt", "home.arpa"] {
        assert!(covers(&local, top) && covers(&local, &format!("a.b.{top}")), "{top}");
        let below = ask(&local, &format!("a.b.{top}"), RecordType::A).await;
        assert_negative(&below, ResponseCode::NXDomain, top);
        assert_negative(&ask(&local, top, RecordType::A).await, ResponseCode::NoError, top);
    }
    assert_negative(&ask(&local, "_dns.resolver.arpa", RecordType::SVCB).await, ResponseCode::NoError, "resolver.arpa");
    for text in ["example", "example.com", "latest", "nottest", "arpa", "in-addr.arpa", "com"] {
        assert!(!covers(&local, text), "{text}");
    }
    assert!(!covers(&local_bare(), "localhost"));
}

fn local_bare() -> Local {
    local(&bare(), &[])
}

/// The ip6.arpa name of an address.
fn reverse6(text: &str) -> String {
    let v6: std::net::Ipv6Addr = text.parse().expect("an address");
    v6.octets().iter().rev().map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4)).collect::<String>() + "ip6.arpa"
}

#[tokio::test]
async fn private_reverse_lookups_stay_here() {
    let local = local(&registry(), &[]);
    for address in [
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "0.1.2.3",
        "127.5.5.5",
        "169.254.1.1",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "255.255.255.255",
        "100.64.0.1",
        "100.127.0.1",
    ] {
        let v4: std::net::Ipv4Addr = address.parse().expect("an address");
        let [a, b, c, d] = v4.octets();
        let reverse = format!("{d}.{c}.{b}.{a}.in-addr.arpa");
        assert!(covers(&local, &reverse), "{address}");
        let answer = ask(&local, &reverse, RecordType::PTR).await;
        assert!(answer.answers.is_empty() && !answer.authorities.is_empty(), "{address}");
    }
    for address in ["::", "fd00::1", "fe80::1", "fe90::1", "fea0::1", "febf::1", "2001:db8::1"] {
        assert!(covers(&local, &reverse6(address)), "{address}");
        assert!(ask(&local, &reverse6(address), RecordType::PTR).await.answers.is_empty(), "{address}");
    }
    for address in ["::2", "2001:db9::1", "fec0::1", "2620:fe::fe"] {
        assert!(!covers(&local, &reverse6(address)), "{address}");
    }
    for reverse in
        ["1.0.15.172.in-addr.arpa", "1.0.32.172.in-addr.arpa", "1.0.63.100.in-addr.arpa", "9.9.9.9.in-addr.arpa"]
    {
        assert!(!covers(&local, reverse), "{reverse}");
    }
}

#[tokio::test]
async fn own_names_answer_alone_and_back() {
    let address = |text: &str| text.parse().expect("an address");
    let hosts = vec![
        (name("nas.example.com"), vec![address("192.168.1.5"), address("fd00::5")]),
        (name("example.com"), vec![address("192.0.2.1")]),
        (name("printer.home.arpa"), vec![address("198.18.0.1")]),
    ];
    let local = local(&Settings { hosts, ..registry() }, &[]);
    assert_eq!(data(&ask(&local, "nas.example.com", RecordType::A).await), ["192.168.1.5"]);
    assert_eq!(data(&ask(&local, "nas.example.com", RecordType::AAAA).await), ["fd00::5"]);
    assert_eq!(ask(&local, "nas.example.com", RecordType::MX).await.response_code, ResponseCode::NoError);
    assert_eq!(data(&ask(&local, "example.com", RecordType::A).await), ["192.0.2.1"]);
    assert_eq!(data(&ask(&local, "printer.home.arpa", RecordType::A).await), ["198.18.0.1"]);
    assert_eq!(data(&ask(&local, "5.1.168.192.in-addr.arpa", RecordType::PTR).await), ["nas.example.com."]);
    assert_eq!(data(&ask(&local, &reverse6("fd00::5"), RecordType::PTR).await), ["nas.example.com."]);
    assert_eq!(data(&ask(&local, "1.0.18.198.in-addr.arpa", RecordType::PTR).await), ["printer.home.arpa."]);
    for other in ["www.example.com", "a.nas.example.com", "com", "2.0.18.198.in-addr.arpa"] {
        assert!(!covers(&local, other), "an own name hides no other: {other}");
    }
    assert!(covers(&local, "scanner.home.arpa"));
}

#[tokio::test]
async fn forwarded_zones_are_let_through() {
    let address = "10.0.0.7".parse().expect("an address");
    let hosts = vec![(name("pinned.corp.home.arpa"), vec![address])];
    let settings = Settings { hosts, ..registry() };
    let local = local(&settings, &["10.in-addr.arpa", "corp.home.arpa", "onion", "172.in-addr.arpa"]);
    for text in [
        "10.in-addr.arpa",
        "1.0.0.10.in-addr.arpa",
        "corp.home.arpa",
        "a.corp.home.arpa",
        "a.onion",
        "1.0.16.172.in-addr.arpa",
    ] {
        assert!(!covers(&local, text), "{text}");
    }
    for text in ["home.arpa", "a.home.arpa", "notcorp.home.arpa", "pinned.corp.home.arpa", "7.0.0.10.in-addr.arpa"] {
        assert!(covers(&local, text), "{text}");
    }
    assert_eq!(data(&ask(&local, "pinned.corp.home.arpa", RecordType::A).await), ["10.0.0.7"]);
}

/// A zone file in a folder of its own.
fn zone_file(text: &str) -> (tempfile::TempDir, Settings) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lan.zone");
    std::fs::write(&file, text).expect("written");
    let zones = vec![ZoneFile { name: name("lan"), file }];
    (folder, Settings { zones, ..registry() })
}

const LAN: &str = "\
$TTL 600
@ IN SOA ns hostmaster 1 3600 600 86400 60
@ IN NS ns
ns IN A 192.168.0.1
www IN CNAME host
host IN A 192.168.0.2
*.dyn IN A 192.168.0.3
";

#[tokio::test]
async fn zone_files_are_served_and_a_new_local_serves_the_new_file() {
    let (_folder, settings) = zone_file(LAN);
    let local = local(&settings, &[]);
    assert!(covers(&local, "lan") && covers(&local, "nothing.lan") && !covers(&local, "notlan"));
    assert_eq!(data(&ask(&local, "www.lan", RecordType::A).await), ["host.lan.", "192.168.0.2"]);
    assert_eq!(data(&ask(&local, "x.dyn.lan", RecordType::A).await), ["192.168.0.3"]);
    assert_negative(&ask(&local, "x.dyn.lan", RecordType::AAAA).await, ResponseCode::NoError, "lan");
    assert_negative(&ask(&local, "nothing.lan", RecordType::A).await, ResponseCode::NXDomain, "lan");
    assert_negative(&ask(&local, "host.lan", RecordType::AAAA).await, ResponseCode::NoError, "lan");

    std::fs::write(&settings.zones[0].file, LAN.replace("192.168.0.2", "192.168.0.22")).expect("written");
    assert_eq!(data(&ask(&local, "host.lan", RecordType::A).await), ["192.168.0.2"]);
    let new = Local::new(&settings, &[]).expect("still good");
    assert_eq!(data(&ask(&new, "host.lan", RecordType::A).await), ["192.168.0.22"]);
}

#[test]
fn bad_zone_files_are_reported_all_at_once_with_their_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut zones = Vec::new();
    let mut put = |zone: &str, text: &str| {
        let file = folder.path().join(zone);
        std::fs::write(&file, text).expect("written");
        zones.push(ZoneFile { name: name(zone), file });
    };
    put("typo", &LAN.replace("host IN A 192.168.0.2", "host IN A 192.168.0.2222"));
    put("type", &format!("{LAN}long IN TXT (\n \"a\"\n \"b\" )\nbad IN NOSUCHTYPE 1\nalso IN A x\n"));
    put("outside", &format!("{LAN}www.example.com. IN A 192.0.2.1\n"));
    put("nosoa", "$TTL 60\n@ IN NS ns.example.com.\n");
    put("first", "host A\n");
    zones.push(ZoneFile { name: name("missing"), file: folder.path().join("missing") });
    zones.push(ZoneFile { name: name("missing"), file: folder.path().join("missing") });
    let errors = Local::new(&Settings { zones, ..bare() }, &[]).expect_err("all of these are wrong");
    let prefix = format!("{}/", folder.path().display());
    let shown: Vec<_> = errors.iter().map(|error| error.to_string().replace(&prefix, "")).collect();
    assert!(shown[0].starts_with("typo:6: "), "{}", shown[0]);
    assert!(shown[1].starts_with("type:11: "), "{}", shown[1]);
    assert_eq!(shown[2], "outside: www.example.com. is not in zone outside; check $ORIGIN and trailing dots");
    assert_eq!(shown[3], "nosoa: no SOA record for nosoa; add one");
    assert!(shown[4].starts_with("first:1: "), "{}", shown[4]);
    assert!(shown[5].starts_with("missing: cannot read zone file: "), "{}", shown[5]);
    assert_eq!(shown[6], "zone missing is configured twice; keep one");
}

#[tokio::test]
async fn answers_fit_the_client_and_echo_its_question() {
    let many: String = (0..200).map(|number| format!("many IN A 10.0.{}.{}\n", number / 100, number % 100)).collect();
    let (_folder, settings) = zone_file(&format!("{LAN}{many}"));
    let local = local(&settings, &[]);
    let mut message = query("MaNy.LaN.", RecordType::A);
    let plain = answer_to(&local, &message, Transport::Udp).await;
    assert!(plain.len() <= 512 && Message::from_vec(&plain).expect("a message").truncation);
    assert!(plain.windows(9).any(|w| w == b"\x04MaNy\x03LaN"), "the question keeps its case");
    let whole = answer_to(&local, &message, Transport::Tcp).await;
    let whole = Message::from_vec(&whole).expect("a message");
    assert!(!whole.truncation && whole.answers.len() == 200);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    message.set_edns(edns);
    let big = answer_to(&local, &message, Transport::Udp).await;
    assert!(big.len() > 512 && big.len() <= 1232);
    let big = Message::from_vec(&big).expect("a message");
    assert_eq!(big.edns.map(|edns| edns.max_payload()), Some(1232));
}

#[tokio::test]
async fn what_is_no_query_gets_no_answer() {
    let local = local(&registry(), &[]);
    let client = "192.0.2.9:5353".parse().expect("an address");
    let good = query("localhost.", RecordType::A).to_vec().expect("encodes");
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    for bytes in [Vec::new(), good[..11].to_vec(), with(2, 0x80), with(2, 0x28), with(5, 0), with(5, 2), with(4, 0xff)]
    {
        assert_eq!(local.answer(&bytes, client, Transport::Udp).await, None);
    }
    let cut = local.answer(&good[..14], client, Transport::Udp).await.expect("FORMERR");
    assert_eq!(Message::from_vec(&cut).expect("a message").response_code, ResponseCode::FormErr);
    let refused = answer_to(&local, &query("example.com.", RecordType::A), Transport::Udp).await;
    assert_eq!(Message::from_vec(&refused).expect("a message").response_code, ResponseCode::Refused);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), good_header in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let local = local_bare();
        let mut query = bytes;
        if good_header && query.len() >= 12 {
            query[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        }
        let client = "192.0.2.9:5353".parse().expect("an address");
        let answer = runtime.block_on(local.answer(&query, client, Transport::Udp));
        prop_assert!(answer.is_none_or(|answer| answer.len() >= 12 && answer[..2] == query[..2]));
    }

    /// Against the obvious way: look at all apexes and take the longest that fits.
    #[test]
    fn covers_is_the_longest_match(
        hosts in proptest::collection::vec("[ab](\\.[ab]){0,3}", 0..3),
        forwarded in proptest::collection::vec("[ab](\\.[ab]){0,3}", 0..3),
        asked in "[ab](\\.[ab]){0,4}",
    ) {
        let (_folder, mut settings) = zone_file(&LAN.replace("lan", "a"));
        settings.special_use = false;
        settings.zones[0].name = name("a.b");
        settings.hosts = hosts.iter().map(|text| (name(text), Vec::new())).collect();
        let forwarded: Vec<&str> = forwarded.iter().map(String::as_str).collect();
        let local = local(&settings, &forwarded);
        let below = |apex: &str| name(&asked).is_at_or_below(&name(apex));
        let forward = forwarded.iter().filter(|apex| below(apex)).map(|apex| apex.len()).max();
        let expected = hosts.contains(&asked) || below("a.b") && forward.is_none_or(|len| len <= "a.b".len());
        prop_assert_eq!(covers(&local, &asked), expected);
    }
}

#[test]
fn a_service_parameter_that_is_one_quotation_mark_is_a_syntax_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("corp.zone");
    let text = "@ 60 IN SOA ns root 1 2 3 4 5\n@ 60 IN TXT \"ends in =\" \"so=\"\nsvc 60 IN SVCB 1 . key65280=\"\n";
    std::fs::write(&file, text).expect("a zone file");
    let settings = Settings { zones: vec![ZoneFile { name: name("corp.example"), file }], ..bare() };
    let errors = Local::new(&settings, &[]).expect_err("not a zone");
    assert!(matches!(&errors[..], [LocalError::Syntax { line: 3, .. }]), "{errors:?}");
}
