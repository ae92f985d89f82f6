//! Why a fetch failed, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{AddressError, BodyError};
use crate::signature::SignatureError;
use crate::util::Digest;

/// Why a list could not be fetched. What is in force stays so.
#[derive(Debug)]
pub enum FetchError {
    /// A file named in the configuration cannot be used.
    File {
        /// Which key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No connection, or it broke.
    Connection(String),
    /// TLS does not trust the server, or the server us.
    Tls(String),
    /// It took too long.
    Timeout(Duration),
    /// The server said no.
    Status {
        /// Its status code.
        code: u16,
        /// For the signature, not for the list.
        signature: bool,
        /// When to come again, as it asks.
        retry_after: Option<Duration>,
    },
    /// A redirect that is not followed.
    Redirect {
        /// To where, without what is secret in it.
        to: String,
        /// Why not.
        why: Redirect,
    },
    /// Longer than allowed, as it is sent.
    TooLarge(u64),
    /// The connection ended before the body did.
    CutOff(String),
    /// It cannot be unpacked.
    Body(BodyError),
    /// Nothing in it.
    Empty,
    /// A web page.
    Html,
    /// Not the pinned content.
    Pin(Digest),
    /// Not signed as it must be.
    Signature(SignatureError),
    /// Older than what was accepted before.
    Older {
        /// `serial` or `signature`.
        what: &'static str,
        /// Of what the server gave.
        new: String,
        /// Of what is here.
        old: String,
    },
    /// It cannot be kept.
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Why a redirect is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// It goes on and on.
    TooMany(usize),
    /// From https to http.
    Downgrade,
    /// From the internet into a private network.
    Private,
    /// Not an address of a list.
    Address(AddressError),
    /// Without saying where to.
    Nowhere,
}

impl FetchError {
    /// When the server asks to be left alone until.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { key, path, why } => write!(f, "`{key}` {}: {why}", path.display()),
            Self::Connection(what) => write!(f, "{what}; check name, network and `proxy`"),
            Self::Tls(what) => write!(f, "TLS: {what}; check the host in `source`, `ca_file` and the clock"),
            Self::Timeout(after) => {
                write!(f, "not finished after {}; raise `timeout` if the server is that slow", seconds(*after))
            }
            Self::Status { code, signature, .. } => status(f, *code, *signature),
            Self::Redirect { to, why } => write!(f, "redirected to {to}, which is not followed: {why}"),
            Self::TooLarge(limit) => {
                write!(f, "larger than {limit} bytes; raise the list's `max_size` if that is right")
            }
            Self::CutOff(what) => write!(f, "the download was cut off ({what}); it is tried again"),
            Self::Body(error) => error.fmt(f),
            Self::Empty => {
                f.write_str("the server gave an empty file; to empty a list, its publisher leaves a comment in it")
            }
            Self::Html => f.write_str("the server gave a web page, not a list; look at the address with a browser"),
            Self::Pin(found) => write!(
                f,
                "its SHA-256 is {found}, which is not the pinned one; if the new content is right, change `sha256`"
            ),
            Self::Signature(error) => write!(f, "its signature does not vouch for it: {error}; ask its publisher"),
            Self::Older { what, new, old } => write!(
                f,
                "its {what} {new} is older than {old}, which was accepted before; if its publisher means it, run \
                 `qalqan fetch --accept-older` with the list's name"
            ),
            Self::Write { path, error } => {
                write!(f, "cannot write {}: {error}; make room and check that state_dir is writable", path.display())
            }
        }
    }
}

/// What a status code asks the operator to do.
fn status(f: &mut fmt::Formatter<'_>, code: u16, signature: bool) -> fmt::Result {
    let what = if signature { " for the signature (the address with .minisig behind it)" } else { "" };
    let hint = match code {
        401 | 403 => "check `token_file` and the client certificate",
        404 | 410 if signature => "ask its publisher, or remove `public_key` if the list is not signed",
        404 | 410 => "check the address in `source`",
        407 => "check `proxy`",
        429 => "raise `interval`",
        500..=599 => "the server has a problem; it is tried again",
        _ => "check the address in `source`",
    };
    write!(f, "the server answered {code}{what}; {hint}")
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(most) => write!(f, "more than {most} redirects; put the last address into `source`"),
            Self::Downgrade => f.write_str("from https to http, where anybody can change it; ask its publisher"),
            Self::Private => {
                f.write_str("it leads into a private network; put that address into `source` if it is meant")
            }
            Self::Address(error) => error.fmt(f),
            Self::Nowhere => f.write_str("it does not say where to"),
        }
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Body(error) => Some(error),
            Self::Signature(error) => Some(error),
            Self::Write { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// A duration as the configuration writes it.
fn seconds(time: Duration) -> String {
    if time.subsec_millis() == 0 { format!("{}s", time.as_secs()) } else { format!("{}ms", time.as_millis()) }
}
