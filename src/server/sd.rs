//! `/sd/healthy`: the endpoints of a job whose latest probes all succeeded, as Prometheus' HTTP service discovery has
//! them, for load balancers and scripts that must drop bad ones.

use super::{State, params::Params, reply};
use crate::board::SeriesRow;
use axum::extract::{self, RawQuery};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Labels of what is discovered begin so: Prometheus drops them after relabelling.
const PREFIX: &str = "__meta_edgeprobe_";

/// By `job`, and by `module` where only its verdict counts.
pub(super) async fn healthy(extract::State(state): extract::State<Arc<State>>, query: RawQuery) -> Response {
    let params = Params::read(&query);
    let Some(job) = params.get("job") else {
        return reply::line(StatusCode::BAD_REQUEST, "Job parameter is missing");
    };
    let rows: Vec<SeriesRow> = state.board.rows().into_iter().filter(|row| row.key.get("job") == job).collect();
    if rows.is_empty() {
        return reply::line(StatusCode::NOT_FOUND, "Job not found");
    }
    let module = params.get("module");
    let rows = rows.iter().filter(|row| module.is_none_or(|name| row.key.get("module") == name));
    ([(header::CONTENT_TYPE, "application/json")], groups(rows).to_string()).into_response()
}

/// One group per endpoint all of whose rows are good: it has the labels of the first of them.
fn groups<'a>(rows: impl Iterator<Item = &'a SeriesRow>) -> Value {
    let mut endpoints: BTreeMap<(String, String), (bool, &SeriesRow)> = BTreeMap::new();
    for row in rows {
        let Some(report) = &row.report else { continue };
        let Some(peer) = report.hops.first().and_then(|hop| hop.peer) else { continue };
        let endpoint = (row.key.get("instance").to_owned(), peer.to_string());
        let entry = endpoints.entry(endpoint).or_insert((true, row));
        entry.0 &= report.is_success();
    }
    let good = endpoints.into_iter().filter(|(_, (good, _))| *good);
    good.map(|((_, target), (_, row))| json!({"targets": [target], "labels": labels(row)})).collect()
}

fn labels(row: &SeriesRow) -> Value {
    row.key.labels().iter().map(|(name, value)| (format!("{PREFIX}{name}"), Value::from(value.as_str()))).collect()
}
