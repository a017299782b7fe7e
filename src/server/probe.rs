//! `/probe`: one target through one module, now; the answer is its metrics, or its debug report.

use super::serve::Client;
use super::state::Refusal;
use super::{Active, State, params::Params, reply, timeout};
use crate::engine::{Limits, PROBE_LOG, log_failure};
use crate::metrics::{Row, of_outcome, render, to_text};
use crate::model::{
    ConnectTo, FanOut, IpProtocol, Job, Module, ModuleName, Outcome, Over, ProbeReport, ProberKind, Site, SuccessWhen,
    Target, TargetRule,
};
use crate::show;
use axum::Extension;
use axum::extract::{self, RawQuery};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The module of a request that names none.
const DEFAULT_MODULE: &str = "http_2xx";

/// Any method will do; only the query and the scrape's timeout are read. When the client goes, so does the probe.
pub(super) async fn probe(
    extract::State(state): extract::State<Arc<State>>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
    query: RawQuery,
) -> Response {
    let params = Params::read(&query);
    let order = match Order::read(&state, &headers, &params) {
        Ok(order) => order,
        Err((status, text)) => return reply::line(status, &text),
    };
    let _places = match places(&state, &order, client.and_then(|Extension(Client(from))| from)) {
        Ok(places) => places,
        Err(refusal) => return *refusal,
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

/// A place among the client's probes and one among the destination's, or the answer to who asks for too much.
fn places(state: &State, order: &Order, from: Option<IpAddr>) -> Result<impl Sized, Box<Response>> {
    let Ok(target) = Target::parse(&order.job.target, order.kind) else { return Ok(None) };
    let dialled = order.job.site.connect_to.clone();
    let host = dialled.as_ref().map_or_else(|| target.host().clone(), |to| to.host.clone());
    let port = dialled.and_then(|to| to.port).unwrap_or_else(|| target.port());
    state.admit(from, (host, port)).map(Some).map_err(|(why, wait)| {
        state.count_refusal(why);
        let whose = if why == Refusal::Client { "this client" } else { "this destination" };
        let text = format!("Too many probes for {whose}; see `access` in the config");
        let mut response = reply::line(StatusCode::TOO_MANY_REQUESTS, &text);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        Box::new(response)
    })
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
    kind: ProberKind,
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
        let kind = module.prober.kind();
        let within = active.access.allowed_targets.clone();
        if let Some(rules) = within.as_ref().filter(|rules| !is_allowed(rules, &job, (fan.as_ref(), kind))) {
            state.count_refusal(Refusal::NotAllowed);
            tracing::debug!(target: PROBE_LOG, module = %job.module, target = %job.shown_target(), "probe not allowed");
            return Err((StatusCode::FORBIDDEN, not_allowed(rules)));
        }
        let job = Job { within, ..job };
        Ok(Self { job, fan, kind, timeout, active: Arc::clone(&active) })
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

/// Whether a rule admits all that a request names. What is no target is left to the probe to say.
fn is_allowed(rules: &[TargetRule], job: &Job, (fan, kind): (Option<&FanOut>, ProberKind)) -> bool {
    let Ok(target) = Target::parse(&job.target, kind) else { return true };
    let edges: &[ConnectTo] = match fan {
        Some(FanOut { over: Over::Listed(edges), .. }) => edges,
        _ => &[],
    };
    rules.iter().any(|rule| rule.admits_request(&job.module, (&target, &job.site), edges))
}

fn not_allowed(rules: &[TargetRule]) -> String {
    format!(
        "The target is not among the allowed ones: none of the {} rules of `access.allowed_targets` admits it",
        rules.len()
    )
}

fn scrape_timeout(headers: &HeaderMap) -> Result<Option<&str>, String> {
    let not_text = |_| "it is not text".to_owned();
    headers.get(timeout::HEADER).map(HeaderValue::to_str).transpose().map_err(not_text)
}
