//! `/probe`: one target through one module, now; the answer is its metrics, or its debug report.

use super::{Active, State, params::Params, reply, timeout};
use crate::engine::{Limits, MAX_EDGES, log_failure};
use crate::metrics::{Row, render, to_text};
use crate::model::{
    ConnectTo, FanOut, FanReport, IpProtocol, Job, Module, ModuleName, Over, ProbeReport, Site, SuccessWhen,
};
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
    let found = order.carry_out(limits).await;
    for report in found.reports() {
        log_failure(report);
        state.board.remember(Arc::clone(report));
    }
    if params.get("debug") == Some("true") {
        return reply::text(found.debug_text(&state));
    }
    reply::exposition(&headers, found.exposition())
}

/// What came of a request: one report, or one per edge.
enum Found {
    One(Arc<ProbeReport>),
    Fan(FanReport),
}

impl Found {
    fn reports(&self) -> Vec<&Arc<ProbeReport>> {
        match self {
            Self::One(report) => vec![report],
            Self::Fan(fan) => fan.reports().collect(),
        }
    }

    fn debug_text(&self, state: &State) -> String {
        match self {
            Self::One(report) => debug_text(state, report),
            Self::Fan(fan) => {
                let label = fan.label;
                let failed = fan.failed.iter().map(|report| debug_text(state, report));
                let edges = fan.edges.iter();
                let edges = edges.map(|(edge, report)| format!("{label} {edge}\n\n{}\n", debug_text(state, report)));
                failed.chain(edges).collect()
            }
        }
    }

    fn exposition(&self) -> String {
        match self {
            Self::One(report) => exposition_of(report),
            Self::Fan(fan) => show_fan(fan),
        }
    }
}

/// One answer for all edges: each sample with its edge, then the roll-ups without.
fn show_fan(fan: &FanReport) -> String {
    let labels: Vec<[(String, String); 1]> =
        fan.edges.iter().map(|(edge, _)| [(fan.label.to_owned(), edge.clone())]).collect();
    let edges = fan.edges.iter().zip(&labels);
    let edges = edges.map(|((_, report), labels)| Row { labels, report: Some(report), ..Row::default() });
    let whole = Row { report: fan.failed.as_deref(), fan: Some(fan.facts()), ..Row::default() };
    render(&edges.chain([whole]).collect::<Vec<_>>(), None)
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

    async fn carry_out(&self, limits: Limits) -> Found {
        let engine = &self.active.engine;
        match &self.fan {
            None => Found::One(Arc::new(engine.run(&self.job, limits).await)),
            Some(fan) => Found::Fan(engine.fan_out(&self.job, fan, limits).await),
        }
    }
}

/// What the request fans out over: `addresses=all`, `connect_to` given several times, or a module for both families.
fn fan(params: &Params, module: &Module) -> Result<Option<FanOut>, String> {
    let mut listed: Vec<ConnectTo> = Vec::new();
    for text in params.all("connect_to") {
        let edge = text.parse().map_err(|why| format!("Parameter \"connect_to\": {why}"))?;
        if !listed.contains(&edge) {
            listed.push(edge);
        }
    }
    if listed.len() > MAX_EDGES {
        return Err(format!("Parameter \"connect_to\": more than {MAX_EDGES} edges"));
    }
    let over = match params.get("addresses") {
        Some("all") if !listed.is_empty() => return Err("addresses=all and connect_to exclude each other".into()),
        Some("all") => Some(Over::Addresses),
        Some("one") | None if listed.len() > 1 => Some(Over::Listed(listed.into())),
        Some("one") | None => (module.ip_protocol == IpProtocol::Both).then_some(Over::Families),
        Some(other) => return Err(format!("Parameter \"addresses\": `{other}` is neither one nor all")),
    };
    let rule = params.get("success_when").unwrap_or(SuccessWhen::default().as_str());
    let unknown = || format!("Parameter \"success_when\": `{rule}` is none of all, any and quorum");
    let success_when = SuccessWhen::named(rule).ok_or_else(unknown)?;
    Ok(over.map(|over| FanOut { over, success_when }))
}

fn scrape_timeout(headers: &HeaderMap) -> Result<Option<&str>, String> {
    let not_text = |_| "it is not text".to_owned();
    headers.get(timeout::HEADER).map(HeaderValue::to_str).transpose().map_err(not_text)
}
