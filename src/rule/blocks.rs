//! Sorted names in blocks: of each only what differs from the one before, in a code made for the file.

use super::code::{Code, ROOM, SEEN, room, window};
use super::key;
use crate::name::NameBuf;

/// Names of a block. Larger ones take less room and more time: of each name up to the one looked for a length is read.
const NAMES: u32 = 8;
/// A length up to here takes one byte.
const SHORT: usize = 255;
/// Bytes behind the last bit that [`window`] may read.
const PADDING: usize = 8;

/// The names of a file, sorted by their keys.
///
/// A block starts at a byte: the length of its head, then the head, then code words without gaps. The head has two
/// lengths a name, in bits: what it shares with the one before (the first name of a block has none of this), and what
/// comes new.
#[derive(Debug)]
pub struct Blocks {
    code: Code,
    starts: Box<[u32]>,
    bytes: Box<[u8]>,
    len: u32,
}

impl Blocks {
    /// How many blocks.
    pub fn blocks(&self) -> u32 {
        self.starts.len() as u32
    }

    /// The block name number `index` is in.
    pub fn block_of(index: u32) -> u32 {
        index / NAMES
    }

    /// The first name of `block` that is `name` from its `skip`-th label on.
    #[inline]
    pub fn find(&self, block: u32, name: &NameBuf, skip: usize) -> Option<u32> {
        // Most names are short, and zeros take time.
        const SHORT: usize = 40;
        if name.suffix(skip).len() <= SHORT {
            self.find_with(block, name, skip, &mut [0; room(2 * SHORT)])
        } else {
            self.find_with(block, name, skip, &mut [0; ROOM])
        }
    }

    /// The same, with room for the name's bits.
    #[inline]
    fn find_with(&self, block: u32, name: &NameBuf, skip: usize, room: &mut [u8]) -> Option<u32> {
        let bits = self.code.encode(name, skip, room)?;
        let mut head = self.head(block);
        let first = block * NAMES;
        // How much of `name`, zeros behind it, the last one agrees with: what shares more with the last one differs from
        // `name` at the same place, and need not be looked at.
        let mut agreed = 0;
        for index in first..self.len.min(first + NAMES) {
            let (shared, new) = self.lengths(&mut head, index == first);
            if shared <= agreed {
                let same = common(room, shared, &self.bytes, head.bit, new);
                agreed = shared + same;
                if same == new && agreed == bits {
                    return Some(index);
                }
            }
            head.bit += new;
        }
        None
    }

    /// All names, from block `from` on.
    pub fn read_from(&self, from: u32) -> Reader<'_> {
        let head = Head { at: 0, bit: 0 };
        Reader { blocks: self, next: from * NAMES, head, key: Vec::with_capacity(64), ends: Vec::with_capacity(64) }
    }

    /// Writes name number `index`.
    pub fn name(&self, index: u32, name: &mut NameBuf) {
        let mut reader = self.read_from(Self::block_of(index));
        while reader.next < index {
            reader.advance();
        }
        reader.advance();
        key::read(&reader.key, name);
    }

    /// Heap bytes.
    pub fn heap(&self) -> usize {
        self.code.heap() + 4 * self.starts.len() + self.bytes.len()
    }

    /// The head of a block.
    #[inline]
    fn head(&self, block: u32) -> Head {
        let start = self.starts[block as usize] as usize;
        Head { at: start + 1, bit: (start + 1 + usize::from(self.bytes[start])) * 8 }
    }

    /// The next two lengths of a head.
    #[inline]
    fn lengths(&self, head: &mut Head, first: bool) -> (usize, usize) {
        let shared = if first { 0 } else { self.length(head) };
        (shared, self.length(head))
    }

    /// The next length of a head.
    #[inline]
    fn length(&self, head: &mut Head) -> usize {
        let byte = usize::from(self.bytes[head.at]);
        head.at += 1;
        if byte < SHORT {
            return byte;
        }
        let length = u16::from_le_bytes([self.bytes[head.at], self.bytes[head.at + 1]]);
        head.at += 2;
        usize::from(length)
    }
}

/// Where the next lengths and the next code words of a block are.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// Byte.
    at: usize,
    /// Bit.
    bit: usize,
}

/// How many bits are the same from `at` in `a` and from `bt` in `b`, at most `len`.
#[inline]
fn common(a: &[u8], at: usize, b: &[u8], bt: usize, len: usize) -> usize {
    let mut same = 0;
    while same < len {
        // Behind the end of `a` stand zeros, which a longer name than `a` may agree with; it is no match for that.
        let differ = if (at + same) / 8 + 8 <= a.len() { window(a, at + same) } else { 0 } ^ window(b, bt + same);
        let zeros = differ.leading_zeros() as usize;
        if zeros < SEEN {
            return len.min(same + zeros);
        }
        same += SEEN;
    }
    len
}

/// Reads names in their order.
pub struct Reader<'a> {
    blocks: &'a Blocks,
    next: u32,
    head: Head,
    key: Vec<u8>,
    /// Where the word of each byte of `key` ends, in bits from the start of the name.
    ends: Vec<u16>,
}

impl Reader<'_> {
    /// Writes the next name, and gives its number.
    pub fn next(&mut self, name: &mut NameBuf) -> Option<u32> {
        if self.next >= self.blocks.len {
            return None;
        }
        self.advance();
        key::read(&self.key, name);
        Some(self.next - 1)
    }

    /// Reads the next key, of which there must be one.
    fn advance(&mut self) {
        let first = self.next.is_multiple_of(NAMES);
        if first {
            self.head = self.blocks.head(self.next / NAMES);
        }
        let (shared, new) = self.blocks.lengths(&mut self.head, first);
        let kept = self.ends.partition_point(|&end| usize::from(end) <= shared);
        self.key.truncate(kept);
        self.ends.truncate(kept);
        let mut read = 0;
        while read < new {
            let (byte, bits) = self.blocks.code.decode(window(&self.blocks.bytes, self.head.bit + read));
            read += bits;
            self.key.push(byte);
            self.ends.push((shared + read) as u16);
        }
        self.head.bit += new;
        self.next += 1;
    }
}

/// Writes keys that come sorted.
pub struct Writer {
    code: Code,
    starts: Vec<u32>,
    bytes: Vec<u8>,
    len: u32,
    last: Vec<u8>,
    head: Vec<u8>,
    words: Vec<u8>,
    /// Bits that do not fill a byte yet, and how many.
    pending: (u64, u32),
}

impl Writer {
    /// For `names` names whose bytes occur as often as `counts` says.
    pub fn new(names: usize, counts: &[u64; 256]) -> Self {
        let code = Code::new(counts);
        let bits: u64 = (0..=255).map(|byte| counts[usize::from(byte)] * code.length(byte) as u64).sum();
        let blocks = names.div_ceil(NAMES as usize);
        Self {
            code,
            starts: Vec::with_capacity(blocks + 1),
            bytes: Vec::with_capacity(bits as usize / 8 + 2 * names + 4 * blocks),
            len: 0,
            last: Vec::new(),
            head: Vec::new(),
            words: Vec::new(),
            pending: (0, 0),
        }
    }

    /// Adds a key, which is none below the last one.
    pub fn push(&mut self, key: &[u8]) {
        debug_assert!(self.last.as_slice() <= key || self.len == 0);
        let mut kept = 0;
        if self.len.is_multiple_of(NAMES) {
            self.close();
        } else {
            kept = self.last.iter().zip(key).take_while(|(a, b)| a == b).count();
            self.length(&key[..kept]);
        }
        self.length(&key[kept..]);
        for &byte in &key[kept..] {
            let (word, length) = self.code.word(byte);
            let (bits, count) = &mut self.pending;
            *bits = *bits << length | u64::from(word);
            *count += length;
            while *count >= 8 {
                *count -= 8;
                self.words.push((*bits >> *count) as u8);
            }
        }
        self.last.truncate(kept);
        self.last.extend_from_slice(&key[kept..]);
        self.len += 1;
    }

    /// All names are there.
    pub fn finish(mut self) -> Blocks {
        self.close();
        self.bytes.extend([0; PADDING]);
        self.starts.pop();
        Blocks { code: self.code, starts: self.starts.into(), bytes: self.bytes.into(), len: self.len }
    }

    /// Ends a block and starts the next.
    fn close(&mut self) {
        let (bits, count) = std::mem::take(&mut self.pending);
        if count > 0 {
            self.words.push((bits << (8 - count)) as u8);
        }
        if !self.head.is_empty() {
            // At most six bytes a name.
            self.bytes.push(self.head.len() as u8);
            self.bytes.append(&mut self.head);
            self.bytes.append(&mut self.words);
        }
        self.starts.push(self.bytes.len() as u32);
    }

    /// Writes how many bits a piece of a key takes.
    fn length(&mut self, piece: &[u8]) {
        let bits: usize = piece.iter().map(|&byte| self.code.length(byte)).sum();
        if bits < SHORT {
            self.head.push(bits as u8);
        } else {
            self.head.push(SHORT as u8);
            self.head.extend((bits as u16).to_le_bytes());
        }
    }
}
