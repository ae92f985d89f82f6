//! DNS over HTTP/2 and HTTP/3 (RFC 8484): one request by POST for a question.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::body::{Buf, Bytes};
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, StatusCode, Uri, Version};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Trouble;

/// What is sent and must come.
const MESSAGE: &str = "application/dns-message";
/// The longest DNS message.
const MAX_BODY: usize = 65_535;
/// Octets of headers a server may send.
const MAX_HEADERS: u32 = 16 << 10;
/// Octets of one answer and of all answers that may come before they are taken.
const WINDOWS: (u32, u32) = (128 << 10, 4 << 20);

/// A request's answer that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another status than 200.
    Status(StatusCode),
    /// No DNS message by its type.
    Type,
    /// Longer than any DNS message.
    Length,
    /// The connection or the request broke.
    Broken,
}

impl Refusal {
    /// As all other trouble.
    pub(super) fn trouble(self) -> Trouble {
        if self == Self::Broken { Trouble::Unreachable } else { Trouble::Garbled }
    }
}

/// HTTP/2 on one connection.
#[derive(Clone)]
pub(super) struct Http2 {
    requests: h2::client::SendRequest<Bytes>,
    uri: Uri,
    closed: Arc<AtomicBool>,
}

impl Http2 {
    /// Says hello; needs a runtime.
    pub(super) async fn new(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        uri: Uri,
    ) -> Result<Self, Refusal> {
        let mut builder = h2::client::Builder::new();
        builder.enable_push(false).max_header_list_size(MAX_HEADERS);
        builder.initial_window_size(WINDOWS.0).initial_connection_window_size(WINDOWS.1);
        let (requests, connection) = builder.handshake(stream).await.map_err(|_| Refusal::Broken)?;
        let closed = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&closed);
        tokio::spawn(async move {
            let _ = connection.await;
            ended.store(true, Ordering::Relaxed);
        });
        Ok(Self { requests, uri, closed })
    }

    /// The connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// One request.
    pub(super) async fn ask(&self, question: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let mut requests = self.requests.clone().ready().await.map_err(|_| Refusal::Broken)?;
        let request = request(&self.uri, Version::HTTP_2, question.len())?;
        let (response, mut body) = requests.send_request(request, false).map_err(|_| Refusal::Broken)?;
        body.send_data(question.into(), true).map_err(|_| Refusal::Broken)?;
        let (head, mut body) = response.await.map_err(|_| Refusal::Broken)?.into_parts();
        judge(head.status, &head.headers)?;
        let mut message = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.map_err(|_| Refusal::Broken)?;
            if message.len() + data.len() > MAX_BODY {
                return Err(Refusal::Length);
            }
            message.extend_from_slice(&data);
            // Room for what comes next; fails only when nothing comes.
            let _ = body.flow_control().release_capacity(data.len());
        }
        Ok(message)
    }
}

/// HTTP/3 on one connection.
#[derive(Clone)]
pub(super) struct Http3 {
    requests: h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>,
    connection: quinn::Connection,
    uri: Uri,
}

impl Http3 {
    /// Says hello; needs a runtime.
    pub(super) async fn new(connection: quinn::Connection, uri: Uri) -> Result<Self, Refusal> {
        let over = h3_quinn::Connection::new(connection.clone());
        let mut builder = h3::client::builder();
        builder.max_field_section_size(u64::from(MAX_HEADERS)).send_grease(false);
        let (mut driver, requests) = builder.build(over).await.map_err(|_| Refusal::Broken)?;
        tokio::spawn(async move {
            let _ = poll_fn(|cx| driver.poll_close(cx)).await;
        });
        Ok(Self { requests, connection, uri })
    }

    /// The connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    /// One request.
    pub(super) async fn ask(&self, question: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let request = request(&self.uri, Version::HTTP_3, question.len())?;
        let mut stream = self.requests.clone().send_request(request).await.map_err(|_| Refusal::Broken)?;
        stream.send_data(question.into()).await.map_err(|_| Refusal::Broken)?;
        stream.finish().await.map_err(|_| Refusal::Broken)?;
        let (head, ()) = stream.recv_response().await.map_err(|_| Refusal::Broken)?.into_parts();
        judge(head.status, &head.headers)?;
        let mut message = Vec::new();
        while let Some(mut data) = stream.recv_data().await.map_err(|_| Refusal::Broken)? {
            let more = data.copy_to_bytes(data.remaining());
            if message.len() + more.len() > MAX_BODY {
                return Err(Refusal::Length);
            }
            message.extend_from_slice(&more);
        }
        Ok(message)
    }
}

/// The head of a request.
fn request(uri: &Uri, version: Version, len: usize) -> Result<Request<()>, Refusal> {
    let request = Request::builder().method(Method::POST).uri(uri.clone()).version(version);
    let request = request.header(ACCEPT, MESSAGE).header(CONTENT_TYPE, MESSAGE).header(CONTENT_LENGTH, len);
    request.body(()).map_err(|_| Refusal::Broken)
}

/// Whether a DNS message follows.
fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), Refusal> {
    if status != StatusCode::OK {
        return Err(Refusal::Status(status));
    }
    // Types are compared without their parameters and without case (RFC 9110 section 8.3.1).
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(MESSAGE) { Ok(()) } else { Err(Refusal::Type) }
}
