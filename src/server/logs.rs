//! `/logs`: the debug report of a remembered probe or of a scheduled series, rendered when it is asked for.

use super::{State, params::Params, probe::debug_text, reply};
use crate::model::{CertificateChange, ProbeReport};
use crate::show;
use axum::extract::{self, RawQuery};
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;

/// By `id`, by `target` and `module`, or (ours) by the labels of a scheduled series: `job` and any others.
pub(super) async fn logs(extract::State(state): extract::State<Arc<State>>, query: RawQuery) -> Response {
    match find(&state, &Params::read(&query)) {
        Ok((report, change)) => {
            let change = change.as_ref().map(show::certificate_change).unwrap_or_default();
            reply::text(debug_text(&state, &report) + &change)
        }
        Err((status, text)) => reply::line(status, text),
    }
}

/// A report; with that of a series, the latest change of its certificate.
type Found = (Arc<ProbeReport>, Option<CertificateChange>);

fn find(state: &State, params: &Params) -> Result<Found, (StatusCode, &'static str)> {
    let bad = |text| (StatusCode::BAD_REQUEST, text);
    let gone = |text| (StatusCode::NOT_FOUND, text);
    if params.get("job").is_some() {
        return of_series(state, params).ok_or_else(|| gone("Series not found, or not probed yet"));
    }
    let id = params.get("id").and_then(|text| text.parse::<i64>().ok());
    let module = params.get("module");
    let alone = |report| (report, None);
    match (id, params.get("target")) {
        (Some(_), Some(_)) => Err(bad("Probe id and target can't be defined at the same time")),
        (None, None) => Err(bad("Probe id or target must be defined as http query parameters")),
        (Some(_), None) if module.is_some() => {
            Err(bad("Probe module filter only works in conjunction with target parameter"))
        }
        (Some(id), None) => {
            let found = u64::try_from(id).ok().and_then(|id| state.board.by_id(id));
            found.map(alone).ok_or_else(|| gone("Probe id not found"))
        }
        (None, Some(target)) => {
            let found = state.board.by_target(target, module);
            found.map(alone).ok_or_else(|| gone("Probe target not found"))
        }
    }
}

/// The latest report of the series all of whose labels the query names with their values: of an edge rather than of the
/// series that fans out, whose labels it has as well.
fn of_series(state: &State, params: &Params) -> Option<Found> {
    let rows = state.board.rows();
    let asked = |labels: &[(String, String)]| labels.iter().all(|(n, v)| params.get(n).unwrap_or_default() == v);
    let reported = rows.into_iter().filter(|row| row.report.is_some() && asked(row.key.labels()));
    let row = reported.max_by_key(|row| row.key.labels().len())?;
    Some((row.report?, row.certificate.last))
}
