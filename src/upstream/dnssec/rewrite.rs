//! Answers as the client gets them: the proven parts, the unproven whole, or an error.

use super::Why;
use super::judge::Part;
use super::message::{Message, Set, Signature, is_proof};
use crate::upstream::Ask;
use crate::wire::{CLASS_IN, HEADER, flag, option, rcode, rtype};

/// Octets of text an extended error has at most.
const MAX_TEXT: usize = 200;

/// The proven parts, AD set. Without DO, without what proves them.
pub fn secure(bytes: &[u8], message: &Message, ask: &Ask, parts: &[Part]) -> Vec<u8> {
    let mut out = Out::new(bytes, message.question_end, flag::AD, message.rcode);
    for section in [0, 1] {
        for part in parts.iter().filter(|part| part.section == section) {
            let Some(set) = message.sections.get(section).and_then(|sets| sets.get(part.index)) else { continue };
            out.set(section, set, part.ttl, ask);
        }
    }
    out.finish(bytes, message)
}

/// As it came, AD clear. Without DO, without signatures and proofs.
pub fn unvalidated(bytes: &[u8], message: &Message, ask: &Ask) -> Vec<u8> {
    if ask.dnssec_ok || !message.has_proofs {
        let mut out = bytes.to_vec();
        if let Some(byte) = out.get_mut(3) {
            *byte &= !(flag::AD as u8);
        }
        return out;
    }
    let mut out = Out::new(bytes, message.question_end, 0, message.rcode);
    for (section, sets) in message.sections.iter().enumerate() {
        for set in sets {
            out.set(section, set, set.ttl, ask);
        }
    }
    out.finish(bytes, message)
}

/// SERVFAIL, and why.
pub fn failed(ask: &Ask, why: &Why) -> Vec<u8> {
    let flags = flag::QR | flag::RD | flag::RA | rcode::SERVFAIL;
    let mut out = vec![0, 0];
    for word in [flags, 1, 0, 0, 1] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(ask.name.wire());
    out.extend_from_slice(&ask.qtype.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    // Names are shown in ASCII, so it can be cut anywhere.
    let text = why.text.get(..MAX_TEXT).unwrap_or(&why.text);
    let len = text.len().min(MAX_TEXT) as u16;
    out.push(0);
    for word in [rtype::OPT, 1232, 0, 0, 6 + len, option::EDE, 2 + len, why.code] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(text.as_bytes().get(..usize::from(len)).unwrap_or_default());
    out
}

/// A message under way. Owners equal to the question's, or to the one before, become pointers; other names stay in full.
struct Out {
    bytes: Vec<u8>,
    counts: [u16; 3],
    last: Option<(Box<[u8]>, u16)>,
}

impl Out {
    /// The header and question of `from`, AA and AD aside.
    fn new(from: &[u8], question_end: usize, flags: u16, rcode: u16) -> Self {
        let mut bytes = from.get(..question_end).unwrap_or_default().to_vec();
        if let Some(word) = bytes.get_mut(2..4) {
            word.copy_from_slice(&(flag::QR | flag::RD | flag::RA | flags | rcode).to_be_bytes());
        }
        let question = bytes.get(HEADER..question_end.saturating_sub(4)).unwrap_or_default().into();
        Self { bytes, counts: [0; 3], last: Some((question, HEADER as u16)) }
    }

    /// Adds a set, with its signatures if the client wants them.
    fn set(&mut self, section: usize, set: &Set, ttl: u32, ask: &Ask) {
        if !ask.dnssec_ok && is_proof(set.rtype) && set.rtype != ask.qtype {
            return;
        }
        for data in &set.data {
            self.record(section, set, set.rtype, ttl, &[data]);
        }
        if ask.dnssec_ok {
            for Signature { head, signature, .. } in &set.signatures {
                self.record(section, set, rtype::RRSIG, ttl, &[head, signature]);
            }
        }
    }

    /// Adds a record.
    fn record(&mut self, section: usize, set: &Set, rtype: u16, ttl: u32, data: &[&[u8]]) {
        let len: usize = data.iter().map(|part| part.len()).sum();
        let Ok(len) = u16::try_from(len) else { return };
        match &self.last {
            Some((owner, at)) if *owner == set.shown => self.bytes.extend_from_slice(&(0xc000 | at).to_be_bytes()),
            _ => {
                let at = u16::try_from(self.bytes.len()).ok().filter(|at| *at < 0x4000);
                self.last = at.map(|at| (set.shown.clone(), at));
                self.bytes.extend_from_slice(&set.shown);
            }
        }
        self.bytes.extend_from_slice(&rtype.to_be_bytes());
        self.bytes.extend_from_slice(&set.class.to_be_bytes());
        self.bytes.extend_from_slice(&ttl.to_be_bytes());
        self.bytes.extend_from_slice(&len.to_be_bytes());
        for part in data {
            self.bytes.extend_from_slice(part);
        }
        if let Some(count) = self.counts.get_mut(section) {
            *count = count.saturating_add(1);
        }
    }

    /// Closes it with the OPT of `from`: it says for whom the answer holds, and what else is wrong. Too long for a message, it is handed on as it came, AD clear: names in full take more room.
    fn finish(mut self, from: &[u8], message: &Message) -> Vec<u8> {
        if let Some(opt) = message.opt.clone().and_then(|place| from.get(place)) {
            self.bytes.extend_from_slice(opt);
            self.counts[2] = self.counts[2].saturating_add(1);
        }
        if self.bytes.len() > usize::from(u16::MAX) {
            let mut out = from.to_vec();
            if let Some(byte) = out.get_mut(3) {
                *byte &= !(flag::AD as u8);
            }
            return out;
        }
        for (at, count) in self.counts.into_iter().enumerate() {
            if let Some(word) = self.bytes.get_mut(6 + 2 * at..8 + 2 * at) {
                word.copy_from_slice(&count.to_be_bytes());
            }
        }
        if let Some(word) = self.bytes.get_mut(4..6) {
            word.copy_from_slice(&1u16.to_be_bytes());
        }
        self.bytes
    }
}
