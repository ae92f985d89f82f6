//! The answer matrix: every way to block × query type × EDNS × transport, held against what DESIGN section 2 says.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::client::{Ask, Edns, Rec, Reply, Tcp, Udp, rcode, rec, rtype};
use crate::support::mock::{Mock, Say, dead_address};
use crate::support::server::{Folder, Server, Setup};

/// Types of the matrix; the last is one nobody knows.
const TYPES: [u16; 12] = [
    rtype::A,
    rtype::AAAA,
    rtype::HTTPS,
    rtype::SVCB,
    rtype::TXT,
    rtype::MX,
    rtype::NS,
    rtype::SOA,
    rtype::DS,
    rtype::CNAME,
    rtype::ANY,
    65280,
];

/// What an answer is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Want {
    /// These answers, NOERROR.
    Records(Vec<Rec>),
    /// No answers, this response code, an SOA.
    Negative(u16),
    /// The response code alone.
    Bare(u16),
    /// Nothing at all.
    Silence,
    /// TC and nothing else.
    TryTcp,
    /// What the mock says.
    Passed,
}

/// A way to block.
struct Case {
    /// Asked, with case to be kept.
    name: &'static str,
    /// Owner of the SOA in negative answers, as the question spells it.
    suffix: &'static str,
    /// Seconds.
    ttl: u32,
    /// Expected for a name, a type, and TCP or not.
    want: fn(&str, u16, bool) -> Want,
    /// Whether a client that understands structured errors gets a negative answer instead.
    forged: bool,
    /// Code and text of the extended error; `None`: none even with OPT.
    ede: Option<(u16, &'static str)>,
}

/// The sentence of the order in [`ORDER_FILE`].
const ORDER: &str = "Blocked by order 7/2025 of Agency";
/// The extended error of everything in the zone.
const RPZ: Option<(u16, &str)> = Some((16, "Blocked by list zone"));

/// An order.
const ORDER_FILE: &str = r#"
id = "7/2025"
authority = "Agency"
legal_basis = "Act 1"
contact = ["mailto:orders@agency.example"]
domains = ["order.example"]
"#;

/// A response policy zone.
const ZONE_FILE: &str = "\
$ORIGIN policy.test.
$TTL 66
@ SOA localhost. root.localhost. 1 2h 30m 30d 60
  NS localhost.
nx.rpz.example      CNAME .
nodata.rpz.example  CNAME *.
pass.rpz.example    CNAME rpz-passthru.
drop.rpz.example    CNAME rpz-drop.
tcp.rpz.example     CNAME rpz-tcp-only.
local.rpz.example   77 A 192.0.2.80
                    77 AAAA 2001:db8::80
                    77 TXT \"blocked here\"
alias.rpz.example   CNAME page.example.
*.wild.rpz.example  CNAME *.garden.example.
";

/// All the ways.
fn cases() -> Vec<Case> {
    let case = |name, suffix, want, forged, ede| Case { name, suffix, ttl: 30, want, forged, ede };
    vec![
        case("WwW.Order.eXample", "Order.eXample", unspecified, true, Some((16, ORDER))),
        Case { ttl: 45, ..case("a.b.pages.EXAMPLE", "pages.EXAMPLE", pages, true, Some((17, "list pages"))) },
        case("x.Nxdomain.example", "Nxdomain.example", nxdomain, false, Some((16, "Blocked by list nxdomain"))),
        case("Nodata.example", "Nodata.example", nodata, false, Some((16, "Blocked by list nodata"))),
        case("refuseD.example", "", |_, _, _| Want::Bare(rcode::REFUSED), false, Some((16, "Blocked by list refused"))),
        case("drop.example", "", |_, _, _| Want::Silence, false, None),
        case("shop.cName.example", "cName.example", aliased::<30>, true, Some((16, "Blocked by list cname"))),
        case("quiet.example", "quiet.example", nxdomain, false, None),
        case("nx.rpz.example", "nx.rpz.example", nxdomain, false, RPZ),
        case("nodata.rPz.example", "nodata.rPz.example", nodata, false, RPZ),
        case("pass.rpz.example", "", |_, _, _| Want::Passed, false, None),
        case("drop.rpz.example", "", |_, _, _| Want::Silence, false, None),
        case("tcp.rpz.example", "", |_, _, tcp| if tcp { Want::Passed } else { Want::TryTcp }, false, None),
        case("Local.rpz.example", "Local.rpz.example", local, true, RPZ),
        case("alias.rpz.example", "alias.rpz.example", aliased::<66>, true, RPZ),
        case("one.wild.rpz.example", "wild.rpz.example", walled, true, RPZ),
        case("other.example", "", |_, _, _| Want::Passed, false, None),
    ]
}

/// 0.0.0.0 and ::.
fn unspecified(name: &str, qtype: u16, _: bool) -> Want {
    match qtype {
        rtype::A => Want::Records(vec![rec(name, qtype, 30, "0.0.0.0")]),
        rtype::AAAA => Want::Records(vec![rec(name, qtype, 30, "::")]),
        _ => Want::Negative(rcode::NOERROR),
    }
}

/// Two addresses of one family, none of the other.
fn pages(name: &str, qtype: u16, _: bool) -> Want {
    match qtype {
        rtype::A => Want::Records(["192.0.2.1", "192.0.2.2"].map(|page| rec(name, qtype, 45, page)).into()),
        _ => Want::Negative(rcode::NOERROR),
    }
}

/// No such name.
fn nxdomain(_: &str, _: u16, _: bool) -> Want {
    Want::Negative(rcode::NXDOMAIN)
}

/// No such record.
fn nodata(_: &str, _: u16, _: bool) -> Want {
    Want::Negative(rcode::NOERROR)
}

/// A CNAME to the page, with the page's address where a stub needs it.
fn aliased<const TTL: u32>(name: &str, qtype: u16, _: bool) -> Want {
    let mut records = vec![rec(name, rtype::CNAME, TTL, "page.example.")];
    if qtype == rtype::A {
        records.push(rec("page.example", rtype::A, 300, "192.0.2.99"));
    }
    Want::Records(records)
}

/// RPZ local data.
fn local(name: &str, qtype: u16, _: bool) -> Want {
    let all = [
        rec(name, rtype::A, 77, "192.0.2.80"),
        rec(name, rtype::AAAA, 77, "2001:db8::80"),
        rec(name, rtype::TXT, 77, "blocked here"),
    ];
    let some: Vec<_> = all.into_iter().filter(|rec| qtype == rtype::ANY || rec.rtype == qtype).collect();
    if some.is_empty() { Want::Negative(rcode::NOERROR) } else { Want::Records(some) }
}

/// A CNAME into a walled garden that has no such name.
fn walled(name: &str, _: u16, _: bool) -> Want {
    Want::Records(vec![rec(name, rtype::CNAME, 66, &format!("{name}.garden.example."))])
}

/// The lists.
fn lists(setup: Setup, folder: &Folder) -> Setup {
    folder.write("orders/7.toml", ORDER_FILE);
    folder.write("policy.rpz", ZONE_FILE);
    for name in ["pages", "nxdomain", "nodata", "refused", "drop", "cname", "quiet"] {
        folder.write(&format!("{name}.txt"), format!("{name}.example\n"));
    }
    let pages = "answer = { ipv4 = [\"192.0.2.1\", \"192.0.2.2\"], ipv6 = [], ttl = \"45s\", ede = 17, text = \"list {list}\" }";
    setup
        .list("orders", "orders", "")
        .list("pages", "pages.txt", pages)
        .list("nxdomain", "nxdomain.txt", "answer = \"nxdomain\"")
        .list("nodata", "nodata.txt", "answer = \"nodata\"")
        .list("refused", "refused.txt", "answer = \"refused\"")
        .list("drop", "drop.txt", "answer = \"drop\"")
        .list("cname", "cname.txt", "answer = { mode = \"cname\", cname = \"page.example\" }")
        .list("quiet", "quiet.txt", "answer = { mode = \"nxdomain\", ede = 0 }")
        .list("zone", "policy.rpz", "format = \"rpz\"")
}

/// The ways a client may speak of EDNS.
fn dialects(name: &str, qtype: u16) -> BTreeMap<&'static str, Ask> {
    let ask = || Ask::new(name, qtype);
    BTreeMap::from([
        ("plain", ask()),
        ("EDNS", ask().edns()),
        ("DO", ask().dnssec_ok()),
        ("CD", ask().edns().checking_disabled()),
        ("CD without EDNS", ask().checking_disabled()),
        ("DO and CD", ask().dnssec_ok().checking_disabled()),
        ("structured", ask().structured()),
    ])
}

/// Checks one answer against what is wanted.
fn check(case: &Case, ask: &Ask, want: &Want, reply: &Reply, about: &str) {
    let structured = ask.edns.as_ref().is_some_and(|edns| !edns.options.is_empty());
    let want = match want {
        Want::Records(_) if structured && case.forged => &Want::Negative(rcode::NOERROR),
        want => want,
    };
    let at = || format!("{about}: wanted {want:?}, got {reply:?}");
    assert_eq!(reply.id, ask.id, "{}", at());
    assert_eq!(reply.question, Some((ask.name.clone(), ask.qtype, 1)), "the question as it came; {}", at());
    let truncated = if *want == Want::TryTcp { 0x0200 } else { 0 };
    // QR, RA; RD and CD as asked; neither AA nor AD.
    assert_eq!(reply.flags, 0x8080 | truncated | (ask.flags & 0x0110), "flags; {}", at());
    let opt = |edns: &Edns| (edns.version, edns.dnssec_ok);
    assert_eq!(reply.edns.as_ref().map(opt), ask.edns.as_ref().map(opt), "an OPT for an OPT; {}", at());
    assert_eq!(reply.additionals, [], "{}", at());
    match want {
        Want::Records(records) => {
            assert_eq!((reply.rcode, &reply.answers), (rcode::NOERROR, records), "{}", at());
            assert_eq!(reply.authorities, [], "{}", at());
        }
        Want::Negative(code) => {
            assert_eq!((reply.rcode, reply.answers.len(), reply.authorities.len()), (*code, 0, 1), "{}", at());
            let soa = &reply.authorities[0];
            assert_eq!((soa.rtype, soa.name.as_str(), soa.ttl), (rtype::SOA, case.suffix, case.ttl), "{}", at());
            // RFC 2308: the minimum is how long the answer may be kept.
            assert!(soa.data.ends_with(&format!(" {}", case.ttl)), "{}", at());
        }
        Want::Bare(code) => {
            assert_eq!((reply.rcode, reply.answers.len(), reply.authorities.len()), (*code, 0, 0), "{}", at());
        }
        Want::TryTcp => {
            assert_eq!((reply.rcode, reply.answers.len(), reply.authorities.len()), (0, 0, 0), "{}", at());
        }
        Want::Passed | Want::Silence => unreachable!("compared elsewhere"),
    }
    let Some((code, text)) = case.ede.filter(|_| ask.edns.is_some()) else {
        assert_eq!(reply.ede(), None, "{}", at());
        return;
    };
    let Some((got_code, got)) = reply.ede() else { panic!("no extended error: {}", at()) };
    assert_eq!(got_code, code, "{}", at());
    if !structured {
        assert_eq!(got, text, "{}", at());
        return;
    }
    let structure: Value = serde_json::from_str(&got).unwrap_or_else(|error| panic!("{error}: {}", at()));
    assert_eq!(structure.to_string().len(), got.len(), "minified; {}", at());
    let expected = if text == ORDER {
        json!({ "c": ["mailto:orders@agency.example"], "j": text, "o": "Agency", "l": "en" })
    } else {
        json!({ "c": [], "j": text, "l": "en" })
    };
    assert_eq!(structure, expected, "{}", at());
}

/// The mock knows the page, nothing in the garden, and gives every other name one address.
fn upstream() -> Mock {
    Mock::start(|asked| match asked.name.as_str() {
        "page.example" => Say::A([192, 0, 2, 99]),
        name if name.ends_with("garden.example") => Say::Nxdomain,
        _ => Say::A([198, 51, 100, 7]),
    })
}

#[test]
fn every_way_to_block_for_every_type_and_dialect_over_both_transports() {
    let mock = upstream();
    let folder = Folder::new();
    let server = Server::start(&folder, &lists(Setup::new(mock.address()).uncached(), &folder));
    let udp = Udp::to(server.udp[0]);
    let mut tcp = Tcp::to(server.tcp[0]);
    let after = || Ask::new("order.example", rtype::A);
    for case in cases() {
        for qtype in TYPES {
            for (dialect, ask) in dialects(case.name, qtype) {
                let about = |transport| format!("{} TYPE{qtype} {dialect} {transport}", case.name);
                let wants = [false, true].map(|tcp| (case.want)(case.name, qtype, tcp));
                if wants[0] == Want::Silence {
                    assert!(udp.silent_about(&ask.bytes(), &after()), "{}", about("UDP"));
                    tcp.send(&ask.bytes());
                    tcp.ask(&after());
                    continue;
                }
                let over_udp = udp.ask(&ask).unwrap_or_else(|| panic!("no answer: {}", about("UDP")));
                let replies = [over_udp, tcp.ask(&ask)];
                for ((want, reply), transport) in wants.iter().zip(&replies).zip(["UDP", "TCP"]) {
                    match want {
                        Want::Passed => check_passed(&ask, reply, &about(transport)),
                        want => check(&case, &ask, want, reply, &about(transport)),
                    }
                }
                if wants[0] == wants[1] {
                    let [over_udp, over_tcp] = replies.map(Reply::comparable);
                    assert_eq!(over_udp, over_tcp, "{}", about("UDP and TCP"));
                }
            }
        }
    }
}

/// What the mock says of names it does not know; ANY is answered here, as RFC 8482 says.
fn check_passed(ask: &Ask, reply: &Reply, about: &str) {
    assert_eq!((reply.id, reply.rcode, reply.ede()), (ask.id, rcode::NOERROR, None), "{about}: {reply:?}");
    let addresses = if ask.qtype == rtype::A { &["198.51.100.7"][..] } else { &[] };
    assert_eq!(reply.data(rtype::A), addresses, "{about}: {reply:?}");
    assert_eq!(reply.data(rtype::HINFO).len(), usize::from(ask.qtype == rtype::ANY), "{about}: {reply:?}");
}

#[test]
fn blocked_names_are_answered_with_no_upstream_at_all() {
    let folder = Folder::new();
    let server = Server::start(&folder, &lists(Setup::new(dead_address()), &folder));
    for case in cases() {
        for qtype in TYPES {
            for (dialect, ask) in dialects(case.name, qtype) {
                let want = match (case.want)(case.name, qtype, false) {
                    Want::Passed | Want::Silence => continue,
                    // The page cannot be reached; the alias to it stands all the same.
                    Want::Records(mut records) if records[0].rtype == rtype::CNAME => {
                        records.truncate(1);
                        Want::Records(records)
                    }
                    want => want,
                };
                check(&case, &ask, &want, &server.ask(&ask), &format!("{} TYPE{qtype} {dialect}", case.name));
            }
        }
    }
    let reply = server.a("other.example");
    assert_eq!((reply.rcode, reply.answers.len()), (rcode::SERVFAIL, 0), "the upstream is dead indeed: {reply:?}");
}

#[test]
fn allow_beats_block_and_config_order_decides_between_lists() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("one.txt", "example.org\n=exact.example\n*.below.example\nboth.example\n");
    folder.write("two.txt", "both.example\n");
    folder.write("allow.txt", "good.example.org\n");
    let setup = Setup::new(mock.address())
        .list("one", "one.txt", "answer = { ipv4 = [\"192.0.2.1\"] }")
        .list("two", "two.txt", "answer = \"nxdomain\"")
        .list("allow", "allow.txt", "role = \"allow\"");
    let server = Server::start(&folder, &setup);
    let blocked = "example.org www.example.org exact.example a.below.example both.example x.both.example";
    for name in blocked.split(' ') {
        let reply = server.a(name);
        assert!(reply.is_address("192.0.2.1"), "{name}: {reply:?}");
    }
    let passed = "good.example.org a.good.example.org notexample.org a.exact.example below.example example org";
    for name in passed.split(' ') {
        let reply = server.a(name);
        assert!(reply.is_address("198.51.100.7"), "{name}: {reply:?}");
    }
}

#[test]
fn a_long_order_is_cut_and_never_truncates_the_answer() {
    let folder = Folder::new();
    let long = "ұ".repeat(400);
    folder.write("orders/1.toml", format!("id = \"1\"\nauthority = \"{long}\"\ndomains = [\"long.example\"]\n"));
    let server = Server::start(&folder, &Setup::new(dead_address()).list("orders", "orders", ""));
    for ask in [Ask::new("long.example", rtype::A).payload(512), Ask::new("long.example", rtype::TXT).edns()] {
        let reply = server.ask(&ask);
        let (code, text) = reply.ede().expect("an extended error");
        assert!(code == 16 && text.starts_with("Blocked by order 1 of ұұұ") && text.len() <= 255, "{reply:?}");
        assert!(!reply.truncated() && reply.len <= 512, "{reply:?}");
    }
    let reply = server.ask(&Ask::new("long.example", rtype::A).structured());
    let structure: Value = serde_json::from_str(&reply.ede().expect("an extended error").1).expect("whole JSON");
    assert!(structure["o"].as_str().is_some_and(|authority| authority.starts_with("ұұұ")), "{structure}");
    assert!(!reply.truncated(), "{reply:?}");
}
