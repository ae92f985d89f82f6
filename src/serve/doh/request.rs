//! What a request asks for, or why it is refused; the same for every version of HTTP.

use data_encoding::BASE64URL_NOPAD;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use hyper::{Method, StatusCode, Uri};

use super::super::desk::may_be_query;
use super::Site;
use crate::wire::STREAM_MAX;

/// The media type of DNS messages (RFC 8484 section 6).
pub const MEDIA_TYPE: &str = "application/dns-message";
/// Where one may ask whether the server is there; it says nothing else.
const HEALTH: &str = "/health";
/// The most octets of a path with its parameters; room for a query of 6,000 octets.
const MAX_TARGET: usize = 8192;

/// What a request asks for. `door` is the last segment of the path, if there is one more than the path for queries has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// Whether the server is there.
    Health,
    /// An answer to this query.
    Answer { query: Vec<u8>, door: Option<&'a str> },
    /// An answer to the query in the body.
    AnswerToBody { door: Option<&'a str> },
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Refusal {
    /// 400: no `dns` parameter, more than one, or not base64url without padding.
    Parameter,
    /// 400: not a DNS query.
    NoQuery,
    /// 404
    Path,
    /// 405
    Method,
    /// 408: the body does not come.
    Slow,
    /// 413: longer than a DNS message can be.
    TooLong,
    /// 414
    LongTarget,
    /// 415
    MediaType,
    /// 503: too many long queries are here already.
    Busy,
}

impl Refusal {
    /// The status, and what is said to people.
    pub fn status(self) -> (StatusCode, &'static str) {
        match self {
            Self::Parameter => (
                StatusCode::BAD_REQUEST,
                "one parameter wanted: dns=, a DNS message in base64url without padding (RFC 8484)\n",
            ),
            Self::NoQuery => (StatusCode::BAD_REQUEST, "not a DNS query\n"),
            Self::Path => (StatusCode::NOT_FOUND, "nothing here\n"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD and POST only\n"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "the body did not come\n"),
            Self::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "a DNS message has 65535 octets at most\n"),
            Self::LongTarget => (StatusCode::URI_TOO_LONG, "use POST for long queries\n"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type: application/dns-message wanted\n"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too many long queries\n"),
        }
    }
}

/// Looks at a request, but for its body.
pub(super) fn look<'a>(
    site: &Site,
    method: &Method,
    target: &'a Uri,
    headers: &HeaderMap,
) -> Result<Wanted<'a>, Refusal> {
    let path = target.path();
    if path.len() + target.query().map_or(0, str::len) > MAX_TARGET {
        return Err(Refusal::LongTarget);
    }
    let door = match path.strip_prefix(site.path.as_str()) {
        Some("") => None,
        Some(rest) => Some(rest.strip_prefix('/').filter(|door| is_segment(door)).ok_or(Refusal::Path)?),
        None if path == HEALTH && is_reading(method) => return Ok(Wanted::Health),
        None if path == HEALTH => return Err(Refusal::Method),
        None => return Err(Refusal::Path),
    };
    if is_reading(method) {
        let query = parameter(target.query().unwrap_or_default())?;
        return if may_be_query(&query) { Ok(Wanted::Answer { query, door }) } else { Err(Refusal::NoQuery) };
    }
    if method != Method::POST {
        return Err(Refusal::Method);
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // Parameters of the type change nothing (RFC 8484 section 6 has none).
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(MEDIA_TYPE) {
        return Err(Refusal::MediaType);
    }
    if announced(headers) > STREAM_MAX as u64 {
        return Err(Refusal::TooLong);
    }
    Ok(Wanted::AnswerToBody { door })
}

/// How long the body is, as far as it is said.
fn announced(headers: &HeaderMap) -> u64 {
    let len = headers.get(CONTENT_LENGTH).and_then(|len| len.to_str().ok());
    len.and_then(|len| len.parse().ok()).unwrap_or(0)
}

/// HEAD is GET whose answer has no body.
fn is_reading(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// One segment of a path that a name could be.
fn is_segment(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

/// The message in the one `dns` parameter.
fn parameter(query: &str) -> Result<Vec<u8>, Refusal> {
    let mut found = query.split('&').filter_map(|pair| pair.strip_prefix("dns="));
    match (found.next(), found.next()) {
        (Some(text), None) => BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| Refusal::Parameter),
        _ => Err(Refusal::Parameter),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `www.example.com A` of RFC 8484 section 4.1.1.
    const DNS: &str = "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB";

    /// Looks at a request with a media type.
    fn see(method: &str, target: &str, kind: &str) -> Result<String, Refusal> {
        let site = Site::new("/dns-query", &[]);
        let target: Uri = target.parse().expect("a URI");
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(CONTENT_TYPE, kind.parse().expect("a header"));
        }
        look(&site, &method.parse().expect("a method"), &target, &headers).map(|wanted| match wanted {
            Wanted::Health => "health".into(),
            Wanted::Answer { query, door } => format!("{} at {door:?}", query.len()),
            Wanted::AnswerToBody { door } => format!("body at {door:?}"),
        })
    }

    #[test]
    fn what_the_rfc_shows_is_understood() {
        let get = format!("/dns-query?dns={DNS}");
        assert_eq!(see("GET", &get, ""), Ok("33 at None".into()));
        assert_eq!(see("HEAD", &get, ""), Ok("33 at None".into()));
        assert_eq!(see("GET", &format!("https://dns.example/dns-query?ct&dns={DNS}&x="), ""), Ok("33 at None".into()));
        assert_eq!(see("GET", &format!("/dns-query/kids?dns={DNS}"), ""), Ok("33 at Some(\"kids\")".into()));
        assert_eq!(see("POST", "/dns-query", MEDIA_TYPE), Ok("body at None".into()));
        assert_eq!(see("POST", "/dns-query/kids", "Application/DNS-message; x=y"), Ok("body at Some(\"kids\")".into()));
        assert_eq!(see("GET", "/health", ""), Ok("health".into()));
    }

    #[test]
    fn everything_else_is_refused_for_what_it_is() {
        for path in ["/", "/dns-query/", "/dns-query/a/b", "/dns-queryx", "/healthy", "*"] {
            assert_eq!(see("GET", path, ""), Err(Refusal::Path), "{path}");
        }
        for query in ["", "?dns", "?dns=", "?dns=A", "?dns=AAAB=", "?dns=AAA+", "?dns=AAAB&dns=AAAB"] {
            let wanted = if query == "?dns=" { Refusal::NoQuery } else { Refusal::Parameter };
            assert_eq!(see("GET", &format!("/dns-query{query}"), ""), Err(wanted), "{query}");
        }
        assert_eq!(see("GET", "/dns-query?dns=AAABAAABAAAAAAA", ""), Err(Refusal::NoQuery), "11 octets");
        assert_eq!(see("GET", "/dns-query?dns=AACAAAABAAAAAAAA", ""), Err(Refusal::NoQuery), "an answer");
        for method in ["PUT", "OPTIONS", "DELETE", "PATCH", "TRACE"] {
            assert_eq!(see(method, "/dns-query", MEDIA_TYPE), Err(Refusal::Method), "{method}");
        }
        assert_eq!(see("POST", "/health", MEDIA_TYPE), Err(Refusal::Method));
        for kind in ["", "application/dns-json", "application/x-www-form-urlencoded", "application/dns-messages"] {
            assert_eq!(see("POST", "/dns-query", kind), Err(Refusal::MediaType), "{kind}");
        }
        let long = format!("/dns-query?dns={}", "A".repeat(MAX_TARGET));
        assert_eq!(see("GET", &long, ""), Err(Refusal::LongTarget));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, MEDIA_TYPE.parse().expect("a header"));
        for (len, wanted) in
            [("65535", None), ("65536", Some(Refusal::TooLong)), ("18446744073709551615", Some(Refusal::TooLong))]
        {
            headers.insert(CONTENT_LENGTH, len.parse().expect("a header"));
            let target = Uri::from_static("/dns-query");
            assert_eq!(look(&Site::new("/dns-query", &[]), &Method::POST, &target, &headers).err(), wanted, "{len}");
        }
    }

    proptest! {
        #[test]
        fn any_message_comes_through_a_get(message in prop::collection::vec(any::<u8>(), 12..512)) {
            let text = BASE64URL_NOPAD.encode(&message);
            prop_assert_eq!(parameter(&format!("dns={text}")), Ok(message));
        }

        #[test]
        fn any_target_is_answered_with_something(query in "[ -~]{0,64}") {
            if let Ok(target) = format!("/dns-query?{query}").parse::<Uri>() {
                let _ = look(&Site::new("/dns-query", &[]), &Method::GET, &target, &HeaderMap::new());
            }
        }
    }
}
