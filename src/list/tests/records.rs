//! `orders` and `csv`: entries that carry their legal basis.

use super::*;
use crate::list::{Columns, Encoding, OrderProblem};
use crate::rule::Order;
use crate::util::UnixTime;

/// The order file of DESIGN section 3.
const ORDER: &str = r#"id = "25-01-25/4"
authority = "Agency"
requested_by = "Ministry"
legal_basis = "Law 1"
reference = ["2-1234/2025", "x"]
issued = 2025-01-05
effective = 2025-01-06T00:00:00+05:00
deadline = "2025-01-08T00:00:00+05:00"
expires = "2026-01-05"
revoked = 2025-06-01
contact = ["mailto:a@example.com"]
url = "https://example.com"
domains = ["example.com",
  "=exact.example", "*.below.example",
  # a comment
  "bad name.example", 'com', '''биржа.рф''',
]
"#;

#[test]
fn an_order_file_gives_order_and_lines() {
    let parsed = lenient(Format::Orders, ORDER);
    let expected = ["13 example.com", "14 =exact.example", "14 *.below.example", "16 xn--80abph4b.xn--p1ai"];
    assert_eq!(rules(&parsed), expected);
    assert_eq!(rejected(&parsed), ["16:7 bad name.example", "16:24 com"]);
    assert_eq!((parsed.report.lines, parsed.report.entries, parsed.report.rejected), (6, 4, 2));
    let of: Vec<_> = parsed.report.rejected_of.iter().map(|(order, count)| (&*order.id, *count)).collect();
    assert_eq!(of, [("25-01-25/4", 2)]);
    let order = Order {
        id: "25-01-25/4".into(),
        authority: "Agency".into(),
        requested_by: "Ministry".into(),
        legal_basis: "Law 1".into(),
        reference: vec!["2-1234/2025".into(), "x".into()],
        issued: Some(UnixTime(1_736_035_200)),
        effective: Some(UnixTime(1_736_103_600)),
        deadline: Some(UnixTime(1_736_276_400)),
        expires: Some(UnixTime(1_767_571_200)),
        revoked: Some(UnixTime(1_748_736_000)),
        contact: vec!["mailto:a@example.com".into()],
        url: "https://example.com".into(),
    };
    assert!(parsed.rules.iter().all(|rule| rule.order.map(|found| &**found) == Some(&order)));
}

#[test]
fn half_an_order_is_none() {
    let refused = |text: &str| match read(&spec(Format::Orders), text) {
        Err(Refusal::BadOrder(problems)) => {
            problems.into_iter().map(|p| (p.line, p.column, p.message)).collect::<Vec<_>>()
        }
        other => panic!("{text}: {other:?}"),
    };
    let all = refused(
        "id = \"\"\nauthority = 5\n  colour = \"red\"\nissued = 2025-01-05T00:00:00\ndomains = [\"a.example\", 7]\n",
    );
    let places: Vec<_> = all.iter().map(|(line, column, _)| (*line, *column)).collect();
    assert_eq!(places, [(1, 6), (2, 13), (3, 3), (4, 10), (5, 25)], "{all:?}");
    assert!(all[2].2.starts_with("unknown key `colour`; the keys are id, "), "{all:?}");
    let missing = refused("authority = \"x\"\n");
    assert_eq!(missing.iter().map(|p| p.2.as_str()).collect::<Vec<_>>(), ["`id` is missing", "`domains` is missing"]);
    let broken = refused("id = \"x\"\nauthority = \"открыто\ndomains = []\n");
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0].0, 2, "{broken:?}");
    assert_eq!(refused("id = \"x\"\nid = \"y\"\n")[0].0, 2);
    refused(&format!("id = {}", "[".repeat(100_000)));
}

#[test]
fn a_register_with_every_delimiter_and_quotes() {
    let text = "Domain,Order,Authority,Expires,Reference\n\
                a.example,1/25,\"Agency, the\",2026-01-05,x|y\n\
                \n=b.example,1/25,\"Agency, the\",2026-01-05,x|y\n\
                c.example,2/25,\"two\nlines\",,\n*.d.example,,,,\n,,,,\n";
    for delimiter in [',', ';', '\t'] {
        let text = text.replace(',', &delimiter.to_string());
        let parsed = lenient(Format::Csv, &text);
        assert_eq!(rules(&parsed), ["2 a.example", "4 =b.example", "5 c.example", "7 *.d.example"], "{delimiter}");
        assert_eq!((parsed.report.lines, parsed.report.rejected), (4, 0));
        let orders: Vec<Option<&str>> = parsed.rules.iter().map(|rule| rule.order.map(|o| o.id.as_str())).collect();
        assert_eq!(orders, [Some("1/25"), Some("1/25"), Some("2/25"), None]);
        assert_eq!(parsed.rules.orders().len(), 2);
        let first = &parsed.rules.orders()[0];
        assert_eq!(first.authority, format!("Agency{delimiter} the"));
        assert_eq!((first.expires, first.reference.len()), (Some(UnixTime(1_767_571_200)), 2));
    }
}

#[test]
fn a_register_out_of_excel_in_windows_1251() {
    let text = "sep=;\r\n№;Домен;Решение;Дата\r\n1;биржа.рф;25-01/4;05.01.2025\r\n2;\"ban k.example\";25-01/5;\r\n\
                3;a.example;25-01/6;завтра\r\n";
    let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode(text);
    let columns = [("id", "решение"), ("issued", "ДАТА")].map(|(field, column)| (field.to_owned(), column.to_owned()));
    let spec = Spec {
        encoding: Encoding::Windows1251,
        columns: Columns { domain: "домен".into(), scope: None, order: columns.into() },
        max_rejected: 10_000,
        ..spec(Format::Auto)
    };
    let parsed = parse(&spec, &"x".into(), &bytes).expect("a register");
    assert_eq!(rules(&parsed), ["3 xn--80abph4b.xn--p1ai"]);
    let order = parsed.rules.rule(0).order.expect("an order");
    assert_eq!((order.id.as_str(), order.issued), ("25-01/4", Some(UnixTime(1_736_035_200))));
    assert_eq!(rejected(&parsed), ["4:7 ban k.example", "5:1 a.example"]);
    assert!(parsed.report.rejections[1].reason.contains("`issued`"), "{:?}", parsed.report.rejections);
}

#[test]
fn a_register_that_makes_no_sense_is_refused() {
    for (text, why) in [
        ("name,order\na.example,1\n", "no column `domain` in its header, which has `name`, `order`"),
        ("domain,order\na.example,\"1\nb.example,2\nc.example,3\n", "line 2 is never closed"),
        ("# only\n# comments\n", "no header row"),
    ] {
        match read(&spec(Format::Csv), text) {
            Err(Refusal::BadCsv(message)) => assert!(message.contains(why), "{message}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn rows_without_an_order_rest_on_the_lists() {
    let listed = Order { id: "list".into(), authority: "Agency".into(), ..Order::default() };
    let text = "domain,id,expires\na.example,,\nb.example,,2026-01-05\nc.example,row,\n";
    let spec = Spec { order: Some(listed.clone()), ..spec(Format::Csv) };
    let parsed = read(&spec, text).expect("a register");
    let orders: Vec<&Order> = parsed.rules.iter().filter_map(|rule| rule.order.map(|order| &**order)).collect();
    let dated = Order { expires: Some(UnixTime(1_767_571_200)), ..listed.clone() };
    assert_eq!(orders, [&listed, &dated, &Order { id: "row".into(), ..Order::default() }]);
    let parsed = lenient(Format::Csv, text);
    assert_eq!(rejected(&parsed), ["3:1 b.example"], "its date would be lost");
}

#[test]
fn lone_carriage_returns_count_as_lines() {
    let parsed = lenient(Format::Csv, "domain,order\ra.example,1\r\rb.example,2\rb b.example,3");
    assert_eq!(rules(&parsed), ["2 a.example", "4 b.example"]);
    assert_eq!(rejected(&parsed), ["5:2 b b.example"]);
}

#[test]
fn a_json_register_in_every_shape() {
    let records = [
        r#"{"domain": "a.example", "order": 77, "authority": "Agency", "reference": ["x", "y"], "expires": "2026-01-05"}"#,
        r#"{"Domain": ["=b.example", "*.c.example", "биржа.рф"], "id": "78", "url": null}"#,
        r#"{"domain": "d.example", "scope": "exact"}"#,
        r#"{"domain": "bad name.example"}"#,
        r#"{"name": "e.example"}"#,
        r#"{"domain": 7}"#,
        r#"{"domain": "f.example", "scope": "all"}"#,
        r#"{"domain": "g.example", "issued": "2026-01-05"}"#,
    ];
    let lines = records.join("\n");
    let array = format!("[{}]", records.join(",\n"));
    let inside = format!("{{\"count\": 8, \"tags\": [], \"records\": [{}]}}", records.join(",\n"));
    for text in [lines, array, inside] {
        assert!(read(&spec(Format::Auto), &text).is_err_and(|refusal| refusal.report().is_some()), "{text}");
        let parsed = lenient(Format::Json, &text);
        let expected = ["1 a.example", "2 =b.example", "2 *.c.example", "2 xn--80abph4b.xn--p1ai", "3 =d.example"];
        assert_eq!(rules(&parsed), expected, "{text}");
        let rejected: Vec<_> = parsed.report.rejections.iter().map(|r| (r.line, r.entry.as_str())).collect();
        let bad = [(4, "bad name.example"), (5, "{…}"), (6, "7"), (7, "f.example"), (8, "g.example")];
        assert_eq!(rejected, bad, "{text}");
        assert!(parsed.report.rejections[3].reason.contains("`all` is no scope"));
        let order = parsed.rules.rule(0).order.expect("an order");
        assert_eq!((order.id.as_str(), order.reference.len()), ("77", 2));
        assert_eq!(order.expires, Some(UnixTime(1_767_571_200)));
        assert_eq!(parsed.rules.rule(1).order.map(|order| order.id.as_str()), Some("78"));
    }
}

#[test]
fn json_registers_are_recognised_and_mapped() {
    let text = r#"{"data": [{"Имя": "a.example", "Номер": "1", "Охват": "below"}]}"#;
    let columns = [("id".to_owned(), "номер".to_owned())];
    let columns = Columns { domain: "имя".into(), scope: Some("охват".into()), order: columns.into() };
    let parsed = read(&Spec { columns, ..spec(Format::Auto) }, text).expect("a register");
    assert_eq!((rules(&parsed), parsed.report.format), (vec!["1 *.a.example".to_owned()], Some(Format::Json)));
    assert_eq!(parsed.rules.rule(0).order.map(|order| order.id.as_str()), Some("1"));
    let single = read(&spec(Format::Auto), "{\n  \"domain\": \"a.example\"\n}\n").expect("a register of one");
    assert_eq!(rules(&single), ["2 a.example"]);
}

#[test]
fn json_that_is_no_register_is_refused_with_its_place() {
    for (text, place, why) in [
        ("[{\"domain\": \"a.example\"},\n {\"domain\": }]", (2, 13), "expected value"),
        ("[{\"domain\": \"a.example\"},\n", (2, 1), "EOF"),
        ("\n\n\"text\"", (3, 1), "neither an array nor an object"),
        ("{\"a\": [{}], \"b\": [{}]}", (1, 1), "several arrays"),
        ("[[[", (1, 3), "EOF"),
    ] {
        match read(&spec(Format::Json), text) {
            Err(Refusal::BadJson(OrderProblem { line, column, message })) => {
                assert!(message.contains(why), "{text}: {message}");
                assert_eq!(line, place.0, "{text}: {message}");
                assert!(column.abs_diff(place.1) <= 1, "{text}: {column}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let deep = "[".repeat(100_000);
    assert!(read(&spec(Format::Json), &deep).is_err());
}

#[test]
fn a_scope_column_goes_before_marks_and_the_lists_scope() {
    let text =
        "domain;scope;id\na.example;exact;1\n*.b.example;Subtree;1\n=c.example;;1\nd.example;;1\ne.example;x;1\n";
    let parsed = lenient(Format::Csv, text);
    assert_eq!(rules(&parsed), ["2 =a.example", "3 b.example", "4 =c.example", "5 d.example"]);
    assert_eq!(rejected(&parsed), ["6:1 e.example"]);
}

#[test]
fn what_is_rejected_is_known_by_its_order() {
    let of = |parsed: &Parsed| -> Vec<(String, u64)> {
        parsed.report.rejected_of.iter().map(|(order, count)| (order.id.clone(), *count)).collect()
    };
    let mut spec = spec(Format::Csv);
    (spec.max_rejected, spec.order) = (10_000, Some(Order { id: "own".into(), ..Order::default() }));
    let csv = "domain,id,effective,scope\na b.example,1,,\n10.0.0.1,,,\nx.example,2,,wide\ny.example,3,soon,\nz.example,4,,\n";
    let expected = [("own", 1), ("1", 1), ("2", 1)].map(|(id, count)| (id.to_owned(), count));
    assert_eq!(of(&read(&spec, csv).expect("a register")), expected, "a broken order is none");
    let json =
        r#"[{"domain": ["a b.example", "c.example", "10.0.0.1"], "id": "1"}, {"domain": "z.example", "id": "2"}]"#;
    spec.format = Format::Json;
    assert_eq!(of(&read(&spec, json).expect("a register")), [("1".to_owned(), 2)]);
    // An order whose name is missing is known all the same: nothing of it is enforced.
    let none = [("own", 1), ("5", 1), ("6", 1), ("7", 1)].map(|(id, count)| (id.to_owned(), count));
    let json = r#"[{"id": "5"}, {"domain": 7, "id": "6"}, {"domain": [], "id": "7"}, {"domain": null}, {"domain": "z.example"}]"#;
    assert_eq!(of(&read(&spec, json).expect("a register")), none);
    spec.format = Format::Csv;
    let csv = "domain,id,issued\n,5,\n ,6,\n,7,\n,,\nz.example,8,\n,,soon\n,,2026-01-05\n";
    let mut found = of(&read(&spec, csv).expect("a register"));
    found.sort();
    let none = [("5", 1), ("6", 1), ("7", 1), ("own", 1)].map(|(id, count)| (id.to_owned(), count));
    assert_eq!(found, none);
    (spec.format, spec.order) = (Format::Orders, None);
    let order = "id = \"7\"\nauthority = \"A\"\ndomains = [\"a b\", \"10.0.0.1\"]\n";
    match read(&spec, order) {
        Err(Refusal::TooManyRejected { report, .. }) => {
            assert_eq!((report.rejected_of[0].1, &*report.rejected_of[0].0.id), (2, "7"))
        }
        other => panic!("{other:?}"),
    }
}
