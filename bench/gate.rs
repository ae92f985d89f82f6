//! The gate beside what it is part of: parsing a list and compiling it.
//!
//! `cargo bench --bench gate [entries …]`. Medians of five interleaved rounds on one core; the ratio is what counts.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod made;

use std::fmt::Write;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use qalqan::gate::{Checks, Gate, Guarded, Inputs, Pattern, Popular, Why};
use qalqan::list::{self, Format, Spec};
use qalqan::rule::Role;
use qalqan::set::{Part, Set};
use qalqan::util::UnixTime;

use made::{Random, TOPS, made_up};

/// Rounds of each measurement.
const ROUNDS: usize = 5;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![200_000, 1_000_000] } else { sizes };
    println!(
        "{:>10} {:>10} {:>10} {:>10} {:>10} {:>8} {:>8}",
        "entries", "parse ms", "build ms", "gate ms", "ns/entry", "held", "ratio"
    );
    for size in sizes {
        measure(size);
    }
}

/// One line of the table: all checks on, ten thousand ranks, an allow list of eleven thousand, a never_block list.
fn measure(size: usize) {
    let mut random = Random(size as u64 | 1);
    // Some public suffixes have several labels.
    let tops = [TOPS, &["co.uk", "github.io"]].concat();
    let mut text = String::new();
    for _ in 0..size {
        let _ = writeln!(text, "{}", made_up(&mut random, "", &tops));
    }
    let spec = Spec::new("bench", PathBuf::from("bench.txt"), Format::Domains);
    let ranks: String = (0..10_000).map(|rank| format!("{rank},{}\n", made_up(&mut random, "", &tops))).collect();
    let popular = Popular::read(ranks.as_bytes(), 10_000).expect("ranks");
    let allowed: String = (0..11_000).map(|_| made_up(&mut random, "", &tops) + "\n").collect();
    let allow = Spec { role: Role::Allow, ..spec.clone() };
    let allow = list::parse(&allow, &"allow.txt".into(), allowed.as_bytes()).expect("a list").rules;
    let guarded = ["gov.kz", "nic.ru", "kernel.org", "=router.lan"]
        .map(|text| Guarded { pattern: Pattern::parse(text).expect("a pattern"), why: Why::NeverBlock });
    let inputs =
        Inputs { guarded: guarded.into(), popular: Some((Arc::new(popular), "top.csv".into())), allow: vec![allow] };
    let gate = Gate::new(inputs);
    let (mut parse, mut build, mut look, mut held) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let rules = list::parse(&spec, &"bench.txt".into(), text.as_bytes()).expect("a list").rules;
        parse.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        let outcome = black_box(gate.examine(&Checks::default(), &rules));
        look.push(start.elapsed().as_secs_f64() * 1e3);
        held = outcome.findings.len();
        let start = Instant::now();
        black_box(Set::build(vec![Part::new(0, rules)], UnixTime(0)).expect("fewer than 2^30 rules"));
        build.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let (parse, build, look) = (median(&mut parse), median(&mut build), median(&mut look));
    println!(
        "{size:>10} {parse:>10.1} {build:>10.1} {look:>10.1} {:>10.0} {held:>8} {:>8.2}",
        look * 1e6 / size as f64,
        look / (parse + build)
    );
}

/// The middle value.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
