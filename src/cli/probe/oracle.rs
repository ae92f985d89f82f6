//! What this configuration would answer, by the code that answers.

use std::net::{Ipv4Addr, SocketAddr};

use super::judge::{Expect, Said};
use crate::engine::{Decider, Peer, Verdict};
use crate::event::Transport;
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::util::Now;
use crate::wire::{STREAM_MAX, rtype};

/// Asks the engine as a client would.
pub struct Oracle<'a> {
    snapshot: &'a Snapshot,
    decider: Decider,
    now: Now,
    out: Box<[u8]>,
}

impl<'a> Oracle<'a> {
    /// Of these rules.
    pub fn new(snapshot: &'a Snapshot, now: Now) -> Self {
        let decider = Decider::new(Stats::default().counters(), None);
        Self { snapshot, decider, now, out: vec![0; STREAM_MAX].into() }
    }

    /// What comes back for `query`, whose question is `question`; `None` if it passes.
    pub fn expect(&mut self, query: &[u8], question: &[u8], transport: Transport) -> Option<Expect> {
        let peer = Peer::new(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53_535), transport);
        let verdict = self.decider.decide(self.snapshot, query, peer, self.now, &mut self.out);
        let said = |len: usize| Said::read(self.out.get(..len).unwrap_or_default(), question).ok();
        match verdict {
            // An answer of ours that cannot be read would be a bug, and no reason to expect less.
            Verdict::Reply(len) => Some(said(len).map_or(Expect::Block, Expect::Exact)),
            Verdict::Drop => Some(Expect::Silence),
            Verdict::Resolve(len) => {
                let said = said(len)?;
                let chased = said.records.first().is_some_and(|record| record.rtype == rtype::CNAME);
                chased.then_some(Expect::Chased(said))
            }
        }
    }
}
