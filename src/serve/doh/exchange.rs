//! From a request to its answer, whatever version of HTTP brought it.

use std::future::Future;

use hyper::header::EXPECT;
use hyper::http::request::Parts;
use hyper::{Method, Version};
use tokio::time::timeout;

use super::super::desk::{Desk, leave, may_be_query};
use super::body::Held;
use super::respond::{Answer, answered, healthy, refused, without_body};
use super::{Refusal, Site, Wanted, look};
use crate::engine::Peer;

/// The answer to a request whose body `body` reads, if that is wanted; `None`: there is to be none.
pub(in super::super) async fn answer(
    site: &Site,
    desk: &Desk,
    peer: Peer,
    head: &Parts,
    body: impl Future<Output = Result<Held, Refusal>>,
) -> Option<Answer> {
    let answer = match answer_or_refuse(site, desk, peer, head, body).await {
        Ok(answer) => answer?,
        Err(refusal) => {
            desk.refused(refusal == Refusal::Busy);
            refused(refusal)
        }
    };
    Some(if head.method == Method::HEAD { without_body(answer) } else { answer })
}

/// See [`answer`].
async fn answer_or_refuse(
    site: &Site,
    desk: &Desk,
    peer: Peer,
    head: &Parts,
    body: impl Future<Output = Result<Held, Refusal>>,
) -> Result<Option<Answer>, Refusal> {
    let wanted = match look(site, &head.method, &head.uri, &head.headers) {
        Ok(wanted) => wanted,
        Err(refusal) => {
            // A client that is still sending when HTTP/1.1 closes the connection may never read why; one that asks first is
            // told, and the later versions end the stream alone.
            if head.version <= Version::HTTP_11 && !head.headers.contains_key(EXPECT) {
                let _ = timeout(desk.shared().settings.idle, body).await;
            }
            return Err(refusal);
        }
    };
    let bytes = match wanted {
        Wanted::Health => return Ok(Some(healthy())),
        Wanted::Answer { query, door } => {
            let _leave = leave(query.len()).map_err(|_| Refusal::Busy)?;
            desk.answer(&query, desk.through(peer, door), 0).await
        }
        Wanted::AnswerToBody { door } => {
            let reading = timeout(desk.shared().settings.idle, body);
            let (query, _leave) = reading.await.map_err(|_| Refusal::Slow)??;
            if !may_be_query(&query) {
                return Err(Refusal::NoQuery);
            }
            desk.answer(&query, desk.through(peer, door), 0).await
        }
    };
    Ok(bytes.map(answered))
}
