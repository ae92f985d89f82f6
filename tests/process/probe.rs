//! `qalqan probe` against servers of ours, somebody else's, and none.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::mock::{Asked, Mock, Say, dead_address};
use crate::support::server::{Folder, Server, Setup, binary};

/// What came of a run.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// The receipt printed with `--json`.
    fn receipt(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", self.stdout, self.stderr))
    }
}

/// Runs `qalqan probe` in the folder.
fn probe(folder: &Folder, args: &[&str]) -> Ran {
    probe_with(folder, args, "")
}

/// The same, with something on standard input.
fn probe_with(folder: &Folder, args: &[&str], input: &str) -> Ran {
    let mut command = binary(folder);
    command.arg("probe").args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // One that does not want it has closed it already.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A folder with a configuration of one list, and no server.
fn listed(names: &str) -> Arc<Folder> {
    let folder = Folder::new();
    folder.write("list.txt", names);
    folder.write("config.toml", Setup::new(dead_address()).list("list", "list.txt", "").text());
    folder
}

/// Somebody's resolver: `localhost` and `free.example` have addresses, all else is for the script.
fn foreign(script: impl Fn(&Asked) -> Say + Send + Sync + 'static) -> Mock {
    Mock::start(move |asked| match asked.name.as_str() {
        "localhost" => Say::A([127, 0, 0, 1]),
        "free.example" => Say::A([198, 51, 100, 7]),
        _ => script(asked),
    })
}

/// `--server` and what else.
fn args<'a>(server: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--server", server][..], more].concat()
}

/// SHA-256 in hex.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest a receipt should have: of itself without it, keys sorted, no blanks.
fn digest(receipt: &Value) -> String {
    let mut rest = receipt.clone();
    rest.as_object_mut().expect("an object").remove("sha256");
    // serde_json sorts keys, as long as nobody turns that off.
    sha256(rest.to_string().as_bytes())
}

#[test]
fn everything_a_server_enforces_is_found_blocked() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("plain.txt", "a.example\n=b.example\n*.c.example\nok.example\na.example\nхолод.example\n");
    folder.write("allow.txt", "ok.example\n");
    folder.write("zone.rpz", "$TTL 60\n@ SOA a. b. 1 1 1 1 1\n@ NS a.\nz.example CNAME .\nl.example A 192.0.2.9\n");
    let mut setup = Setup::new(mock.address())
        .list("plain", "plain.txt", "")
        .list("zone", "zone.rpz", "")
        .list("allow", "allow.txt", "role = \"allow\"")
        .list("watched", "shadow.txt", "mode = \"shadow\"");
    folder.write("shadow.txt", "shadow.example\n");
    for mode in ["nxdomain", "nodata", "refused", "drop", "cname"] {
        folder.write(&format!("{mode}.txt"), format!("{mode}.example\n"));
        let cname = if mode == "cname" { ", cname = \"page.example\"" } else { "" };
        setup = setup.list(mode, &format!("{mode}.txt"), &format!("answer = {{ mode = \"{mode}\"{cname} }}"));
    }
    let server = Server::start(&folder, &setup);
    let flags = ["--transport", "both", "--timeout", "400ms", "--json", "--receipt", "receipt.json"];
    // The address is learnt from the ready file.
    let ran = probe(&folder, &flags);
    let receipt = ran.receipt();
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{receipt:#}\n{}", server.stderr());
    // plain: a, ?.a, b, ?.c, холод, ?.холод; zone: z, l; each mode: two.
    let asked = (6 + 2 + 5 * 2) * 3 * 2;
    assert_eq!(receipt["counts"]["asked"], asked, "{receipt:#}");
    assert_eq!(receipt["counts"]["as_expected"], asked);
    assert_eq!((&receipt["all_blocked"], &receipt["complete"]), (&true.into(), &true.into()));
    assert_eq!((&receipt["names"]["repeated"], &receipt["names"]["excepted"]), (&1.into(), &2.into()));
    assert_eq!(receipt["notes"]["silence_as_expected"], 2 * 3 * 2);
    // What it rests on can be recomputed with sha256sum.
    let list = &receipt["lists"][0];
    assert_eq!(list["files"][0]["sha256"], sha256(&fs::read(folder.path("plain.txt")).expect("a file")));
    assert_eq!(receipt["config"]["sha256"], sha256(folder.read("config.toml").as_bytes()));
    assert_eq!((&list["name"], &list["entries"]), (&"plain".into(), &6.into()));
    assert_eq!(receipt["sha256"], digest(&receipt));
    assert_eq!(folder.read("receipt.json"), ran.stdout);
    assert!(!fs::read_dir(folder.path("")).expect("a folder").flatten().any(|f| f.path().ends_with(".new")));
    // Shadow lists and allowed names were not asked, and no blocked name went upstream.
    let upstream: BTreeSet<String> = mock.asked().into_iter().map(|asked| asked.name).collect();
    assert_eq!(upstream, BTreeSet::from(["page.example".to_owned()]));
}

#[test]
fn a_name_the_server_does_not_have_is_named() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("old.txt", "a.example\nb.example\n");
    folder.write("new.txt", "a.example\n=missing.example\nb.example\n");
    let server = Server::start(&folder, &Setup::new(mock.address()).list("list", "old.txt", ""));
    folder.write("new.toml", Setup::new(mock.address()).list("list", "new.txt", "").text());
    let address = server.udp[0].to_string();
    let flags = args(&address, &["--config", "new.toml"]);
    let ran = probe(&folder, &flags);
    assert_eq!(ran.code, Some(1), "{} {}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("missing.example A, "), "{}", ran.stdout);
    assert!(ran.stdout.contains("got       NOERROR A 198.51.100.7"), "{}", ran.stdout);
    assert!(ran.stdout.contains("expected  NOERROR A 0.0.0.0, extended error 16 (Blocked"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("3 of 15 are not as expected\n"), "{}", ran.stdout);
    let receipt = probe(&folder, &[&flags[..], &["--json"]].concat()).receipt();
    let failed: BTreeSet<&str> =
        receipt["failures"].as_array().expect("failures").iter().filter_map(|f| f["name"].as_str()).collect();
    assert_eq!(failed, BTreeSet::from(["missing.example"]));
    assert_eq!((&receipt["counts"]["not_blocked"], &receipt["failures_total"]), (&3.into(), &3.into()));
    assert_eq!((&receipt["counts"]["as_expected"], &receipt["all_blocked"]), (&12.into(), &false.into()));
    // Only a part of the lists: then it is not asked for.
    let ran = probe(&folder, &[&flags[..], &["--list", "nothing"]].concat());
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("there is no list \"nothing\"; known are: list"), "{}", ran.stderr);
}

#[test]
fn a_block_of_another_kind_is_told_apart() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("list.txt", "=a.example\n");
    let server = Server::start(&folder, &Setup::new(mock.address()).list("list", "list.txt", ""));
    let other = "answer = { mode = \"nxdomain\" }";
    folder.write("other.toml", Setup::new(mock.address()).list("list", "list.txt", other).text());
    let address = server.udp[0].to_string();
    let flags = args(&address, &["--config", "other.toml", "--json"]);
    let ran = probe(&folder, &flags);
    let counts = &ran.receipt()["counts"];
    assert_eq!((ran.code, &counts["differently"], &counts["not_blocked"]), (Some(1), &3.into(), &0.into()));
    let ran = probe(&folder, &[&flags[..], &["--expect", "any-block"]].concat());
    assert_eq!((ran.code, &ran.receipt()["counts"]["as_expected"]), (Some(0), &3.into()));
}

#[test]
fn without_a_server_nothing_is_proved() {
    let folder = listed("a.example\n");
    let silent = Mock::start(|_| Say::Silence);
    let refusing = Mock::start(|_| Say::Rcode(ResponseCode::Refused));
    for (server, says) in
        [(dead_address(), "refused"), (silent.address(), "no answer"), (refusing.address(), "refuses")]
    {
        for transport in ["udp", "tcp"] {
            let server = server.to_string();
            let flags = args(&server, &["--timeout", "200ms", "--transport", transport, "--json"]);
            let ran = probe(&folder, &flags);
            let receipt = ran.receipt();
            assert_eq!(ran.code, Some(2), "{receipt:#}");
            assert_eq!((&receipt["complete"], &receipt["all_blocked"]), (&false.into(), &false.into()));
            assert_eq!(receipt["counts"]["asked"], 0);
            assert!(ran.stderr.contains("not all could be asked of"), "{}", ran.stderr);
            assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
        }
    }
    // Nor without names, nor when the receipt cannot be written.
    let none = listed("=a.example\n");
    none.write("allow.txt", "a.example\n");
    none.write(
        "config.toml",
        none.read("config.toml") + "[[list]]\nname=\"allow\"\nsource=\"allow.txt\"\nrole=\"allow\"\n",
    );
    let server = silent.address().to_string();
    let ran = probe(&none, &args(&server, &[]));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("there is nothing to ask: 1 name excepted"), "{}", ran.stderr);
    let ran = probe(&folder, &args(&server, &["--receipt", "no/such/folder.json"]));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("cannot write the receipt no/such/folder.json"), "{}", ran.stderr);
    let ran = probe(&folder, &args(&server, &["--max", "1"]));
    assert!(ran.stderr.contains("2 names are more than 1; ask a part with --sample N"), "{}", ran.stderr);
}

#[test]
fn a_server_that_goes_away_ends_it() {
    let folder = listed(&(0..100).map(|n| format!("=n{n}.example\n")).collect::<String>());
    // It is there when it is greeted, and once more.
    let mock = Mock::start(|asked| match asked.name.as_str() {
        "localhost" | "n0.example" if asked.before == 0 => Say::A([0, 0, 0, 0]),
        _ => Say::Silence,
    });
    let server = mock.address().to_string();
    let flags = args(&server, &["--timeout", "50ms", "--tries", "1", "--rate", "10", "--json", "--types", "A"]);
    let ran = probe(&folder, &flags);
    let receipt = ran.receipt();
    assert_eq!(ran.code, Some(2), "{receipt:#}");
    assert!(ran.stderr.contains("nothing came back for"), "{}", ran.stderr);
    assert!(receipt["counts"]["asked"].as_u64() < Some(100), "{receipt:#}");
    assert_eq!((&receipt["complete"], &receipt["counts"]["not_blocked"]), (&false.into(), &0.into()));
}

#[test]
fn a_server_that_drops_what_it_is_asked_is_asked_on() {
    let folder = listed(&(0..70).map(|n| format!("=n{n}.example\n")).collect::<String>());
    let mock = foreign(|_| Say::Silence);
    let server = mock.address().to_string();
    let flags = args(&server, &["--timeout", "50ms", "--tries", "1", "--rate", "10", "--json", "--types", "A"]);
    let ran = probe(&folder, &flags);
    let receipt = ran.receipt();
    assert_eq!((ran.code, &receipt["complete"]), (Some(1), &true.into()), "{receipt:#}\n{}", ran.stderr);
    assert_eq!(receipt["counts"]["no_answer"], 70);
}

#[test]
fn a_sample_is_the_same_with_the_same_seed() {
    let folder = listed(&(0..200).map(|n| format!("n{n}.example\n")).collect::<String>());
    let asked = |seed: &str| {
        let mock = foreign(|_| Say::Nxdomain);
        let server = mock.address().to_string();
        let more = ["--sample", "10", "--seed", seed, "--expect", "any-block", "--types", "A", "--json"];
        let ran = probe(&folder, &args(&server, &more));
        let receipt = ran.receipt();
        assert_eq!((ran.code, &receipt["counts"]["asked"]), (Some(0), &20.into()), "{receipt:#}");
        assert_eq!((&receipt["names"]["sample"], &receipt["names"]["patterns"]), (&10.into(), &200.into()));
        mock.asked().into_iter().map(|asked| asked.name).collect::<BTreeSet<_>>()
    };
    let first = asked("9");
    assert_eq!(first.len(), 21);
    assert_eq!(first, asked("9"));
    assert_ne!(first, asked("10"));
}

#[test]
fn anybodys_resolver_is_judged_by_what_a_client_gets() {
    let folder = listed(
        "=nx.example\n=nodata.example\n=refused.example\n=page.example\n=null.example\n=real.example\n=fails.example\n",
    );
    let mock = foreign(|asked| match asked.name.as_str() {
        "nodata.example" => Say::Nodata,
        "refused.example" => Say::Rcode(ResponseCode::Refused),
        "page.example" => Say::A([192, 0, 2, 80]),
        "null.example" => Say::A([0, 0, 0, 0]),
        "real.example" => Say::A([198, 51, 100, 9]),
        "fails.example" => Say::Rcode(ResponseCode::ServFail),
        _ => Say::Nxdomain,
    });
    let server = mock.address().to_string();
    let flags = args(&server, &["--expect", "any-block", "--types", "A", "--json"]);
    let failed = |ran: &Ran| -> Vec<String> {
        let receipt = ran.receipt();
        let failures = receipt["failures"].as_array().expect("failures").iter();
        failures.map(|f| f["name"].as_str().expect("a name").to_owned()).collect()
    };
    let ran = probe(&folder, &flags);
    assert_eq!((ran.code, failed(&ran).len()), (Some(1), 3), "{}", ran.stdout);
    let ran = probe(&folder, &[&flags[..], &["--sinkhole", "192.0.2.80", "--control", "free.example"]].concat());
    let names: BTreeSet<String> = failed(&ran).into_iter().collect();
    assert_eq!(names, BTreeSet::from(["real.example".to_owned(), "fails.example".to_owned()]));
    // A resolver that knows nothing would pass for one that blocks everything.
    let ran = probe(&folder, &[&flags[..], &["--control", "nowhere.example"]].concat());
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("the control name nowhere.example got NXDOMAIN"), "{}", ran.stderr);
    // Without a configuration; what is no name is told and not asked.
    let empty = Folder::new();
    let given = ["--names", "-", "--expect", "any-block", "--types", "A", "--json"];
    let ran = probe_with(&empty, &args(&server, &given), "=nx.example\nbad name!\n=nodata.example\n");
    let receipt = ran.receipt();
    assert_eq!((ran.code, &receipt["counts"]["as_expected"]), (Some(1), &2.into()), "{receipt:#}");
    assert_eq!((&receipt["names"]["rejected"], &receipt["config"]), (&1.into(), &Value::Null));
    assert!(ran.stderr.contains("-:2:"), "{}", ran.stderr);
    let ran = probe_with(&empty, &args(&server, &given), "=nx.example\n");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn what_is_lost_is_told_from_what_is_not_blocked() {
    let folder = listed("=once.example\n=never.example\n=cut.example\n=odd.example\n=broken.example\n");
    let mock = foreign(|asked| match asked.name.as_str() {
        "once.example" if asked.before == 0 => Say::Silence,
        "never.example" => Say::Silence,
        "cut.example" => Say::Truncated(Box::new(Say::Nxdomain)),
        "odd.example" => Say::OtherQuestion,
        // The right question, then half a record.
        "broken.example" => {
            let question = b"\x06broken\x07example\0\0\x01\0\x01";
            Say::Raw([&[0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], &question[..], &[0xc0, 12, 0, 1]].concat())
        }
        _ => Say::Nxdomain,
    });
    let server = mock.address().to_string();
    let more = ["--expect", "any-block", "--types", "A", "--json", "--timeout", "250ms", "--tries", "2"];
    let ran = probe(&folder, &args(&server, &more));
    let receipt = ran.receipt();
    let counts = &receipt["counts"];
    assert_eq!((ran.code, &counts["asked"], &counts["as_expected"]), (Some(1), &5.into(), &2.into()), "{receipt:#}");
    assert_eq!((&counts["no_answer"], &counts["not_blocked"]), (&2.into(), &1.into()));
    let notes = &receipt["notes"];
    // once, never and odd were asked again; odd got two wrong answers.
    assert_eq!(
        (&notes["retries"], &notes["asked_again_over_tcp"], &notes["ignored_messages"]),
        (&3.into(), &1.into(), &2.into())
    );
    assert_eq!(receipt["failures"][0]["got"], "a malformed answer");
    assert!(mock.last("cut.example").expect("asked").tcp);
}

#[test]
fn a_connection_that_is_closed_is_opened_again() {
    let folder = listed(&(0..40).map(|n| format!("=n{n}.example\n")).collect::<String>());
    let mock =
        foreign(|asked| if asked.before == 0 && asked.name == "n7.example" { Say::Close } else { Say::Nxdomain });
    let server = mock.address().to_string();
    let more = ["--expect", "any-block", "--types", "A", "--json", "--transport", "tcp"];
    let ran = probe(&folder, &args(&server, &more));
    let receipt = ran.receipt();
    assert_eq!((ran.code, &receipt["counts"]["as_expected"]), (Some(0), &40.into()), "{receipt:#}\n{}", ran.stderr);
    assert!(receipt["notes"]["retries"].as_u64() > Some(0));
    assert!(mock.asked().iter().all(|asked| asked.tcp));
}

#[test]
fn the_moment_a_name_is_blocked_is_seen() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("lists/a.txt", "a.example\n");
    let server = Server::start(&folder, &Setup::new(mock.address()).uncached().list("list", "lists", ""));
    let address: SocketAddr = server.udp[0];
    let mut command = binary(&folder);
    command.args(["probe", "--watch", "new.example", "--json", "--server", &address.to_string()]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    crate::support::server::eventually("it is asked", || mock.count("new.example") > 2, || "not yet".into());
    folder.replace("lists/b.txt", "new.example\n");
    let output = child.wait_with_output().expect("it ends");
    let watched: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &watched["blocked"]), (Some(0), &true.into()), "{watched:#}");
    assert!(watched["milliseconds"].as_u64() > watched["not_blocked_until_milliseconds"].as_u64(), "{watched:#}");
    assert!(watched["last"].as_str().expect("text").contains("0.0.0.0"), "{watched:#}");
    // One that never is.
    let ran = probe(&folder, &["--watch", "never.example", "--watch-for", "150ms"]);
    assert_eq!(ran.code, Some(1), "{} {}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("never.example A, ") && ran.stdout.contains("not blocked in time"), "{}", ran.stdout);
    let dead = dead_address().to_string();
    assert_eq!(probe(&folder, &args(&dead, &["--watch", "a.example", "--timeout", "100ms"])).code, Some(2));
}

#[test]
fn the_receipt_says_since_when_and_how_fast_the_lists_came_into_force() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    // us.com is a public suffix: the gate holds it.
    folder.write("a.txt", "=a.example\nus.com\n");
    folder.write("b.txt", "=b.example\n");
    let setup = Setup::new(mock.address()).uncached().list("a", "a.txt", "").list("b", "b.txt", "");
    let server = Server::start(&folder, &setup.more("[reload]\nquiet = \"100ms\"\n"));
    let has_version = |number: u64| {
        let there = || server.run(&["lists", "--json"]).json()["lists"][0]["version"] == number;
        crate::support::server::eventually(&format!("version {number}"), there, || server.stderr());
    };
    has_version(1);
    let receipt = probe(&folder, &["--json"]).receipt();
    assert_eq!((&receipt["names"]["held"], &receipt["names"]["excepted"]), (&2.into(), &0.into()), "{receipt:#}");
    for list in 0..2 {
        let in_force = &receipt["lists"][list]["in_force"];
        assert_eq!((&in_force["as_read"], &in_force["version"]), (&true.into(), &1.into()), "{receipt:#}");
        assert!(in_force["published"].is_string() && in_force["seen"].is_null(), "started with it: {receipt:#}");
        assert!(in_force["publish_to_enforced_ms"].is_null(), "{receipt:#}");
    }
    let since = receipt["lists"][1]["in_force"]["published"].clone();
    // From outside, and as the server says.
    let mut watch = binary(&folder);
    watch.args(["probe", "--watch", "new.example", "--json"]);
    let watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    crate::support::server::eventually("it is asked", || mock.count("new.example") > 2, || server.stderr());
    folder.replace("a.txt", "=a.example\n=new.example\n");
    let output = watch.wait_with_output().expect("it ends");
    let watched: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let (in_force, of) = (&watched["in_force"], |key: &str| watched["in_force"][key].as_u64());
    assert_eq!(in_force["list"], "a", "{watched:#}");
    // The quiet time is part of it; seen from outside it is not before the server says so, but for a millisecond.
    let took = of("publish_to_enforced_milliseconds").expect("measured");
    assert!(took >= 100 && of("seen_to_blocked_milliseconds").expect("seen") + 2 > took, "{watched:#}");
    has_version(2);
    let receipt = probe(&folder, &["--json"]).receipt();
    let (a, b) = (&receipt["lists"][0]["in_force"], &receipt["lists"][1]["in_force"]);
    assert_eq!((&a["version"], &a["publish_to_enforced_ms"]), (&2.into(), &took.into()), "{receipt:#}");
    assert_eq!((&a["seen"], &a["published"]), (&in_force["seen"], &in_force["published"]));
    assert_eq!(b["published"], since, "the other list is in force since the start");
    assert_eq!(receipt["published"]["changed"], false);
    let status = server.run(&["lists", "--json"]).json();
    assert_eq!(status["publish_to_enforced_ms"], took);
    let ran = probe(&folder, &[]);
    assert!(ran.stdout.contains("list a version 2, in force since "), "{}", ran.stdout);
    assert!(ran.stdout.contains("list b version 1, in force since "), "{}", ran.stdout);
}
