//! Zone text to records of tokens that know where they stand (RFC 1035 section 5.1).

use crate::list::entry::Reason;
use crate::list::text::{Line, Lines};
use crate::name::NameBuf;

/// The most lines a record in parentheses may have. Bounds what one stray `(` can swallow.
const MAX_RECORD_LINES: u32 = 64;

/// A word of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    /// Escapes still in; without the quotes if it is quoted.
    pub text: &'a str,
    /// The line it stands on.
    pub line: Line<'a>,
    /// At which byte.
    pub at: usize,
    /// It stands in quotes.
    pub quoted: bool,
}

/// A record or directive.
#[derive(Debug, Default)]
pub(super) struct Record<'a> {
    /// It starts with a blank: the owner is the one of the record above.
    pub inherits: bool,
    /// Its words.
    pub tokens: Vec<Token<'a>>,
}

/// Reads record after record.
pub(super) struct Records<'a> {
    lines: Lines<'a>,
    /// No parenthesis is closed on a line before this one: found out when one was not.
    unclosed_until: u32,
}

impl<'a> Records<'a> {
    /// From the start of a zone.
    pub fn new(text: &'a str) -> Self {
        Self { lines: Lines::new(text), unclosed_until: 0 }
    }

    /// Fills `record` with the next record that is not blank; `None` at the end.
    /// After an error the next line is the next record.
    pub fn next(&mut self, record: &mut Record<'a>) -> Option<Result<(), (Token<'a>, Reason)>> {
        loop {
            let line = self.lines.next()?;
            record.tokens.clear();
            record.inherits = line.text.starts_with([' ', '\t']);
            let mut open = None;
            if let Err(problem) = split(line, &mut record.tokens, &mut open) {
                return Some(Err(problem));
            }
            if let Some(opened) = open {
                return Some(self.continued(record, opened));
            }
            if !record.tokens.is_empty() {
                return Some(Ok(()));
            }
        }
    }

    /// Goes on until the parenthesis that was opened is closed; if it is not, goes back to where it was.
    fn continued(&mut self, record: &mut Record<'a>, opened: Token<'a>) -> Result<(), (Token<'a>, Reason)> {
        const UNCLOSED: Reason = Reason::Other("a parenthesis that is not closed within 64 lines");
        if opened.line.number < self.unclosed_until {
            return Err((opened, UNCLOSED));
        }
        let back = self.lines.clone();
        let mut open = Some(opened);
        for line in self.lines.by_ref().take(MAX_RECORD_LINES as usize) {
            if let Err(problem) = split(line, &mut record.tokens, &mut open) {
                self.lines = back;
                return Err(problem);
            }
            if open.is_none() {
                return Ok(());
            }
        }
        self.lines = back;
        self.unclosed_until = opened.line.number.saturating_add(MAX_RECORD_LINES);
        Err((opened, UNCLOSED))
    }
}

/// Adds the tokens of a line. `open` is the parenthesis the line stands in, and the one it leaves open.
fn split<'a>(
    line: Line<'a>,
    tokens: &mut Vec<Token<'a>>,
    open: &mut Option<Token<'a>>,
) -> Result<(), (Token<'a>, Reason)> {
    let bytes = line.text.as_bytes();
    let token = |from: usize, to: usize, quoted| Token {
        text: line.text.get(from..to).unwrap_or_default(),
        line,
        at: from,
        quoted,
    };
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | 0x0c => at += 1,
            b';' => return Ok(()),
            b'(' if open.is_some() => {
                return Err((token(at, at + 1, false), Reason::Other("a parenthesis inside another")));
            }
            b'(' => {
                *open = Some(token(at, at + 1, false));
                at += 1;
            }
            b')' if open.take().is_none() => {
                return Err((token(at, at + 1, false), Reason::Other("a closing parenthesis that was never opened")));
            }
            b')' => at += 1,
            _ => {
                let end = word_end(bytes, at)
                    .ok_or((token(at, bytes.len(), false), Reason::Other("a quote that is not closed on its line")))?;
                // `"all of it"`, unlike `key="a part"`.
                let quoted = byte == b'"' && end - at >= 2 && quote_end(bytes, at) == Some(end);
                tokens.push(if quoted { token(at + 1, end - 1, true) } else { token(at, end, false) });
                at = end;
            }
        }
    }
    Ok(())
}

/// Where the word that starts at `at` ends; `None` if a quote in it stays open.
fn word_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | 0x0c | b';' | b'(' | b')' => break,
            b'\\' => at += 2,
            b'"' => at = quote_end(bytes, at)?,
            _ => at += 1,
        }
    }
    Some(at.min(bytes.len()))
}

/// Behind the quote that closes the one at `at`.
fn quote_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// The number of a class mnemonic.
pub(super) fn class(text: &str) -> Option<u16> {
    const KNOWN: [(&str, u16); 4] = [("IN", 1), ("CH", 3), ("HS", 4), ("CS", 2)];
    match KNOWN.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)) {
        Some(&(_, number)) => Some(number),
        None => text.get(..5).filter(|s| s.eq_ignore_ascii_case("CLASS")).and_then(|_| text.get(5..)?.parse().ok()),
    }
}

/// Undoes `\X` and `\DDD`; a number over 255 or a lone backslash is an error. The second value of
/// each octet says whether it was escaped.
pub(super) fn unescape(text: &str) -> Result<Vec<(u8, bool)>, Reason> {
    const BAD: Reason = Reason::Other("a broken `\\` escape");
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            octets.push((byte, false));
            continue;
        }
        let (&next, tail) = rest.split_first().ok_or(BAD)?;
        if !next.is_ascii_digit() {
            octets.push((next, true));
            rest = tail;
            continue;
        }
        let (digits, tail) = rest.split_at_checked(3).ok_or(BAD)?;
        let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_digit())).ok_or(BAD)?;
        octets.push((digits.parse().map_err(|_| BAD)?, true));
        rest = tail;
    }
    Ok(octets)
}

/// A name with escapes, as it stands: any octet may be in a label.
pub(super) fn unescape_name(text: &str, name: &mut NameBuf) -> Result<(), Reason> {
    name.clear();
    let octets = unescape(text)?;
    let body = octets.strip_suffix(&[(b'.', false)]).unwrap_or(&octets);
    for label in body.split(|&octet| octet == (b'.', false)) {
        let label: Vec<u8> = label.iter().map(|&(octet, _)| octet).collect();
        name.push_label(&label).map_err(Reason::Name)?;
    }
    Ok(())
}
