//! The set at several sizes: bytes a name, time to compile, time of a lookup that finds and one that does not.
//!
//! `cargo bench --bench set [names …]`. Figures are medians of five runs on one core; compare them within one run only.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use qalqan::name::NameBuf;
use qalqan::rule::{Effect, FileRules, Kind, RulesBuilder, Scope};
use qalqan::set::{Part, Set};
use qalqan::util::UnixTime;

/// Runs of each measurement.
const RUNS: usize = 5;
/// Lookups of each measurement.
const LOOKUPS: usize = 200_000;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![20_000, 190_000, 1_000_000] } else { sizes };
    println!(
        "{:>10} {:>12} {:>12} {:>10} {:>10} {:>10}",
        "names", "octets/name", "bytes/name", "build ms", "hit ns", "miss ns"
    );
    for size in sizes {
        measure(size);
    }
}

/// One line of the table.
fn measure(size: usize) {
    let mut random = Random(size as u64 | 1);
    let rules = Arc::new(listed(size, &mut random));
    let build = || {
        let parts = vec![Part::new(0, Arc::clone(&rules))];
        Set::build(parts, UnixTime(0)).expect("fewer than 2^30 rules")
    };
    let set = build();
    let mut build_ms: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            black_box(build());
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let hits: Vec<NameBuf> = (0..LOOKUPS)
        .map(|_| {
            let rule = rules.name(random.below(rules.len()) as u32);
            let mut name = NameBuf::new();
            name.set_wire(&[b"\x03www", rule].concat()).or_else(|_| name.set_wire(rule)).expect("a name");
            name
        })
        .collect();
    let misses: Vec<NameBuf> = (0..LOOKUPS).map(|_| made_up(&mut random, "miss")).collect();
    let mut hit_ns = lookups(&set, &hits, LOOKUPS);
    let mut miss_ns = lookups(&set, &misses, 0);
    let octets: usize = rules.iter().map(|rule| rule.name.len() - 2).sum();
    println!(
        "{:>10} {:>12.1} {:>12.1} {:>10.1} {:>10.0} {:>10.0}",
        size,
        octets as f64 / size as f64,
        set.size().bytes as f64 / set.size().names as f64,
        median(&mut build_ms),
        median(&mut hit_ns),
        median(&mut miss_ns),
    );
}

/// Nanoseconds a lookup, once a run; `expected` of the names must be found.
fn lookups(set: &Set, names: &[NameBuf], expected: usize) -> Vec<f64> {
    (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            let mut found = 0;
            for name in names {
                let mut any = false;
                set.matches(black_box(name), |_| any = true);
                found += usize::from(any);
            }
            let nanoseconds = start.elapsed().as_secs_f64() * 1e9 / names.len() as f64;
            assert_eq!(found, expected);
            nanoseconds
        })
        .collect()
}

/// A list of `size` distinct names.
fn listed(size: usize, random: &mut Random) -> FileRules {
    let mut rules = RulesBuilder::new("bench".into(), size * 24);
    let mut seen = std::collections::HashSet::with_capacity(size);
    while rules.len() < size {
        let name = made_up(random, "");
        if seen.insert(name.to_name()) {
            let kind = Kind { scope: Scope::Subtree, effect: Effect::Block, order: None };
            assert!(rules.push(&name, rules.len() as u32 + 1, kind));
        }
    }
    rules.build()
}

/// A name like those of real lists: two or three labels, 19 characters on average.
fn made_up(random: &mut Random, front: &str) -> NameBuf {
    const TOPS: [&str; 8] = ["com", "net", "org", "info", "top", "xyz", "ru", "kz"];
    let top = TOPS[random.below(TOPS.len())];
    let three = random.below(2) == 0;
    let mut word = |least: usize, most: usize| -> String {
        let len = least + random.below(most - least + 1);
        (0..len).map(|_| char::from(b'a' + random.below(26) as u8)).collect()
    };
    let mut text = front.to_owned() + &word(6, 18);
    if three {
        text = format!("{}.{text}", word(2, 6));
    }
    let mut name = NameBuf::new();
    name.parse(&format!("{text}.{top}")).expect("a name");
    name
}

/// The middle value.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// xorshift64: the same names each time.
struct Random(u64);

impl Random {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
