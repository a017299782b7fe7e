//! Our own HTTP: requests in; probes, metrics, debug reports, the status page and reloads out.
//!
//! Paths, parameters, status codes and error texts are `blackbox_exporter`'s. Knows neither how a probe is done nor
//! what a metric is called.

mod admin;
mod handshake;
mod limits;
mod logs;
mod metrics;
mod pages;
mod params;
mod prefix;
mod probe;
mod reply;
mod sd;
mod serve;
mod state;
mod timeout;
mod web;

pub use prefix::{ExternalUrl, Prefix};
pub use serve::{Front, serve};
pub use state::{Active, Options, ReloadRequest, State};
pub use web::{LOOK_EVERY, Setup, Web, WebError};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{any, post};
use axum::{Router, middleware};
use std::sync::Arc;

/// Every endpoint, under the route prefix of the state's options.
pub fn router(state: Arc<State>) -> Router {
    let prefix = state.options.prefix.clone();
    let at = |path: &str| prefix.route(path);
    let mut router = Router::new()
        .route(&at("/"), any(pages::status))
        .route(&at("/probe"), any(probe::probe))
        .route(&at("/metrics"), any(metrics::metrics))
        .route(&at("/config"), any(admin::config))
        .route(&at("/logs"), any(logs::logs))
        .route(&at("/sd/healthy"), any(sd::healthy))
        .route(&at("/-/healthy"), any(admin::healthy))
        .route(&at("/-/ready"), any(admin::ready))
        .route(&at("/-/reload"), post(admin::reload).fallback(admin::wants_post));
    if !prefix.is_root() {
        router = router.route("/", any(prefix::to_external)).route(&prefix.bare_route(), any(prefix::to_slash));
    }
    router.fallback(not_found).layer(middleware::map_response(harden)).with_state(state)
}

async fn not_found() -> Response {
    reply::line(StatusCode::NOT_FOUND, "404 page not found")
}

/// Browsers must take every answer for what its Content-Type says.
async fn harden(mut response: Response) -> Response {
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod harness;
#[cfg(test)]
mod tests;
