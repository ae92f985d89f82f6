//! Hits by how they were asked and answered.

use super::live::Live;
use crate::event::Form;
use crate::stats::{Delta, Kind};

/// Rows that wait to be handed over: when there are more, further hits stay in the minute that is being counted.
const MAX_ROWS: usize = 16_384;

/// Hits of one minute that are not handed over yet.
pub(super) struct Forms {
    minute: i64,
    counts: Box<[u64]>,
    /// Places with hits.
    dirty: Vec<u16>,
}

impl Forms {
    /// None.
    pub(super) fn new() -> Self {
        const { assert!(Form::ALL <= u16::MAX as usize) };
        Self { minute: 0, counts: vec![0; Form::ALL].into(), dirty: Vec::new() }
    }

    /// Counts hits; rows of minutes that are over go to the delta.
    pub(super) fn add(&mut self, form: Form, minute: i64, hits: u64, (delta, live): (&mut Delta, &Live)) {
        if self.minute != minute && (self.dirty.is_empty() || delta.kinds.len() < MAX_ROWS) {
            self.hand_over(delta, live);
            self.minute = minute;
        }
        let place = form.place();
        let count = &mut self.counts[place];
        if *count == 0 {
            self.dirty.push(place as u16);
        }
        *count += hits;
    }

    /// Moves all counts to `delta`, and shows them.
    pub(super) fn hand_over(&mut self, delta: &mut Delta, live: &Live) {
        for place in self.dirty.drain(..) {
            let hits = std::mem::take(&mut self.counts[usize::from(place)]);
            let form = Form::at(usize::from(place));
            live.count(form, hits);
            let Form { outcome, qtype, answer, transport } = form;
            let kind = Kind { minute: self.minute, outcome, qtype, answer, transport, hits };
            // Where nobody takes them there may be some of this minute already.
            let same = |known: &&mut Kind| Kind { hits, ..**known } == kind;
            match delta.kinds.iter_mut().rev().find(same) {
                Some(known) => known.hits += hits,
                None => delta.kinds.push(kind),
            }
        }
    }
}
