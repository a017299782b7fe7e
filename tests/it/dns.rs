//! Name servers of one's own that answer, lie, refuse or say nothing; what is remembered; and addresses that are raced.

use crate::world::{Exporter, PLENTY, Peer, Prober, assert_verdict, http_module, page_of, site, until, verdict};
use ::http::StatusCode;
use edgeprobe::lab::{
    Seen,
    ca::Authority,
    dns::{Answer, DnsServer, Manner},
    http::Reply,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HERE_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn hello(_: &Seen) -> Reply {
    Reply::new(StatusCode::OK, "hello\n")
}

/// `http_module` that asks `server`; `more` is in flow style and ends with a comma.
fn asking(ca: &Authority, server: &DnsServer, (resolver, module): (&str, &str)) -> String {
    let settings = format!("resolver: {{servers: ['{}'], {resolver}}}, {module}", server.address());
    http_module(ca, PLENTY, "").replace("m: {", &format!("m: {{{settings}"))
}

/// Each thing that a server can say of a name has its reason, for every prober (`blackbox_exporter` #106, #121).
#[tokio::test]
async fn every_answer_has_its_reason_for_every_prober() {
    let server = DnsServer::start().await.unwrap();
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        ("gone.test", Answer::not_found(), "resolve/name_not_found"),
        ("empty.test", Answer::no_data(), "resolve/no_address"),
        ("broken.test", Answer::failure(), "resolve/resolver_failed"),
        ("refused.test", Answer::refused(), "resolve/resolver_refused"),
        ("odd.test", Answer::code(4), "resolve/resolver_failed"),
        ("silent.test", Answer::silence(), "resolve/resolver_timeout"),
        ("garbage.test", Answer::address(HERE).manner(Manner::Garbage), "resolve/resolver_timeout"),
        ("cut.test", Answer::address(HERE).manner(Manner::AlwaysTruncated), "resolve/resolver_failed"),
        ("loop.test", Answer::address(HERE).by(&["a.test", "loop.test", "a.test"]), "resolve/resolver_failed"),
    ];
    for (name, answer, _) in &cases {
        server.set(name, answer.clone());
    }
    let resolver = format!("resolver: {{servers: ['{}'], timeout: 500ms, attempts: 2}}", server.address());
    let yaml = format!(
        "modules:\n  http: {{prober: http, timeout: 60s, {resolver}}}\n  ws: {{prober: websocket, timeout: 60s, {resolver}}}\n  \
         tls: {{prober: tls, timeout: 60s, {resolver}}}\n  scan: {{prober: tls_scan, timeout: 60s, {resolver}}}\n  \
         dead: {{prober: tls, timeout: 60s, resolver: {{servers: ['{dead}']}}}}\n"
    );
    let prober = Prober::new(&yaml);
    for (name, _, expected) in &cases {
        for (module, target) in [
            ("http", format!("http://{name}/")),
            ("ws", format!("ws://{name}/")),
            ("tls", (*name).to_owned()),
            ("scan", (*name).to_owned()),
        ] {
            let report = prober.probe(module, &target).await;
            assert_eq!(verdict(&report), *expected, "{module} {name}: {:?}", report.failure);
        }
    }
    assert_verdict(&prober.probe("dead", "name.test").await, "resolve/resolver_failed");
    let page = page_of(&prober.probe("tls", "gone.test").await);
    assert!(page.value("probe_dns_family_lookup_time_seconds", &[("family", "ip4")]) >= 0.0);
}

/// A lookup ends with its probe, whatever the server's own time is (`blackbox_exporter` #458).
#[tokio::test]
async fn a_lookup_ends_at_the_probes_deadline() {
    let ca = Authority::new();
    let server = DnsServer::start().await.unwrap();
    server.set("silent.test", Answer::silence());
    server.set("late.test", Answer::address(HERE).after(Duration::from_secs(3600)));
    let yaml = asking(&ca, &server, ("timeout: 1h, attempts: 5", "")).replace("timeout: 120s", "timeout: 300ms");
    let prober = Prober::new(&yaml);
    for name in ["silent.test", "late.test"] {
        let report = prober.probe("m", &format!("https://{name}/")).await;
        assert_eq!(verdict(&report), "resolve/timeout", "{name}");
        assert!(report.times().get(edgeprobe::model::Phase::Resolve).is_some());
    }
}

/// Truncation leads to TCP, aliases are followed, forged answers are passed over; the hosts file comes first.
#[tokio::test]
async fn good_answers_are_used_however_they_come() {
    let ca = Authority::new();
    let server = DnsServer::start().await.unwrap();
    let web = site(&ca, &["a"], hello).await;
    for (name, answer) in [
        ("plain.test", Answer::address(HERE)),
        ("long.test", Answer::address(HERE).manner(Manner::Truncated)),
        ("alias.test", Answer::address(HERE).by(&["b.test", "c.test"])),
        ("forged-id.test", Answer::address(HERE).manner(Manner::AfterForgedId)),
        ("forged-question.test", Answer::address(HERE).manner(Manner::AfterForgedQuestion)),
        ("forged-source.test", Answer::address(HERE).manner(Manner::AfterForgedSource)),
    ] {
        server.set(name, answer);
        server.set_v6(name, Answer::no_data());
        let yaml = asking(&ca, &server, ("", "hostname: a.localhost, "));
        let report = Prober::new(&yaml).probe("m", &format!("https://{name}:{}/", web.address().port())).await;
        assert_verdict(&report, "success");
        let dns = report.lookup().unwrap().dns.as_ref().unwrap();
        assert!(dns.answers.iter().any(|answer| answer.server.is_some() && answer.addresses == 1), "{name}: {dns:?}");
    }
    let hosts = Prober::new(&asking(&ca, &server, ("", "hostname: a.localhost, ")));
    let report = hosts.probe("m", &format!("https://localhost:{}/", web.address().port())).await;
    assert_eq!(server.queries("localhost"), 0, "it is in the hosts file: {:?}", report.failure);
}

/// A job's resolver wins over its module's, and a module without one asks the system.
#[tokio::test]
async fn a_job_may_ask_others_than_its_module() {
    let ca = Authority::new();
    let (of_module, of_job) = (DnsServer::start().await.unwrap(), DnsServer::start().await.unwrap());
    of_module.set("a.test", Answer::not_found());
    of_job.set("a.test", Answer::refused());
    let yaml = asking(&ca, &of_module, ("timeout: 1s", "")).replace("timeout: 120s", "timeout: 5s")
        + &format!(
            "\njobs: [{{job_name: j, modules: [m], interval: 5s, resolver: {{servers: ['{}']}}, static_configs: [{{targets: \
             ['https://a.test/']}}]}}]\n",
            of_job.address()
        );
    let exporter = Exporter::start(&yaml).await;
    until("it is probed", async || !exporter.metrics().await.all("probe_success", &[]).is_empty()).await;
    assert_eq!(exporter.metrics().await.verdict(&[]), "resolve/resolver_refused");
    assert_eq!(of_module.all_queries(), 0);
}

/// Nothing is remembered unless it is asked for; then for as long as the answer says, also over a reload.
#[tokio::test]
async fn answers_are_remembered_as_long_as_they_say() {
    let ca = Authority::new();
    let server = DnsServer::start().await.unwrap();
    for (name, answer) in [("long.test", Answer::not_found().ttl(300)), ("short.test", Answer::not_found().ttl(0))] {
        server.set(name, answer);
    }
    let forgetful = Prober::new(&asking(&ca, &server, ("", "")));
    for _ in 0..2 {
        forgetful.probe("m", "https://long.test/").await;
    }
    assert_eq!(server.queries("long.test"), 4, "A and AAAA, each time");
    let yaml = asking(&ca, &server, ("cache: true", ""));
    let exporter = Exporter::start(&yaml).await;
    for _ in 0..3 {
        exporter.probe("m", "https://long.test/", "").await;
        exporter.probe("m", "https://short.test/", "").await;
    }
    assert_eq!((server.queries("long.test"), server.queries("short.test")), (6, 6));
    assert_eq!(exporter.reload(&yaml).await.status, 200);
    exporter.probe("m", "https://long.test/", "").await;
    assert_eq!(server.queries("long.test"), 6, "a reload forgets nothing that stays");
}

/// The last good answer stands in only where that is asked for, and it is told.
#[tokio::test]
async fn an_old_answer_stands_in_where_that_is_wanted() {
    let ca = Authority::new();
    let web = site(&ca, &["a"], hello).await;
    for (settings, expected) in
        [("cache: true", "resolve/resolver_failed"), ("cache: true, serve_stale: 1h", "success")]
    {
        let server = DnsServer::start().await.unwrap();
        server.set_turns("a.test", vec![Answer::address(HERE).ttl(0), Answer::failure()]);
        server.set_v6("a.test", Answer::no_data().ttl(0));
        let exporter = Exporter::start(&asking(&ca, &server, (settings, "hostname: a.localhost, "))).await;
        let target = format!("https://a.test:{}/", web.address().port());
        let first = crate::world::Page::parse(exporter.probe("m", &target, "").await.text());
        assert_eq!(first.verdict(&[]), "success");
        assert!(first.says("probe_dns_answer_stale", &[], 0.0));
        let second = crate::world::Page::parse(exporter.probe("m", &target, "").await.text());
        assert_eq!(second.verdict(&[]), expected, "{settings}");
        let stale = if expected == "success" { 1.0 } else { 0.0 };
        assert!(second.says("probe_dns_answer_stale", &[], stale), "{settings}");
    }
}

/// The address that was checked is the one that is dialled: a name that changes its mind gains nothing.
#[tokio::test]
async fn rebinding_gets_through_nowhere() {
    let ca = Authority::new();
    let server = DnsServer::start().await.unwrap();
    let peer = Peer::tcp(|_| async {}).await;
    server.set_turns("rebind.test", vec![Answer::address([192, 0, 2, 1]).ttl(0), Answer::address(HERE).ttl(0)]);
    server.set_v6("rebind.test", Answer::no_data());
    let module = "ip_protocol: race, ";
    let yaml = asking(&ca, &server, ("", module)).replace("timeout: 120s", "timeout: 300ms")
        + "\naccess: {denied_networks: [127.0.0.0/8, '::1']}\n";
    let prober = Prober::new(&yaml);
    let target = format!("https://rebind.test:{}/", peer.address.port());
    let verdicts = [verdict(&prober.probe("m", &target).await), verdict(&prober.probe("m", &target).await)];
    assert_eq!(verdicts[1], "connect/address_denied");
    assert_eq!(peer.accepted(), 0, "{verdicts:?}");
}

/// IPv6 is refused or a black hole, and IPv4 answers (`blackbox_exporter` #594, #818, #819).
#[tokio::test]
async fn a_race_is_won_by_whoever_answers() {
    let ca = Authority::new();
    let server = DnsServer::start().await.unwrap();
    let web = site(&ca, &["a"], hello).await;
    server.set("a.test", Answer::address(HERE));
    server.set_v6("a.test", Answer::address(HERE_V6));
    let target = format!("https://a.test:{}/", web.address().port());
    // Nobody listens on ::1, if the machine has it at all.
    let racing = "hostname: a.localhost, ip_protocol: race, ";
    let yaml = asking(&ca, &server, ("", racing)).replace("preferred_ip_protocol: ip4", "preferred_ip_protocol: ip6");
    let report = Prober::new(&yaml).probe("m", &target).await;
    assert_verdict(&report, "success");
    assert_eq!(report.hops[0].peer.unwrap().ip(), HERE);
    assert_eq!(report.lookup().unwrap().chosen, Some(HERE));
    let page = page_of(&report);
    assert!(page.says("probe_ip_protocol", &[], 4.0) && page.says("probe_connect_attempts", &[], 2.0));
    let only = yaml.replace("preferred_ip_protocol: ip6", "preferred_ip_protocol: ip6, ip_protocol_fallback: false");
    let alone = Prober::new(&only).probe("m", &target).await;
    assert_eq!(alone.failure.as_ref().map(|failure| failure.phase.as_str()), Some("connect"), "{:?}", alone.failure);
}

/// Edges that the name server lists no more are gone (one series per address, no flip).
#[tokio::test]
async fn edges_follow_the_name_server() {
    let ca = Authority::new();
    let server = DnsServer::start().await.unwrap();
    let (first, second): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 3].into());
    server.set("edges.test", Answer::addresses(&[first, second]).ttl(0));
    server.set_v6("edges.test", Answer::no_data());
    let yaml = asking(&ca, &server, ("", "")).replace("timeout: 120s", "timeout: 1s")
        + "\njobs: [{job_name: j, modules: [m], interval: 1s, addresses: all, static_configs: [{targets: ['https://edges.test:9/']}]}]\n";
    let exporter = Exporter::start(&yaml).await;
    let edges = async || {
        let page = exporter.metrics().await;
        let all = page.all("probe_success", &[]);
        all.iter().map(|sample| sample.label("edge").to_owned()).collect::<Vec<_>>()
    };
    until("both edges are there", async || edges().await == ["127.0.0.1", "127.0.0.3"]).await;
    server.set("edges.test", Answer::addresses(&[second]).ttl(0));
    until("one is gone", async || edges().await == ["127.0.0.3"]).await;
    let page = exporter.metrics().await;
    assert!(page.says("probe_edges", &[], 1.0) && page.says("probe_dns_addresses", &[], 1.0));
}

/// Names that no server answers for cost sockets while they wait, and nobody else's time.
#[tokio::test]
async fn thousands_of_names_on_a_black_hole_hold_up_nobody() {
    let (hole, good) = (DnsServer::start().await.unwrap(), DnsServer::start().await.unwrap());
    hole.set(edgeprobe::lab::dns::ANY_NAME, Answer::silence());
    good.set(edgeprobe::lab::dns::ANY_NAME, Answer::not_found());
    let module = |name: &str, server: &DnsServer| {
        format!(
            "{name}: {{prober: tls, timeout: 2s, resolver: {{servers: ['{}'], timeout: 1s, attempts: 1}}}}",
            server.address()
        )
    };
    let targets =
        |label: &str, count: usize| (0..count).map(|n| format!("{label}-{n}.test")).collect::<Vec<_>>().join(", ");
    let yaml = format!(
        "modules: {{{}, {}}}\njobs:\n- {{job_name: hole, modules: [hole], interval: 20s, static_configs: [{{targets: [{}]}}]}}\n\
         - {{job_name: good, modules: [good], interval: 2s, static_configs: [{{targets: [{}]}}]}}\n",
        module("hole", &hole),
        module("good", &good),
        targets("lost", 5_000),
        targets("fine", 20),
    );
    let program = crate::world::Program::start(&yaml, &[]).await;
    let idle = program.descriptors();
    until("many names are waited for", async || hole.all_queries() > 2_000).await;
    let threads = std::fs::read_dir(format!("/proc/{}/task", program.id())).unwrap().count();
    assert!(threads < 64, "{threads} threads");
    until("the others were probed again and again", async || {
        let page = program.metrics().await;
        page.all("probe_runs_total", &[("job", "good")]).iter().filter(|sample| sample.value > 2.5).count() == 20
    })
    .await;
    let page = program.metrics().await;
    let lags: Vec<f64> = page.all("probe_schedule_lag_seconds", &[("job", "good")]).iter().map(|s| s.value).collect();
    assert!(lags.iter().all(|lag| *lag < 1.0), "{lags:?}");
    assert_eq!(page.all("probe_success", &[("job", "good")]).len(), 20);
    fs_write(&program, "modules: {m: {prober: tls}}");
    program.signal("HUP");
    until("what waited is gone", async || program.descriptors() <= idle + 20).await;
}

fn fs_write(program: &crate::world::Program, yaml: &str) {
    std::fs::write(program.config_file(), yaml).unwrap();
}
