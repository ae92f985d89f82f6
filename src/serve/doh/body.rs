//! Bodies of requests, taken up to the length a DNS message can have.

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Incoming};
use tokio::sync::SemaphorePermit;

use super::super::desk::leave;
use super::Refusal;
use crate::wire::STREAM_MAX;

/// A body, and the leave to hold it.
pub(in super::super) type Held = (Bytes, Option<SemaphorePermit<'static>>);

/// So much of a body that is too long is read and forgotten, so that the client comes to read why.
const FORGOTTEN: usize = 1 << 20;

/// Reads it to its end. What comes in one piece is not copied.
pub(super) async fn read(mut body: Incoming) -> Result<Held, Refusal> {
    let mut first = Bytes::new();
    let mut whole = Vec::new();
    let mut held = None;
    let mut len = 0;
    while let Some(frame) = body.frame().await {
        // The client has gone, or breaks the rules of HTTP: what we say is not read, or not by it.
        let Ok(data) = frame.map_err(|_| Refusal::NoQuery)?.into_data() else { continue };
        len += data.len();
        if len > FORGOTTEN {
            break;
        }
        if len > STREAM_MAX {
            (first, whole, held) = (Bytes::new(), Vec::new(), None);
        } else {
            if held.is_none() {
                held = leave(len).map_err(|_| Refusal::Busy)?;
            }
            if len == data.len() {
                first = data;
            } else {
                whole.extend_from_slice(&std::mem::take(&mut first));
                whole.extend_from_slice(&data);
            }
        }
        if body.is_end_stream() {
            break;
        }
    }
    if len > STREAM_MAX {
        return Err(Refusal::TooLong);
    }
    Ok((if whole.is_empty() { first } else { whole.into() }, held))
}
