//! Bodies of requests, taken up to the length a DNS message can have.

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Incoming};
use tokio::sync::SemaphorePermit;

use super::super::desk::leave;
use super::Refusal;
use crate::wire::STREAM_MAX;

/// A body, and the leave to hold it.
pub(in super::super) type Held = (Bytes, Option<SemaphorePermit<'static>>);

/// Reads it to its end. What comes in one piece is not copied.
pub(super) async fn read(mut body: Incoming) -> Result<Held, Refusal> {
    let mut first = Bytes::new();
    let mut whole = Vec::new();
    let mut held = None;
    while let Some(frame) = body.frame().await {
        // The client has gone, or breaks the rules of HTTP: what we say is not read, or not by it.
        let Ok(data) = frame.map_err(|_| Refusal::NoQuery)?.into_data() else { continue };
        let len = first.len() + whole.len() + data.len();
        if len > STREAM_MAX {
            return Err(Refusal::TooLong);
        }
        if held.is_none() {
            held = leave(len).map_err(|_| Refusal::Busy)?;
        }
        if len == data.len() {
            first = data;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&data);
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok((if whole.is_empty() { first } else { whole.into() }, held))
}
