//! What must be true of a file before it may replace the one that is here. Bytes in, no network, no clock.

use std::borrow::Cow;

use super::Settings;
use super::body;
use super::error::FetchError;
use super::serial;
use super::status::Status;
use crate::util::Digest;

/// A file that may be used.
#[derive(Debug)]
pub(super) struct Content<'a> {
    /// The list, unpacked.
    pub bytes: Cow<'a, [u8]>,
    /// Of the list.
    pub sha256: String,
    /// Of the zone.
    pub serial: Option<u64>,
    /// When it was signed.
    pub signed: Option<i64>,
}

/// Looks at a file as it was published, and at its signature if it must have one.
///
/// # Errors
/// It must not be used.
pub(super) fn accept<'a>(
    settings: &Settings,
    before: &Status,
    accept_older: bool,
    file: &'a [u8],
    signature: Option<&[u8]>,
) -> Result<Content<'a>, FetchError> {
    let bytes = body::unpacked(file, settings.max_bytes).map_err(FetchError::Body)?;
    // First of all: what a stranger wrote is not worth any other message.
    let mut signed = None;
    if let Some(key) = &settings.public_key {
        let signature = signature.unwrap_or_default();
        let good = match key.verify(file, signature) {
            // Some sign the list and compress it then.
            Err(error) if matches!(bytes, Cow::Owned(_)) => key.verify(&bytes, signature).map_err(|_| error),
            result => result,
        };
        signed = good.map_err(FetchError::Signature)?.at;
    }
    let sha256 = Digest::of(&bytes);
    if settings.sha256.is_some_and(|pin| pin != sha256) {
        return Err(FetchError::Pin(sha256));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(FetchError::Empty);
    }
    if is_html(&bytes) {
        return Err(FetchError::Html);
    }
    let serial = settings.zone.then(|| serial::of_zone(&bytes)).flatten();
    if !accept_older {
        not_older("signature of", signed, before.signed, |new, old| new < old)?;
        not_older("serial", serial, before.serial, serial::is_older)?;
    }
    Ok(Content { bytes, sha256: sha256.to_string(), serial, signed })
}

/// Refuses what went back. A number that is gone says nothing about age.
fn not_older<T: Copy + ToString>(
    what: &'static str,
    new: Option<T>,
    old: Option<T>,
    is_older: impl Fn(T, T) -> bool,
) -> Result<(), FetchError> {
    match (new, old) {
        (Some(new), Some(old)) if is_older(new, old) => {
            Err(FetchError::Older { what, new: new.to_string(), old: old.to_string() })
        }
        _ => Ok(()),
    }
}

/// The beginning of a web page: what a feed that has moved or a login turns into.
fn is_html(bytes: &[u8]) -> bool {
    let start = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let begins = |with: &str| start.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()));
    ["<!doctype", "<html", "<head", "<body", "<?xml", "<!--", "<script"].into_iter().any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::testing::settings;

    /// What becomes of a file after one with this status.
    fn judged(file: &[u8], before: &Status) -> Result<(), String> {
        let settings = settings("https://lists.example/a");
        accept(&settings, before, false, file, None).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn a_feed_that_turned_into_something_else_is_refused() {
        let none = Status::default();
        for html in ["<!DOCTYPE html><p>", "\n <HTML>", "\u{feff}<html lang=en>", "<?xml version='1.0'?>", "<!-- x -->"]
        {
            assert!(judged(html.as_bytes(), &none).is_err_and(|error| error.contains("web page")), "{html}");
        }
        for empty in ["", "\n", " \t\r\n"] {
            assert!(judged(empty.as_bytes(), &none).is_err_and(|error| error.contains("empty")), "{empty:?}");
        }
        for list in ["# nothing at the moment\n", "a.example", "||a.example^", "! <html>"] {
            assert_eq!(judged(list.as_bytes(), &none), Ok(()), "{list}");
        }
    }

    #[test]
    fn serials_go_forward_only() {
        let zone = |serial: &str| format!("@ SOA a. b. {serial} 1 1 1 1\nx CNAME .\n").into_bytes();
        let before = Status { serial: Some(20), ..Status::default() };
        assert_eq!(judged(&zone("20"), &before), Ok(()));
        assert_eq!(judged(&zone("21"), &before), Ok(()));
        assert_eq!(judged(&zone("202401020304"), &before), Ok(()));
        let older = judged(&zone("19"), &before).expect_err("older");
        assert!(older.contains("serial 19 is older than 20") && older.contains("--accept-older"), "{older}");
        assert_eq!(judged(b"a.example\n", &before), Ok(()), "no zone at all");
        let settings = settings("https://lists.example/a");
        let old = zone("19");
        let taken = accept(&settings, &before, true, &old, None);
        assert_eq!(taken.expect("somebody said so").serial, Some(19));
        let plain = Settings { zone: false, ..settings };
        assert!(accept(&plain, &before, false, &old, None).is_ok());
    }

    #[test]
    fn a_pin_is_of_the_unpacked_list() {
        use std::io::Write;
        let pin = Digest::of(b"a.example\n");
        let settings = Settings { sha256: Some(pin), ..settings("https://lists.example/a") };
        let before = Status::default();
        assert!(accept(&settings, &before, false, b"a.example\n", None).is_ok());
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(b"a.example\n").expect("memory");
        assert!(accept(&settings, &before, false, &gz.finish().expect("memory"), None).is_ok());
        let other = accept(&settings, &before, false, b"b.example\n", None);
        assert!(matches!(other, Err(FetchError::Pin(found)) if found == Digest::of(b"b.example\n")));
    }
}
