//! The straight line of a probe, stage by stage: route, token, resolve, connect, TLS, then HTTP, WebSocket or nothing.
//!
//! Each stage's facts go into the report at once; a redirect begins another hop by the same rules.

use super::{
    ReadyModule, dial,
    http::{self, body::BodyReader, expect, request::Session},
    oauth2::Bearer,
    proxy::{self, Errand},
    route::{Names, Route},
    run::{Run, at_most, failure},
    scan::{self, Scan},
    starttls,
    tls::Attempt,
    wire::Wire,
    ws::{self, held::Held},
};
use crate::model::{
    Failure, Hop, Host, HttpModule, Job, Lookup, Phase, ProbeReport, Prober, Reason, Target, TargetError, TlsFacts,
    TlsModule, TlsScanModule, WebSocketFacts, WebSocketModule, mask_credentials,
};
use std::{
    pin::Pin,
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

/// Probes `job` once and keeps the WebSocket that it opened, if all went well.
pub(super) async fn open_held(ready: &ReadyModule, job: &Job, timeout: Duration) -> (ProbeReport, Option<Held>) {
    let mut run = Run::start(job.clone(), Arc::clone(&ready.module), timeout);
    run.keep_socket();
    let outcome = match target(job, &ready.module.prober) {
        Ok(target) => line(&mut run, ready, job, target).await,
        Err(error) => Err(Failure::new(Phase::Resolve, Reason::InvalidTarget, error.to_string())),
    };
    let socket = run.kept();
    let report = run.finish(outcome);
    let held = socket.filter(|_| report.is_success()).and_then(|socket| Held::new(socket, &report));
    (report, held)
}

/// The report of a probe that never began.
pub(super) fn not_run(ready: &ReadyModule, job: &Job, failure: Failure, timeout: Duration) -> ProbeReport {
    Run::start(job.clone(), Arc::clone(&ready.module), timeout).finish(Err(failure))
}

/// Whom the first hop of `job` connects to.
pub(super) fn destination(ready: &ReadyModule, job: &Job) -> Option<(Host, u16)> {
    let target = target(job, &ready.module.prober).ok()?;
    let route = Route::first(target, &Names::of(job, &ready.module));
    Some((route.dial, route.port))
}

/// Looks up every address of the host that `job` connects to.
pub(super) async fn addresses(ready: &ReadyModule, job: &Job, timeout: Duration) -> Result<Lookup, Box<ProbeReport>> {
    let mut run = Run::start(job.clone(), Arc::clone(&ready.module), timeout);
    let outcome = match target(job, &ready.module.prober) {
        Ok(target) => {
            let route = Route::first(target, &Names::of(job, &ready.module));
            begin(&mut run, &route, "");
            dial::addresses(&mut run, ready, &route).await
        }
        Err(error) => Err(Failure::new(Phase::Resolve, Reason::InvalidTarget, error.to_string())),
    };
    outcome.map_err(|failure| Box::new(run.finish(Err(failure))))
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
    if let Some(stranger) = ready.module.stranger(&target, &job.site.or(&ready.module.site)) {
        let words = format!("the module's credentials are not for `{stranger}`; see its `credentials_for`");
        return Err(Failure::new(Phase::Connect, Reason::AddressDenied, words));
    }
    let names = Names::of(job, &ready.module);
    let first = Route::first(target, &names);
    // Boxed: a series' task would otherwise hold room for the largest of them while it waits for its tick. And of no type
    // of its own, or whoever spawns a probe would have the compiler look through all of it.
    let line: Line<'_> = match prober {
        Prober::Http(module) => Box::pin(follow_redirects(run, ready, module, (first, names))),
        Prober::WebSocket(module) => Box::pin(websocket(run, ready, module, first)),
        Prober::Tls(module) => Box::pin(handshake(run, ready, module, first)),
        Prober::TlsScan(module) => Box::pin(scan(run, ready, module, first)),
    };
    line.await
}

type Line<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

// === the stages that every prober shares ===

/// A connection, encrypted and verified where the route wants it.
struct Connection {
    wire: Wire,
    tls: Option<Attempt>,
    /// The proxy that the request itself goes to.
    forwarder: Option<Errand>,
}

impl Connection {
    fn speaks_http2(&self) -> bool {
        self.tls.as_ref().is_some_and(Attempt::speaks_http2)
    }
}

/// Resolves, connects and, for an encrypted scheme, shakes hands, after STARTTLS where the module says so.
async fn open(run: &mut Run, ready: &ReadyModule, route: &mut Route) -> Result<Connection, Failure> {
    let mut way = dial::find(run, ready, route).await?;
    let mut wire = way.open(run).await?;
    route.known_address = way.settled().or(route.known_address);
    if !route.target.scheme().is_tls() {
        return Ok(Connection { wire, tls: None, forwarder: way.forwarder() });
    }
    let attempt = ready.tls.attempt(&route.tls).map_err(|_| unusable_name(route))?;
    if let Some(protocol) = ready.module.prober.starttls() {
        wire = run.phase(Phase::Tls, starttls::upgrade(wire, protocol, &route.tls.verify)).await?;
    }
    let outcome = run.phase(Phase::Tls, attempt.handshake(wire, run.deadline())).await;
    run.hop().tls = Some(attempt.facts());
    Ok(Connection { wire: outcome?, tls: Some(attempt), forwarder: None })
}

fn unusable_name(route: &Route) -> Failure {
    let name = route.tls.sni.as_ref().unwrap_or(&route.tls.verify);
    let words = format!("`{name}` is not a name that TLS can ask for");
    Failure::new(Phase::Resolve, Reason::InvalidTarget, words)
}

/// The token that the module's requests show, if it wants one.
async fn bearer<'a>(run: &mut Run, ready: &'a ReadyModule) -> Result<Option<Bearer<'a>>, Failure> {
    match &ready.token {
        Some(source) => source.bearer(run).await.map(Some),
        None => Ok(None),
    }
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
    begin(run, &first, &first.host_header);
    let bearer = bearer(run, ready).await?;
    let mut session = Session::new(module, bearer.as_ref().map(Bearer::auth).or(module.auth.as_ref()));
    let mut first = first;
    let mut route = first.clone();
    for hop in 0.. {
        let connection = open(run, ready, &mut route).await?;
        if hop == 0 {
            first.known_address = route.known_address;
        }
        let answer = answer(run, &session, &route, connection).await?;
        if let Some(bearer) = bearer.as_ref().filter(|_| route.trusted_with_secrets) {
            bearer.answered(answer.head.status.as_u16());
        }
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
        begin(run, &route, &route.host_header);
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
    let Connection { wire, tls, forwarder } = connection;
    let exchange = async {
        let mut request = session.request(route, http2).await?;
        if let Some(proxy) = &forwarder {
            proxy.address_request(&mut request).await?;
        }
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
    let head = expect::head(module, &answer.head).map_err(|failed| proxy::or_refusal(failed, run.hop(), &answer.head));
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
    let bearer = bearer(run, ready).await?;
    let auth = bearer.as_ref().map(Bearer::auth).or(module.auth.as_ref());
    let Connection { wire, tls, .. } = open(run, ready, &mut route).await?;
    let mut upgrade = ws::Upgrade::default();
    let deadline = run.deadline();
    let outcome = run.phase(Phase::Processing, upgrade.run(wire, (module, auth), (&route, deadline))).await;
    if let (Some(bearer), Some(head)) = (&bearer, &upgrade.head) {
        bearer.answered(head.status);
    }
    run.hop().http = upgrade.head;
    run.hop().websocket = Some(WebSocketFacts { refusal: upgrade.refusal, ..WebSocketFacts::default() });
    let (mut socket, subprotocol) = outcome.map_err(|failed| or_late_refusal(failed, tls.as_ref()))?;
    let mut exchange = ws::script::Exchange::new(subprotocol);
    let outcome = converse(run, module, &mut exchange, &mut socket).await;
    let is_kept = outcome.is_ok() && module.expect_close.is_none() && run.keeps_socket();
    if is_kept {
        run.keep(socket);
    } else if outcome.as_ref().err().is_none_or(|failed| LEAVES_INTACT.contains(&failed.reason)) {
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
async fn scan(run: &mut Run, ready: &ReadyModule, module: &TlsScanModule, route: Route) -> Result<(), Failure> {
    begin(run, &route, "");
    let sni = route.tls.sni.as_deref().map(scan::sni).transpose().map_err(|_| unusable_name(&route))?.flatten();
    let server_name = route.tls.verify.clone();
    let mut way = dial::find(run, ready, &route).await?;
    way.settle(run).await?;
    let turn = at_most(run.remaining(), scan::turn(&way.to_string())).await;
    let _turn = turn.ok_or_else(|| {
        let words = format!("another scan of {way} was under way until the deadline");
        Failure::new(Phase::Connect, Reason::LocalLimit, words)
    })?;
    let mut wire = way.open(run).await?;
    if let Some(protocol) = module.starttls {
        wire = run.phase(Phase::Tls, starttls::upgrade(wire, protocol, &server_name)).await?;
    }
    let line = scan::Line::new((way, wire), run.clock(), run.remaining());
    let line = line.after(module.starttls.map(|protocol| (protocol, server_name.clone())));
    let mut scan = Scan::new(module, sni.clone(), line);
    let outcome = run.phase(Phase::Tls, scan.run()).await;
    let (facts, chain, ocsp_stapled) = scan.facts();
    let broken = scan::broken(module, &facts).join(", ");
    run.hop().scan = Some(Box::new(facts));
    run.hop().tls = Some(TlsFacts { server_name, sni, chain: chain.into(), ocsp_stapled, ..TlsFacts::default() });
    outcome?;
    if broken.is_empty() { Ok(()) } else { Err(Failure::new(Phase::Tls, Reason::VersionPolicy, broken)) }
}

fn begin(run: &mut Run, route: &Route, host_header: &str) {
    run.begin_hop(Hop { url: route.target.to_string(), host_header: host_header.to_owned(), ..Hop::default() });
}
