//! Hits by how they were asked and answered. These are kept by the hour and the day only.

use std::collections::BTreeMap;

use super::subjects::outcome;
use super::{Kept, Level, Plan, ReadError, Reader, Span, count, plan};
use crate::event::Outcome;

/// Which side of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// The RR type asked for.
    Type,
    /// What the client got.
    Answer,
    /// How it asked.
    Transport,
}

impl Reader {
    /// The pieces for a time in what is kept of kinds.
    pub fn plan_kinds(&self, wanted: Span) -> Plan {
        plan(wanted, Kept { minutes: i64::MAX, hours: self.kept.hours }, &self.days)
    }

    /// Hits by one side of their kind, for each outcome.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn kinds(&self, plan: &Plan, aspect: Aspect) -> Result<BTreeMap<String, [u64; Outcome::ALL.len()]>, ReadError> {
        let column = match aspect {
            Aspect::Type => "type",
            Aspect::Answer => "answer",
            Aspect::Transport => "transport",
        };
        self.whole(|| {
            let mut all = BTreeMap::new();
            for piece in plan.pieces.iter().filter(|piece| piece.level != Level::Minute) {
                let table = piece.level.as_str();
                let sql = format!(
                    "SELECT {column}, outcome, sum(hits) FROM kind_{table} WHERE at >= ?1 AND at < ?2 GROUP BY {column}, outcome"
                );
                let mut statement = self.db.prepare_cached(&sql)?;
                let mut rows = statement.query((piece.from, piece.to))?;
                while let Some(row) = rows.next()? {
                    let hits: &mut [u64; Outcome::ALL.len()] = all.entry(row.get(0)?).or_default();
                    hits[outcome(&row.get::<_, String>(1)?)? as usize] += count(row, 2)?;
                }
            }
            Ok(all)
        })
    }
}
