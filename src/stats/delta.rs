//! What the tally hands to the store, about once a second.

use std::sync::Arc;

use crate::event::{AnswerKind, Outcome, Transport, Why};

/// What was counted since the last one. Times are whole minutes since 1970, UTC, of the hits' own clock.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// Numbers used in [`Self::rows`] that the receiver has not been told, or was told are forgotten.
    pub subjects: Vec<(u32, Arc<Why>)>,
    /// Numbers that will not be used any more, before [`Self::subjects`] are added: one may be given again at once.
    pub forgotten: Vec<u32>,
    /// Hits by what they are counted under. Rows of one subject and minute add up, within one of these and from one to
    /// the next; minutes come in no order.
    pub rows: Vec<Row>,
    /// The same hits by how they were asked and answered; these add up too.
    pub kinds: Vec<Kind>,
    /// Sketches that changed, once a minute. A later estimate of the same sketch takes the place of the earlier.
    pub clients: Vec<Clients>,
}

impl Delta {
    /// It says nothing.
    pub fn is_empty(&self) -> bool {
        let Self { subjects, forgotten, rows, kinds, clients } = self;
        subjects.is_empty() && forgotten.is_empty() && rows.is_empty() && kinds.is_empty() && clients.is_empty()
    }

    /// All hits of its rows.
    pub fn hits(&self) -> u64 {
        self.rows.iter().map(|row| row.hits).sum()
    }
}

/// Hits of one subject in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub subject: u32,
    /// Minutes since 1970.
    pub minute: i64,
    /// Queries, exactly.
    pub hits: u64,
    /// How many of them a client began an attempt with.
    pub attempts: u64,
    /// How many of them could only be counted, and gave no attempt and no client.
    pub unexamined: u64,
}

/// Hits of one kind in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Minutes since 1970.
    pub minute: i64,
    /// What became of the queries.
    pub outcome: Outcome,
    /// RR type asked for.
    pub qtype: u16,
    /// What the clients got.
    pub answer: AnswerKind,
    /// How they asked.
    pub transport: Transport,
    /// Queries, exactly.
    pub hits: u64,
}

/// How many different clients there were on a day, so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// Days since 1970, in the time zone of the statistics.
    pub day: i64,
    /// Another after each start: sketches of two segments cannot be joined, as their keys differ.
    pub segment: u64,
    /// Whose clients.
    pub of: Of,
    /// About so many.
    pub estimate: u64,
}

/// Whose clients a sketch counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Of {
    /// Everybody with a hit.
    All,
    /// A rule: its pattern, whatever list it stands in.
    Rule(Box<str>),
    /// A list.
    List(Box<str>),
    /// An order.
    Order {
        /// The authority's number.
        id: Box<str>,
        /// Who issued it.
        authority: Box<str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_every_second_for_every_name_is_small() {
        assert!(size_of::<Row>() <= 40, "{}", size_of::<Row>());
        assert!(size_of::<Kind>() <= 24, "{}", size_of::<Kind>());
    }
}
