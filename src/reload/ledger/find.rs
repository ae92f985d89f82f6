//! Finding the rules of orders again where they lie.

use std::collections::HashMap;

use super::{Ledger, Share};
use crate::rule::{FileRules, RuleView};

/// Finds rules of shares; remembers where the rules of a file are, so that many orders cost one walk over it.
#[derive(Debug)]
pub(super) struct Finder<'a> {
    ledger: &'a Ledger,
    files: HashMap<u32, ByKind>,
}

/// The numbers of a file's rules, those of a kind together.
#[derive(Debug)]
struct ByKind {
    /// Where each kind starts, and one past the last.
    starts: Vec<u32>,
    rules: Vec<u32>,
}

impl<'a> Finder<'a> {
    /// For the shares of this ledger.
    pub(super) fn new(ledger: &'a Ledger) -> Self {
        Self { ledger, files: HashMap::new() }
    }

    /// Shows `visit` every rule of a share: the index of its file, its number there, the rule.
    pub(super) fn rules(&mut self, share: &Share, mut visit: impl FnMut(u32, u32, RuleView<'a>)) {
        for &(source, kind) in &share.kinds {
            let Some(rules) = self.ledger.source(source).and_then(|source| source.rules.as_ref()) else { continue };
            let file = self.files.entry(source).or_insert_with(|| ByKind::of(rules));
            for &index in file.of_kind(kind) {
                visit(source, index, rules.rule(index));
            }
        }
    }
}

impl ByKind {
    /// Counts, then fills in.
    fn of(rules: &FileRules) -> Self {
        let all = 0..rules.len() as u32;
        let mut starts = vec![0_u32; rules.kinds().len() + 1];
        for index in all.clone() {
            starts[rules.kind(index).0 as usize + 1] += 1;
        }
        for kind in 1..starts.len() {
            starts[kind] += starts[kind - 1];
        }
        let mut next = starts.clone();
        let mut numbers = vec![0; rules.len()];
        for index in all {
            let at = &mut next[rules.kind(index).0 as usize];
            numbers[*at as usize] = index;
            *at += 1;
        }
        Self { starts, rules: numbers }
    }

    /// The rules of one.
    fn of_kind(&self, kind: u32) -> &[u32] {
        let kind = kind as usize;
        let range = self.starts.get(kind).zip(self.starts.get(kind + 1));
        range.and_then(|(&from, &to)| self.rules.get(from as usize..to as usize)).unwrap_or_default()
    }
}
