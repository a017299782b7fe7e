//! Address, SNI and Host are three things, on every hop; and credentials stay where they belong.

use crate::world::{
    Exporter, PLENTY, Prober, assert_verdict, demo_config, http_module, page_of, plain_job, site, until,
};
use ::http::{StatusCode, header};
use edgeprobe::{
    lab::{
        Lab, Listener, Seen,
        ca::{Authority, Cert},
        http::{self, Reply},
        tls::{ServerTls, Tls},
    },
    model::{Job, Site},
    show,
};
use std::sync::{Arc, OnceLock};
use tokio::task::JoinSet;

/// SNI and Host of each request, in order.
fn shown(requests: &[Seen]) -> Vec<(&str, &str)> {
    requests.iter().map(|seen| (seen.sni.as_deref().unwrap_or("-"), seen.host_name())).collect()
}

fn hello(_: &Seen) -> Reply {
    Reply::new(StatusCode::OK, "hello\n")
}

/// Where a redirect is to point, known only once both servers run.
#[derive(Clone, Default)]
struct Place(Arc<OnceLock<String>>);

impl Place {
    fn is(&self, url: String) {
        self.0.set(url).unwrap();
    }

    fn redirect(&self) -> Reply {
        Reply::redirect(self.0.get().unwrap())
    }
}

fn url(label: &str, listener: &Listener) -> String {
    format!("https://{label}.localhost:{}/", listener.address().port())
}

#[tokio::test]
async fn an_edge_is_probed_by_address_with_the_sites_name() {
    let lab = Lab::start().await.unwrap();
    let prober = Prober::new(&demo_config(&lab, PLENTY, PLENTY));
    let by_address = &lab.endpoint("cdn-edge-by-address").url;
    let site = Site { hostname: Some("cdn-edge.localhost".into()), ..Site::default() };
    let named = Job { site: site.clone(), ..plain_job("https", by_address) };
    assert_verdict(&prober.run(&named).await, "success");
    let seen = lab.requests("cdn-edge");
    assert_eq!(shown(&seen), [("cdn-edge.localhost", "cdn-edge.localhost")]);
    let handshake_only = Job { site, ..plain_job("cert", by_address) };
    let report = prober.run(&handshake_only).await;
    assert_verdict(&report, "success");
    assert_eq!(report.tls().unwrap().server_name, "cdn-edge.localhost");
}

/// `connect_to` changes the address and nothing else, for every prober (cloudprober #158, #417).
#[tokio::test]
async fn connecting_elsewhere_keeps_sni_and_host() {
    let lab = Lab::start().await.unwrap();
    let prober = Prober::new(&demo_config(&lab, PLENTY, PLENTY));
    for (module, scheme, name) in
        [("https", "https", "cdn-edge"), ("cert", "https", "cdn-edge"), ("wss", "wss", "wss-ping")]
    {
        let (_, port) = lab.endpoint(name).url.trim_end_matches('/').rsplit_once(':').unwrap();
        let target = format!("{scheme}://{name}.localhost/");
        let connect_to = Some(format!("127.0.0.1:{port}").parse().unwrap());
        let site = Site { connect_to, ..Site::default() };
        let report = prober.run(&Job { site, ..plain_job(module, &target) }).await;
        assert_verdict(&report, "success");
        assert_eq!(report.hops[0].peer.unwrap().port().to_string(), port);
    }
    assert_eq!(shown(&lab.requests("wss-ping")), [("wss-ping.localhost", "wss-ping.localhost")]);
}

/// A server whose certificate is for `a.localhost` and 127.0.0.1, and which answers whatever it is called.
async fn named_a(ca: &Authority) -> Listener {
    let tls = ServerTls::new(ca, Tls::new(Cert::Good), &["a.localhost".to_owned()]);
    http::serve(Some(tls), hello).await.unwrap()
}

/// What to dial, what to send as SNI, what to verify and what to say as Host, each set apart from the others.
#[tokio::test]
async fn sni_verified_name_and_host_are_set_apart() {
    let ca = Authority::new();
    let server = named_a(&ca).await;
    let port = server.address().port();
    let prober = Prober::new(&http_module(&ca, PLENTY, ""));
    let (by_name, by_address) = (format!("https://a.localhost:{port}/"), format!("https://127.0.0.1:{port}/"));
    let cases = [
        (&by_name, "", ("a.localhost", "a.localhost"), "success"),
        (&by_name, "sni=b.localhost", ("", ""), "tls/cert_wrong_name"),
        (&by_name, "sni=b.localhost&verify_name=a.localhost", ("b.localhost", "a.localhost"), "success"),
        (&by_name, "sni=none", ("-", "a.localhost"), "success"),
        (&by_name, "hostname=b.localhost:1&verify_name=a.localhost", ("b.localhost", "b.localhost"), "success"),
        (&by_name, "hostname=b.localhost&sni=a.localhost", ("a.localhost", "b.localhost"), "success"),
        (&by_address, "", ("-", "127.0.0.1"), "success"),
        (&by_address, "sni=a.localhost", ("a.localhost", "127.0.0.1"), "success"),
        (&by_address, "verify_name=a.localhost", ("-", "127.0.0.1"), "success"),
        (&by_address, "hostname=a.localhost&sni=none", ("-", "a.localhost"), "success"),
        (&by_address, "sni=a.localhost&verify_name=c.localhost", ("", ""), "tls/cert_wrong_name"),
        (&by_name, "sni=b.localhost&verify_name=127.0.0.1", ("b.localhost", "a.localhost"), "success"),
    ];
    for (target, said, expected, verdict) in cases {
        let before = server.log().requests().len();
        let mut site = Site::default();
        for (key, text) in said.split('&').filter_map(|pair| pair.split_once('=')) {
            site.set(key, text).unwrap();
        }
        let report = prober.run(&Job { site, ..plain_job("m", target) }).await;
        assert_eq!(super::world::verdict(&report), verdict, "{target} {said}");
        let seen = server.log().requests();
        let expected: &[_] = if verdict == "success" { &[expected] } else { &[] };
        assert_eq!(shown(&seen[before..]), expected, "{target} {said}");
    }
}

/// What is said later wins: the module, then the job, then the target's labels, as Prometheus would send them.
#[tokio::test]
async fn modules_jobs_and_labels_say_how_to_probe_and_the_request_has_the_last_word() {
    let ca = Authority::new();
    let server = named_a(&ca).await;
    let address = server.address();
    let yaml = http_module(&ca, 5, "").replace("m: {", "m: {hostname: module.localhost, verify_name: 127.0.0.1, ")
        + &format!(
            "\njobs:\n- {{job_name: plain, modules: [m], interval: 5s, static_configs: [{{targets: ['https://{address}/plain']}}]}}\n\
             - job_name: named\n  modules: [m]\n  interval: 5s\n  hostname: job.localhost\n  static_configs:\n\
             \x20 - targets: ['https://{address}/job']\n\
             \x20 - targets: ['https://nowhere.invalid/label']\n    labels: {{__param_hostname: label.localhost, __param_connect_to: '{address}', team: web}}\n"
        );
    let exporter = Exporter::start(&yaml).await;
    let probed = |path: &str| server.log().requests().iter().any(|seen| seen.path == path);
    until("all are probed", async || ["/plain", "/job", "/label"].into_iter().all(probed)).await;
    exporter
        .probe("m", &format!("https://{address}/request"), "&hostname=request.localhost&sni=module.localhost")
        .await;
    let seen = server.log().requests();
    let of = |path: &str| shown(std::slice::from_ref(seen.iter().find(|seen| seen.path == path).unwrap()))[0];
    assert_eq!(of("/plain"), ("module.localhost", "module.localhost"));
    assert_eq!(of("/job"), ("job.localhost", "job.localhost"));
    assert_eq!(of("/label"), ("label.localhost", "label.localhost"));
    assert_eq!(of("/request"), ("module.localhost", "request.localhost"));
    until("the labels' series is there", async || {
        let page = exporter.metrics().await;
        page.says("probe_success", &[("instance", "https://nowhere.invalid/label"), ("team", "web")], 1.0)
    })
    .await;
    let page = exporter.metrics().await;
    assert!(page.samples.iter().all(|sample| sample.label("__param_hostname").is_empty()));
}

/// The founding case: an edge refuses names that do not fit together, and the report says that they do not.
#[tokio::test]
async fn a_refusal_for_the_names_is_told_as_one() {
    let lab = Lab::start().await.unwrap();
    let prober = Prober::new(&demo_config(&lab, PLENTY, PLENTY));
    let by_address = &lab.endpoint("cdn-edge-by-address").url;
    let name = "cdn-edge.localhost";
    for (said, verdict, hint) in [
        (vec![("hostname", name)], "success", None),
        (
            vec![("sni", name)],
            "processing/status",
            Some("the SNI is cdn-edge.localhost, the Host header says 127.0.0.1"),
        ),
        (
            vec![("hostname", name), ("sni", "none")],
            "processing/status",
            Some("no SNI was sent, the Host header says cdn-edge.localhost"),
        ),
        (vec![], "processing/status", Some("all the server was told is the address 127.0.0.1")),
    ] {
        let mut site = Site::default();
        for (key, text) in &said {
            site.set(key, text).unwrap();
        }
        let report = prober.run(&Job { site, ..plain_job("https", by_address) }).await;
        assert_verdict(&report, verdict);
        let mismatch = if hint.is_some() { 1.0 } else { 0.0 };
        assert!(page_of(&report).says("probe_tls_sni_host_mismatch", &[], mismatch), "{said:?}");
        let shown = show::human(&report);
        assert_eq!(shown.contains("hint"), hint.is_some(), "{shown}");
        assert!(hint.is_none_or(|hint| shown.contains(hint)), "{shown}");
    }
}

/// Each hop has its own name in SNI and Host (`blackbox_exporter` #237, #245, #275, #511, #525, #618, #746).
#[tokio::test]
async fn each_redirect_hop_speaks_for_itself() {
    let lab = Lab::start().await.unwrap();
    let prober = Prober::new(&demo_config(&lab, PLENTY, PLENTY));
    let report = prober.probe("https", &lab.endpoint("redirect-chain").url).await;
    assert_verdict(&report, "success");
    let names = ["redirect-chain.localhost", "redirect-chain-2.localhost", "redirect-chain-3.localhost"];
    assert_eq!(shown(&lab.requests("redirect-chain")), names.map(|name| (name, name)));
    let servers: Vec<_> = report.hops.iter().map(|hop| hop.tls.as_ref().unwrap().server_name.as_str()).collect();
    assert_eq!(servers, names);
    assert!(page_of(&report).says("probe_http_redirects", &[], 2.0));
}

#[tokio::test]
async fn a_redirect_to_an_address_or_another_port_is_followed_with_what_is_there() {
    let ca = Authority::new();
    // By address no SNI is sent, so the server must not insist on one.
    let tls = ServerTls::new(&ca, Tls::new(Cert::Good), &["end.localhost".to_owned()]);
    let end = http::serve(Some(tls), hello).await.unwrap();
    for to in [format!("https://127.0.0.1:{}/", end.address().port()), url("end", &end)] {
        let place = Place::default();
        place.is(to);
        let start = site(&ca, &["start"], move |_| place.redirect()).await;
        assert_verdict(&Prober::new(&http_module(&ca, PLENTY, "")).probe("m", &url("start", &start)).await, "success");
    }
    let seen = end.log().requests();
    assert_eq!(shown(&seen), [("-", "127.0.0.1"), ("end.localhost", "end.localhost")]);
    assert!(seen.iter().all(|seen| seen.host.ends_with(&end.address().port().to_string())), "the port is in the Host");
}

/// A certificate of a later hop is that hop's, not the first one's (`blackbox_exporter` #1406): the metrics are of the last
/// hop, the report has each.
#[tokio::test]
async fn each_hop_keeps_its_own_certificate() {
    let ca = Authority::new();
    let end = site(&ca, &["end"], hello).await;
    let to = url("end", &end);
    let tls = ServerTls::new(&ca, Tls::new(Cert::ExpiresSoon), &["start.localhost".to_owned()]);
    let start = http::serve(Some(tls), move |_| Reply::redirect(&to)).await.unwrap();
    let report = Prober::new(&http_module(&ca, PLENTY, "")).probe("m", &url("start", &start)).await;
    assert_verdict(&report, "success");
    let leaf = |hop: usize| report.hops[hop].tls.as_ref().unwrap().chain[0].clone();
    assert_eq!((leaf(0).dns_names[0].as_str(), leaf(1).dns_names[0].as_str()), ("start.localhost", "end.localhost"));
    assert!(leaf(0).not_after < leaf(1).not_after);
    let page = page_of(&report);
    assert_eq!(page.all("probe_ssl_last_chain_info", &[("fingerprint_sha256", &leaf(1).fingerprint_sha256)]).len(), 1);
}

/// No state is shared between probes (telegraf #8914, #9289).
#[tokio::test]
async fn two_hundred_probes_at_once_see_each_their_own_certificate() {
    let ca = Authority::new();
    let labels: Vec<String> = (0..200).map(|n| format!("site-{n}")).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let server = site(&ca, &labels, hello).await;
    let prober = Arc::new(Prober::new(&http_module(&ca, PLENTY, "")));
    let mut running = JoinSet::new();
    for label in &labels {
        let (prober, target, name) = (Arc::clone(&prober), url(label, &server), format!("{label}.localhost"));
        running.spawn(async move { (prober.probe("m", &target).await, name) });
    }
    for (report, name) in running.join_all().await {
        assert_verdict(&report, "success");
        assert_eq!(report.tls().unwrap().chain[0].dns_names, [name]);
    }
}

/// A Host of the module's own stays on the site and goes no further (`blackbox_exporter` #245, #275, #896).
#[tokio::test]
async fn a_host_override_stays_on_the_site() {
    let ca = Authority::new();
    let away = Place::default();
    let there = away.clone();
    let start = site(&ca, &["start"], move |seen| match seen.path.as_str() {
        "/" => Reply::redirect("/on-site"),
        _ => there.redirect(),
    })
    .await;
    let end = site(&ca, &["end"], hello).await;
    away.is(url("end", &end));
    let yaml = http_module(&ca, PLENTY, "headers: {Host: start.localhost},");
    let by_address = format!("https://{}/", start.address());
    assert_verdict(&Prober::new(&yaml).probe("m", &by_address).await, "success");
    assert_eq!(shown(&start.log().requests()), [("start.localhost", "start.localhost"); 2]);
    assert_eq!(shown(&end.log().requests()), [("end.localhost", "end.localhost")]);
}

const CANARY: &str = "canary-7f3a";

/// Settings that put the canary into every header a module can.
fn with_secrets(ca: &Authority) -> String {
    http_module(
        ca,
        PLENTY,
        &format!(
            "basic_auth: {{username: u, password: {CANARY}}}, headers: {{Cookie: c={CANARY}, X-Plain: shown}}, \
             http_headers: {{X-Secret: {{secrets: [{CANARY}]}}}},"
        ),
    )
}

fn secrets_in(seen: &Seen) -> usize {
    let basic = "Basic dTpjYW5hcnktN2YzYQ==";
    let values = seen.headers.values().filter_map(|value| value.to_str().ok());
    values.filter(|value| value.contains(CANARY) || *value == basic).count()
}

/// Three servers, so that a chain can leave the first one's site and come back to it.
#[tokio::test]
async fn credentials_stay_on_their_site_and_do_not_come_back() {
    let ca = Authority::new();
    let (away, back) = (Place::default(), Place::default());
    let there = away.clone();
    let home = site(&ca, &["home"], move |seen| match seen.path.as_str() {
        "/" => Reply::redirect("/on-site"),
        "/on-site" => there.redirect(),
        _ => hello(seen),
    })
    .await;
    let here = back.clone();
    let other = site(&ca, &["other"], move |_| here.redirect()).await;
    away.is(url("other", &other));
    back.is(format!("{}back", url("home", &home)));
    let report = Prober::new(&with_secrets(&ca)).probe("m", &url("home", &home)).await;
    assert_verdict(&report, "success");
    let at_home = home.log().requests();
    assert_eq!(at_home.iter().map(|seen| seen.path.as_str()).collect::<Vec<_>>(), ["/", "/on-site", "/back"]);
    assert_eq!(at_home.iter().map(secrets_in).collect::<Vec<_>>(), [3, 3, 0]);
    let elsewhere = other.log().requests();
    assert_eq!(elsewhere.iter().map(secrets_in).collect::<Vec<_>>(), [0]);
    assert_eq!(elsewhere[0].headers["x-plain"], "shown", "what is no secret goes along, as in Go");
}

#[tokio::test]
async fn credentials_do_not_survive_a_downgrade() {
    let ca = Authority::new();
    let plain = http::serve(None, hello).await.unwrap();
    let to = format!("http://home.localhost:{}/", plain.address().port());
    let home = site(&ca, &["home"], move |_| Reply::redirect(&to)).await;
    let report = Prober::new(&with_secrets(&ca)).probe("m", &url("home", &home)).await;
    assert_verdict(&report, "success");
    assert_eq!(home.log().requests().iter().map(secrets_in).collect::<Vec<_>>(), [3]);
    let seen = plain.log().requests();
    assert_eq!(seen.iter().map(secrets_in).collect::<Vec<_>>(), [0]);
    assert!(!seen[0].headers.contains_key(header::REFERER), "the encrypted page's address is not told");
}

/// A password in the target goes to the target and shows up nowhere.
#[tokio::test]
async fn credentials_of_the_target_are_sent_and_masked() {
    let ca = Authority::new();
    let home = site(&ca, &["home"], hello).await;
    let target = format!("https://u:{CANARY}@home.localhost:{}/", home.address().port());
    let report = Prober::new(&http_module(&ca, PLENTY, "")).probe("m", &target).await;
    assert_verdict(&report, "success");
    assert_eq!(secrets_in(&home.log().requests()[0]), 1);
    assert!(!format!("{report:?}").contains(CANARY));
}

/// An unverified peer gets nothing: no request, no header, no credential, no client certificate's use.
#[tokio::test]
async fn a_peer_that_is_not_verified_sees_no_request() {
    let ca = Authority::new();
    let tls = ServerTls::new(&ca, Tls::new(Cert::WrongName), &["home.localhost".to_owned()]);
    let home = http::serve(Some(tls), hello).await.unwrap();
    let report = Prober::new(&with_secrets(&ca)).probe("m", &url("home", &home)).await;
    assert_verdict(&report, "tls/cert_wrong_name");
    assert!(home.log().requests().is_empty());
    let ignored = with_secrets(&ca).replace("tls_config: {", "tls_config: {insecure_skip_verify: true, ");
    let report = Prober::new(&ignored).probe("m", &url("home", &home)).await;
    assert_verdict(&report, "success");
    assert!(page_of(&report).says("probe_tls_verified", &[("check", "name")], 0.0), "ignored is not forgotten");
}

/// Redirects followed: none, one, the most, one too many (cloudprober #1216 to #1218).
#[tokio::test]
async fn the_redirect_limit_is_exact() {
    let ca = Authority::new();
    let start = site(&ca, &["start"], |seen| match seen.path[1..].parse::<u32>() {
        Ok(left) if left > 0 => Reply::redirect(&format!("/{}", left - 1)),
        _ => hello(seen),
    })
    .await;
    let prober = Prober::new(&http_module(&ca, PLENTY, ""));
    for (redirects, expected) in [(0, "success"), (1, "success"), (10, "success"), (11, "processing/redirect_limit")] {
        let report = prober.probe("m", &format!("{}{redirects}", url("start", &start))).await;
        assert_verdict(&report, expected);
        assert_eq!(report.redirects(), redirects);
    }
    let none = Prober::new(&http_module(&ca, PLENTY, "follow_redirects: false,"));
    let before = start.log().requests().len();
    let report = none.probe("m", &format!("{}3", url("start", &start))).await;
    assert_verdict(&report, "processing/status");
    assert_eq!(start.log().requests().len(), before + 1, "the redirect is not followed");
}

/// What the user wrote reaches the server as it is (`blackbox_exporter` #1520, #1525).
#[tokio::test]
async fn path_and_query_arrive_as_written() {
    let ca = Authority::new();
    let start = site(&ca, &["start"], hello).await;
    let prober = Prober::new(&http_module(&ca, PLENTY, ""));
    for path in ["a+b?c=d+e", "%2B%25?q=%2B%25", "x%20y?z=%C3%A9", "?a=1&b=%26"] {
        assert_verdict(&prober.probe("m", &format!("{}{path}", url("start", &start))).await, "success");
    }
    let seen = start.log().requests();
    let paths: Vec<_> = seen.iter().map(|seen| seen.path.as_str()).collect();
    assert_eq!(paths, ["/a+b?c=d+e", "/%2B%25?q=%2B%25", "/x%20y?z=%C3%A9", "/?a=1&b=%26"]);
}

/// The first address of the preferred family is dialled, and the other family only when there is none and it may be
/// (`blackbox_exporter` #424, #540).
#[tokio::test]
async fn address_families_are_chosen_as_configured() {
    let (v4, v6) = ("127.0.0.1", "[::1]");
    for (settings, host, expected) in [
        ("preferred_ip_protocol: ip4", v4, Some(4.0)),
        ("preferred_ip_protocol: ip6", v4, Some(4.0)),
        ("preferred_ip_protocol: ip6, ip_protocol_fallback: false", v4, None),
        ("preferred_ip_protocol: ip4", v6, Some(6.0)),
        ("preferred_ip_protocol: ip4, ip_protocol_fallback: false", v6, None),
        ("preferred_ip_protocol: ip6, ip_protocol_fallback: false", v6, Some(6.0)),
    ] {
        let yaml = format!("modules: {{m: {{prober: http, timeout: {PLENTY}s, http: {{{settings}}}}}}}");
        // Port 9 of loopback: whether or not anybody answers, the address is chosen.
        let report = Prober::new(&yaml).probe("m", &format!("http://{host}:9/")).await;
        let protocol = page_of(&report).value("probe_ip_protocol", &[]);
        match expected {
            Some(family) => assert!((protocol - family).abs() < 0.1, "{settings} {host}: {protocol}"),
            None => assert_verdict(&report, "resolve/no_address"),
        }
    }
}

/// A client certificate of one module is not shown by another (telegraf #9289), nor to a server that is not verified.
#[tokio::test]
async fn a_client_certificate_opens_the_door_of_its_own_module_only() {
    let lab = Lab::start().await.unwrap();
    let (cert, key) = lab.client_pem();
    let quoted = |text| serde_json::to_string(text).unwrap();
    let (ca, cert, key) = (quoted(lab.ca_pem()), quoted(cert), quoted(key));
    let module = |more: &str| {
        format!(
            "{{prober: http, timeout: {PLENTY}s, http: {{preferred_ip_protocol: ip4, tls_config: {{ca: {ca}{more}}}}}}}"
        )
    };
    let with = module(&format!(", cert: {cert}, key: {key}"));
    let prober = Arc::new(Prober::new(&format!("modules: {{with: {with}, without: {}}}", module(""))));
    let mut running = JoinSet::new();
    for n in 0..40 {
        let (name, expected) = [("with", "success"), ("without", "tls/client_cert_required")][n % 2];
        let server = ["client-cert", "client-cert-tls12"][n / 2 % 2];
        let (prober, target) = (Arc::clone(&prober), lab.endpoint(server).url.clone());
        running.spawn(async move { (prober.probe(name, &target).await, expected) });
    }
    for (report, expected) in running.join_all().await {
        assert_verdict(&report, expected);
    }
}
