//! The real lists, where they are: their entry counts are known.

use std::fs;
use std::path::Path;

use super::*;

/// A real list's bytes; `None`, said aloud, where the lists are absent.
fn real(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var("QALQAN_SHARED_LISTS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/lists").to_owned());
    let bytes = fs::read(Path::new(&folder).join(name)).ok();
    if bytes.is_none() {
        eprintln!("skipped: {name} is not here (QALQAN_SHARED_LISTS names the folder)");
    }
    bytes
}

#[test]
fn real_lists_hold_what_they_are_known_to_hold() {
    for (name, format, entries, rejected) in [
        ("blp-crypto.hosts.txt", Format::Hosts, 1_274, 0),
        ("blp-phishing.plain.txt", Format::Domains, 190_215, 0),
        ("blp-redirect.adblock.txt", Format::Adblock, 108_685, 0),
        ("blp-redirect.dnsmasq.conf", Format::Dnsmasq, 108_685, 0),
        ("ummeegge-anudeep.rpz", Format::Rpz, 84_696, 0),
        ("top-opendns-10k.txt", Format::Domains, 10_000, 0),
    ] {
        let Some(bytes) = real(name) else { continue };
        let parsed =
            parse(&spec(Format::Auto), &name.into(), &bytes).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let report = &parsed.report;
        let found = (report.format, report.entries, report.rejected);
        assert_eq!(found, (Some(format), entries, rejected), "{name}: {:?}", report.rejections);
    }
}
