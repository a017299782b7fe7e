//! One name, several edges: each is probed with the same SNI and Host, has series of its own, and what they make together is
//! told beside.

use crate::world::{
    Exporter, PLENTY, Page, Prober, ask, assert_verdict, demo_config, http_module, page_of, plain_job, probe_path,
    until,
};
use edgeprobe::{
    lab::{
        Lab,
        ca::{Authority, Cert},
        cdn::{CDN_SITE, Cdn},
        http::{self, Reply},
        tls::{ServerTls, Tls},
    },
    model::{Job, Site},
};

fn site(said: &[(&str, &str)]) -> Site {
    let mut site = Site::default();
    for (key, text) in said {
        site.set(key, text).unwrap();
    }
    site
}

/// A WebSocket module that trusts `ca`.
fn wss_module(ca: &Authority, more: &str) -> String {
    let pem = ca.trusted_pem().replace('\n', "\\n");
    format!(
        "modules: {{m: {{prober: websocket, timeout: 5s, {more}websocket: {{preferred_ip_protocol: ip4, http_config: {{tls_config: {{ca: \"{pem}\"}}}}}}}}}}"
    )
}

fn job(yaml: &str, settings: &str, target: &str) -> String {
    format!(
        "{yaml}\njobs: [{{job_name: cdn, modules: [m], interval: 5s, {settings}, static_configs: [{{targets: ['{target}']}}]}}]"
    )
}

fn listed(edges: &[std::net::SocketAddr]) -> String {
    let quoted: Vec<String> = edges.iter().map(|edge| format!("'{edge}'")).collect();
    format!("connect_to: [{}]", quoted.join(", "))
}

/// The case the program was made for: a WebSocket at a CDN's edges, reached by address.
#[tokio::test]
async fn a_websocket_reached_by_address_is_refused_unless_sni_and_host_name_the_site() {
    let lab = Lab::start().await.unwrap();
    let prober = Prober::new(&demo_config(&lab, PLENTY, PLENTY));
    for edge in lab.cdn().addresses() {
        let by_address = plain_job("wss", &format!("wss://{edge}/"));
        let named = prober.run(&Job { site: site(&[("hostname", CDN_SITE)]), ..by_address.clone() }).await;
        assert_verdict(&named, "success");
        assert_eq!(named.http().unwrap().status, 101);
        assert!(page_of(&named).says("probe_tls_sni_host_mismatch", &[], 0.0));
        let sni_only = prober.run(&Job { site: site(&[("sni", CDN_SITE)]), ..by_address }).await;
        assert_verdict(&sni_only, "processing/upgrade_refused");
        assert_eq!(sni_only.http().unwrap().status, 403);
        assert!(page_of(&sni_only).says("probe_tls_sni_host_mismatch", &[], 1.0));
    }
}

/// Nodes with different certificates are different series, so that no value flips (`blackbox_exporter` #1047).
#[tokio::test]
async fn each_edge_has_its_own_series_and_the_one_with_the_old_certificate_stands_out() {
    let ca = Authority::new();
    let cdn = Cdn::start(&ca).await.unwrap();
    let edges = cdn.addresses();
    let exporter = Exporter::start(&job(&wss_module(&ca, ""), &listed(&edges), &format!("wss://{CDN_SITE}/"))).await;
    until("the edges are probed", async || ask(exporter.address, "GET", "/-/ready", "").await.status == 200).await;
    let page = exporter.metrics().await;
    let expiry = |edge: usize| page.value("probe_ssl_earliest_cert_expiry", &[("edge", &edges[edge].to_string())]);
    assert!(expiry(1) < expiry(0) && (expiry(0) - expiry(2)).abs() < 1.0);
    for edge in edges {
        assert_eq!(page.verdict(&[("edge", &edge.to_string())]), "success");
        assert!(page.says("probe_runs_total", &[("edge", &edge.to_string())], 1.0));
    }
    assert_eq!(page.all("probe_success", &[]).len(), 3, "the whole has roll-ups only");
    for (name, value) in [
        ("probe_edges", 3.0),
        ("probe_edges_failing", 0.0),
        ("probe_edges_success", 1.0),
        ("probe_edge_certificates_distinct", 2.0),
        ("probe_edges_left_out", 0.0),
    ] {
        let found = page.all(name, &[]);
        assert_eq!((found.len(), found[0].label("edge")), (1, ""), "{name}");
        assert!(page.says(name, &[("job", "cdn")], value), "{name}");
    }
}

/// One bad edge behind a good name: what it does to the whole is the rule's to say, and discovery lists the others.
#[tokio::test]
async fn a_dead_edge_fails_alone() {
    let ca = Authority::new();
    let cdn = Cdn::start(&ca).await.unwrap();
    let [first, second, _] = cdn.addresses();
    // A port that was just free.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (rule, success) in [("all", 0.0), ("any", 1.0), ("quorum", 1.0)] {
        let settings = format!("success_when: {rule}, {}", listed(&[first, dead, second]));
        let yaml = job(&wss_module(&ca, ""), &settings, &format!("wss://{CDN_SITE}/"));
        let exporter = Exporter::start(&yaml).await;
        until("the edges are probed", async || ask(exporter.address, "GET", "/-/ready", "").await.status == 200).await;
        let page = exporter.metrics().await;
        assert!(page.says("probe_edges_success", &[], success), "{rule}");
        assert!(page.says("probe_edges_failing", &[], 1.0));
        assert_eq!(page.verdict(&[("edge", &dead.to_string())]), "connect/refused");
        let status = ask(exporter.address, "GET", "/", "").await;
        assert!(status.text().contains("2 of 3 edges ok") && !status.text().contains("not yet probed</span>"));
        let answer = ask(exporter.address, "GET", "/sd/healthy?job=cdn", "").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        let groups: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
        let targets: Vec<&str> = groups.as_array().unwrap().iter().map(|g| g["targets"][0].as_str().unwrap()).collect();
        let mut expected = [first.to_string(), second.to_string()];
        expected.sort();
        assert_eq!(targets, expected);
        let labels = &groups[0]["labels"];
        assert_eq!(
            (&labels["__meta_edgeprobe_job"], &labels["__meta_edgeprobe_edge"]),
            (&"cdn".into(), &expected[0].as_str().into())
        );
        for (query, status) in [("", 400), ("?job=other", 404)] {
            assert_eq!(ask(exporter.address, "GET", &format!("/sd/healthy{query}"), "").await.status, status);
        }
        let none = ask(exporter.address, "GET", "/sd/healthy?job=cdn&module=other", "").await;
        assert_eq!(none.text(), "[]");
        exporter.stop().await;
    }
}

/// Removed edges vanish at once; those that stay keep their totals.
#[tokio::test]
async fn a_reload_takes_an_edge_away() {
    let ca = Authority::new();
    let cdn = Cdn::start(&ca).await.unwrap();
    let [first, second, third] = cdn.addresses();
    let yaml = |edges: &[_]| job(&wss_module(&ca, ""), &listed(edges), &format!("wss://{CDN_SITE}/"));
    let exporter = Exporter::start(&yaml(&[first, second])).await;
    until("the edges are probed", async || exporter.metrics().await.all("probe_success", &[]).len() == 2).await;
    assert_eq!(exporter.reload(&yaml(&[second, third])).await.status, 200);
    until("the other edges are probed", async || {
        let page = exporter.metrics().await;
        page.all("probe_success", &[("edge", &third.to_string())]).len() == 1
    })
    .await;
    let page = exporter.metrics().await;
    assert!(page.samples.iter().all(|sample| sample.label("edge") != first.to_string()));
    assert!(page.value("probe_runs_total", &[("edge", &second.to_string())]) > 1.5);
}

/// `/probe` gives one answer for all edges.
#[tokio::test]
async fn a_request_fans_out() {
    let ca = Authority::new();
    let cdn = Cdn::start(&ca).await.unwrap();
    let [first, second, _] = cdn.addresses();
    let exporter = Exporter::start(&wss_module(&ca, "")).await;
    let target = format!("wss://{CDN_SITE}/");
    let ask_for =
        async |more: &str| Page::parse(ask(exporter.address, "GET", &probe_path("m", &target, more), "").await.text());
    let page = ask_for(&format!("&connect_to={first}&connect_to={second}&connect_to={second}")).await;
    for edge in [first, second] {
        assert_eq!(page.verdict(&[("edge", &edge.to_string())]), "success");
    }
    assert!(page.says("probe_edges", &[], 2.0) && page.says("probe_edge_certificates_distinct", &[], 2.0));
    assert!(page.says("probe_edges_success", &[], 1.0));
    let single = ask_for(&format!("&connect_to={first}")).await;
    assert_eq!(single.verdict(&[]), "success");
    assert!(single.all("probe_edges", &[]).is_empty() && single.samples.iter().all(|s| s.label("edge").is_empty()));
    // The name's own addresses have nothing on port 443, or somebody else's server.
    let resolved = ask_for("&addresses=all&success_when=any").await;
    assert!(resolved.value("probe_edges", &[]) >= 1.0);
    assert!(!resolved.all("probe_success", &[("edge", "127.0.0.1")]).is_empty());
    let nowhere = Page::parse(exporter.probe("m", "wss://nowhere.invalid/", "&addresses=all").await.text());
    assert_eq!(nowhere.verdict(&[]), "resolve/name_not_found");
    assert!(nowhere.says("probe_edges", &[], 0.0) && nowhere.says("probe_edges_success", &[], 0.0));
    for more in
        ["&addresses=some", "&success_when=most", "&connect_to=a%20b&connect_to=x", "&addresses=all&connect_to=x"]
    {
        assert_eq!(exporter.probe("m", &target, more).await.status, 400, "{more}");
    }
    let debug = exporter.probe("m", &target, &format!("&connect_to={first}&connect_to={second}&debug=true")).await;
    for edge in [first, second] {
        assert!(debug.text().contains(&format!("edge {edge}")), "{}", debug.text());
    }
}

/// A name that does not resolve is a failure of the whole: an alert on `probe_success` fires.
#[tokio::test]
async fn a_failed_lookup_fails_the_whole() {
    let ca = Authority::new();
    let exporter = Exporter::start(&job(&wss_module(&ca, ""), "addresses: all", "wss://nowhere.invalid/")).await;
    until("it is probed", async || !exporter.metrics().await.all("probe_success", &[]).is_empty()).await;
    let page = exporter.metrics().await;
    assert_eq!(page.verdict(&[("job", "cdn")]), "resolve/name_not_found");
    assert!(page.says("probe_edges", &[], 0.0) && page.says("probe_edges_success", &[], 0.0));
}

/// `ip_protocol: both`: a result for each family, one of which this name has not.
#[tokio::test]
async fn both_families_are_two_results() {
    let ca = Authority::new();
    let tls = ServerTls::new(&ca, Tls::new(Cert::Good), &["both.localhost".to_owned()]);
    let server = http::serve(Some(tls), |_| Reply::new(::http::StatusCode::OK, "hello\n")).await.unwrap();
    let yaml = http_module(&ca, PLENTY, "").replace("m: {", "m: {ip_protocol: both, ");
    let exporter = Exporter::start(&yaml).await;
    let by_address = exporter.probe("m", &format!("https://{}/", server.address()), "").await;
    let page = Page::parse(by_address.text());
    assert_eq!(page.verdict(&[("ip_family", "ip4")]), "success");
    assert_eq!(page.verdict(&[("ip_family", "ip6")]), "resolve/no_address");
    assert!(page.says("probe_edges", &[], 2.0) && page.says("probe_edges_failing", &[], 1.0));
}
