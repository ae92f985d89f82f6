//! What is fuzzed: one plain function a target. `fuzz_targets/` hands them libFuzzer's inputs,
//! `tests/fuzz_smoke.rs` the committed corpus and mutations of it, on stable.
//!
//! A target panics on what must never be; every input is allowed to be refused.

use std::path::PathBuf;

use qalqan::list::{Format, Spec, Urls, parse};
use qalqan::rule::Role;

/// A target's name, which is its folder in `fuzz/corpus` too, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target. A new one (`wire`, say) gets its function below, a line here, a file in
/// `fuzz_targets/` with its `[[bin]]`, and a folder in `corpus/`.
pub const ALL: [Target; 8] = [
    ("auto", auto),
    ("domains", domains),
    ("hosts", hosts),
    ("adblock", adblock),
    ("dnsmasq", dnsmasq),
    ("rpz", rpz),
    ("orders", orders),
    ("csv", csv),
];

/// `format = "auto"`
pub fn auto(data: &[u8]) {
    list(Format::Auto, data);
}

/// `format = "domains"`
pub fn domains(data: &[u8]) {
    list(Format::Domains, data);
}

/// `format = "hosts"`
pub fn hosts(data: &[u8]) {
    list(Format::Hosts, data);
}

/// `format = "adblock"`
pub fn adblock(data: &[u8]) {
    list(Format::Adblock, data);
}

/// `format = "dnsmasq"`
pub fn dnsmasq(data: &[u8]) {
    list(Format::Dnsmasq, data);
}

/// `format = "rpz"`
pub fn rpz(data: &[u8]) {
    list(Format::Rpz, data);
}

/// `format = "orders"`
pub fn orders(data: &[u8]) {
    list(Format::Orders, data);
}

/// `format = "csv"`
pub fn csv(data: &[u8]) {
    list(Format::Csv, data);
}

/// Parses with the settings that take the most different ways, and checks what holds for every result.
fn list(format: Format, data: &[u8]) {
    for (role, urls) in [(Role::Block, Urls::Host), (Role::Allow, Urls::Reject)] {
        let plain = Spec::new("fuzz", PathBuf::from("fuzz"), format);
        let spec = Spec { role, urls, max_rejected: 10_000, ..plain };
        let report = match parse(&spec, &"fuzz".into(), data) {
            Ok(parsed) => {
                assert_eq!(parsed.rules.len() as u64, parsed.report.entries);
                assert!(parsed.rules.iter().all(|rule| rule.line > 0 && rule.name.len() > 1), "a rule for the root");
                Some(parsed.report)
            }
            Err(refusal) => {
                assert!(!refusal.to_string().is_empty());
                refusal.report().cloned()
            }
        };
        for rejection in report.iter().flat_map(|report| &report.rejections) {
            assert!(rejection.line > 0 && rejection.column > 0 && rejection.entry.chars().count() <= 80);
            assert!(!rejection.entry.contains(char::is_control), "a control character in a report");
        }
    }
}
