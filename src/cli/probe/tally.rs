//! Counts, and the first failures. Nothing is kept of what went well.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

use super::judge::Verdict;
use crate::event::Transport;

/// Failures that are kept; all are counted.
pub const MAX_FAILURES: usize = 1000;

/// How the answers were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Questions.
    pub asked: u64,
    /// Blocked, as they should be.
    pub as_expected: u64,
    /// Blocked in another way.
    pub differently: u64,
    /// Not blocked.
    pub not_blocked: u64,
    /// No answer after all tries.
    pub no_answer: u64,
}

impl Counts {
    /// Counts one more.
    fn add(&mut self, verdict: Verdict) {
        self.asked += 1;
        *match verdict {
            Verdict::Expected => &mut self.as_expected,
            Verdict::Different => &mut self.differently,
            Verdict::Open => &mut self.not_blocked,
            Verdict::Unanswered => &mut self.no_answer,
        } += 1;
    }

    /// Counts all of others.
    pub fn join(&mut self, other: &Self) {
        self.asked += other.asked;
        self.as_expected += other.as_expected;
        self.differently += other.differently;
        self.not_blocked += other.not_blocked;
        self.no_answer += other.no_answer;
    }

    /// Those that were not as they should be.
    pub fn failed(&self) -> u64 {
        self.asked - self.as_expected
    }
}

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Who was asked.
    pub server: SocketAddr,
    /// Index of the list.
    pub list: u16,
    /// RR type.
    pub rtype: u16,
    /// `udp`, `tcp`
    pub transport: &'static str,
}

impl Group {
    /// Of these.
    pub fn new(server: SocketAddr, list: u16, rtype: u16, transport: Transport) -> Self {
        Self { server, list, rtype, transport: transport.as_str() }
    }
}

/// One answer that was not as it should be.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Where.
    pub group: Group,
    /// On the wire.
    pub name: Box<[u8]>,
    /// How it was.
    pub verdict: Verdict,
    /// What should have come.
    pub expected: String,
    /// What came.
    pub got: String,
}

/// Everything counted.
#[derive(Debug, Default)]
pub struct Tally {
    /// By server, list, type and transport.
    pub groups: BTreeMap<Group, Counts>,
    /// The first ones, the worst first among those kept.
    pub failures: Vec<Failure>,
    /// Questions sent again because no answer came.
    pub retries: u64,
    /// Questions asked again over TCP because the answer was cut.
    pub truncated: u64,
    /// Messages that answered nothing that was asked.
    pub ignored: u64,
    /// Of those as expected: that nothing came back was what should happen.
    pub silent: u64,
    /// Questions that this configuration passes over this transport.
    pub passing: u64,
}

impl Tally {
    /// Counts one answer; `failure` says more of one that was not as it should be.
    pub fn add(&mut self, group: Group, verdict: Verdict, failure: impl FnOnce() -> Failure) {
        self.groups.entry(group).or_default().add(verdict);
        if verdict == Verdict::Expected {
            return;
        }
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(failure());
        } else if verdict == Verdict::Open
            && let Some(other) = self.failures.iter_mut().rfind(|failure| failure.verdict != Verdict::Open)
        {
            // What is not blocked is what matters most.
            *other = failure();
        }
    }

    /// All together.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.groups.values().for_each(|counts| total.join(counts));
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_bounded_and_what_is_not_blocked_stays() {
        let group = Group::new(([127, 0, 0, 1], 53).into(), 0, 1, Transport::Udp);
        let mut tally = Tally::default();
        let failure =
            |verdict| move || Failure { group, name: [0].into(), verdict, expected: String::new(), got: String::new() };
        for _ in 0..MAX_FAILURES + 5 {
            tally.add(group, Verdict::Unanswered, failure(Verdict::Unanswered));
        }
        for verdict in [Verdict::Open, Verdict::Expected, Verdict::Open, Verdict::Different] {
            tally.add(group, verdict, failure(verdict));
        }
        assert_eq!(tally.failures.len(), MAX_FAILURES);
        assert_eq!(tally.failures.iter().filter(|failure| failure.verdict == Verdict::Open).count(), 2);
        let total = tally.total();
        assert_eq!((total.asked, total.failed(), total.not_blocked), (1009, 1008, 2));
        assert_eq!(total.asked, total.as_expected + total.differently + total.not_blocked + total.no_answer);
    }
}
