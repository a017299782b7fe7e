//! The command line: blackbox's flags with their names and defaults, and our commands.

use crate::model::SuccessWhen;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Probes HTTPS, WSS and TLS endpoints for Prometheus and says why a probe failed.
#[derive(Debug, Parser)]
#[command(name = "edgeprobe", version, args_conflicts_with_subcommands = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Answer /probe and /metrics, and run the jobs of the config (this is also what runs without a command)
    Serve(ServeArgs),
    /// Probe one target and print what happened; the exit code is 0 only if the probe succeeded
    Probe(ProbeArgs),
    /// Read a config file and everything it names, and print every fault
    CheckConfig {
        /// The file
        file: PathBuf,
    },
    /// Start endpoints that misbehave on purpose, probe them, and show the result
    Demo(DemoArgs),
    /// Ask a running exporter whether it is healthy; the exit code is the answer
    Healthcheck {
        /// What to GET
        #[arg(long, default_value = "http://127.0.0.1:9115/-/healthy")]
        url: String,
    },
}

#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Validate the config and exit
    #[arg(long = "config.check", overrides_with = "no_check")]
    pub(super) check: bool,
    #[arg(long = "no-config.check", hide = true)]
    no_check: bool,
    /// Reload the config file when it changes
    #[arg(long = "config.enable-auto-reload", overrides_with = "no_auto_reload")]
    pub(super) auto_reload: bool,
    #[arg(long = "no-config.enable-auto-reload", hide = true)]
    no_auto_reload: bool,
    /// How often to look at the config file, in seconds
    #[arg(long = "config.auto-reload-interval", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) auto_reload_interval: u64,
    /// Seconds taken off the scrape timeout
    #[arg(long = "timeout-offset", default_value_t = 0.5, value_parser = seconds)]
    pub(super) timeout_offset: f64,
    /// Probes remembered for the status page; failed ones are remembered longer
    #[arg(long = "history.limit", default_value_t = 100)]
    pub(super) history_limit: u16,
    /// Probes that may run at once
    #[arg(long = "probe.max-in-flight", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_in_flight: u32,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
    #[command(flatten)]
    pub(super) web: WebArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Args, Debug)]
pub(super) struct ConfigArgs {
    /// The config file; without this flag edgeprobe.yml or blackbox.yml of the working directory, else the embedded default
    #[arg(long = "config.file")]
    pub(super) file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct TlsArgs {
    /// Write the secrets of every TLS handshake to the file that SSLKEYLOGFILE names, for Wireshark
    #[arg(long = "tls.allow-key-log")]
    pub(super) allow_key_log: bool,
}

#[derive(Args, Debug)]
pub(super) struct WebArgs {
    /// Addresses to listen on; may be given several times
    #[arg(long = "web.listen-address", default_value = ":9115", action = ArgAction::Append)]
    pub(super) listen: Vec<String>,
    /// Take the listening sockets from systemd instead
    #[arg(long = "web.systemd-socket", overrides_with = "no_systemd")]
    pub(super) systemd: bool,
    #[arg(long = "no-web.systemd-socket", hide = true)]
    no_systemd: bool,
    /// The URL under which the exporter is reached from outside, for links
    #[arg(long = "web.external-url", default_value = "")]
    pub(super) external_url: String,
    /// Prefix of every path; the path of the external URL by default
    #[arg(long = "web.route-prefix", default_value = "")]
    pub(super) route_prefix: String,
    /// TLS, users and headers of the exporter's own port: a file in exporter-toolkit's format
    #[arg(long = "web.config.file", value_name = "FILE", default_value = "")]
    pub(super) config_file: String,
    /// Seconds that running requests and probes get after SIGTERM
    #[arg(long = "web.shutdown-grace", default_value_t = 15.0, value_parser = seconds)]
    pub(super) shutdown_grace: f64,
}

#[derive(Args, Debug)]
pub(super) struct LogArgs {
    /// What the program says about itself
    #[arg(long = "log.level", value_enum, default_value_t = LogLevel::Info)]
    pub(super) level: LogLevel,
    /// How log lines are written
    #[arg(long = "log.format", value_enum, default_value_t = LogFormat::Logfmt)]
    pub(super) format: LogFormat,
    /// What is said about probes, in the log and in debug reports
    #[arg(long = "log.prober", value_enum, default_value_t = LogLevel::Info)]
    pub(super) prober: LogLevel,
}

#[derive(Args, Debug)]
pub(super) struct ProbeArgs {
    /// A URL, or a host with an optional port for a tls module
    pub(super) target: String,
    /// The module; by default one that suits the target
    #[arg(long)]
    pub(super) module: Option<String>,
    /// Host header and SNI, apart from the address in the target
    #[arg(long)]
    pub(super) hostname: Option<String>,
    /// Connect to this address instead of the target's own; SNI and Host stay the target's. May be given several times:
    /// each is probed
    #[arg(long, value_name = "ADDRESS[:PORT]", action = ArgAction::Append)]
    pub(super) connect_to: Vec<crate::model::ConnectTo>,
    /// Probe every address of the target's name
    #[arg(long)]
    pub(super) all_addresses: bool,
    /// How many of several addresses have to succeed: all, any or quorum
    #[arg(long, value_name = "RULE", default_value = "all", value_parser = rule)]
    pub(super) success_when: SuccessWhen,
    /// Send this name as SNI, and verify it unless --verify-name says another; `none` sends none
    #[arg(long, value_name = "NAME")]
    pub(super) sni: Option<crate::model::Sni>,
    /// Verify that the certificate is for this name or address
    #[arg(long, value_name = "NAME")]
    pub(super) verify_name: Option<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = ReportFormat::Human)]
    pub(super) format: ReportFormat,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
    /// What is logged beside the result
    #[arg(long = "log.level", value_enum, default_value_t = LogLevel::Error)]
    pub(super) level: LogLevel,
}

#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    /// Where the status page is served
    #[arg(long = "web.listen-address", default_value = "127.0.0.1:9115")]
    pub(super) listen: String,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum ReportFormat {
    Human,
    Prometheus,
    Json,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum LogFormat {
    Logfmt,
    Json,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    pub(super) fn as_tracing(self) -> tracing::Level {
        match self {
            Self::Debug => tracing::Level::DEBUG,
            Self::Info => tracing::Level::INFO,
            Self::Warn => tracing::Level::WARN,
            Self::Error => tracing::Level::ERROR,
        }
    }
}

fn rule(text: &str) -> Result<SuccessWhen, String> {
    SuccessWhen::named(text).ok_or_else(|| "write all, any or quorum".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    if seconds.is_finite() && seconds >= 0.0 { Ok(seconds) } else { Err("expected 0 or more seconds".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn blackbox_flags_work_with_and_without_a_command() {
        for line in [
            "edgeprobe --config.file=a.yml --web.listen-address=:1 --web.listen-address=:2 --no-config.enable-auto-reload",
            "edgeprobe serve --config.file a.yml --web.listen-address :1 --web.listen-address :2",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let serve = match cli.command {
                Some(Command::Serve(serve)) => serve,
                _ => cli.serve,
            };
            assert_eq!(serve.config.file, Some("a.yml".into()));
            assert_eq!(serve.web.listen, [":1", ":2"]);
            assert!(!serve.auto_reload);
            assert!((serve.timeout_offset - 0.5).abs() < f64::EPSILON);
        }
        assert!(Cli::try_parse_from(["edgeprobe", "--config.nope"]).is_err());
    }
}
