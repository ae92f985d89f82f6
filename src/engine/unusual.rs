//! What few queries have: cookies and other options that want one in the answer, other classes, faults.

use crate::policy::Host;
use crate::snapshot::Snapshot;
use crate::stats::Counter;
use crate::util::Now;
use crate::wire::{CLASS_CH, CLASS_IN, Ede, Opt, Query, Standing, Writer, ede, rcode, rtype};

use super::decide::{Decider, Look, Peer, plain};

impl Decider {
    /// Makes the options that the answer brings along; gives what the query's cookie shows. With a time it is counted.
    #[cold]
    pub(super) fn dress(
        &mut self,
        snapshot: &Snapshot,
        message: &[u8],
        query: &mut Query,
        peer: Peer,
        now: Option<Now>,
    ) -> Option<Standing> {
        // Two looks at one message may fall into different seconds, which is all the same to a cookie.
        let seconds = now.unwrap_or_else(Now::read).seconds().0 as u32;
        let from = (peer.address.ip(), peer.transport);
        let standing = snapshot.host().dress(message, query, from, seconds, &mut self.extras)?;
        if now.is_some() {
            self.count(match standing {
                Standing::New => Counter::CookieNew,
                Standing::Valid => Counter::CookieValid,
                Standing::Expired => Counter::CookieExpired,
                Standing::Wrong => Counter::CookieWrong,
            });
        }
        Some(standing)
    }

    /// Lets a query with a cookie through unless it has to show a good one, and answers those of other classes.
    #[cold]
    pub(super) fn unusual(
        &mut self,
        snapshot: &Snapshot,
        message: &[u8],
        query: Query,
        peer: Peer,
        standing: Option<Standing>,
        out: &mut [u8],
    ) -> Result<Query, Look<'static>> {
        if standing.is_some_and(|standing| snapshot.host().demands_another(standing, peer.transport)) {
            self.count(Counter::BadCookie);
            return Err(Look::Refuse(plain(message, &query, peer, rcode::BADCOOKIE, None, out), rcode::BADCOOKIE));
        }
        if query.qclass == CLASS_IN {
            return Ok(query);
        }
        if let Some(len) = self.of_us(snapshot.host(), message, &query, peer, out) {
            self.count(Counter::Local);
            return Err(Look::Reply(len));
        }
        self.count(Counter::NotServed);
        let why = Ede { code: ede::NOT_SUPPORTED, text: b"class" };
        Err(Look::Refuse(plain(message, &query, peer, rcode::REFUSED, Some(why), out), rcode::REFUSED))
    }

    /// Answers what is no proper query.
    #[cold]
    pub(super) fn invalid(
        &mut self,
        snapshot: &Snapshot,
        message: &[u8],
        query: &Query,
        peer: Peer,
        rcode: u16,
        out: &mut [u8],
    ) -> Look<'static> {
        // It asks for a cookie and nothing else: where none is to be had that is as wrong as ever.
        let cookie = rcode == rcode::NOERROR && snapshot.host().answers_cookies();
        let rcode = if rcode == rcode::NOERROR && !cookie { rcode::FORMERR } else { rcode };
        self.count(if cookie { Counter::Local } else { Counter::Invalid });
        Look::Refuse(plain(message, query, peer, rcode, None, out), rcode)
    }

    /// Who or what this server is, if it is asked and that is told (RFC 4892).
    fn of_us(&self, host: &Host, message: &[u8], query: &Query, peer: Peer, out: &mut [u8]) -> Option<usize> {
        let text = host.text(&self.name, query)?.as_bytes();
        // The question's name, a TTL of 0.
        let mut record = [0; 13 + u8::MAX as usize];
        record[..2].copy_from_slice(&[0xc0, 12]);
        record[2..4].copy_from_slice(&rtype::TXT.to_be_bytes());
        record[4..6].copy_from_slice(&CLASS_CH.to_be_bytes());
        let len = u8::try_from(text.len()).ok()?;
        record[10..12].copy_from_slice(&(u16::from(len) + 1).to_be_bytes());
        record[12] = len;
        let end = 13 + text.len();
        record[13..end].copy_from_slice(text);
        let mut writer = Writer::new(message, query, rcode::NOERROR, peer.limit(query), out);
        writer.records(&record[..end], [1, 0, 0]);
        Some(writer.finish(Opt::default()))
    }
}

#[cfg(test)]
mod tests;
