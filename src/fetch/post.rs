//! Sends bytes to a server of the operator's and takes its answer, both bounded in size and time. Blocks.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use ureq::Agent;
use ureq::http::{Uri, header};
use url::Url;

use super::error::FetchError;
use super::{Address, credentials};

/// A host that does not answer is given up after this, so that its other addresses get a chance.
const LONGEST_CONNECT: Duration = Duration::from_secs(10);
/// zstd's: nobody is to wait for a thousandth less.
const ZSTD_LEVEL: i32 = 1;
/// Who asks.
const USER_AGENT: &str = concat!("qalqan/", env!("CARGO_PKG_VERSION"));

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952; every server knows it.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// As `Content-Encoding` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// What [`Self::as_str`] gave.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Identity, Self::Gzip, Self::Zstd].into_iter().find(|coding| coding.as_str() == text)
    }

    /// Compresses, fast rather than well.
    ///
    /// # Errors
    /// None that memory would not run into first.
    pub fn encode(self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(bytes),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
                encoder.write_all(&bytes)?;
                encoder.finish()
            }
            Self::Zstd => zstd::bulk::compress(&bytes, ZSTD_LEVEL),
        }
    }
}

/// The HTTP client for one server. It keeps its connection; the files it was made with are not read again.
pub struct Poster {
    agent: Agent,
    address: Address,
    headers: Vec<(&'static str, String)>,
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The headers hold a password.
        f.debug_struct("Poster").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What the server said, whatever that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// All of the body.
    pub body: Vec<u8>,
}

impl Poster {
    /// For `address`, with these headers each time; `timeout` is for all of one request. Redirects are not followed.
    ///
    /// # Errors
    /// `ca_file` cannot be used.
    pub fn new(
        address: &Address,
        ca_file: Option<&Path>,
        timeout: Duration,
        headers: Vec<(&'static str, String)>,
    ) -> Result<Self, PostError> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .tls_config(credentials::trust(ca_file).map_err(PostError::File)?)
            .user_agent(USER_AGENT)
            .timeout_connect(Some(timeout.min(LONGEST_CONNECT)))
            .timeout_global(Some(timeout))
            .build();
        Ok(Self { agent: Agent::new_with_config(config), address: address.clone(), headers })
    }

    /// One request, with `params` in the query of the address and an answer of at most `limit` bytes.
    ///
    /// # Errors
    /// There is no whole answer. The server may have done what was asked all the same.
    pub fn post(&self, params: &[(&str, &str)], body: &[u8], coding: Coding, limit: u64) -> Result<Reply, PostError> {
        let mut url = Url::parse(self.address.as_str()).map_err(|_| PostError::Address)?;
        url.query_pairs_mut().extend_pairs(params);
        let uri: Uri = url.as_str().parse().map_err(|_| PostError::Address)?;
        let mut request = self.agent.post(uri).header(header::CONTENT_TYPE, "application/octet-stream");
        if coding != Coding::Identity {
            request = request.header(header::CONTENT_ENCODING, coding.as_str());
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let mut response = request.send(body).map_err(PostError::Http)?;
        let status = response.status().as_u16();
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|text| text.to_str().ok()).and_then(|text| text.parse::<u64>().ok());
        let mut body = Vec::new();
        let reader = response.body_mut().as_reader();
        reader.take(limit.saturating_add(1)).read_to_end(&mut body).map_err(PostError::CutOff)?;
        if body.len() as u64 > limit {
            return Err(PostError::TooLarge(limit));
        }
        if length.is_some_and(|length| length != body.len() as u64) {
            return Err(PostError::CutOff(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(Reply { status, body })
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum PostError {
    /// A file named in the configuration cannot be used.
    File(FetchError),
    /// Not an address with these parameters.
    Address,
    /// No connection, or no answer in time.
    Http(ureq::Error),
    /// The answer ended early.
    CutOff(io::Error),
    /// It is longer than this.
    TooLarge(u64),
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Address => f.write_str("not an address; check `url`"),
            Self::Http(ureq::Error::Timeout(ureq::Timeout::Connect)) => {
                f.write_str("nobody answers there; check `url` and network")
            }
            Self::Http(ureq::Error::Timeout(_)) => {
                f.write_str("no answer in time; the server is stuck or slow (`timeout`)")
            }
            Self::Http(ureq::Error::HostNotFound) => f.write_str("the host has no address; check `url`"),
            Self::Http(ureq::Error::Rustls(error)) => write!(f, "TLS: {error}; check `url`, `ca_file` and the clock"),
            Self::Http(error) => write!(f, "{error}; check `url` and network"),
            Self::CutOff(error) => write!(f, "the answer was cut off ({error})"),
            Self::TooLarge(limit) => write!(f, "the answer is longer than {limit} bytes"),
        }
    }
}

impl std::error::Error for PostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Http(error) => Some(error),
            Self::CutOff(error) => Some(error),
            Self::Address | Self::TooLarge(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::body;
    use super::*;

    #[test]
    fn what_is_compressed_unpacks_to_what_it_was() {
        let bytes: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_be_bytes()).collect();
        for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
            let sent = coding.encode(bytes.clone()).expect("encoded");
            assert!(coding == Coding::Identity || sent.len() < bytes.len() / 2, "{coding:?}");
            assert_eq!(body::decoded(sent, coding.as_str(), 1 << 20).expect("decoded"), bytes, "{coding:?}");
            assert_eq!(Coding::parse(coding.as_str()), Some(coding));
        }
        assert_eq!(Coding::parse("br"), None);
    }
}
