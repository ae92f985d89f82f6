//! The way to one server: over UDP through [`Datagrams`], over streams through its [`Pool`]; either way the reply
//! comes as bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::datagrams::{Datagram, Datagrams};
use super::pool::{Answered, Pool};
use super::question::{Match, Question};
use super::{Trouble, Wish};
use crate::wire::{self, HEADER, flag, rcode};

/// So many replies in other letter case than asked, and none in the right one between them, say that a server does not
/// keep it.
const CASE_LOST: u32 = 3;

/// A reply and what is needed to judge it.
#[derive(Clone, Debug)]
pub(super) struct Got {
    /// The message as it came.
    pub(super) bytes: Arc<[u8]>,
    /// The whole response code, the OPT's upper bits included.
    pub(super) rcode: u16,
    /// Truncated, and not to be had whole over TCP.
    pub(super) truncated: bool,
    /// It carries an OPT.
    edns: bool,
    /// Who said it.
    pub(super) from: SocketAddr,
    /// How long it took on a connection that was there; over UDP whoever asked knows.
    pub(super) took: Option<Duration>,
}

/// The way to one server.
pub(super) struct Link {
    datagrams: Option<ByDatagram>,
    pool: Pool,
    /// Queries are filled up to a multiple of this length, so that it says nothing of the name (RFC 8467 section 4.1).
    encrypted: bool,
}

/// What questions over UDP need.
struct ByDatagram {
    datagrams: Datagrams,
    server: usize,
    address: SocketAddr,
    mix_case: bool,
    /// Replies in other letter case in a row.
    case_lost: AtomicU32,
}

impl Link {
    /// Over UDP, and over TCP where that will not do. Connects to nobody yet.
    pub(super) fn datagrams(address: SocketAddr, datagrams: &Datagrams, mix_case: bool, pool: Pool) -> Self {
        let (server, datagrams) = (datagrams.add(address), datagrams.clone());
        let by_datagram = ByDatagram { datagrams, server, address, mix_case, case_lost: AtomicU32::new(0) };
        Self { datagrams: Some(by_datagram), pool, encrypted: false }
    }

    /// Over streams only. Connects to nobody yet.
    pub(super) fn streams(pool: Pool, encrypted: bool) -> Self {
        Self { datagrams: None, pool, encrypted }
    }

    /// A lost query is worth sending again.
    pub(super) fn may_lose(&self) -> bool {
        self.datagrams.is_some()
    }

    /// Asks once and waits without end: the caller knows how long. `again`: this was asked before and is not answered.
    pub(super) async fn ask(&self, wish: &Wish, again: bool) -> Result<Got, Trouble> {
        // With EDNS first; without, if that is what the server stumbles over (RFC 6891 section 7).
        let first = self.ask_with(wish, true, again).await;
        let stumbled = match &first {
            Ok(got) => got.rcode == rcode::FORMERR && !got.edns,
            Err(trouble) => *trouble == Trouble::Bare(rcode::FORMERR),
        };
        if stumbled { Box::pin(self.ask_with(wish, false, false)).await } else { first }
    }

    /// Over UDP, then over TCP if the answer is truncated or somebody guesses at it.
    async fn ask_with(&self, wish: &Wish, edns: bool, again: bool) -> Result<Got, Trouble> {
        let mut question = Question::new(&wish.ask, edns);
        if let (true, Some(subnet)) = (edns, &wish.subnet) {
            question.add_subnet(subnet);
        }
        let Some(by) = &self.datagrams else {
            return Box::pin(self.over_stream(&question)).await;
        };
        let mix_case = by.mix_case && by.case_lost.load(Ordering::Relaxed) < CASE_LOST;
        let got = match by.datagrams.ask(by.server, question, again, mix_case).await {
            Ok(datagram) => {
                if mix_case {
                    by.case_lost.store(0, Ordering::Relaxed);
                }
                whole(datagram, by.address)?
            }
            Err(Trouble::OtherCase) => {
                // Perhaps the server does not keep it, perhaps this was somebody else; a stream knows who.
                let got = Box::pin(self.over_stream(&question)).await;
                if got.is_ok() {
                    by.case_lost.fetch_add(1, Ordering::Relaxed);
                }
                return got;
            }
            Err(Trouble::Attacked) => return Box::pin(self.over_stream(&question)).await,
            Err(trouble) => return Err(trouble),
        };
        if !got.truncated {
            return Ok(got);
        }
        Box::pin(self.over_stream(&question)).await.or(Ok(got))
    }

    /// Over a stream, which has seen to the id, not to the question.
    async fn over_stream(&self, question: &Question) -> Result<Got, Trouble> {
        let Answered { message: reply, from, took } = match self.encrypted {
            true => self.pool.ask(&question.padded()).await?,
            false => self.pool.ask(question.bytes()).await?,
        };
        match question.compare(&reply) {
            Match::Exact | Match::OtherCase => {
                let got = whole(Datagram { bytes: reply.into(), cut: false }, from)?;
                Ok(Got { took: Some(took), ..got })
            }
            Match::Bare(rcode) => Err(Trouble::Bare(rcode)),
            Match::Broken | Match::No => Err(Trouble::Garbled),
        }
    }
}

/// What a datagram says, which is known to answer the question.
fn whole(datagram: Datagram, from: SocketAddr) -> Result<Got, Trouble> {
    let Datagram { bytes, cut } = datagram;
    if let (false, Some(glance)) = (cut, wire::glance(&bytes)) {
        return Ok(Got {
            bytes,
            rcode: glance.rcode,
            truncated: glance.truncated,
            edns: glance.edns,
            from,
            took: None,
        });
    }
    let flags = bytes.get(2..HEADER).and_then(|header| header.first_chunk()).map(|flags| u16::from_be_bytes(*flags));
    let flags = flags.unwrap_or_default();
    // Cut somewhere: there is more over TCP.
    if cut || flags & flag::TC != 0 {
        return Ok(Got { bytes, rcode: flags & 0xf, truncated: true, edns: true, from, took: None });
    }
    Err(Trouble::Garbled)
}
