//! Proving a log: every line is as it was written, and none is missing.

use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::walk::{Broken, ReadError, Step, Walker};
use super::{Event, Head, Record};
use crate::util::Digest;

/// What a log holds, and whether it is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Lines that were looked at, all of them right.
    pub events: u64,
    /// Segments.
    pub files: u64,
    /// When the first event happened.
    pub first: Option<Timestamp>,
    /// When the last one did.
    pub last: Option<Timestamp>,
    /// Events with an earlier time than the one before them: the clock was set back.
    pub clock_back: u64,
    /// Half-written lines that were moved aside, as the log itself says.
    pub recovered: u64,
    /// Disturbances by other programs, as the log itself says.
    pub disturbed: u64,
    /// Events that could not be written, as the log itself says.
    pub lost: u64,
    /// The last line that is right; to be noted where nobody can change it.
    pub head: Option<Head>,
    /// The first place that is wrong. Nothing behind it was looked at.
    pub broken: Option<Broken>,
    /// What became of heads noted before.
    pub expected: Vec<Expected>,
}

/// A head that was noted, and what stands there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// The noted one.
    #[serde(flatten)]
    pub head: Head,
    /// What was found.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a noted head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is there; nothing up to it was changed.
    Found,
    /// Another line is in its place: the log was written anew.
    Other {
        /// That line's hash.
        is: Digest,
    },
    /// The proven part of the log ends before it.
    Missing,
}

impl Report {
    /// The chain is whole, and every noted head is in it.
    pub fn is_proven(&self) -> bool {
        self.broken.is_none() && self.expected.iter().all(|expected| expected.outcome == Outcome::Found)
    }

    /// Takes a line that is right.
    fn take(&mut self, step: &Step<'_>) {
        let Some(line) = &step.line else { return };
        self.events += 1;
        let at = Timestamp::from_millisecond(line.unix_ms).ok();
        self.clock_back += u64::from(at < self.last && self.last.is_some());
        self.first = self.first.or(at);
        self.last = at.or(self.last);
        self.head = Some(line.head);
        for expected in self.expected.iter_mut().filter(|expected| expected.head.seq == line.head.seq) {
            let same = expected.head == line.head;
            expected.outcome = if same { Outcome::Found } else { Outcome::Other { is: line.head.hash } };
        }
        match line.event {
            "recovered" => self.recovered += 1,
            "disturbed" => self.disturbed += 1,
            "lost" => {
                let event = Record::of(step).and_then(|record| record.event);
                self.lost += if let Some(Event::Lost(lost)) = event { lost.events } else { 0 };
            }
            _ => {}
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::Found => write!(f, "event {} is in the log as it was noted", self.head.seq),
            Outcome::Other { is } => {
                write!(
                    f,
                    "event {} was noted as {}, but is {is}: the log was written anew",
                    self.head.seq, self.head.hash
                )
            }
            Outcome::Missing => {
                write!(f, "event {} was noted, but the proven part of the log ends before it", self.head.seq)
            }
        }
    }
}

/// Goes through the log in `folder` up to the first place that is wrong, and looks for noted heads on the way.
pub fn verify(folder: &Path, noted: &[Head]) -> Result<Report, ReadError> {
    prove(Walker::new(folder)?, noted)
}

/// Proves what a walker walks.
pub(super) fn prove(mut walker: Walker, noted: &[Head]) -> Result<Report, ReadError> {
    let expected = noted.iter().map(|&head| Expected { head, outcome: Outcome::Missing }).collect();
    let mut report = Report { expected, ..Report::default() };
    while let Some(step) = walker.step()? {
        report.broken = step.broken();
        if report.broken.is_some() {
            break;
        }
        report.take(&step);
    }
    report.files = walker.files;
    Ok(report)
}
