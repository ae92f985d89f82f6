//! One line: how it is made, and what can be said of it by itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{By, Event, Head};
use crate::util::{Digest, Hasher, Now};

/// What stands before the hash, and is not hashed.
const BEFORE_HASH: &[u8] = b",\"hash\":\"";
/// What stands after it.
const AFTER_HASH: &[u8] = b"\"}";
/// Bytes of the end of a line that are not hashed.
const UNHASHED: usize = BEFORE_HASH.len() + 64 + AFTER_HASH.len();

/// The longest line, newline included: a publication of as many lists as can be configured fits.
pub(super) const MAX_LINE: usize = 16 << 20;

/// The part of a line that does not depend on its place in the chain.
#[derive(Serialize)]
struct Said<'a> {
    time: String,
    by: &'a By,
    #[serde(flatten)]
    event: &'a Event,
}

/// That part as text, without its braces.
pub(super) fn say(by: &By, event: &Event, now: Now) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(&Said { time: show_time(now), by, event })?;
    text.pop();
    text.remove(0);
    Ok(text)
}

/// RFC 3339, UTC, milliseconds; a moment that no calendar knows becomes the nearest one it does.
pub(super) fn show_time(now: Now) -> String {
    let nearest = if now.unix_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    format!("{:.3}", Timestamp::from_millisecond(now.unix_ms).unwrap_or(nearest))
}

/// Where a chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The last line; 0 and zeros before the first.
    pub(super) head: Head,
    /// SHA-256 of that whole line, without its newline.
    pub(super) whole: Digest,
}

impl Link {
    /// Before the first line.
    pub(super) const START: Self = Self { head: Head { seq: 0, hash: Digest::ZERO }, whole: Digest::ZERO };

    /// Appends the next line with its newline to `out`, and goes on to it.
    pub(super) fn append(&mut self, said: &str, out: &mut Vec<u8>) {
        let start = out.len();
        let seq = self.head.seq.saturating_add(1);
        out.extend_from_slice(format!("{{\"seq\":{seq},{said},\"prev\":\"{}\"", self.whole).as_bytes());
        let mut hasher = Hasher::new();
        hasher.update(out.get(start..).unwrap_or_default());
        let hash = hasher.clone().finish();
        let hashed = out.len();
        out.extend_from_slice(BEFORE_HASH);
        out.extend_from_slice(hash.to_string().as_bytes());
        out.extend_from_slice(AFTER_HASH);
        hasher.update(out.get(hashed..).unwrap_or_default());
        out.push(b'\n');
        *self = Self { head: Head { seq, hash }, whole: hasher.finish() };
    }
}

/// What the chain needs of a line.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Its number, and the hash it says it has.
    pub(super) head: Head,
    /// The hash its bytes have.
    pub(super) computed: Digest,
    /// SHA-256 of the whole line.
    pub(super) whole: Digest,
    /// What it says of the line before.
    pub(super) prev: Digest,
    /// When, in milliseconds since 1970.
    pub(super) unix_ms: i64,
    /// `event`
    pub(super) event: &'a str,
}

/// The fields of every line.
#[derive(Deserialize)]
struct Fields<'a> {
    seq: u64,
    time: &'a str,
    event: &'a str,
    prev: Digest,
}

impl<'a> Line<'a> {
    /// Reads a line without its newline; `None` if it is none of ours. Whether its hash is right is not judged.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (body, end) = bytes.split_at_checked(bytes.len().checked_sub(UNHASHED)?)?;
        let hash = end.strip_prefix(BEFORE_HASH)?.strip_suffix(AFTER_HASH)?;
        let hash = std::str::from_utf8(hash).ok()?.parse().ok()?;
        let fields: Fields<'a> = serde_json::from_slice(bytes).ok()?;
        let time: Timestamp = fields.time.parse().ok()?;
        let mut hasher = Hasher::new();
        hasher.update(body);
        let computed = hasher.clone().finish();
        hasher.update(end);
        Some(Self {
            head: Head { seq: fields.seq, hash },
            computed,
            whole: hasher.finish(),
            prev: fields.prev,
            unix_ms: time.as_millisecond(),
            event: fields.event,
        })
    }

    /// Whether it is as it was written, as far as it can tell by itself.
    pub(super) fn is_whole(&self) -> bool {
        self.computed == self.head.hash
    }

    /// Where a chain stands that ends here.
    pub(super) fn link(&self) -> Link {
        Link { head: self.head, whole: self.whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Server, Text};

    #[test]
    fn a_line_is_what_the_documentation_says() {
        let event = Event::ServerStarted(Server { version: Text::from("1\"2"), config_sha256: Digest::ZERO });
        let said = say(&By::Cli("ада".into()), &event, Now { unix_ms: 1_769_860_800_123 }).expect("JSON");
        let (mut link, mut out) = (Link::START, Vec::new());
        link.append(&said, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        let zeros = "0".repeat(64);
        let body = format!(
            "{{\"seq\":1,\"time\":\"2026-01-31T12:00:00.123Z\",\"by\":{{\"kind\":\"cli\",\"name\":\"ада\"}},\
             \"event\":\"server_started\",\"version\":\"1\\\"2\",\"config_sha256\":\"{zeros}\",\"prev\":\"{zeros}\""
        );
        assert_eq!(text, format!("{body},\"hash\":\"{}\"}}\n", Digest::of(body.as_bytes())));
        let line = Line::read(text.trim_end().as_bytes()).expect("a line");
        assert!(line.is_whole() && line.link() == link && line.prev == Digest::ZERO);
        assert_eq!((line.event, line.unix_ms), ("server_started", 1_769_860_800_123));
        assert_eq!(link.whole, Digest::of(text.trim_end().as_bytes()));
    }

    #[test]
    fn times_beyond_every_calendar_are_still_lines() {
        for unix_ms in [i64::MIN, -1, 0, i64::MAX] {
            let said = say(&By::Clock, &Event::Lost(lost()), Now { unix_ms }).expect("JSON");
            let mut out = Vec::new();
            Link::START.clone().append(&said, &mut out);
            assert!(Line::read(out.trim_ascii_end()).is_some_and(|line| line.is_whole()), "{unix_ms}: {said}");
        }
    }

    fn lost() -> super::super::LostEvents {
        super::super::LostEvents { events: 1, since: "now".into(), reason: "full".into() }
    }
}
