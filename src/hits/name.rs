//! A wire name inside a JSON string.

use crate::name;

/// Appends a lower-case wire name as a zone file has it, without the trailing dot: printable ASCII and nothing else.
pub fn push_shown(wire: &[u8], out: &mut Vec<u8>) {
    let before = out.len();
    if push_plain(wire, out).is_none() {
        out.truncate(before);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = name::show(wire, &mut text);
        out.extend_from_slice(text.as_bytes());
    }
}

/// Appends a lower-case wire name as it stands between the quotes of a JSON string.
pub(super) fn push_name(wire: &[u8], out: &mut Vec<u8>) {
    let before = out.len();
    if push_plain(wire, out).is_none() {
        out.truncate(before);
        let mut text = String::new();
        // Writing to a String cannot fail, and a string has nothing that serde_json would refuse.
        let _ = name::show(wire, &mut text);
        let json = serde_json::to_vec(&text).unwrap_or_default();
        out.extend_from_slice(json.get(1..json.len().saturating_sub(1)).unwrap_or_default());
    }
}

/// Appends a name of nothing but letters, digits, `-` and `_`, as most are; `None` (and anything in `out`) if it is another.
///
/// All labels are copied at once, then the octets between them, which are their lengths, become dots.
fn push_plain(wire: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (&first, rest) = wire.split_first()?;
    let (_root, labels) = rest.split_last()?;
    let at = out.len();
    out.extend_from_slice(labels);
    let text = &mut out[at..];
    let mut next = usize::from(first);
    let mut dots = 0;
    while next < text.len() {
        let len = usize::from(text[next]);
        text[next] = b'.';
        dots += 1;
        next += 1 + len;
    }
    if next != text.len() {
        return None;
    }
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let mut last = [b'-'; BLOCK];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let mut found = 0;
    for block in blocks.iter().chain([&last]) {
        found += plain(block)?;
    }
    // A dot more stands inside a label.
    (found == dots).then_some(())
}

/// Octets that are looked at together: without branches, so that the processor does it in a few steps.
const BLOCK: usize = 16;

/// How many dots there are, if all octets stand for themselves in a zone file and in JSON (or are dots).
fn plain(block: &[u8; BLOCK]) -> Option<u32> {
    let mut all = true;
    let mut dots = 0_u8;
    for &octet in block {
        let letter = octet.wrapping_sub(b'a') < 26;
        let digit = octet.wrapping_sub(b'0') < 10;
        let dot = octet == b'.';
        all &= letter | digit | dot | (octet == b'-') | (octet == b'_');
        dots += u8::from(dot);
    }
    all.then_some(dots.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::name::MAX_WIRE;

    proptest! {
        #[test]
        fn every_name_is_as_serde_json_writes_what_show_says(
            labels in prop::collection::vec(
                prop_oneof!["[a-z0-9_.-]{1,20}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 1..20)],
                0..6,
            ),
        ) {
            let mut wire: Vec<u8> = labels.iter().flat_map(|l| [&[l.len() as u8], &l[..]].concat()).collect();
            wire.push(0);
            prop_assume!(wire.len() <= MAX_WIRE);
            let mut text = String::new();
            name::show(&wire, &mut text).expect("a String takes everything");
            let mut out = b"\"".to_vec();
            push_name(&wire, &mut out);
            out.push(b'"');
            prop_assert_eq!(String::from_utf8(out).expect("UTF-8"), serde_json::to_string(&text).expect("JSON"));
        }
    }
}
