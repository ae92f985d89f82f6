//! Keyed hashes of names.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

use crate::name::NameBuf;

/// A key of this process; names cannot be chosen to collide under it.
#[derive(Debug, Default)]
pub struct HashKey {
    state: RandomState,
}

/// Hashes a name from its top label down, so that every suffix costs one label.
pub struct LabelHash {
    hasher: foldhash::fast::FoldHasher<'static>,
}

impl HashKey {
    /// A fresh hash.
    #[inline]
    pub fn hasher(&self) -> LabelHash {
        LabelHash { hasher: self.state.build_hasher() }
    }

    /// The hash of a whole name.
    pub fn of(&self, name: &NameBuf) -> u64 {
        let mut hash = self.hasher();
        for index in (0..name.label_count()).rev() {
            hash.label(name.label(index));
        }
        hash.value()
    }
}

impl LabelHash {
    /// Goes down by a label.
    #[inline]
    pub fn label(&mut self, label: &[u8]) {
        self.hasher.write(label);
    }

    /// The hash of the labels so far.
    #[inline]
    pub fn value(&self) -> u64 {
        self.hasher.finish()
    }
}
