//! The command line from outside: what it prints where, and how it exits.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a configuration, in which the binary is run.
struct Place {
    folder: TempDir,
}

/// What a run gave.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Place {
    /// Files by name; without a `config.toml` among them, there is none.
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("written");
        }
        Self { folder }
    }

    /// The binary, with nothing of the caller's surroundings that changes what it prints.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qalqan"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        for variable in ["RUST_LOG", "NO_COLOR", "JOURNAL_STREAM", "NOTIFY_SOCKET", "LISTEN_FDS", "COLUMNS"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs it to its end.
    fn run(&self, args: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = self.command(args).output().expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Ran { code: status.code().expect("no signal"), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Runs it with `--json` and reads what it printed.
    fn json(&self, args: &[&str]) -> (i32, Value) {
        let ran = self.run(&[args, &["--json"]].concat());
        (ran.code, serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", ran.stdout, ran.stderr)))
    }

    /// Every file below the folder, sorted.
    fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                match entry.path() {
                    path if path.is_dir() => walk(&path, found),
                    path => found.push(path.to_string_lossy().into_owned()),
                }
            }
        }
        let mut found = Vec::new();
        walk(self.folder.path(), &mut found);
        found.sort();
        found
    }
}

/// Two lists, an order in force, one pending, one that has expired.
fn orders() -> Place {
    Place::with(&[
        ("config.toml", CONFIG),
        ("orders/now.toml", &order("7/25", "effective = 2001-01-01", "\"blocked.example\", \"биржа.example\"")),
        ("orders/later.toml", &order("8/25", "effective = 2999-01-01", "\"later.example\"")),
        ("orders/over.toml", &order("6/25", "expires = 2002-01-01", "\"over.example\"")),
        ("allow.txt", "=www.blocked.example\n"),
    ])
}

/// No `system` upstream: a test must not depend on the host's resolver.
const CONFIG: &str = r#"
state_dir = "state"
[server]
listen = ["127.0.0.1:0"]
allow_from = ["127.0.0.0/8"]
[upstream]
servers = ["udp://192.0.2.53"]
[[upstream.zone]]
name = "corp.example"
servers = ["tcp://192.0.2.54"]
[hits]
file = ""
[[list]]
name = "orders"
source = "orders"
[[list]]
name = "allow"
source = "allow.txt"
role = "allow"
"#;

/// An order file.
fn order(id: &str, dates: &str, domains: &str) -> String {
    format!(
        "id = \"{id}\"\nauthority = \"The \\u001b[31mMinistry\"\nlegal_basis = \"Act 1\"\n{dates}\ndomains = [{domains}]\n"
    )
}

/// The configuration that is shipped, from the folder it is in.
fn shipped(args: &[&str]) -> Ran {
    let place = Place::with(&[]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    place.run(&[args, &["--config", path.to_str().expect("UTF-8")]].concat())
}

#[test]
fn check_finds_the_shipped_configuration_in_order() {
    let ran = shipped(&["check", "--json"]);
    let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    // Whether the host has resolvers is not what this is about.
    let errors: Vec<_> =
        report["errors"].as_array().expect("errors").iter().map(|e| e.as_str().unwrap_or("")).collect();
    assert!(errors.iter().all(|error| error.contains("resolv.conf")), "{errors:?}");
    assert_eq!(report["lists"].as_array().map(Vec::len), Some(2));
    assert_eq!((&report["rejected"], &report["unusable"]), (&0.into(), &Value::Array(Vec::new())));
    assert!(report["totals"]["rules"].as_u64() > Some(0));
}

#[test]
fn check_is_content_with_good_lists_and_writes_nothing() {
    let place = orders();
    let before = place.files();
    let ran = place.run(&["check"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.contains("orders  1 in force, 1 pending, 1 expired, 0 revoked"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\norders  block  enforce  orders       3        4         0  ok\n"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("\nall is well\n"));
    assert_eq!(place.files(), before);
}

#[test]
fn check_shows_what_somebody_should_look_at() {
    let names: String = (0..200).map(|n| format!("n{n}.example\n")).collect();
    let list = format!("{names}www.blocked.example\nus.com\nbad name.example\nhttp://a.example/b\n");
    let place = orders();
    fs::write(place.folder.path().join("orders/extra.txt"), list).expect("written");
    let ran = place.run(&["check"]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    let expected = [
        "without effect because of allow entries (1)\n",
        "held: not enforced until somebody decides (1)\n",
        "  orders/extra.txt:202  us.com  (list orders) a public suffix: anybody can have a name below it\n",
        "rejected (2)\n",
        "  orders/extra.txt:204:1  http://a.example/b  ",
        "it can serve; somebody should look at the above\n",
    ];
    for line in expected.iter().filter(|line| !line.contains("without effect")) {
        assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
    }
    // `www.blocked.example` alone is allowed, what is below it is not: exceptions, not a mistake.
    assert!(!ran.stdout.contains(expected[0]));
    fs::write(place.folder.path().join("allow.txt"), "blocked.example\n").expect("written");
    let (code, report) = place.json(&["check"]);
    assert_eq!((code, &report["verdict"]), (1, &"look".into()));
    let shadowed = &report["review"]["shadowed"];
    assert_eq!(shadowed["count"], 2);
    assert_eq!(shadowed["shown"][0]["allow"]["file"], "allow.txt");
}

#[test]
fn check_and_why_tell_what_the_gate_holds_and_what_was_decided() {
    let place = orders();
    let write = |name: &str, text: &str| {
        let path = place.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("written");
    };
    write("orders/extra.txt", "medium.com\nmyshopify.com\nx.gov.kz\n");
    write("top.csv", "1,medium.com\n");
    let gate = "[gate]\nnever_block = [\"gov.kz\"]\npopular = { file = \"top.csv\" }\n";
    write("config.toml", &format!("{CONFIG}{gate}"));
    let (code, report) = place.json(&["check"]);
    assert_eq!((code, &report["verdict"]), (1, &"look".into()));
    let held = &report["held"];
    assert_eq!((&held["open"], &held["excepted"]), (&3.into(), &0.into()));
    let of = |at: usize, key: &str| held["entries"][at][key].as_str().unwrap_or_default().to_owned();
    let checks: Vec<_> = (0..3).map(|at| of(at, "pattern") + " " + &of(at, "check")).collect();
    assert_eq!(checks, ["medium.com popular", "myshopify.com public_suffix", "x.gov.kz never_block"]);
    assert_eq!(
        (of(0, "list"), of(0, "file"), &held["entries"][2]["line"]),
        ("orders".into(), "orders/extra.txt".into(), &3.into())
    );
    let ran = place.run(&["why", "www.medium.com", "x.gov.kz"]);
    for line in [
        "www.medium.com A: passed\n  held    medium.com, orders/extra.txt:1, list orders: not enforced\n",
        "its domain is number 1 in top.csv",
        "`qalqan release orders 'medium.com'` enforces it",
        "remove gov.kz from never_block in [gate] if the block is meant",
    ] {
        assert!(ran.stdout.contains(line), "{line}: {}{}", ran.stdout, ran.stderr);
    }
    let decision = |pattern: &str, verdict: &str| {
        format!(
            "{{\"list\": \"orders\", \"pattern\": \"{pattern}\", \"verdict\": \"{verdict}\", \"by\": \"anna\", \"reason\": \"why not\", \
             \"time\": \"2026-01-05T10:00:00Z\"}}"
        )
    };
    let decided = [("medium.com", "released"), ("myshopify.com", "dismissed"), ("x.gov.kz", "dismissed")];
    let decided: Vec<_> = decided.iter().map(|(pattern, verdict)| decision(pattern, verdict)).collect();
    write("state/decisions.json", &format!("{{\"format\": 1, \"decisions\": [{}]}}", decided.join(",")));
    let before = place.files();
    let ran = place.run(&["check"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("\ndecided 2 dismissed, 1 released\n"), "{}", ran.stdout);
    assert!(place.run(&["why", "www.medium.com"]).stdout.starts_with("www.medium.com A: blocked\n"));
    let ran = place.run(&["why", "a.myshopify.com"]);
    assert!(ran.stdout.contains("dismissed by anna on 2026-01-05T10:00:00Z: why not"), "{}", ran.stdout);
    assert_eq!(place.files(), before, "neither writes anything");
    write("top.csv", "");
    let ran = place.run(&["check"]);
    assert_eq!(ran.code, 1, "a check that is off is shown: {}", ran.stdout);
    assert!(ran.stdout.contains("cannot use the rank list top.csv: no name in it"), "{}", ran.stdout);
}

#[test]
fn check_says_what_a_server_would_not_take_for_its_size() {
    let place = orders();
    let names: String = (0..1000).map(|number| format!("n{number}.example\n")).collect();
    fs::write(place.folder.path().join("allow.txt"), "=www.blocked.example\n").expect("written");
    fs::write(place.folder.path().join("orders/extra.txt"), &names).expect("written");
    let config = CONFIG.replace("name = \"orders\"", "name = \"orders\"\ngate = { max_entries = 500 }");
    fs::write(place.folder.path().join("config.toml"), config).expect("written");
    let ran = place.run(&["check"]);
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    assert!(ran.stdout.contains("it would have 1004 entries (`max_entries` is 500)"), "{}", ran.stdout);
}

#[test]
fn check_of_a_list_that_is_none_says_that_it_would_not_start() {
    let place = orders();
    fs::write(place.folder.path().join("allow.txt"), "<!DOCTYPE html><html><body>404</body></html>\n")
        .expect("written");
    let ran = place.run(&["check"]);
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    assert!(ran.stdout.contains("allow: allow.txt is refused: a web page, not a list"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("it would not start\n"));
    let config = format!("start_without_lists = true\n{CONFIG}");
    fs::write(place.folder.path().join("config.toml"), config).expect("written");
    assert_eq!(place.run(&["check"]).code, 1);
}

#[test]
fn many_rejections_are_counted_and_shown_on_demand() {
    let lines: String = (0..150).map(|n| format!("bad name {n}\ngood{n}.example\n")).collect();
    let config =
        CONFIG.replace("source = \"orders\"", "source = \"list.txt\"\nmax_rejected = \"60%\"\nformat = \"domains\"");
    let place = Place::with(&[("config.toml", &config), ("list.txt", &lines), ("allow.txt", "# none\n")]);
    let few = place.run(&["check"]).stdout;
    assert!(few.contains("rejected (150)\n") && few.contains("  … and 130 more; --all shows those kept\n"), "{few}");
    let all = place.run(&["check", "--all"]).stdout;
    assert!(all.contains("  … and 50 more\n"), "{all}");
}

#[test]
fn a_wrong_configuration_shows_every_problem_with_its_place() {
    let wrong = "state_dir = 3\n[server]\nlisten = [\"127.0.0.1\"]\nlissten = []\n[upstream]\nmode = \"recurse-ish\"\n";
    let place = Place::with(&[("config.toml", wrong)]);
    for verb in [&["check"][..], &["serve"], &["why", "a.example"]] {
        let ran = place.run(verb);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{verb:?}");
        for start in
            ["config.toml:1:13: ", "config.toml:3:11: ", "config.toml:4:1: ", "config.toml:6:8: ", "4 problems in "]
        {
            assert!(ran.stderr.lines().any(|line| line.starts_with(start)), "{verb:?} {start}: {}", ran.stderr);
        }
    }
}

#[test]
fn without_a_configuration_it_says_where_it_looked() {
    if Path::new("/etc/qalqan/config.toml").exists() {
        eprintln!("skipped: this host has a configuration of its own");
        return;
    }
    let ran = Place::with(&[]).run(&["serve"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("no config.toml in the current folder and no /etc/qalqan/config.toml"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("--config FILE"));
    assert_eq!(Place::with(&[]).run(&["check", "--config", "nowhere.toml"]).code, 2);
}

#[test]
fn serve_tells_everything_that_keeps_it_from_starting() {
    let config = CONFIG.replace("127.0.0.1:0", "192.0.2.1:5399").replace("source = \"orders\"", "source = \"nowhere\"");
    let place = Place::with(&[("config.toml", &config), ("allow.txt", "# none\n")]);
    let ran = place.run(&["serve"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("192.0.2.1:5399") && ran.stderr.contains("nowhere: no such file"), "{}", ran.stderr);
    assert!(!ran.stderr.contains('\x1b'), "colours without a terminal");
}

#[test]
fn why_a_name_is_blocked() {
    let place = orders();
    let ran = place.run(&["why", "a.blocked.example"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let expected = [
        "a.blocked.example A: blocked\n",
        "  rule    blocked.example, orders/now.toml:5, list orders (block, enforce)\n",
        "  order   7/25 of The \\u{1b}[31mMinistry, in force\n",
        "          legal basis   Act 1\n",
        "          effective     2001-01-01\n",
        "  answer  NOERROR\n",
        "          a.blocked.example. 30 IN A 0.0.0.0\n",
        "          extended error 16: Blocked by order 7/25 of The",
    ];
    for line in expected {
        assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
    }
    assert!(!ran.stdout.contains('\x1b'), "an order must not steer the terminal");
}

#[test]
fn why_gives_the_answer_of_the_type_that_is_asked() {
    let (_, aaaa) = orders().json(&["why", "blocked.example", "--type", "aaaa"]);
    assert_eq!(aaaa["reply"]["answer"][0], "blocked.example. 30 IN AAAA ::");
    let (_, https) = orders().json(&["why", "blocked.example", "--type", "HTTPS"]);
    assert_eq!((&https["reply"]["rcode"], &https["reply"]["answer"]), (&"NOERROR".into(), &Value::Array(Vec::new())));
    let soa = https["reply"]["authority"][0].as_str().expect("an SOA");
    assert!(soa.starts_with("blocked.example. 30 IN SOA "), "{soa}");
    let ran = orders().run(&["why", "blocked.example", "--type", "NOPE"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("not a record type"));
}

#[test]
fn why_names_may_be_written_in_any_script() {
    let (_, answer) = orders().json(&["why", "БИРЖА.example"]);
    assert_eq!((&answer["decision"], &answer["name"]), (&"blocked".into(), &"xn--80abph4b.example".into()));
    assert_eq!(answer["reply"]["answer"][0], "xn--80abph4b.example. 30 IN A 0.0.0.0");
}

#[test]
fn why_tells_of_orders_that_are_not_in_force() {
    for (name, state) in [("later.example", "pending"), ("over.example", "expired")] {
        let (code, answer) = orders().json(&["why", name]);
        assert_eq!((code, &answer["decision"]), (0, &"passed".into()));
        let rule = &answer["rules"][0];
        assert_eq!((&rule["in_force"], &rule["decides"]), (&false.into(), &false.into()));
        assert_eq!(rule["order"]["state"], state);
    }
}

#[test]
fn why_says_where_names_go_that_are_not_blocked() {
    let place = orders();
    let route = |name: &str| place.json(&["why", name]).1["route"].clone();
    assert_eq!(route("other.example")["servers"][0], "udp://192.0.2.53:53");
    assert_eq!(route("a.corp.example")["name"], "corp.example");
    assert_eq!(route("localhost")["kind"], "local");
    let (_, excepted) = place.json(&["why", "www.blocked.example"]);
    assert_eq!(excepted["decision"], "excepted");
    assert_eq!(excepted["rules"][0]["rule"], "=www.blocked.example");
    assert_eq!(excepted["rules"][1]["order"]["id"], "7/25");
}

#[test]
fn why_asks_as_a_client() {
    let (_, outside) = orders().json(&["why", "blocked.example", "--client", "192.0.2.7"]);
    assert_eq!((&outside["decision"], &outside["reply"]["rcode"]), (&"refused".into(), &"REFUSED".into()));
    assert_eq!(outside["reply"]["ede"]["code"], 18);
    let (_, inside) = orders().json(&["why", "blocked.example", "--client", "127.0.0.9"]);
    assert_eq!(inside["decision"], "blocked");
}

#[test]
fn why_of_a_shadow_list_and_of_a_dropped_name() {
    let config = CONFIG.replace("source = \"orders\"", "source = \"orders\"\nmode = \"shadow\"");
    let place = orders();
    fs::write(place.folder.path().join("config.toml"), &config).expect("written");
    let (_, answer) = place.json(&["why", "blocked.example"]);
    assert_eq!((&answer["decision"], &answer["reply"]["kind"]), (&"shadow".into(), &"asked".into()));
    let config = CONFIG.replace("source = \"orders\"", "source = \"orders\"\nanswer = \"drop\"");
    fs::write(place.folder.path().join("config.toml"), &config).expect("written");
    let (_, answer) = place.json(&["why", "blocked.example"]);
    assert_eq!((&answer["decision"], &answer["reply"]["kind"]), (&"blocked".into(), &"nothing".into()));
}

#[test]
fn a_name_that_is_none_does_not_keep_the_others_from_being_told() {
    let ran = orders().run(&["why", "a..b", "blocked.example", "192.0.2.1"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stdout.starts_with("blocked.example A: blocked\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("`a..b`") && ran.stderr.contains("`192.0.2.1`"), "{}", ran.stderr);
}

#[test]
fn why_writes_nothing_and_refuses_to_guess_without_lists() {
    let place = orders();
    let before = place.files();
    place.run(&["why", "blocked.example"]);
    assert_eq!(place.files(), before);
    fs::remove_file(place.folder.path().join("allow.txt")).expect("removed");
    let ran = place.run(&["why", "blocked.example"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("list \"allow\": allow.txt: no such file"), "{}", ran.stderr);
}

#[test]
fn version_completions_man_and_help() {
    let place = Place::with(&[]);
    let version = concat!("qalqan ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(place.run(&["version"]).stdout, version);
    assert_eq!(place.run(&["--version"]).stdout, version);
    assert_eq!(place.json(&["version"]).1["version"], env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&["completions", shell]).stdout;
        assert!(script.contains("qalqan") && script.contains("client"), "{shell}");
    }
    let man = place.run(&["man"]).stdout;
    for text in [".TH qalqan 1", "qalqan why", "\\-\\-client", "Exit status"] {
        assert!(man.contains(text), "{text}: {man}");
    }
    for verb in ["serve", "check", "why"] {
        let help = place.run(&[verb, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""));
        assert!(help.stdout.contains("Examples:\n"), "{verb}");
    }
    let nonsense = place.run(&["sevre"]);
    assert_eq!((nonsense.code, nonsense.stdout.as_str()), (2, ""));
    assert_eq!(place.run(&[]).code, 2);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let place = Place::with(&[]);
    let mut command = place.command(&["completions", "bash"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("UTF-8");
    let status = child.wait().expect("it ends");
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_full_disk_is_an_error() {
    let place = Place::with(&[]);
    let Ok(full) = fs::File::options().write(true).open("/dev/full") else {
        eprintln!("skipped: no /dev/full here");
        return;
    };
    let output = place.command(&["version"]).stdout(full).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
}

/// `script` gives the binary a terminal of its own.
#[test]
fn colours_on_a_terminal_unless_no_color_is_set() {
    let on_terminal = |no_color: bool| {
        let place = orders();
        let line = format!("{} why blocked.example", env!("CARGO_BIN_EXE_qalqan"));
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(place.folder.path()).stdin(Stdio::null());
        command.env("TERM", "xterm").env_remove("NO_COLOR");
        if no_color {
            command.env("NO_COLOR", "1");
        }
        command.output().ok().filter(|output| output.status.success())
    };
    let (Some(plain), Some(coloured)) = (on_terminal(true), on_terminal(false)) else {
        eprintln!("skipped: no script(1) here");
        return;
    };
    let bold_red = b"\x1b[1;31mblocked\x1b[0m";
    let has = |output: &Output| output.stdout.windows(bold_red.len()).any(|part| part == bold_red);
    assert!(has(&coloured), "{}", String::from_utf8_lossy(&coloured.stdout));
    assert!(!has(&plain));
    assert!(String::from_utf8_lossy(&plain.stdout).contains("blocked.example A: blocked"));
}
