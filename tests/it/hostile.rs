//! Peers that stall, flood, lie or break off. What such a probe costs is bounded: one deadline, little memory, and nothing
//! afterwards.

use crate::world::{
    Io, PLENTY, Peer, Prober, Program, assert_did_not_wait, assert_verdict, assert_waited, demo_config, http_module,
    page_of, until, verdict, websocket_module,
};
use edgeprobe::{
    lab::{
        Lab,
        ca::{Authority, Cert, Identity},
        raw::alert,
    },
    show,
};
use flate2::{Compression, write::GzEncoder};
use futures_util::{SinkExt, StreamExt};
use std::{
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Handle,
    task::JoinSet,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{Message, handshake::derive_accept_key, protocol::WebSocketConfig},
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";

/// Reads a request's head.
async fn head(io: &mut (impl Io + ?Sized)) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Writes `bytes` again and again, until the client is gone.
async fn flood(io: &mut (impl Io + ?Sized), bytes: &[u8]) {
    while io.write_all(bytes).await.is_ok() {}
}

/// Says nothing until the client is gone.
async fn stall(io: &mut (impl Io + ?Sized)) {
    let _ = tokio::io::copy(io, &mut tokio::io::sink()).await;
}

/// Sends `bytes` and closes in good order.
async fn send(io: &mut (impl Io + ?Sized), bytes: &[u8]) {
    // A client that has seen enough goes away first.
    if io.write_all(bytes).await.is_ok() && io.shutdown().await.is_ok() {
        stall(io).await;
    }
}

/// A peer that answers each request, inside of TLS, with these bytes.
async fn answering(ca: &Authority, bytes: impl Into<Vec<u8>>) -> Peer {
    let bytes = Arc::new(bytes.into());
    Peer::tls(ca, move |mut io| {
        let bytes = Arc::clone(&bytes);
        async move {
            head(&mut *io).await;
            send(&mut *io, &bytes).await;
        }
    })
    .await
}

/// A stall at any step costs one deadline, and leaves neither a connection nor a task behind (gatus #1030, telegraf #9310,
/// cloudprober #1279).
#[tokio::test]
async fn a_stall_at_any_step_costs_one_deadline_and_leaves_nothing() {
    let lab = Lab::start().await.unwrap();
    let stalling: Vec<_> =
        lab.endpoints().iter().filter(|e| e.name.starts_with("stalled-") || e.name == "wss-silent").cloned().collect();
    assert!(stalling.len() >= 4);
    let before = Handle::current().metrics().num_alive_tasks();
    let prober = Arc::new(Prober::new(&demo_config(&lab, 2, 5)));
    let mut running = JoinSet::new();
    for endpoint in stalling.iter().cycle().take(5 * stalling.len()).cloned() {
        let prober = Arc::clone(&prober);
        running.spawn(async move { (prober.probe(endpoint.module, &endpoint.url).await, endpoint) });
    }
    for (report, endpoint) in running.join_all().await {
        assert_verdict(&report, &endpoint.expected.to_string());
        assert_waited(&report);
    }
    until("no connection is open", async || stalling.iter().all(|e| lab.open_connections(e.name) == 0)).await;
    until("no task is left", async || Handle::current().metrics().num_alive_tasks() == before).await;
}

/// Whoever drops a probe, at whatever step, closes its connection (cloudprober #1279, #584).
#[tokio::test]
async fn a_dropped_probe_closes_its_connection() {
    let lab = Lab::start().await.unwrap();
    let prober = Prober::new(&demo_config(&lab, PLENTY, PLENTY));
    for name in ["stalled-handshake", "stalled-headers", "stalled-body", "slow", "wss-silent"] {
        let endpoint = lab.endpoint(name);
        tokio::select! {
            report = prober.probe(endpoint.module, &endpoint.url) => assert_eq!(name, "slow", "{:?}", report.failure),
            () = until("it is connected", async || lab.open_connections(name) == 1) => {}
        }
        until("the connection is closed", async || lab.open_connections(name) == 0).await;
    }
}

/// Failed handshakes end when they fail, not at the deadline, and leave no socket (`blackbox_exporter` #260).
#[cfg(target_os = "linux")]
#[tokio::test]
async fn failed_handshakes_leak_no_descriptor_and_end_at_once() {
    const TIMES: usize = 200;
    let ca = Authority::new();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let peer = Peer::tcp(move |mut io: TcpStream| {
        let turn = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            let mut hello = [0; 512];
            let _ = io.read(&mut hello).await;
            match turn % 4 {
                0 => send(&mut io, &alert(40)).await,
                1 => io.set_zero_linger().unwrap(),
                2 => send(&mut io, b"").await,
                _ => send(&mut io, b"\x16\x03\x03\x00\x04junkjunk").await,
            }
        }
    })
    .await;
    let program = Arc::new(Program::start(&http_module(&ca, PLENTY, ""), &[]).await);
    program.probe("m", &peer.url("https")).await;
    let before = program.descriptors();
    let began = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..TIMES {
        let (program, target) = (Arc::clone(&program), peer.url("https"));
        running.spawn(async move { program.probe("m", &target).await });
    }
    for page in running.join_all().await {
        assert!(page.verdict(&[]).starts_with("tls/"), "{}", page.verdict(&[]));
        assert!(page.value("probe_duration_seconds", &[]) < page.value("probe_timeout_seconds", &[]) / 2.0);
    }
    assert!(began.elapsed() < Duration::from_secs(PLENTY));
    assert_eq!(peer.accepted(), TIMES + 1);
    until("the descriptors are given back", async || program.descriptors() <= before).await;
}

/// Bodies without end and bombs are cut in time and in size; memory stays where it was (`blackbox_exporter` #836).
#[cfg(target_os = "linux")]
#[tokio::test]
async fn floods_and_bombs_do_not_fill_the_memory() {
    const MOST_KIB: u64 = 96 * 1024;
    let ca = Authority::new();
    let endless = Peer::tls(&ca, |mut io| async move {
        head(&mut *io).await;
        if io.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
            flood(&mut *io, &[b'.'; 16 * 1024]).await;
        }
    })
    .await;
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..24 * 1024 {
        bomb.write_all(&[0; 8 * 1024]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
    let bomb = answering(&ca, [head.into_bytes(), bomb].concat()).await;
    let yaml = http_module(&ca, 2, "");
    let program = Program::start(&yaml, &[]).await;
    let page = program.probe("m", &endless.url("https")).await;
    assert_eq!(page.verdict(&[]), "transfer/timeout");
    assert!(page.value("probe_http_uncompressed_body_length", &[]) > 1000.0, "what came is counted");
    let peak = program.peak_memory();
    drop(program);
    assert!(peak < MOST_KIB, "{peak} KiB for a body without end");

    let yaml = http_module(&ca, PLENTY, "compression: gzip, body_size_limit: 1MB, fail_if_body_matches_regexp: [x],");
    let program = Program::start(&yaml, &[]).await;
    assert_eq!(program.probe("m", &bomb.url("https")).await.verdict(&[]), "transfer/body_too_large");
    let peak = program.peak_memory();
    assert!(peak < MOST_KIB, "{peak} KiB for a bomb");
}

/// A header without end is refused, one that is merely large is taken; neither waits for the deadline.
#[tokio::test]
async fn endless_and_huge_heads_end_before_the_deadline() {
    let ca = Authority::new();
    let prober = Prober::new(&http_module(&ca, PLENTY, ""));
    for line in [&b"X-Filler: 0123456789abcdef\r\n"[..], b"0123456789abcdef"] {
        let peer = Peer::tls(&ca, move |mut io| async move {
            head(&mut *io).await;
            if io.write_all(b"HTTP/1.1 200 OK\r\nX-One: ").await.is_ok() {
                flood(&mut *io, line).await;
            }
        })
        .await;
        let report = prober.probe("m", &peer.url("https")).await;
        assert_verdict(&report, "processing/protocol_error");
        assert_did_not_wait(&report);
        until("the connection is closed", async || peer.open() == 0).await;
    }
    let large = format!("HTTP/1.1 200 OK\r\nX-Large: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(60_000));
    let report = prober.probe("m", &answering(&ca, large).await.url("https")).await;
    assert_verdict(&report, "success");
    assert!(report.http().unwrap().headers.iter().all(|(_, value)| value.len() <= 1024), "facts are bounded");
}

/// A byte now and then keeps nothing alive past the deadline.
#[tokio::test]
async fn a_dripping_peer_does_not_stretch_the_deadline() {
    let ca = Authority::new();
    for (start, expected) in [(OK, "processing/timeout"), (b"HTTP/1.1 200 OK\r\n\r\n", "transfer/timeout")] {
        let peer = Peer::tls(&ca, move |mut io| async move {
            head(&mut *io).await;
            let mut sent = io.write_all(start).await;
            while sent.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
                sent = io.write_all(b"x").await;
            }
        })
        .await;
        let report = Prober::new(&http_module(&ca, 2, "")).probe("m", &peer.url("https")).await;
        assert_verdict(&report, expected);
        assert_waited(&report);
        until("the connection is closed", async || peer.open() == 0).await;
    }
}

/// A WebSocket peer that upgrades, then does as `talk` says.
async fn upgraded<F, T>(ca: &Authority, talk: F) -> Peer
where
    F: Fn(WebSocketStream<Box<dyn Io>>) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    Peer::tls(ca, move |io| {
        let talk = talk.clone();
        async move {
            if let Ok(socket) = accept_async(io).await {
                talk(socket).await;
            }
        }
    })
    .await
}

/// (gatus #1030)
#[tokio::test]
async fn a_websocket_that_only_pings_or_only_chats_ends_at_the_deadline() {
    let ca = Authority::new();
    let pinging = upgraded(&ca, |mut socket| async move {
        while socket.send(Message::Ping("are you there".into())).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let chatting = upgraded(&ca, |mut socket| async move {
        while socket.send(Message::text("never what you wait for")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let ping = Prober::new(&websocket_module(&ca, 2, "ping: true,"));
    let expect = Prober::new(&websocket_module(&ca, 2, "query_response: [{expect: hello}],"));
    for (prober, peer, expected) in [
        (&ping, &chatting, "transfer/ping_unanswered"),
        (&ping, &pinging, "transfer/ping_unanswered"),
        (&expect, &pinging, "transfer/timeout"),
    ] {
        let report = prober.probe("m", &peer.url("wss")).await;
        assert_verdict(&report, expected);
        assert_waited(&report);
        until("the connection is closed", async || peer.open() == 0).await;
    }
    assert_verdict(&expect.probe("m", &chatting.url("wss")).await, "transfer/message_mismatch");
}

#[tokio::test]
async fn a_huge_websocket_message_is_refused() {
    let ca = Authority::new();
    let peer = Peer::tls(&ca, |io| async move {
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let Ok(mut socket) = tokio_tungstenite::accept_async_with_config(io, Some(config)).await else { return };
        // The client may go away in the middle of it.
        let _ = socket.send(Message::text("x".repeat(8 * 1024 * 1024))).await;
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let report = Prober::new(&websocket_module(&ca, PLENTY, "query_response: [{expect: x}],"))
        .probe("m", &peer.url("wss"))
        .await;
    let found = verdict(&report);
    assert!(found.starts_with("transfer/"), "{found}");
    assert!(!found.ends_with("/timeout"), "{found}");
}

/// The answer to an upgrade, right but for what `alter` does to its lines.
async fn answers_upgrade(ca: &Authority, alter: fn(&str) -> String) -> Peer {
    Peer::tls(ca, move |mut io| async move {
        let request = head(&mut *io).await;
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let key = key.or_else(|| request.lines().find_map(|line| line.strip_prefix("Sec-Websocket-Key: ")));
        let accept = derive_accept_key(key.unwrap().as_bytes());
        send(&mut *io, alter(&accept).as_bytes()).await;
    })
    .await
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\n";

/// Variants of the upgrade's answer, judged as RFC 6455 section 4.1 says (gatus #641, uptime-kuma #5613, okhttp #1522).
#[tokio::test]
async fn answers_to_an_upgrade_are_judged_by_the_book() {
    type Case = (&'static str, &'static str, fn(&str) -> String);
    const CASES: &[Case] = &[
        ("any case, lists, several headers", "success", |accept| {
            format!(
                "{SWITCH}upgrade: WebSocket\r\nConnection: keep-alive\r\nconnection: x, UPGRADE\r\nSEC-WEBSOCKET-ACCEPT: {accept}\r\n\r\n"
            )
        }),
        ("no accept key", "processing/accept_mismatch", |_| {
            format!("{SWITCH}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        }),
        ("no Upgrade", "processing/accept_mismatch", |accept| {
            format!("{SWITCH}Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")
        }),
        ("no Connection", "processing/accept_mismatch", |accept| {
            format!("{SWITCH}Upgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")
        }),
        ("an extension that nobody offered", "processing/accept_mismatch", |accept| {
            format!(
                "{SWITCH}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
            )
        }),
        ("a subprotocol that nobody offered", "processing/subprotocol_mismatch", |accept| {
            format!(
                "{SWITCH}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
                 Sec-WebSocket-Protocol: chat\r\n\r\n"
            )
        }),
        ("200", "processing/upgrade_refused", |_| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("302", "processing/upgrade_refused", |_| {
            "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_owned()
        }),
    ];
    let ca = Authority::new();
    let prober = Prober::new(&websocket_module(&ca, PLENTY, ""));
    for &(case, expected, alter) in CASES {
        let peer = answers_upgrade(&ca, alter).await;
        let report = prober.probe("m", &peer.url("wss")).await;
        assert_eq!(verdict(&report), expected, "{case}: {:?}", report.failure);
    }
}

#[tokio::test]
async fn junk_after_an_upgrade_is_a_protocol_error() {
    let ca = Authority::new();
    let peer = answers_upgrade(&ca, |accept| {
        format!(
            "{SWITCH}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n\
             {}",
            "this is no frame; ".repeat(20)
        )
    })
    .await;
    let report = Prober::new(&websocket_module(&ca, PLENTY, "ping: true,")).probe("m", &peer.url("wss")).await;
    assert!(verdict(&report).ends_with("/protocol_error"), "{:?}", report.failure);
    assert_did_not_wait(&report);
}

/// What no header may hold is refused; what one may hold, however odd, is taken and shown harmlessly.
#[tokio::test]
async fn odd_bytes_in_headers_harm_nobody() {
    let ca = Authority::new();
    let prober = Prober::new(&http_module(&ca, PLENTY, ""));
    for (bytes, expected) in [
        (&b"X-Odd: a\x00b"[..], "processing/protocol_error"),
        (b"X-Odd: a\x07b", "processing/protocol_error"),
        (b"X-Odd: a\rb", "processing/protocol_error"),
        (b"X-\x00Odd: a", "processing/protocol_error"),
        (b"X-Odd: a\tb \xff\xfe \"\\", "success"),
        (b"Last-Modified: \xff\xff\r\nStrict-Transport-Security: max-age=99999999999999999999", "success"),
    ] {
        let answer = [OK, bytes, b"\r\nContent-Length: 0\r\n\r\n"].concat();
        let report = prober.probe("m", &answering(&ca, answer).await.url("https")).await;
        assert_eq!(verdict(&report), expected, "{}: {:?}", bytes.escape_ascii(), report.failure);
        page_of(&report);
    }
}

/// Lengths that lie, several ways to end a body (`blackbox_exporter` #673).
#[tokio::test]
async fn bodies_end_as_their_heads_say() {
    let ca = Authority::new();
    let prober = Prober::new(&http_module(&ca, PLENTY, "fail_if_body_not_matches_regexp: [hello],"));
    for (rest, expected, length) in [
        (&b"Content-Length: 5\r\n\r\nhello"[..], "success", 5.0),
        (b"\r\nhello", "success", 5.0),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "success", 5.0),
        (b"Content-Length: 5\r\n\r\nhello, and more than was said", "success", 5.0),
        (b"Content-Length: 9\r\n\r\nhello", "transfer/broken", 5.0),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "transfer/broken", 5.0),
        (b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n", "processing/protocol_error", 0.0),
        (b"Content-Length: -5\r\n\r\nhello", "processing/protocol_error", 0.0),
        (b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nhello", "processing/protocol_error", 0.0),
        (b"Content-Length: 0\r\n\r\n", "transfer/body_mismatch", 0.0),
    ] {
        let answer = [OK, rest].concat();
        let report = prober.probe("m", &answering(&ca, answer).await.url("https")).await;
        let shown = rest.escape_ascii();
        assert_eq!(verdict(&report), expected, "{shown}: {:?}", report.failure);
        assert!(page_of(&report).says("probe_http_uncompressed_body_length", &[], length), "{shown}");
    }
}

/// A mismatch that is known early still closes the connection at once (`blackbox_exporter` #348).
#[tokio::test]
async fn an_early_failure_leaves_no_half_read_body() {
    let ca = Authority::new();
    let peer = Peer::tls(&ca, |mut io| async move {
        head(&mut *io).await;
        if io.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
            flood(&mut *io, &[b'.'; 1024]).await;
        }
    })
    .await;
    let prober = Prober::new(&http_module(&ca, PLENTY, "body_size_limit: 10KB,"));
    let report = prober.probe("m", &peer.url("https")).await;
    assert_verdict(&report, "transfer/body_too_large");
    assert_did_not_wait(&report);
    until("the connection is closed", async || peer.open() == 0).await;
}

/// A certificate whose subject is no text at all is shown in one line that a page can hold.
#[tokio::test]
async fn a_subject_that_is_not_text_is_exported_readably() {
    const MARK: &[u8] = b"MARKMARK.localhost";
    let ca = Authority::new();
    let Identity { chain, key } = ca.identity(Cert::Good, "MARKMARK.localhost");
    let mut leaf = chain[0].to_vec();
    let at = leaf.windows(MARK.len()).position(|window| window == MARK).unwrap();
    leaf[at..at + 8].copy_from_slice(b"\xff\xfe\x00\n\"\\\x1b{");
    let peer = Peer::tls_as(Identity { chain: vec![leaf.into(), chain[1].clone()], key }, |mut io| async move {
        stall(&mut *io).await;
    })
    .await;
    let report = Prober::new(&http_module(&ca, PLENTY, "")).probe("m", &peer.url("https")).await;
    let found = verdict(&report);
    assert!(found.starts_with("tls/cert_"), "{found}: {:?}", report.failure);
    let page = page_of(&report);
    assert!(page.find("probe_ssl_earliest_cert_expiry", &[]).is_some());
    let info = page.all("probe_ssl_last_chain_info", &[]);
    assert_eq!(info.len(), 1);
    let shown = show::human(&report);
    assert!(!shown.contains(['\0', '\x1b']), "a terminal must not be told what to do: {shown:?}");
}

/// A slow target does not hold up the others (gatus #104, #1016).
#[tokio::test]
async fn stalled_probes_do_not_hold_up_others() {
    let lab = Lab::start().await.unwrap();
    let prober = Arc::new(Prober::new(&demo_config(&lab, PLENTY, PLENTY)));
    let mut stalled = JoinSet::new();
    for _ in 0..100 {
        let (prober, target) = (Arc::clone(&prober), lab.endpoint("stalled-handshake").url.clone());
        stalled.spawn(async move { prober.probe("https", &target).await });
    }
    until("all stall", async || lab.open_connections("stalled-handshake") == 100).await;
    for _ in 0..10 {
        let report = prober.probe("https", &lab.endpoint("good").url).await;
        assert_verdict(&report, "success");
        assert_did_not_wait(&report);
    }
    assert_eq!(lab.open_connections("stalled-handshake"), 100, "none had to end first");
    stalled.shutdown().await;
    until("all are closed", async || lab.open_connections("stalled-handshake") == 0).await;
}
