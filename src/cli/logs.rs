//! Logs on standard error, as logfmt or JSON, in the manner of Prometheus' own programs.

use super::args::{LogFormat, LogLevel};
use serde_json::{Map, Value};
use std::{
    fmt::{self, Write as _},
    io,
    time::SystemTime,
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Starts logging: `level` for the program, `probes` for lines about probes.
pub(super) fn start(format: LogFormat, level: LogLevel, probes: LogLevel) {
    let (own, probe) = (level.as_tracing(), crate::engine::PROBE_LOG);
    // Libraries speak up from warnings on; their debug output is theirs.
    let filter = EnvFilter::new(format!("warn,edgeprobe={own},{probe}={}", probes.as_tracing()));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Fails only if a subscriber is set already, as in a test that calls this twice.
    let _ = match format {
        LogFormat::Json => builder.event_format(Lines { json: true }).try_init(),
        LogFormat::Logfmt => builder.event_format(Lines { json: false }).try_init(),
    };
}

/// One event, one line.
struct Lines {
    json: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level().as_str();
        let time = crate::show::rfc3339(SystemTime::now());
        let mut pairs = vec![("time", time.into()), ("level", level.into()), ("msg", fields.message.into())];
        pairs.extend(fields.others);
        if self.json {
            let object: Map<_, _> = pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            return writeln!(writer, "{}", Value::Object(object));
        }
        let mut line = String::new();
        for (name, value) in pairs {
            if !line.is_empty() {
                line.push(' ');
            }
            let _ = write!(line, "{name}=");
            match value {
                Value::String(text) => push_value(&mut line, &text),
                other => push_value(&mut line, &other.to_string()),
            }
        }
        writeln!(writer, "{line}")
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

/// A value as logfmt takes it: quoted where it could be misread.
fn push_value(line: &mut String, value: &str) {
    let plain = !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\'));
    if plain {
        line.push_str(value);
    } else {
        let _ = write!(line, "{value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_could_be_misread_are_quoted() {
        for (value, shown) in [
            ("https://a.example/?q", "https://a.example/?q"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("a=b", "\"a=b\""),
            ("line\nbreak \"x\"", r#""line\nbreak \"x\"""#),
        ] {
            let mut line = String::new();
            push_value(&mut line, value);
            assert_eq!(line, shown);
        }
    }
}
