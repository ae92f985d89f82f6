//! One entry that should be a name: what it is instead, where and why it is not used.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::Urls;
use crate::name::{NameBuf, NameProblem};
use crate::rule::Scope;

/// No name is longer as text, whatever characters it is written in; bounds the work for a line of 10 MB.
const MAX_TEXT: usize = 2048;

/// Whether a single label stands for a top-level domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Top {
    /// Only as `com.`: a bare word in a list is nearly always a mistake.
    NeedsDot,
    /// Always: the format is written by machines.
    Accepted,
}

/// Why an entry is not used, and at which byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Byte offset into the entry.
    pub at: usize,
    /// Why.
    pub reason: Reason,
}

/// Why an entry is not used. Small and without text, since a hostile file has millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Not a host name.
    Name(NameProblem),
    /// Every name there is.
    Root,
    /// A single label where that is most likely a mistake.
    TopLevel,
    /// An address of some kind.
    Address(&'static str),
    /// A URL.
    Url,
    /// A host and a path.
    Path,
    /// A host and a port.
    Port,
    /// An e-mail address.
    Mail,
    /// Several words.
    Space,
    /// A `*` where none is understood.
    Wildcard,
    /// `0.0.0.0adminer.com`.
    Glued,
    /// Longer than any name can be written.
    TooLong,
    /// What a format does not support, in its own words.
    Other(&'static str),
}

impl Reason {
    /// The reason in words, for the entry `text`.
    pub fn about(self, text: &str) -> impl fmt::Display {
        About { reason: self, text }
    }
}

/// A reason together with its entry.
struct About<'a> {
    reason: Reason,
    text: &'a str,
}

impl fmt::Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::Name(problem) => problem.fmt(f),
            Reason::Root => f.write_str("the root: this would cover every name there is"),
            Reason::TopLevel => {
                let label = super::sink::shorten(self.text);
                write!(f, "blocks a whole top-level domain; write `{label}.` if that is meant")
            }
            Reason::Address(what) => write!(f, "not a name: {what}"),
            Reason::Url => f.write_str("not a name: a URL (with `urls = \"host\"` its host is taken)"),
            Reason::Path => f.write_str("not a name: a host and a path (with `urls = \"host\"` the host is taken)"),
            Reason::Port => f.write_str("not a name: a host and a port (with `urls = \"host\"` the host is taken)"),
            Reason::Mail => f.write_str("not a name: an e-mail address"),
            Reason::Space => f.write_str("not a name: a space inside"),
            Reason::Wildcard => f.write_str("a `*` is only understood as `*.` at the start, for the names below"),
            Reason::Glued => f.write_str("an address and a name run together"),
            Reason::TooLong => f.write_str("longer than any name can be written"),
            Reason::Other(why) => f.write_str(why),
        }
    }
}

/// Reads `text` into `name`.
pub(super) fn parse(text: &str, urls: Urls, top: Top, name: &mut NameBuf) -> Result<(), Problem> {
    let error = if text.len() > MAX_TEXT {
        Problem { at: 0, reason: Reason::TooLong }
    } else {
        match name.parse(text) {
            Ok(()) if is_glued(text) => return Err(Problem { at: 0, reason: Reason::Glued }),
            Ok(()) if top == Top::NeedsDot && name.label_count() == 1 && !text.ends_with(is_dot) => {
                return Err(Problem { at: 0, reason: Reason::TopLevel });
            }
            Ok(()) => return Ok(()),
            Err(error) => Problem { at: error.at, reason: Reason::Name(error.problem) },
        }
    };
    if urls == Urls::Host
        && address(text).is_none()
        && let Some((at, host)) = host_of(text)
    {
        return parse(host, Urls::Reject, top, name).map_err(|problem| Problem { at: at + problem.at, ..problem });
    }
    Err(classify(text, error))
}

/// Splits off the marks of the `domains` format: `=name`, `*.name`, `.name`.
/// Gives the name, where it starts, and its scope if it is marked.
pub(super) fn marked(text: &str) -> (&str, usize, Option<Scope>) {
    if let Some(rest) = text.strip_prefix('=') {
        let name = rest.trim_start();
        return (name, text.len() - name.len(), Some(Scope::Exact));
    }
    if let Some(rest) = text.strip_prefix("*.") {
        return (rest, 2, Some(Scope::Below));
    }
    match text.strip_prefix('.') {
        Some(rest) if !rest.is_empty() => (rest, 1, Some(Scope::Subtree)),
        _ => (text, 0, None),
    }
}

/// What UTS 46 takes for a dot.
fn is_dot(c: char) -> bool {
    matches!(c, '.' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}')
}

/// A hosts line without its space. Only the two usual addresses: other names do start with four numbers.
fn is_glued(text: &str) -> bool {
    ["0.0.0.0", "127.0.0.1"]
        .iter()
        .any(|address| text.strip_prefix(address).is_some_and(|rest| rest.starts_with(|c: char| c.is_alphabetic())))
}

/// The host of something that is a URL, a host with a port or a host with a path; with where it starts.
fn host_of(text: &str) -> Option<(usize, &str)> {
    let start = match text.find("://") {
        Some(at) if at > 0 && text.get(..at)?.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) => {
            at + 3
        }
        Some(_) => return None,
        None => 0,
    };
    let rest = text.get(start..)?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let skip = authority.rfind('@').map_or(0, |at| at + 1);
    // An `@` without a scheme is an e-mail address.
    if skip > 0 && start == 0 {
        return None;
    }
    let host_port = authority.get(skip..)?;
    let host = match host_port.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => host_port,
    };
    (host.len() < text.len()).then_some((start + skip, host))
}

/// Says what a text that is no name is instead.
fn classify(text: &str, error: Problem) -> Problem {
    let at = |at, reason| Problem { at, reason };
    if matches!(text, "." | "*" | "*." | "") {
        let reason = if text.is_empty() { Reason::Name(NameProblem::Empty) } else { Reason::Root };
        return at(0, reason);
    }
    if text.contains("://") {
        return at(0, Reason::Url);
    }
    if let Some(what) = address(text) {
        return at(0, Reason::Address(what));
    }
    if is_glued(text) {
        return at(0, Reason::Glued);
    }
    if let Some(space) = text.find(char::is_whitespace) {
        return at(space, Reason::Space);
    }
    if let Some(found) = text.find('@') {
        return at(found, Reason::Mail);
    }
    if let Some(star) = text.find('*') {
        return at(star, Reason::Wildcard);
    }
    if let Some(slash) = text.find('/') {
        return at(slash, Reason::Path);
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return at(host.len(), Reason::Port);
    }
    error
}

/// What kind of address `text` is.
fn address(text: &str) -> Option<&'static str> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => return Some("an IPv4 address"),
        Ok(IpAddr::V6(_)) => return Some("an IPv6 address"),
        Err(_) => {}
    }
    if text.parse::<SocketAddr>().is_ok() {
        return Some("an address and a port");
    }
    let (address, bits) = text.split_once('/')?;
    let range = address.parse::<IpAddr>().is_ok() && !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
    range.then_some("an address range")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where and why `text` is rejected, or the name.
    fn read(text: &str, urls: Urls, top: Top) -> Result<String, (usize, Reason)> {
        let mut name = NameBuf::new();
        parse(text, urls, top, &mut name).map(|()| name.to_string()).map_err(|p| (p.at, p.reason))
    }

    #[test]
    fn what_is_no_name_is_called_what_it_is() {
        for (text, at, reason) in [
            ("https://example.com/x", 0, Reason::Url),
            ("http://1.2.3.4/", 0, Reason::Url),
            ("example.com/x", 11, Reason::Path),
            ("example.com:8080", 11, Reason::Port),
            ("1.2.3.4", 0, Reason::Address("an IPv4 address")),
            ("2001:db8::1", 0, Reason::Address("an IPv6 address")),
            ("[2001:db8::1]", 0, Reason::Address("an IPv6 address")),
            ("1.2.3.4:53", 0, Reason::Address("an address and a port")),
            ("10.0.0.0/8", 0, Reason::Address("an address range")),
            ("2001:db8::/32", 0, Reason::Address("an address range")),
            ("someone@example.com", 7, Reason::Mail),
            ("a b", 1, Reason::Space),
            ("a.*.com", 2, Reason::Wildcard),
            ("0.0.0.0adminer.com", 0, Reason::Glued),
            ("127.0.0.1localhost.com", 0, Reason::Glued),
            (".", 0, Reason::Root),
            ("*", 0, Reason::Root),
            ("com", 0, Reason::TopLevel),
            ("a\0b.com", 1, Reason::Name(NameProblem::BadCharacter('\0'))),
            ("a..b", 2, Reason::Name(NameProblem::EmptyLabel)),
        ] {
            assert_eq!(read(text, Urls::Reject, Top::NeedsDot), Err((at, reason)), "{text}");
        }
        let long = format!("{}.com", "a.".repeat(2000));
        assert_eq!(read(&long, Urls::Reject, Top::NeedsDot), Err((0, Reason::TooLong)));
    }

    #[test]
    fn names_that_only_look_odd_are_names() {
        for text in ["0.01.2.13.3.sydney.com", "1.2.3.4.example.com", "0-0.example", "xn--p1ai.example", "_x.example"] {
            assert_eq!(read(text, Urls::Reject, Top::NeedsDot), Ok(text.to_owned()));
        }
        assert_eq!(read("com.", Urls::Reject, Top::NeedsDot), Ok("com".into()));
        assert_eq!(read("рф。", Urls::Reject, Top::NeedsDot), Ok("xn--p1ai".into()));
        assert_eq!(read("com", Urls::Reject, Top::Accepted), Ok("com".into()));
    }

    #[test]
    fn with_urls_host_the_host_is_taken() {
        for text in [
            "https://example.com/x",
            "example.com:8080",
            "example.com/a:b@c",
            "ftp://user:pw@example.com:21/",
            "https://example.com?q",
            "https://example.com",
        ] {
            assert_eq!(read(text, Urls::Host, Top::NeedsDot), Ok("example.com".into()), "{text}");
        }
        let address = Reason::Address("an IPv4 address");
        assert_eq!(read("http://1.2.3.4/", Urls::Host, Top::NeedsDot), Err((7, address)));
        assert_eq!(read("someone@example.com", Urls::Host, Top::NeedsDot), Err((7, Reason::Mail)));
        assert_eq!(read("https://com/", Urls::Host, Top::NeedsDot), Err((8, Reason::TopLevel)));
    }
}
