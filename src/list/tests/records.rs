//! `orders` and `csv`: entries that carry their legal basis.

use super::*;
use crate::list::{CsvColumns, Encoding};
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
        csv: CsvColumns { domain: "домен".into(), order: columns.into() },
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
