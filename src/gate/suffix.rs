//! Public suffixes (publicsuffix.org, private ones included), on wire bytes.

use psl::Psl;

use crate::name::MAX_LABELS;

/// Stands in no list, so that only a wildcard can make a suffix of it.
const STRANGER: &[u8] = b"-";

/// A wire name and where its labels start.
pub(super) struct Labels<'a> {
    wire: &'a [u8],
    starts: [u8; MAX_LABELS],
    count: usize,
}

/// What the list of public suffixes says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suffix {
    /// Names directly below it, or one further down, are handed out to anybody.
    Public,
    /// Octet at which its registrable domain starts.
    Below(usize),
    /// A host that a provider's wildcard makes a suffix: it is one customer's.
    Host,
}

impl<'a> Labels<'a> {
    /// Of an uncompressed wire name.
    pub(super) fn new(wire: &'a [u8]) -> Self {
        let mut labels = Self { wire, starts: [0; MAX_LABELS], count: 0 };
        let mut at = 0;
        while let Some(&len) = wire.get(at).filter(|&&len| len > 0) {
            let Some(start) = labels.starts.get_mut(labels.count) else { break };
            *start = at as u8;
            labels.count += 1;
            at += 1 + usize::from(len);
        }
        labels
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The name from its label number `skip` on.
    pub(super) fn suffix(&self, skip: usize) -> &'a [u8] {
        let start = self.starts.get(..self.count).and_then(|starts| starts.get(skip));
        let start = start.map_or(self.wire.len().saturating_sub(1), |&start| usize::from(start));
        self.wire.get(start..).unwrap_or_default()
    }

    /// The labels from the top down, all but the first `skip`.
    fn down(&self, skip: usize) -> impl Iterator<Item = &'a [u8]> {
        let starts = self.starts.get(skip..self.count).unwrap_or_default();
        let wire = self.wire;
        starts.iter().rev().map(move |&start| {
            let start = usize::from(start);
            let len = wire.get(start).map_or(0, |&len| usize::from(len));
            wire.get(start + 1..start + 1 + len).unwrap_or_default()
        })
    }

    /// One question to the list: with a stranger in front its answer covers rules on the name and wildcards below it.
    pub(super) fn find(&self) -> Suffix {
        // The length of its text: without the first length octet and the root.
        let len = self.wire.len().saturating_sub(2);
        let found = psl::List.find(self.down(0).chain([STRANGER]));
        if found.len == len + 1 + STRANGER.len() && found.typ.is_some() && self.count > 0 {
            return Suffix::Public;
        }
        if found.len == len && found.typ.is_some() {
            let first = self.wire.first().map_or(0, |&len| usize::from(len));
            let beside = psl::List.find(self.down(1).chain([STRANGER]));
            let by_wildcard = beside.typ.is_some() && beside.len == len.saturating_sub(first) + STRANGER.len();
            let public = found.typ == Some(psl::Type::Icann) || !by_wildcard;
            return if public { Suffix::Public } else { Suffix::Host };
        }
        Suffix::Below(self.registrable(found.len))
    }

    /// Where the label before a suffix of `len` octets of text starts; the whole name if there is none.
    fn registrable(&self, len: usize) -> usize {
        let starts = self.starts.get(..self.count).unwrap_or_default();
        let before = |start: &&u8| self.wire.len() - usize::from(**start) > len + 2;
        starts.iter().rev().find(before).map_or(0, |&start| usize::from(start))
    }
}

/// Whether names directly below this one, or one further down, are handed out to anybody (publicsuffix.org, private
/// domains included).
///
/// Hosts that a provider's wildcard makes suffixes (`*.compute-1.amazonaws.com`) are not meant: each is one customer's.
pub fn is_public_suffix(wire: &[u8]) -> bool {
    Labels::new(wire).find() == Suffix::Public
}

/// The registrable domain of a name; `None` for a public suffix and the root.
pub(super) fn registrable(wire: &[u8]) -> Option<&[u8]> {
    let labels = Labels::new(wire);
    match labels.find() {
        Suffix::Below(at) if labels.count() > 1 => wire.get(at..),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::name::NameBuf;

    /// Three plain questions, as the review asked them before.
    fn twin(name: &NameBuf) -> bool {
        let count = name.label_count();
        let labels = |count: usize| (0..name.label_count()).rev().map(|index| name.label(index)).take(count);
        let len = name.wire().len().saturating_sub(2);
        let below = psl::List.find(labels(count).chain([STRANGER]));
        if below.typ.is_some() && below.len == len + 1 + STRANGER.len() {
            return true;
        }
        let itself = psl::List.find(labels(count));
        if itself.typ.is_none() || itself.len != len {
            return false;
        }
        let above = len.saturating_sub(name.label(0).len());
        let beside = psl::List.find(labels(count.saturating_sub(1)).chain([STRANGER]));
        let by_wildcard = beside.typ.is_some() && beside.len == above + STRANGER.len();
        itself.typ == Some(psl::Type::Icann) || !by_wildcard
    }

    fn wire(text: &str) -> Vec<u8> {
        crate::name::Name::parse(text).expect("a name").wire().to_vec()
    }

    #[test]
    fn registrable_domains_know_private_suffixes() {
        for (name, domain) in [
            ("www.google.com", Some("google.com")),
            ("google.com", Some("google.com")),
            ("a.b.example.co.uk", Some("example.co.uk")),
            ("shop.myshopify.com", Some("shop.myshopify.com")),
            ("x.shop.myshopify.com", Some("shop.myshopify.com")),
            ("myshopify.com", None),
            ("us.com", None),
            ("com", None),
            ("x.lan", Some("x.lan")),
            ("www.ck", Some("www.ck")),
            ("a.www.ck", Some("www.ck")),
        ] {
            let name = wire(name);
            assert_eq!(registrable(&name).map(<[u8]>::to_vec), domain.map(wire), "{domain:?}");
        }
        assert!(!is_public_suffix(&[0]) && registrable(&[0]).is_none());
    }

    proptest! {
        #[test]
        fn one_question_is_as_good_as_three(labels in proptest::collection::vec(
            prop_oneof!["com", "uk", "co", "ck", "www", "us", "github", "io", "amazonaws", "compute-1", "kawasaki", "jp",
                "city", "myshopify", "s3", "a", "xn--p1ai", "lan", "gov", "kz", "blogspot", "nom", "br"], 1..6)) {
            let mut name = NameBuf::new();
            name.parse(&labels.join(".")).expect("a name");
            prop_assert_eq!(is_public_suffix(name.wire()), twin(&name), "{}", name);
            // A registrable domain is a suffix of the name on a label, and its own registrable domain.
            if let Some(domain) = registrable(name.wire()) {
                prop_assert!(crate::name::is_at_or_below(name.wire(), domain));
                prop_assert_eq!(registrable(domain), Some(domain));
            }
        }
    }
}
