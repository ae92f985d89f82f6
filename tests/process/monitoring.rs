//! Figures as Prometheus sees them: each is documented, each that dashboard and alerts use exists, and a real Prometheus
//! scrapes the server.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use crate::support::client::{Ask, rcode, rtype};
use crate::support::http::{exchange, get, get_with};
use crate::support::mock::{Mock, Say};
use crate::support::server::{Folder, Server, Setup, eventually, repository};

/// Lists that are current, refused, in shadow mode, and an order with a deadline to come.
fn watched(mock: &Mock) -> (Arc<Folder>, Server, SocketAddr) {
    let folder = Folder::new();
    folder.write("a.txt", "a.example\nnot a name\n");
    folder.write("shadow.txt", "shadow.example\n");
    folder.write(
        "orders/1.toml",
        "id = \"1\"\nauthority = \"Agency\"\ndeadline = 2100-01-01T00:00:00Z\ndomains = [\"ordered.example\"]\n",
    );
    let setup = Setup::new(mock.address())
        .list("a", "a.txt", "format = \"domains\"\nmax_rejected = \"90%\"")
        .list("shadow", "shadow.txt", "mode = \"shadow\"")
        .list("orders", "orders", "answer = \"nxdomain\"")
        .admin("listen = [\"127.0.0.1:0\"]");
    let server = Server::start(&folder, &setup);
    let http = server.http[0];
    (folder, server, http)
}

/// The value of a figure with these labels in a scrape.
fn figure(body: &str, row: &str) -> f64 {
    let value = body.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {row} in\n{body}"))
}

/// The figures of a scrape in the plain format, by name.
fn names(body: &str) -> BTreeSet<&str> {
    body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

/// A file of the repository.
fn shipped(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn figures_tell_what_happened() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, server, http) = watched(&mock);
    for name in ["a.example", "www.a.example", "ordered.example", "shadow.example", "free.example", "free.example"] {
        server.a(name);
    }
    assert_eq!(server.ask_tcp(&Ask::new("ordered.example", rtype::AAAA)).rcode, rcode::NXDOMAIN);
    let ledger = || get(http, "/metrics").body.contains("qalqan_orders{state=\"in_force\"} 1");
    eventually("the order is booked", ledger, || server.stderr());
    let body = get(http, "/metrics").body;
    for (row, value) in [
        ("qalqan_queries_total{transport=\"udp\"}", 6.0),
        ("qalqan_queries_total{transport=\"tcp\"}", 1.0),
        ("qalqan_answers_total{transport=\"udp\",rcode=\"noerror\"}", 5.0),
        ("qalqan_answers_total{transport=\"udp\",rcode=\"nxdomain\"}", 1.0),
        ("qalqan_answers_total{transport=\"tcp\",rcode=\"nxdomain\"}", 1.0),
        ("qalqan_query_outcomes_total{outcome=\"blocked\"}", 4.0),
        ("qalqan_query_outcomes_total{outcome=\"shadow\"}", 1.0),
        ("qalqan_query_outcomes_total{outcome=\"forwarded\"}", 2.0),
        ("qalqan_query_outcomes_total{outcome=\"cached\"}", 1.0),
        ("qalqan_blocked_total{answer=\"sinkhole\"}", 2.0),
        ("qalqan_blocked_total{answer=\"nxdomain\"}", 2.0),
        ("qalqan_list_blocked_total{list=\"a\",stage=\"all\"}", 2.0),
        ("qalqan_list_blocked_total{list=\"orders\",stage=\"all\"}", 2.0),
        ("qalqan_list_shadow_total{list=\"shadow\",stage=\"all\"}", 1.0),
        ("qalqan_cache_hits_total{age=\"fresh\"}", 1.0),
        ("qalqan_cache_misses_total", 2.0),
        ("qalqan_cache_entries", 2.0),
        ("qalqan_list_entries{list=\"a\"}", 1.0),
        ("qalqan_list_rejected{list=\"a\"}", 1.0),
        ("qalqan_list_error{list=\"a\"}", 0.0),
        ("qalqan_orders_overdue", 0.0),
        ("qalqan_generation", 1.0),
        ("qalqan_upstream_questions_total", 2.0),
    ] {
        assert_eq!(figure(&body, row), value, "{row}");
    }
    let upstream = format!("upstream=\"udp://{}\"", mock.address());
    assert_eq!(figure(&body, &format!("qalqan_upstream_up{{{upstream}}}")), 1.0);
    assert_eq!(figure(&body, &format!("qalqan_upstream_latency_seconds_count{{{upstream}}}")), 2.0);
    assert_eq!(figure(&body, &format!("qalqan_upstream_latency_seconds_bucket{{le=\"+Inf\",{upstream}}}")), 2.0);
    assert!(figure(&body, &format!("qalqan_upstream_latency_seconds_sum{{{upstream}}}")) > 0.0);
    assert!(figure(&body, "qalqan_orders_next_deadline_seconds") > 1e9);
    assert!(figure(&body, "process_resident_memory_bytes") > 1e6);
    assert!(!body.contains("example") && !body.contains("127.0.0.1\""), "no name and no client is told: {body}");
    // A reload, a list that cannot be read as a whole, a configuration with a mistake.
    folder.write("a.txt", "a.example\nb.example\nnot a name\n");
    server.blocks("b.example");
    let text = folder.read("config.toml");
    folder.replace("config.toml", format!("{text}\nnonsense"));
    folder.write("shadow.txt", "<!DOCTYPE html><html>error 500</html>");
    let mut body = String::new();
    let seen = || {
        body = get(http, "/metrics").body;
        figure(&body, "qalqan_config_broken") == 1.0 && figure(&body, "qalqan_list_error{list=\"shadow\"}") == 1.0
    };
    eventually("the trouble shows", seen, || server.stderr());
    assert_eq!(figure(&body, "qalqan_list_behind{list=\"shadow\"}"), 1.0);
    assert_eq!(figure(&body, "qalqan_list_entries{list=\"a\"}"), 2.0);
    assert!(figure(&body, "qalqan_reloads_total{result=\"published\"}") >= 1.0);
    assert!(figure(&body, "qalqan_reload_last_duration_seconds") > 0.0);
    assert!(figure(&body, "qalqan_publish_to_enforced_seconds") > 0.0);
    assert!(figure(&body, "qalqan_list_publish_to_enforced_seconds{list=\"a\"}") > 0.0);
    folder.replace("config.toml", text);
    let mended = || figure(&get(http, "/metrics").body, "qalqan_config_broken") == 0.0;
    eventually("the configuration is mended", mended, || server.stderr());
}

#[test]
fn an_upstream_that_is_silent_shows() {
    let mock = Mock::start(|_| Say::Silence);
    let folder = Folder::new();
    folder.write("a.txt", "a.example\n");
    let setup = Setup::new(mock.address()).upstream("timeout = \"200ms\"").uncached().list("a", "a.txt", "");
    let server = Server::start(&folder, &setup.admin("listen = [\"127.0.0.1:0\"]"));
    for name in ["a.test.example", "b.test.example", "c.test.example"] {
        assert_eq!(server.a(name).rcode, rcode::SERVFAIL);
    }
    let body = get(server.http[0], "/metrics").body;
    let upstream = format!("upstream=\"udp://{}\"", mock.address());
    assert_eq!(figure(&body, &format!("qalqan_upstream_failures_total{{{upstream},reason=\"timeout\"}}")), 3.0);
    assert_eq!(figure(&body, &format!("qalqan_upstream_latency_seconds_count{{{upstream}}}")), 0.0);
    assert_eq!(figure(&body, "qalqan_answers_total{transport=\"udp\",rcode=\"servfail\"}"), 3.0);
    assert_eq!(figure(&body, "qalqan_query_outcomes_total{outcome=\"failed\"}"), 3.0);
    assert_eq!((figure(&body, "qalqan_cache_limit_bytes"), figure(&body, "qalqan_cache_misses_total")), (0.0, 0.0));
    // It is left aside for a second, and longer each time.
    let up = format!("qalqan_upstream_up{{{upstream}}}");
    let mut asked = 0;
    let down = || {
        asked += 1;
        server.a(&format!("n{asked}.test.example"));
        figure(&get(server.http[0], "/metrics").body, &up) == 0.0
    };
    eventually("it is told to be down", down, || server.stderr());
}

#[test]
fn every_figure_is_documented_and_every_one_that_is_used_exists() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (_folder, _server, http) = watched(&mock);
    let body = get(http, "/metrics").body;
    let told = names(&body);
    let documents = shipped("docs/monitoring.md");
    let documented: BTreeSet<&str> =
        documents.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let documented: BTreeSet<&str> = documented.into_iter().filter(|name| !name.starts_with('/')).collect();
    assert_eq!(told, documented, "docs/monitoring.md and a scrape differ");
    for line in documents.lines().filter(|line| line.starts_with("| `qalqan_") || line.starts_with("| `process_")) {
        let cells: Vec<&str> = line.split(" | ").collect();
        let name = cells[0].trim_matches(['|', ' ', '`']);
        assert!(body.contains(&format!("\n# TYPE {name} {}\n", cells[1])), "{line}");
    }
    for file in ["docs/alerts/qalqan.rules.yml", "docs/alerts/qalqan.test.yml", "docs/grafana/qalqan.json"] {
        let text = shipped(file);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let used: BTreeSet<&str> =
            words.filter(|word| word.starts_with("qalqan_") || word.starts_with("process_")).collect();
        assert!(used.len() > 10, "{file} uses {used:?}");
        for name in used {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(told.contains(name) || told.contains(base), "{file} uses {name}, which no scrape has");
        }
    }
    let dashboard: Value = serde_json::from_str(&shipped("docs/grafana/qalqan.json")).expect("JSON");
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    assert!(
        variables.iter().any(|variable| variable["type"] == "datasource"),
        "who imports it chooses the data source"
    );
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
        }
    }
}

/// What `promtool` says to this; `None`, said aloud, where it is not installed.
fn promtool(arguments: &[&str], input: &str) -> Option<(bool, String)> {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(repository().join("docs/alerts"));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("skipped: no promtool here: {error}");
            return None;
        }
    };
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("taken");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), said.into_owned()))
}

#[test]
fn promtool_finds_nothing_wrong() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (_folder, server, http) = watched(&mock);
    server.a("a.example");
    server.a("free.example");
    let Some((good, said)) = promtool(&["check", "metrics"], &get(http, "/metrics").body) else { return };
    assert!(good && said.is_empty(), "{said}");
    for arguments in [["check", "rules", "qalqan.rules.yml"], ["test", "rules", "qalqan.test.yml"]] {
        let (good, said) = promtool(&arguments, "").expect("it was there a moment ago");
        assert!(good && said.contains("SUCCESS"), "{arguments:?}: {said}");
    }
    // It does look at what it is given.
    let (good, _) = promtool(&["check", "metrics"], "x{ 1\n").expect("it was there a moment ago");
    assert!(!good);
    dashboard_expressions();
}

/// Every expression of the dashboard is one to promtool, as rules of a file of its own.
fn dashboard_expressions() {
    let dashboard: Value = serde_json::from_str(&shipped("docs/grafana/qalqan.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions: Vec<String> = targets
        .map(|target| target["expr"].as_str().expect("an expression").replace("$__rate_interval", "5m"))
        .collect();
    assert!(expressions.len() > 30, "{} expressions", expressions.len());
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for (at, expression) in expressions.iter().enumerate() {
        rules += &format!("  - record: panel:{at}\n    expr: {}\n", serde_json::to_string(expression).expect("text"));
    }
    let folder = Folder::new();
    folder.write("dashboard.yml", rules);
    let path = folder.path("dashboard.yml");
    let (good, said) =
        promtool(&["check", "rules", path.to_str().expect("UTF-8")], "").expect("it was there a moment ago");
    assert!(good, "{said}");
}

/// A running Prometheus; dropping it ends it.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_prometheus_scrapes_it() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, server, http) = watched(&mock);
    for _ in 0..3 {
        server.a("a.example");
    }
    folder.write(
        "prometheus.yml",
        format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nrule_files: [{}]\nscrape_configs:\n- job_name: qalqan\n  \
             static_configs:\n  - targets: [\"{http}\"]\n",
            repository().join("docs/alerts/qalqan.rules.yml").display()
        ),
    );
    // It tells nobody which port it got, so it gets a free one, and another if that was taken meanwhile.
    let started = || {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr()).expect("a free port");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", folder.path("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path("tsdb").display()))
            .arg(format!("--web.listen-address={port}"))
            .args(["--web.console.templates=/nonexistent", "--web.console.libraries=/nonexistent"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path("prometheus.log")).expect("a file"));
        command.spawn().map(|child| (Prometheus(child), port))
    };
    let (mut prometheus, mut api) = match started() {
        Ok(started) => started,
        Err(error) => {
            eprintln!("skipped: no prometheus here: {error}");
            return;
        }
    };
    let query = |api: SocketAddr, expression: &str| -> Option<f64> {
        std::net::TcpStream::connect(api).ok()?;
        let request = format!("GET /api/v1/query?query={expression} HTTP/1.0\r\nHost: {api}\r\n\r\n");
        let answer: Value = serde_json::from_str(&exchange(api, request.as_bytes())?.body).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    };
    let mut blocked = None;
    let scraped = || {
        if prometheus.0.try_wait().expect("our own child").is_some() {
            (prometheus, api) = started().expect("it was there a moment ago");
        }
        // Not at every tick: it has more to do than to answer us.
        std::thread::sleep(std::time::Duration::from_millis(200));
        blocked = query(api, "qalqan_list_blocked_total%7Blist=%22a%22%7D");
        blocked.is_some() && query(api, "up%7Bjob=%22qalqan%22%7D") == Some(1.0)
    };
    let log = || fs::read_to_string(folder.path("prometheus.log")).unwrap_or_default();
    eventually("Prometheus has scraped the server", scraped, log);
    assert_eq!(blocked, Some(3.0));
    assert_eq!(query(api, "qalqan_upstream_latency_seconds_count"), Some(0.0), "a histogram is understood");
    // It asked for OpenMetrics, as it does by itself.
    let open = get_with(http, "/metrics", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
    assert!(open.body.ends_with("# EOF\n"));
}
