//! More hits than the pump can take: lines are lost, counts never.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::event::Why;

/// Rules of every generation.
const RULES: u32 = 3000;

/// Explains hits by the rule's number alone.
struct Generation(u64);

/// What becomes of queries that a rule decides.
fn outcome(rule: u32) -> Outcome {
    Outcome::ALL[rule as usize % 3]
}

/// The list a rule stands in.
fn list(generation: u64, rule: u32) -> String {
    format!("{generation}/{rule}")
}

impl Attribution for Generation {
    fn causes(&self, name: &[u8], _: Mode, _: u16) -> Vec<Cause> {
        // The names here are numbers of rules.
        let rule = u32::from(name[1]) << 16 | u32::from(name[2]) << 8 | u32::from(name[3]);
        self.causes_at(rule).map(|(_, causes)| causes).unwrap_or_default()
    }

    fn causes_of(&self, rule: u32) -> Option<Vec<Cause>> {
        self.causes_at(rule).map(|(_, causes)| causes)
    }

    fn rules(&self) -> u32 {
        RULES
    }

    fn causes_at(&self, rule: u32) -> Option<(Outcome, Vec<Cause>)> {
        let orders = vec![order("1/25")];
        let cause = Cause { list: list(self.0, rule), file: "f".into(), line: 1, rule: "r".into(), orders };
        (rule < RULES).then(|| (outcome(rule), vec![cause]))
    }
}

/// Hits by what they were counted under.
#[derive(Debug, Default)]
struct Counts {
    lists: HashMap<(Outcome, String), u64>,
    forms: HashMap<Form, u64>,
    unexamined: u64,
    refused: u64,
    finished: bool,
}

/// Counts, and now and then has no room.
struct Picky {
    counts: Arc<Mutex<Counts>>,
    turn: u64,
    refuses: bool,
}

impl Picky {
    fn count(&mut self, why: &Arc<Why>, hits: u64, refused: u64) -> bool {
        self.turn += 1;
        let mut counts = self.counts.lock().expect("no panic");
        if self.refuses && self.turn.is_multiple_of(refused) {
            counts.refused += 1;
            return false;
        }
        *counts.lists.entry((why.subject.outcome, why.subject.list.to_string())).or_default() += hits;
        true
    }
}

impl Count for Picky {
    fn take(&mut self, hit: &Hit<'_>, why: &Arc<Why>) -> bool {
        assert_eq!(hit.outcome, why.subject.outcome);
        *self.counts.lock().expect("no panic").forms.entry(Form::of(hit)).or_default() += 1;
        self.count(why, 1, 3)
    }

    fn unexamined(&mut self, why: &Arc<Why>, hits: u64, _: Now) -> bool {
        let counted = self.count(why, hits, 1000);
        self.counts.lock().expect("no panic").unexamined += if counted { hits } else { 0 };
        counted
    }

    fn forms(&mut self, form: Form, hits: u64, _: Now) {
        *self.counts.lock().expect("no panic").forms.entry(form).or_default() += hits;
    }

    fn rest(&mut self, _: Now) {}

    fn finish(&mut self, _: Now) {
        self.counts.lock().expect("no panic").finished = true;
    }
}

/// Sends hits from several threads, with reloads in between; says what was sent and what was counted.
fn overload(refuses: bool, file: Option<PathBuf>, reloads: u64) -> (HashMap<(u64, u32), u64>, Counts, HitLogCounters) {
    let counts = Arc::new(Mutex::new(Counts::default()));
    let count = Picky { counts: Arc::clone(&counts), turn: 0, refuses };
    let takers = Takers { count: Some(Box::new(count)), sinks: Vec::new() };
    let settings = Settings { file, ..settings(Path::new("")) };
    let log = HitLog::with_rings(&settings, takers, 256).expect("started");
    log.announce(1, Arc::new(Generation(1)));
    let generation = AtomicU64::new(1);
    let common = log.sender();
    let senders = [log.sender(), log.sender(), common.clone(), common.clone()];
    let sent = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..)
            .zip(senders)
            .map(|(seed, mut sender)| {
                let generation = &generation;
                scope.spawn(move || {
                    let mut sent: HashMap<(u64, u32), u64> = HashMap::new();
                    for number in 0..40_000_u32 {
                        let rule = (number.wrapping_mul(2_654_435_761).wrapping_add(seed)) % RULES;
                        let [_, a, b, c] = rule.to_be_bytes();
                        let name = [3, a, b, c, 0];
                        let generation = generation.load(Ordering::Acquire);
                        let outcome = outcome(rule);
                        let answer =
                            if outcome == Outcome::Blocked { AnswerKind::Nxdomain } else { AnswerKind::Passed };
                        let qtype = (number % 600) as u16;
                        let alone = number % 2 == 0;
                        sender.send(&Hit { generation, outcome, answer, qtype, rule, alone, ..hit(&name) });
                        *sent.entry((generation, rule)).or_default() += 1;
                    }
                    sent
                })
            })
            .collect();
        for next in 2..=reloads {
            std::thread::sleep(Duration::from_millis(3));
            log.announce(next, Arc::new(Generation(next)));
            generation.store(next, Ordering::Release);
        }
        let mut all: HashMap<(u64, u32), u64> = HashMap::new();
        for thread in threads {
            for (key, hits) in thread.join().expect("a worker") {
                *all.entry(key).or_default() += hits;
            }
        }
        all
    });
    let counters = log.close();
    let counts = std::mem::take(&mut *counts.lock().expect("no panic"));
    (sent, counts, counters)
}

#[test]
fn every_hit_is_counted_under_its_rule_at_any_load() {
    let (sent, counts, _) = overload(false, None, 5);
    assert!(counts.finished && counts.unexamined > 0, "the rings never overflowed");
    let expected: HashMap<_, _> =
        sent.into_iter().map(|((generation, rule), hits)| ((outcome(rule), list(generation, rule)), hits)).collect();
    assert_eq!(counts.lists.len(), expected.len());
    assert!(counts.lists == expected);
    assert_eq!(counts.forms.values().sum::<u64>(), 160_000);
}

#[test]
fn what_there_is_no_room_for_is_counted_later_and_the_log_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hits.jsonl");
    // More reloads than are remembered: what comes too late is counted under no rule, but by outcome.
    let (sent, counts, counters) = overload(true, Some(path.clone()), 20);
    assert!(counts.finished && counts.unexamined > 0 && counts.refused > 0);
    let mut by_outcome: HashMap<Outcome, (u64, u64)> = HashMap::new();
    let mut lines = 0;
    for (&(generation, rule), &hits) in &sent {
        let outcome = outcome(rule);
        by_outcome.entry(outcome).or_default().0 += hits;
        lines += if outcome == Outcome::Excepted { 0 } else { hits };
        let counted = counts.lists.get(&(outcome, list(generation, rule))).copied().unwrap_or(0);
        assert!(counted <= hits || generation == 20, "{counted} of {hits}");
    }
    for ((outcome, _), hits) in &counts.lists {
        by_outcome.entry(*outcome).or_default().1 += hits;
    }
    assert!(by_outcome.values().all(|(sent, counted)| sent == counted), "{by_outcome:?}");
    let mut forms: HashMap<Outcome, u64> = HashMap::new();
    counts.forms.iter().for_each(|(form, hits)| *forms.entry(form.outcome).or_default() += hits);
    assert!(by_outcome.iter().all(|(outcome, (sent, _))| forms[outcome] == *sent), "{forms:?}");
    assert_eq!(counters.written + counters.dropped_full + counters.dropped_write, lines, "no line of an exception");
    assert_eq!(super::lines(&path).len() as u64, counters.written);
}
