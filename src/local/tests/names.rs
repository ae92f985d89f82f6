//! Special-use names beside the first ones, canary names, and the way to encrypted transports.

use hickory_proto::rr::rdata::svcb::{SvcParamKey, SvcParamValue};

use super::*;

/// The query as the engine sees it.
fn takes(local: &Local, text: &str, qtype: RecordType, dnssec: bool, excepted: bool) -> Option<Taken> {
    let mut message = query(&format!("{text}."), qtype);
    if dnssec {
        let mut edns = Edns::new();
        edns.set_dnssec_ok(true);
        message.set_edns(edns);
    }
    let mut buf = NameBuf::new();
    let query = crate::wire::parse(&message.to_vec().expect("encodes"), &mut buf).expect("a query");
    local.takes(&buf, &query, excepted)
}

#[tokio::test]
async fn names_of_the_registry_that_came_later() {
    let local = local(&registry(), &[]);
    for apex in ["local", "service.arpa"] {
        let below = ask(&local, &format!("_ipp._tcp.{apex}"), RecordType::PTR).await;
        assert_negative(&below, ResponseCode::NXDomain, apex);
    }
    assert!(covers(&local, "default.service.arpa") && covers(&local, &reverse6("3fff:fff::1")));
    assert!(!covers(&local, &reverse6("3fff:1000::1")));
    // Left to others: RFC 8880 section 7.1; not in the registry; RFC 6761 section 6.5; RFC 9031, RFC 9140.
    for text in ["ipv4only.arpa", "170.0.0.192.in-addr.arpa", "internal", "example", "6tisch.arpa", "eap-noob.arpa"] {
        assert!(!covers(&local, text), "{text}");
    }
    let corp = Local::new(&registry(), &[name("corp.local")]).expect("good");
    assert!(!covers(&corp, "dc.corp.local") && covers(&corp, "printer.local"));
}

#[test]
fn who_validates_gets_the_proof_that_a_zone_is_not_signed_from_its_parent() {
    let registry_only = local(&registry(), &[]);
    for apex in ["home.arpa", "service.arpa"] {
        assert_eq!(takes(&registry_only, apex, RecordType::DS, true, false), None);
        assert_eq!(takes(&registry_only, apex, RecordType::DS, false, false), Some(Taken::Local));
        assert_eq!(takes(&registry_only, apex, RecordType::NS, true, false), Some(Taken::Local));
        assert_eq!(takes(&registry_only, &format!("a.{apex}"), RecordType::DS, true, false), Some(Taken::Local));
    }
    assert_eq!(takes(&registry_only, "test", RecordType::DS, true, false), Some(Taken::Local));
}

#[tokio::test]
async fn canary_names_are_denied_where_the_operator_says_so_and_no_rule_lets_them_pass() {
    let off = local(&registry(), &[]);
    let on = local(&Settings { canaries: Canary::ALL.to_vec(), ..registry() }, &[]);
    assert!(!off.same_names(&on));
    for text in ["use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com"] {
        assert!(!covers(&off, text));
        assert_eq!(takes(&on, text, RecordType::AAAA, false, false), Some(Taken::Canary));
        assert_eq!(takes(&on, text, RecordType::AAAA, false, true), None, "an exception counts");
        let answer = ask(&on, text, RecordType::A).await;
        assert_negative(&answer, ResponseCode::NoError, text);
        assert_eq!(answer.authorities.iter().map(|record| record.ttl).max(), Some(300));
    }
    for text in ["icloud.com", "www.icloud.com", "application-dns.net"] {
        assert!(!covers(&on, text), "{text}");
    }
    assert_eq!(takes(&on, "localhost", RecordType::A, false, true), Some(Taken::Local));
    let firefox = local(&Settings { canaries: vec![Canary::Firefox], ..bare() }, &[]);
    assert!(covers(&firefox, "use-application-dns.net") && !covers(&firefox, "mask.icloud.com"));
    let hosts = vec![(name("mask.icloud.com"), vec!["192.0.2.5".parse().expect("an address")])];
    let own = local(&Settings { canaries: Canary::ALL.to_vec(), hosts, ..registry() }, &[]);
    assert_eq!(takes(&own, "mask.icloud.com", RecordType::A, false, false), Some(Taken::Local), "an own name is one");
    assert_eq!(data(&ask(&own, "mask.icloud.com", RecordType::A).await), ["192.0.2.5"]);
}

fn designated(dot: &[&str], doh: &[&str], doh3: &[&str], doq: &[&str]) -> Option<Designated> {
    let sockets = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect();
    Some(Designated {
        name: Some(name("dns.example")),
        dot: sockets(dot),
        doh: sockets(doh),
        doh3: sockets(doh3),
        doq: sockets(doq),
        doh_path: "/dns-query".into(),
    })
}

/// The records as a zone file would have them, by hand: priority, target, and the parameters.
fn services(answer: &Message) -> Vec<String> {
    let show = |record: &hickory_proto::rr::Record| {
        let RData::SVCB(svcb) = &record.data else { panic!("{record}") };
        let params = svcb.svc_params.iter().map(|(key, value)| match (key, value) {
            (SvcParamKey::Alpn, SvcParamValue::Alpn(alpn)) => format!(" alpn={}", alpn.0.join(",")),
            (SvcParamKey::Port, SvcParamValue::Port(port)) => format!(" port={port}"),
            (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(hint)) => {
                format!(" v4={:?}", hint.0.iter().map(ToString::to_string).collect::<Vec<_>>())
            }
            (SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(hint)) => {
                format!(" v6={:?}", hint.0.iter().map(ToString::to_string).collect::<Vec<_>>())
            }
            (SvcParamKey::Unknown(7), SvcParamValue::Unknown(path)) => {
                format!(" dohpath={}", String::from_utf8_lossy(&path.0))
            }
            other => panic!("{other:?}"),
        });
        format!("{} {}{}", svcb.svc_priority, svcb.target_name, params.collect::<String>())
    };
    answer.answers.iter().map(show).collect()
}

#[tokio::test]
async fn encrypted_transports_are_announced_under_both_names() {
    let dot = ["192.0.2.53:853", "[2001:db8::53]:853", "127.0.0.1:853"];
    let doh = ["192.0.2.53:443", "[::]:8443"];
    let designated = designated(&dot, &doh, &["192.0.2.53:443"], &["0.0.0.0:8853"]);
    let local = local(&Settings { designated, ..registry() }, &[]);
    for owner in ["_dns.resolver.arpa", "_dns.dns.example"] {
        assert_eq!(takes(&local, owner, RecordType::SVCB, false, false), Some(Taken::Local));
        let answer = ask(&local, owner, RecordType::SVCB).await;
        assert_eq!(
            services(&answer),
            [
                "1 dns.example. alpn=h2,h3 v4=[\"192.0.2.53\"] dohpath=/dns-query{?dns}",
                "2 dns.example. alpn=h2 port=8443 dohpath=/dns-query{?dns}",
                "3 dns.example. alpn=dot v4=[\"192.0.2.53\"] v6=[\"2001:db8::53\"]",
                "4 dns.example. alpn=doq port=8853",
            ],
            "{owner}"
        );
        let glue: Vec<_> = answer.additionals.iter().map(|record| format!("{} {}", record.name, record.data)).collect();
        assert_eq!(glue, ["dns.example. 192.0.2.53", "dns.example. 2001:db8::53"]);
        for other in [RecordType::A, RecordType::TXT, RecordType::HTTPS] {
            let answer = ask(&local, owner, other).await;
            assert_eq!((answer.response_code, answer.answers.len()), (ResponseCode::NoError, 0), "{owner} {other}");
        }
    }
    assert!(!covers(&local, "dns.example") && !covers(&local, "a._dns.dns.example"));
    assert_negative(&ask(&local, "x.resolver.arpa", RecordType::SVCB).await, ResponseCode::NXDomain, "resolver.arpa");
}

#[tokio::test]
async fn addresses_are_those_of_the_name_where_it_is_an_own_one() {
    let hosts = vec![(name("dns.example"), vec!["192.0.2.1".parse().expect("an address")])];
    let designated = designated(&["0.0.0.0:853"], &[], &[], &["127.0.0.1:1853"]);
    let settings = Settings { hosts, designated, ..registry() };
    let answer = ask(&local(&settings, &[]), "_dns.resolver.arpa", RecordType::SVCB).await;
    let hint = "v4=[\"192.0.2.1\"]";
    assert_eq!(
        services(&answer),
        [format!("1 dns.example. alpn=dot {hint}"), format!("2 dns.example. alpn=doq port=1853 {hint}")]
    );
    let alone =
        ask(&local(&Settings { hosts: Vec::new(), ..settings }, &[]), "_dns.resolver.arpa", RecordType::SVCB).await;
    assert_eq!(services(&alone), ["1 dns.example. alpn=dot", "2 dns.example. alpn=doq port=1853 v4=[\"127.0.0.1\"]"]);
}

#[tokio::test]
async fn nothing_is_announced_that_is_not_there_or_not_wanted() {
    let some = designated(&["192.0.2.53:853"], &[], &[], &[]);
    let nameless = some.clone().map(|some| Designated { name: None, ..some });
    let quiet = Settings { discovery: false, designated: some.clone(), ..registry() };
    for settings in [
        registry(),
        Settings { designated: nameless, ..registry() },
        Settings { designated: designated(&[], &[], &[], &[]), ..registry() },
        quiet,
    ] {
        let local = local(&settings, &[]);
        assert_negative(
            &ask(&local, "_dns.resolver.arpa", RecordType::SVCB).await,
            ResponseCode::NoError,
            "resolver.arpa",
        );
        assert!(!covers(&local, "_dns.dns.example"));
    }
    // Without the registry only the two names are ours, and a zone with servers of its own stays theirs.
    let settings = Settings { designated: some, ..bare() };
    let only = local(&settings, &[]);
    assert!(
        covers(&only, "_dns.resolver.arpa") && covers(&only, "_dns.dns.example") && !covers(&only, "resolver.arpa")
    );
    let theirs = local(&settings, &["dns.example", "resolver.arpa"]);
    assert!(!covers(&theirs, "_dns.resolver.arpa") && !covers(&theirs, "_dns.dns.example"));
}
