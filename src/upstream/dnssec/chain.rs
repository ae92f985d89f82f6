//! From a trust anchor down to the zone of a name: which keys it has, or that it has none.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::denial::{Denial, Proofs};
use super::keys::{Keys, Signer, usable};
use super::message::{Message, Set, suffix};
use super::{Anchors, Context, Stop, Why};
use crate::name::Name;
use crate::util::{Now, Throttle};
use crate::wire::{rcode, rtype};

/// Zone cuts, and names that are none, that are remembered.
const MAX_KNOWN: usize = 20_000;
/// What was found out is remembered so long at most, in seconds.
const MAX_TTL: u32 = 3600;
/// That something is wrong is remembered so long, in seconds: operators repair it.
const BOGUS_TTL: u32 = 10;
/// And so long at least, in seconds, so that one answer does not need the same twice.
const MIN_TTL: u32 = 5;

/// How a zone stands.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It is signed, and these are its keys.
    Secure(Arc<Keys>),
    /// It is not signed, and that is proven or willed.
    Insecure,
}

/// What is known of one name.
#[derive(Clone, Debug)]
enum Known {
    /// A signed zone begins here.
    Signed(Arc<Keys>),
    /// An unsigned zone begins here.
    Unsigned,
    /// No zone begins here.
    NoCut,
    /// Nothing is here or below.
    Nothing,
    /// Something is wrong.
    Bogus(Why),
}

/// The trust anchors, and what has been found out from them on.
#[derive(Debug)]
pub struct Chain {
    anchors: Anchors,
    negative: HashSet<Name>,
    known: Mutex<HashMap<Name, (u32, Known)>>,
    strangers: Throttle,
}

impl Chain {
    /// Nothing is known yet. Names at and below `negative` count as unsigned.
    pub fn new(anchors: Anchors, negative: &[Name]) -> Self {
        let negative = negative.iter().cloned().collect();
        Self { anchors, negative, known: Mutex::default(), strangers: Throttle::new(600_000) }
    }

    /// What is believed.
    pub fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    /// A negative trust anchor (RFC 7646) is nearer above `name` than any trust anchor.
    pub fn is_waived(&self, name: &Name) -> bool {
        let mut at = (!self.negative.is_empty()).then(|| name.clone());
        while let Some(suffix) = at {
            if self.negative.contains(&suffix) {
                return true;
            }
            if self.anchors.of(&suffix).is_some() {
                return false;
            }
            at = suffix.parent();
        }
        false
    }

    /// The zone that `name` is in, which may begin there.
    pub async fn standing(&self, cx: &Context<'_>, name: &Name) -> Result<Standing, Stop> {
        if self.is_waived(name) {
            return Ok(Standing::Insecure);
        }
        let labels = name.labels().count();
        let Some(first) = (0..=labels).rev().find(|count| self.anchors.of(&suffix(name, *count)).is_some()) else {
            return Ok(Standing::Insecure);
        };
        let mut zone = match self.anchor(cx, &suffix(name, first)).await? {
            Known::Signed(keys) => keys,
            Known::Bogus(why) => return Err(Stop::Bogus(why)),
            Known::Unsigned | Known::NoCut | Known::Nothing => return Ok(Standing::Insecure),
        };
        for count in first + 1..=labels {
            match self.below(cx, &zone, &suffix(name, count)).await? {
                Known::Signed(keys) => zone = keys,
                Known::Unsigned => return Ok(Standing::Insecure),
                Known::NoCut => {}
                Known::Nothing => break,
                Known::Bogus(why) => return Err(Stop::Bogus(why)),
            }
        }
        Ok(Standing::Secure(zone))
    }

    /// The keys of a zone there is an anchor for.
    async fn anchor(&self, cx: &Context<'_>, zone: &Name) -> Result<Known, Stop> {
        if let Some(known) = self.recall(zone, cx.now) {
            return Ok(known);
        }
        let found = self.keys(cx, zone, self.anchors.of(zone).unwrap_or_default()).await?;
        if let (Known::Bogus(why), Some(_)) = (&found.0, self.strangers.pass(Now::read())) {
            tracing::error!(
                "the keys of {zone} do not match the trust anchors ({}): nothing signed can be validated; \
                 see docs/dnssec.md, \"Trust anchors\"",
                why.text
            );
        }
        Ok(self.keep(zone, found, cx.now))
    }

    /// What `name`, which is one label below a name of `zone`, is.
    async fn below(&self, cx: &Context<'_>, zone: &Arc<Keys>, name: &Name) -> Result<Known, Stop> {
        if let Some(known) = self.recall(name, cx.now) {
            return Ok(known);
        }
        let message = cx.fetch(name, rtype::DS).await?;
        let found = match delegation(cx, zone, name, &message) {
            Ok((Delegation::Signed(signers), ttl)) => {
                let (known, keys_ttl) = self.keys(cx, name, &signers).await?;
                (known, keys_ttl.min(ttl))
            }
            Ok((Delegation::Unsigned, ttl)) => (Known::Unsigned, ttl),
            Ok((Delegation::None, ttl)) => (Known::NoCut, ttl),
            Ok((Delegation::Nothing, ttl)) => (Known::Nothing, ttl),
            Err(Stop::Bogus(why)) => (Known::Bogus(why), BOGUS_TTL),
            Err(stop) => return Err(stop),
        };
        Ok(self.keep(name, found, cx.now))
    }

    /// The keys of `zone` that `signers` vouch for.
    async fn keys(&self, cx: &Context<'_>, zone: &Name, signers: &[Signer]) -> Result<(Known, u32), Stop> {
        let message = cx.fetch(zone, rtype::DNSKEY).await?;
        if message.rcode != rcode::NOERROR && message.rcode != rcode::NXDOMAIN {
            return Err(Stop::Unknown(Why::new(Why::INDETERMINATE, "the keys of", zone, "cannot be had")));
        }
        let Some(set) = message.answer(zone, rtype::DNSKEY) else {
            let why = Why::new(Why::DNSKEY_MISSING, "", zone, "has no keys, but its parent says so");
            return Ok((Known::Bogus(why), BOGUS_TTL));
        };
        Ok(match Keys::believe(zone, set, signers, cx.now, cx.work) {
            Ok((keys, ttl)) => (Known::Signed(Arc::new(keys)), ttl),
            Err(why) if why.code == Why::INDETERMINATE => return Err(Stop::Unknown(why)),
            Err(why) => (Known::Bogus(why), BOGUS_TTL),
        })
    }

    /// What is remembered of a name.
    fn recall(&self, name: &Name, now: u32) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, found) = known.get(name)?;
        // A clock set back must not hold it for the length of the jump.
        let left = until.wrapping_sub(now);
        (left > 0 && left <= MAX_TTL).then(|| found.clone())
    }

    /// Remembers it. When there is no room, what is over goes, and half of the rest.
    fn keep(&self, name: &Name, (found, ttl): (Known, u32), now: u32) -> Known {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.retain(|_, (until, _)| (until.wrapping_sub(now) as i32) > 0);
            let mut odd = false;
            if known.len() >= MAX_KNOWN {
                known.retain(|_, _| {
                    odd = !odd;
                    odd
                });
            }
        }
        known.insert(name.clone(), (now.wrapping_add(ttl.clamp(MIN_TTL, MAX_TTL)), found.clone()));
        found
    }
}

/// What a zone says of a name below it.
enum Delegation {
    /// A zone begins there, whose keys these vouch for.
    Signed(Vec<Signer>),
    /// A zone begins there that is not signed, or not in a way that can be checked.
    Unsigned,
    /// No zone begins there.
    None,
    /// There is no such name.
    Nothing,
}

/// Reads the answer to a question for DS.
fn delegation(cx: &Context<'_>, zone: &Keys, name: &Name, message: &Message) -> Result<(Delegation, u32), Stop> {
    if message.rcode != rcode::NOERROR && message.rcode != rcode::NXDOMAIN {
        return Err(Stop::Unknown(Why::new(Why::INDETERMINATE, "the delegation of", name, "cannot be had")));
    }
    let verify = |set: &Set| zone.verify(set, cx.now, cx.work).map_err(Stop::from);
    if let Some(set) = message.answer(name, rtype::DS) {
        let good = verify(set)?;
        if good.labels < set.labels() {
            return Err(Stop::Bogus(Why::new(Why::BOGUS, "the delegation of", name, "is made of a wildcard")));
        }
        let signers = usable(set.data.iter().filter_map(|data| Signer::read(data)));
        let found = if signers.is_empty() { Delegation::Unsigned } else { Delegation::Signed(signers) };
        return Ok((found, good.ttl));
    }
    if let Some(set) = message.answer(name, rtype::CNAME).filter(|set| !set.signatures.is_empty()) {
        return Ok((Delegation::None, verify(set)?.ttl));
    }
    let above = |set: &&Set| set.rtype == rtype::DNAME && name.is_at_or_below(&set.owner) && *name != set.owner;
    if let Some(set) = message.sections[0].iter().find(above) {
        return Ok((Delegation::Nothing, verify(set)?.ttl));
    }
    let found = proofs(cx, zone, message)?;
    let ttl = found.sets.iter().map(|(_, ttl)| *ttl).min().unwrap_or_default();
    let denied = found.proofs.deny(name, rtype::DS, message.rcode == rcode::NXDOMAIN, cx.work).map_err(Stop::from)?;
    let found = match denied {
        Denial::NoData { delegation: true } | Denial::OptOut | Denial::Costly => Delegation::Unsigned,
        Denial::NoData { delegation: false } => Delegation::None,
        Denial::NxDomain => Delegation::Nothing,
    };
    Ok((found, ttl))
}

/// Proofs whose signatures have been checked.
pub struct Checked<'a> {
    /// What they prove.
    pub proofs: Proofs<'a>,
    /// Which sets of the authority section they are, and how long each holds.
    pub sets: Vec<(usize, u32)>,
}

/// The proofs in the authority section. An error if there are some and none is good, or none at all.
pub fn proofs<'a>(cx: &Context<'_>, zone: &'a Keys, message: &Message) -> Result<Checked<'a>, Stop> {
    let mut found = Checked { proofs: Proofs::new(&zone.zone), sets: Vec::new() };
    let mut wrong = Why::new(Why::NSEC_MISSING, "", &zone.zone, "gives no proof of what it denies");
    for (index, set) in message.authority().iter().enumerate() {
        if !matches!(set.rtype, rtype::NSEC | rtype::NSEC3) {
            continue;
        }
        match zone.verify(set, cx.now, cx.work) {
            // One made of a wildcard proves nothing.
            Ok(good) if good.labels == set.labels() => {
                found.proofs.add(set);
                found.sets.push((index, good.ttl));
            }
            Ok(_) => {}
            Err(why) => wrong = why,
        }
    }
    if found.proofs.is_empty() { Err(Stop::from(wrong)) } else { Ok(found) }
}
