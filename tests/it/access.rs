//! What `/probe` may be asked for, where no probe connects, and to whom credentials go. Loopback stands in for the forbidden
//! networks, so that a hole would be seen and hurt nobody.

use crate::world::{Exporter, PLENTY, Page, Peer, Prober, http_module, plain_job, request, site, until, verdict};
use ::http::StatusCode;
use edgeprobe::{
    lab::{
        ca::Authority,
        http::{self, Reply},
    },
    model::{Job, Site},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{net::TcpListener, task::JoinSet};

/// A config of `http_module` with an `access` section.
fn guarded(ca: &Authority, more: &str, access: &str) -> String {
    format!("{}\naccess: {{{access}}}", http_module(ca, PLENTY, more))
}

/// Spellings of loopback at this port, with and without a scheme: some are refused as targets, none may be dialled.
fn spellings(port: u16) -> Vec<String> {
    [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0X7F.1",
        "0177.0.0.1",
        "0x7f.0x0.0x0.0x1",
        "017700000001",
        "127.0.0.1.",
        "127.127.127.127",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[0000:0000:0000:0000:0000:0000:0000:0001]",
        "[::ffff:127.0.0.1]",
        "[::FFFF:7f00:1]",
        "[0:0:0:0:0:ffff:7f00:0001]",
        "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::127.0.0.1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
        "[fe80::5efe:127.0.0.1]",
        "[::ffff:0.0.0.0]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "a.b.localhost.",
        "user:pw@127.0.0.1",
        "example.com@127.0.0.1",
        "example.com:80@127.1",
        "%31%32%37.0.0.1",
        "127%2e0%2e0%2e1",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
        "127\u{3002}0\u{3002}0\u{3002}1",
        "\u{2460}\u{2461}7.1",
        "loc\u{ff41}lhost",
        "[::1%25lo]",
        "[::1%lo]",
        "ⓛocalhost",
    ]
    .iter()
    .flat_map(|host| [format!("https://{host}:{port}/"), format!("HTTP://{host}:{port}"), format!("{host}:{port}")])
    .chain([
        format!("https:\\\\127.0.0.1:{port}/"),
        format!("https:127.0.0.1:{port}"),
        format!("https://127.0.0.1:{port}\\@a.example/"),
    ])
    .collect()
}

#[tokio::test]
async fn no_spelling_of_a_denied_address_is_dialled() {
    let ca = Authority::new();
    let peer = Peer::tcp(|_| async {}).await;
    let prober = Prober::new(&guarded(&ca, "", "denied_networks: [127.0.0.0/8, '::1/128']"));
    let targets = spellings(peer.address.port());
    assert!(targets.len() > 120);
    for target in targets {
        let verdict = verdict(&prober.probe("m", &target).await);
        assert!(
            [
                "connect/address_denied",
                "resolve/invalid_target",
                "resolve/name_not_found",
                "resolve/resolver_failed",
                "resolve/no_address"
            ]
            .contains(&verdict.as_str()),
            "{target}: {verdict}"
        );
        assert_eq!(peer.accepted(), 0, "{target}");
    }
    for to in ["127.0.0.1", "localhost", "a.localhost", "::1", "::ffff:127.0.0.1", "0.0.0.0"] {
        let mut site = Site::default();
        site.set("connect_to", to).unwrap();
        let target = format!("https://public.example:{}/", peer.address.port());
        let denied = prober.run(&Job { site, ..plain_job("m", &target) }).await;
        assert_eq!(verdict(&denied), "connect/address_denied", "{to}");
        assert!(denied.failure.unwrap().cause.contains("allowed_networks"), "it says how to allow it");
    }
    assert_eq!(peer.accepted(), 0);
}

/// A listener on an address of its own, and how many connections it took.
async fn forbidden() -> (std::net::SocketAddr, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let (address, taken) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (count, mut accepting) = (Arc::clone(&taken), JoinSet::new());
    accepting.spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, taken, accepting)
}

/// A redirect is no way around (`blackbox_exporter` #1639).
#[tokio::test]
async fn no_redirect_leads_to_a_denied_address() {
    let ca = Authority::new();
    let (address, taken, _accepting) = forbidden().await;
    let port = address.port();
    let start = site(&ca, &["start"], move |seen| {
        let (_, host) = seen.path.split_once("to=").unwrap();
        Reply::redirect(&format!("http://{host}:{port}/"))
    })
    .await;
    let prober = Prober::new(&guarded(&ca, "", "denied_networks: [127.0.0.2]"));
    for host in [
        "127.0.0.2",
        "127.2",
        "2130706434",
        "0x7f000002",
        "0177.0.0.2",
        "127.0.0.2.",
        "[::ffff:127.0.0.2]",
        "[::ffff:7f00:2]",
        "[::127.0.0.2]",
        "[64:ff9b::127.0.0.2]",
        "[2002:7f00:2::1]",
        "x@127.0.0.2",
        "127%2e0%2e0%2e2",
        "%31%32%37.0.0.2",
    ] {
        let target = format!("https://start.localhost:{}/?to={host}", start.address().port());
        let report = prober.probe("m", &target).await;
        assert_eq!(verdict(&report), "connect/address_denied", "{host}: {:?}", report.failure);
        assert_eq!(report.hops.len(), 2, "{host}");
    }
    assert_eq!(taken.load(Ordering::SeqCst), 0);
    let open = Prober::new(&guarded(&ca, "", "denied_networks: [127.0.0.2], allowed_networks: [127.0.0.2/31]"));
    let target = format!("https://start.localhost:{}/?to=127.0.0.2", start.address().port());
    assert_ne!(verdict(&open.probe("m", &target).await), "connect/address_denied", "an exception is one");
    assert_eq!(taken.load(Ordering::SeqCst), 1);
}

fn hello(_: &edgeprobe::lab::Seen) -> Reply {
    Reply::new(StatusCode::OK, "hello\n")
}

#[tokio::test]
async fn only_allowed_targets_are_probed_redirects_included() {
    let ca = Authority::new();
    let away = site(&ca, &["away"], hello).await;
    let to = format!("https://away.localhost:{}/", away.address().port());
    let home =
        site(&ca, &["home"], move |seen| if seen.path == "/away" { Reply::redirect(&to) } else { hello(seen) }).await;
    let port = home.address().port();
    let access = format!("allowed_targets: [{{names: [home.localhost], ports: ['{port}'], modules: [m]}}]");
    let exporter = Exporter::start(&guarded(&ca, "", &access)).await;
    let url = format!("https://home.localhost:{port}/");
    assert_eq!(Page::parse(exporter.probe("m", &url, "").await.text()).verdict(&[]), "success");
    let elsewhere = format!("https://away.localhost:{}/", away.address().port());
    for (target, more) in [
        (elsewhere.as_str(), ""),
        (&format!("https://127.0.0.1:{port}/"), ""),
        ("https://home.localhost/", ""),
        (&url, "&connect_to=127.0.0.1"),
        (&url, "&connect_to=away.localhost"),
        (&url, "&hostname=away.localhost"),
        (&url, "&sni=away.localhost"),
        (&url, "&verify_name=away.localhost"),
        (&url, "&connect_to=127.0.0.1&connect_to=127.0.0.3"),
    ] {
        let answer = exporter.probe("m", target, more).await;
        assert_eq!(answer.status, 403, "{target} {more}");
        assert!(answer.text().contains("allowed_targets"), "{}", answer.text());
    }
    let led_away = exporter.probe("m", &format!("{url}away"), "").await;
    assert_eq!(Page::parse(led_away.text()).verdict(&[]), "connect/address_denied");
    assert!(away.log().requests().is_empty());
    let page = exporter.metrics().await;
    assert!(page.says("edgeprobe_probe_requests_refused_total", &[("reason", "not_allowed")], 9.0));
}

/// With networks, the address that a name leads to is what counts.
#[tokio::test]
async fn an_allowed_network_admits_names_by_their_address() {
    let ca = Authority::new();
    let home = site(&ca, &["home"], hello).await;
    let url = format!("https://home.localhost:{}/", home.address().port());
    for (network, expected) in [("127.0.0.0/8", "success"), ("10.0.0.0/8", "connect/address_denied")] {
        let access = format!("allowed_targets: [{{networks: [{network}]}}]");
        let exporter = Exporter::start(&guarded(&ca, "", &access)).await;
        assert_eq!(Page::parse(exporter.probe("m", &url, "").await.text()).verdict(&[]), expected);
    }
}

/// Whoever may use a module must not have its credentials sent to a host of their own.
#[tokio::test]
async fn credentials_leave_for_their_own_hosts_only() {
    let ca = Authority::new();
    let home = site(&ca, &["home"], hello).await;
    let other = site(&ca, &["other"], hello).await;
    let yaml = http_module(&ca, PLENTY, "basic_auth: {username: u, password: p},")
        .replace("m: {", "m: {credentials_for: [home.localhost], ");
    let prober = Prober::new(&yaml);
    let url =
        |label: &str, at: &edgeprobe::lab::Listener| format!("https://{label}.localhost:{}/", at.address().port());
    assert_eq!(verdict(&prober.probe("m", &url("home", &home)).await), "success");
    assert!(home.log().requests()[0].headers.contains_key("authorization"));
    assert_eq!(verdict(&prober.probe("m", &url("other", &other)).await), "connect/address_denied");
    for (key, text) in [
        ("connect_to", other.address().to_string()),
        ("hostname", "other.localhost".to_owned()),
        ("sni", "other.localhost".to_owned()),
        ("verify_name", "other.localhost".to_owned()),
    ] {
        let mut site = Site::default();
        site.set(key, &text).unwrap();
        let report = prober.run(&Job { site, ..plain_job("m", &url("home", &home)) }).await;
        assert_eq!(verdict(&report), "connect/address_denied", "{key}");
        assert!(report.failure.unwrap().cause.contains("credentials_for"));
    }
    assert!(other.log().requests().is_empty());
}

#[tokio::test]
async fn a_client_gets_so_many_probes_at_once_and_in_a_time() {
    let ca = Authority::new();
    let peer = Peer::tls(&ca, |mut io| async move {
        // Takes the request, answers nothing, and ends with the client.
        let _ = tokio::io::copy(&mut io, &mut tokio::io::sink()).await;
    })
    .await;
    let target = peer.url("https");
    for limit in ["per_client", "per_destination"] {
        let exporter = Exporter::start(&guarded(&ca, "", &format!("{limit}: {{concurrent: 1}}"))).await;
        let running = request(exporter.address, "GET", &crate::world::probe_path("m", &target, ""), "").await;
        until("it runs", async || peer.open() == 1).await;
        let second = exporter.probe("m", &target, "").await;
        assert_eq!((second.status, second.header("retry-after")), (429, "1"), "{limit}");
        drop(running);
        until("its place is free", async || peer.open() == 0).await;
        let again = request(exporter.address, "GET", &crate::world::probe_path("m", &target, ""), "").await;
        until("another runs", async || peer.open() == 1).await;
        drop(again);
        until("it is gone", async || peer.open() == 0).await;
    }
    let exporter = Exporter::start(&guarded(&ca, "", "per_client: {interval: 1h, burst: 2}")).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(exporter.probe("m", "https://nowhere.invalid/", "").await.status);
    }
    assert_eq!(statuses, [200, 200, 429]);
    let page = exporter.metrics().await;
    assert!(page.says("edgeprobe_probe_requests_refused_total", &[("reason", "client_limit")], 1.0));
}

/// A forwarding proxy is asked for no address that is denied.
#[tokio::test]
async fn a_denied_address_is_not_asked_of_a_proxy() {
    let ca = Authority::new();
    let proxy = http::serve(None, hello).await.unwrap();
    let yaml = guarded(&ca, &format!("proxy_url: 'http://{}',", proxy.address()), "denied_networks: [192.0.2.0/24]");
    let report = Prober::new(&yaml).probe("m", "http://192.0.2.7/").await;
    assert_eq!(verdict(&report), "connect/address_denied");
    assert!(proxy.log().requests().is_empty());
}
