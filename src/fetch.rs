//! Lists from the web: each is downloaded to a file in the state folder, where [`crate::reload`] finds it like any
//! other.
//!
//! ```text
//! state_dir/fetch/<slug>/meta.json     when it was tried and what came of it ([`Status`])
//! state_dir/fetch/<slug>/<list>        what was last accepted here: whole, of the right key and hash, not older
//! ```
//! That file is what a start without network uses. What it means as a list is not judged here: a reload that cannot
//! use it leaves the last good rules in force.
//!
//! HTTP is spoken on threads that may block, a few at once; [`Runner`] decides when, and [`once()`] does one fetch.
//!
//! As the HTTP client lives here, [`Poster`] does too: it sends what others made to a server of the operator's.

mod address;
mod body;
mod client;
mod content;
mod credentials;
mod error;
mod once;
mod place;
mod post;
mod runner;
mod schedule;
mod serial;
mod status;
#[cfg(test)]
mod testing;

pub use address::{Address, AddressError};
pub use body::BodyError;
pub use credentials::secret;
pub use error::FetchError;
pub use once::{Done, Outcome, first, once};
pub use place::Source;
pub use post::{Coding, PostError, Poster, Reply};
pub use runner::{Event, Handle, Hook, Runner};
pub use status::{Status, read as read_status};

use std::path::PathBuf;
use std::time::Duration;

use crate::signature::PublicKey;
use crate::util::Digest;

/// How one list is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From where.
    pub address: Address,
    /// How often it is asked for.
    pub interval: Duration,
    /// For all of one fetch.
    pub timeout: Duration,
    /// `http://…` or `socks5://…`; nothing from the environment.
    pub proxy: Option<Proxy>,
    /// The only authorities trusted, as PEM; without it those of Mozilla.
    pub ca_file: Option<PathBuf>,
    /// Certificate chain and key, as PEM.
    pub client: Option<(PathBuf, PathBuf)>,
    /// What is sent as `Authorization`, to this server only.
    pub token_file: Option<PathBuf>,
    /// The content must be this one.
    pub sha256: Option<Digest>,
    /// The file must be signed with this key.
    pub public_key: Option<PublicKey>,
    /// Neither the file nor what is in it may be larger.
    pub max_bytes: u64,
    /// Its SOA serial must not go back, if there is one.
    pub zone: bool,
}

/// A proxy, known to be one.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy(String);

impl Proxy {
    /// `http://`, `https://`, `socks4://` or `socks5://`, host and port, perhaps with user and password.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        if !text.contains("://") || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(ProxyError);
        }
        ureq::Proxy::new(text).map(|_| Self(text.to_owned())).map_err(|_| ProxyError)
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It may hold a password.
        f.write_str("Proxy(…)")
    }
}

/// Not a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyError;

impl std::fmt::Display for ProxyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a proxy; write it like http://10.0.0.1:3128 or socks5://10.0.0.1:1080")
    }
}

impl std::error::Error for ProxyError {}
