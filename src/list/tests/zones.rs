//! `rpz`.

use super::*;
use crate::rule::{LocalRecord, Role, RpzAction, Scope};

/// Pattern and action of every rule.
fn actions(parsed: &Parsed) -> Vec<(String, RpzAction)> {
    let action = |effect: &Effect| match effect {
        Effect::Rpz(action) => action.clone(),
        other => panic!("{other:?}"),
    };
    rules(parsed).into_iter().zip(parsed.rules.iter().map(|rule| action(&rule.kind.effect))).collect()
}

/// The records of the only rule.
fn records(text: &str) -> Vec<LocalRecord> {
    let parsed = lenient(Format::Rpz, text);
    assert_eq!(parsed.report.rejections, []);
    match &actions(&parsed)[..] {
        [(_, RpzAction::Local(data))] => data.records.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_action_and_scope() {
    let text = "$TTL 1h\n@ IN SOA ns. host. ( 1 ; serial\n 2 3 4\n 5 )\n  NS ns.\n\
                a.example CNAME .\n*.a.example 60 IN CNAME .\nb.example IN 60 CNAME *.\nc.example cname RPZ-Passthru.\n\
                d.example CNAME rpz-drop.\ne.example CNAME rpz-tcp-only.\nf.example CNAME f.example.\n\
                com CNAME .\n";
    let parsed = lenient(Format::Rpz, text);
    assert_eq!(parsed.report.rejections, []);
    use RpzAction::{Drop, Nodata, Nxdomain, Passthru, TcpOnly};
    let expected = [
        ("6 =a.example", Nxdomain),
        ("7 *.a.example", Nxdomain),
        ("8 =b.example", Nodata),
        ("9 =c.example", Passthru),
        ("10 =d.example", Drop),
        ("11 =e.example", TcpOnly),
        ("12 =f.example", Passthru),
        ("13 =com", Nxdomain),
    ];
    assert_eq!(actions(&parsed), expected.map(|(pattern, action)| (pattern.to_owned(), action)));
    assert_eq!((parsed.report.skipped, parsed.report.lines), (3, 11));
}

#[test]
fn names_are_relative_to_the_zone() {
    for text in [
        "$ORIGIN rpz.example.\n@ SOA a. b. 1 2 3 4 5\nbad.com CNAME .\nworse.com.rpz.example. CNAME .\n",
        "rpz.example. SOA a. b. 1 2 3 4 5\nbad.com.rpz.example. CNAME .\nworse.com.RPZ.example. CNAME .\n",
        "$ORIGIN example.\nrpz SOA a. b. 1 2 3 4 5\nbad.com.rpz CNAME .\nworse.com.rpz CNAME .\n",
        "$ORIGIN rpz.example.\n@ SOA a. b. 1 2 3 4 5\n$ORIGIN com.rpz.example.\nbad CNAME .\nworse CNAME .\n",
        "$ORIGIN .\nrpz.example SOA a. b. 1 2 3 4 5\n$ORIGIN rpz.example.\nbad.com CNAME .\n$ORIGIN com\nworse CNAME .\n",
        "@ SOA a. b. 1 2 3 4 5\nbad.com CNAME .\nworse.com. CNAME .\n",
    ] {
        let parsed = lenient(Format::Rpz, text);
        let names: Vec<String> = parsed
            .rules
            .iter()
            .map(|rule| crate::name::Name::from_wire(rule.name().wire()).expect("a name").to_string())
            .collect();
        assert_eq!(names, ["bad.com", "worse.com"], "{text}");
        assert_eq!(parsed.report.rejections, [], "{text}");
    }
    let parsed = lenient(Format::Rpz, "$ORIGIN rpz.example.\n@ SOA a. b. 1 2 3 4 5\nok CNAME .\nbad.com. CNAME .\n");
    assert_eq!(rejected(&parsed), ["4:1 bad.com."]);
    assert_eq!(parsed.report.rejections[0].reason, "outside the zone");
}

#[test]
fn local_data_of_an_owner_is_gathered() {
    let text = "$TTL 300\nw.example A 192.0.2.1\nother.example CNAME .\nw.example 60 AAAA 2001:db8::1\n\
                \tTXT \"two words\" plain \"q\\\"\\065;\"\n  MX 10 mail.example.\nw.example. TYPE65280 \\# 3 0102 03\n";
    let parsed = lenient(Format::Rpz, text);
    assert_eq!(parsed.report.rejections, []);
    let found = actions(&parsed);
    assert_eq!(
        found.iter().map(|(pattern, _)| pattern.as_str()).collect::<Vec<_>>(),
        ["2 =w.example", "3 =other.example"]
    );
    let Some((_, RpzAction::Local(data))) = found.first() else { panic!("{found:?}") };
    let got: Vec<(u16, u32, &[u8])> = data.records.iter().map(|r| (r.rtype, r.ttl, &r.rdata[..])).collect();
    let expected: [(u16, u32, &[u8]); 5] = [
        (1, 300, &[192, 0, 2, 1]),
        (28, 60, b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"),
        (16, 300, b"\x09two words\x05plain\x04q\"A;"),
        (15, 300, b"\0\x0a\x04mail\x07example\0"),
        (65280, 300, b"\x01\x02\x03"),
    ];
    assert_eq!(got, expected);
}

#[test]
fn record_data_of_other_types_goes_through_hickory() {
    let https = records("w.example HTTPS 1 . alpn=\"h2,h3\" port=443\n");
    assert_eq!(https[0].rdata, b"\0\x01\0\0\x01\0\x06\x02h2\x02h3\0\x03\0\x02\x01\xbb");
    let caa = records("w.example CAA 0 issue \"ca.example\"\n");
    assert_eq!(caa[0].rdata, b"\0\x05issueca.example");
    let srv = records("$ORIGIN z.example.\n@ SOA a. b. 1 2 3 4 5\nw SRV 1 2 3 host\n");
    assert_eq!(srv[0].rdata, b"\0\x01\0\x02\0\x03\x04host\x01z\x07example\0");
    let naptr = records("w.example NAPTR 1 2 \"u\" \"E2U+sip\" \"!^.*$!sip:x@y!\" .\n");
    assert_eq!(naptr[0].rdata, b"\0\x01\0\x02\x01u\x07E2U+sip\x0e!^.*$!sip:x@y!\0");
    // These make hickory 0.26.3 panic.
    for data in ["1 . alpn=\"", "1 . \"alpn=\\\"\"", "1 . alpn=\\\""] {
        let parsed = lenient(Format::Rpz, &format!("ok.example CNAME .\nw.example HTTPS {data}\n"));
        assert_eq!(parsed.report.rejected, 1, "{data}");
    }
}

#[test]
fn cnames_to_names() {
    let text = "$TTL 5m\na.example CNAME garden.example.\nb.example 60 CNAME *.garden.example.\n";
    let parsed = lenient(Format::Rpz, text);
    let targets: Vec<(String, bool, Option<u32>)> = actions(&parsed)
        .iter()
        .map(|(_, action)| match action {
            RpzAction::Local(data) => data.cname.as_ref().expect("a target"),
            other => panic!("{other:?}"),
        })
        .map(|target| (target.name.to_string(), target.prefix_query, target.ttl))
        .collect();
    assert_eq!(targets, [("garden.example".into(), false, Some(300)), ("garden.example".into(), true, Some(60))]);
}

#[test]
fn one_bad_record_costs_one_record() {
    for (bad, column) in [
        ("24.0.0.0.10.rpz-ip CNAME .", 1),
        ("32.1.2.0.192.rpz-client-ip CNAME .", 1),
        ("ns.example.rpz-nsdname CNAME .", 1),
        ("1.2.3.4 CNAME .", 1),
        ("* CNAME .", 1),
        ("a.*.example CNAME .", 1),
        ("a\\.b\\300.example CNAME .", 1),
        ("b.example CNAME rpz-passthru", 17),
        ("b.example CNAME rpz-unknown.", 17),
        ("b.example CNAME . .", 11),
        ("b.example CNAME", 11),
        ("b.example CH CNAME .", 11),
        ("b.example BOGUS x", 11),
        ("b.example A 1.2.3", 13),
        ("b.example A 1.2.3.4 5", 11),
        ("b.example TXT \"open", 15),
        ("b.example TXT ( \"never closed\"", 15),
        ("b.example CNAME . )", 19),
        ("b.example 99999999999 CNAME .", 11),
        ("b.example TYPE1 \\# 3 010203", 20),
        ("$INCLUDE other", 1),
        ("$ORIGIN a..b", 9),
        ("b.example", 1),
    ] {
        let parsed = lenient(Format::Rpz, &format!("ok.example CNAME .\n{bad}\nalso.example CNAME .\n"));
        assert_eq!(rules(&parsed), ["1 =ok.example", "3 =also.example"], "{bad}");
        let places: Vec<_> = parsed.report.rejections.iter().map(|r| (r.line, r.column)).collect();
        assert_eq!(places, [(2, column)], "{bad}: {:?}", parsed.report.rejections);
    }
    let parsed = lenient(Format::Rpz, " CNAME .\n1.2.3.4 CNAME .\n  A 192.0.2.1\nok.example CNAME .\n");
    assert_eq!(rejected(&parsed), ["1:2 CNAME", "2:1 1.2.3.4", "3:3 A"], "what inherits a bad owner is rejected too");
}

#[test]
fn an_owner_says_one_thing() {
    let text = "a.example CNAME .\na.example A 192.0.2.1\nb.example A 192.0.2.1\nb.example CNAME .\n\
                c.example CNAME .\nc.example CNAME *.\nd.example CNAME .\nd.example CNAME .\n";
    let parsed = lenient(Format::Rpz, text);
    assert_eq!(rules(&parsed), ["1 =a.example", "3 =b.example", "5 =c.example", "7 =d.example"]);
    assert_eq!(rejected(&parsed), ["2:1 a.example", "4:1 b.example", "6:1 c.example"]);
    assert_eq!(parsed.report.skipped, 1);
}

#[test]
fn roles_scopes_and_serials() {
    let spec = Spec { role: Role::Allow, ..spec(Format::Rpz) };
    let parsed = read(&spec, "a.example CNAME rpz-passthru.\nb.example CNAME .\n").expect("a list");
    assert_eq!(rules(&parsed), ["1 @@=a.example"]);
    let spec = Spec { role: Role::Block, scope: Some(Scope::Subtree), ..spec };
    let parsed = read(&spec, "a.example CNAME .\n*.b.example CNAME .\n").expect("a list");
    assert_eq!(rules(&parsed), ["1 a.example", "2 *.b.example"]);
    let parsed = lenient(Format::Rpz, "@ SOA a. b. 20250701010101 2 3 4 5\na.example CNAME .\n");
    assert_eq!(parsed.report.rejected, 0);
    assert_eq!(parsed.report.warnings.iter().map(|w| (w.line, w.column)).collect::<Vec<_>>(), [(1, 13)]);
}

#[test]
fn a_stray_parenthesis_swallows_one_record() {
    let text: String = (0..1000).map(|n| format!("n{n}.example CNAME (\n")).collect();
    let parsed = lenient(Format::Rpz, &format!("{text}ok.example CNAME .\n"));
    assert_eq!(rules(&parsed), ["1001 =ok.example"]);
    assert_eq!(parsed.report.rejected, 1000);
}
