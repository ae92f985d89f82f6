//! The set at several sizes: bytes a name, time and peak of compiling, time of a lookup that finds and one that does not.
//!
//! `cargo bench --bench set -- [names …] [list files …]`. Times are medians of several runs on one core; compare them
//! within one run only. Made-up names have no rule to them but their shape, so what neighbours share is what chance
//! gives them: real lists take less. Files are all put in one set, each as a list of its own.
//!
//! *rules ms* is from names (parsed) to [`FileRules`], *set ms* from those to a [`Set`]. *peak* is the most that was
//! allocated while doing both, beyond what was before (an old set included, the names to be added not), over what
//! stays allocated. It is counted in the allocator, and so is *bytes/name*.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(unsafe_code, reason = "an allocator cannot be written without")]

mod made;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hash::BuildHasher;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use qalqan::list::{self, Format, Spec};
use qalqan::name::NameBuf;
use qalqan::rule::{Effect, FileRules, Kind, RulesBuilder, Scope};
use qalqan::set::{Part, Set};
use qalqan::util::UnixTime;

use made::{Random, TOPS, made_up};

/// Runs of each measurement.
const RUNS: usize = 5;
/// Lookups of each measurement.
const LOOKUPS: usize = 200_000;

/// Bytes allocated now.
static NOW: AtomicUsize = AtomicUsize::new(0);
/// The most there ever were since this was last set.
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting is done in atomics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Large blocks are moved by the kernel page by page, small ones do not matter: counted as grown in place.
        let now = NOW.fetch_add(size, Relaxed) + size - layout.size();
        NOW.fetch_sub(layout.size(), Relaxed);
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let sizes: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let files: Vec<PathBuf> = args.iter().filter(|arg| arg.parse::<usize>().is_err()).map(PathBuf::from).collect();
    let sizes = if args.is_empty() { vec![20_000, 100_000, 190_000, 1_000_000, 10_000_000] } else { sizes };
    println!(
        "{:>10} {:>11} {:>10} {:>8} {:>8} {:>6} {:>6} {:>7}",
        "names", "octets/name", "bytes/name", "rules ms", "set ms", "peak", "hit ns", "miss ns"
    );
    for size in sizes {
        let mut random = Random(size as u64 | 1);
        let names = listed(size, &mut random);
        measure(&mut random, || vec![Arc::new(rules_of(&names))]);
    }
    if !files.is_empty() {
        let texts: Vec<_> = files.iter().map(|file| (file, std::fs::read(file).expect("a file"))).collect();
        let read = |(file, text): &(&PathBuf, Vec<u8>)| {
            let shown = file.to_string_lossy().into();
            let spec = Spec { max_rejected: 10_000, ..Spec::new("bench", (*file).clone(), Format::Auto) };
            list::parse(&spec, &shown, text).unwrap_or_else(|why| panic!("{shown}: {why}")).rules
        };
        measure(&mut Random(1), || texts.iter().map(read).collect());
    }
}

/// One line of the table.
fn measure(random: &mut Random, rules: impl Fn() -> Vec<Arc<FileRules>>) {
    let build = |rules: &[Arc<FileRules>]| {
        let parts = rules.iter().zip(0..).map(|(rules, list)| Part::new(list, Arc::clone(rules))).collect();
        Set::build(parts, UnixTime(0)).expect("fewer than 2^30 rules")
    };
    let old = build(&rules());
    let runs = if old.size().rules > 2_000_000 { 1 } else { RUNS };
    let (mut rules_ms, mut set_ms, mut peak, mut stays) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..runs {
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        let start = Instant::now();
        let rules = rules();
        rules_ms.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        let set = black_box(build(&rules));
        set_ms.push(start.elapsed().as_secs_f64() * 1e3);
        peak = PEAK.load(Relaxed) - before;
        stays = NOW.load(Relaxed) - before;
        drop(set);
    }
    let set = old;
    let files: Vec<_> = set.parts().iter().map(|part| Arc::clone(&part.rules)).collect();
    let mut octets = 0;
    let mut name = NameBuf::new();
    for rules in &files {
        let mut names = rules.names();
        while names.next(&mut name).is_some() {
            octets += name.wire().len() - 2;
        }
    }
    let hits: Vec<NameBuf> = (0..LOOKUPS)
        .map(|_| {
            let rules = &files[random.below(files.len())];
            rules.name(random.below(rules.len()) as u32, &mut name);
            let rule = name.clone();
            name.set_wire(&[b"\x03www", rule.wire()].concat()).or_else(|_| name.set_wire(rule.wire())).expect("a name");
            name.clone()
        })
        .collect();
    let misses: Vec<NameBuf> = (0..LOOKUPS).map(|_| made_up_name(random, "miss")).collect();
    let mut hit_ns = lookups(&set, &hits);
    let mut miss_ns = lookups(&set, &misses);
    let size = set.size();
    println!(
        "{:>10} {:>11.1} {:>10.1} {:>8.1} {:>8.1} {:>6.2} {:>6.0} {:>7.0}",
        size.names,
        octets as f64 / size.rules as f64,
        stays as f64 / size.names as f64,
        median(&mut rules_ms),
        median(&mut set_ms),
        peak as f64 / stays as f64,
        median(&mut hit_ns),
        median(&mut miss_ns),
    );
    assert!(size.bytes <= stays && stays < size.bytes * 11 / 10 + 10_000, "{} bytes said, {stays} held", size.bytes);
}

/// Nanoseconds a lookup, once a run.
fn lookups(set: &Set, names: &[NameBuf]) -> Vec<f64> {
    (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            for name in names {
                set.matches(black_box(name), |found| _ = black_box(found));
            }
            start.elapsed().as_secs_f64() * 1e9 / names.len() as f64
        })
        .collect()
}

/// `size` distinct names on the wire, one after the other, in no order.
fn listed(size: usize, random: &mut Random) -> Vec<u8> {
    let mut names = Vec::new();
    let mut seen = std::collections::HashSet::with_capacity(size);
    while seen.len() < size {
        let name = made_up_name(random, "");
        // 64 bits tell ten million names apart, and fit a small machine.
        if seen.insert(foldhash::quality::FixedState::default().hash_one(name.wire())) {
            names.extend_from_slice(name.wire());
        }
    }
    names
}

/// The rules of a file of such names, one a line.
fn rules_of(names: &[u8]) -> FileRules {
    let mut rules = RulesBuilder::new("bench".into(), names.len());
    let (mut rest, mut name, mut line) = (names, NameBuf::new(), 0);
    while !rest.is_empty() {
        let len: usize = qalqan::name::labels(rest).map(|label| label.len() + 1).sum::<usize>() + 1;
        name.set_wire(&rest[..len]).expect("a name");
        rest = &rest[len..];
        line += 1;
        assert!(rules.push(&name, line, Kind { scope: Scope::Subtree, effect: Effect::Block, order: None }));
    }
    rules.build()
}

/// See [`made_up`], as a name.
fn made_up_name(random: &mut Random, front: &str) -> NameBuf {
    let mut name = NameBuf::new();
    name.parse(&made_up(random, front, TOPS)).expect("a name");
    name
}

/// The middle value.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
