//! The status page: every scheduled series with its state, failing first, and the remembered probes, newest first.
//!
//! Plain HTML made here, no script. All links are relative, so that any prefix works.

use super::State;
use crate::board::SeriesRow;
use crate::model::{CertificateChange, Failure, FanFacts, Module, ModuleName, ProbeReport, TrustFacts};
use crate::show;
use axum::extract;
use axum::http::header;
use axum::response::{Html, IntoResponse as _, Response};
use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

/// More series than this are counted, not listed.
const ROWS_SHOWN: usize = 1000;
/// More modules than this that trust one store are counted, not listed.
const USERS_SHOWN: usize = 10;
const STYLE: &str = "\
:root{color-scheme:light dark}
body{font:14px/1.4 system-ui,sans-serif;margin:1.5rem auto;max-width:90rem;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}
caption{text-align:left;font-size:1.15rem;font-weight:600;padding:.5rem 0}
th,td{text-align:left;padding:.3rem .5rem;border-bottom:1px solid #8885;vertical-align:top}
td:nth-child(-n+2){overflow-wrap:anywhere;min-width:17rem}
td:nth-child(n+3){white-space:nowrap}
.ok{color:light-dark(#176b2c,#6fd58a)}
.bad{color:light-dark(#b3261e,#ff9d94);font-weight:600}
.dim{opacity:.75}
input,select,button{font:inherit;padding:.2rem .4rem}";

/// Nothing may run or load here but the style above, which its hash names.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
});

/// `/`.
pub(super) async fn status(extract::State(state): extract::State<Arc<State>>) -> Response {
    let html = page(&state, SystemTime::now());
    let head = [(header::CONTENT_SECURITY_POLICY, POLICY.as_str()), (header::REFERRER_POLICY, "no-referrer")];
    (head, Html(html)).into_response()
}

fn page(state: &State, now: SystemTime) -> String {
    let mut rows = state.board.rows();
    rows.sort_by_key(rank); // stable: the keys' order stays within a rank
    let active = state.active();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>edgeprobe</title><style>{STYLE}</style></head>\n\
         <body><main><h1>edgeprobe</h1>\n<p>{}</p>\n{}{}{}{}\
         <p><a href=\"metrics\">Metrics</a> · <a href=\"config\">Configuration</a> · \
         <a href=\"-/healthy\">Health</a> · <a href=\"-/ready\">Readiness</a></p>\n</main></body></html>\n",
        summary(&rows),
        form(active.engine.modules()),
        series_table(&rows, now),
        history_table(state),
        trust_table(&active.engine.trust(), now),
    )
}

/// Failing series first, then those without a result, then the good ones.
fn rank(row: &SeriesRow) -> u8 {
    match (&row.report, &row.fan) {
        (Some(report), _) if !report.is_success() => 0,
        (None, Some(fan)) if !fan.success => 0,
        (None, None) => 1,
        _ => 2,
    }
}

fn summary(rows: &[SeriesRow]) -> String {
    let count = |wanted| rows.iter().filter(|row| rank(row) == wanted).count();
    format!("{} scheduled series: {} failing, {} not yet probed.", rows.len(), count(0), count(1))
}

fn form<'a>(modules: impl Iterator<Item = &'a Arc<Module>>) -> String {
    let mut names: Vec<&str> = modules.map(|module| module.name.as_str()).collect();
    names.sort_unstable();
    let options = names.iter().map(|name| format!("<option>{}</option>", Escaped(name))).collect::<Vec<_>>().concat();
    format!(
        "<form action=\"probe\"><label for=\"target\">Probe</label> \
         <input id=\"target\" name=\"target\" size=\"40\" required placeholder=\"https://example.com/\"> \
         <label for=\"module\">with</label> <select id=\"module\" name=\"module\">{options}</select> \
         <input type=\"hidden\" name=\"debug\" value=\"true\"><button>Go</button></form>\n"
    )
}

fn series_table(rows: &[SeriesRow], now: SystemTime) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let body: String = rows.iter().take(ROWS_SHOWN).map(|row| series_row(row, now)).collect();
    let note = if rows.len() > ROWS_SHOWN {
        format!("<p>Only the first {ROWS_SHOWN} of {} series are listed; /metrics has all.</p>\n", rows.len())
    } else {
        String::new()
    };
    table(
        "Scheduled series",
        "State|Target|Job, module|Last run|Took|TLS|Certificate|Details",
        &(body + "</table>\n" + &note),
    )
}

fn series_row(row: &SeriesRow, now: SystemTime) -> String {
    let age = row.last_run.map_or("never".into(), |at| age(now.duration_since(at).unwrap_or_default()));
    let report = row.report.as_deref();
    let took = report.map_or(String::new(), |report| seconds(report.elapsed));
    let version = report.and_then(|r| r.tls()?.version).map_or(String::new(), |version| version.to_string());
    let days = report.and_then(|report| certificate_end(report, now)).unwrap_or_default();
    let replaced = row.certificate.last.as_ref().map(|change| replaced(change, now)).unwrap_or_default();
    let logs = report.map_or(String::new(), |_| format!("<a href=\"logs?{}\">logs</a>", Escaped(&query_of(row))));
    format!(
        "<tr><td>{}</td><td>{}{}</td><td>{}<br><span class=\"dim\">{}</span></td><td>{age}</td><td>{took}</td>\
         <td>{version}</td><td>{days}{replaced}</td><td>{logs}</td></tr>\n",
        match (report, &row.fan) {
            (Some(report), _) => state_cell(report),
            (None, Some(fan)) => edges_cell(fan),
            (None, None) => "<span class=\"dim\">not yet probed</span>".into(),
        },
        Escaped(row.key.get("instance")),
        further_labels(row),
        Escaped(row.key.get("job")),
        Escaped(row.key.get("module")),
    )
}

/// The state of a series that fans out: its edges follow, each in a row of its own.
fn edges_cell(fan: &FanFacts) -> String {
    let class = if fan.success { "ok" } else { "bad" };
    let different = match fan.certificates {
        0..=1 => String::new(),
        many => format!("<br><span class=\"dim\">{many} different certificates</span>"),
    };
    format!("<span class=\"{class}\">{} of {} edges ok</span>{different}", fan.edges - fan.failing, fan.edges)
}

/// State in words: phase and reason, the attempts when there were several, and the cause.
fn state_cell(report: &ProbeReport) -> String {
    let attempts = if report.attempts > 1 { format!(" ({} attempts)", report.attempts) } else { String::new() };
    match &report.failure {
        None => format!("<span class=\"ok\">ok</span>{attempts}"),
        Some(Failure { phase, reason, cause }) => {
            format!(
                "<span class=\"bad\">failed {phase}: {reason}</span>{attempts}<br><span class=\"dim\">{}</span>",
                Escaped(cause)
            )
        }
    }
}

/// The edge, and the user's own labels, on a line of their own.
fn further_labels(row: &SeriesRow) -> String {
    let further = row.key.labels().iter().filter(|(name, _)| !matches!(name.as_str(), "job" | "instance" | "module"));
    let shown: Vec<String> = further
        .map(|(name, value)| format!("<span class=\"dim\">{}={}</span>", Escaped(name), Escaped(value)))
        .collect();
    if shown.is_empty() { String::new() } else { format!("<br>{}", shown.join(" ")) }
}

/// Days until the first presented certificate ends, with the date.
fn certificate_end(report: &ProbeReport, now: SystemTime) -> Option<String> {
    let readable = report.tls()?.chain.iter().filter(|certificate| !certificate.unreadable);
    let end = readable.map(|certificate| certificate.not_after).min()?;
    let date = show::utc(end);
    let left = show::days_left(end, show::unix_seconds(now));
    let words = if left < 0 { format!("expired {}", age(expired_for(end, now))) } else { format!("{left} d") };
    Some(format!("<span title=\"{date}\">{words}</span><br><span class=\"dim\">{}</span>", &date[..10]))
}

fn expired_for(end: i64, now: SystemTime) -> Duration {
    Duration::from_secs(show::unix_seconds(now).saturating_sub(end).try_into().unwrap_or(0))
}

/// That the leaf certificate took the place of another, with its fingerprint.
fn replaced(change: &CertificateChange, now: SystemTime) -> String {
    let since = age(now.duration_since(change.at).unwrap_or_default());
    format!(" <span class=\"dim\" title=\"before: SHA-256 {}\">replaced {since}</span>", Escaped(&change.previous))
}

/// The query that leads `/logs` to exactly this series.
fn query_of(row: &SeriesRow) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(row.key.labels()).finish()
}

fn history_table(state: &State) -> String {
    let remembered = state.board.history();
    let body: String = remembered.iter().rev().map(|(id, report)| history_row(*id, report)).collect();
    let body = if body.is_empty() { "<tr><td colspan=\"6\">none yet</td></tr>\n".into() } else { body };
    table("Recent probes on demand", "State|Target|Module|When|Took|Details", &(body + "</table>\n"))
}

fn history_row(id: u64, report: &ProbeReport) -> String {
    format!(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td><a href=\"logs?id={id}\">logs</a></td></tr>\n",
        state_cell(report),
        Escaped(&report.job.shown_target()),
        Escaped(report.module.name.as_str()),
        show::utc(show::unix_seconds(report.started)),
        seconds(report.elapsed),
    )
}

/// The trust stores in use: a person sees at a glance whom the probes believe.
fn trust_table(stores: &[TrustFacts], now: SystemTime) -> String {
    let date = |end: i64| show::utc(end)[..10].to_owned();
    let row = |store: &TrustFacts| {
        let (first, last) = store.ends.map_or(("not known".into(), "not known".into()), |(a, b)| (date(a), date(b)));
        let modules: Vec<&str> = store.modules.iter().take(USERS_SHOWN).map(ModuleName::as_str).collect();
        let more = store.modules.len() - modules.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(
            "<tr><td>{}</td><td>{}</td><td>{first}</td><td>{last}</td><td>{}</td><td>{}{more}</td></tr>\n",
            Escaped(&store.store),
            store.certificates,
            age(now.duration_since(store.loaded).unwrap_or_default()),
            Escaped(&modules.join(", ")),
        )
    };
    let body: String = stores.iter().map(row).collect();
    let columns = "Store|Roots|First root ends|Last root ends|Loaded|Used by";
    if body.is_empty() { body } else { table("Trust", columns, &(body + "</table>\n")) }
}

/// The beginning of a table, then `rest`, which closes it.
fn table(caption: &str, columns: &str, rest: &str) -> String {
    let heads =
        columns.split('|').map(|column| format!("<th scope=\"col\">{column}</th>")).collect::<Vec<_>>().concat();
    format!("<table><caption>{caption}</caption>\n<tr>{heads}</tr>\n{rest}")
}

fn seconds(took: Duration) -> String {
    format!("{:.3} s", took.as_secs_f64())
}

fn age(since: Duration) -> String {
    match since.as_secs() {
        s @ 0..120 => format!("{s} s ago"),
        s @ 120..7_200 => format!("{} min ago", s / 60),
        s @ 7_200..172_800 => format!("{} h ago", s / 3_600),
        s => format!("{} d ago", s / 86_400),
    }
}

/// Text that cannot become markup, in elements and in quoted attributes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in show::visible(self.0).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_control_characters_are_escaped() {
        assert_eq!(Escaped("<a href='x'>&\"\x1b").to_string(), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\\u001b");
    }

    #[test]
    fn ages_are_short() {
        for (seconds, expected) in
            [(0, "0 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7_200, "2 h ago"), (172_800, "2 d ago")]
        {
            assert_eq!(age(Duration::from_secs(seconds)), expected);
        }
    }
}
