//! DNS over HTTPS by HTTP/3 (RFC 9114): the requests and answers are those of the older versions.

use std::sync::Arc;

use h3::error::Code;
use h3::server::{RequestResolver, RequestStream};
use http_body_util::BodyExt;
use hyper::body::{Buf, Bytes};
use hyper::{Method, Response};
use quinn::VarInt;
use tokio::time::timeout;

use super::super::desk::{AtOnce, leave};
use super::super::doh::{Held, MAX_HEAD, Refusal, Site, answer};
use super::Guest;
use crate::stats::Counter;
use crate::wire::STREAM_MAX;

/// H3_NO_ERROR
pub(super) const NO_ERROR: VarInt = VarInt::from_u32(0x100);
/// H3_EXCESSIVE_LOAD
pub(super) const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(0x107);

/// A request's stream.
type Stream = RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// Serves a connection until it ends.
pub(super) async fn serve(guest: &Guest, site: &Arc<Site>) {
    let mut builder = h3::server::builder();
    builder.max_field_section_size(MAX_HEAD as u64).send_grease(false);
    let open = builder.build::<_, Bytes>(h3_quinn::Connection::new(guest.connection.clone()));
    // A client that gives us no stream for our settings would keep us here.
    let Ok(Ok(mut http)) = timeout(guest.patience(), open).await else {
        guest.desk.shared().decider.count(Counter::HttpCutOff);
        return;
    };
    let requests = async {
        while let Some((request, place)) = guest.next(accept(guest, &mut http)).await {
            let (guest, site) = (guest.clone(), Arc::clone(site));
            AtOnce.run(async move {
                let _place = place;
                // An error is the client's, who knows of it, or has gone.
                let _ = stream(&guest, &site, request).await;
            });
        }
    };
    tokio::select! {
        () = requests => {}
        () = guest.end() => guest.finish().await,
    }
}

/// A connection that speaks HTTP/3.
type Http = h3::server::Connection<h3_quinn::Connection, Bytes>;

/// The next request.
async fn accept(guest: &Guest, http: &mut Http) -> Option<RequestResolver<h3_quinn::Connection, Bytes>> {
    match http.accept().await {
        Ok(request) => request,
        Err(error) => {
            if matches!(error, h3::error::ConnectionError::Local { .. }) && !error.is_h3_no_error() {
                guest.desk.shared().decider.count(Counter::HttpCutOff);
            }
            None
        }
    }
}

/// Answers one request.
async fn stream(
    guest: &Guest,
    site: &Site,
    request: RequestResolver<h3_quinn::Connection, Bytes>,
) -> Result<(), h3::error::StreamError> {
    let patience = guest.patience();
    let Ok(request) = timeout(patience, request.resolve_request()).await else { return Ok(()) };
    let (request, mut stream) = request?;
    let (head, ()) = request.into_parts();
    let answer = answer(site, &guest.desk, guest.peer(), &head, body(&mut stream)).await;
    let Some(answer) = answer else {
        stream.stop_stream(Code::H3_REQUEST_CANCELLED);
        return Ok(());
    };
    let (parts, body) = answer.into_parts();
    let sending = async {
        stream.send_response(Response::from_parts(parts, ())).await?;
        if let Ok(body) = body.collect().await
            && head.method != Method::HEAD
        {
            stream.send_data(body.to_bytes()).await?;
        }
        stream.finish().await
    };
    if let Ok(sent) = timeout(patience, sending).await {
        sent?;
    }
    Ok(())
}

/// Reads a body to its end.
async fn body(stream: &mut Stream) -> Result<Held, Refusal> {
    let (mut whole, mut held) = (Vec::new(), None);
    while let Some(mut data) = stream.recv_data().await.map_err(|_| Refusal::NoQuery)? {
        let len = whole.len() + data.remaining();
        if len > STREAM_MAX {
            // The rest is not wanted, which is no error.
            stream.stop_sending(Code::H3_NO_ERROR);
            return Err(Refusal::TooLong);
        }
        if held.is_none() {
            held = leave(len).map_err(|_| Refusal::Busy)?;
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            let len = chunk.len();
            whole.extend_from_slice(chunk);
            data.advance(len);
        }
    }
    Ok((whole.into(), held))
}
