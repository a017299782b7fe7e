//! Every prober through every kind of proxy: what the proxy is asked for, what it is told, and what is said when it does not
//! let us through.

use crate::world::{
    Peer, Prober, Program, assert_verdict, edgeprobe_with, page_of, plain_job, trusting, until, verdict,
};
use ::http::{StatusCode, header};
use edgeprobe::{
    lab::{
        Listener, Seen,
        ca::{Authority, Cert},
        http::{self, Reply},
        proxy::{self, Manner, Speaks},
        starttls,
        tls::{ClientCert, ServerTls, Tls},
        ws::{self, Behaviour},
    },
    model::{Job, Phase, ProbeReport, Site},
};
use std::{fs, sync::OnceLock};

/// A name that no lookup here can find (RFC 6761 section 6.4): whoever reaches it left the lookup to a proxy.
const NOWHERE: &str = "site.nowhere.invalid";
const PROXY: &str = "proxy.localhost";
/// `lab:open sesame`, as URLs and the Basic scheme write it.
const USER_INFO: &str = "lab:open%20sesame@";
const BASIC: &str = "Basic bGFiOm9wZW4gc2VzYW1l";

fn hello(_: &Seen) -> Reply {
    Reply::new(StatusCode::OK, "hello\n")
}

/// A config of one module `m`; `block` and `proxy` are in flow style, each entry with its comma.
fn module(ca: &Authority, prober: &str, block: &str, proxy: &str) -> String {
    let inner = match prober {
        "websocket" => format!("{block} http_config: {{{proxy} tls_config: {{ca: @CA@}}}}"),
        "tls_scan" => format!("{block} {proxy}"),
        _ => format!("{block} {proxy} tls_config: {{ca: @CA@}}"),
    };
    let yaml = format!(
        "modules: {{m: {{prober: {prober}, timeout: 15s, {prober}: {{preferred_ip_protocol: ip4, {inner}}}}}}}\n"
    );
    trusting(&ca.root_pem(), &yaml)
}

/// A proxy of one kind, running, and the keys that lead to it.
struct Running {
    listener: Listener,
    keys: String,
}

async fn proxy(ca: &Authority, scheme: &str, user_info: &str, manner: Manner) -> Running {
    let strict = Tls { strict_sni: true, ..Tls::new(Cert::Good) };
    let tls = (scheme == "https").then(|| ServerTls::new(ca, strict, &[PROXY.to_owned()]));
    let speaks = if scheme.starts_with("socks") { Speaks::Socks } else { Speaks::Http };
    let listener = proxy::serve(speaks, tls, manner).await.unwrap();
    let trust = if scheme == "https" { "proxy_tls_config: {ca: @CA@}," } else { "" };
    let keys = format!("proxy_url: \"{scheme}://{user_info}{PROXY}:{}\", {trust}", listener.address().port());
    Running { listener, keys }
}

impl Running {
    /// What it was asked for, in order.
    fn asked(&self) -> Vec<String> {
        self.listener.log().requests().into_iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }
}

/// A target of each prober that nobody here can look up: prober, further keys, scheme and server.
async fn targets(ca: &Authority) -> Vec<(&'static str, &'static str, &'static str, Listener)> {
    let tls = || ServerTls::new(ca, Tls::new(Cert::Good), &[NOWHERE.to_owned()]);
    let smtp = async || starttls::serve(tls(), starttls::Protocol::Smtp, starttls::Manner::Good).await.unwrap();
    vec![
        ("http", "", "https", http::serve(Some(tls()), hello).await.unwrap()),
        ("http", "", "http", http::serve(None, hello).await.unwrap()),
        ("websocket", "ping: true,", "wss", ws::serve(Some(tls()), Behaviour::Echo).await.unwrap()),
        ("websocket", "ping: true,", "ws", ws::serve(None, Behaviour::Echo).await.unwrap()),
        ("tls", "", "tls", http::serve(Some(tls()), hello).await.unwrap()),
        ("tls", "starttls: smtp,", "tls", smtp().await),
        ("tls_scan", "", "tls", http::serve(Some(tls()), hello).await.unwrap()),
        ("tls_scan", "starttls: smtp,", "tls", smtp().await),
    ]
}

/// The name goes to the proxy, nothing is looked up here, and what is learned of the target is the same through every kind
/// of proxy (`blackbox_exporter` #1272, #1455; kuma #4700).
#[tokio::test]
async fn every_prober_reaches_through_every_kind_of_proxy_what_it_cannot_look_up() {
    let ca = Authority::new();
    for (prober, block, scheme, server) in targets(&ca).await {
        let authority = format!("{NOWHERE}:{}", server.address().port());
        for kind in ["http", "https", "socks5h"] {
            let through = proxy(&ca, kind, USER_INFO, Manner::Auth).await;
            let yaml = module(&ca, prober, block, &through.keys);
            let report = Prober::new(&yaml).probe("m", &format!("{scheme}://{authority}/")).await;
            let case = format!("{scheme} by {prober} {block} through {kind}");
            assert_eq!(verdict(&report), "success", "{case}: {:?}", report.failure);
            let hop = &report.hops[0];
            assert!(hop.lookup.is_none() && hop.peer.is_none(), "{case}: looked up");
            assert!(hop.times.get(Phase::Resolve).or(hop.times.get(Phase::Connect)).is_none(), "{case}");
            assert!(hop.times.get(Phase::Proxy).is_some(), "{case}");
            let facts = hop.proxy.as_deref().unwrap();
            assert_eq!((facts.asked_for.as_str(), facts.resolves), (authority.as_str(), true), "{case}");
            let forwarded = scheme == "http" && kind != "socks5h";
            assert_eq!(facts.tunnel, !forwarded, "{case}");
            assert_eq!(facts.tls.is_some(), kind == "https", "{case}: TLS with the proxy");
            check_asked(&through, &case, (forwarded, &authority), report.scan().map_or(1, |scan| scan.connections));
            check_certificate(&report, &case, scheme);
        }
    }
}

#[track_caller]
fn check_asked(through: &Running, case: &str, (forwarded, authority): (bool, &str), connections: u32) {
    let asked = through.asked();
    let expected = match through.keys.contains("socks5h") {
        true => format!("SOCKS {authority}"),
        false if forwarded => format!("GET http://{authority}/"),
        false => format!("CONNECT {authority}"),
    };
    assert!(asked.iter().all(|line| *line == expected), "{case}: {asked:?}");
    assert_eq!(asked.len(), usize::try_from(connections).unwrap(), "{case}: every connection goes through the proxy");
}

#[track_caller]
fn check_certificate(report: &ProbeReport, case: &str, scheme: &str) {
    let page = page_of(report);
    assert!(page.says("probe_proxy_used", &[], 1.0), "{case}");
    assert!(page.all("probe_dns_lookup_time_seconds", &[]).is_empty(), "{case}");
    assert!(page.all("probe_ip_protocol", &[]).is_empty(), "{case}");
    if ["http", "ws"].contains(&scheme) {
        assert!(report.tls().is_none(), "{case}: the proxy's handshake is not the target's");
        return;
    }
    let tls = report.tls().unwrap();
    assert_eq!(tls.server_name, NOWHERE, "{case}");
    if report.scan().is_none() {
        assert_eq!(tls.chain[0].dns_names, [NOWHERE], "{case}");
        assert_eq!(tls.verdict.as_ref().unwrap().failure(), None, "{case}");
        assert!(page.says("probe_tls_verified", &[("check", "name")], 1.0), "{case}");
    }
    if let Some(proxy) = &report.hops[0].proxy.as_ref().unwrap().tls {
        assert_eq!(
            (proxy.server_name.as_str(), &*proxy.chain[0].dns_names),
            (PROXY, &[PROXY.to_owned()][..]),
            "{case}"
        );
    }
}

/// `socks5` and `resolve_before_proxy` look the name up here, and ask for the address; SNI and Host stay the name.
#[tokio::test]
async fn where_the_name_is_looked_up_here_the_proxy_is_asked_for_the_address() {
    let ca = Authority::new();
    let tls = ServerTls::new(&ca, Tls::new(Cert::Good), &["site.localhost".to_owned()]);
    let site = http::serve(Some(tls), hello).await.unwrap();
    let plain = http::serve(None, hello).await.unwrap();
    for (kind, key, scheme, server) in [
        ("socks5", "", "https", &site),
        ("http", "resolve_before_proxy: true,", "https", &site),
        ("http", "skip_resolve_phase_with_proxy: false,", "https", &site),
        ("socks5h", "resolve_before_proxy: true,", "https", &site),
        // Absolute form could not say address and name apart.
        ("http", "resolve_before_proxy: true,", "http", &plain),
    ] {
        let through = proxy(&ca, kind, "", Manner::Good).await;
        let port = server.address().port();
        let yaml = module(&ca, "http", key, &through.keys);
        let report = Prober::new(&yaml).probe("m", &format!("{scheme}://site.localhost:{port}/")).await;
        assert_verdict(&report, "success");
        let method = if kind == "http" { "CONNECT" } else { "SOCKS" };
        assert_eq!(through.asked(), [format!("{method} 127.0.0.1:{port}")], "{kind} {key}");
        let hop = &report.hops[0];
        assert_eq!(hop.peer, Some(server.address()), "{kind} {key}");
        assert!(hop.times.get(Phase::Resolve).is_some() && hop.lookup.is_some(), "{kind} {key}");
        assert!(page_of(&report).says("probe_ip_protocol", &[], 4.0));
        assert_eq!(server.log().requests().last().unwrap().host_name(), "site.localhost");
    }
    let named = proxy(&ca, "socks5", "", Manner::Good).await;
    let yaml = module(&ca, "http", "resolve_before_proxy: false,", &named.keys);
    let target = format!("https://site.localhost:{}/", site.address().port());
    assert_verdict(&Prober::new(&yaml).probe("m", &target).await, "success");
    assert_eq!(named.asked(), [format!("SOCKS site.localhost:{}", site.address().port())], "the key is stronger");
}

/// A strict proxy sees its own name as SNI, the target as authority and Host, and no header of the module's (cloudprober
/// #932, undici #2926); the target sees nothing of the proxy's.
#[tokio::test]
async fn the_proxy_and_the_target_are_told_each_their_own() {
    let ca = Authority::new();
    let tls = Tls { strict_sni: true, ..Tls::new(Cert::Good) };
    let site = http::serve(Some(ServerTls::new(&ca, tls, &[NOWHERE.to_owned()])), hello).await.unwrap();
    let target = format!("https://{NOWHERE}:{}/", site.address().port());
    let block = "basic_auth: {username: u, password: target-secret}, headers: {Cookie: a=b, X-Mine: c, \
                 Proxy-Connection: keep-alive},";
    for kind in ["http", "https"] {
        let through = proxy(&ca, kind, USER_INFO, Manner::Strict).await;
        assert_verdict(&Prober::new(&module(&ca, "http", block, &through.keys)).probe("m", &target).await, "success");
        let [connect] = &through.listener.log().requests()[..] else { panic!("one CONNECT") };
        assert_eq!(connect.sni.as_deref(), (kind == "https").then_some(PROXY));
        assert_eq!(connect.host, connect.path);
        assert_eq!(connect.headers[header::PROXY_AUTHORIZATION], BASIC);
        assert_eq!(connect.headers.len(), 3, "{:?}", connect.headers);
        assert!(connect.headers[header::USER_AGENT].to_str().unwrap().starts_with("edgeprobe/"));
    }
    for seen in site.log().requests() {
        assert_eq!((seen.sni.as_deref(), seen.host_name()), (Some(NOWHERE), NOWHERE));
        assert!(seen.headers.contains_key(header::AUTHORIZATION) && seen.headers.contains_key("x-mine"));
        assert!(!seen.headers.contains_key(header::PROXY_AUTHORIZATION), "{:?}", seen.headers);
    }
}

/// `proxy_connect_header` is for the proxy alone: of a forwarded request it gets Proxy-Authorization, which it keeps.
#[tokio::test]
async fn headers_for_the_proxy_do_not_reach_the_target() {
    let ca = Authority::new();
    let tls = ServerTls::new(&ca, Tls::new(Cert::Good), &[NOWHERE.to_owned()]);
    let servers =
        [("https", http::serve(Some(tls), hello).await.unwrap()), ("http", http::serve(None, hello).await.unwrap())];
    for (scheme, server) in servers {
        let through = proxy(&ca, "http", "", Manner::Auth).await;
        let keys = format!(
            "{} proxy_connect_header: {{Proxy-Authorization: [\"{BASIC}\"], X-Tenant: [a, b], User-Agent: [mine]}},",
            through.keys
        );
        let target = format!("{scheme}://{NOWHERE}:{}/x?y", server.address().port());
        assert_verdict(&Prober::new(&module(&ca, "http", "", &keys)).probe("m", &target).await, "success");
        let [seen] = &through.listener.log().requests()[..] else { panic!("one request") };
        assert_eq!(seen.headers[header::PROXY_AUTHORIZATION], BASIC);
        let tunnel = seen.method == "CONNECT";
        assert_eq!(tunnel, scheme == "https");
        assert_eq!(seen.headers.get_all("x-tenant").iter().count(), if tunnel { 2 } else { 0 });
        assert_eq!(seen.headers[header::USER_AGENT] == "mine", tunnel);
        let [request] = &server.log().requests()[..] else { panic!("one request") };
        assert_eq!(request.path, "/x?y");
        assert!(!request.headers.contains_key("x-tenant"));
        assert!(!request.headers.contains_key(header::PROXY_AUTHORIZATION));
    }
}

/// A fixed Host, a redirect and a proxy together (`blackbox_exporter` #896), with TLS and without.
#[tokio::test]
async fn a_host_override_and_a_redirect_go_through_the_proxy_as_they_go_without() {
    let ca = Authority::new();
    let handler = |seen: &Seen| match seen.path.as_str() {
        "/" => Reply::redirect("/there"),
        _ if seen.host == "shown.localhost" => Reply::new(StatusCode::OK, "the right body\n"),
        _ => Reply::new(StatusCode::NOT_FOUND, "no such site\n"),
    };
    let names = ["shown.localhost".to_owned()];
    let encrypted = http::serve(Some(ServerTls::new(&ca, Tls::new(Cert::Good), &names)), handler).await.unwrap();
    let plain = http::serve(None, handler).await.unwrap();
    for (scheme, server) in [("https", &encrypted), ("http", &plain)] {
        for kind in ["http", "https", "socks5h"] {
            let through = proxy(&ca, kind, "", Manner::Good).await;
            let yaml = module(&ca, "http", "headers: {Host: shown.localhost},", &through.keys);
            let authority = format!("{NOWHERE}:{}", server.address().port());
            let report = Prober::new(&yaml).probe("m", &format!("{scheme}://{authority}/")).await;
            assert_verdict(&report, "success");
            let page = page_of(&report);
            assert!(page.says("probe_http_redirects", &[], 1.0));
            assert!(page.says("probe_http_content_length", &[], 15.0), "{scheme} through {kind}");
            assert!(page.says("probe_http_uncompressed_body_length", &[], 15.0), "{scheme} through {kind}");
            // Always a tunnel: in absolute form, the Host would have been the proxy's to say.
            let method = if kind == "socks5h" { "SOCKS" } else { "CONNECT" };
            let expected = format!("{method} {authority}");
            assert_eq!(through.asked(), [expected.clone(), expected]);
        }
    }
}

/// `connect_to` is what the proxy is asked for; SNI and Host stay the target's.
#[tokio::test]
async fn connecting_elsewhere_through_a_proxy_keeps_sni_and_host() {
    let ca = Authority::new();
    let tls = Tls { strict_sni: true, ..Tls::new(Cert::Good) };
    let encrypted = http::serve(Some(ServerTls::new(&ca, tls, &[NOWHERE.to_owned()])), hello).await.unwrap();
    let plain = http::serve(None, hello).await.unwrap();
    for (scheme, server) in [("https", &encrypted), ("http", &plain)] {
        let edge = format!("127.0.0.1:{}", server.address().port());
        let through = proxy(&ca, "http", "", Manner::Strict).await;
        let site = Site { connect_to: Some(edge.parse().unwrap()), ..Site::default() };
        let job = Job { site, ..plain_job("m", &format!("{scheme}://{NOWHERE}/")) };
        let report = Prober::new(&module(&ca, "http", "", &through.keys)).run(&job).await;
        assert_verdict(&report, "success");
        assert_eq!(through.asked(), [format!("CONNECT {edge}")]);
        assert_eq!(report.hops[0].peer, Some(server.address()));
        assert_eq!(server.log().requests()[0].host, NOWHERE);
    }
}

/// An IPv6 literal has its brackets in CONNECT, and is an address to SOCKS.
#[tokio::test]
async fn an_ipv6_literal_is_asked_for_as_one() {
    let ca = Authority::new();
    for (kind, method) in [("http", "CONNECT [2001:db8::1]"), ("socks5h", "SOCKS 2001:db8::1")] {
        let through = proxy(&ca, kind, "", Manner::Refuses(403)).await;
        let report = Prober::new(&module(&ca, "tls", "", &through.keys)).probe("m", "[2001:db8::1]:8443").await;
        assert_verdict(&report, "proxy/proxy_refused");
        assert_eq!(through.asked(), [format!("{method}:8443")]);
        let facts = report.hops[0].proxy.as_ref().unwrap();
        assert_eq!((facts.asked_for.as_str(), facts.resolves), ("[2001:db8::1]:8443", false));
    }
}

/// Whether a proxy is used is decided anew for each hop.
#[tokio::test]
async fn who_is_reached_directly_is_decided_for_each_redirect() {
    let ca = Authority::new();
    let tls = |name: &str| Some(ServerTls::new(&ca, Tls::new(Cert::Good), &[name.to_owned()]));
    let end = http::serve(tls("end.direct.localhost"), hello).await.unwrap();
    let place = OnceLock::new();
    place.set(format!("https://end.direct.localhost:{}/", end.address().port())).unwrap();
    let start = http::serve(tls(NOWHERE), move |_| Reply::redirect(place.get().unwrap())).await.unwrap();
    let through = proxy(&ca, "http", "", Manner::Good).await;
    let keys = format!("{} no_proxy: \".direct.localhost, 192.0.2.0/24\",", through.keys);
    let target = format!("https://{NOWHERE}:{}/", start.address().port());
    let report = Prober::new(&module(&ca, "http", "", &keys)).probe("m", &target).await;
    assert_verdict(&report, "success");
    assert_eq!(through.asked(), [format!("CONNECT {NOWHERE}:{}", start.address().port())]);
    assert!(report.hops[0].proxy.is_some() && report.hops[1].proxy.is_none());
    assert_eq!(report.hops[1].peer, Some(end.address()));
    let page = page_of(&report);
    assert!(page.says("probe_proxy_used", &[], 0.0));
    assert!(page.find("probe_http_duration_seconds", &[("phase", "connect")]).is_some());
    assert!(page.find("probe_http_duration_seconds", &[("phase", "proxy")]).is_some());
}

/// What the target sent with the proxy's answer is not lost.
#[tokio::test]
async fn bytes_that_come_with_the_proxys_answer_are_the_targets() {
    let ca = Authority::new();
    let tls = ServerTls::new(&ca, Tls::new(Cert::Good), &[NOWHERE.to_owned()]);
    let smtp = starttls::serve(tls, starttls::Protocol::Smtp, starttls::Manner::Good).await.unwrap();
    for kind in ["http", "https", "socks5h"] {
        let through = proxy(&ca, kind, "", Manner::Eager).await;
        let yaml = module(&ca, "tls", "starttls: smtp,", &through.keys);
        let report = Prober::new(&yaml).probe("m", &format!("{NOWHERE}:{}", smtp.address().port())).await;
        assert_verdict(&report, "success");
    }
}

/// One verdict for each thing that a proxy can do wrong, none of it the target's; and no connection is left behind.
#[tokio::test]
async fn each_fault_of_a_proxy_has_its_reason() {
    let ca = Authority::new();
    let unused = http::serve(None, hello).await.unwrap();
    let target = format!("https://{NOWHERE}:{}/", unused.address().port());
    for (kind, user_info, manner, expected, status) in [
        ("http", "", Manner::Refuses(403), "proxy/proxy_refused", Some(403)),
        ("https", "", Manner::Refuses(502), "proxy/proxy_refused", Some(502)),
        ("http", "", Manner::Refuses(302), "proxy/proxy_refused", Some(302)),
        ("http", "", Manner::Auth, "proxy/proxy_auth_required", Some(407)),
        ("https", "lab:wrong@", Manner::Auth, "proxy/proxy_auth_required", Some(407)),
        ("http", "lab:wrong@", Manner::Refuses(401), "proxy/proxy_auth_required", Some(401)),
        ("http", "", Manner::Silent, "proxy/timeout", None),
        ("https", "", Manner::Half, "proxy/timeout", None),
        ("http", "", Manner::Garbage, "proxy/proxy_unreachable", None),
        ("http", "", Manner::Endless, "proxy/proxy_unreachable", None),
        ("http", "", Manner::Closes, "proxy/broken", None),
        ("socks5h", "", Manner::Refuses(2), "proxy/proxy_refused", Some(2)),
        ("socks5h", "", Manner::Refuses(200), "proxy/proxy_refused", Some(200)),
        ("socks5h", "", Manner::Auth, "proxy/proxy_auth_required", None),
        ("socks5h", "lab:wrong@", Manner::Auth, "proxy/proxy_auth_required", None),
        ("socks5h", "", Manner::Silent, "proxy/timeout", None),
        ("socks5h", "", Manner::Half, "proxy/timeout", None),
        ("socks5h", "", Manner::Garbage, "proxy/proxy_unreachable", None),
        ("socks5h", "", Manner::Endless, "proxy/proxy_unreachable", None),
        ("socks5h", "", Manner::Closes, "proxy/broken", None),
    ] {
        let through = proxy(&ca, kind, user_info, manner).await;
        let timeout = if expected.ends_with("timeout") { "timeout: 1s" } else { "timeout: 15s" };
        let yaml = module(&ca, "http", "", &through.keys).replace("timeout: 15s", timeout);
        let report = Prober::new(&yaml).probe("m", &target).await;
        assert_eq!(verdict(&report), expected, "{kind} {manner:?}: {:?}", report.failure);
        let facts = report.hops[0].proxy.as_deref().unwrap();
        assert_eq!(facts.status, status, "{kind} {manner:?}");
        assert_eq!(facts.challenge.as_deref(), (status == Some(407)).then_some("Basic realm=\"the lab\""));
        let page = page_of(&report);
        assert_eq!(page.find("probe_proxy_status_code", &[]), status.map(f64::from), "{kind} {manner:?}");
        assert!(report.tls().is_none() && page.all("probe_ssl_earliest_cert_expiry", &[]).is_empty());
        until("the connection is closed", async || through.listener.log().open() == 0).await;
    }
    assert!(unused.log().requests().is_empty());
}

#[tokio::test]
async fn a_forwarded_request_that_wants_credentials_is_the_proxys_refusal() {
    let ca = Authority::new();
    let plain = http::serve(None, hello).await.unwrap();
    let target = format!("http://{NOWHERE}:{}/", plain.address().port());
    let through = proxy(&ca, "http", "", Manner::Auth).await;
    let report = Prober::new(&module(&ca, "http", "", &through.keys)).probe("m", &target).await;
    assert_verdict(&report, "proxy/proxy_auth_required");
    let failure = report.failure.as_ref().unwrap();
    assert!(failure.cause.contains("Basic realm=\"the lab\""), "{failure}");
    let wanted = module(&ca, "http", "valid_status_codes: [407],", &through.keys);
    assert_verdict(&Prober::new(&wanted).probe("m", &target).await, "success");
    // Other statuses may be the target's own.
    let refusing = proxy(&ca, "http", "", Manner::Refuses(502)).await;
    let report = Prober::new(&module(&ca, "http", "", &refusing.keys)).probe("m", &target).await;
    assert_verdict(&report, "processing/status");
}

/// A proxy that cannot reach the target says so; a target that fails behind a tunnel fails as it does without.
#[tokio::test]
async fn faults_of_the_target_are_told_from_those_of_the_proxy() {
    let ca = Authority::new();
    let gone = http::serve(None, hello).await.unwrap().address().port();
    let tls = |cert| Some(ServerTls::new(&ca, Tls::new(cert), &[NOWHERE.to_owned()]));
    let expired = http::serve(tls(Cert::Expired), hello).await.unwrap();
    let plain = http::serve(None, hello).await.unwrap();
    for kind in ["http", "socks5h"] {
        let through = proxy(&ca, kind, "", Manner::Good).await;
        let prober = Prober::new(&module(&ca, "http", "", &through.keys));
        for (port, expected) in [
            (gone, "proxy/proxy_refused"),
            (expired.address().port(), "tls/cert_expired"),
            (plain.address().port(), "tls/not_tls"),
        ] {
            let report = prober.probe("m", &format!("https://{NOWHERE}:{port}/")).await;
            assert_eq!(verdict(&report), expected, "{kind}: {:?}", report.failure);
        }
        let report = prober.probe("m", &format!("https://{NOWHERE}:{}/", expired.address().port())).await;
        assert_eq!(page_of(&report).all("probe_ssl_earliest_cert_expiry", &[]).len(), 1);
    }
}

/// TLS with the proxy has settings, verdict and facts of its own.
#[tokio::test]
async fn the_proxys_certificate_is_verified_and_is_not_the_targets() {
    let ca = Authority::new();
    let tls = Tls { client_cert: ClientCert::Required, ..Tls::new(Cert::Good) };
    let server = |tls: Tls, name: &str| Some(ServerTls::new(&ca, tls, &[name.to_owned()]));
    let site = http::serve(server(Tls::new(Cert::Good), NOWHERE), hello).await.unwrap();
    let (cert, key) = ca.client_pem();
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let identity = format!("ca: @CA@, cert: {}, key: {}", quoted(&cert), quoted(&key));
    for (tls, settings, expected, reason) in [
        (Tls::new(Cert::Good), "ca: @CA@", "success", ""),
        (Tls::new(Cert::Good), "roots: [embedded]", "proxy/proxy_unreachable", "cert_unknown_issuer"),
        (Tls::new(Cert::Expired), "ca: @CA@", "proxy/proxy_unreachable", "cert_expired"),
        (Tls::new(Cert::Expired), "insecure_skip_verify: true", "success", ""),
        (Tls::new(Cert::WrongName), "ca: @CA@", "proxy/proxy_unreachable", "cert_wrong_name"),
        (Tls::new(Cert::Good), "ca: @CA@, server_name: other.localhost", "proxy/proxy_unreachable", "cert_wrong_name"),
        (tls, "ca: @CA@", "proxy/proxy_unreachable", ""),
        (tls, identity.as_str(), "success", ""),
    ] {
        let through = proxy::serve(Speaks::Http, server(tls, PROXY), Manner::Strict).await.unwrap();
        let port = through.address().port();
        let keys = format!("proxy_url: \"https://{PROXY}:{port}\", proxy_tls_config: {{{settings}}},");
        let target = format!("https://{NOWHERE}:{}/", site.address().port());
        let report = Prober::new(&module(&ca, "http", "", &keys)).probe("m", &target).await;
        assert_eq!(verdict(&report), expected, "{settings}: {:?}", report.failure);
        let facts = report.hops[0].proxy.as_ref().unwrap().tls.as_ref().unwrap();
        assert_eq!(facts.chain[0].dns_names.len(), 1, "the proxy's certificate was seen");
        let fault = facts.verdict.as_ref().unwrap().failure().map_or("", |(reason, _)| reason.as_str());
        if !reason.is_empty() {
            assert_eq!(fault, reason, "{settings}");
        }
        assert_eq!(report.tls().is_some(), expected == "success", "{settings}");
    }
}

/// A proxy that takes the connection and does not shake hands costs the deadline, and what was seen by then is kept.
#[tokio::test]
async fn a_stall_on_the_way_to_the_proxy_is_the_phase_proxy() {
    let ca = Authority::new();
    let silent = Peer::tcp(|mut stream| async move {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let port = silent.address.port();
    let keys = format!("proxy_url: \"https://{PROXY}:{port}\", proxy_tls_config: {{ca: @CA@}},");
    for prober in ["http", "tls", "tls_scan"] {
        let yaml = module(&ca, prober, "", &keys).replace("timeout: 15s", "timeout: 1s");
        let report = Prober::new(&yaml).probe("m", &format!("https://{NOWHERE}/")).await;
        assert_verdict(&report, "proxy/timeout");
        let facts = report.hops[0].proxy.as_ref().unwrap();
        assert_eq!(facts.peer, Some(silent.address), "{prober}");
        assert!(facts.tls.as_ref().unwrap().sent_bytes > 0, "{prober}: the hello was sent");
        until("the connection is closed", async || silent.open() == 0).await;
    }
    let yaml = module(&ca, "http", "", "proxy_url: \"http://proxy.invalid:3128\",");
    let report = Prober::new(&yaml).probe("m", "https://site.localhost/").await;
    assert_verdict(&report, "proxy/proxy_unreachable");
    assert!(report.failure.as_ref().unwrap().cause.contains("`proxy.invalid` does not exist"));
}

/// The environment counts where the module says so, by Go's rules; and nothing is shown of its passwords.
#[tokio::test]
async fn the_environment_is_read_where_the_module_asks_for_it() {
    let ca = Authority::new();
    let tls = ServerTls::new(&ca, Tls::new(Cert::Good), &[NOWHERE.to_owned(), "localhost".to_owned()]);
    let site = http::serve(Some(tls), hello).await.unwrap();
    let through = proxy(&ca, "http", "", Manner::Auth).await;
    let url = format!("http://{USER_INFO}127.0.0.1:{}", through.listener.address().port());
    let dir = tempfile::tempdir().unwrap();
    let port = site.address().port();
    let asks = ("proxy_from_environment: true,", format!("https://{NOWHERE}:{port}/"));
    let local = ("proxy_from_environment: true,", format!("https://127.0.0.1:{port}/"));
    let deaf = ("", asks.1.clone());
    for ((keys, target), environment, used, reason) in [
        (&asks, &[("HTTPS_PROXY", url.as_str())][..], Some(1.0), None),
        (&asks, &[("https_proxy", &url)], Some(1.0), None),
        (&asks, &[("HTTP_PROXY", &url), ("ALL_PROXY", &url)], Some(0.0), Some("name_not_found")),
        (&asks, &[("HTTPS_PROXY", &url), ("NO_PROXY", "nowhere.invalid")], Some(0.0), Some("name_not_found")),
        (&local, &[("HTTPS_PROXY", &url)], Some(0.0), None),
        (&deaf, &[("HTTPS_PROXY", &url)], None, Some("name_not_found")),
    ] {
        let file = dir.path().join("edgeprobe.yml");
        fs::write(&file, module(&ca, "http", "", keys)).unwrap();
        let file = file.to_str().unwrap();
        let arguments = ["probe", target, "--module", "m", "--format", "prometheus", "--config.file", file];
        let output = edgeprobe_with(environment, &arguments).await;
        let page = crate::world::Page::parse(&output.stdout);
        assert_eq!(page.find("probe_proxy_used", &[]), used, "{environment:?}: {output:?}");
        let found = page.all("probe_failure_info", &[]).first().map(|sample| sample.label("reason").to_owned());
        assert_eq!(found.as_deref(), reason, "{environment:?}");
    }
    let file = dir.path().join("edgeprobe.yml");
    fs::write(&file, module(&ca, "http", "", asks.0)).unwrap();
    let bad = format!("ftp://{USER_INFO}proxy.example");
    for environment in [&[("HTTPS_PROXY", bad.as_str())][..], &[("HTTP_PROXY", "a"), ("REQUEST_METHOD", "GET")]] {
        let output = edgeprobe_with(environment, &["check-config", file.to_str().unwrap()]).await;
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stderr.contains("modules.m.http.proxy_from_environment: HTTP"), "{output:?}");
        assert!(!output.stderr.contains("sesame"), "{output:?}");
    }
}

/// A proxy that is silently not used looks like an outage (`blackbox_exporter` #1455): the log says which is.
#[tokio::test]
async fn the_log_says_at_start_which_proxy_is_used() {
    let ca = Authority::new();
    let keys = format!("proxy_url: \"http://{USER_INFO}proxy.example:3128\",");
    let program = Program::start(&module(&ca, "http", "", &keys), &[]).await;
    until("the proxy is told", async || program.log().contains("probes go through a proxy")).await;
    let log = program.log();
    assert!(log.contains("module=m") && log.contains("encrypted=http://proxy.example:3128"), "{log}");
    assert!(!log.contains("sesame"), "{log}");
}
