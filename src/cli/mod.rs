//! The command line: arguments in, an exit code out.

mod args;
mod healthcheck;
mod listen;
mod logs;
mod once;

use crate::app::{self, Settings, Source};
use crate::config;
use crate::engine::EngineOptions;
use crate::lab::Lab;
use crate::server::{ExternalUrl, Options, Prefix};
use crate::show::LogFormat;
use args::{Cli, Command, DemoArgs, LogArgs, ServeArgs};
use clap::Parser;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// Files that are used when they are in the working directory and none is named.
const USUAL_FILES: [&str; 2] = ["edgeprobe.yml", "blackbox.yml"];
/// What the demo's probes and requests get after SIGTERM.
const DEMO_GRACE: Duration = Duration::from_secs(3);

/// Runs the program: 0 is success, 1 a failure that was printed, 2 a wrong command line.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => serve(cli.serve).await,
        Some(Command::Serve(args)) => serve(args).await,
        Some(Command::Probe(args)) => once::probe(args).await,
        Some(Command::CheckConfig { file }) => check(&Source::File(file), None),
        Some(Command::Demo(args)) => demo(args).await,
        Some(Command::Healthcheck { url }) => healthcheck::ask(&url).await,
    };
    match outcome {
        Ok(code) => code,
        Err(message) => {
            // Nothing is left to tell it to if standard error is closed.
            let _ = writeln!(io::stderr(), "edgeprobe: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: ServeArgs) -> Result<ExitCode, String> {
    let source = source(args.config.file.as_deref());
    let web_config = Some(args.web.config_file.as_str()).filter(|file| !file.is_empty()).map(PathBuf::from);
    if args.check {
        return check(&source, web_config.as_deref());
    }
    let options = options(&args)?;
    start_logs(&args.log);
    let listeners = if args.web.systemd { listen::from_systemd()? } else { listen::bind(&args.web.listen).await? };
    for listener in &listeners {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, "listening");
        }
    }
    let settings = Settings {
        source,
        options,
        web_config,
        engine: EngineOptions { max_in_flight: args.max_in_flight as usize, key_log: args.tls.allow_key_log },
        history_limit: args.history_limit.into(),
        auto_reload: args.auto_reload.then(|| Duration::from_secs(args.auto_reload_interval)),
        grace: Duration::try_from_secs_f64(args.web.shutdown_grace)
            .map_err(|e| format!("--web.shutdown-grace: {e}"))?,
    };
    run_app(settings, listeners).await
}

async fn demo(args: DemoArgs) -> Result<ExitCode, String> {
    start_logs(&args.log);
    let listeners = listen::bind(std::slice::from_ref(&args.listen)).await?;
    let lab = Lab::start().await.map_err(|error| format!("cannot start the demo's endpoints: {error}"))?;
    let address = listeners.first().and_then(|l| l.local_addr().ok()).ok_or("no address to listen on")?;
    print(&format!(
        "{} endpoints are up and being probed. Open the status page:\n\n    http://{address}/\n\nStop with Ctrl-C.\n",
        lab.endpoints().len()
    ))?;
    let settings = Settings {
        source: Source::Text { name: "the demo's config".into(), text: lab.demo_config() },
        options: Options {
            log_format: args.log.format.into(),
            prober_level: args.log.prober.as_tracing(),
            ..Options::default()
        },
        web_config: None,
        engine: EngineOptions { max_in_flight: 200, key_log: false },
        history_limit: 100,
        auto_reload: None,
        grace: DEMO_GRACE,
    };
    run_app(settings, listeners).await
}

async fn run_app(settings: Settings, listeners: Vec<TcpListener>) -> Result<ExitCode, String> {
    let stopped = stopped().map_err(|error| format!("signals cannot be heard: {error}"))?;
    app::run(settings, listeners, stopped).await.map_err(|errors| errors.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn check(source: &Source, web_config: Option<&Path>) -> Result<ExitCode, String> {
    let faults = [app::check(source).err(), web_config.and_then(|file| app::check_web(file).err())];
    let faults: Vec<String> = faults.iter().flatten().map(ToString::to_string).collect();
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    print("the config is valid\n")?;
    Ok(ExitCode::SUCCESS)
}

/// The config that a command line means.
fn source(file: Option<&Path>) -> Source {
    let usual = || USUAL_FILES.iter().map(Path::new).find(|path| path.is_file());
    match file.or_else(usual).map(Path::to_owned) {
        Some(path) => Source::File(path),
        None => Source::Text { name: "the embedded default config".into(), text: config::DEFAULT.to_owned() },
    }
}

fn options(args: &ServeArgs) -> Result<Options, String> {
    let external = &args.web.external_url;
    let external_url = match external.as_str() {
        "" => None,
        text => Some(ExternalUrl::parse(text).map_err(|error| format!("--web.external-url: {error}"))?),
    };
    let prefix = match (args.web.route_prefix.as_str(), &external_url) {
        ("", Some(url)) => url.prefix().map_err(|error| format!("--web.external-url: {error}"))?,
        (text, _) => Prefix::parse(text).map_err(|error| format!("--web.route-prefix: {error}"))?,
    };
    Ok(Options {
        prefix,
        external_url,
        timeout_offset: args.timeout_offset,
        log_format: args.log.format.into(),
        prober_level: args.log.prober.as_tracing(),
    })
}

fn start_logs(args: &LogArgs) {
    logs::start(args.format, args.level, args.prober);
}

impl From<args::LogFormat> for LogFormat {
    fn from(format: args::LogFormat) -> Self {
        match format {
            args::LogFormat::Logfmt => Self::Logfmt,
            args::LogFormat::Json => Self::Json,
        }
    }
}

/// Ends at SIGTERM or SIGINT, which are heard from the call on.
fn stopped() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Prints to standard output; a closed pipe is an error, not a panic.
fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| format!("cannot print: {error}"))
}
