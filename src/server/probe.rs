//! `/probe`: one target through one module, now; the answer is its metrics, or its debug report.

use super::{Active, State, params::Params, reply, timeout};
use crate::engine::{Limits, log_failure};
use crate::metrics::{Row, of_outcome, render, to_text};
use crate::model::{FanOut, IpProtocol, Job, Module, ModuleName, Outcome, ProbeReport, Site, SuccessWhen};
use crate::show;
use axum::extract::{self, RawQuery};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use std::sync::Arc;
use std::time::Duration;

/// The module of a request that names none.
const DEFAULT_MODULE: &str = "http_2xx";

/// Any method will do; only the query and the scrape's timeout are read. When the client goes, so does the probe.
pub(super) async fn probe(
    extract::State(state): extract::State<Arc<State>>,
    headers: HeaderMap,
    query: RawQuery,
) -> Response {
    let params = Params::read(&query);
    let order = match Order::read(&state, &headers, &params) {
        Ok(order) => order,
        Err((status, text)) => return reply::line(status, &text),
    };
    let limits = Limits { timeout: order.timeout, budget: order.timeout };
    let outcome = order.active.engine.carry_out(&order.job, order.fan.as_ref(), limits).await;
    for report in outcome.reports() {
        log_failure(report);
        state.board.remember(Arc::clone(report));
    }
    if params.get("debug") == Some("true") {
        return reply::text(debug_texts(&state, &outcome));
    }
    reply::exposition(&headers, of_outcome(&outcome))
}

/// The debug report of each edge, or the only one.
fn debug_texts(state: &State, outcome: &Outcome) -> String {
    match outcome {
        Outcome::One(report) => debug_text(state, report),
        Outcome::Fan(fan) => {
            let failed = fan.failed.iter().map(|report| debug_text(state, report));
            let heading = |edge: &str| format!("{} {edge}\n\n", fan.label);
            let edges = fan.edges.iter().map(|(edge, report)| heading(edge) + &debug_text(state, report) + "\n");
            failed.chain(edges).collect()
        }
    }
}

/// The debug report of a probe, as `/probe?debug=true` and `/logs` serve it.
pub(super) fn debug_text(state: &State, report: &ProbeReport) -> String {
    let metrics = to_text(&exposition_of(report));
    show::debug(report, &metrics, state.options.log_format, state.options.prober_level)
}

fn exposition_of(report: &ProbeReport) -> String {
    render(&[Row { report: Some(report), ..Row::default() }], None)
}

/// A request that can be carried out.
struct Order {
    active: Arc<Active>,
    job: Job,
    fan: Option<FanOut>,
    timeout: Duration,
}

impl Order {
    /// Checks in `blackbox_exporter`'s order: module, timeout, target, hostname; then what the request says of the site.
    fn read(state: &State, headers: &HeaderMap, params: &Params) -> Result<Self, (StatusCode, String)> {
        let bad = |text: String| (StatusCode::BAD_REQUEST, text);
        let active = state.active();
        let name = params.get("module").unwrap_or(DEFAULT_MODULE);
        let Some(module) = active.engine.module(name) else {
            state.count_unknown_module();
            return Err(bad(format!("Unknown module {name:?}")));
        };
        let timeout = scrape_timeout(headers).and_then(|header| {
            let offset = state.options.timeout_offset;
            timeout::limit(module.timeout, header, offset)
        });
        let timeout = timeout.map_err(|why| {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("Failed to parse timeout from Prometheus header: {why}"))
        })?;
        let target = params.get("target").ok_or_else(|| bad("Target parameter is missing".into()))?;
        let hostname = params.get("hostname");
        if let Some((configured, asked)) = module.prober.host_header().zip(hostname)
            && configured != asked
        {
            return Err(bad(format!(
                "host header defined both in module configuration ({configured}) and with URL-parameter 'hostname' \
                 ({asked})"
            )));
        }
        let mut site = Site::default();
        for key in Site::KEYS {
            let said = params.get(key).map_or(Ok(()), |text| site.set(key, text));
            said.map_err(|why| bad(format!("Parameter {key:?}: {why}")))?;
        }
        let job = Job { site, ..Job::new(ModuleName::new(name), target) };
        let fan = fan(params, module).map_err(bad)?;
        Ok(Self { job, fan, timeout, active: Arc::clone(&active) })
    }
}

/// What the request fans out over: `addresses=all`, `connect_to` given several times, or a module for both families.
fn fan(params: &Params, module: &Module) -> Result<Option<FanOut>, String> {
    let wrong = |name: &str, why: String| format!("Parameter {name:?}: {why}");
    let listed: Result<_, String> = params.all("connect_to").map(str::parse).collect();
    let all = match params.get("addresses") {
        Some("all") => true,
        Some("one") | None => false,
        Some(other) => return Err(wrong("addresses", format!("`{other}` is neither one nor all"))),
    };
    let rule = params.get("success_when").unwrap_or(SuccessWhen::default().as_str());
    let unknown = || wrong("success_when", format!("`{rule}` is none of all, any and quorum"));
    let success_when = SuccessWhen::named(rule).ok_or_else(unknown)?;
    let listed = listed.map_err(|why| wrong("connect_to", why))?;
    FanOut::asked(listed, all, module.ip_protocol == IpProtocol::Both, success_when)
}

fn scrape_timeout(headers: &HeaderMap) -> Result<Option<&str>, String> {
    let not_text = |_| "it is not text".to_owned();
    headers.get(timeout::HEADER).map(HeaderValue::to_str).transpose().map_err(not_text)
}
