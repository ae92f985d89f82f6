//! Keys of zones, what vouches for them, and whether they signed a set.
//!
//! Work is bounded throughout: how many keys and signatures are tried for one set is fixed, and all tries of one question
//! come out of one purse (CVE-2023-50387, "KeyTrap").

use std::sync::atomic::{AtomicU32, Ordering};

use hickory_proto::dnssec::crypto::Digest;
use hickory_proto::dnssec::{Algorithm, DigestType, PublicKey, PublicKeyBuf};

use super::Why;
use super::message::{Set, Signature, canonical};
use crate::name::Name;

/// Keys of one zone that are used; the largest zones have six.
const MAX_KEYS: usize = 24;
/// Delegation signers of one zone that are used.
const MAX_SIGNERS: usize = 12;
/// Keys of the same tag and algorithm that are tried for one signature.
const MAX_SAME_TAG: usize = 4;
/// Signatures checked for one set, at most.
const MAX_TRIES: usize = 8;
/// Octets of a public key: RSA of 4096 bits needs 516.
const MAX_KEY: usize = 1100;

/// What one question may cost.
#[derive(Debug)]
pub struct Work {
    signatures: AtomicU32,
    hashes: AtomicU32,
    fetches: AtomicU32,
}

impl Work {
    /// A full purse. A chain of ten zones with a denial by NSEC3 at its end takes 40 signatures; a name of 34 labels, as
    /// reverse lookups of IPv6 have, takes 34 questions if none of its zones is known yet.
    pub fn new() -> Self {
        Self { signatures: AtomicU32::new(128), hashes: AtomicU32::new(512), fetches: AtomicU32::new(96) }
    }

    /// One more signature may be checked.
    fn signature(&self) -> bool {
        take(&self.signatures)
    }

    /// One more name may be hashed.
    pub fn hash(&self) -> bool {
        take(&self.hashes)
    }

    /// One more question may be asked.
    pub fn fetch(&self) -> bool {
        take(&self.fetches)
    }

    /// With fewer signatures, for tests.
    #[cfg(test)]
    pub fn signatures(count: u32) -> Self {
        Self { signatures: AtomicU32::new(count), ..Self::new() }
    }
}

/// Takes one of a purse; `false`: it is empty.
fn take(purse: &AtomicU32) -> bool {
    purse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// A DNSKEY (RFC 4034 section 2).
#[derive(Clone, Debug)]
pub struct Key {
    tag: u16,
    algorithm: u8,
    data: Box<[u8]>,
}

impl Key {
    /// Reads one that may sign a zone: `None` if it lacks the zone flag, is revoked (RFC 5011) or of an algorithm that
    /// cannot be checked here.
    pub fn read(data: &[u8]) -> Option<Self> {
        let [high, low, protocol, algorithm, ref key @ ..] = *data else { return None };
        let usable = high & 0x01 != 0 && low & 0x80 == 0 && protocol == 3 && supported(algorithm);
        if !usable || key.is_empty() || key.len() > MAX_KEY {
            return None;
        }
        Some(Self { tag: tag(data), algorithm, data: data.into() })
    }

    /// It signed this.
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = self.data.get(4..).unwrap_or_default().to_vec();
        PublicKeyBuf::new(key, Algorithm::from_u8(self.algorithm)).verify(message, signature).is_ok()
    }
}

/// Algorithms whose signatures are checked. SHA-1 is none of them any more (RFC 9905): zones signed with nothing else count
/// as unsigned.
fn supported(algorithm: u8) -> bool {
    matches!(algorithm, 8 | 10 | 13 | 14 | 15)
}

/// The tag of a DNSKEY's data (RFC 4034 appendix B).
pub fn tag(data: &[u8]) -> u16 {
    let sum: u32 = data.iter().enumerate().map(|(at, &byte)| u32::from(byte) << (8 * (1 - at % 2))).sum();
    ((sum + (sum >> 16)) & 0xffff) as u16
}

/// A DS (RFC 4034 section 5): a parent's word for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    tag: u16,
    algorithm: u8,
    digest: u8,
    hash: Box<[u8]>,
}

impl Signer {
    /// Reads one; `None` if it is too short to be one.
    pub fn read(data: &[u8]) -> Option<Self> {
        let [high, low, algorithm, digest, ref hash @ ..] = *data else { return None };
        let tag = u16::from_be_bytes([high, low]);
        (!hash.is_empty()).then(|| Self { tag, algorithm, digest, hash: hash.into() })
    }

    /// What a DNSKEY of `zone` would be vouched for with.
    pub fn of_key(zone: &Name, data: &[u8]) -> Option<Self> {
        let digest = Digest::from_iter([zone.wire(), data], DigestType::SHA256).ok()?;
        let algorithm = *data.get(3)?;
        Some(Self { tag: tag(data), algorithm, digest: 2, hash: digest.as_ref().into() })
    }

    /// Digest and algorithm are known here.
    fn usable(&self) -> bool {
        supported(self.algorithm) && matches!(self.digest, 1 | 2 | 4)
    }

    /// It vouches for this key of `zone`.
    fn vouches(&self, zone: &Name, key: &Key) -> bool {
        self.tag == key.tag
            && self.algorithm == key.algorithm
            && Digest::from_iter([zone.wire(), &key.data], DigestType::from(self.digest))
                .is_ok_and(|digest| digest.as_ref() == &*self.hash)
    }
}

/// Those that can be used. SHA-1 only if there is nothing better (RFC 4509 section 3).
pub fn usable(signers: impl IntoIterator<Item = Signer>) -> Vec<Signer> {
    let mut usable: Vec<_> = signers.into_iter().filter(Signer::usable).collect();
    if usable.iter().any(|signer| signer.digest != 1) {
        usable.retain(|signer| signer.digest != 1);
    }
    usable.truncate(MAX_SIGNERS);
    usable
}

/// The keys of a zone that are believed.
#[derive(Debug)]
pub struct Keys {
    /// Whose they are.
    pub zone: Name,
    keys: Vec<Key>,
}

impl Keys {
    /// Those of `set`, a DNSKEY set, if one that `signers` vouch for has signed it.
    pub fn believe(zone: &Name, set: &Set, signers: &[Signer], now: u32, work: &Work) -> Result<(Self, u32), Why> {
        let keys: Vec<Key> = set.data.iter().filter_map(|data| Key::read(data)).take(MAX_KEYS).collect();
        let vouched = |key: &&Key| signers.iter().any(|signer| signer.vouches(zone, key));
        let entry = Self { zone: zone.clone(), keys: keys.iter().filter(vouched).cloned().collect() };
        if entry.keys.is_empty() {
            return Err(Why::new(Why::DNSKEY_MISSING, "no key of", zone, "is vouched for by its parent"));
        }
        let good = entry.verify(set, now, work)?;
        Ok((Self { zone: zone.clone(), keys }, good.ttl))
    }

    /// One of them has signed `set`.
    pub fn verify(&self, set: &Set, now: u32, work: &Work) -> Result<Good, Why> {
        if !set.owner.is_at_or_below(&self.zone) {
            return Err(Why::new(Why::BOGUS, "signature of", &set.owner, "is by another zone"));
        }
        // The nearest that any signature came to holding.
        let mut nearest = (0, Why::RRSIGS_MISSING, "by its zone is missing");
        let mut tries = 0;
        let mut blame = |rank: u8, code, text| {
            if rank > nearest.0 {
                nearest = (rank, code, text);
            }
        };
        for signature in set.signatures.iter().filter(|signature| signature.signer == self.zone) {
            if signature.labels() > set.labels() {
                blame(1, Why::BOGUS, "claims more labels than there are");
                continue;
            }
            let matching = |key: &&Key| key.tag == signature.tag() && key.algorithm == signature.algorithm();
            let mut matching = self.keys.iter().filter(matching).take(MAX_SAME_TAG).peekable();
            if matching.peek().is_none() {
                blame(2, Why::DNSKEY_MISSING, "is by a key its zone does not have");
                continue;
            }
            match time(signature, now) {
                Time::Over => {
                    blame(3, Why::EXPIRED, "has expired");
                    continue;
                }
                Time::Early => {
                    blame(3, Why::NOT_YET_VALID, "is not yet valid");
                    continue;
                }
                Time::Now => {}
            }
            let message = signed(set, signature);
            for key in matching {
                tries += 1;
                if tries > MAX_TRIES {
                    return Err(Why::new(Why::BOGUS, "too many signatures to check for", &set.owner, ""));
                }
                // Not the fault of this set: nothing is to be remembered of it.
                if !work.signature() {
                    return Err(Why::new(Why::INDETERMINATE, "too much to check before", &set.owner, ""));
                }
                if key.verifies(&message, &signature.signature) {
                    let left = signature.expires().wrapping_sub(now);
                    let ttl = set.ttl.min(signature.original_ttl()).min(left);
                    return Ok(Good { labels: signature.labels(), ttl });
                }
                blame(4, Why::BOGUS, "is wrong");
            }
        }
        let (_, code, text) = nearest;
        Err(Why::new(code, "signature of", &set.owner, text))
    }
}

/// A set was signed by its zone.
#[derive(Clone, Copy, Debug)]
pub struct Good {
    /// Labels of the owner as it was signed.
    pub labels: usize,
    /// How long it may be believed (RFC 4035 section 5.3.3).
    pub ttl: u32,
}

/// When a signature holds.
enum Time {
    Over,
    Early,
    Now,
}

/// Compares by serial numbers (RFC 4034 section 3.1.5).
fn time(signature: &Signature, now: u32) -> Time {
    if (signature.expires().wrapping_sub(now) as i32) < 0 {
        Time::Over
    } else if (now.wrapping_sub(signature.begins()) as i32) < 0 {
        Time::Early
    } else {
        Time::Now
    }
}

/// What is signed (RFC 4034 section 3.1.8.1).
pub fn signed(set: &Set, signature: &Signature) -> Vec<u8> {
    let labels = signature.labels();
    let mut owner = Vec::new();
    if labels < set.labels() {
        owner.extend_from_slice(b"\x01*");
        owner.extend_from_slice(super::message::suffix(&set.owner, labels).wire());
    } else {
        owner.extend_from_slice(set.owner.wire());
    }
    let mut data: Vec<Vec<u8>> = set.data.iter().map(|data| canonical(set.rtype, data)).collect();
    data.sort_unstable();
    data.dedup();
    let mut out = signature.head.clone();
    for data in data {
        out.extend_from_slice(&owner);
        out.extend_from_slice(&set.rtype.to_be_bytes());
        out.extend_from_slice(&set.class.to_be_bytes());
        out.extend_from_slice(&signature.original_ttl().to_be_bytes());
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(&data);
    }
    out
}
