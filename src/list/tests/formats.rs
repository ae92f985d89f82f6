//! `domains`, `hosts`, `adblock`, `dnsmasq`, `auto`, and what refuses a file.

use super::*;
use crate::list::{Encoding, Urls};
use crate::rule::{Order, Role, Scope};

#[test]
fn domains_and_their_marks() {
    let text = "# header\nExample.COM\n  a.example # why\nb.example#why\n=exact.example\n*.below.example\n\
                .dot.example\nbüro.example\r\n\r\nlast.example.";
    let parsed = lenient(Format::Domains, text);
    let expected = [
        "2 example.com",
        "3 a.example",
        "4 b.example",
        "5 =exact.example",
        "6 *.below.example",
        "7 dot.example",
        "8 xn--bro-hoa.example",
        "10 last.example",
    ];
    assert_eq!(rules(&parsed), expected);
    assert_eq!((parsed.report.lines, parsed.report.entries, parsed.report.rejected), (8, 8, 0));
}

#[test]
fn domains_reject_what_is_no_name_at_its_place() {
    let text = "ok.example\ncom\ncom.\nhttps://a.example/x#y\n  bad_name!.example\nc.example##.ad\n1.2.3.4\n.\n*\n\
                a b\na\0b.example\n*.*.example\n=\nnet # a comment\nhttps://d.example/ # comment";
    let parsed = lenient(Format::Domains, text);
    assert_eq!(rules(&parsed), ["1 ok.example", "3 com"]);
    let expected = [
        "2:1 com",
        "4:1 https://a.example/x#y",
        "5:11 bad_name!.example",
        "6:10 c.example##.ad",
        "7:1 1.2.3.4",
        "8:1 .",
        "9:1 *",
        "10:2 a b",
        "11:2 a\\0b.example",
        "12:3 *.example",
        "13:2 ",
        "14:1 net",
        "15:1 https://d.example/",
    ];
    assert_eq!(rejected(&parsed), expected);
    let reason = &parsed.report.rejections[0].reason;
    assert_eq!(reason, "blocks a whole top-level domain; write `com.` if that is meant");
}

#[test]
fn a_lists_own_scope_urls_role_and_order_apply() {
    let order = Order { id: "1/25".into(), ..Order::default() };
    let spec = Spec {
        scope: Some(Scope::Exact),
        urls: Urls::Host,
        role: Role::Allow,
        order: Some(order),
        ..spec(Format::Domains)
    };
    let parsed = read(&spec, "a.example\n*.b.example\nhttps://c.example:8443/x\n").expect("a list");
    assert_eq!(rules(&parsed), ["1 @@=a.example", "2 @@*.b.example", "3 @@=c.example"]);
    assert!(parsed.rules.iter().all(|rule| rule.order.is_some_and(|order| order.id == "1/25")));
}

#[test]
fn hosts_block_exactly_and_skip_the_machines_own_names() {
    let text = "127.0.0.1 localhost localhost.localdomain\n::1 ip6-localhost ip6-loopback\nfe80::1%lo0 localhost\n\
                255.255.255.255\tbroadcasthost\n0.0.0.0 0.0.0.0\n0.0.0.0 a.example b.example # c.example\n\
                ::   v6.example\n\n# comment\n";
    let parsed = lenient(Format::Hosts, text);
    assert_eq!(rules(&parsed), ["6 =a.example", "6 =b.example", "7 =v6.example"]);
    assert_eq!((parsed.report.skipped, parsed.report.rejected, parsed.report.lines), (7, 0, 7));
}

#[test]
fn hosts_reject_by_name_not_by_line() {
    let text = "0.0.0.0 a.example com *.b.example c.example\n0.0.0.0adminer.com\nplain.example\n0.0.0.0\n\
                0.0.0.0 1.2.3.4\n0.0.0.0 0.0.0.0glued.example";
    let parsed = lenient(Format::Hosts, text);
    assert_eq!(rules(&parsed), ["1 =a.example", "1 =c.example"]);
    let expected = [
        "1:19 com",
        "1:23 *.b.example",
        "2:1 0.0.0.0adminer.com",
        "3:1 plain.example",
        "4:1 0.0.0.0",
        "5:9 1.2.3.4",
        "6:9 0.0.0.0glued.example",
    ];
    assert_eq!(rejected(&parsed), expected);
    for line in [2, 6] {
        let found = parsed.report.rejections.iter().find(|r| r.line == line).expect("rejected");
        assert_eq!(found.reason, "an address and a name run together");
    }
}

#[test]
fn adblock_takes_whole_names_only() {
    let text = "[Adblock Plus 2.0]\n! comment\n# comment\n||a.example^\n@@||b.example^\n||c.example^$important\n";
    let parsed = lenient(Format::Adblock, text);
    assert_eq!(rules(&parsed), ["4 a.example", "5 @@b.example", "6 c.example"]);
    assert_eq!(parsed.report.lines, 3);
    let unsupported = [
        ("||a.example^$third-party", 13),
        ("||a.example^$important,third-party", 13),
        ("||a.example^$", 13),
        ("||a.example", 12),
        ("||a.example/x^", 12),
        ("||a.example/x", 12),
        ("||a.example^x", 12),
        ("||a.*.example^", 5),
        ("||*.a.example^", 3),
        ("a.example##.ad", 10),
        ("##.ad", 1),
        ("a.example#@#.ad", 10),
        ("/ads?/", 1),
        ("a.example", 1),
        ("|https://a.example^", 1),
        ("0.0.0.0 a.example", 1),
        ("||1.2.3.4^", 3),
        ("||com^", 3),
        ("||a.example:80^", 12),
        ("||^", 3),
    ];
    for (rule, column) in unsupported {
        let parsed = lenient(Format::Adblock, &format!("||ok.example^\n{rule}\n"));
        assert_eq!(rules(&parsed), ["1 ok.example"], "{rule}");
        let found = parsed.report.rejections.first().expect("rejected");
        assert_eq!((found.line, found.column), (2, column), "{rule}: {}", found.reason);
    }
    let spec = Spec { role: Role::Allow, ..spec(Format::Adblock) };
    let parsed = read(&spec, "||a.example^\n@@||b.example^\n").expect("one rejection refuses nothing");
    assert_eq!(rules(&parsed), ["1 @@a.example"]);
    assert_eq!(rejected(&parsed), ["2:1 @@||b.example^"]);
}

#[test]
fn dnsmasq_takes_what_blocks() {
    let text = "# comment\naddress=/a.example/b.example/0.0.0.0\nserver=/c.example/\nlocal=/d.example/ # why\n\
                address=/e.example/#\naddress=/.f.example/::\n  address = /g.example/\naddress=/com/\n";
    let parsed = lenient(Format::Dnsmasq, text);
    let expected = [
        "2 a.example",
        "2 b.example",
        "3 c.example",
        "4 d.example",
        "5 e.example",
        "6 f.example",
        "7 g.example",
        "8 com",
    ];
    assert_eq!(rules(&parsed), expected);
    for (option, column) in [
        ("server=/a.example/1.2.3.4", 19),
        ("server=/a.example/#", 19),
        ("local=/a.example", 17),
        ("address=/#/0.0.0.0", 10),
        ("address=//0.0.0.0", 10),
        ("address=/*.a.example/", 10),
        ("address=/a.example/elsewhere", 20),
        ("address=1.2.3.4", 9),
        ("cache-size=10", 1),
        ("domain-needed", 1),
    ] {
        let parsed = lenient(Format::Dnsmasq, &format!("local=/ok.example/\n{option}\n"));
        assert_eq!(rules(&parsed), ["1 ok.example"], "{option}");
        let found = parsed.report.rejections.first().expect("rejected");
        assert_eq!((found.line, found.column), (2, column), "{option}: {}", found.reason);
    }
}

#[test]
fn auto_says_what_it_chose() {
    for (text, format) in [
        ("# comment\nexample.com\nserver.example\n", Format::Domains),
        ("=a.example\n*.b.example\nid.example\n", Format::Domains),
        ("cname.example # CNAME .\nsoa.example\n", Format::Domains),
        ("биржа.рф\n", Format::Domains),
        ("0.0.0.0 a.example\n0.0.0.0 b.example\n", Format::Hosts),
        ("! Title\n||a.example^\n", Format::Adblock),
        ("server=/a.example/\n", Format::Dnsmasq),
        ("$TTL 300\n@ SOA localhost. root.localhost. 1 2 3 4 5\n  NS localhost.\na.example CNAME .\n", Format::Rpz),
        ("a.example 300 IN CNAME .\n", Format::Rpz),
        ("# order\nid = \"1/25\"\nauthority = \"x\"\ndomains = [\"a.example\"]\n", Format::Orders),
        ("domain;order\na.example;1\n", Format::Csv),
        ("\"Order\",\"Domain\"\n1,a.example\n", Format::Csv),
        ("[{\"Domain\": \"a.example\"}]\n", Format::Json),
        ("# emptied\n", Format::Domains),
        ("! emptied\n", Format::Adblock),
        ("; emptied\n", Format::Rpz),
    ] {
        let parsed = read(&spec(Format::Auto), text).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
        assert_eq!(parsed.report.format, Some(format), "{text}");
        assert_eq!(parsed.report.rejected, 0, "{text}");
    }
    for text in ["{\"a\": 1}\n", "lorem ipsum dolor\nsit amet\n", "alpaca.markets\tAlpaca\n"] {
        assert_eq!(read(&spec(Format::Auto), text).expect_err("no list"), Refusal::NotRecognised, "{text}");
    }
}

#[test]
fn one_typing_error_is_forgiven_and_a_wrong_file_is_not() {
    let spec = spec(Format::Domains);
    let report = read(&spec, "a.example\nb..example\n").expect("one error").report;
    assert_eq!((report.entries, report.rejected), (1, 1));
    let refusal = read(&spec, "a.example\nb..example\nc..example\n").expect_err("two of three");
    assert_eq!(refusal.report().map(|report| (report.entries, report.rejected)), Some((1, 2)));
    let names: String = (0..38).map(|n| format!("n{n}.example\n")).collect();
    assert!(read(&spec, &format!("{names}b..example\nc..example\n")).is_ok(), "exactly 5 %");
    assert!(read(&spec, &format!("{}b..example\nc..example\n", &names[12..])).is_err(), "more than 5 %");
    assert!(read(&spec, "b..example\n").is_err(), "nothing used");
    let refusal = read(&spec, "0.0.0.0 a.example\n").expect_err("the wrong format");
    assert!(refusal.to_string().contains("looks like `format = \"hosts\"`"), "{refusal}");
    assert!(matches!(read(&spec, "<!doctype html>\n<p>404"), Err(Refusal::Html)));
    assert!(matches!(read(&spec, ""), Err(Refusal::Empty)));
    assert_eq!(read(&spec, "# emptied\n").expect("a comment is enough").rules.len(), 0);
}

#[test]
fn undecodable_bytes_cost_their_entry_only() {
    let spec = spec(Format::Domains);
    let parsed = parse(&spec, &"x".into(), b"a.example\nb\xff.example\nc.example # \xff\n").expect("a list");
    assert_eq!(rules(&parsed), ["1 a.example", "3 c.example"]);
    assert_eq!(rejected(&parsed), ["2:2 b\u{fffd}.example"]);
    let utf16: Vec<u8> = "\u{feff}a.example\r\nбиржа.рф\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let parsed = parse(&spec, &"x".into(), &utf16).expect("a list");
    assert_eq!(rules(&parsed), ["1 a.example", "2 xn--80abph4b.xn--p1ai"]);
    let spec = Spec { encoding: Encoding::Windows1251, ..spec };
    let parsed = parse(&spec, &"x".into(), b"\xe1\xe8\xf0\xe6\xe0.\xf0\xf4\n").expect("a list");
    assert_eq!(rules(&parsed), ["1 xn--80abph4b.xn--p1ai"]);
}

#[test]
fn a_line_of_megabytes_is_one_short_rejection() {
    for format in [Format::Domains, Format::Adblock, Format::Dnsmasq, Format::Rpz] {
        let filler = if format == Format::Rpz { "owner.example CNAME . ( " } else { "x.y-" };
        let parsed = read(&spec(format), &filler.repeat((4 << 20) / filler.len()));
        let Err(Refusal::TooManyRejected { report, .. }) = parsed else { panic!("{format}: {parsed:?}") };
        assert_eq!(report.rejected, 1, "{format}");
        assert!(report.rejections.iter().all(|r| r.entry.chars().count() <= 80), "{format}");
    }
    let many = format!("0.0.0.0 {}", "com ".repeat(1 << 20));
    let Err(Refusal::TooManyRejected { report, .. }) = read(&spec(Format::Hosts), &many) else { panic!("not refused") };
    assert_eq!((report.rejected, report.rejections.len()), (1 << 20, crate::list::MAX_SHOWN));
}
