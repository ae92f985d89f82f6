//! Bounded texts and samples: an event never carries a whole list.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::util::{Digest, Hasher};

/// Bytes of a text that are kept.
pub const MAX_TEXT: usize = 1024;
/// Names of a sample.
pub const MAX_SAMPLE: usize = 20;

/// A text of at most [`MAX_TEXT`] bytes; of a longer one the beginning and an ellipsis.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// What is kept of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: AsRef<str>> From<T> for Text {
    fn from(text: T) -> Self {
        let text = text.as_ref();
        if text.len() <= MAX_TEXT {
            return Self(text.to_owned());
        }
        let room = MAX_TEXT - '…'.len_utf8();
        let end = (0..=room).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        Self(format!("{}…", text.get(..end).unwrap_or_default()))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many names there are, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// All of them.
    pub count: u64,
    /// At most [`MAX_SAMPLE`].
    pub sample: Vec<Text>,
}

impl Names {
    /// Of these names.
    pub fn of<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Self {
        let mut found = Self::default();
        for name in names {
            found.count += 1;
            if found.sample.len() < MAX_SAMPLE {
                found.sample.push(Text::from(name));
            }
        }
        found
    }

    /// Of more names than were handed over: `count` in all, `sample` some of them.
    pub fn counted<T: AsRef<str>>(count: u64, sample: impl IntoIterator<Item = T>) -> Self {
        Self { count, sample: sample.into_iter().take(MAX_SAMPLE).map(Text::from).collect() }
    }
}

/// [`Names`] with a fingerprint of them all, so that a full list kept elsewhere can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameSet {
    /// All of them, each once.
    pub count: u64,
    /// At most [`MAX_SAMPLE`], the first in byte order.
    pub sample: Vec<Text>,
    /// SHA-256 of the names in byte order, each once, each followed by a newline: `LC_ALL=C sort -u | sha256sum`.
    pub sha256: Digest,
}

impl NameSet {
    /// Of these names, in any order.
    pub fn of<T: AsRef<str> + Ord>(names: impl IntoIterator<Item = T>) -> Self {
        let mut sorted: Vec<T> = names.into_iter().collect();
        sorted.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        sorted.dedup_by(|a, b| a.as_ref() == b.as_ref());
        let mut hasher = Hasher::new();
        for name in &sorted {
            hasher.update(name.as_ref().as_bytes());
            hasher.update(b"\n");
        }
        let Names { count, sample } = Names::of(&sorted);
        Self { count, sample, sha256: hasher.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        for len in 0..4 {
            let long = format!("{}{}", "a".repeat(len), "ж".repeat(MAX_TEXT));
            let text = Text::from(&long);
            let kept = text.as_str().strip_suffix('…').expect("an ellipsis");
            assert!(text.as_str().len() <= MAX_TEXT && long.starts_with(kept) && kept.len() > MAX_TEXT - 6);
        }
        assert_eq!(Text::from("a".repeat(MAX_TEXT)).as_str().len(), MAX_TEXT);
    }

    #[test]
    fn a_sample_is_bounded_and_the_count_is_whole() {
        let names: Vec<String> = (0..1000).map(|n| format!("n{n}.example")).collect();
        let found = Names::of(&names);
        assert_eq!((found.count, found.sample.len()), (1000, MAX_SAMPLE));
        assert_eq!(Names::counted(5, ["a", "b"]), Names { count: 5, sample: vec!["a".into(), "b".into()] });
    }

    #[test]
    fn a_set_has_one_fingerprint_in_any_order() {
        let set = NameSet::of(["b", "a", "B", "a"]);
        assert_eq!(set.sha256, Digest::of(b"B\na\nb\n"));
        assert_eq!((set.count, set.sample.len()), (3, 3));
        assert_eq!(set, NameSet::of(["a", "B", "b"]));
    }
}
