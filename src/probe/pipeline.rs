//! The straight line of a probe, stage by stage: route, resolve, connect, TLS, then HTTP, WebSocket or nothing.
//!
//! Each stage's facts go into the report at once; a redirect begins another hop by the same rules.

use super::{
    ReadyModule, dial,
    http::{self, body::BodyReader, expect, request::Session},
    route::{Names, Route},
    run::{Run, at_most, failure},
    scan::{self, Scan},
    starttls,
    tls::Attempt,
    wire::Wire,
    ws,
};
use crate::model::{
    Failure, Hop, HttpModule, Job, Phase, ProbeReport, Prober, Reason, Target, TargetError, TlsFacts, TlsModule,
    TlsScanModule, WebSocketFacts, WebSocketModule, mask_credentials,
};
use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

/// Redirects followed; blackbox's limit.
const MAX_REDIRECTS: usize = 10;
/// How long a server may take to answer our WebSocket close.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);
/// The failures of an exchange after which the WebSocket can still be closed in good order.
const LEAVES_INTACT: [Reason; 2] = [Reason::MessageMismatch, Reason::Closed];

/// Probes `job` once. Never fails: a failure is a part of the report. Dropping the future closes every socket.
pub(super) async fn probe(ready: &ReadyModule, job: &Job, timeout: Duration) -> ProbeReport {
    let mut run = Run::start(job.clone(), Arc::clone(&ready.module), timeout);
    let outcome = match target(job, &ready.module.prober) {
        Ok(target) => line(&mut run, ready, job, target).await,
        Err(error) => Err(Failure::new(Phase::Resolve, Reason::InvalidTarget, error.to_string())),
    };
    run.finish(outcome)
}

/// The report of a probe that never began.
pub(super) fn not_run(ready: &ReadyModule, job: &Job, failure: Failure, timeout: Duration) -> ProbeReport {
    Run::start(job.clone(), Arc::clone(&ready.module), timeout).finish(Err(failure))
}

fn target(job: &Job, prober: &Prober) -> Result<Target, TargetError> {
    let target = Target::parse(&job.target, prober.kind())?;
    Ok(match prober.starttls() {
        Some(protocol) => target.with_default_port(protocol.port()),
        None => target,
    })
}

async fn line(run: &mut Run, ready: &ReadyModule, job: &Job, target: Target) -> Result<(), Failure> {
    let prober = &ready.module.prober;
    let names = Names::of(job, &ready.module);
    let first = Route::first(target, &names);
    // Boxed: a series' task would otherwise hold room for the largest of them while it waits for its tick.
    match prober {
        Prober::Http(module) => Box::pin(follow_redirects(run, ready, module, (first, names))).await,
        Prober::WebSocket(module) => Box::pin(websocket(run, ready, module, first)).await,
        Prober::Tls(module) => Box::pin(handshake(run, ready, module, first)).await,
        Prober::TlsScan(module) => Box::pin(scan(run, ready, module, first)).await,
    }
}

// === the stages that every prober shares ===

/// A connection, encrypted and verified where the route wants it.
struct Connection {
    wire: Wire,
    tls: Option<Attempt>,
}

impl Connection {
    fn speaks_http2(&self) -> bool {
        self.tls.as_ref().is_some_and(Attempt::speaks_http2)
    }
}

/// Resolves, connects and, for an encrypted scheme, shakes hands, after STARTTLS where the module says so.
async fn open(run: &mut Run, ready: &ReadyModule, route: &mut Route) -> Result<Connection, Failure> {
    let mut wire = dial::find(run, ready, route).await?.open(run).await?;
    if !route.target.scheme().is_tls() {
        return Ok(Connection { wire, tls: None });
    }
    let attempt = ready.tls.attempt(&route.server_name).map_err(|_| unusable_name(route))?;
    if let Some(protocol) = ready.module.prober.starttls() {
        wire = run.phase(Phase::Tls, starttls::upgrade(wire, protocol, &route.server_name)).await?;
    }
    let outcome = run.phase(Phase::Tls, attempt.handshake(wire, run.deadline())).await;
    run.hop().tls = Some(attempt.facts());
    Ok(Connection { wire: outcome?, tls: Some(attempt) })
}

fn unusable_name(route: &Route) -> Failure {
    let words = format!("`{}` is not a name that TLS can ask for", route.server_name);
    Failure::new(Phase::Resolve, Reason::InvalidTarget, words)
}

/// A failure after the handshake may be the server's late word on the client certificate.
fn or_late_refusal(failed: Failure, tls: Option<&Attempt>) -> Failure {
    match tls.and_then(Attempt::late_refusal) {
        Some(refusal) => failure(Phase::Tls, &refusal),
        None => failed,
    }
}

// === http ===

async fn follow_redirects(
    run: &mut Run,
    ready: &ReadyModule,
    module: &HttpModule,
    (first, names): (Route, Names),
) -> Result<(), Failure> {
    let mut session = Session::new(module);
    let mut first = first;
    let mut route = first.clone();
    for hop in 0.. {
        begin(run, &route, &route.host_header);
        let connection = open(run, ready, &mut route).await?;
        if hop == 0 {
            first.known_address = route.known_address;
        }
        let answer = answer(run, &session, &route, connection).await?;
        session.follow(&route, answer.head.status, &answer.head.headers);
        let Some(location) = http::location(&answer.head).filter(|_| module.follow_redirects) else {
            return judge(run, module, &route, answer).await;
        };
        if hop == MAX_REDIRECTS {
            let words =
                format!("more than {MAX_REDIRECTS} redirects; the next one points to {}", mask_credentials(&location));
            return Err(Failure::new(Phase::Processing, Reason::RedirectLimit, words));
        }
        let next = route
            .target
            .join(&location)
            .map_err(|error| Failure::new(Phase::Processing, Reason::RedirectInvalid, error.to_string()))?;
        session.leave(&route.target, &next);
        route = route.redirect(next, &first, &names);
    }
    unreachable!("the loop ends at the redirect limit")
}

/// Sends the hop's request and takes the head of its response.
async fn answer(
    run: &mut Run,
    session: &Session<'_>,
    route: &Route,
    connection: Connection,
) -> Result<http::Exchange, Failure> {
    let http2 = connection.speaks_http2();
    let Connection { wire, tls } = connection;
    let exchange = async {
        let request = session.request(route, http2).await?;
        http::exchange(wire, http2, request).await
    };
    let outcome = run.phase(Phase::Processing, exchange).await;
    let exchange = outcome.map_err(|failed| or_late_refusal(failed, tls.as_ref()))?;
    run.hop().http = Some(http::facts(&exchange.head));
    Ok(exchange)
}

/// Reads the final response's body and judges everything. The first fault in blackbox's order is the failure; the facts of
/// what comes after it are gathered all the same.
async fn judge(run: &mut Run, module: &HttpModule, route: &Route, mut answer: http::Exchange) -> Result<(), Failure> {
    let head = expect::head(module, &answer.head);
    let keep = expect::looks_at_body(module);
    let mut reader = BodyReader::new(module.compression, module.body_size_limit, keep);
    let no_body = answer.head.status == 204 || answer.head.status == 304 || module.method == ::http::Method::HEAD;
    let read = if no_body { Ok(()) } else { run.phase(Phase::Transfer, answer.read_body(&mut reader)).await };
    if let Some(facts) = &mut run.hop().http {
        facts.body_length = reader.length();
    }
    head.and(read)
        .and_then(|()| expect::body(module, reader.bytes()))
        .and_then(|()| expect::connection(module, &answer.head, route.target.scheme().is_tls()))
}

// === websocket ===

async fn websocket(
    run: &mut Run,
    ready: &ReadyModule,
    module: &WebSocketModule,
    mut route: Route,
) -> Result<(), Failure> {
    begin(run, &route, &route.host_header);
    run.hop().websocket = Some(WebSocketFacts::default());
    let Connection { wire, tls } = open(run, ready, &mut route).await?;
    let mut upgrade = ws::Upgrade::default();
    let deadline = run.deadline();
    let outcome = run.phase(Phase::Processing, upgrade.run(wire, module, (&route, deadline))).await;
    run.hop().http = upgrade.head;
    run.hop().websocket = Some(WebSocketFacts { refusal: upgrade.refusal, ..WebSocketFacts::default() });
    let (mut socket, subprotocol) = outcome.map_err(|failed| or_late_refusal(failed, tls.as_ref()))?;
    let mut exchange = ws::script::Exchange::new(subprotocol);
    let outcome = converse(run, module, &mut exchange, &mut socket).await;
    if outcome.as_ref().err().is_none_or(|failed| LEAVES_INTACT.contains(&failed.reason)) {
        exchange.close(&mut socket, CLOSE_PATIENCE.min(run.remaining())).await;
    }
    run.hop().websocket = Some(exchange.facts);
    outcome
}

async fn converse(
    run: &mut Run,
    module: &WebSocketModule,
    exchange: &mut ws::script::Exchange,
    socket: &mut ws::Socket,
) -> Result<(), Failure> {
    if module.query_response.is_empty() && !module.ping && module.expect_close.is_none() {
        return Ok(());
    }
    let clock = run.clock();
    let outcome = run.phase(Phase::Transfer, exchange.run(socket, module, clock)).await;
    outcome.map_err(|failed| exchange.name_wait(failed))
}

// === tls ===

async fn handshake(run: &mut Run, ready: &ReadyModule, module: &TlsModule, mut route: Route) -> Result<(), Failure> {
    begin(run, &route, "");
    open(run, ready, &mut route).await?;
    expires_soon(run, module)
}

/// Whether the verified path, or an unverified leaf, ends within the module's limit.
fn expires_soon(run: &mut Run, module: &TlsModule) -> Result<(), Failure> {
    let now = run.started().duration_since(UNIX_EPOCH).unwrap_or_default();
    let limit = i64::try_from((now + module.fail_if_expires_within).as_secs()).unwrap_or(i64::MAX);
    let tls = run.hop().tls.as_ref();
    let path = tls.and_then(|tls| tls.verdict.as_ref()).and_then(|verdict| verdict.paths).map(|paths| paths.expiry);
    let end = path.or_else(|| tls.and_then(|tls| tls.chain.first()).map(|leaf| leaf.not_after));
    match end {
        Some(end) if !module.fail_if_expires_within.is_zero() && end < limit => {
            let days = (end - i64::try_from(now.as_secs()).unwrap_or(0)).div_euclid(86_400);
            let words = format!("the certificate path ends in {days} days");
            Err(Failure::new(Phase::Tls, Reason::CertExpiresSoon, words))
        }
        _ => Ok(()),
    }
}

// === tls_scan ===

/// Resolves and connects as any probe; then the scan makes its further connections itself, all timed as TLS.
async fn scan(run: &mut Run, ready: &ReadyModule, module: &TlsScanModule, mut route: Route) -> Result<(), Failure> {
    begin(run, &route, "");
    let sni = scan::sni(&route.server_name).map_err(|_| unusable_name(&route))?;
    let (server_name, sni_sent) = (route.server_name.clone(), sni.is_some());
    let way = dial::find(run, ready, &mut route).await?;
    let address = way.address();
    let turn = at_most(run.remaining(), scan::turn(address)).await;
    let _turn = turn.ok_or_else(|| {
        let words = format!("another scan of {address} was under way until the deadline");
        Failure::new(Phase::Connect, Reason::LocalLimit, words)
    })?;
    let mut wire = way.open(run).await?;
    if let Some(protocol) = module.starttls {
        wire = run.phase(Phase::Tls, starttls::upgrade(wire, protocol, &server_name)).await?;
    }
    let line = scan::Line::new((way, wire), run.clock(), run.remaining());
    let line = line.after(module.starttls.map(|protocol| (protocol, server_name.clone())));
    let mut scan = Scan::new(module, sni, line);
    let outcome = run.phase(Phase::Tls, scan.run()).await;
    let (facts, chain, ocsp_stapled) = scan.facts();
    let broken = scan::broken(module, &facts).join(", ");
    run.hop().scan = Some(Box::new(facts));
    run.hop().tls = Some(TlsFacts { server_name, sni_sent, chain: chain.into(), ocsp_stapled, ..TlsFacts::default() });
    outcome?;
    if broken.is_empty() { Ok(()) } else { Err(Failure::new(Phase::Tls, Reason::VersionPolicy, broken)) }
}

fn begin(run: &mut Run, route: &Route, host_header: &str) {
    run.begin_hop(Hop { url: route.target.to_string(), host_header: host_header.to_owned(), ..Hop::default() });
}
