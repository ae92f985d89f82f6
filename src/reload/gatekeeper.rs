//! Brings the gate what it compares with, and lets it look only at what it has not seen.

mod standing;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use self::standing::Standing;
use super::report::{GateReport, Loaded};
use super::side::Side;
use crate::config::{ListSettings, Settings};
use crate::gate::{
    self, Checks, Decisions, Finding, Gate, Guarded, Held, Inputs, Look, MAX_HELD, NamedFile, Outcome, Pattern,
    Popular, Settled, Why,
};
use crate::list::{self, Format, Parsed, SourceFile, Spec};
use crate::name::{NameBuf, is_at_or_below};
use crate::rule::{Effect, FileRules, Mode, Role, Scope};
use crate::set::Part;

/// The gate, and what it has seen.
#[derive(Debug, Default)]
pub(super) struct Gatekeeper {
    decisions: Side<Decisions>,
    decided: Arc<Decisions>,
    never: Side<Never>,
    ranks: Side<Popular>,
    gate: Arc<Gate>,
    /// By list, whether on trial, and file.
    seen: HashMap<(String, bool), HashMap<Arc<str>, Checked>>,
}

/// A file the gate has looked at.
#[derive(Debug)]
struct Checked {
    rules: Arc<FileRules>,
    checks: Checks,
    gate: Arc<Gate>,
    outcome: Arc<Outcome>,
    decisions: Arc<Decisions>,
    settled: Arc<Settled>,
    room: usize,
}

/// What `never_block_file` says.
#[derive(Debug, Default)]
struct Never {
    guarded: Vec<Guarded>,
    /// Lines that say nothing.
    remarks: Vec<String>,
}

impl Gatekeeper {
    /// Where the operator's decisions are.
    pub(super) fn decided_in(&mut self, path: PathBuf) {
        self.decisions = Side::at(path);
    }

    /// Looks at the files beside the lists.
    pub(super) fn look(&mut self, settings: &gate::Settings, distrust: bool) {
        let path = self.decisions.path.clone();
        if !path.as_os_str().is_empty() {
            self.decisions.look(&path, 0, distrust, || Decisions::load(&path), |old, new| old == new);
        }
        if let Some(decisions) = &self.decisions.value {
            self.decided = Arc::clone(decisions);
        }
        match &settings.never_block_file {
            Some(file) => {
                let same = |old: &Never, new: &Never| old.guarded == new.guarded && old.remarks == new.remarks;
                self.never.look(&file.path, 0, distrust, || never(file), same);
            }
            None => self.never = Side::default(),
        }
        match &settings.popular {
            Some(popular) => {
                let (path, top) = (&popular.file.path, popular.top);
                // Half of what it had is half a download, and would let enforce what is held; an operator may ask for it.
                let least = self.ranks.of(path, top).filter(|_| !distrust).map_or(0, |known| known.names().div_ceil(2));
                let read = || ranks(path, top, least);
                self.ranks.look(path, top, distrust, read, |old, new| old == new);
            }
            None => self.ranks = Side::default(),
        }
    }

    /// Where the operator's decisions are; empty if nobody said.
    pub(super) fn decisions_path(&self) -> &Path {
        &self.decisions.path
    }

    /// What the operator has decided.
    pub(super) fn decisions(&self) -> Arc<Decisions> {
        Arc::clone(&self.decided)
    }

    /// Marks in `loaded` which rules are held, and reports on them.
    pub(super) fn pass(&mut self, settings: &Settings, loaded: &mut Loaded) {
        let inputs = self.inputs(settings, &loaded.parts);
        if *self.gate.inputs() != inputs {
            self.gate = Arc::new(Gate::new(inputs));
        }
        loaded.gate = Arc::clone(&self.gate);
        loaded.decisions = self.decisions();
        loaded.gate_troubles = self.troubles(settings);
        let mut before = std::mem::take(&mut self.seen);
        let mut entries: Vec<Vec<Held>> = vec![Vec::new(); loaded.reports.len()];
        // Of a list with a version on trial, that one is reported on; what all have was reported on in its time.
        let tried: HashSet<u16> = loaded.groups.iter().flat_map(|group| group.lists.iter().copied()).collect();
        let for_all = loaded.parts.iter_mut().map(|part| (part, false));
        let for_some = loaded.groups.iter_mut().flat_map(|group| &mut group.parts).map(|part| (part, true));
        for (part, on_trial) in for_all.chain(for_some) {
            let at = usize::from(part.list);
            let told = on_trial || !tried.contains(&part.list);
            let (Some(list), Some(report)) = (settings.lists.get(at), loaded.reports.get_mut(at)) else { continue };
            let Some(shown) = entries.get_mut(at).filter(|_| list.spec.role == Role::Block) else { continue };
            let name = (list.spec.name.clone(), on_trial);
            let known = before.get_mut(&name).and_then(|files| files.remove(part.rules.path()));
            let room = if told { MAX_HELD.saturating_sub(shown.len()) } else { 0 };
            let checked = self.check(list, part, known.as_ref(), &loaded.decisions, room);
            let counts = &mut report.gate;
            if told {
                counts.open += checked.settled.open;
                counts.dismissed += checked.settled.dismissed;
                counts.released += checked.settled.released;
                counts.excepted += checked.outcome.excepted;
            }
            if let Some(known) = known {
                counts.taken_back += taken_back(&known, &checked);
                counts.let_go += let_go(&known, &checked);
            }
            shown.extend(checked.settled.shown.iter().cloned());
            part.held = Arc::clone(&checked.settled.held);
            let files = self.seen.entry(name).or_default();
            files.insert(Arc::clone(part.rules.path()), checked);
        }
        for (report, entries) in loaded.reports.iter_mut().zip(entries) {
            report.gate = GateReport { entries: entries.into(), ..std::mem::take(&mut report.gate) };
        }
    }

    /// Looks at one file, as far as that was not done before.
    fn check(
        &self,
        list: &ListSettings,
        part: &Part,
        known: Option<&Checked>,
        decisions: &Arc<Decisions>,
        room: usize,
    ) -> Checked {
        let rules = &part.rules;
        let alike = |known: &&Checked| {
            Arc::ptr_eq(&known.rules, rules) && known.checks == list.gate && Arc::ptr_eq(&known.gate, &self.gate)
        };
        let same = known.filter(alike);
        let outcome = match same {
            Some(known) => Arc::clone(&known.outcome),
            None => Arc::new(self.gate.examine(&list.gate, rules)),
        };
        let settled = match same.filter(|known| Arc::ptr_eq(&known.decisions, decisions) && known.room == room) {
            Some(known) => Arc::clone(&known.settled),
            None => Arc::new(self.gate.settle(&list.spec.name, rules, &outcome, decisions, room)),
        };
        let (rules, gate, decisions) = (Arc::clone(rules), Arc::clone(&self.gate), Arc::clone(decisions));
        Checked { rules, checks: list.gate.clone(), gate, outcome, decisions, settled, room }
    }

    /// What entries are compared with.
    fn inputs(&self, settings: &Settings, parts: &[Part]) -> Inputs {
        let guarded = |(pattern, why): &(Pattern, Why)| Guarded { pattern: pattern.clone(), why: why.clone() };
        let never = |pattern: &Pattern| Guarded { pattern: pattern.clone(), why: Why::NeverBlock };
        let of_file = self.never.value.iter().flat_map(|never| never.guarded.iter().cloned());
        let own = settings.gate.own.iter().map(guarded);
        let enforced = |part: &&Part| {
            let list = settings.lists.get(usize::from(part.list));
            list.is_some_and(|list| list.spec.mode == Mode::Enforce)
                && part.rules.kinds().iter().any(|kind| kind.effect == Effect::Allow)
        };
        let named = settings.gate.popular.as_ref();
        Inputs {
            guarded: own.chain(settings.gate.never_block.iter().map(never)).chain(of_file).collect(),
            popular: named.and_then(|popular| Some((self.ranks.value.clone()?, popular.file.shown.as_str().into()))),
            allow: parts.iter().filter(enforced).map(|part| Arc::clone(&part.rules)).collect(),
        }
    }

    /// What is wrong with the files beside the lists.
    fn troubles(&self, settings: &Settings) -> Vec<String> {
        let mut troubles = Vec::new();
        if let Some(why) = &self.decisions.trouble {
            let rest = match self.decisions.value {
                Some(_) => "what was read of it before stays in use",
                None => "WHAT WAS RELEASED IS HELD until it can be read",
            };
            troubles.push(format!("{why}; {rest}"));
        }
        if let (Some(file), Some(why)) = (&settings.gate.never_block_file, &self.never.trouble) {
            let rest = match self.never.value {
                Some(_) => "what was read of it before stays in use",
                None => "only the names in never_block are protected until it can be read",
            };
            troubles.push(format!("cannot use never_block_file {}: {why}; {rest}", file.shown));
        }
        troubles.extend(self.never.value.iter().flat_map(|never| never.remarks.iter().cloned()));
        if let (Some(popular), Some(why)) = (&settings.gate.popular, &self.ranks.trouble) {
            let rest = match self.ranks.value {
                Some(_) => "what was read of it before stays in use",
                None => "THE CHECK FOR POPULAR NAMES IS OFF until it can be read",
            };
            troubles.push(format!("cannot use the rank list {}: {why}; {rest}", popular.file.shown));
        }
        troubles
    }
}

/// Every held entry that would block `name`, were it enforced.
pub fn held_over(loaded: &Loaded, settings: &Settings, name: &NameBuf) -> Vec<Held> {
    let mut found = Vec::new();
    for part in loaded.parts.iter().filter(|part| !part.held.is_empty()) {
        let Some(list) = settings.lists.get(usize::from(part.list)) else { continue };
        for &rule in part.held.iter() {
            let view = part.rules.rule(rule);
            let entry = view.name();
            let below = name.label_count().saturating_sub(entry.label_count());
            let covers = is_at_or_below(name.wire(), entry.wire()) && view.kind.scope.covers(below);
            if !covers {
                continue;
            }
            if let Look::Held(reason) = loaded.gate.look(&list.gate, view.kind.scope, entry.wire()) {
                let finding = Finding { rule, reason };
                found.push(loaded.gate.held(&list.spec.name, &part.rules, finding, &loaded.decisions));
            }
        }
    }
    found
}

/// Reads a rank list, which must have `least` names.
fn ranks(path: &Path, top: u32, least: u32) -> Result<Popular, String> {
    let popular = File::open(path).and_then(|file| Popular::read(BufReader::new(file), top));
    let popular = popular.map_err(|error| error.to_string())?;
    match popular.names() {
        names if names < least => Err(format!(
            "it has {names} names now, less than half of those before; if that is meant, `qalqan reload` takes it"
        )),
        _ => Ok(popular),
    }
}

/// Reads `never_block_file`.
fn never(file: &NamedFile) -> Result<Never, String> {
    // However many lines are wrong, the others protect.
    let (role, max_rejected, shown) = (Role::Allow, 10_000, file.shown.clone());
    let spec = Spec { role, max_rejected, shown, ..Spec::new("", file.path.clone(), Format::Domains) };
    let shown: Arc<str> = file.shown.as_str().into();
    let source = SourceFile { path: file.path.clone(), shown: Arc::clone(&shown) };
    let bytes = list::read(&spec, &source).map_err(|error| error.to_string())?;
    let Parsed { rules, report } = list::parse(&spec, &shown, &bytes).map_err(|why| why.to_string())?;
    let guarded = rules.iter().map(|rule| {
        let pattern = Pattern { name: rule.name().to_name(), scope: rule.kind.scope };
        Guarded { pattern, why: Why::NeverBlockFile(Arc::clone(&shown), rule.line) }
    });
    let remarks = report.rejections.iter().map(|rejection| {
        let list::Rejection { line, column, entry, reason } = rejection;
        format!("{shown}:{line}:{column}: {reason}: {entry} (this protects nothing)")
    });
    Ok(Never { guarded: guarded.collect(), remarks: remarks.collect() })
}

/// How many entries of a file that is as it was are enforced now and were held before, without anybody's word: the checks
/// have changed, or what they compare with.
fn let_go(before: &Checked, now: &Checked) -> u64 {
    if !Arc::ptr_eq(&before.rules, &now.rules) || Arc::ptr_eq(&before.outcome, &now.outcome) {
        return 0;
    }
    let mut name = NameBuf::new();
    let passes = |rule: &&u32| {
        let view = now.rules.rule(**rule);
        name.set_wire(view.name().wire()).is_ok()
            && now.gate.look(&now.checks, view.kind.scope, name.wire()) == Look::Pass
    };
    before.settled.held.iter().filter(passes).count() as u64
}

/// How many entries are held now that were enforced before.
fn taken_back(before: &Checked, now: &Checked) -> u64 {
    let newly: Vec<u32> = match Arc::ptr_eq(&before.rules, &now.rules) {
        true => {
            let held = &now.settled.held;
            return held.iter().filter(|rule| before.settled.held.binary_search(rule).is_err()).count() as u64;
        }
        false => now.settled.held.to_vec(),
    };
    if newly.is_empty() {
        return 0;
    }
    let pattern = |rules: &FileRules, rule: u32| {
        let view = rules.rule(rule);
        (view.kind.scope, Box::<[u8]>::from(view.name().wire()))
    };
    let mut wanted: HashSet<(Scope, Box<[u8]>)> = newly.iter().map(|&rule| pattern(&now.rules, rule)).collect();
    for &rule in before.settled.held.iter() {
        wanted.remove(&pattern(&before.rules, rule));
    }
    if wanted.is_empty() {
        return 0;
    }
    let (mut names, mut name, mut enforced) = (before.rules.names(), NameBuf::new(), 0);
    while let Some(number) = names.next(&mut name) {
        let (_, kind) = before.rules.kind(number);
        enforced += u64::from(wanted.remove(&(kind.scope, name.wire().into())));
    }
    enforced
}

#[cfg(test)]
mod tests;
