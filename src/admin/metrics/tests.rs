use std::collections::BTreeMap;

use super::*;
use crate::admin::{ListLine, Orders};
use crate::stats::{Counter, Stats};
use crate::upstream::{Fault, LatencyCounts, ServerState};

/// A server about which there is something to say.
fn facts() -> Facts {
    let stats = Stats::default();
    let mut counters = stats.counters();
    counters.received(crate::event::Transport::Udp);
    counters.answered(crate::event::Transport::Udp, 3);
    counters.bump(Counter::Forwarded);
    let list = ListLine {
        name: "a\"b\\c\nd".into(),
        role: "block".into(),
        entries: 7,
        version: Some(3),
        ..Default::default()
    };
    Facts {
        now: UnixTime(1_000),
        status: Status {
            version: "1.2.3".into(),
            lists: vec![list],
            orders: Orders { in_force: 5, next_deadline: Some(1_060), ..Orders::default() },
            ..Status::default()
        },
        totals: stats.totals(),
        servers: vec![ServerHealth {
            server: "udp://192.0.2.1:53".into(),
            transport: "udp",
            state: ServerState::Aside,
            rtt: None,
            asked: 9,
            failed: 2,
            faults: [(Fault::Timeout, 1), (Fault::Unreachable, 0), (Fault::BadAnswer, 1), (Fault::Untrusted, 0)],
            probes: 6,
            latency: LatencyCounts { buckets: vec![(0.5, 2), (1.0, 0), (f64::INFINITY, 1)], seconds: 2.5 },
        }],
        list_hits: vec![ListHits { list: "l".into(), canary: true, blocked: 4, shadow: 0 }],
        ..Facts::default()
    }
}

/// Lines of a scrape that begin so.
fn rows<'a>(body: &'a str, start: &str) -> Vec<&'a str> {
    body.lines().filter(|line| line.starts_with(start)).collect()
}

#[test]
fn both_formats_say_the_same_under_the_same_names() {
    let facts = facts();
    let [open, plain] = [Format::OpenMetrics, Format::Plain].map(|format| encode(&facts, format).expect("written"));
    let values =
        |body: &str| -> Vec<String> { body.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect() };
    assert_eq!(values(&open), values(&plain));
    assert!(open.ends_with("# EOF\n") && !plain.contains("# EOF"));
    assert_eq!(rows(&open, "# TYPE qalqan_queries"), ["# TYPE qalqan_queries counter"]);
    assert_eq!(rows(&plain, "# TYPE qalqan_queries"), ["# TYPE qalqan_queries_total counter"]);
}

#[test]
fn figures_stand_under_their_labels() {
    let body = encode(&facts(), Format::Plain).expect("written");
    for row in [
        "qalqan_queries_total{transport=\"udp\"} 1",
        "qalqan_queries_total{transport=\"tcp\"} 0",
        "qalqan_answers_total{transport=\"udp\",rcode=\"nxdomain\"} 1",
        "qalqan_query_outcomes_total{outcome=\"forwarded\"} 1",
        "qalqan_query_outcomes_total{outcome=\"blocked\"} 0",
        "qalqan_list_blocked_total{list=\"l\",stage=\"canary\"} 4",
        "qalqan_upstream_up{upstream=\"udp://192.0.2.1:53\"} 0.0",
        "qalqan_upstream_failures_total{upstream=\"udp://192.0.2.1:53\",reason=\"timeout\"} 1",
        "qalqan_upstream_failures_total{upstream=\"udp://192.0.2.1:53\",reason=\"untrusted\"} 0",
        "qalqan_upstream_probes_total{upstream=\"udp://192.0.2.1:53\"} 6",
        "qalqan_upstream_latency_seconds_bucket{le=\"0.5\",upstream=\"udp://192.0.2.1:53\"} 2",
        "qalqan_upstream_latency_seconds_bucket{le=\"+Inf\",upstream=\"udp://192.0.2.1:53\"} 3",
        "qalqan_upstream_latency_seconds_count{upstream=\"udp://192.0.2.1:53\"} 3",
        "qalqan_upstream_latency_seconds_sum{upstream=\"udp://192.0.2.1:53\"} 2.5",
        "qalqan_orders{state=\"in_force\"} 5.0",
        "qalqan_orders_next_deadline_seconds 60.0",
        "qalqan_build_info{version=\"1.2.3\"} 1.0",
    ] {
        assert_eq!(rows(&body, row), [row], "{body}");
    }
    // What an operator may call a list breaks no line.
    assert_eq!(rows(&body, "qalqan_list_entries{"), [r#"qalqan_list_entries{list="a\"b\\c\nd"} 7.0"#]);
    assert!(rows(&body, "qalqan_answers_total{transport=\"udp\",rcode=\"notzone\"").is_empty(), "none was given");
}

#[test]
fn every_figure_is_described_once_and_comes_right_after() {
    for format in [Format::OpenMetrics, Format::Plain] {
        let body = encode(&facts(), format).expect("written");
        let mut described: BTreeMap<&str, &str> = BTreeMap::new();
        let mut current = "";
        for line in body.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and what it means");
                assert_eq!(described.insert(name, help), None, "{name} stands here twice");
                current = name;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                assert_eq!(name, current);
                assert_eq!(kind == "counter" && format == Format::Plain, name.ends_with("_total"), "{line}");
            } else {
                assert!(line.starts_with(current), "{line} stands under {current}");
            }
        }
        assert!(described.len() > 60, "{} figures", described.len());
        assert!(described.keys().all(|name| name.starts_with("qalqan_") || name.starts_with("process_")));
    }
}
