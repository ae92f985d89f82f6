//! Bytes to text and text to lines: encodings, what is no text at all, every kind of line end.

use std::borrow::Cow;

use encoding_rs::{UTF_8, WINDOWS_1251};

use super::{Encoding, Refusal};

/// A line with its number; entries refer to it for their position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// From 1.
    pub number: u32,
    /// Without its line end.
    pub text: &'a str,
}

impl Line<'_> {
    /// The column of byte `at`, in characters from 1.
    pub fn column(&self, at: usize) -> u32 {
        // Bytes that start a character; far quicker than decoding, and lines of 10 MB exist.
        let before = self.text.as_bytes().get(..at).unwrap_or(self.text.as_bytes());
        let chars = before.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        u32::try_from(chars + 1).unwrap_or(u32::MAX)
    }
}

/// Lines of a text; LF, CRLF and a lone CR end one, U+2028 does not.
#[derive(Clone, Debug)]
pub(super) struct Lines<'a> {
    /// Behind the last LF.
    rest: &'a str,
    /// Up to the next LF, where a CR was found in it.
    chunk: Option<&'a str>,
    number: u32,
}

impl<'a> Lines<'a> {
    /// Starts at line 1.
    pub fn new(text: &'a str) -> Self {
        Self { rest: text, chunk: None, number: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let chunk = match self.chunk.take() {
            Some(chunk) => chunk,
            None if self.rest.is_empty() => return None,
            None => {
                let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
                self.rest = rest;
                line.strip_suffix('\r').unwrap_or(line)
            }
        };
        let text = match chunk.split_once('\r') {
            Some((line, more)) => {
                self.chunk = Some(more);
                line
            }
            None => chunk,
        };
        self.number = self.number.saturating_add(1);
        Some(Line { number: self.number, text })
    }
}

/// The text of a file without its byte order mark. What is invalid in the encoding becomes U+FFFD,
/// which no name has, so the entry around it is rejected and the rest is used.
pub(super) fn decode(bytes: &[u8], encoding: Encoding) -> Result<Cow<'_, str>, Refusal> {
    if let Some(what) = magic(bytes) {
        return Err(Refusal::NotText(what));
    }
    let text = match encoding_rs::Encoding::for_bom(bytes) {
        Some((encoding, skip)) if encoding == UTF_8 => {
            let body = bytes.get(skip..).unwrap_or_default();
            refuse_binary(body)?;
            String::from_utf8_lossy(body)
        }
        Some((utf16, skip)) => {
            let (text, _) = utf16.decode_without_bom_handling(bytes.get(skip..).unwrap_or_default());
            refuse_binary(text.as_bytes())?;
            text
        }
        None => {
            refuse_binary(bytes)?;
            match encoding {
                Encoding::Auto => String::from_utf8_lossy(bytes),
                Encoding::Windows1251 => WINDOWS_1251.decode_without_bom_handling(bytes).0,
            }
        }
    };
    let start = text.trim_start();
    if start.is_empty() {
        return Err(Refusal::Empty);
    }
    if is_markup(start) {
        return Err(Refusal::Html);
    }
    Ok(text)
}

/// How much of a file is looked at to tell binary from text.
const SAMPLE: usize = 64 << 10;

/// Control characters that text does not have: a few are a damaged line, many are not text.
fn refuse_binary(bytes: &[u8]) -> Result<(), Refusal> {
    let sample = bytes.get(..SAMPLE).unwrap_or(bytes);
    let nul = sample.iter().filter(|&&b| b == 0).count();
    let control = sample.iter().filter(|&&b| b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0c)).count();
    if control < 8 || control * 50 < sample.len() {
        return Ok(());
    }
    // Every second byte zero: text of two bytes a character.
    let what = if nul * 5 > sample.len() * 2 && nul * 5 < sample.len() * 3 {
        "UTF-16 without a byte order mark; save it as UTF-8"
    } else {
        "binary data"
    };
    Err(Refusal::NotText(what))
}

/// Formats that lists are packed in.
fn magic(bytes: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 6] = [
        (b"\x1f\x8b", "a gzip archive; unpack it first"),
        (b"PK\x03\x04", "a zip archive or an Excel file; unpack it, or save it as csv"),
        (b"\xfd7zXZ\0", "an xz archive; unpack it first"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
        (b"%PDF-", "a PDF"),
        (b"\xd0\xcf\x11\xe0", "an old Excel or Word file; save it as csv"),
    ];
    KNOWN.iter().find(|(start, _)| bytes.starts_with(start)).map(|&(_, what)| what)
}

/// The text starts as HTML or XML does; no list format has a line that starts so.
fn is_markup(start: &str) -> bool {
    const TAGS: [&str; 9] = ["<!doctype", "<!--", "<html", "<?xml", "<head", "<body", "<title", "<script", "<meta"];
    TAGS.iter().any(|tag| start.get(..tag.len()).is_some_and(|s| s.eq_ignore_ascii_case(tag)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Line numbers and texts.
    fn lines(text: &str) -> Vec<(u32, &str)> {
        Lines::new(text).map(|line| (line.number, line.text)).collect()
    }

    #[test]
    fn every_line_end_ends_a_line() {
        assert_eq!(lines("a\nb\r\nc\rd"), [(1, "a"), (2, "b"), (3, "c"), (4, "d")]);
        assert_eq!(lines("a\n\nb\n"), [(1, "a"), (2, ""), (3, "b")]);
        assert_eq!(lines("a\u{2028}b"), [(1, "a\u{2028}b")]);
        assert_eq!(lines(""), []);
    }

    #[test]
    fn columns_are_characters() {
        let line = Line { number: 1, text: "биржа.рф x" };
        assert_eq!(line.column("биржа.рф ".len()), 10);
        assert_eq!(line.column(0), 1);
        assert_eq!(line.column(usize::MAX), 11);
    }

    #[test]
    fn encodings_and_marks() {
        assert_eq!(decode(b"\xef\xbb\xbfa.example", Encoding::Auto).as_deref(), Ok("a.example"));
        assert_eq!(decode(b"\xff\xfea\0.\0b\0", Encoding::Auto).as_deref(), Ok("a.b"));
        assert_eq!(decode(b"\xfe\xff\0a\0.\0b", Encoding::Auto).as_deref(), Ok("a.b"));
        assert_eq!(decode(b"\xe1\xe8\xf0\xe6\xe0.\xf0\xf4", Encoding::Windows1251).as_deref(), Ok("биржа.рф"));
        assert_eq!(decode(b"a\xff.b", Encoding::Auto).as_deref(), Ok("a\u{fffd}.b"));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for empty in [&b""[..], b"\xef\xbb\xbf", b" \r\n\t\n"] {
            assert_eq!(decode(empty, Encoding::Auto), Err(Refusal::Empty), "{empty:?}");
        }
        for html in [&b"<!DOCTYPE html>"[..], b"\n  <HTML>", b"\xef\xbb\xbf<?xml?>"] {
            assert_eq!(decode(html, Encoding::Auto), Err(Refusal::Html), "{html:?}");
        }
        let utf16: Vec<u8> = "example.com\n".bytes().flat_map(|b| [b, 0]).collect();
        let refusal = decode(&utf16, Encoding::Auto).expect_err("no byte order mark");
        assert!(refusal.to_string().contains("UTF-16"), "{refusal}");
        assert!(matches!(decode(&[0, 1, 2, 3].repeat(100), Encoding::Auto), Err(Refusal::NotText(_))));
        assert!(matches!(decode(b"\x1f\x8b\x08\0", Encoding::Auto), Err(Refusal::NotText(_))));
        assert!(decode(b"a\0.example\nb.example\n", Encoding::Auto).is_ok(), "one NUL is one bad entry");
    }

    proptest! {
        /// Replacing every line end by LF and splitting there is the stupid twin.
        #[test]
        fn lines_are_what_splitting_gives(text in "[ab\r\n\u{2028}]{0,40}") {
            let plain = text.replace("\r\n", "\n").replace('\r', "\n");
            let mut twin: Vec<&str> = plain.split('\n').collect();
            if twin.last() == Some(&"") && !text.ends_with('\r') {
                twin.pop();
            }
            let got: Vec<&str> = Lines::new(&text).map(|line| line.text).collect();
            // A final lone CR may or may not be followed by an empty last line: nothing stands in it.
            let trim = |mut lines: Vec<&str>| { while lines.last() == Some(&"") { lines.pop(); } lines.join("\n") };
            prop_assert_eq!(trim(got), trim(twin));
        }
    }
}
