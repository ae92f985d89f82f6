//! minisign signatures: who published a list, and when. No file and no network here, bytes only.
//!
//! Both kinds are taken: of the hash (`ED`, what minisign makes today) and of the content itself (`Ed`).

use std::fmt;
use std::path::{Path, PathBuf};

use minisign_verify as minisign;

/// What the name of a signature ends with: the signature of `list.txt` is `list.txt.minisig`.
pub const ENDING: &str = ".minisig";

/// A larger file is no signature.
pub const MAX_BYTES: u64 = 8 << 10;

/// Where the signature of a file is.
pub fn beside(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(ENDING);
    path.into()
}

/// The key a list must be signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(minisign::PublicKey, String);

/// What a good signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// When it was made, in seconds since 1970, if its trusted comment says so.
    pub at: Option<i64>,
}

impl PublicKey {
    /// The line minisign prints and keeps in `minisign.pub`, which begins with `RW`.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let key = minisign::PublicKey::from_base64(text).map_err(|_| KeyError)?;
        Ok(Self(key, text.to_owned()))
    }

    /// Whether `signature` was made for `content` with the secret half of this key.
    ///
    /// # Errors
    /// It was not, or is no signature at all.
    pub fn verify(&self, content: &[u8], signature: &[u8]) -> Result<Signed, SignatureError> {
        let text = str::from_utf8(signature).map_err(|_| SignatureError::NotASignature)?;
        let signature = minisign::Signature::decode(text).map_err(|_| SignatureError::NotASignature)?;
        match self.0.verify(content, &signature, true) {
            Ok(()) => Ok(Signed { at: timestamp(signature.trusted_comment()) }),
            Err(minisign::Error::UnexpectedKeyId) => Err(SignatureError::OtherKey),
            Err(_) => Err(SignatureError::Wrong),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.1
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.1).finish()
    }
}

/// Not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyError;

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a minisign public key; give the line of minisign.pub that begins with RW")
    }
}

impl std::error::Error for KeyError {}

/// Why a signature does not vouch for a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureError {
    /// Not in the form of minisign.
    NotASignature,
    /// Made with another key.
    OtherKey,
    /// Made with the key, but for another content; or forged.
    Wrong,
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotASignature => "it is no minisign signature",
            Self::OtherKey => "it was made with another key than `public_key`",
            Self::Wrong => "it is not of this content",
        })
    }
}

impl std::error::Error for SignatureError {}

/// `timestamp:1633700835` of a trusted comment. Only to be believed of a verified signature.
fn timestamp(comment: &str) -> Option<i64> {
    comment.split_ascii_whitespace().find_map(|word| word.strip_prefix("timestamp:")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the documentation of minisign-verify: signatures of `test`.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const HASHED: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
        wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";

    #[test]
    fn a_signature_vouches_for_its_content_and_says_when_it_was_made() {
        let key = PublicKey::parse(KEY).expect("a key");
        assert_eq!(key.verify(b"test", HASHED.as_bytes()), Ok(Signed { at: Some(1_633_700_835) }));
        assert_eq!(key.verify(b"Test", HASHED.as_bytes()), Err(SignatureError::Wrong));
        assert_eq!(key.verify(b"", HASHED.as_bytes()), Err(SignatureError::Wrong));
        let later = HASHED.replace("1633700835", "1833700835");
        assert_eq!(key.verify(b"test", later.as_bytes()), Err(SignatureError::Wrong), "the time is signed too");
        assert_eq!(key.verify(b"test", b"\xff\xfe"), Err(SignatureError::NotASignature));
        for end in 0..HASHED.len() - 1 {
            assert!(key.verify(b"test", &HASHED.as_bytes()[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_key_is_one_line_of_minisign() {
        assert!(PublicKey::parse(&format!(" {KEY}\n")).is_ok());
        for text in
            ["", "RW", &KEY[1..], "untrusted comment: x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
        {
            assert_eq!(PublicKey::parse(text), Err(KeyError), "{text}");
        }
    }

    #[test]
    fn times_are_found_among_other_words() {
        assert_eq!(timestamp("file:x\ttimestamp:5"), Some(5));
        assert_eq!(timestamp("timestamp:99999999999999999999"), None);
        assert_eq!(timestamp("signed by hand"), None);
    }
}
