//! Proofs that there is nothing: NSEC (RFC 4035 section 5.4) and NSEC3 (RFC 5155 section 8), with what RFC 6840 added.

use std::cmp::Ordering;

use hickory_proto::dnssec::DigestType;
use hickory_proto::dnssec::crypto::Digest;

use super::Why;
use super::keys::Work;
use super::message::{Set, is_wildcard, order, suffix};
use crate::name::Name;
use crate::wire::rtype;

/// Rounds of hashing above which a zone counts as unsigned (RFC 9276 section 3.2, CVE-2023-50868).
const MAX_ITERATIONS: u16 = 100;

/// What has been proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The name is there, the type is not; `delegation`: another zone begins there.
    NoData {
        /// It has NS records and no SOA.
        delegation: bool,
    },
    /// There is no such name.
    NxDomain,
    /// There is no such name, or an unsigned delegation: opt-out (RFC 5155 section 6).
    OptOut,
    /// The zone asks for too much work, and counts as unsigned.
    Costly,
}

/// The NSEC or NSEC3 records of one zone, whose signatures have been checked.
#[derive(Debug)]
pub struct Proofs<'a> {
    zone: &'a Name,
    plain: Vec<Nsec>,
    hashed: Vec<Nsec3>,
    hashing: Option<(u16, Vec<u8>)>,
}

/// What is at a name without a record of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    /// Nothing.
    Nothing,
    /// An empty name: others are below it.
    Empty,
}

/// From this name to the next there is none.
#[derive(Debug)]
struct Nsec {
    owner: Name,
    next: Name,
    types: Vec<u8>,
}

/// From this hash to the next there is none.
#[derive(Debug)]
struct Nsec3 {
    hash: Vec<u8>,
    next: Vec<u8>,
    opt_out: bool,
    types: Vec<u8>,
}

impl<'a> Proofs<'a> {
    /// Of `zone`, none yet.
    pub fn new(zone: &'a Name) -> Self {
        Self { zone, plain: Vec::new(), hashed: Vec::new(), hashing: None }
    }

    /// Adds a set, which the zone's keys have signed and no wildcard stands for. What is of another form is left out.
    pub fn add(&mut self, set: &Set) {
        for data in &set.data {
            match set.rtype {
                rtype::NSEC => self.plain.extend(Nsec::read(set, data)),
                rtype::NSEC3 => self.add_hashed(set, data),
                _ => {}
            }
        }
    }

    /// All NSEC3 of an answer hash alike; others are left out (RFC 5155 section 8.2).
    fn add_hashed(&mut self, set: &Set, data: &[u8]) {
        let Some((record, hashing)) = Nsec3::read(set, self.zone, data) else { return };
        if self.hashing.get_or_insert_with(|| hashing.clone()) == &hashing {
            self.hashed.push(record);
        }
    }

    /// There is nothing to prove with.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.hashed.is_empty()
    }

    /// That `name`, which is at or below the zone, has no records of this type; `nxdomain`: that it is not there at all.
    pub fn deny(&self, name: &Name, qtype: u16, nxdomain: bool, work: &Work) -> Result<Denial, Why> {
        let lacking = || Why::new(Why::NSEC_MISSING, "nothing proves that there is no", name, "of this type");
        if self.plain.is_empty() {
            return self.deny_hashed(name, qtype, nxdomain, work)?.ok_or_else(lacking);
        }
        self.deny_plain(name, qtype, nxdomain).ok_or_else(lacking)
    }

    /// That the name below `closest` towards `name` is not there, so that a wildcard may stand for it.
    pub fn deny_closer(&self, name: &Name, closest: usize, work: &Work) -> Result<Denial, Why> {
        let lacking = || Why::new(Why::NSEC_MISSING, "nothing proves that a wildcard stands for", name, "");
        let next = suffix(name, closest + 1);
        if let Some(nsec) = self.plain.iter().find(|nsec| nsec.covers(name, self.zone)) {
            return if nsec.closest(name) == closest { Ok(Denial::NxDomain) } else { Err(lacking()) };
        }
        if self.costly() {
            return Ok(Denial::Costly);
        }
        let covering = self.covering(&next, work)?.ok_or_else(lacking)?;
        Ok(if covering.opt_out { Denial::OptOut } else { Denial::NxDomain })
    }

    /// By NSEC.
    fn deny_plain(&self, name: &Name, qtype: u16, nxdomain: bool) -> Option<Denial> {
        if let Some(nsec) = self.plain.iter().find(|nsec| nsec.owner == *name) {
            return (!nxdomain).then(|| no_data(&nsec.types, name, qtype)).flatten();
        }
        let nsec = self.plain.iter().find(|nsec| nsec.covers(name, self.zone))?;
        if self.gap(name)? == Gap::Empty {
            return (!nxdomain).then_some(Denial::NoData { delegation: false });
        }
        let wildcard = star(&suffix(name, nsec.closest(name)))?;
        if nxdomain {
            return (self.gap(&wildcard)? == Gap::Nothing).then_some(Denial::NxDomain);
        }
        let Some(at) = self.plain.iter().find(|nsec| nsec.owner == wildcard) else {
            return (self.gap(&wildcard)? == Gap::Empty).then_some(Denial::NoData { delegation: false });
        };
        no_data(&at.types, &wildcard, qtype).map(|_| Denial::NoData { delegation: false })
    }

    /// What a record that covers `name` says of it.
    fn gap(&self, name: &Name) -> Option<Gap> {
        let nsec = self.plain.iter().find(|nsec| nsec.covers(name, self.zone))?;
        Some(if nsec.next.is_at_or_below(name) { Gap::Empty } else { Gap::Nothing })
    }

    /// By NSEC3.
    fn deny_hashed(&self, name: &Name, qtype: u16, nxdomain: bool, work: &Work) -> Result<Option<Denial>, Why> {
        if self.costly() {
            return Ok(Some(Denial::Costly));
        }
        if let Some(at) = self.matching(name, work)? {
            return Ok((!nxdomain).then(|| no_data(&at.types, name, qtype)).flatten());
        }
        // The closest name that is there, and that the next one towards `name` is not.
        let mut labels = name.labels().count();
        let least = self.zone.labels().count();
        let closest = loop {
            let Some(fewer) = labels.checked_sub(1).filter(|fewer| *fewer >= least) else { return Ok(None) };
            labels = fewer;
            if let Some(at) = self.matching(&suffix(name, labels), work)? {
                if leads_away(&at.types) {
                    return Ok(None);
                }
                break suffix(name, labels);
            }
        };
        let Some(covering) = self.covering(&suffix(name, labels + 1), work)? else { return Ok(None) };
        if !nxdomain && qtype == rtype::DS && covering.opt_out {
            return Ok(Some(Denial::OptOut));
        }
        let Some(wildcard) = star(&closest) else { return Ok(None) };
        if nxdomain {
            let denied = self.covering(&wildcard, work)?.is_some();
            return Ok(denied.then_some(if covering.opt_out { Denial::OptOut } else { Denial::NxDomain }));
        }
        let at = self.matching(&wildcard, work)?;
        let none = at.and_then(|at| no_data(&at.types, &wildcard, qtype));
        // An empty name above unsigned delegations only need not have a record of its own.
        let denial = if covering.opt_out { Denial::OptOut } else { Denial::NoData { delegation: false } };
        Ok(none.map(|_| denial).or(covering.opt_out.then_some(Denial::OptOut)))
    }

    /// Hashing takes too many rounds.
    fn costly(&self) -> bool {
        self.hashing.as_ref().is_some_and(|(iterations, _)| *iterations > MAX_ITERATIONS)
    }

    /// The hash of a name.
    fn hash(&self, name: &Name, work: &Work) -> Result<Vec<u8>, Why> {
        let (iterations, salt) = self.hashing.as_ref().map_or((0, &[][..]), |(rounds, salt)| (*rounds, salt));
        let hash = work.hash().then(|| Digest::iterated(salt, name.wire(), DigestType::SHA1, iterations));
        let hash = hash.and_then(Result::ok);
        Ok(hash.ok_or_else(|| Why::new(Why::INDETERMINATE, "too much to hash for", name, ""))?.as_ref().to_vec())
    }

    /// The record of this name.
    fn matching(&self, name: &Name, work: &Work) -> Result<Option<&Nsec3>, Why> {
        if self.hashed.is_empty() {
            return Ok(None);
        }
        let hash = self.hash(name, work)?;
        Ok(self.hashed.iter().find(|nsec3| nsec3.hash == hash))
    }

    /// The record that says there is no such name.
    fn covering(&self, name: &Name, work: &Work) -> Result<Option<&Nsec3>, Why> {
        if self.hashed.is_empty() {
            return Ok(None);
        }
        let hash = self.hash(name, work)?;
        Ok(self.hashed.iter().find(|nsec3| between(&nsec3.hash, &hash, &nsec3.next)))
    }
}

impl Nsec {
    /// Reads one.
    fn read(set: &Set, data: &[u8]) -> Option<Self> {
        let end = crate::name::labels(data).map(|label| 1 + label.len()).sum::<usize>() + 1;
        let next = Name::from_wire(data.get(..end)?)?;
        Some(Self { owner: set.owner.clone(), next, types: data.get(end..)?.to_vec() })
    }

    /// There is no such name in the zone.
    fn covers(&self, name: &Name, zone: &Name) -> bool {
        if name.is_at_or_below(&self.owner) && *name != self.owner && leads_away(&self.types) {
            return false;
        }
        let after = order(&self.owner, name) == Ordering::Less;
        // The last one leads back to the first.
        after && (self.next == *zone || order(name, &self.next) == Ordering::Less)
    }

    /// Labels of the longest name above `name` that is there, as this record, which covers it, shows.
    fn closest(&self, name: &Name) -> usize {
        common(&self.owner, name).max(common(&self.next, name))
    }
}

impl Nsec3 {
    /// Reads one of `zone`, and how it is hashed. Unknown algorithms and flags are none (RFC 5155 sections 8.1, 8.2).
    fn read(set: &Set, zone: &Name, data: &[u8]) -> Option<(Self, (u16, Vec<u8>))> {
        let [algorithm, flags, high, low, salt_len, ref rest @ ..] = *data else { return None };
        if algorithm != 1 || flags & !1 != 0 || set.owner.parent()? != *zone {
            return None;
        }
        let (salt, rest) = rest.split_at_checked(usize::from(salt_len))?;
        let (&hash_len, rest) = rest.split_first()?;
        let (next, types) = rest.split_at_checked(usize::from(hash_len))?;
        let label = set.owner.labels().next()?.to_ascii_uppercase();
        let hash = data_encoding::BASE32HEX_NOPAD.decode(&label).ok()?;
        if hash.len() != 20 || next.len() != 20 {
            return None;
        }
        let record = Self { hash, next: next.to_vec(), opt_out: flags == 1, types: types.to_vec() };
        Some((record, (u16::from_be_bytes([high, low]), salt.to_vec())))
    }
}

/// Between two hashes in a circle.
fn between(from: &[u8], hash: &[u8], to: &[u8]) -> bool {
    if from < to { from < hash && hash < to } else { hash > from || hash < to }
}

/// Labels two names share, from the right.
fn common(a: &Name, b: &Name) -> usize {
    let labels = |name: &Name| name.labels().map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (a, b) = (labels(a), labels(b));
    a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

/// The wildcard below a name; `None` if that is too long for a name.
fn star(closest: &Name) -> Option<Name> {
    Name::from_wire(&[b"\x01*", closest.wire()].concat())
}

/// What the types at a name say of one that is asked for there.
fn no_data(types: &[u8], name: &Name, qtype: u16) -> Option<Denial> {
    if has(types, qtype) || has(types, rtype::CNAME) {
        return None;
    }
    let (ns, soa) = (has(types, rtype::NS), has(types, rtype::SOA));
    match qtype {
        // Only the parent can say so (RFC 4035 section 5.2).
        rtype::DS if soa && !name.is_root() => None,
        // The parent knows nothing else of what it has delegated (RFC 6840 section 4.4).
        qtype if qtype != rtype::DS && ns && !soa => None,
        _ => Some(Denial::NoData { delegation: ns && !soa && !is_wildcard(name) }),
    }
}

/// Names below are none of this zone's business: a delegation, or a DNAME (RFC 6840 section 4.1).
fn leads_away(types: &[u8]) -> bool {
    (has(types, rtype::NS) && !has(types, rtype::SOA)) || has(types, rtype::DNAME)
}

/// The type is in the bit maps (RFC 4034 section 4.1.2).
fn has(mut types: &[u8], rtype: u16) -> bool {
    let [window, low] = rtype.to_be_bytes();
    while let [number, len, rest @ ..] = types {
        let Some((map, rest)) = rest.split_at_checked(usize::from(*len)) else { return false };
        if *number == window {
            return map.get(usize::from(low / 8)).is_some_and(|byte| byte & (0x80 >> (low % 8)) != 0);
        }
        types = rest;
    }
    false
}

#[cfg(test)]
mod tests;
