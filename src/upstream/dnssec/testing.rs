//! A small world of signed zones, in memory: answers as a forwarder would pass them on.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::dnssec::crypto::Ed25519SigningKey;
use hickory_proto::dnssec::{PublicKey, SigningKey, TBS};

use super::keys::{Signer, signed, tag};
use super::message::{Set, Signature};
use super::{Anchors, Chain, Fetch, Source, Validator};
use crate::name::Name;
use crate::upstream::{Failure, Reply};
use crate::wire::rtype;

/// The time in this world.
pub const NOW: u32 = 1_800_000_000;
/// TTL of everything.
pub const TTL: u32 = 300;

/// A name, which may have a `*`.
pub fn name(text: &str) -> Name {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let mut wire: Vec<u8> = labels.flat_map(|label| [&[label.len() as u8][..], label.as_bytes()].concat()).collect();
    wire.push(0);
    Name::from_wire(&wire).unwrap_or_else(|| panic!("{text} is no name"))
}

/// A zone and its only key.
pub struct Zone {
    pub name: Name,
    key: Ed25519SigningKey,
    pub public: Vec<u8>,
}

/// What is wrong with a signature to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flaw {
    #[default]
    None,
    /// One bit of it.
    Wrong,
    /// It is over.
    Expired,
    /// It has not begun.
    Early,
    /// By a key nobody has.
    OtherKey,
    /// There is none.
    Missing,
}

impl Zone {
    /// With a new key.
    pub fn new(text: &str) -> Self {
        let pkcs8 = Ed25519SigningKey::generate_pkcs8().expect("a key");
        let key = Ed25519SigningKey::from_pkcs8(&pkcs8).expect("a key");
        let public = [&[1, 1, 3, 15][..], key.to_public_key().expect("a key").public_bytes()].concat();
        Self { name: name(text), key, public }
    }

    /// What its parent says of it.
    pub fn ds(&self) -> Vec<u8> {
        let signer = hickory_proto::dnssec::crypto::Digest::from_iter(
            [self.name.wire(), &self.public],
            hickory_proto::dnssec::DigestType::SHA256,
        );
        let mut data = tag(&self.public).to_be_bytes().to_vec();
        data.extend([15, 2]);
        data.extend_from_slice(signer.expect("a digest").as_ref());
        data
    }

    /// Signs a set.
    pub fn sign(&self, mut set: Set, flaw: Flaw) -> Set {
        let labels = set.labels();
        self.sign_as(&mut set, flaw, labels);
        set
    }

    /// Signs it as if its owner had so many labels: as a wildcard does.
    pub fn sign_as(&self, set: &mut Set, flaw: Flaw, labels: usize) {
        if flaw == Flaw::Missing {
            return;
        }
        let (begins, expires) = match flaw {
            Flaw::Expired => (NOW - 7200, NOW - 1),
            Flaw::Early => (NOW + 1, NOW + 7200),
            _ => (NOW - 3600, NOW + 3600),
        };
        let tag = tag(&self.public).wrapping_add(u16::from(flaw == Flaw::OtherKey));
        let mut head = set.rtype.to_be_bytes().to_vec();
        head.extend([15, labels as u8]);
        for word in [TTL, expires, begins] {
            head.extend(word.to_be_bytes());
        }
        head.extend(tag.to_be_bytes());
        head.extend_from_slice(self.name.wire());
        let mut made = Signature { head, signature: Vec::new(), signer: self.name.clone() };
        made.signature = self.key.sign(&TBS::from(&*signed(set, &made))).expect("a signature");
        if flaw == Flaw::Wrong {
            made.signature[7] ^= 1;
        }
        set.signatures.push(made);
    }
}

/// A set without signatures.
pub fn set(owner: &Name, rtype: u16, data: &[&[u8]]) -> Set {
    let data = data.iter().map(|data| data.to_vec()).collect();
    Set { owner: owner.clone(), shown: owner.wire().into(), rtype, class: 1, ttl: TTL, data, signatures: Vec::new() }
}

/// An address record.
pub fn a(owner: &str) -> Set {
    set(&name(owner), rtype::A, &[&[192, 0, 2, 7]])
}

/// A CNAME.
pub fn cname(owner: &str, target: &str) -> Set {
    set(&name(owner), rtype::CNAME, &[name(target).wire()])
}

/// An SOA.
pub fn soa(zone: &str) -> Set {
    let owner = name(zone);
    set(&owner, rtype::SOA, &[&[owner.wire(), owner.wire(), &[0; 16], &TTL.to_be_bytes()].concat()])
}

/// Bit maps of types below 256.
pub fn types(types: &[u16]) -> Vec<u8> {
    let mut map = [0u8; 32];
    for &rtype in types {
        map[usize::from(rtype / 8)] |= 0x80 >> (rtype % 8);
    }
    [&[0, 32][..], &map].concat()
}

/// An NSEC.
pub fn nsec(owner: &str, next: &str, with: &[u16]) -> Set {
    set(&name(owner), rtype::NSEC, &[&[name(next).wire(), &types(with)].concat()])
}

/// The message with these sections.
pub fn message(asked: &Name, qtype: u16, rcode: u16, sections: [&[Set]; 2]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut counts = [0u16; 2];
    for (sets, count) in sections.into_iter().zip(&mut counts) {
        for set in sets {
            let signatures = set.signatures.iter().map(|one| (rtype::RRSIG, [&*one.head, &*one.signature].concat()));
            for (rtype, data) in set.data.iter().map(|data| (set.rtype, data.clone())).chain(signatures) {
                body.extend_from_slice(&set.shown);
                body.extend(rtype.to_be_bytes());
                body.extend(set.class.to_be_bytes());
                body.extend(set.ttl.to_be_bytes());
                body.extend((data.len() as u16).to_be_bytes());
                body.extend_from_slice(&data);
                *count += 1;
            }
        }
    }
    let mut out = vec![0, 0];
    for word in [0x81a0 | rcode, 1, counts[0], counts[1], 0] {
        out.extend(word.to_be_bytes());
    }
    out.extend_from_slice(asked.wire());
    out.extend(qtype.to_be_bytes());
    out.extend(1u16.to_be_bytes());
    out.extend(body);
    out
}

/// Answers by question; nobody answers others.
#[derive(Default)]
pub struct World {
    answers: HashMap<(Name, u16), Vec<u8>>,
    pub asked: AtomicUsize,
}

impl World {
    /// Answers a question so.
    pub fn put(&mut self, asked: &str, qtype: u16, rcode: u16, answer: &[Set], authority: &[Set]) {
        let asked = name(asked);
        let bytes = message(&asked, qtype, rcode, [answer, authority]);
        self.answers.insert((asked, qtype), bytes);
    }

    /// With these octets.
    pub fn put_bytes(&mut self, asked: &str, qtype: u16, bytes: Vec<u8>) {
        self.answers.insert((name(asked), qtype), bytes);
    }

    /// The keys of a zone, signed by itself.
    pub fn keys(&mut self, zone: &Zone, flaw: Flaw) {
        let keys = zone.sign(set(&zone.name, rtype::DNSKEY, &[&zone.public]), flaw);
        self.put(&zone.name.to_string(), rtype::DNSKEY, 0, &[keys], &[]);
    }

    /// A signed zone below a signed one.
    pub fn delegate(&mut self, parent: &Zone, child: &Zone) {
        let ds = parent.sign(set(&child.name, rtype::DS, &[&child.ds()]), Flaw::None);
        self.put(&child.name.to_string(), rtype::DS, 0, &[ds], &[]);
        self.keys(child, Flaw::None);
    }

    /// A name of the zone at which no other zone begins (`ns`: an unsigned one does).
    pub fn no_ds(&mut self, zone: &Zone, at: &str, ns: bool) {
        let with: &[u16] =
            if ns { &[rtype::NS, rtype::RRSIG, rtype::NSEC] } else { &[rtype::A, rtype::RRSIG, rtype::NSEC] };
        let proof = zone.sign(nsec(at, &format!("zzz.{}", zone.name), with), Flaw::None);
        let soa = zone.sign(soa(&zone.name.to_string()), Flaw::None);
        self.put(at, rtype::DS, 0, &[], &[soa, proof]);
    }
}

impl Source for World {
    fn fetch(&self, name: Name, qtype: u16) -> Fetch {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let found = self.answers.get(&(name, qtype)).cloned();
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
        Box::pin(async move { found.map(|bytes| Reply { bytes: Arc::from(bytes), server }).ok_or(Failure::Dead) })
    }
}

/// Believes this root.
pub fn validator(root: &Zone, negative: &[&str]) -> Validator {
    let signer = Signer::of_key(&root.name, &root.public).expect("a key");
    let negative: Vec<_> = negative.iter().map(|text| name(text)).collect();
    Validator::with(Chain::new(Anchors::one(root.name.clone(), signer), &negative))
}
