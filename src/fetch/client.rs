//! One GET, with redirects followed by our own rules. Blocks.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ureq::http::{HeaderMap, Response, Uri, header};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body};

use super::address::is_private;
use super::body;
use super::credentials;
use super::error::{FetchError, Redirect};
use super::{Address, Settings};

/// More are a loop, or a game.
const MAX_REDIRECTS: usize = 5;
/// A host that does not answer is given up before the whole time is over, so that its other addresses get a chance.
const LONGEST_CONNECT: Duration = Duration::from_secs(10);
/// Validators and the like are short.
const MAX_HEADER: usize = 1024;
/// Who asks.
const USER_AGENT: &str = concat!("qalqan/", env!("CARGO_PKG_VERSION"));

/// What the server is told of the version that is here.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// As it was sent with it.
    pub etag: Option<String>,
    /// As it was sent with it.
    pub last_modified: Option<String>,
}

/// What the server gave.
#[derive(Debug)]
pub(super) enum Reply {
    /// It has not changed.
    NotModified,
    /// The file as published.
    File {
        /// Without its content encoding.
        bytes: Vec<u8>,
        /// What to send the next time.
        known: Known,
    },
}

/// The HTTP client of one fetch.
pub(super) struct Client<'a> {
    settings: &'a Settings,
    agent: Agent,
    guard: Arc<Guard>,
    authorization: Option<String>,
    until: Instant,
}

impl<'a> Client<'a> {
    /// Reads the files the settings name. The clock starts to run.
    pub(super) fn new(settings: &'a Settings) -> Result<Self, FetchError> {
        let proxy = settings.proxy.as_ref().and_then(|proxy| ureq::Proxy::new(&proxy.0).ok());
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .tls_config(credentials::tls(settings)?)
            .user_agent(USER_AGENT)
            .timeout_connect(Some(settings.timeout.min(LONGEST_CONNECT)))
            .build();
        let guard = Arc::new(Guard::default());
        guard.open.store(settings.address.is_private_number(), Ordering::Relaxed);
        let agent = Agent::with_parts(config, DefaultConnector::default(), Resolving(Arc::clone(&guard)));
        let authorization = credentials::authorization(settings)?;
        Ok(Self { settings, agent, guard, authorization, until: Instant::now() + settings.timeout })
    }

    /// The list.
    pub(super) fn list(&self, known: &Known) -> Result<Reply, FetchError> {
        self.get(&self.settings.address, known, self.settings.max_bytes, false)
    }

    /// Its signature.
    pub(super) fn signature(&self) -> Result<Vec<u8>, FetchError> {
        let address = self.settings.address.signature();
        match self.get(&address, &Known::default(), crate::signature::MAX_BYTES, true)? {
            Reply::File { bytes, .. } => Ok(bytes),
            // Nobody asked whether it had changed.
            Reply::NotModified => Err(FetchError::Status { code: 304, signature: true, retry_after: None }),
        }
    }

    /// Asks, and goes where it is sent.
    fn get(&self, address: &Address, known: &Known, limit: u64, signature: bool) -> Result<Reply, FetchError> {
        let mut at = address.clone();
        for hop in 0..=MAX_REDIRECTS {
            self.guard.redirected.store(hop > 0, Ordering::Relaxed);
            let mut response = self.send(&at, known)?;
            let code = response.status().as_u16();
            match code {
                200 => return self.file(&mut response, limit),
                304 if known.etag.is_some() || known.last_modified.is_some() => return Ok(Reply::NotModified),
                301 | 302 | 303 | 307 | 308 => at = self.follow(&at, response.headers())?,
                _ => {
                    let retry_after = header(response.headers(), header::RETRY_AFTER).and_then(|text| pause(&text));
                    return Err(FetchError::Status { code, signature, retry_after });
                }
            }
        }
        Err(FetchError::Redirect { to: at.shown(), why: Redirect::TooMany(MAX_REDIRECTS) })
    }

    /// One request, one response.
    fn send(&self, at: &Address, known: &Known) -> Result<Response<Body>, FetchError> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(FetchError::Timeout(self.settings.timeout));
        }
        let request = self.agent.get(at.as_str()).config().timeout_global(Some(left)).build();
        let mut request = request.header(header::ACCEPT_ENCODING, "gzip, zstd").header(header::ACCEPT, "*/*");
        if let Some(etag) = &known.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        if let Some(date) = &known.last_modified {
            request = request.header(header::IF_MODIFIED_SINCE, date);
        }
        // Whoever we are sent to is not told the token.
        if let Some(authorization) = self.authorization.as_ref().filter(|_| at.same_server(&self.settings.address)) {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.call().map_err(|error| self.failed(at, error))
    }

    /// Where a redirect leads, if that may be followed.
    fn follow(&self, from: &Address, headers: &HeaderMap) -> Result<Address, FetchError> {
        let Some(location) = header(headers, header::LOCATION) else {
            return Err(FetchError::Redirect { to: "nowhere".into(), why: Redirect::Nowhere });
        };
        let to = from.join(&location).map_err(|error| {
            let to = location.split('?').next().unwrap_or_default().chars().take(100).collect::<String>();
            FetchError::Redirect { to: to.escape_debug().to_string(), why: Redirect::Address(error) }
        })?;
        let why = if to.is_plain() && !from.is_plain() {
            Redirect::Downgrade
        } else if to.is_private_number() && !self.guard.open.load(Ordering::Relaxed) {
            Redirect::Private
        } else {
            return Ok(to);
        };
        Err(FetchError::Redirect { to: to.shown(), why })
    }

    /// The body of a good response, whole.
    fn file(&self, response: &mut Response<Body>, limit: u64) -> Result<Reply, FetchError> {
        let headers = response.headers();
        let encoding = header(headers, header::CONTENT_ENCODING).unwrap_or_default();
        let known =
            Known { etag: header(headers, header::ETAG), last_modified: header(headers, header::LAST_MODIFIED) };
        let announced = header(headers, header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(FetchError::TooLarge(limit));
        }
        let mut bytes = Vec::new();
        let read = response.body_mut().as_reader().take(limit.saturating_add(1)).read_to_end(&mut bytes);
        if let Err(error) = read {
            return Err(self.broken(error));
        }
        if bytes.len() as u64 > limit {
            return Err(FetchError::TooLarge(limit));
        }
        if let Some(length) = announced.filter(|length| *length != bytes.len() as u64) {
            return Err(FetchError::CutOff(format!("{} of {length} bytes came", bytes.len())));
        }
        let bytes = body::decoded(bytes, &encoding, limit).map_err(FetchError::Body)?;
        Ok(Reply::File { bytes, known })
    }

    /// Why there is no response.
    fn failed(&self, at: &Address, error: ureq::Error) -> FetchError {
        if self.guard.refused.load(Ordering::Relaxed) {
            return FetchError::Redirect { to: at.shown(), why: Redirect::Private };
        }
        match error {
            ureq::Error::Timeout(ureq::Timeout::Connect) => FetchError::Connection("nobody answers there".into()),
            ureq::Error::Timeout(_) => FetchError::Timeout(self.settings.timeout),
            ureq::Error::HostNotFound => FetchError::Connection("the host has no address".into()),
            ureq::Error::Rustls(error) => FetchError::Tls(error.to_string()),
            ureq::Error::Tls(error) => FetchError::Tls(error.to_owned()),
            ureq::Error::Io(error) => match self.broken(error) {
                FetchError::CutOff(_) => FetchError::Connection("the server hung up without an answer".into()),
                error => error,
            },
            error => FetchError::Connection(error.to_string()),
        }
    }

    /// Why a connection or a body ended.
    fn broken(&self, error: io::Error) -> FetchError {
        if let Some(inner) = error.get_ref() {
            if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
                return FetchError::Tls(tls.to_string());
            }
            if let Some(ureq::Error::Timeout(_)) = inner.downcast_ref::<ureq::Error>() {
                return FetchError::Timeout(self.settings.timeout);
            }
        }
        match error.kind() {
            io::ErrorKind::TimedOut => FetchError::Timeout(self.settings.timeout),
            io::ErrorKind::UnexpectedEof => FetchError::CutOff(error.to_string()),
            _ => FetchError::Connection(error.to_string()),
        }
    }
}

/// Keeps a redirect from leading out of the internet into networks only we can reach.
#[derive(Debug, Default)]
struct Guard {
    /// The configured address is such a network's itself.
    open: AtomicBool,
    /// What is looked up now is where a redirect leads.
    redirected: AtomicBool,
    /// A lookup came to nothing for this reason.
    refused: AtomicBool,
}

impl Guard {
    /// Takes note of the configured host's addresses; of another host's only public ones may be used.
    fn may_use(&self, addresses: &[SocketAddr]) -> bool {
        let private = addresses.iter().any(|address| is_private(address.ip()));
        if !self.redirected.load(Ordering::Relaxed) {
            self.open.fetch_or(private, Ordering::Relaxed);
            return true;
        }
        let good = !private || self.open.load(Ordering::Relaxed);
        self.refused.store(!good, Ordering::Relaxed);
        good
    }
}

/// The system's resolver behind a [`Guard`]. Proxies resolve by themselves.
#[derive(Debug)]
struct Resolving(Arc<Guard>);

impl Resolver for Resolving {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let addresses = DefaultResolver::default().resolve(uri, config, timeout)?;
        if self.0.may_use(&addresses) { Ok(addresses) } else { Err(ureq::Error::HostNotFound) }
    }
}

/// A header as text of sensible length.
fn header(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    (!text.is_empty() && text.len() <= MAX_HEADER).then(|| text.to_owned())
}

/// `Retry-After`: seconds, or a date.
fn pause(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    SystemTime::from(date.timestamp()).duration_since(SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        text.split(' ').map(|ip| SocketAddr::new(ip.parse().expect("an address"), 443)).collect()
    }

    #[test]
    fn only_a_list_from_a_private_network_may_be_sent_into_one() {
        let guard = Guard::default();
        assert!(guard.may_use(&addresses("203.0.113.7")));
        guard.redirected.store(true, Ordering::Relaxed);
        assert!(guard.may_use(&addresses("203.0.113.8")));
        assert!(!guard.may_use(&addresses("203.0.113.8 127.0.0.1")), "one of several is enough");
        assert!(guard.refused.load(Ordering::Relaxed));
        assert!(!guard.may_use(&addresses("169.254.169.254")));
        let inside = Guard::default();
        assert!(inside.may_use(&addresses("10.0.0.1")));
        inside.redirected.store(true, Ordering::Relaxed);
        assert!(inside.may_use(&addresses("10.0.0.2")) && inside.may_use(&addresses("203.0.113.8")));
    }

    #[test]
    fn pauses_are_seconds_or_dates() {
        assert_eq!(pause("120"), Some(Duration::from_secs(120)));
        assert_eq!(pause("Wed, 21 Oct 2015 07:28:00 GMT"), None, "over");
        assert!(pause("Fri, 31 Dec 2100 23:59:59 GMT").is_some_and(|time| time.as_secs() > 86_400));
        assert_eq!(pause("soon"), None);
        assert_eq!(pause("-5"), None);
    }
}
