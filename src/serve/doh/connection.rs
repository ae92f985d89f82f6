//! One HTTP/1.1 or HTTP/2 connection, and its limits.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::super::desk::{AtOnce, Desk};
use super::respond::{Answer, offer_http3};
use super::{Gather, MAX_HEAD, Site, Version, body, exchange};
use crate::engine::Peer;
use crate::stats::Counter;

/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// What may be sent on one stream, and on a connection, before it was read.
const WINDOWS: (u32, u32) = (64 << 10, 256 << 10);
/// How long requests under way may take after a connection was told to end.
const GRACE: Duration = Duration::from_secs(1);

/// A client that is connected.
struct Visit {
    peer: Peer,
    desk: Arc<Desk>,
    site: Arc<Site>,
    /// Requests so far.
    requests: AtomicU64,
    /// Requests under way.
    active: AtomicUsize,
}

/// Serves a connection to its end.
pub async fn run(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    below: Gather<impl AsyncRead + AsyncWrite + Unpin>,
    version: Version,
    peer: Peer,
    desk: Arc<Desk>,
    site: Arc<Site>,
) {
    let visit = Arc::new(Visit { peer, desk, site, requests: AtomicU64::new(0), active: AtomicUsize::new(0) });
    let service = {
        let visit = Arc::clone(&visit);
        service_fn(move |request| serve(Arc::clone(&visit), request))
    };
    let io = TokioIo::new(stream);
    let streams = u32::try_from(visit.desk.shared().settings.max_in_flight).unwrap_or(u32::MAX);
    match version {
        Version::One => {
            // Times are ours to watch: hyper's own would set a timer for each request.
            let connection = http1::Builder::new()
                .header_read_timeout(None)
                .max_buf_size(MAX_HEAD)
                .max_headers(MAX_HEADERS)
                .half_close(true)
                .serve_connection(io, service);
            drive(connection, http1::Connection::graceful_shutdown, below, &visit).await;
        }
        Version::Two => {
            let connection = http2::Builder::new(AtOnce)
                .max_concurrent_streams(streams)
                .max_header_list_size(MAX_HEAD as u32)
                .initial_stream_window_size(WINDOWS.0)
                .initial_connection_window_size(WINDOWS.1)
                .max_local_error_reset_streams(128)
                .serve_connection(io, service);
            drive(connection, http2::Connection::graceful_shutdown, below, &visit).await;
        }
    }
}

/// Lets a connection run until it ends, no request came for too long, its time is over, or the server stops; then it is
/// told to end, and after [`GRACE`] it is cut off.
async fn drive<C: Future<Output = hyper::Result<()>>, S: AsyncRead + AsyncWrite + Unpin>(
    connection: C,
    wind_down: fn(Pin<&mut C>),
    below: Gather<S>,
    visit: &Visit,
) {
    let shared = visit.desk.shared();
    let mut connection = pin!(connection);
    let end = Instant::now() + shared.settings.total;
    let mut patience =
        Patience { idle: shared.settings.idle, requests: 0, until: Instant::now() + shared.settings.idle };
    let mut timer = pin!(sleep_until(patience.until.min(end)));
    let mut stopped = shared.stopped.clone();
    let mut stop = pin!(stopped.wait_for(|&stop| stop));
    let mut winding = false;
    let ended = poll_fn(|cx: &mut Context<'_>| {
        loop {
            let ended = connection.as_mut().poll(cx);
            // What cannot be sent now is sent later: the stream has registered for it.
            if let Poll::Ready(Err(_)) = below.poll_send(cx) {
                return Poll::Ready(Ok(()));
            }
            if ended.is_ready() {
                return ended;
            }
            patience.look(visit);
            let stop = !winding && stop.as_mut().poll(cx).is_ready();
            if !stop {
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let now = Instant::now();
                if winding {
                    return Poll::Ready(Ok(()));
                }
                if now < end && (now < patience.until || visit.is_busy()) {
                    let next = if now < patience.until { patience.until } else { now + patience.idle };
                    timer.as_mut().reset(next.min(end));
                    continue;
                }
            }
            winding = true;
            timer.as_mut().reset(Instant::now() + GRACE);
            wind_down(connection.as_mut());
        }
    })
    .await;
    if ended.is_err_and(|error| !error.is_user() && !is_gone(&error)) {
        shared.decider.count(Counter::HttpCutOff);
    }
}

/// Until when the next request must come.
struct Patience {
    idle: Duration,
    requests: u64,
    until: Instant,
}

impl Patience {
    /// A request has come: it may take as long again until the next one.
    fn look(&mut self, visit: &Visit) {
        let requests = visit.requests.load(Ordering::Relaxed);
        if requests != self.requests {
            self.requests = requests;
            self.until = Instant::now() + self.idle;
        }
    }
}

/// The client has simply gone.
fn is_gone(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    error.is_incomplete_message() || error.is_closed() || error.is_canceled() || error.is_body_write_aborted()
}

/// There is to be no answer. HTTP/1.1 closes the connection on it, HTTP/2 resets the stream.
#[derive(Debug)]
struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer is to be given")
    }
}

impl std::error::Error for Dropped {}

/// Answers a request.
async fn serve(visit: Arc<Visit>, request: Request<Incoming>) -> Result<Answer, Dropped> {
    let _under_way = visit.enter();
    let (head, incoming) = request.into_parts();
    let answer = exchange::answer(&visit.site, &visit.desk, visit.peer, &head, body::read(incoming)).await;
    let mut answer = answer.ok_or(Dropped)?;
    offer_http3(&visit.site, &mut answer);
    Ok(answer)
}

impl Visit {
    /// One more request.
    fn enter(&self) -> UnderWay<'_> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    /// We owe an answer.
    fn is_busy(&self) -> bool {
        self.active.load(Ordering::Relaxed) > 0 || !self.desk.is_idle()
    }
}

/// A request under way.
struct UnderWay<'a>(&'a Visit);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
