//! `/metrics`: the latest result of every scheduled series, and the exporter's own health.

use super::{State, reply};
use crate::board::SeriesRow;
use crate::metrics::{Own, Row, SeriesFacts, render};
use axum::extract;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use std::sync::Arc;

/// Rendered off the runtime's threads: with thousands of series it takes longer than a probe may be held up.
pub(super) async fn metrics(extract::State(state): extract::State<Arc<State>>, headers: HeaderMap) -> Response {
    let rendering = tokio::task::spawn_blocking(move || reply::exposition(&headers, page(&state)));
    rendering.await.unwrap_or_else(|_| reply::line(StatusCode::INTERNAL_SERVER_ERROR, "rendering the metrics failed"))
}

fn page(state: &State) -> String {
    let series = state.board.rows();
    let rows: Vec<Row<'_>> = series.iter().map(row).collect();
    render(&rows, Some(&own(state, series.len())))
}

fn row(series: &SeriesRow) -> Row<'_> {
    let facts = SeriesFacts {
        tally: &series.tally,
        certificate: &series.certificate,
        interval: series.interval,
        lag: series.lag,
        last_run: series.last_run,
        hold: series.hold.as_ref(),
    };
    Row { labels: series.key.labels(), report: series.report.as_deref(), series: Some(facts), fan: series.fan }
}

fn own(state: &State, series: usize) -> Own {
    let active = state.active();
    let reload = state.last_reload();
    Own {
        reload_ok: reload.ok(),
        reload_at: Some(reload.succeeded_at),
        in_flight: active.engine.in_flight(),
        modules: active.engine.totals(),
        unknown_modules: state.unknown_modules(),
        refused: state.refused(),
        held: active.engine.held(),
        series,
        trust: active.engine.trust(),
    }
}
