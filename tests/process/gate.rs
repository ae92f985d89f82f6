//! Bad lists against a running server: what is held, what stays, what comes back.

use std::fs;

use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup, eventually, repository};

/// What the mock says.
const FREE: &str = "198.51.100.7";

/// Entries `n0.example`, `n1.example`, …
fn many(count: usize) -> String {
    (0..count).map(|number| format!("n{number}.example\n")).collect()
}

/// Decisions as they stand in `state_dir`.
fn decisions(decided: &[(&str, &str)]) -> String {
    let one = |(subject, verdict): &(&str, &str)| {
        format!(
            "{{\"list\": \"feed\", {subject}, \"verdict\": \"{verdict}\", \"by\": \"test\", \"reason\": \"ordered\", \
             \"time\": \"2026-01-01T00:00:00Z\"}}"
        )
    };
    let all: Vec<String> = decided.iter().map(one).collect();
    format!("{{\"format\": 1, \"decisions\": [{}]}}", all.join(", "))
}

#[test]
fn a_popular_name_is_held_released_and_stays_so() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("top.csv", "1,medium.com\n2,bitcoin.org\n");
    folder.write("feed.txt", "evil.example\nmedium.com\nbitcoin.org\nmyshopify.com\nus.com\n");
    let rank = "[gate.popular]\nfile = \"top.csv\"\n[reload]\nquiet = \"100ms\"\n";
    let setup = Setup::new(mock.address()).list("feed", "feed.txt", "").more(rank);
    let mut server = Server::start(&folder, &setup);
    let held = ["medium.com", "www.medium.com", "bitcoin.org", "shop.myshopify.com", "example.us.com"];
    assert!(server.a("evil.example").is_address("0.0.0.0"));
    for name in held {
        assert!(server.a(name).is_address(FREE), "{name}: {}", server.stderr());
    }
    server.says("4 entries are held and not enforced, e.g. medium.com (feed.txt:2): its domain is number 1 in top.csv");
    // Decided by a file in state_dir: in force at once, without a word to the server.
    let decided = [("\"pattern\": \"medium.com\"", "released"), ("\"pattern\": \"us.com\"", "dismissed")];
    folder.replace("state/decisions.json", decisions(&decided));
    server.blocks("www.medium.com");
    for name in ["bitcoin.org", "example.us.com"] {
        assert!(server.a(name).is_address(FREE), "{name}");
    }
    server.says("2 entries are held and not enforced, e.g. bitcoin.org");
    for round in 0..2 {
        folder.replace(
            "feed.txt",
            format!("evil.example\nv{round}.example\nmedium.com\nbitcoin.org\nmyshopify.com\nus.com\n"),
        );
        server.blocks(&format!("v{round}.example"));
        assert!(server.a("medium.com").is_address("0.0.0.0") && server.a("us.com").is_address(FREE));
        server.stop();
        server = Server::start(&folder, &setup);
        assert!(server.a("medium.com").is_address("0.0.0.0"), "{}", server.stderr());
    }
}

#[test]
fn a_check_that_is_off_or_lives_on_old_files_is_shown_where_operators_look() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("feed.txt", "evil.example\nmedium.com\n");
    let rank = "[gate.popular]\nfile = \"top.csv\"\n[reload]\nquiet = \"100ms\"\n";
    let server = Server::start(&folder, &Setup::new(mock.address()).list("feed", "feed.txt", "").more(rank));
    let shows = |code: i32, text: &str| {
        let shown = || {
            let ran = server.run(&["lists"]);
            ran.code == Some(code) && ran.stdout.contains(text)
        };
        eventually(text, shown, || server.stderr());
    };
    shows(1, "THE CHECK FOR POPULAR NAMES IS OFF until it can be read");
    folder.write("top.csv", "1,medium.com\n");
    shows(0, "current");
    folder.replace("top.csv", "<html>404</html>\n");
    shows(1, "cannot use the rank list top.csv: no name in it");
    folder.replace("top.csv", "1,medium.com\n");
    shows(0, "current");
    // A decisions file of a later version: the server goes on with what it read, and does not claim otherwise.
    folder.replace("state/decisions.json", decisions(&[("\"pattern\": \"medium.com\"", "released")]));
    server.blocks("medium.com");
    folder.replace("state/decisions.json", "{\"format\": 2, \"decisions\": [{\"about\": \"x\"}]}");
    shows(1, "it is of format 2, which another version of qalqan wrote");
    let ran = server.run(&["lists"]);
    assert!(ran.stdout.contains("what was read of it before stays in use"), "{ran:?}");
    let ran = server.run(&["undecide", "feed", "medium.com"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("nothing can be decided"), "{ran:?}");
    assert!(server.a("medium.com").is_address("0.0.0.0"));
}

#[test]
fn a_check_that_is_switched_on_takes_back_aloud() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("feed.txt", "evil.example\na.gov.kz\n");
    let setup = || Setup::new(mock.address()).list("feed", "feed.txt", "");
    let server = Server::start(&folder, &setup().more("[reload]\nquiet = \"100ms\"\n"));
    assert!(server.a("a.gov.kz").is_address("0.0.0.0"));
    let never = setup().more("[reload]\nquiet = \"100ms\"\n[gate]\nnever_block = [\"gov.kz\"]\n");
    let listen: Vec<String> = server.udp.iter().map(|address| format!("\"{address}\"")).collect();
    folder.replace("config.toml", never.listen(&format!("[{}]", listen.join(", "))).text());
    server.comes_to("a.gov.kz", FREE);
    server.says("1 entry was enforced until now and held from now on");
    server.says("it would block gov.kz, which stands in never_block in [gate]");
    assert!(server.a("evil.example").is_address("0.0.0.0"));
}

#[test]
fn a_list_that_changes_too_much_stays_as_it_was_over_restarts() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("feed.txt", many(1_000));
    let setup = Setup::new(mock.address()).list("feed", "feed.txt", "").more("[reload]\nquiet = \"100ms\"\n");
    let server = Server::start(&folder, &setup);
    folder.replace("feed.txt", many(10_000));
    server.says("it would grow from 1000 to 10000 entries at once (`max_growth` is 100%)");
    assert!(server.a("n5.example").is_address("0.0.0.0") && server.a("n5000.example").is_address(FREE));
    folder.replace("feed.txt", many(400));
    server.says("it would shrink from 1000 to 400 entries at once");
    server.stop();
    let server = Server::start(&folder, &setup);
    assert!(server.a("n999.example").is_address("0.0.0.0"), "{}", server.stderr());
    // The operator accepts this one version, told by the hash an officer can recompute.
    server.says("`qalqan release feed --whole`, sha256 ");
    let said = server.stderr();
    let version = said.split("sha256 ").nth(1).and_then(|rest| rest.split(')').next()).expect("a hash").to_owned();
    folder.replace("state/decisions.json", decisions(&[(&format!("\"version\": \"{version}\""), "released")]));
    server.comes_to("n999.example", FREE);
    assert!(server.a("n399.example").is_address("0.0.0.0"));
    // Pages and empty files are refused one by one, as before.
    for bad in ["<!DOCTYPE html>\n<html><body>404</body></html>\n", ""] {
        folder.replace("feed.txt", bad);
        server.says(if bad.is_empty() { "the file is empty" } else { "a web page, not a list" });
        assert!(server.a("n399.example").is_address("0.0.0.0"));
    }
}

#[test]
fn decisions_that_cannot_be_read_are_told_and_left_alone() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("feed.txt", "evil.example\nus.com\n");
    folder.write("state/decisions.json", "half a file");
    let setup = Setup::new(mock.address()).list("feed", "feed.txt", "");
    let server = Server::start(&folder, &setup);
    server.says("cannot read the decisions about held entries");
    assert!(server.a("evil.example").is_address("0.0.0.0") && server.a("us.com").is_address(FREE));
    server.stop();
    assert_eq!(folder.read("state/decisions.json"), "half a file");
}

#[test]
fn traps_of_real_lists_are_told_apart() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    let good: String = (0..100).map(|number| format!("g{number}.example\nwww.g{number}.example\n")).collect();
    let traps = "https://drive.google.com/file/1\n0.0.0.0adminer.com\n10.0.0.1\nби\u{ad}ржа.example\ng1.example\n";
    folder.write("feed.txt", format!("{good}{traps}"));
    folder.write(
        "zone.rpz",
        "$TTL 60\n@ SOA ns.example. a.example. 99999999999 1 1 1 60\nr.example CNAME .\n*.com CNAME .\nus.com CNAME rpz-passthru.\n",
    );
    let setup =
        Setup::new(mock.address()).list("feed", "feed.txt", "format = \"domains\"").list("zone", "zone.rpz", "");
    let server = Server::start(&folder, &setup);
    for name in ["g1.example", "www.g1.example", "xn--80abph4b.example"] {
        assert!(server.a(name).is_address("0.0.0.0"), "{name}");
    }
    assert_eq!(server.a("r.example").rcode, 3);
    for name in ["drive.google.com", "google.com", "adminer.com", "example.com", "us.com"] {
        assert!(server.a(name).is_address(FREE), "{name}");
    }
    for said in [
        "feed.txt:201:1: not a name: a URL",
        "feed.txt:202:1: ",
        "feed.txt:203:1: ",
        "serial is not a number of 32 bits",
    ] {
        server.says(said);
    }
    server.says("1 entry is held and not enforced, e.g. *.com (zone.rpz:4): a top-level domain");
}

#[test]
fn a_real_rank_list_holds_the_real_traps() {
    let shared =
        std::env::var_os("QALQAN_SHARED_LISTS").map_or_else(|| repository().join("../shared/lists"), Into::into);
    let Ok(ranks) = fs::read(shared.join("top-opendns-10k.txt")) else {
        eprintln!("skipped: no real rank list here (QALQAN_SHARED_LISTS names its folder)");
        return;
    };
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("top.txt", ranks);
    folder.write("feed.txt", "google.com\ndrive.google.com\nwikipedia.org\nreally-nobody-knows-this.example\n");
    let setup = Setup::new(mock.address()).list("feed", "feed.txt", "").more("[gate.popular]\nfile = \"top.txt\"\n");
    let server = Server::start(&folder, &setup);
    for name in ["google.com", "drive.google.com", "wikipedia.org"] {
        assert!(server.a(name).is_address(FREE), "{name}: {}", server.stderr());
    }
    assert!(server.a("really-nobody-knows-this.example").is_address("0.0.0.0"));
    server.says("3 entries are held and not enforced, e.g. google.com (feed.txt:1): its domain is number 1 in top.txt");
}
