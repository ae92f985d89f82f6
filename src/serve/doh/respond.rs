//! HTTP answers; the same for every version of HTTP.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, ALT_SVC, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::request::MEDIA_TYPE;
use super::{Refusal, Site};
use crate::wire::lifetime;

/// An answer with its body.
pub(in super::super) type Answer = Response<Full<Bytes>>;

/// The headers of an answer, and more that some versions add.
const HEADERS: usize = 8;
/// May not be kept by anyone.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// A DNS answer. It may be kept for as long as the smallest TTL in it says.
pub(super) fn answered(bytes: Vec<u8>) -> Answer {
    let kept = lifetime(&bytes).map_or(NO_STORE, max_age);
    answer(StatusCode::OK, HeaderValue::from_static(MEDIA_TYPE), kept, Bytes::from(bytes))
}

/// The server is there.
pub(super) fn healthy() -> Answer {
    text(StatusCode::OK, "ok\n")
}

/// A request that is refused.
pub(super) fn refused(refusal: Refusal) -> Answer {
    let (status, why) = refusal.status();
    let mut answer = text(status, why);
    match refusal {
        Refusal::Method => _ = answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST")),
        Refusal::Busy => _ = answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1")),
        _ => {}
    }
    answer
}

/// Says where HTTP/3 is spoken, if it is.
pub(super) fn offer_http3(site: &Site, answer: &mut Answer) {
    if let Some(offer) = &site.alt_svc {
        answer.headers_mut().insert(ALT_SVC, offer.clone());
    }
}

/// The same without its body: an answer to HEAD.
pub(super) fn without_body(mut answer: Answer) -> Answer {
    *answer.body_mut() = Full::default();
    answer
}

/// A few words to people.
fn text(status: StatusCode, words: &'static str) -> Answer {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer(status, kind, NO_STORE, Bytes::from_static(words.as_bytes()))
}

/// From its parts.
fn answer(status: StatusCode, kind: HeaderValue, kept: HeaderValue, body: Bytes) -> Answer {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(CACHE_CONTROL, kept);
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

/// `max-age` of so many seconds.
fn max_age(seconds: u32) -> HeaderValue {
    HeaderValue::try_from(format!("max-age={seconds}")).unwrap_or(NO_STORE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_their_status_and_what_belongs_to_it() {
        let all = [
            (Refusal::Parameter, 400),
            (Refusal::NoQuery, 400),
            (Refusal::Path, 404),
            (Refusal::Method, 405),
            (Refusal::Slow, 408),
            (Refusal::TooLong, 413),
            (Refusal::LongTarget, 414),
            (Refusal::MediaType, 415),
            (Refusal::Busy, 503),
        ];
        for (refusal, status) in all {
            let answer = refused(refusal);
            assert_eq!(answer.status().as_u16(), status, "{refusal:?}");
            assert_eq!(answer.headers().get(CACHE_CONTROL), Some(&NO_STORE), "{refusal:?}");
            assert_eq!(answer.headers().contains_key(ALLOW), status == 405, "{refusal:?}");
            assert_eq!(answer.headers().contains_key(RETRY_AFTER), status == 503, "{refusal:?}");
        }
    }

    #[test]
    fn http3_is_offered_where_it_is_spoken() {
        let mut plain = healthy();
        offer_http3(&Site::new("/dns-query", &[]), &mut plain);
        assert!(!plain.headers().contains_key(ALT_SVC));
        let mut answer = healthy();
        offer_http3(&Site::with_ports("/dns-query", vec![443, 443, 8443]), &mut answer);
        assert_eq!(answer.headers()[ALT_SVC], "h3=\":443\"; ma=86400, h3=\":8443\"; ma=86400");
    }
}
