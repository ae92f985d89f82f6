//! Options of an answer that are known before the answer is: cookie, identifier, keepalive.

use super::cookie::{CLIENT_COOKIE, SERVER_COOKIE};
use super::option;

/// The longest identifier.
pub(crate) const MAX_NSID: usize = 64;
/// Room for one of each.
const ROOM: usize = 4 + CLIENT_COOKIE + SERVER_COOKIE + 4 + MAX_NSID + 6;

/// Options, as they stand on the wire. [`Edns::reserve`](super::Edns::reserve) has their place kept in the answer, at its
/// very end, and [`Self::fill`] puts them there: so it is all the same who writes the answer.
#[derive(Clone, Debug)]
pub struct Extras {
    bytes: [u8; ROOM],
    len: u8,
}

impl Default for Extras {
    fn default() -> Self {
        Self { bytes: [0; ROOM], len: 0 }
    }
}

impl Extras {
    /// No option any more.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Octets of all options.
    pub fn len(&self) -> u16 {
        u16::from(self.len)
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds both cookies (RFC 7873 section 4).
    pub fn cookie(&mut self, client: &[u8; CLIENT_COOKIE], server: &[u8; SERVER_COOKIE]) {
        self.add(option::COOKIE, &[client, server]);
    }

    /// Adds the server's identifier (RFC 5001 section 2.3).
    pub fn nsid(&mut self, identifier: &[u8]) {
        self.add(option::NSID, &[identifier]);
    }

    /// Adds for how long an idle connection is kept, in tenths of a second (RFC 7828 section 3.1).
    pub fn keepalive(&mut self, timeout: u16) {
        self.add(option::KEEPALIVE, &[&timeout.to_be_bytes()]);
    }

    /// Puts them where the answer that `answer` ends with kept room for them.
    pub fn fill(&self, answer: &mut [u8]) {
        let options = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        if let Some(place) = answer.len().checked_sub(options.len()).and_then(|at| answer.get_mut(at..)) {
            place.copy_from_slice(options);
        }
    }

    /// Adds an option, if there is room, which there is once for each.
    fn add(&mut self, code: u16, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let at = usize::from(self.len);
        let Some(place) = self.bytes.get_mut(at..at + 4 + len) else { return };
        place[..2].copy_from_slice(&code.to_be_bytes());
        place[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        let mut from = 4;
        for part in parts {
            place[from..from + part.len()].copy_from_slice(part);
            from += part.len();
        }
        self.len += place.len() as u8;
    }
}

#[cfg(test)]
mod tests;
