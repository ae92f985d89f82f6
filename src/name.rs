//! Domain names as lower-case, uncompressed wire bytes (RFC 1035 section 3.1), and how text becomes one.

mod parse;
mod script;

pub use parse::{NameError, NameProblem};
pub use script::unicode;

use std::fmt;

/// The longest name on the wire, its root octet included (RFC 1035 section 2.3.4).
pub const MAX_WIRE: usize = 255;
/// The longest label without its length octet (RFC 1035 section 2.3.4).
pub const MAX_LABEL: usize = 63;
/// The most labels a name of [`MAX_WIRE`] octets can hold, the root not counted.
pub const MAX_LABELS: usize = 127;

/// A name in a fixed buffer with the position of each label: what the hot path and the bulk
/// parsers fill again and again without allocating.
#[derive(Clone)]
pub struct NameBuf {
    bytes: [u8; MAX_WIRE],
    len: u8,
    starts: [u8; MAX_LABELS],
    labels: u8,
}

impl Default for NameBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl NameBuf {
    /// The root name.
    pub const fn new() -> Self {
        Self { bytes: [0; MAX_WIRE], len: 1, starts: [0; MAX_LABELS], labels: 0 }
    }

    /// Back to the root name.
    pub fn clear(&mut self) {
        self.bytes[0] = 0;
        self.len = 1;
        self.labels = 0;
    }

    /// Adds a label at the right end (before the root), in lower case.
    ///
    /// # Errors
    /// The label is empty or over 63 octets, or the name would be over 255: nothing is changed then.
    pub fn push_label(&mut self, label: &[u8]) -> Result<(), NameProblem> {
        let at = usize::from(self.len) - 1;
        if label.is_empty() {
            return Err(NameProblem::EmptyLabel);
        }
        if label.len() > MAX_LABEL {
            return Err(NameProblem::LabelTooLong);
        }
        let end = at + 1 + label.len();
        if end + 1 > MAX_WIRE {
            return Err(NameProblem::NameTooLong);
        }
        self.bytes[at] = label.len() as u8;
        for (to, from) in self.bytes[at + 1..end].iter_mut().zip(label) {
            *to = from.to_ascii_lowercase();
        }
        self.bytes[end] = 0;
        self.starts[usize::from(self.labels)] = at as u8;
        self.labels += 1;
        self.len = (end + 1) as u8;
        Ok(())
    }

    /// The whole name on the wire, root octet included.
    pub fn wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// How many labels, the root not counted.
    pub fn label_count(&self) -> usize {
        usize::from(self.labels)
    }

    /// The name from its `skip`-th label on: 0 is the whole name, [`Self::label_count`] the root.
    pub fn suffix(&self, skip: usize) -> &[u8] {
        if skip >= self.label_count() {
            return &self.bytes[usize::from(self.len) - 1..usize::from(self.len)];
        }
        &self.bytes[usize::from(self.starts[skip])..usize::from(self.len)]
    }

    /// The `index`-th label from the left, without its length octet.
    pub fn label(&self, index: usize) -> &[u8] {
        let at = usize::from(self.starts[index]);
        &self.bytes[at + 1..at + 1 + usize::from(self.bytes[at])]
    }

    /// Copies an uncompressed wire name (any case), as [`Name::wire`] gives it.
    ///
    /// # Errors
    /// The bytes are not exactly one uncompressed name.
    pub fn set_wire(&mut self, wire: &[u8]) -> Result<(), NameProblem> {
        self.clear();
        let mut rest = wire;
        loop {
            let (&len, tail) = rest.split_first().ok_or(NameProblem::EmptyLabel)?;
            let len = usize::from(len);
            if len == 0 {
                return if tail.is_empty() { Ok(()) } else { Err(NameProblem::NameTooLong) };
            }
            if len > MAX_LABEL || len > tail.len() {
                return Err(NameProblem::LabelTooLong);
            }
            self.push_label(&tail[..len])?;
            rest = &tail[len..];
        }
    }

    /// An owned copy.
    pub fn to_name(&self) -> Name {
        Name { wire: self.wire().into() }
    }
}

impl fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameBuf({self})")
    }
}

impl fmt::Display for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.wire(), f)
    }
}

/// An owned domain name: lower-case, uncompressed wire bytes, root octet included.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    wire: Box<[u8]>,
}

impl Name {
    /// The root name.
    pub fn root() -> Self {
        Self { wire: [0].into() }
    }

    /// Reads a host name as people write it (UTS 46, one trailing dot allowed).
    ///
    /// # Errors
    /// See [`NameError`]: what is wrong and at which byte of `text`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut buf = NameBuf::new();
        buf.parse(text)?;
        Ok(buf.to_name())
    }

    /// Reads an uncompressed wire name in any case; `None` if the bytes are not exactly one.
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        let mut buf = NameBuf::new();
        buf.set_wire(wire).ok()?;
        Some(buf.to_name())
    }

    /// The wire bytes, root octet included.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Labels from left to right, the root not among them.
    pub fn labels(&self) -> Labels<'_> {
        Labels(&self.wire)
    }

    /// `self` is `other` or lies below it.
    pub fn is_at_or_below(&self, other: &Name) -> bool {
        is_at_or_below(&self.wire, &other.wire)
    }

    /// The name one label up; `None` for the root.
    pub fn parent(&self) -> Option<Name> {
        let len = usize::from(self.wire[0]);
        (len > 0).then(|| Name { wire: self.wire[1 + len..].into() })
    }

    /// No labels at all.
    pub fn is_root(&self) -> bool {
        self.wire.len() == 1
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.wire, f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// The labels of a wire name, left to right.
#[derive(Clone, Debug)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&len, rest) = self.0.split_first()?;
        if len == 0 {
            return None;
        }
        let (label, rest) = rest.split_at_checked(usize::from(len))?;
        self.0 = rest;
        Some(label)
    }
}

/// Labels of an uncompressed wire name that need not be owned.
pub fn labels(wire: &[u8]) -> Labels<'_> {
    Labels(wire)
}

/// Both are lower-case wire names; compares whole labels, so `notexample.com` is not below `example.com`.
pub fn is_at_or_below(name: &[u8], other: &[u8]) -> bool {
    let Some(skip) = name.len().checked_sub(other.len()) else { return false };
    if &name[skip..] != other {
        return false;
    }
    let mut at = 0;
    while at < skip {
        at += 1 + usize::from(name[at]);
    }
    at == skip
}

/// Presentation format without the trailing dot (the root is `.`), RFC 1035 section 5.1 escapes.
pub fn show(wire: &[u8], f: &mut dyn fmt::Write) -> fmt::Result {
    let mut first = true;
    for label in Labels(wire) {
        if !first {
            f.write_char('.')?;
        }
        first = false;
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => write!(f, "\\{}", byte as char)?,
                0x21..=0x7e => f.write_char(byte as char)?,
                _ => write!(f, "\\{byte:03}")?,
            }
        }
    }
    if first { f.write_char('.') } else { Ok(()) }
}
