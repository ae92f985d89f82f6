//! A name as the bytes its file sorts it by: labels from the top down, each closed by [`END`].
//!
//! So names under one parent stand together and share what is in front. Octets 0 and 1 of a label are written in two.

use crate::name::{self, MAX_LABEL, NameBuf};

/// Closes a label.
const END: u8 = 0;
/// Stands before an octet that is not written as itself.
const ESCAPE: u8 = 1;
/// The longest key: every octet of the longest name escaped.
pub const MAX_KEY: usize = 2 * name::MAX_WIRE;

/// Appends the key of a name on the wire.
pub fn append(wire: &[u8], key: &mut Vec<u8>) {
    let mut labels: [&[u8]; name::MAX_LABELS] = [&[]; name::MAX_LABELS];
    let mut count = 0;
    for (to, label) in labels.iter_mut().zip(name::labels(wire)) {
        *to = label;
        count += 1;
    }
    for label in labels[..count].iter().rev() {
        if label.iter().all(|&octet| octet > ESCAPE) {
            key.extend_from_slice(label);
        } else {
            label.iter().for_each(|&octet| octets(octet, |octet| key.push(octet)));
        }
        key.push(END);
    }
}

/// Shows `visit` the key of the name from its `skip`-th label on, byte by byte.
#[inline]
pub fn each(name: &NameBuf, skip: usize, mut visit: impl FnMut(u8)) {
    for index in (skip..name.label_count()).rev() {
        for &octet in name.label(index) {
            octets(octet, &mut visit);
        }
        visit(END);
    }
}

/// Writes the name a key stands for.
pub fn read(key: &[u8], name: &mut NameBuf) {
    name.clear();
    let Some((_, labels)) = key.split_last() else { return };
    for label in labels.rsplit(|&byte| byte == END) {
        // What was a name once is one again.
        let pushed = if label.contains(&ESCAPE) {
            let mut plain = [0; MAX_LABEL];
            let mut len = 0;
            let mut bytes = label.iter();
            while let Some(&byte) = bytes.next() {
                let octet = if byte == ESCAPE { bytes.next().map_or(0, |&next| next - ESCAPE) } else { byte };
                plain[len] = octet;
                len += 1;
            }
            name.push_label(&plain[..len])
        } else {
            name.push_label(label)
        };
        debug_assert!(pushed.is_ok(), "a key that is no name's");
    }
}

/// One octet of a label as a key writes it.
#[inline]
fn octets(octet: u8, mut visit: impl FnMut(u8)) {
    if octet <= ESCAPE {
        visit(ESCAPE);
        visit(octet + ESCAPE);
    } else {
        visit(octet);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The key of a name.
    fn key(wire: &[u8]) -> Vec<u8> {
        let mut key = Vec::new();
        append(wire, &mut key);
        key
    }

    #[test]
    fn labels_from_the_top_down() {
        assert_eq!(key(b"\x03www\x07example\x03com\0"), b"com\0example\0www\0");
        assert_eq!(key(b"\x03\0\x01\x02\0"), b"\x01\x01\x01\x02\x02\0");
        assert_eq!(key(b"\0"), b"");
    }

    proptest! {
        #[test]
        fn every_name_comes_back(
            labels in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(0..4_u8, 1..64),
                    proptest::collection::vec(any::<u8>(), 1..20),
                ],
                0..128,
            ),
        ) {
            let mut name = NameBuf::new();
            for label in &labels {
                if name.push_label(label).is_err() {
                    break;
                }
            }
            let bytes = key(name.wire());
            prop_assert!(bytes.len() <= MAX_KEY);
            let mut each_byte = Vec::new();
            each(&name, 0, |byte| each_byte.push(byte));
            prop_assert_eq!(&each_byte, &bytes);
            let mut back = NameBuf::new();
            read(&bytes, &mut back);
            prop_assert_eq!(back.wire(), name.wire());
            if name.label_count() > 0 {
                let mut suffix = Vec::new();
                each(&name, 1, |byte| suffix.push(byte));
                prop_assert_eq!(suffix, key(name.suffix(1)));
            }
        }
    }
}
