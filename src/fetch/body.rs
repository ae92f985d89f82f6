//! Bodies become contents: decompressed, whole, and never larger than the list may be.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder;

/// What gzip files begin with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// What zstd files begin with.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The memory a zstd stream may ask for, as a power of two: 8 MiB, as much as any level takes that is not `--ultra`.
const MAX_WINDOW_LOG: u32 = 23;
/// A server that says it compressed more often than this is not sending a list.
const MAX_ENCODINGS: usize = 2;

/// Why a body is no content.
#[derive(Debug)]
pub enum BodyError {
    /// A `Content-Encoding` that was not asked for.
    Encoding(String),
    /// Larger than this many bytes when unpacked.
    TooLarge(u64),
    /// The compressed data end early or are damaged.
    Damaged(&'static str, io::Error),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encoding(what) => {
                write!(f, "the server compressed with \"{}\", which nobody asked for", what.escape_debug())
            }
            Self::TooLarge(limit) => {
                write!(f, "larger than {limit} bytes when unpacked; raise the list's `max_size` if that is right")
            }
            Self::Damaged(kind, error) => {
                write!(f, "the {kind} data are cut off or damaged ({error}); it is tried again")
            }
        }
    }
}

impl std::error::Error for BodyError {}

/// Undoes a `Content-Encoding`: the file as published.
///
/// # Errors
/// The body is not whole, too large, or compressed in an unknown way.
pub(super) fn decoded(body: Vec<u8>, encoding: &str, limit: u64) -> Result<Vec<u8>, BodyError> {
    let encodings: Vec<&str> = encoding.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if encodings.len() > MAX_ENCODINGS {
        return Err(BodyError::Encoding(encoding.chars().take(60).collect()));
    }
    encodings.iter().rev().try_fold(body, |body, name| match name.to_ascii_lowercase().as_str() {
        "identity" => Ok(body),
        "gzip" | "x-gzip" => gunzip(&body, limit),
        "zstd" => unzstd(&body, limit),
        _ => Err(BodyError::Encoding(name.chars().take(60).collect())),
    })
}

/// The list inside a `.gz` or `.zst` file, told by how it begins; another file as it is.
///
/// # Errors
/// The file is not whole or too large.
pub(super) fn unpacked(file: &[u8], limit: u64) -> Result<Cow<'_, [u8]>, BodyError> {
    if file.starts_with(&GZIP) {
        gunzip(file, limit).map(Cow::Owned)
    } else if file.starts_with(&ZSTD) {
        unzstd(file, limit).map(Cow::Owned)
    } else {
        Ok(Cow::Borrowed(file))
    }
}

/// All members of a gzip file. Each must have its trailer: without it, nobody knows that it is whole.
fn gunzip(bytes: &[u8], limit: u64) -> Result<Vec<u8>, BodyError> {
    let mut content = Vec::new();
    read_bounded(MultiGzDecoder::new(bytes), "gzip", limit, &mut content)?;
    Ok(content)
}

/// All frames of a zstd file.
fn unzstd(bytes: &[u8], limit: u64) -> Result<Vec<u8>, BodyError> {
    let mut decoder = Decoder::with_buffer(bytes).map_err(|error| BodyError::Damaged("zstd", error))?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(|error| BodyError::Damaged("zstd", error))?;
    let mut content = Vec::new();
    read_bounded(decoder, "zstd", limit, &mut content)?;
    Ok(content)
}

/// Appends to `content`, which may not grow beyond `limit`.
fn read_bounded(from: impl Read, kind: &'static str, limit: u64, content: &mut Vec<u8>) -> Result<(), BodyError> {
    let room = limit.saturating_sub(content.len() as u64);
    from.take(room.saturating_add(1)).read_to_end(content).map_err(|error| BodyError::Damaged(kind, error))?;
    if content.len() as u64 > limit { Err(BodyError::TooLarge(limit)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// Compressed as a server would.
    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).expect("memory");
        encoder.finish().expect("memory")
    }

    /// Likewise.
    fn zstd(content: &[u8]) -> Vec<u8> {
        zstd::encode_all(content, 3).expect("memory")
    }

    #[test]
    fn every_cut_is_noticed() {
        let content = b"a.example\nb.example\n".repeat(50);
        for (kind, packed) in [("gzip", gzip(&content)), ("zstd", zstd(&content))] {
            assert_eq!(*unpacked(&packed, 5000).expect("whole"), content, "{kind}");
            for end in 4..packed.len() {
                let cut = unpacked(&packed[..end], 5000);
                assert!(matches!(cut, Err(BodyError::Damaged(..))), "{kind} cut at {end} of {}", packed.len());
            }
            let mut bent = packed.clone();
            let last = bent.len() - 5;
            bent[last] ^= 1;
            assert!(unpacked(&bent, 5000).map_or(true, |text| *text != content), "{kind}");
        }
    }

    #[test]
    fn bombs_end_at_the_limit() {
        let zeros = vec![0; 4 << 20];
        for packed in [gzip(&zeros), zstd(&zeros)] {
            assert!(packed.len() < 20_000, "{}", packed.len());
            assert!(matches!(unpacked(&packed, 1 << 20), Err(BodyError::TooLarge(_))));
            assert_eq!(unpacked(&packed, 4 << 20).expect("just fits").len(), 4 << 20);
            let twice = [packed.clone(), packed].concat();
            assert!(matches!(unpacked(&twice, 4 << 20), Err(BodyError::TooLarge(_))), "the second member counts too");
        }
    }

    #[test]
    fn encodings_are_undone_in_order() {
        let body = zstd(&gzip(b"x.example"));
        assert_eq!(decoded(body.clone(), "gzip, zstd", 100).expect("two"), b"x.example");
        assert_eq!(decoded(gzip(b"x.example"), "X-GZIP", 100).expect("one"), b"x.example");
        assert_eq!(decoded(b"x".to_vec(), "", 100).expect("none"), b"x");
        assert!(matches!(decoded(body.clone(), "br", 100), Err(BodyError::Encoding(what)) if what == "br"));
        assert!(matches!(decoded(body, "gzip, gzip, gzip", 100), Err(BodyError::Encoding(_))));
        assert!(matches!(decoded(b"plain".to_vec(), "gzip", 100), Err(BodyError::Damaged("gzip", _))));
    }

    proptest! {
        #[test]
        fn anything_is_taken_or_refused(mut bytes: Vec<u8>, cut in 0usize..200, start in 0usize..3) {
            let mut packed = match start { 0 => gzip(&bytes), 1 => zstd(&bytes), _ => ZSTD.to_vec() };
            prop_assert!(start == 2 || unpacked(&packed, 1000).is_ok_and(|content| *content == bytes));
            packed.truncate(cut);
            packed.append(&mut bytes);
            prop_assert!(unpacked(&packed, 1000).map_or(true, |content| content.len() <= 1000));
        }
    }
}
