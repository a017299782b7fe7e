//! edgeprobe: probes HTTPS, WSS and TLS endpoints, says why a probe failed, and exposes everything to Prometheus.
//!
//! This page is the architecture. For how to run the program see `README.md`; for how to build, test and extend it,
//! `docs/development.md`.
//!
//! # In two minutes
//!
//! A config file names *modules* (how to probe) and *jobs* (what to probe on a schedule). A probe takes a module and a
//! target and gives a [`ProbeReport`](model::ProbeReport): every fact that was learned, and at most one
//! [`Failure`](model::Failure), which is a [`Phase`](model::Phase), a [`Reason`](model::Reason) and a cause in words. A
//! probe never returns an error: failing is one of its results. Metrics, pages and log lines are views of reports; none
//! of them is touched while a probe runs.
//!
//! # How one probe flows
//!
//! ```text
//! GET /probe      -> Job --+                              +--> metrics::render, one row -> the answer
//! a tick          -> Job --+--> Engine::run(job, limits) -+--> Board::put; later GET /metrics renders all rows
//! edgeprobe probe -> Job --+    a permit, then the probe, +--> show::human -> the terminal
//!                               again if a retry is due
//!                                        |
//!          probe/pipeline.rs: one deadline, each stage's facts stored at once
//!
//! route -> token -> resolve -> connect -> tls ------------> processing -----> transfer --------> judge -> ProbeReport
//!   ^      OAuth 2.0, first hop only       handshake, then   HTTP exchange     body, or WebSocket
//!   |                                      verdict and gate  or upgrade        messages and ping
//!   +-------------------------------------- a redirect: another hop --+
//! ```
//!
//! The handshake accepts any certificate, so that its facts are kept, and judges it beside: proof of the key, validity,
//! chain and name, each on its own. The gate after it lets nothing through to a server that failed a check, unless
//! the module says so. With a proxy, `probe/dial.rs` goes to it in place of connecting, mostly without resolving: its
//! lookup, connection, TLS and tunnel are the phase `proxy`. STARTTLS is spoken between connect and handshake; revocation
//! is looked into between the other checks and the gate. `tls_scan` leaves the line after connect: `probe/scan` makes its
//! own connections. `probe/guard.rs` looks at every address between resolve and connect.
//!
//! [`engine::Engine::carry_out`] runs a job over several addresses where it fans out: one lookup, then a probe for each
//! edge. A job that holds a WebSocket gets it from [`engine::Engine::open`]; the series' own task drives it from then on, so
//! that nothing runs that nobody waits for.
//!
//! # Layout, and who may import whom
//!
//! | module | job | imports |
//! | --- | --- | --- |
//! | [`model`] | plain data: target, module, job, phases, reasons, report. No I/O, no clock | nothing |
//! | [`config`] | YAML in, model out: as written (`raw`), then as meant (`lower`), all faults at once | model |
//! | `probe` (private) | one probe; the only folder that talks to targets | model |
//! | [`metrics`] | reports in, exposition out; the catalogue is the one table of metrics | model |
//! | [`board`] | the latest report and the totals of each scheduled series; history for people | model |
//! | [`show`] | reports for a person: waterfall, chain, scan, remedy, debug report, curl line | model |
//! | [`engine`] | modules made ready, a permit per probe, retries; replaced whole on reload | model, probe |
//! | [`schedule`] | ticks; asks the engine, tells the board | model, engine, board |
//! | [`server`] | our own HTTP: `/probe`, `/metrics`, the pages, reload | model, engine, board, metrics, show |
//! | [`lab`] | local endpoints that misbehave on purpose, for the demo and the tests | nothing |
//! | [`app`] | builds all from a config; reloads | model, config, engine, board, schedule, metrics, server, show |
//! | [`cli`] | arguments in, exit code out | app, config, engine, lab, model, server, show |
//! | `fuzzing` (fuzzing and tests only) | what the targets in `fuzz/` call | config, probe |
//!
//! `tests/it/architecture.rs` has the same table and fails when a file imports more.
//!
//! The larger folders inside:
//!
//! | folder | job |
//! | --- | --- |
//! | `probe/tls` | the handshake, its facts and its verdict; roots, client certificates, pins, key log |
//! | `probe/resolve` | names to addresses: the system's resolver or name servers of one's own, and what is remembered |
//! | `probe/proxy` | which proxy a target wants, and the way through it: CONNECT, SOCKS, requests in absolute form |
//! | `probe/revocation` | staples, OCSP, revocation lists, missing issuers, and the cache of what was fetched |
//! | `probe/starttls` | how each protocol is asked to switch to TLS |
//! | `probe/scan` | hellos byte by byte, what came back, and what that proves |
//! | `probe/oauth2` | the bearer token: at hand, or from its endpoint over a connection of its own |
//! | `probe/http`, `probe/ws` | one HTTP exchange, one WebSocket, over a wire that is open |
//! | `server/web` | the web config file: TLS, users, rate limit and headers of our own port |
//! | `config/lower` | from the config as written to the config as meant, one file per block |
//! | `model/{access,chain,fan,hold,oauth2,plan,proxy,resolver,revocation,scan,site,trust,web}.rs` | the facts and settings of these, as plain data |
//!
//! `model` is the waist: `config`, `probe`, `metrics`, `board` and `show` know it and not each other. `probe` does not
//! know that metrics exist; `metrics` does not know how a probe is done. Nobody imports `app` but `cli`, and nobody
//! `cli` but `main`.
//!
//! # Promises, and where each is kept
//!
//! 1. *Say why.* One phase and one reason from a closed list, the same words everywhere: [`model::Reason`], and each
//!    stage's error type, which names its reason by `match`.
//! 2. *Facts survive failure.* `probe/pipeline.rs` stores each stage's facts before it looks at the outcome;
//!    `probe/tls/witness.rs` records the chain whatever it is worth.
//! 3. *Address, SNI and Host are three things.* `probe/route.rs` decides them for every hop; no other file does.
//! 4. *One path.* [`engine::Engine::run`] is the only way to a probe, [`metrics::render`] the only way to metrics.
//! 5. *The deadline is law.* `probe/run.rs` has the only clock and the only cut-off; clippy forbids both elsewhere.
//!    Connections are driven inside the probe's own future, so dropping it closes the socket.
//! 6. *Nothing unbounded.* Each limit is a named constant beside what it bounds; `docs/operations.md` lists them.
//! 7. *Drop-in for `blackbox_exporter`.* The names in `metrics/catalogue`, the keys in `config/raw.rs`, the parameters
//!    in [`server`]; each deliberate difference is a row of `docs/blackbox.md`.
//! 8. *An unverified peer gets nothing.* `Attempt::admit` in `probe/tls/mod.rs`: no stream comes out of a handshake
//!    whose verdict is bad, so nothing can be sent on it. Where a client certificate is at hand, `witness.rs` stops the
//!    handshake before it is sent.
//!
//! # Where to start reading
//!
//! 1. `src/model/report.rs`: what a probe can find out.
//! 2. `src/probe/pipeline.rs`: the straight line from target to report.
//! 3. `src/metrics/catalogue/mod.rs`: how a report becomes metrics.
//!
//! # Where this differs from the first design
//!
//! [`show`] is a module of its own: the terminal, `/probe?debug=true` and `/logs` say the same, so neither [`server`]
//! nor [`cli`] owns it. What the design has and the code has not is refused by [`config`] with "not supported yet"; the
//! list is in `docs/configuration.md`.
//!
//! Name servers of one's own are asked by `probe/resolve` with hickory's messages, not by its resolver, which does not tell
//! refusals, failures and silence apart for each server.

pub mod app;
pub mod board;
pub mod cli;
pub mod config;
pub mod engine;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod lab;
pub mod metrics;
pub mod model;
mod probe;
pub mod schedule;
pub mod server;
pub mod show;
