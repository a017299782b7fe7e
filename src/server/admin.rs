//! Health, readiness, reload, and the active configuration.

use super::{State, reply};
use crate::board::SeriesRow;
use axum::extract;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;
use tokio::sync::oneshot;

/// More series than this are not listed as missing.
const MISSING_SHOWN: usize = 10;

/// Alive: this process answers.
pub(super) async fn healthy() -> Response {
    reply::text("Healthy")
}

/// Ready: not about to stop, and every scheduled series has its first result.
pub(super) async fn ready(extract::State(state): extract::State<Arc<State>>) -> Response {
    if state.is_draining() {
        return reply::line(StatusCode::SERVICE_UNAVAILABLE, "Not ready: shutting down");
    }
    if state.board.all_reported() {
        return reply::text("Ready");
    }
    reply::line(StatusCode::SERVICE_UNAVAILABLE, &missing(&state.board.rows()))
}

fn missing(rows: &[SeriesRow]) -> String {
    let waiting: Vec<&SeriesRow> = rows.iter().filter(|row| row.last_run.is_none()).collect();
    let mut text = format!("Not ready: {} of {} series have no result yet", waiting.len(), rows.len());
    for row in waiting.iter().take(MISSING_SHOWN) {
        for (separator, label) in ["\n  ", " ", " "].iter().zip(["job", "instance", "module"]) {
            text.push_str(separator);
            text.push_str(row.key.get(label));
        }
    }
    if waiting.len() > MISSING_SHOWN {
        text.push_str("\n  ...");
    }
    text
}

/// Reads the configuration again; answers when it is active, or why it is not.
pub(super) async fn reload(extract::State(state): extract::State<Arc<State>>) -> Response {
    let (answer, outcome) = oneshot::channel();
    let sent = state.reload.send(answer).await.is_ok();
    let result = if sent { outcome.await.ok() } else { None };
    match result.unwrap_or_else(|| Err("the exporter is shutting down".into())) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(why) => reply::line(StatusCode::INTERNAL_SERVER_ERROR, &format!("failed to reload config: {why}")),
    }
}

/// A reload by any other method than POST.
pub(super) async fn wants_post() -> Response {
    let mut response = reply::line(StatusCode::METHOD_NOT_ALLOWED, "This endpoint requires a POST request.");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

/// The active configuration, secrets masked.
pub(super) async fn config(extract::State(state): extract::State<Arc<State>>) -> Response {
    reply::text(&*state.active().yaml)
}
