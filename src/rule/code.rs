//! A prefix code over the bytes of keys (Huffman's), made for one file: frequent bytes take few bits.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::key;
use crate::name::NameBuf;

/// The longest code word. Keys of 500 bytes that a file has hardly a byte of are then still short enough for a stack.
const MAX_BITS: u32 = 12;

/// Room for the bits of any key, and for what [`window`] reads behind them.
pub const ROOM: usize = room(key::MAX_KEY);

/// Room for the bits of a key of so many bytes.
pub const fn room(key: usize) -> usize {
    key * MAX_BITS as usize / 8 + 8
}

/// What stands in `bytes` from `bit` on, at the left end: at least [`SEEN`] bits.
#[inline]
pub fn window(bytes: &[u8], bit: usize) -> u64 {
    let at = bit / 8;
    let word: [u8; 8] = bytes[at..at + 8].try_into().unwrap_or_default();
    u64::from_be_bytes(word) << (bit % 8)
}

/// How many bits of a [`window`] are sure to be there.
pub const SEEN: usize = 57;

/// The code.
#[derive(Debug)]
pub struct Code {
    /// For each byte its word and, in the low eight bits, the word's length; 0 for a byte that does not occur.
    words: Box<[u32; 256]>,
    /// For the next [`MAX_BITS`] bits: the byte, and how many bits it took.
    bytes: Box<[(u8, u8)]>,
}

impl Code {
    /// For bytes that occur as often as `counts` says.
    pub fn new(counts: &[u64; 256]) -> Self {
        let lengths = lengths(counts);
        let mut words = Box::new([0; 256]);
        let mut bytes = vec![(0, 0); 1 << MAX_BITS].into_boxed_slice();
        let mut order: Vec<u8> = (0..=255).filter(|&byte| lengths[usize::from(byte)] > 0).collect();
        order.sort_by_key(|&byte| (lengths[usize::from(byte)], byte));
        let mut next = 0_usize;
        for byte in order {
            let length = lengths[usize::from(byte)];
            let step = 1 << (MAX_BITS - length);
            words[usize::from(byte)] = ((next / step) as u32) << 8 | length;
            bytes[next..next + step].fill((byte, length as u8));
            next += step;
        }
        Self { words, bytes }
    }

    /// How many bits `byte` takes; 0 if it does not occur.
    pub fn length(&self, byte: u8) -> usize {
        (self.words[usize::from(byte)] & 0xff) as usize
    }

    /// The word of a byte and its length.
    pub fn word(&self, byte: u8) -> (u32, u32) {
        let word = self.words[usize::from(byte)];
        (word >> 8, word & 0xff)
    }

    /// Writes the bits of the name from its `skip`-th label on into `room`, which is all zeros and large enough, and
    /// gives their number; `None` if a byte is in the name that no key of the file has.
    #[inline]
    pub fn encode(&self, name: &NameBuf, skip: usize, room: &mut [u8]) -> Option<usize> {
        let (mut pending, mut count, mut at, mut unknown) = (0_u64, 0, 0, false);
        key::each(name, skip, |byte| {
            let (word, length) = self.word(byte);
            unknown |= length == 0;
            pending = pending << length | u64::from(word);
            count += length;
            if count >= 32 {
                count -= 32;
                room[at..at + 4].copy_from_slice(&((pending >> count) as u32).to_be_bytes());
                at += 4;
            }
        });
        room[at..at + 4].copy_from_slice(&((pending << (32 - count)) as u32).to_be_bytes());
        (!unknown).then_some(at * 8 + count as usize)
    }

    /// The byte at the left end of `window`, and how many bits it takes.
    pub fn decode(&self, window: u64) -> (u8, usize) {
        let (byte, bits) = self.bytes[(window >> (u64::BITS - MAX_BITS)) as usize];
        (byte, usize::from(bits))
    }

    /// Heap bytes.
    pub fn heap(&self) -> usize {
        size_of_val(&*self.words) + size_of_val(&*self.bytes)
    }
}

/// The length of each byte's word: Huffman's, with counts evened out until none is longer than [`MAX_BITS`].
fn lengths(counts: &[u64; 256]) -> [u32; 256] {
    let mut counts = *counts;
    loop {
        let lengths = huffman(&counts);
        if lengths.iter().all(|&length| length <= MAX_BITS) {
            return lengths;
        }
        for count in counts.iter_mut().filter(|count| **count > 0) {
            *count = *count / 2 + 1;
        }
    }
}

/// The lengths that make the text shortest.
fn huffman(counts: &[u64; 256]) -> [u32; 256] {
    // Leaves are numbered by their byte, inner nodes from 256 on; `above` is where a node hangs.
    let mut above = vec![0_usize; 512];
    let mut heap: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    heap.extend(
        counts.iter().enumerate().filter(|&(_, &count)| count > 0).map(|(byte, &count)| Reverse((count, byte))),
    );
    let mut lengths = [0; 256];
    if heap.len() == 1 {
        heap.into_iter().for_each(|Reverse((_, byte))| lengths[byte] = 1);
        return lengths;
    }
    let mut next = 256;
    while let (Some(Reverse(first)), Some(Reverse(second))) = (heap.pop(), heap.pop()) {
        above[first.1] = next;
        above[second.1] = next;
        if heap.is_empty() {
            break;
        }
        heap.push(Reverse((first.0.saturating_add(second.0), next)));
        next += 1;
    }
    let root = next;
    for (byte, length) in lengths.iter_mut().enumerate().filter(|&(byte, _)| counts[byte] > 0) {
        let mut node = byte;
        while node != root {
            node = above[node];
            *length += 1;
        }
    }
    lengths
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bits as the decoder reads them.
    fn decoded(code: &Code, room: &[u8], bits: usize) -> Vec<u8> {
        let (mut at, mut bytes) = (0, Vec::new());
        while at < bits {
            let (byte, took) = code.decode(window(room, at));
            bytes.push(byte);
            at += took;
        }
        assert_eq!(at, bits);
        bytes
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            labels in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..64), 1..12),
            weights in proptest::collection::vec(0..64_u32, 256),
        ) {
            let mut name = NameBuf::new();
            labels.iter().for_each(|label| _ = name.push_label(label));
            let mut key = Vec::new();
            key::append(name.wire(), &mut key);
            // Frequencies from one to nearly all: code words of every length.
            let counts = std::array::from_fn(|byte| 1_u64 << weights[byte]);
            let code = Code::new(&counts);
            let mut bytes = vec![0; room(key.len())];
            let bits = code.encode(&name, 0, &mut bytes).expect("every byte has a word");
            prop_assert_eq!(bits, key.iter().map(|&byte| code.length(byte)).sum::<usize>());
            prop_assert_eq!(decoded(&code, &bytes, bits), key);
        }
    }

    #[test]
    fn a_byte_that_does_not_occur_has_no_word() {
        let mut counts = [0; 256];
        for byte in *b"\0moc" {
            counts[usize::from(byte)] = 1;
        }
        let code = Code::new(&counts);
        let mut name = NameBuf::new();
        name.parse("com.").expect("a name");
        assert_eq!(code.encode(&name, 0, &mut [0; ROOM]), Some(8));
        name.parse("net.").expect("a name");
        assert!(code.encode(&name, 0, &mut [0; ROOM]).is_none());
        assert!(Code::new(&[0; 256]).encode(&name, 0, &mut [0; ROOM]).is_none());
        let mut one = [0; 256];
        one[0] = 9;
        assert_eq!(Code::new(&one).length(0), 1);
    }
}
