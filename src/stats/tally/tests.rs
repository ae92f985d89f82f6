use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use proptest::prelude::*;

use super::*;
use crate::event::{AnswerKind, Outcome, Subject, Transport};
use crate::stats::Of;

const NOON: i64 = 1_769_860_800_000;

/// What a store would know after all it was told.
#[derive(Debug, Default, PartialEq)]
struct Ledger {
    known: HashMap<u32, String>,
    rows: HashMap<(String, i64), (u64, u64, u64)>,
    kinds: HashMap<(i64, Form), u64>,
    clients: HashMap<(i64, u64, Of), u64>,
    most_known: usize,
}

impl Ledger {
    /// Enters a delta, by the rules its fields state.
    fn enter(&mut self, delta: Delta) {
        for number in delta.forgotten {
            assert!(self.known.remove(&number).is_some(), "{number} was never told");
        }
        for (number, why) in delta.subjects {
            let name = format!("{} {}", why.subject.outcome.as_str(), why.subject.rule);
            assert!(self.known.insert(number, name).is_none(), "{number} was told twice");
        }
        self.most_known = self.most_known.max(self.known.len());
        for row in delta.rows {
            assert!(row.unexamined + row.attempts <= row.hits && row.hits > 0, "{row:?}");
            let sums = self.rows.entry((self.known[&row.subject].clone(), row.minute)).or_default();
            *sums = (sums.0 + row.hits, sums.1 + row.attempts, sums.2 + row.unexamined);
        }
        for kind in delta.kinds {
            let form = Form::new(kind.outcome, kind.qtype, kind.answer, kind.transport);
            *self.kinds.entry((kind.minute, form)).or_default() += kind.hits;
        }
        for clients in delta.clients {
            self.clients.insert((clients.day, clients.segment, clients.of), clients.estimate);
        }
    }

    /// Enters all that has been sent.
    fn read(&mut self, from: &Receiver<Delta>) {
        from.try_iter().for_each(|delta| self.enter(delta));
    }

    fn hits(&self) -> u64 {
        self.rows.values().map(|(hits, ..)| hits).sum()
    }
}

fn why(id: u64, outcome: Outcome, rule: &str) -> Arc<Why> {
    let (list, also, orders) = ("orders".into(), Box::default(), Box::default());
    Arc::new(Why {
        id,
        subject: Subject { outcome, rule: rule.into(), list, also, orders },
        causes: Box::default(),
        group: None,
    })
}

fn hit(unix_ms: i64, client: u32, outcome: Outcome) -> Hit<'static> {
    Hit {
        unix_ms,
        generation: 1,
        client: std::net::Ipv4Addr::from_bits(client).into(),
        transport: Transport::Udp,
        group: 0,
        qtype: 1,
        outcome,
        answer: AnswerKind::Sinkhole,
        rule: 0,
        alone: true,
        name: b"\x07example\0",
        target: None,
    }
}

fn tally() -> (Tally, Receiver<Delta>, Arc<Live>) {
    Tally::new(TallySettings::default())
}

/// What one query or moment is.
#[derive(Clone, Debug)]
enum Step {
    Hit {
        rule: u8,
        client: u8,
        outcome: usize,
        qtype: u16,
        tcp: bool,
    },
    Counted {
        rule: u8,
        hits: u64,
    },
    /// The clock goes on, or is set back; everybody rests.
    Later(i64),
    Read,
}

fn some_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..6_u8, 0..5_u8, 0..3_usize, prop_oneof![Just(1), Just(28), Just(65), Just(40_000)], any::<bool>())
            .prop_map(|(rule, client, outcome, qtype, tcp)| Step::Hit { rule, client, outcome, qtype, tcp }),
        1 => (0..6_u8, 1..1000_u64).prop_map(|(rule, hits)| Step::Counted { rule, hits }),
        4 => prop_oneof![0..2_000_i64, 0..90_000_i64, Just(-3_600_000), Just(86_400_000)].prop_map(Step::Later),
        2 => Just(Step::Read),
    ]
}

proptest! {
    #[test]
    fn what_the_store_is_told_is_what_was_counted_whenever_it_listens(
        steps in prop::collection::vec(some_step(), 1..400),
    ) {
        let (mut tally, from, live) = tally();
        let (mut told, mut twin) = (Ledger::default(), Ledger::default());
        let mut attempts: HashMap<(u8, usize, u8), i64> = HashMap::new();
        let mut now = NOON;
        for (id, step) in (1..).zip(steps) {
            let minute = now.div_euclid(60_000);
            match step {
                Step::Hit { rule, client, outcome, qtype, tcp } => {
                    let began = attempts.get(&(rule, outcome, client)).copied();
                    let new = began.is_none_or(|began| (now - began).abs() >= 60_000);
                    if new {
                        attempts.insert((rule, outcome, client), now);
                    }
                    let outcome = Outcome::ALL[outcome];
                    let transport = if tcp { Transport::Tcp } else { Transport::Udp };
                    let hit = Hit { qtype, transport, ..hit(now, client.into(), outcome) };
                    // As after each reload: the reason is another, what is counted under is not.
                    let taken = tally.take(&hit, &why(id, outcome, &format!("rule{rule}")));
                    prop_assert!(taken);
                    let row = twin.rows.entry((format!("{} rule{rule}", outcome.as_str()), minute)).or_default();
                    *row = (row.0 + 1, row.1 + u64::from(new), row.2);
                    *twin.kinds.entry((minute, Form::of(&hit))).or_default() += 1;
                }
                Step::Counted { rule, hits } => {
                    let why = why(id, Outcome::Blocked, &format!("rule{rule}"));
                    let taken = tally.unexamined(&why, hits, Now { unix_ms: now });
                    prop_assert!(taken);
                    let form = Form::new(Outcome::Blocked, 1, AnswerKind::Nodata, Transport::Tcp);
                    tally.forms(form, hits, Now { unix_ms: now });
                    let row = twin.rows.entry((format!("blocked rule{rule}"), minute)).or_default();
                    *row = (row.0 + hits, row.1, row.2 + hits);
                    *twin.kinds.entry((minute, form)).or_default() += hits;
                }
                Step::Later(by) => {
                    now += by;
                    tally.rest(Now { unix_ms: now });
                }
                Step::Read => told.read(&from),
            }
        }
        told.read(&from);
        tally.finish(Now { unix_ms: now });
        told.read(&from);
        prop_assert_eq!(&told.rows, &twin.rows);
        prop_assert_eq!(&told.kinds, &twin.kinds);
        let counts = live.read();
        prop_assert_eq!(counts.hits.iter().sum::<u64>(), twin.hits());
        prop_assert_eq!(counts.answers.iter().map(|(.., hits)| hits).sum::<u64>(), twin.hits());
        prop_assert_eq!(counts.attempts, twin.rows.values().map(|(_, attempts, _)| attempts).sum::<u64>());
        prop_assert_eq!(counts.unexamined, twin.rows.values().map(|(.., unexamined)| unexamined).sum::<u64>());
        prop_assert_eq!((counts.coarse, counts.lost), (0, 0));
    }
}

#[test]
fn subjects_are_forgotten_when_there_are_many_and_nothing_is_lost() {
    let (mut tally, from, _) = tally();
    let mut told = Ledger::default();
    let (mut taken, mut refused) = (0, 0);
    for number in 0..300_000_u64 {
        // Every name comes three times, far apart.
        let name = format!("rule{}", number % 100_000);
        if tally.take(&hit(NOON + number as i64 / 50, 1, Outcome::Blocked), &why(number + 1, Outcome::Blocked, &name)) {
            taken += 1;
        } else {
            refused += 1;
        }
        if number % 1_000 == 0 {
            tally.rest(Now { unix_ms: NOON + number as i64 / 50 });
            // A store that takes a while.
            if number % 5_000 == 0 {
                told.read(&from);
            }
        }
    }
    // What the store has not taken would be lost with the end.
    told.read(&from);
    tally.finish(Now { unix_ms: NOON });
    told.read(&from);
    assert_eq!((told.hits(), taken + refused), (taken, 300_000));
    assert!(told.most_known <= 12_288, "{}", told.most_known);
    assert!(told.rows.len() > 50_000 && taken > refused, "{} rules, {refused} refused", told.rows.len());
}

#[test]
fn with_a_store_that_takes_nothing_counts_stay_exact_and_memory_bounded() {
    let (mut tally, from, live) = tally();
    let whys: Vec<_> = (1..=1000).map(|id| why(id, Outcome::Blocked, &format!("rule{id}"))).collect();
    // Three hours in which a thousand names are hit every minute.
    for minute in 0..180 {
        for (client, why) in (0..).zip(&whys) {
            assert!(tally.take(&hit(NOON + minute * 60_000, client, Outcome::Blocked), why));
        }
        tally.rest(Now { unix_ms: NOON + minute * 60_000 });
        assert_eq!(live.read().hits[0], 1000 * (minute as u64 + 1), "metrics go on");
    }
    assert!(tally.delta.rows.len() < 70_000 && live.read().coarse > 0);
    let mut told = Ledger::default();
    told.read(&from);
    tally.rest(Now { unix_ms: NOON + 180 * 60_000 });
    told.read(&from);
    tally.finish(Now { unix_ms: NOON + 180 * 60_000 });
    told.read(&from);
    assert_eq!(told.hits(), 180_000);
    assert_eq!(told.kinds.values().sum::<u64>(), 180_000);
}

#[test]
fn a_store_that_is_gone_costs_nothing_but_what_it_would_have_been_told() {
    let (mut tally, from, live) = tally();
    drop(from);
    for second in 0..100 {
        assert!(tally.take(&hit(NOON + second * 1000, 1, Outcome::Shadow), &why(1, Outcome::Shadow, "rule")));
        tally.rest(Now { unix_ms: NOON + second * 1000 });
    }
    tally.finish(Now { unix_ms: NOON });
    let counts = live.read();
    assert_eq!((counts.hits, counts.lost, counts.attempts), ([0, 100, 0], 100, 2));
}

#[test]
fn a_client_whose_attempt_goes_on_at_midnight_is_a_client_of_both_days() {
    let (mut tally, from, _) = tally();
    let midnight = 20_485 * 86_400_000;
    let why = why(1, Outcome::Blocked, "rule");
    assert!(tally.take(&hit(midnight - 5_000, 7, Outcome::Blocked), &why));
    // Somebody else's hit begins the day.
    assert!(tally.take(&hit(midnight + 1_000, 8, Outcome::Blocked), &why));
    assert!(tally.take(&hit(midnight + 5_000, 7, Outcome::Blocked), &why));
    tally.finish(Now { unix_ms: midnight + 6_000 });
    let mut told = Ledger::default();
    told.read(&from);
    let of_all: HashMap<i64, u64> = told
        .clients
        .iter()
        .filter(|((.., of), _)| *of == Of::All)
        .map(|(&(day, ..), &estimate)| (day, estimate))
        .collect();
    assert_eq!(of_all, HashMap::from([(20_484, 1), (20_485, 2)]));
    assert_eq!(told.rows.values().map(|(_, attempts, _)| attempts).sum::<u64>(), 2, "an attempt is not counted anew");
}
