//! What no input may break, and the stupid twin of the domain parser.

use proptest::prelude::*;

use super::*;
use crate::list::{FileReport, MAX_SHOWN};
use crate::name::Name;

/// All formats.
const FORMATS: [Format; 9] = [
    Format::Auto,
    Format::Domains,
    Format::Hosts,
    Format::Adblock,
    Format::Dnsmasq,
    Format::Rpz,
    Format::Orders,
    Format::Csv,
    Format::Json,
];

/// Bytes that are interesting to some format.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "a.example", "com", "*.", "=", ".", "||", "^", "@@", "$important", "address=/", "server=/", "/", "#", "0.0.0.0 ",
            "::1 ", "CNAME ", "SOA ", "TXT ", "HTTPS 1 . ", "alpn=", "IN ", "300 ", "$ORIGIN ", "$TTL ", "@ ", "(", ")", "\"", "\\",
            "\\065", ";", ",", "\t", " ", "\n", "\r\n", "\r", "domain,order\n", "id = \"1\"\n", "authority = 'x'\n",
            "domains = [\"a.example\"]\n", "биржа.рф", "\u{ad}", "\u{feff}", "\0", "xn--", "https://", "1.2.3.4", "rpz-ip ", "[", "]", "{\"domain\": ", "\"a.example\"", "\"scope\": \"exact\"", "}",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// The numbers of a report fit each other.
fn adds_up(report: &FileReport) -> Result<(), TestCaseError> {
    let sum = report.entries + report.skipped + report.rejected;
    match report.format {
        Some(Format::Domains | Format::Adblock | Format::Orders | Format::Csv) => prop_assert_eq!(sum, report.lines),
        // Several names a line.
        Some(Format::Hosts | Format::Dnsmasq | Format::Json) => prop_assert!(sum >= report.lines),
        // Several records a rule.
        Some(Format::Rpz) => prop_assert!(sum <= report.lines),
        Some(Format::Auto) | None => prop_assert!(false, "a report names its format"),
    }
    prop_assert_eq!(report.rejections.len() as u64, report.rejected.min(MAX_SHOWN as u64));
    for rejection in &report.rejections {
        prop_assert!(rejection.line > 0 && rejection.column > 0 && rejection.entry.chars().count() <= 80);
        prop_assert!(!rejection.entry.contains(char::is_control) && !rejection.reason.contains(char::is_control));
    }
    Ok(())
}

/// One name a line, without any of the quick ways.
fn twin(text: &str) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let name = line.split('#').next().unwrap_or_default().trim();
        let (scope, name) = match (name.strip_prefix('='), name.strip_prefix("*.")) {
            (Some(rest), _) => ("=", rest),
            (None, Some(rest)) => ("*.", rest),
            (None, None) => ("", name),
        };
        if let Ok(parsed) = Name::parse(name)
            && (parsed.labels().count() > 1 || name.ends_with('.'))
        {
            found.push((index as u32 + 1, format!("{scope}{parsed}")));
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_give_rules_or_a_reason(bytes in pieces()) {
        for format in FORMATS {
            for urls in [crate::list::Urls::Reject, crate::list::Urls::Host] {
                let spec = Spec { max_rejected: 10_000, urls, ..spec(format) };
                match parse(&spec, &"x".into(), &bytes) {
                    Ok(parsed) => {
                        adds_up(&parsed.report)?;
                        prop_assert_eq!(parsed.rules.len() as u64, parsed.report.entries);
                        for rule in parsed.rules.iter() {
                            prop_assert!(rule.line > 0 && rule.name().label_count() > 0, "the root is never a rule");
                            prop_assert!(Name::from_wire(rule.name().wire()).is_some());
                        }
                    }
                    Err(refusal) => {
                        prop_assert!(!refusal.to_string().is_empty());
                        if let Some(report) = refusal.report() {
                            adds_up(report)?;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn domains_are_what_the_stupid_twin_reads(
        lines in prop::collection::vec("[=*]?[.]?[a-c]{0,3}[.]?[a-cA-C_-]{0,3}[.]?[ ]?(#[a-z ]{0,3})?", 1..30)
    ) {
        let text = format!("ok.example\n{}", lines.join("\n"));
        let parsed = lenient(Format::Domains, &text);
        // `.name` is the one mark the twin does not know.
        let plain = text.lines().map(|line| line.strip_prefix('.').unwrap_or(line)).collect::<Vec<_>>().join("\n");
        let expected: Vec<String> = twin(&plain).into_iter().map(|(line, name)| format!("{line} {name}")).collect();
        prop_assert_eq!(rules(&parsed), expected);
    }
}
