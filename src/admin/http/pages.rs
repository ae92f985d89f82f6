//! What can be asked for.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use super::door::Door;
use super::{Health, RefusalCounts, Watched, count};
use crate::admin::metrics::{self, Format};

/// What every page may need.
#[derive(Clone)]
struct Pages {
    watched: Arc<dyn Watched>,
    door: Arc<Door>,
    refused: Arc<RefusalCounts>,
}

/// All pages.
pub(super) fn router(watched: Arc<dyn Watched>, door: Arc<Door>, refused: Arc<RefusalCounts>) -> axum::Router {
    let pages = Pages { watched, door, refused };
    axum::Router::new()
        .route("/metrics", get(scrape))
        .route("/health", get(health))
        .method_not_allowed_fallback(|| async {
            text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here")
        })
        .fallback(|| async { text(StatusCode::NOT_FOUND, "there are /metrics and /health") })
        .layer(middleware::from_fn_with_state(pages.clone(), called_right))
        .with_state(pages)
}

/// Lets requests through that call the server by its name.
async fn called_right(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    // A browser always says whom it thinks it talks to; HTTP/1.0 need not, and simple health checks do not.
    let mut hosts = request.headers().get_all(HOST).iter();
    let right = match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_10 => true,
        (Some(host), None) => host.to_str().is_ok_and(|host| pages.door.answers_to(host)),
        _ => return text(StatusCode::BAD_REQUEST, "one Host header is needed"),
    };
    let mut response = if right {
        next.run(request).await
    } else {
        count(&pages.refused.host);
        text(
            StatusCode::FORBIDDEN,
            "this server does not go by that name: ask it by address, or add the name to [admin] hosts",
        )
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// All figures, for Prometheus.
async fn scrape(State(pages): State<Pages>, headers: HeaderMap) -> Response {
    let accept: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::wanted(&accept.join(","));
    let watched = Arc::clone(&pages.watched);
    // It reads files of /proc, and with thousands of lists it takes its time.
    let encoded = tokio::task::spawn_blocking(move || metrics::encode(&watched.facts(), format)).await;
    match encoded {
        Ok(Ok(body)) => ([(CONTENT_TYPE, HeaderValue::from_static(format.content_type()))], body).into_response(),
        _ => text(StatusCode::INTERNAL_SERVER_ERROR, "the figures cannot be written; see the server's log"),
    }
}

/// The body of `/health`.
#[derive(Serialize)]
struct HealthBody {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Whether queries are answered.
async fn health(State(pages): State<Pages>) -> Response {
    let (code, status, reason) = match pages.watched.health() {
        Health::Serving => (StatusCode::OK, "serving", None),
        Health::Stopping => {
            (StatusCode::SERVICE_UNAVAILABLE, "stopping", Some("the server is about to end".to_owned()))
        }
        Health::Stuck(workers) => {
            let workers: Vec<String> = workers.iter().map(ToString::to_string).collect();
            let reason = format!("UDP workers do not move: {}", workers.join(", "));
            (StatusCode::SERVICE_UNAVAILABLE, "stuck", Some(reason))
        }
    };
    let mut body = serde_json::to_string(&HealthBody { status, reason }).unwrap_or_default();
    body.push('\n');
    (code, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// A line of text.
fn text(code: StatusCode, line: &str) -> Response {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    (code, [(CONTENT_TYPE, kind)], format!("{line}\n")).into_response()
}
