//! What a rule always says, made once and remembered.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;

use crate::event::Why;

/// Rules that are remembered: more than most blocklists see in an hour …
const REMEMBERED: usize = 16_384;
/// … unless they have much to say.
const REMEMBERED_BYTES: usize = 8 << 20;

/// The parts of a frame that are the same for all hits of a rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// The first, or only one.
    pub(super) one: Box<[u8]>,
    /// The second.
    pub(super) two: Box<[u8]>,
}

/// Remembers them by the number of the [`Why`].
#[derive(Default)]
pub(super) struct Remembered {
    known: HashMap<u64, Said, RandomState>,
    bytes: usize,
}

impl Remembered {
    /// What is said because of `why`; `make` appends the two parts when they are not known yet.
    pub(super) fn of(&mut self, why: &Why, make: impl FnOnce(&Why, &mut Vec<u8>, &mut Vec<u8>)) -> &Said {
        if self.known.len() >= REMEMBERED || self.bytes >= REMEMBERED_BYTES {
            self.known.clear();
            self.bytes = 0;
        }
        match self.known.entry(why.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let (mut one, mut two) = (Vec::new(), Vec::new());
                make(why, &mut one, &mut two);
                self.bytes += one.len() + two.len();
                place.insert(Said { one: one.into(), two: two.into() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::tests::why;

    #[test]
    fn a_rule_is_asked_once_and_memory_is_bounded() {
        let mut remembered = Remembered::default();
        let mut asked = 0;
        for _ in 0..3 {
            let said = remembered.of(&why(7), |_, one, two| {
                asked += 1;
                one.extend_from_slice(b"a");
                two.extend_from_slice(b"bc");
            });
            assert_eq!((&*said.one, &*said.two), (&b"a"[..], &b"bc"[..]));
        }
        assert_eq!(asked, 1);
        for id in 0..2 * REMEMBERED as u64 {
            remembered.of(&why(id), |_, one, _| one.resize(if id.is_multiple_of(100) { 60_000 } else { 1 }, 0));
            assert!(remembered.known.len() <= REMEMBERED && remembered.bytes <= REMEMBERED_BYTES + 60_000);
        }
    }
}
