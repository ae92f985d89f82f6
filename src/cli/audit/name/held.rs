//! Which entries were held at a moment, as the log tells it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::audit::{HeldEntries, RuleVerdict};

/// What is known, as of the event looked at last.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// By list and version: what was told last.
    told: HashMap<String, BTreeMap<u64, Set>>,
    /// By list and rule: whether it was released, and when.
    decided: HashMap<(String, String), (bool, u64)>,
    /// Counts events: later ones have the last word.
    clock: u64,
}

/// The entries of one event.
#[derive(Debug)]
struct Set {
    entries: HeldEntries,
    sample: BTreeSet<String>,
    at: u64,
}

impl Set {
    /// Whether an entry is in it; `None` if that is not told.
    fn has(&self, rule: &str) -> Option<bool> {
        if self.sample.contains(rule) {
            return Some(true);
        }
        let all = self.entries.sample.len() as u64 >= self.entries.entries;
        if all { Some(false) } else { self.entries.is_marked(rule) }
    }
}

impl Holds {
    /// A server begins: what it holds, it tells anew.
    pub(super) fn started(&mut self) {
        self.told.clear();
    }

    /// Entries wait for somebody to look at them; all of that version, and no others.
    pub(super) fn held(&mut self, entries: HeldEntries) {
        self.clock += 1;
        let sample = entries.sample.iter().map(|entry| entry.rule.as_str().to_owned()).collect();
        let (list, version) = (entries.list.as_str().to_owned(), entries.version);
        self.told.entry(list).or_default().insert(version, Set { entries, sample, at: self.clock });
    }

    /// Somebody released an entry, or dismissed it.
    pub(super) fn decided(&mut self, verdict: &RuleVerdict, released: bool) {
        self.clock += 1;
        self.decided.insert(key(verdict.list.as_str(), verdict.rule.as_str()), (released, self.clock));
    }

    /// What was decided about an entry is taken back: if it is held again, that is told.
    pub(super) fn undecided(&mut self, verdict: &RuleVerdict) {
        self.decided.remove(&key(verdict.list.as_str(), verdict.rule.as_str()));
    }

    /// Whether an entry of a version was held; `None` if that cannot be known.
    pub(super) fn is_held(&self, list: &str, version: Option<u64>, rule: &str) -> Option<bool> {
        let of_list = self.told.get(list);
        let wanted = version.unwrap_or(u64::MAX);
        let exact = of_list.and_then(|told| told.get(&wanted));
        let latest = || of_list.and_then(|told| told.range(..=wanted).map(|(_, set)| set).max_by_key(|set| set.at));
        let set = exact.or_else(latest);
        let has = set.map_or(Some(false), |set| set.has(rule));
        match self.decided.get(&key(list, rule)) {
            // What is held for another reason than it was released for is told again.
            Some((true, at)) => Some(has == Some(true) && set.is_some_and(|set| set.at > *at)),
            Some((false, _)) => Some(true),
            None => has,
        }
    }
}

/// What is looked up by.
fn key(list: &str, rule: &str) -> (String, String) {
    (list.to_owned(), rule.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(holds: &mut Holds, version: u64, rules: &[&str]) {
        let entries = rules.iter().map(|rule| (rule, "a public suffix"));
        holds.held(HeldEntries::new("l", version, rules.len() as u64, entries));
    }

    fn verdict(rule: &str) -> RuleVerdict {
        RuleVerdict { list: "l".into(), rule: rule.into(), reason: "r".into() }
    }

    #[test]
    fn the_last_word_counts_for_each_version() {
        let mut holds = Holds::default();
        told(&mut holds, 1, &["us.com", "uk.com"]);
        told(&mut holds, 2, &["eu.com"]);
        let is = |holds: &Holds, version, rule| holds.is_held("l", Some(version), rule);
        assert_eq!(
            [is(&holds, 1, "us.com"), is(&holds, 2, "us.com"), is(&holds, 2, "eu.com")],
            [true, false, true].map(Some)
        );
        assert_eq!(
            (is(&holds, 3, "eu.com"), is(&holds, 3, "us.com")),
            (Some(true), Some(false)),
            "nothing newer was told"
        );
        holds.decided(&verdict("eu.com"), true);
        assert_eq!(is(&holds, 2, "eu.com"), Some(false));
        told(&mut holds, 3, &["eu.com"]);
        assert_eq!(is(&holds, 3, "eu.com"), Some(true), "released for another reason");
        holds.decided(&verdict("eu.com"), false);
        told(&mut holds, 4, &[]);
        assert_eq!(is(&holds, 4, "eu.com"), Some(true), "dismissed ones wait for nobody");
        holds.undecided(&verdict("eu.com"));
        assert_eq!(is(&holds, 4, "eu.com"), Some(false));
        holds.started();
        assert_eq!(is(&holds, 1, "us.com"), Some(false));
    }

    #[test]
    fn more_than_the_sample_is_certain_as_long_as_all_are_marked() {
        let rules: Vec<String> = (0..6000).map(|n| format!("n{n}.example")).collect();
        for (count, certain) in [(20, true), (21, true), (4096, true), (4097, false)] {
            let mut holds = Holds::default();
            told(&mut holds, 1, &rules[..count].iter().map(String::as_str).collect::<Vec<_>>());
            for (at, rule) in rules.iter().enumerate() {
                let expected = (certain || at < 20).then_some(at < count);
                assert_eq!(holds.is_held("l", Some(1), rule), expected, "{rule} of {count}");
            }
        }
    }
}
