//! The shipped files, the documentation, and what an operator is told about mistakes.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::reader::Key;
use super::*;
use crate::hits::Clients;
use crate::list::Urls;
use crate::policy::AnswerMode;
use crate::rule::Role;
use crate::upstream::Server;
use crate::util::UnixTime;

/// The shipped files, as in the repository.
const SHIPPED: &str = include_str!("../../config.toml");
const DOCUMENTED: &str = include_str!("../../docs/configuration.md");

/// Settings of a text that must be good.
pub(super) fn good(text: &str) -> Settings {
    match parse(text, Path::new("etc/config.toml")) {
        Ok(settings) => settings,
        Err(problems) => panic!("{problems}"),
    }
}

/// Problems of a text that must be bad, without the file's name.
pub(super) fn bad(text: &str) -> Vec<String> {
    let problems = parse(text, Path::new("c")).expect_err("this must not be accepted");
    problems.shown().iter().map(|p| format!("{}:{}: {}", p.line, p.column, p.message)).collect()
}

/// The shipped file with every optional key set: lines that start with `#` and no space.
fn everything_set() -> String {
    let set = |line: &str| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => format!("{key}\n"),
        _ => format!("{line}\n"),
    };
    SHIPPED.lines().map(set).collect()
}

/// Every key the reader asks for, and every key `text` has.
fn keys(text: &str) -> (Vec<Key>, Vec<Key>) {
    let sink = Sink::default();
    let document = DeTable::parse(text).expect("TOML");
    let _ = read(Table::top(&sink, document.get_ref()), Path::new("c"));
    let (asked, found) = sink.keys();
    (asked.into_iter().collect(), found.into_iter().collect())
}

#[test]
fn the_shipped_file_is_the_defaults_and_two_lists() {
    let mut shipped = good(SHIPPED);
    let lists = std::mem::take(&mut shipped.lists);
    assert_eq!(shipped, good(""));
    let [orders, allow] = &lists[..] else { panic!("two lists, not {}", lists.len()) };
    let minimal = "[[list]]\nname = \"orders\"\nsource = \"blocklists/orders\"";
    assert_eq!(*orders, good(minimal).lists[0]);
    assert_eq!((allow.spec.name.as_str(), allow.spec.role), ("allow", Role::Allow));
    for list in lists {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&list.spec.shown);
        assert!(path.exists(), "{} is not shipped", path.display());
    }
}

#[test]
fn the_defaults_are_what_the_design_says() {
    let settings = good("");
    assert_eq!(settings.state_dir, Path::new("etc/state"));
    assert_eq!(settings.server.listen, ["127.0.0.1:5353".parse().expect("an address")]);
    assert_eq!(settings.limit.allow_from.len(), 8);
    assert_eq!(settings.server.ready_file, None);
    assert_eq!(settings.upstream.servers, [Server::System]);
    assert_eq!(settings.upstream.timeout, Duration::from_secs(2));
    assert_eq!((settings.answer.mode, settings.answer.ttl, settings.answer.ede), (AnswerMode::Sinkhole, 30, Some(16)));
    assert_eq!(settings.hits.file.as_deref(), Some(Path::new("etc/hits.jsonl")));
    assert_eq!(settings.hits.clients, Clients::Truncate);
    assert!(!settings.start_without_lists && settings.lists.is_empty());
    assert!(settings.reload.quiet < Duration::from_millis(500), "a list must be in force within a second");
}

#[test]
fn the_installed_file_is_good() {
    let text = include_str!("../../systemd/config.toml");
    let settings = parse(text, Path::new("/etc/qalqan/config.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(settings.state_dir, Path::new("/var/lib/qalqan"));
    assert_eq!(settings.lists[0].spec.source, Path::new("/etc/qalqan/blocklists/orders"));
    // The service sees no other folders it could write to.
    let unit = include_str!("../../systemd/qalqan.service");
    for directory in ["StateDirectory=qalqan", "LogsDirectory=qalqan", "RuntimeDirectory=qalqan"] {
        assert!(unit.contains(directory), "{directory}");
    }
}

#[test]
fn every_key_stands_in_the_shipped_file() {
    let text = everything_set();
    if let Err(problems) = parse(&text, Path::new("config.toml")) {
        panic!("with every optional key set, the shipped file has {problems}");
    }
    let (asked, found) = keys(&text);
    let missing: Vec<_> = asked.iter().filter(|key| !found.contains(key)).collect();
    assert!(missing.is_empty(), "not in config.toml: {missing:?}");
    assert!(asked.len() > 60, "the reader asked for {} keys only", asked.len());
}

#[test]
fn every_key_is_documented_with_its_default() {
    // Section → rows of the tables under its heading.
    let mut rows: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut section = String::new();
    for line in DOCUMENTED.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let named = heading.split('`').nth(1).unwrap_or("");
            section = named.trim_matches(['[', ']']).to_owned();
        } else if line.starts_with("| `") {
            rows.entry(section.clone()).or_default().push(line);
        }
    }
    let row = |section: &str, key: &str| {
        let start = format!("| `{key}` |");
        rows.get(section).and_then(|rows| rows.iter().find(|row| row.starts_with(&start)))
    };
    let (asked, _) = keys("");
    let (with_lists, _) = keys(&everything_set());
    let sections: Vec<String> = with_lists.iter().map(|(section, _)| section.clone()).collect();
    for (section, key) in asked.iter().chain(&with_lists) {
        let below = if section.is_empty() { (*key).to_owned() } else { format!("{section}.{key}") };
        // The answer of a list has the keys of [answer], and its section is a key as well.
        if sections.contains(&below)
            || section == "list.answer"
            || section == "clients.answer"
            || below == "local.hosts"
        {
            continue;
        }
        assert!(row(section, key).is_some(), "docs/configuration.md has no row for `{key}` under `[{section}]`");
    }
    // Values set in the shipped file are the defaults; the table must say the same.
    let mut section = String::new();
    let mut seen = Vec::new();
    for line in SHIPPED.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            // The second [[list]] is a sample, not a set of defaults.
            if seen.contains(&(section.clone(), key)) || (section == "list" && matches!(key, "name" | "source")) {
                continue;
            }
            seen.push((section.clone(), key));
            let row = row(&section, key).unwrap_or_else(|| panic!("no row for `{key}` in [{section}]"));
            assert!(row.contains(&format!("| `{value}` |")), "default of `{key}` in [{section}]: {row}");
        }
    }
    assert!(seen.len() > 30);
}

#[test]
fn all_problems_are_told_at_once_with_their_place() {
    let found = bad(concat!(
        "state_dri = \"x\"\n",
        "[server]\n",
        "lsiten = [\"127.0.0.1:53\"]\n",
        "workers = \"4\"\n",
        "allow_from = [\"10.0.0.0/8\", \"10.0.0.1/8\"]\n",
        "[answer]\n",
        "mode = \"sinkhol\"\n",
        "text = \"by {oder}\"\n",
        "[upstream]\n",
        "timeout = \"2x\"\n",
        "servers = []\n",
        "[cash]\n",
        "size = \"64MiB\"\n",
        "[reload]\n",
        "rescan = \"1ms\"\n",
        "quiet = 5\n",
    ));
    assert_eq!(
        found,
        [
            "1:1: unknown key \"state_dri\"; perhaps \"state_dir\" is meant; known are: state_dir, start_without_lists, \
             server, tls, upstream, cache, local, zone, answer, gate, list, clients, hits, stats, stream, history, reload, orders, \
             admin",
            "3:1: unknown key \"lsiten\" in [server]; perhaps \"listen\" is meant; known are: listen, allow_from, workers, \
             pin, ready_file, proxy_from, tcp, cookies, require_cookies, cookie_secret_file, nsid, identity, version",
            "4:11: [server] workers = \"4\": expected a whole number, found a text",
            "5:29: [server] allow_from = \"10.0.0.1/8\": bits are set behind the prefix",
            "7:8: [answer] mode = \"sinkhol\": not known; perhaps \"sinkhole\" is meant; choices are \"sinkhole\", \
             \"nxdomain\", \"nodata\", \"refused\", \"drop\", \"cname\"",
            "8:8: [answer] text = \"by {oder}\": {oder} is not known; choices are {order}, {authority}, {list}, \
             {legal_basis}, {reference}",
            "10:11: [upstream] timeout = \"2x\": not a duration; write a whole number and a unit: 500ms, 2s, 5m, 1h, 7d",
            "11:11: [upstream] servers = […]: at least 1 is needed",
            "12:2: unknown section \"cash\"; perhaps \"cache\" is meant; known are: state_dir, \
             start_without_lists, server, tls, upstream, cache, local, zone, answer, gate, list, clients, hits, stats, stream, history, reload, orders, \
             admin",
            "15:10: [reload] rescan = \"1ms\": must be from 1s to 1d",
            "16:9: [reload] quiet = 5: expected a text in quotes, found a whole number",
        ]
    );
}

#[test]
fn lists_are_checked_one_by_one() {
    let found = bad(concat!(
        "[[list]]\n",
        "name = \"a\"\n",
        "source = \"ftp://lists.example/a.txt\"\n",
        "[[list]]\n",
        "name = \"a\"\n",
        "source = \"a.txt\"\n",
        "max_rejected = 5\n",
        "answer = \"cname\"\n",
        "[[list]]\n",
        "role = \"allow\"\n",
        "answer = \"nxdomain\"\n",
        "format = \"hosts\"\n",
        "columns = { domain = \"x\" }\n",
        "order = { id = \"1\", issued = 2025-01-05T00:00:00, expires = \"soon\" }\n",
    ));
    let starts = [
        "3:10: [[list]] source = \"ftp://lists.example/a.txt\": lists are fetched by https://",
        "5:8: [[list]] name = \"a\": another list has this name",
        "7:16: [[list]] max_rejected = 5: expected a text in quotes",
        "8:10: [[list]] answer = \"cname\": needs a target",
        "9:1: [[list]]: `name` is missing; write it like name = \"orders\"",
        "9:1: [[list]]: `source` is missing",
        "11:10: [[list]] answer = \"nxdomain\": an allow list blocks nothing",
        "13:11: [list.columns]: columns are only for format = \"csv\" and \"json\"",
        "14:9: [list.order]: `authority` is missing",
        "14:30: [list.order] issued = 2025-01-05T00:00:00: a time of day needs its offset",
        "14:61: [list.order] expires = \"soon\": not a date",
    ];
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}\nshould start with\n{start}");
    }
    assert_eq!(found.len(), starts.len(), "{found:#?}");
}

#[test]
fn mistakes_have_texts_that_help() {
    for (text, place, says) in [
        ("[server]\nlisten = [\"127.0.0.1\"]", "2:11", "the port is missing"),
        ("[server]\nlisten = \"127.0.0.1:53\"", "2:10", "expected a list of texts"),
        ("[server]\nlisten = [\"[::1]:53\", \"[::1]:53\"]", "2:23", "stands here twice"),
        ("[server]\nallow_from = []", "2:14", "at least 1 is needed"),
        ("[server]\nworkers = -1", "2:11", "must be from 0 to 256"),
        ("server = 5", "1:10", "server = 5: expected a table"),
        ("[list]\nname = \"a\"", "1:1", "write [[list]] with two brackets"),
        ("[server.tcp]\nidle = \"1m\"\ntotal = \"1s\"", "1:1", "`total` is shorter than `idle`"),
        ("[upstream]\nservers = [\"dns.quad9.net\"]", "2:12", "an IP address is needed"),
        ("[upstream]\nservers = [\"tls://9.9.9.9\"]", "2:12", "not supported; choices are system"),
        ("[upstream]\nservers = [\"127.0.0.1:5353\"]", "2:12", "would ask itself"),
        ("[server]\nlisten = [\"0.0.0.0:53\"]\n[upstream]\nservers = [\"127.0.0.1\"]", "4:12", "would ask itself"),
        ("[upstream]\nmode = \"recurse\"", "2:8", "choices are \"forward\""),
        ("[[upstream.zone]]\nname = \"a.example\"", "1:1", "`servers` is missing"),
        ("[[upstream.zone]]\nname = \"a..b\"\nservers = [\"system\"]", "2:8", "not a domain name: empty label"),
        ("[local.hosts]\nrouter.lan = [\"10.0.0.1\"]", "2:1", "a name with dots needs quotes"),
        ("[local.hosts]\n\"a b\" = [\"10.0.0.1\"]", "2:9", "not a domain name"),
        ("[local.hosts]\n\"a.lan\" = [\"10.0.0\"]", "2:12", "not an address"),
        ("[local.hosts]\n\"a.lan\" = [\"10.0.0.1\"]\n\"A.lan\" = [\"10.0.0.1\"]", "", "stands here twice"),
        ("[server]\ncookies = false\nrequire_cookies = true", "1:1", "`require_cookies` demands"),
        ("[server]\nnsid = \"a\\u0000\"", "2:8", "control characters"),
        ("[local]\ncanary = [\"firefox\", \"chrome\"]", "2:22", "choices are \"firefox\", \"icloud\""),
        ("[answer]\nmode = \"cname\"", "1:1", "needs a target"),
        ("[answer]\nttl = \"500ms\"", "1:1", "whole seconds"),
        ("[answer]\nede = 65536", "2:7", "must be from 0 to 65535"),
        ("[gate]\nnever_block = [\".\"]", "2:16", "not a name"),
        ("[gate]\npublic_suffixes = \"drop\"", "2:19", "choices are \"hold\", \"enforce\""),
        ("[gate]\nmax_growth = \"double\"", "2:14", "write it like 50% or 300%"),
        ("[gate]\nmin_entries = 5\nmax_entries = 4", "1:1", "no version of a list would do"),
        ("[[stream]]\nkind = \"dnstap\"", "1:1", "`to` is missing; write it like"),
        ("[[stream]]\nto = \"-\"", "1:1", "`kind` is missing"),
        ("[[stream]]\nkind = \"dnstap\"\nto = \"-\"", "3:6", "kind = \"dnstap\" goes to unix:, tcp: or file:"),
        ("[[stream]]\nkind = \"syslog\"\nto = \"file:a\"", "3:6", "goes to unix:, tcp: or udp:"),
        ("[[stream]]\nkind = \"cef\"\nto = \"udp:siem.example:514\"", "3:6", "an IP address and a port are needed"),
        ("[[stream]]\nkind = \"cef\"\nto = \"/var/log/cef\"", "3:6", "not a place for a stream; choices are"),
        ("[[stream]]\nkind = \"json\"\nlists = [\"a\"]", "3:10", "no [[list]] of this name"),
        ("[[stream]]\nkind = \"json\"\noutcomes = [\"passed\"]", "3:13", "choices are \"blocked\", \"shadow\""),
        ("[[stream]]\nkind = \"json\"\nkeep = 3", "3:8", "keep is only for files"),
        ("[[stream]]\nkind = \"json\"\nqueue = \"1B\"", "3:9", "must be from 64KiB to 1GiB"),
        (
            "[[stream]]\nkind = \"json\"\nto = \"-\"\n[[stream]]\nkind = \"cef\"\nto = \"-\"",
            "6:6",
            "another stream goes there",
        ),
        ("[hits]\nmax_size = \"1B\"", "2:12", "must be from 1KiB to 1024GiB"),
        (
            "[[list]]\nname = \"a\"\nsource = \"a\"\nanswer = { modus = \"drop\" }",
            "4:12",
            "unknown key \"modus\" in [list.answer]; perhaps \"mode\" is meant",
        ),
        (
            "[[list]]\nname = \"a\"\nsource = \"a\"\nanswer = {}\nurl = \"host\"",
            "5:1",
            "perhaps \"urls\" is meant; known are: name, source, format, role, mode, scope, urls, max_rejected, encoding, \
             max_size, columns, order, answer, public_key, fetch, gate",
        ),
        ("a = ", "1:", "not TOML"),
        ("[server]\n[server]", "2:", "not TOML"),
        ("state_dir = \"a\\u0000b\"", "1:13", "control characters"),
    ] {
        let found = bad(text);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        assert!(found[0].starts_with(place) && found[0].contains(says), "{text}: {found:#?}");
    }
}

#[test]
fn a_list_from_the_web_has_the_documented_defaults_and_a_place_of_its_own() {
    let settings = good("[[list]]\nname = \"w\"\nsource = \"https://lists.example/a?key=1\"");
    let [list] = &settings.lists[..] else { panic!("one list") };
    let fetch = list.fetch.as_ref().expect("it is fetched");
    assert_eq!((fetch.settings.interval.as_secs(), fetch.settings.timeout.as_secs()), (3600, 60));
    assert_eq!((fetch.settings.max_bytes, fetch.settings.zone), (list.spec.max_bytes, true));
    assert_eq!(list.spec.source, fetch.file);
    assert!(fetch.file.starts_with("etc/state/fetch"), "{}", fetch.file.display());
    assert!(list.spec.fetched && list.spec.shown == "https://lists.example/a?…", "{}", list.spec.shown);
    // What config.toml shows in its comments.
    let everything = good(&everything_set());
    let shown = everything.lists.iter().find_map(|list| list.fetch.as_ref()).expect("a list from the web");
    let fetch = &shown.settings;
    assert_eq!((fetch.interval.as_secs(), fetch.timeout.as_secs()), (3600, 60));
    let files = [&fetch.ca_file, &fetch.token_file];
    assert!(files.iter().all(|file| file.as_ref().is_some_and(|file| file.starts_with("etc"))), "{files:?}");
    assert!(fetch.client.is_some() && fetch.proxy.is_some() && fetch.sha256.is_some_and(|hash| hash.0[0] == 0xe3));
}

#[test]
fn lists_from_the_web_must_be_safe() {
    let key = "public_key = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"";
    for (source, keys, place, says) in [
        ("http://lists.example/a", "", "3:10", "can be changed on the way; use https://"),
        ("http://lists.example/a", "fetch = { token_file = \"t\" }", "3:10", "can be changed on the way"),
        ("https://u:p@lists.example/a", "", "3:10", "use `token_file`"),
        ("https://lists.example/a", "public_key = \"RW\"", "4:14", "not a minisign public key"),
        ("https://lists.example/a", "fetch = { sha256 = \"e3b0\" }", "4:20", "not a SHA-256"),
        ("https://lists.example/a", "fetch = { interval = \"5s\" }", "4:22", "must be from 1m to 30d"),
        ("https://lists.example/a", "fetch = { proxy = \"10.0.0.1:3128\" }", "4:19", "not a proxy"),
        ("https://lists.example/a", "fetch = { client_key = \"k\" }", "4:9", "need each other"),
        ("https://lists.example/a", "fetch = { urls = \"k\" }", "4:11", "unknown key \"urls\" in [list.fetch]"),
        ("lists/a", "fetch = { interval = \"1h\" }", "4:9", "only for a list whose `source` is an address"),
    ] {
        let found = bad(&format!("[[list]]\nname = \"a\"\nsource = \"{source}\"\n{keys}"));
        assert_eq!(found.len(), 1, "{source} {keys}: {found:#?}");
        assert!(found[0].starts_with(place) && found[0].contains(says), "{source} {keys}: {found:#?}");
    }
    let with = |keys: &str| format!("[[list]]\nname = \"a\"\nsource = \"http://lists.example/a\"\n{keys}");
    assert!(good(&with(key)).lists[0].fetch.is_some());
    assert!(bad(&with(&format!("{key}\nfetch = {{ token_file = \"t\" }}")))[0].contains("could read the token"));
    let local = good(&format!("[[list]]\nname = \"a\"\nsource = \"lists/a\"\n{key}"));
    assert!(local.lists[0].spec.public_key.is_some() && local.lists[0].fetch.is_none());
}

#[test]
fn what_is_written_is_what_is_set() {
    let settings = good(concat!(
        "[server]\nlisten = [\"0.0.0.0:53\", \"[::]:53\"]\nready_file = \"/run/ready.json\"\n",
        "[local.hosts]\n\"Router.LAN\" = [\"192.168.1.1\", \"fd00::1\"]\n",
        "[answer]\nipv4 = [\"192.0.2.1\"]\nede = 0\n",
        "[[zone]]\nname = \"lan.example\"\nfile = \"zones/lan\"\n",
        "[[upstream.zone]]\nname = \"corp.example\"\nservers = [\"10.0.0.53\", \"tcp://10.0.0.54:5300\"]\n",
        "[[list]]\nname = \"x\"\nsource = \"/srv/x.csv\"\nurls = \"host\"\nmax_rejected = \"0.5%\"\nmax_size = \"1MiB\"\n",
        "columns = { id = \"Номер\" }\nanswer = { mode = \"nxdomain\", ede = 17 }\n",
        "order = { id = \"1/25\", authority = \"A\", effective = 2025-01-06T00:00:00+05:00, issued = 2025-01-05 }\n",
        "[[list]]\nname = \"y\"\nsource = \"y\"\nanswer = \"refused\"\n",
        "[hits]\nfile = \"\"\n",
    ));
    assert_eq!(settings.server.ready_file.as_deref(), Some(Path::new("/run/ready.json")));
    assert_eq!(settings.local.hosts[0].0.to_string(), "router.lan");
    assert_eq!(settings.local.zones[0].file, Path::new("etc/zones/lan"));
    assert_eq!(settings.upstream.zones[0].servers.len(), 2);
    assert_eq!(settings.hits.file, None);
    let [x, y] = &settings.lists[..] else { panic!("two lists") };
    assert_eq!((x.spec.source.as_path(), x.spec.shown.as_str()), (Path::new("/srv/x.csv"), "/srv/x.csv"));
    assert_eq!((x.spec.urls, x.spec.max_rejected, x.spec.max_bytes), (Urls::Host, 50, 1 << 20));
    assert_eq!(x.spec.columns.order, [("id".to_owned(), "Номер".to_owned())]);
    // What a list does not say of its answer comes from [answer].
    assert_eq!((x.answer.mode, x.answer.ede), (AnswerMode::Nxdomain, Some(17)));
    assert_eq!((y.answer.mode, y.answer.ede), (AnswerMode::Refused, None));
    assert_eq!(x.answer.ipv4, settings.answer.ipv4);
    let order = x.spec.order.as_ref().expect("an order");
    assert_eq!((order.effective, order.issued), (Some(UnixTime(1_736_103_600)), Some(UnixTime(1_736_035_200))));
    assert_eq!(y.spec.order, None);
}

#[test]
fn the_gate_is_set_for_all_and_for_each_list() {
    let settings = good(concat!(
        "[gate]\npublic_suffixes = \"enforce\"\nnever_block = [\"gov.kz\", \"=a.example\"]\nnever_block_file = \"never.txt\"\n",
        "popular = { file = \"top.csv\", top = 500 }\nmax_growth = \"300%\"\n",
        "[answer]\ncname = \"page.example\"\n[local.hosts]\n\"router.lan\" = [\"192.168.1.1\"]\n",
        "[[zone]]\nname = \"zone.example\"\nfile = \"zone\"\n",
        "[[list]]\nname = \"x\"\nsource = \"x\"\ngate = { top = 0, max_shrink = \"90%\", min_entries = 10 }\n",
        "answer = { cname = \"other.example\" }\n[[list]]\nname = \"y\"\nsource = \"y\"\n",
    ));
    let gate = &settings.gate;
    assert_eq!(gate.never_block.iter().map(ToString::to_string).collect::<Vec<_>>(), ["gov.kz", "=a.example"]);
    let never = gate.never_block_file.as_ref().map(|file| (file.path.as_path(), file.shown.as_str()));
    assert_eq!(never, Some((Path::new("etc/never.txt"), "never.txt")));
    assert_eq!(gate.popular.as_ref().map(|popular| popular.top), Some(500));
    let own: Vec<_> = gate.own.iter().map(|(pattern, why)| format!("{pattern} {why}")).collect();
    let expected = ["=router.lan [local.hosts]", "=zone.example a [[zone]]"];
    assert_eq!(own[..2], expected);
    assert_eq!(own[2..], ["=page.example `cname` of an answer", "=other.example `cname` of an answer"]);
    let [x, y] = [&settings.lists[0].gate, &settings.lists[1].gate];
    assert_eq!((x.top, x.size.max_shrink, x.size.min_entries, x.size.max_growth), (0, 9_000, 10, 30_000));
    assert_eq!((y, y.public_suffixes, y.top), (&gate.checks, false, 500));
}

#[test]
fn statistics_have_days_of_their_own_and_the_finer_is_kept_for_less_long() {
    let stats =
        good("[stats]\ntime_zone = \"Asia/Almaty\"\nwindow = \"2m\"\nthreshold = 0\nmax_size = \"64MiB\"\n").stats;
    assert_eq!((stats.zone.name(), stats.window.as_secs(), stats.threshold), ("Asia/Almaty", 120, 0));
    assert_eq!((stats.enabled, stats.max_size), (true, 64 << 20));
    let wrong = bad(concat!(
        "[stats]\ntime_zone = \"Mars\"\nminutes = \"300d\"\nhours = \"200d\"\ndays = \"100d\"\n",
        "max_size = \"1MiB\"\nthreshold = -1\nwindow = \"0s\"\n"
    ));
    let expected = [
        "2:13: [stats] time_zone = \"Mars\": not a time zone; write UTC, an offset like +05:00, or a name like Asia/Almaty",
        "`hours` is shorter than `minutes`",
        "`days` is shorter than `hours`",
        "[stats] max_size = \"1MiB\": must be from 16MiB to 16384GiB",
        "[stats] threshold = -1: must be from 0 to 1000",
        "[stats] window = \"0s\": must be from 1s to 1h",
    ];
    assert_eq!(wrong.len(), expected.len(), "{wrong:#?}");
    for text in expected {
        assert!(wrong.iter().any(|problem| problem.contains(text)), "{text}: {wrong:#?}");
    }
}

#[test]
fn what_needs_a_restart_is_named() {
    let old = good("");
    assert!(old.restart_needed(&old).is_empty());
    let new = good(
        "state_dir = \"x\"\n[server]\nworkers = 2\npin = true\n[server.tcp]\nidle = \"1s\"\n[hits]\nkeep = 1\n[stats]\nhours = \"500d\"\n[answer]\nede = 15",
    );
    assert_eq!(
        old.restart_needed(&new),
        ["state_dir", "server.workers", "server.pin", "server.tcp.idle", "hits.keep", "stats.hours"]
    );
}

#[test]
fn a_file_that_cannot_be_had_is_told_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = |path: &Path| load(path).expect_err("no file").to_string();
    let missing = folder.path().join("none.toml");
    assert!(said(&missing).starts_with(&format!("{}: there is no such", missing.display())));
    assert!(said(folder.path()).contains("must be a regular file"));
    let file = folder.path().join("c.toml");
    std::fs::write(&file, b"# ok\nstate_dir = \"\xff\"").expect("written");
    assert!(said(&file).contains("c.toml:2:14: from here on this is not UTF-8"), "{}", said(&file));
    std::fs::write(&file, "#".repeat(MAX_FILE as usize + 1)).expect("written");
    assert!(said(&file).contains("larger than 1MiB"));
    std::fs::write(&file, "\u{feff}state_dir = \"s\"\r\n").expect("written");
    assert_eq!(load(&file).map(|s| s.state_dir), Ok(folder.path().join("s")));
}

#[test]
fn hostile_files_end_in_a_bounded_list_of_problems() {
    let many = |line: &str| line.repeat(MAX_FILE as usize / line.len() - 1);
    let keys: String = (0..50_000).map(|i| format!("k{i} = 1\n")).collect();
    for text in [keys, many("= \n"), many("[[list]]\n"), many("["), many("a = [[[["), many("\"")] {
        let problems = parse(&text, Path::new("c")).expect_err("no configuration");
        assert!((1..=100).contains(&problems.shown().len()));
        assert!(problems.to_string().len() < 100_000);
    }
    let nested = format!("state_dir = {}1{}", "[".repeat(500_000), "]".repeat(500_000));
    assert!(parse(&nested, Path::new("c")).is_err());
    let dotted = format!("{}x = 1", "a.".repeat(500_000));
    assert!(parse(&dotted, Path::new("c")).is_err());
    let tables = format!("state_dir = {}1{}", "{a=".repeat(250_000), "}".repeat(250_000));
    assert!(parse(&tables, Path::new("c")).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = parse(&text, Path::new("c"));
    }

    #[test]
    fn no_mutation_of_the_shipped_file_makes_it_panic(at in 0..SHIPPED.len(), put in "[\\[\\]{}\"'=,.#\n0-9a-z]{0,3}", cut in 0..40usize) {
        let end = (at + cut).min(SHIPPED.len());
        let (before, after) = (&SHIPPED.as_bytes()[..at], &SHIPPED.as_bytes()[end..]);
        let text = String::from_utf8_lossy(&[before, put.as_bytes(), after].concat()).into_owned();
        let _ = parse(&text, Path::new("c"));
    }
}
