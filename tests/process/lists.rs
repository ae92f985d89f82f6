//! Real lists together, where they are, and one list of each format.

use std::fs;
use std::path::PathBuf;

use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup, repository};

/// What the mock says.
const FREE: &str = "198.51.100.7";

/// The folder of real lists; `None`, said aloud, where it is absent.
fn real() -> Option<PathBuf> {
    let folder = std::env::var_os("QALQAN_SHARED_LISTS");
    let folder = folder.map_or_else(|| repository().join("../shared/lists"), PathBuf::from);
    if folder.join("blp-phishing.plain.txt").exists() {
        return Some(folder);
    }
    eprintln!("skipped: no real lists here (QALQAN_SHARED_LISTS names their folder)");
    None
}

#[test]
fn real_lists_load_together_and_their_names_are_blocked() {
    let Some(real) = real() else { return };
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    let names = [
        "blp-crypto.hosts.txt",
        "blp-phishing.plain.txt",
        "blp-redirect.adblock.txt",
        "blp-redirect.dnsmasq.conf",
        "ummeegge-anudeep.rpz",
    ];
    let mut setup = Setup::new(mock.address());
    for name in names {
        fs::copy(real.join(name), folder.path(name)).expect("copied");
        setup = setup.list(name, name, "");
    }
    // Broken lines among thousands of good ones.
    let spoilt = "0.0.0.0 fine.example\n0.0.0.0 bad name!.example\n0.0.0.0 -\u{0}x.example\n999.0.0.1 other.example\n";
    let good: String = (0..100).map(|index| format!("0.0.0.0 g{index}.example\n")).collect();
    folder.write("spoilt.txt", format!("{spoilt}{good}"));
    let server = Server::start(&folder, &setup.list("spoilt", "spoilt.txt", "format = \"hosts\""));
    // The log follows the ready file.
    server.says("lists published");
    let said = server.stderr();
    for (name, entries) in names.iter().zip([1_274, 190_215, 108_685, 108_685, 84_696]) {
        let line = said.lines().find(|line| line.contains(&format!("list=\"{name}\""))).unwrap_or_default();
        assert!(line.contains(&format!("entries={entries} rejected=0")), "{name}: {said}");
    }
    for place in ["spoilt.txt:2:", "spoilt.txt:3:", "spoilt.txt:4:"] {
        assert!(said.contains(place), "{place}: {said}");
    }
    // hosts entries are exact, the others cover what is below; the zone says NXDOMAIN.
    assert!(server.a("1inch.io").is_address("0.0.0.0"));
    assert!(server.a("www.1inch.io").is_address(FREE));
    for name in ["0001interac.com", "www.0001interac.com", "0---0.info", "x.0---0.info", "fine.example", "g99.example"]
    {
        assert!(server.a(name).is_address("0.0.0.0"), "{name}");
    }
    for name in ["17340.engine.mobileapptracking.com", "x.17340.engine.mobileapptracking.com"] {
        assert_eq!(server.a(name).rcode, 3, "{name}");
    }
    for name in ["example.com", "interac.com", "com"] {
        assert!(server.a(name).is_address(FREE), "{name}");
    }
}

#[test]
fn one_list_of_each_format_with_its_own_meaning() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    let utf16 = |text: &str| -> Vec<u8> {
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    folder.write("domains.txt", "\u{feff}d.example # why\r\n=e.d2.example\r\n*.b.d3.example\r\nбиржа.example\r\n");
    folder.write("hosts.txt", "127.0.0.1 localhost\n0.0.0.0 h1.example h2.example\n:: h3.example\n");
    folder.write("adblock.txt", "! Title: x\n||ad.example^\n@@||good.ad.example^\n||third.example^$third-party\n");
    folder.write("dnsmasq.conf", "address=/m1.example/m2.example/0.0.0.0\nserver=/m3.example/\n");
    folder.write("utf16.txt", utf16("u1.example\r\nu2.example\r\n"));
    folder.write("register.csv", "domain;id;authority\nc1.example;77;Agency\n\"c2.example\";78;Agency\n");
    let setup = Setup::new(mock.address())
        .list("domains", "domains.txt", "")
        .list("hosts", "hosts.txt", "")
        .list("adblock", "adblock.txt", "max_rejected = \"50%\"")
        .list("dnsmasq", "dnsmasq.conf", "")
        .list("utf16", "utf16.txt", "")
        .list("csv", "register.csv", "format = \"csv\"");
    let server = Server::start(&folder, &setup);
    let blocked = "d.example x.d.example e.d2.example x.b.d3.example xn--80abph4b.example h1.example h2.example h3.example \
                   ad.example x.ad.example m1.example x.m2.example m3.example u1.example u2.example c1.example x.c2.example";
    for name in blocked.split_whitespace() {
        let reply = server.a(name);
        assert!(reply.is_address("0.0.0.0"), "{name}: {reply:?}\n{}", server.stderr());
    }
    let free =
        "x.e.d2.example d2.example b.d3.example x.h1.example good.ad.example x.good.ad.example third.example example";
    for name in free.split_whitespace() {
        let reply = server.a(name);
        assert!(reply.is_address(FREE), "{name}: {reply:?}\n{}", server.stderr());
    }
    // What is not supported is told.
    server.says("adblock.txt:4:");
    let reply = server.ask(&crate::support::client::Ask::new("c1.example", 1).edns());
    assert_eq!(reply.ede(), Some((16, "Blocked by order 77 of Agency".into())), "{reply:?}");
}
