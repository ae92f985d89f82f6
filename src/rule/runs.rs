//! Many names sorted in little room: sorted by the hundred thousand, kept short, merged at the end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::blocks::{Blocks, Writer};
use super::key;
use super::names::Plain;
use crate::util::Packed;

/// So many rules are sorted at a time: more would take more room while that is done, fewer more time to merge.
pub const RUN: usize = 1 << 15;

/// What is known of the rules beside their names, in the order the file had them.
#[derive(Debug, Default)]
pub struct Facts {
    /// The line of each.
    pub lines: Vec<u32>,
    /// The kind of each.
    pub kinds: Vec<u32>,
}

/// Sorted runs of rules.
///
/// A rule in a run is how many bytes of its key it shares with the one before, how many come new, its kind, its line
/// (all four in sevenths of a byte), and the new bytes.
#[derive(Debug)]
pub struct Runs {
    runs: Vec<Box<[u8]>>,
    len: usize,
    /// How often each byte comes new: close to how often it will when all is merged.
    counts: Box<[u64; 256]>,
    max_line: u32,
    max_kind: u32,
}

impl Default for Runs {
    fn default() -> Self {
        Self { runs: Vec::new(), len: 0, counts: Box::new([0; 256]), max_line: 0, max_kind: 0 }
    }
}

impl Runs {
    /// How many rules.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Takes the rules that came since the last call.
    pub fn add(&mut self, names: &Plain, facts: &Facts) {
        let count = facts.lines.len();
        for from in (0..count).step_by(RUN) {
            self.add_run(names, facts, from..count.min(from + RUN));
        }
    }

    /// Takes some of them.
    fn add_run(&mut self, names: &Plain, facts: &Facts, rules: Range<usize>) {
        let first = rules.start as u32;
        let mut keys = Vec::with_capacity((names.offsets[rules.end] - names.offsets[rules.start]) as usize);
        let mut order = Vec::with_capacity(rules.len());
        let mut starts = Vec::with_capacity(rules.len() + 1);
        for index in first..rules.end as u32 {
            let start = keys.len();
            starts.push(start as u32);
            key::append(names.name(index), &mut keys);
            order.push((front(&keys[start..]), index));
        }
        starts.push(keys.len() as u32);
        let key = |index: u32| {
            let at = (index - first) as usize;
            &keys[starts[at] as usize..starts[at + 1] as usize]
        };
        // Equal names stay in the order of the file.
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(key(b.1))).then(a.1.cmp(&b.1)));
        let mut run = Vec::with_capacity(keys.len() / 2 + 8 * order.len());
        let mut last: &[u8] = &[];
        for &(_, index) in &order {
            let key = key(index);
            let shared = last.iter().zip(key).take_while(|(a, b)| a == b).count();
            let (line, kind) = (facts.lines[index as usize], facts.kinds[index as usize]);
            for number in [shared as u32, (key.len() - shared) as u32, kind, line] {
                put(&mut run, number);
            }
            run.extend_from_slice(&key[shared..]);
            key[shared..].iter().for_each(|&byte| self.counts[usize::from(byte)] += 1);
            self.max_line = self.max_line.max(line);
            self.max_kind = self.max_kind.max(kind);
            last = key;
        }
        self.len += order.len();
        self.runs.push(run.into());
    }

    /// All rules, sorted: names, lines, kinds.
    pub fn merge(self) -> (Blocks, Packed, Packed) {
        let mut lines = Packed::zeros(self.len, self.max_line);
        let mut kinds = Packed::zeros(self.len, self.max_kind);
        let mut names = Writer::new(self.len, &self.counts);
        // Of equal names those of an earlier run are earlier in the file.
        let fronts = self.runs.iter().enumerate().filter_map(|(run, bytes)| {
            let mut front = Box::new(Front { key: Vec::new(), run, line: 0, kind: 0, rest: bytes });
            front.advance().then_some(Reverse(front))
        });
        let mut fronts: BinaryHeap<_> = fronts.collect();
        let mut index = 0;
        while let Some(mut front) = fronts.peek_mut() {
            let Reverse(rule) = &mut *front;
            names.push(&rule.key);
            lines.set(index, rule.line);
            kinds.set(index, rule.kind);
            index += 1;
            if !rule.advance() {
                std::collections::binary_heap::PeekMut::pop(front);
            }
        }
        drop(fronts);
        drop(self.runs);
        (names.finish(), lines, kinds)
    }
}

/// The next rule of a run; ordered by key, then by run.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Front<'a> {
    key: Vec<u8>,
    run: usize,
    line: u32,
    kind: u32,
    rest: &'a [u8],
}

impl Front<'_> {
    /// Goes to the next rule; false if there is none.
    fn advance(&mut self) -> bool {
        if self.rest.is_empty() {
            return false;
        }
        let [shared, new, kind, line] = std::array::from_fn(|_| take(&mut self.rest));
        let (bytes, rest) = self.rest.split_at(new as usize);
        self.key.truncate(shared as usize);
        self.key.extend_from_slice(bytes);
        (self.kind, self.line, self.rest) = (kind, line, rest);
        true
    }
}

/// The first eight bytes of a key as a number that sorts as they do.
fn front(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(8);
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
}

/// Writes a number in sevenths, the low ones first.
fn put(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Reads what [`put`] wrote.
fn take(bytes: &mut &[u8]) -> u32 {
    let mut number = 0;
    for shift in (0..u32::BITS).step_by(7) {
        let Some((&byte, rest)) = bytes.split_first() else { break };
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}
