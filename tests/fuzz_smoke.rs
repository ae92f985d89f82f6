//! Every fuzz target over its committed corpus and a few thousand mutations of it. No substitute for
//! fuzzing, but it runs on stable, on every change, and the same way each time.

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

/// Mutations of each target; `QALQAN_FUZZ_MUTATIONS` asks for more.
const MUTATIONS: usize = 3_000;
/// Mutated inputs grow no larger.
const MAX_INPUT: usize = 4_096;

#[test]
fn every_target_takes_its_corpus_and_mutations_of_it() {
    let mutations = std::env::var("QALQAN_FUZZ_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(MUTATIONS);
    for (name, target) in targets::ALL {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "fuzz/corpus/{name} is empty");
        corpus.iter().for_each(|input| target(input));
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..mutations {
            target(&mutated(&corpus, &mut random));
        }
    }
}

/// The files of a target's corpus, sorted by name.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a file")).collect()
}

/// One input with some bytes flipped, cut out, doubled, or replaced by a piece of another input.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        let (from, to) = random.range(input.len());
        match random.below(5) {
            0 if from < input.len() => input[from] = random.next() as u8,
            1 => drop(input.drain(from..to)),
            2 => {
                let piece = input[from..to].to_vec();
                input.splice(from..from, piece);
            }
            3 => {
                let other = &corpus[random.below(corpus.len())];
                let (start, end) = random.range(other.len());
                input.splice(from..to, other[start..end].iter().copied());
            }
            _ => {
                input.insert(from, *b"\n\r\t \0\\\"();#*.=,/^$@|:\xff\xad"[..].get(random.below(22)).unwrap_or(&b'\n'))
            }
        }
        input.truncate(MAX_INPUT);
    }
    input
}

/// xorshift64: the same mutations on every machine.
struct Random(u64);

impl Random {
    /// The next number.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`, or 0.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Two positions in something of this length, in order.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let (a, b) = (self.below(length + 1), self.below(length + 1));
        (a.min(b), a.max(b))
    }
}
