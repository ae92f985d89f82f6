//! What is to be said of a whole answer: each step of its chain of aliases, and its end.

use std::sync::Arc;

use super::chain::{Chain, Standing, proofs};
use super::denial::Denial;
use super::keys::{Good, Keys};
use super::message::{Message, Set};
use super::{Context, Stop, Why};
use crate::name::Name;
use crate::upstream::Ask;
use crate::wire::{rcode, rtype};

/// Aliases followed in one answer.
const MAX_ALIASES: usize = 16;
/// Signers of one set that are looked at.
const MAX_ZONES: usize = 2;

/// An answer that is not wrong.
#[derive(Debug)]
pub enum Judgement {
    /// All of these parts are proven; the rest of the message is not part of the answer.
    Secure(Vec<Part>),
    /// Some of it is not signed, and need not be.
    Insecure,
}

/// A proven set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which section: 0 answer, 1 authority.
    pub section: usize,
    /// Which set of it.
    pub index: usize,
    /// How long it may be believed.
    pub ttl: u32,
}

/// Judges the answer to `ask`.
pub async fn judge(chain: &Chain, cx: &Context<'_>, ask: &Ask, message: &Message) -> Result<Judgement, Stop> {
    // Other response codes say that there is no answer, which needs no proof; signatures themselves have none.
    if !matches!(message.rcode, rcode::NOERROR | rcode::NXDOMAIN) || ask.qtype == rtype::RRSIG {
        return Ok(Judgement::Insecure);
    }
    let mut judge = Judge { chain, cx, message, parts: Vec::new(), insecure: false };
    judge.run(ask).await?;
    Ok(if judge.insecure { Judgement::Insecure } else { Judgement::Secure(judge.parts) })
}

/// One answer under way.
struct Judge<'a> {
    chain: &'a Chain,
    cx: &'a Context<'a>,
    message: &'a Message,
    parts: Vec<Part>,
    insecure: bool,
}

impl Judge<'_> {
    /// From the question's name to the end.
    async fn run(&mut self, ask: &Ask) -> Result<(), Stop> {
        let mut name = ask.name.clone();
        for _ in 0..MAX_ALIASES {
            if let Some(index) = self.find(&name, ask.qtype) {
                // NXDOMAIN with an answer contradicts itself.
                if self.message.rcode == rcode::NXDOMAIN {
                    return Err(Stop::Bogus(Why::new(Why::BOGUS, "", &name, "is denied and answered at once")));
                }
                return self.positive(index, &name).await;
            }
            match self.alias(&name, ask.qtype).await? {
                Some(target) => name = target,
                None => return self.negative(&name, ask.qtype).await,
            }
        }
        Err(Stop::Unknown(Why::new(Why::INDETERMINATE, "too many aliases behind", &ask.name, "")))
    }

    /// Where the set of this owner and type stands in the answer section.
    fn find(&self, owner: &Name, rtype: u16) -> Option<usize> {
        self.message.sections[0].iter().position(|set| set.rtype == rtype && set.owner == *owner)
    }

    /// Where a CNAME, or a DNAME above, leads from `name`.
    async fn alias(&mut self, name: &Name, qtype: u16) -> Result<Option<Name>, Stop> {
        if qtype == rtype::CNAME {
            return Ok(None);
        }
        let sets = &self.message.sections[0];
        let above = |set: &Set| set.rtype == rtype::DNAME && name.is_at_or_below(&set.owner) && set.owner != *name;
        let cname = self.find(name, rtype::CNAME);
        if let Some((index, dname)) = sets.iter().enumerate().find(|(_, set)| above(set)) {
            let made = dname.target().and_then(|target| substitute(name, &dname.owner, &target));
            let wrong = || Stop::Bogus(Why::new(Why::BOGUS, "the alias of", name, "is not what its DNAME makes it"));
            let made = made.ok_or_else(wrong)?;
            self.positive(index, &dname.owner).await?;
            if let Some((at, cname)) = cname.and_then(|at| Some((at, sets.get(at)?))) {
                if cname.target().as_ref() != Some(&made) {
                    return Err(wrong());
                }
                // Made from the DNAME, it has no signature of its own (RFC 6672 section 5.3.1).
                let ttl = self.parts.last().map_or(0, |part| part.ttl);
                self.parts.push(Part { section: 0, index: at, ttl: ttl.min(cname.ttl) });
            }
            return Ok(Some(made));
        }
        let Some(index) = cname else { return Ok(None) };
        self.positive(index, name).await?;
        let target = sets.get(index).and_then(Set::target);
        let several = || Stop::Bogus(Why::new(Why::BOGUS, "", name, "has several aliases"));
        target.map(Some).ok_or_else(several)
    }

    /// A set of the answer section.
    async fn positive(&mut self, index: usize, name: &Name) -> Result<(), Stop> {
        let Some(set) = self.message.sections[0].get(index) else { return Ok(()) };
        let Some((keys, good)) = self.set(set).await? else {
            self.insecure = true;
            return Ok(());
        };
        self.parts.push(Part { section: 0, index, ttl: good.ttl });
        if good.labels < set.labels() {
            // A wildcard stands for it: nothing closer may be there (RFC 4035 section 5.3.4).
            let found = proofs(self.cx, &keys, self.message)?;
            let denied = found.proofs.deny_closer(name, good.labels, self.cx.work).map_err(Stop::from)?;
            self.insecure |= matches!(denied, Denial::OptOut | Denial::Costly);
            self.keep(&keys, &found.sets);
        }
        Ok(())
    }

    /// The end of the chain: nothing of this type is at `name`, or no such name is.
    async fn negative(&mut self, name: &Name, qtype: u16) -> Result<(), Stop> {
        // Only a parent can say that there is no DS.
        let of = (qtype == rtype::DS).then(|| name.parent()).flatten().unwrap_or_else(|| name.clone());
        if self.chain.is_waived(&of) {
            self.insecure = true;
            return Ok(());
        }
        let claims = self.message.authority().iter().filter(|set| is_claim(set));
        let mut zones: Vec<&Name> = Vec::new();
        for signature in claims.flat_map(|set| &set.signatures) {
            let signer = &signature.signer;
            if of.is_at_or_below(signer) && !zones.contains(&signer) && zones.len() < MAX_ZONES {
                zones.push(signer);
            }
        }
        for zone in zones {
            let Standing::Secure(keys) = self.chain.standing(self.cx, zone).await? else { continue };
            if keys.zone != *zone {
                continue;
            }
            let found = proofs(self.cx, &keys, self.message)?;
            let nxdomain = self.message.rcode == rcode::NXDOMAIN;
            let denied = found.proofs.deny(name, qtype, nxdomain, self.cx.work).map_err(Stop::from)?;
            self.insecure |= matches!(denied, Denial::OptOut | Denial::Costly);
            self.keep(&keys, &found.sets);
            return Ok(());
        }
        // Nothing is signed: is that right?
        match self.chain.standing(self.cx, &of).await? {
            Standing::Insecure => {
                self.insecure = true;
                Ok(())
            }
            Standing::Secure(_) => {
                let unsigned =
                    self.message.authority().iter().any(|set| set.rtype == rtype::NSEC || set.rtype == rtype::NSEC3);
                let code = if unsigned { Why::RRSIGS_MISSING } else { Why::NSEC_MISSING };
                Err(Stop::Bogus(Why::new(code, "nothing signed proves that there is no", name, "of this type")))
            }
        }
    }

    /// Who signed a set, and how well; `None`: nobody has to.
    async fn set(&self, set: &Set) -> Result<Option<(Arc<Keys>, Good)>, Stop> {
        // A DS is its parent's.
        let parent = (set.rtype == rtype::DS).then(|| set.owner.parent()).flatten();
        let of = parent.as_ref().unwrap_or(&set.owner);
        if self.chain.is_waived(of) {
            return Ok(None);
        }
        let mut signers: Vec<&Name> = Vec::new();
        for signature in &set.signatures {
            let signer = &signature.signer;
            if of.is_at_or_below(signer) && !signers.contains(&signer) && signers.len() < MAX_ZONES {
                signers.push(signer);
            }
        }
        let mut wrong = None;
        for signer in signers {
            match self.chain.standing(self.cx, signer).await? {
                Standing::Secure(keys) if keys.zone == *signer => match keys.verify(set, self.cx.now, self.cx.work) {
                    Ok(good) => return Ok(Some((keys, good))),
                    Err(why) => wrong = Some(why),
                },
                Standing::Secure(_) => {
                    let why = Why::new(Why::DNSKEY_MISSING, "signature of", &set.owner, "is by what is no zone");
                    wrong.get_or_insert(why);
                }
                Standing::Insecure => {}
            }
        }
        if let Some(why) = wrong {
            return Err(Stop::from(why));
        }
        match self.chain.standing(self.cx, of).await? {
            Standing::Insecure => Ok(None),
            Standing::Secure(_) => {
                Err(Stop::Bogus(Why::new(Why::RRSIGS_MISSING, "", &set.owner, "is not signed, but its zone is")))
            }
        }
    }

    /// The proofs of a zone are part of the answer, and its SOA, if that is signed.
    fn keep(&mut self, keys: &Keys, sets: &[(usize, u32)]) {
        let soa = self.message.authority().iter().position(|set| set.rtype == rtype::SOA);
        let soa = soa.and_then(|index| {
            let set = self.message.authority().get(index)?;
            Some((index, keys.verify(set, self.cx.now, self.cx.work).ok()?.ttl))
        });
        for (index, ttl) in soa.into_iter().chain(sets.iter().copied()) {
            if !self.parts.iter().any(|part| part.section == 1 && part.index == index) {
                self.parts.push(Part { section: 1, index, ttl });
            }
        }
    }
}

/// It says what is not there.
fn is_claim(set: &Set) -> bool {
    matches!(set.rtype, rtype::SOA | rtype::NSEC | rtype::NSEC3)
}

/// `name` with `target` for `owner`, which it is below (RFC 6672 section 2.2).
fn substitute(name: &Name, owner: &Name, target: &Name) -> Option<Name> {
    let prefix = name.wire().get(..name.wire().len().checked_sub(owner.wire().len())?)?;
    Name::from_wire(&[prefix, target.wire()].concat())
}

#[cfg(test)]
mod tests {
    use super::super::message::suffix;
    use super::*;

    #[test]
    fn a_dname_moves_what_is_below() {
        let name = |text: &str| Name::parse(text).expect("a name");
        let moved = substitute(&name("a.b.example"), &name("example"), &name("other.test"));
        assert_eq!(moved, Some(name("a.b.other.test")));
        assert_eq!(suffix(&name("a.b.example"), 2), name("b.example"));
        assert_eq!(suffix(&name("a.b.example"), 0), Name::root());
    }
}
