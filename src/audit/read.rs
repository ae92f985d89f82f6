//! Reading a log: the events of a time, each with its line as it stands.

use std::ops::Range;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use super::walk::{Broken, ReadError, Step, Walker};
use super::{By, Event, Head};
use crate::util::Now;

/// One event, as far as this version of qalqan can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the chain.
    pub head: Head,
    /// When it happened.
    pub time: Timestamp,
    /// Who did it; `None` if a later version wrote a kind that is not known here.
    pub by: Option<By>,
    /// What happened; `None` likewise.
    pub event: Option<Event>,
    /// The line, without its newline.
    pub line: String,
}

impl Record {
    /// Of a line of the log, if it is one.
    pub(super) fn of(step: &Step<'_>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Who {
            by: By,
        }
        let line = step.line.as_ref()?;
        Some(Self {
            head: line.head,
            time: Timestamp::from_millisecond(line.unix_ms).ok()?,
            by: serde_json::from_slice(step.bytes).ok().map(|who: Who| who.by),
            event: serde_json::from_slice(step.bytes).ok(),
            line: String::from_utf8_lossy(step.bytes).into_owned(),
        })
    }
}

/// The records of a time, in the order they were written.
pub struct Records {
    walker: Walker,
    time: Range<i64>,
    broken: Option<Broken>,
}

/// The events in `folder` from `from` on and before `to`. All lines are read, since a clock may have been set back.
pub fn records(folder: &Path, from: Option<Now>, to: Option<Now>) -> Result<Records, ReadError> {
    let time = from.map_or(i64::MIN, |now| now.unix_ms)..to.map_or(i64::MAX, |now| now.unix_ms);
    Ok(Records { walker: Walker::new(folder)?, time, broken: None })
}

impl Records {
    /// The first place so far where the chain is broken. Lines behind it are read all the same, as far as they can be.
    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let step = match self.walker.step() {
                Ok(step) => step?,
                Err(error) => return Some(Err(error)),
            };
            if self.broken.is_none() {
                self.broken = step.broken();
            }
            let at = step.line.as_ref().map(|line| line.unix_ms);
            if at.is_some_and(|at| self.time.contains(&at))
                && let Some(record) = Record::of(&step)
            {
                return Some(Ok(record));
            }
        }
    }
}
