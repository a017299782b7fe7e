//! Stands before every endpoint: sets the headers, counts the requests, asks who it is.

use super::super::reply;
use super::{Setup, Web};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;
use tokio::time::Instant;

const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Basic realm="edgeprobe", charset="UTF-8""#);

/// Lets a request pass, or answers it with 401 or 429.
pub(in super::super) async fn guard(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    web.refresh().await;
    let setup = web.current.load_full();
    let mut response = match refusal(&setup, request.headers()).await {
        Some(refusal) => refusal,
        None => next.run(request).await,
    };
    for (name, value) in &setup.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

/// The limit comes first: it also slows down whoever tries passwords.
#[expect(clippy::disallowed_methods, reason = "counting requests is no time of a probe")]
async fn refusal(setup: &Setup, request: &HeaderMap) -> Option<Response> {
    if setup.bucket.as_ref().is_some_and(|bucket| !bucket.take(Instant::now())) {
        return Some(reply::line(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"));
    }
    let users = setup.users.as_ref()?;
    if users.admit(request.get(header::AUTHORIZATION)).await {
        return None;
    }
    let mut response = reply::line(StatusCode::UNAUTHORIZED, "Unauthorized");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
    Some(response)
}
