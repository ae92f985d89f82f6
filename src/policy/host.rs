//! What the server says of itself beside the answer: cookies, its identifier, how long it keeps idle connections, its names.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::event::Transport;
use crate::name::NameBuf;
use crate::wire::{CLASS_CH, Cookies, Extras, Query, Standing, rtype};

/// Names of class CH that ask who this is (RFC 4892).
const IDENTITY: [&[u8]; 2] = [b"\x02id\x06server\0", b"\x08hostname\x04bind\0"];
/// Names of class CH that ask what this is.
const VERSION: [&[u8]; 2] = [b"\x07version\x06server\0", b"\x07version\x04bind\0"];

/// What of `[server]` is told to clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// Cookies are answered.
    pub cookies: bool,
    /// Over UDP, a client that sends a cookie must send a good one.
    pub require_cookies: bool,
    /// The secrets, shared by a fleet; `None`: one of this process.
    pub cookie_secret_file: Option<PathBuf>,
    /// Identifier; empty: none.
    pub nsid: String,
    /// Answer to `id.server`; empty: REFUSED.
    pub identity: String,
    /// Answer to `version.bind`; empty: REFUSED.
    pub version: String,
}

/// The same, ready.
#[derive(Clone, Debug, Default)]
pub struct Host {
    cookies: Option<Cookies>,
    require_cookies: bool,
    nsid: Box<str>,
    identity: Box<str>,
    version: Box<str>,
    keepalive: u16,
}

impl Host {
    /// From settings; `idle` is how long idle connections are kept.
    pub fn new(settings: &HostSettings, cookies: Option<Cookies>, idle: Duration) -> Self {
        Self {
            cookies,
            require_cookies: settings.require_cookies,
            nsid: settings.nsid.as_str().into(),
            identity: settings.identity.as_str().into(),
            version: settings.version.as_str().into(),
            keepalive: u16::try_from(idle.as_millis() / 100).unwrap_or(u16::MAX),
        }
    }

    /// Makes the options that the query, which stands in `message`, asks for, and says so in it. Gives what its cookie
    /// shows, if there is one and we look at such.
    pub fn dress(
        &self,
        message: &[u8],
        query: &mut Query,
        (client, transport): (IpAddr, Transport),
        now: u32,
        extras: &mut Extras,
    ) -> Option<Standing> {
        let edns = query.edns.as_mut()?;
        let mut standing = None;
        if let (Some(cookies), Some((own, server))) = (&self.cookies, edns.asks.cookie(message)) {
            let (stands, made) = cookies.judge(own, server, client, now);
            extras.cookie(own, &made);
            standing = Some(stands);
        }
        if edns.asks.nsid && !self.nsid.is_empty() {
            extras.nsid(self.nsid.as_bytes());
        }
        // HTTP and QUIC have timeouts of their own (RFC 9250 section 5.5.2), and UDP has no connection.
        if edns.asks.keepalive && matches!(transport, Transport::Tcp | Transport::Dot) {
            extras.keepalive(self.keepalive);
        }
        edns.reserve = extras.len();
        edns.pad = edns.asks.padding && transport.is_encrypted();
        standing
    }

    /// Cookies are answered.
    pub fn answers_cookies(&self) -> bool {
        self.cookies.is_some()
    }

    /// A query with such a cookie is to be asked again with a good one (RFC 7873 section 5.2.3). Who has a connection
    /// has shown its address already.
    pub fn demands_another(&self, standing: Standing, transport: Transport) -> bool {
        self.require_cookies && standing != Standing::Valid && transport.is_datagram()
    }

    /// The text for a name of class CH; `None`: it is not told.
    pub fn text(&self, name: &NameBuf, query: &Query) -> Option<&str> {
        let text = match name.wire() {
            wire if IDENTITY.contains(&wire) => &self.identity,
            wire if VERSION.contains(&wire) => &self.version,
            _ => return None,
        };
        let asked = query.qclass == CLASS_CH && matches!(query.qtype, rtype::TXT | rtype::ANY);
        (asked && !text.is_empty()).then_some(text)
    }
}
