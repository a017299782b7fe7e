//! `edgeprobe probe`: one target, probed now, printed for a person, for Prometheus or as JSON.

use super::{
    args::{LogFormat, ProbeArgs, ReportFormat},
    logs, print, source,
};
use crate::app;
use crate::engine::Engine;
use crate::model::{FanOut, IpProtocol, Job, ModuleName, Outcome, Site};
use crate::show;
use std::process::ExitCode;

/// Probes; succeeds when the probe does.
pub(super) async fn probe(args: ProbeArgs) -> Result<ExitCode, String> {
    logs::start(LogFormat::Logfmt, args.level, args.level);
    let source = source(args.config.file.as_deref());
    let outcome = app::probe_once(&source, args.tls.allow_key_log, |engine| job(&args, engine)).await?;
    match (args.format, &outcome) {
        (ReportFormat::Human, Outcome::One(report)) => print(&show::human(report))?,
        (ReportFormat::Human, Outcome::Fan(fan)) => print(&show::fan(fan))?,
        (ReportFormat::Prometheus, _) => print(&app::metrics_text(&outcome))?,
        (ReportFormat::Json, Outcome::One(report)) => print(&format!("{:#}\n", show::json(report)))?,
        (ReportFormat::Json, Outcome::Fan(fan)) => print(&format!("{:#}\n", show::fan_json(fan)))?,
    }
    Ok(if outcome.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn job(args: &ProbeArgs, engine: &Engine) -> Result<(Job, Option<FanOut>), String> {
    let wanted = args.module.as_deref().unwrap_or_else(|| usual_module(&args.target));
    let Some(module) = engine.module(wanted) else {
        let known: Vec<&str> = engine.modules().map(|module| module.name.as_str()).collect();
        return Err(format!("unknown module `{wanted}`; the config has {}", known.join(", ")));
    };
    let both = module.ip_protocol == IpProtocol::Both;
    let fan = FanOut::asked(args.connect_to.clone(), args.all_addresses, both, args.success_when)?;
    let mut site = Site { connect_to: args.connect_to.first().cloned(), sni: args.sni.clone(), ..Site::default() };
    for (key, text) in [("hostname", &args.hostname), ("verify_name", &args.verify_name)] {
        text.as_ref().map_or(Ok(()), |text| site.set(key, text))?;
    }
    Ok((Job { site, ..Job::new(ModuleName::clone(&module.name), args.target.as_str()) }, fan))
}

/// The embedded default's module for this kind of target.
fn usual_module(target: &str) -> &'static str {
    match target.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
        Some("ws" | "wss") => "wss_upgrade",
        Some("http") => "http_2xx",
        Some("https") => "https_2xx",
        _ => "cert_expiry",
    }
}
