//! WebSocket probes against servers that follow a script of frames, good and bad: what is found, and in which words.

use crate::world::{Exporter, Io, PLENTY, Peer, Prober, assert_verdict, page_of, until, verdict, websocket_module};
use edgeprobe::{
    lab::{Lab, ca::Authority},
    model::{ProbeReport, WebSocketFacts},
    show,
};
use futures_util::{SinkExt, StreamExt};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

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

/// A peer that upgrades, writes these bytes, and ends the connection if `ends`.
async fn writing(bytes: Vec<u8>, ends: bool) -> Peer {
    let bytes = Arc::new(bytes);
    Peer::tcp(move |mut io| {
        let bytes = Arc::clone(&bytes);
        async move {
            let head = head(&mut io).await;
            let key = head.lines().find_map(|line| line.strip_prefix("Sec-Websocket-Key: ")).unwrap_or_default();
            let accept = derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            // A client that has seen enough goes away first.
            let _ = io.write_all(&[answer.as_bytes(), bytes.as_slice()].concat()).await;
            if !ends {
                let _ = tokio::io::copy(&mut io, &mut tokio::io::sink()).await;
            }
        }
    })
    .await
}

/// A peer that upgrades, then does as `talk` says.
async fn talking<F, T>(talk: F) -> Peer
where
    F: Fn(WebSocketStream<tokio::net::TcpStream>) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    Peer::tcp(move |io| {
        let talk = talk.clone();
        async move {
            if let Ok(socket) = accept_async(io).await {
                talk(socket).await;
            }
        }
    })
    .await
}

/// Probes with a module of these settings.
async fn probe(peer: &Peer, timeout: u64, settings: &str) -> ProbeReport {
    Prober::new(&websocket_module(&Authority::new(), timeout, settings)).probe("m", &peer.url("ws")).await
}

fn facts(report: &ProbeReport) -> &WebSocketFacts {
    report.websocket().unwrap()
}

/// A frame with FIN and a short payload (RFC 6455 section 5.2).
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | opcode, u8::try_from(payload.len()).unwrap()], payload].concat()
}

const EXPECT: &str = "query_response: [{expect: hello}],";

#[tokio::test]
async fn every_way_to_break_the_protocol_is_told() {
    let close = |code: u16| frame(8, &code.to_be_bytes());
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("text that is not UTF-8", frame(1, b"\xff"), "protocol_error", "UTF-8"),
        ("a reserved bit", vec![0xc1, 1, b'a'], "protocol_error", "Reserved bits"),
        ("a masked frame", vec![0x81, 0x81, 0, 0, 0, 0, b'a'], "protocol_error", "masked"),
        ("a ping in fragments", vec![0x09, 0], "protocol_error", "Fragmented control frame"),
        ("a long ping", [&[0x89, 126, 0, 128][..], &[0; 128]].concat(), "protocol_error", "too big"),
        ("an unknown opcode", vec![0x83, 0], "protocol_error", "opcode"),
        ("a fragment of nothing", vec![0x80, 0], "protocol_error", "nothing to continue"),
        ("a message within a message", vec![0x01, 0, 0x81, 0], "protocol_error", "fragments"),
        ("a close frame of one byte", frame(8, &[3]), "protocol_error", "close"),
        ("a close code that nobody may send", close(1005), "protocol_error", "nobody may send"),
        ("bytes after the close", [close(1000), frame(1, b"x")].concat(), "closed", "code 1000"),
        ("a close", close(1011), "closed", "code 1011"),
        ("a close without a code", frame(8, b""), "closed", "without a code"),
        ("a length of 2 MiB", vec![0x82, 127, 0, 0, 0, 0, 0, 0x20, 0, 0], "message_too_large", "too"),
        ("another message", frame(1, b"bye"), "message_mismatch", "message 1"),
    ];
    for (what, bytes, reason, words) in cases {
        let report = probe(&writing(bytes, false).await, PLENTY, EXPECT).await;
        assert_eq!(verdict(&report).rsplit('/').next().unwrap(), reason, "{what}: {:?}", report.failure);
        let cause = report.failure.unwrap().cause;
        assert!(cause.to_lowercase().contains(&words.to_lowercase()), "{what}: {cause}");
    }
    let report = probe(&writing(Vec::new(), true).await, PLENTY, EXPECT).await;
    assert_verdict(&report, "transfer/broken");
}

/// Whatever a server floods a probe with, it ends, and long before the deadline where that can be told.
#[tokio::test]
async fn floods_end() {
    let pings = frame(9, &[0; 125]).repeat(10_001);
    let report = probe(&writing(pings, false).await, PLENTY, EXPECT).await;
    assert_verdict(&report, "transfer/message_flood");

    let bulky =
        talking(|mut socket| async move { while socket.send(Message::binary(vec![0; 1024 * 1024])).await.is_ok() {} })
            .await;
    let report = probe(&bulky, PLENTY, "query_response: [{expect: hello, skip: 1000}],").await;
    assert_verdict(&report, "transfer/message_flood");

    let fragments = [vec![0x01, 0], [0x00, 0].repeat(1024 * 1024)].concat();
    let report = probe(&writing(fragments, false).await, 1, EXPECT).await;
    assert_verdict(&report, "transfer/timeout");
    assert!(report.elapsed < Duration::from_secs(5), "{:?}", report.elapsed);

    let chunk = [&[0x02, 126, 0x40, 0][..], &[0; 0x4000]].concat();
    let rest = [&[0x00, 126, 0x40, 0][..], &[0; 0x4000]].concat().repeat(4);
    let message = writing([chunk, rest].concat(), false).await;
    let report = probe(&message, PLENTY, "max_message_size: 64KiB, query_response: [{expect: hello}],").await;
    assert_verdict(&report, "transfer/message_too_large");
}

/// Sends noise first, then asks a riddle in binary, and tells what it got.
async fn riddler() -> Peer {
    talking(|mut socket| async move {
        for message in [Message::text("news"), Message::binary(vec![0xff, 0]), Message::text("ticket 42")] {
            let _ = socket.send(message).await;
        }
        while let Some(Ok(message)) = socket.next().await {
            let answer = match message {
                Message::Text(text) => Message::text(format!("text {text}")),
                Message::Binary(bytes) => Message::Binary(bytes),
                _ => continue,
            };
            if socket.send(answer).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn scripts_speak_text_and_binary_and_skip_what_is_not_meant_for_them() {
    let peer = riddler().await;
    let good = [
        r"{expect: 'ticket (\d+)', skip: 2, send: 'I have ${1}'}, {expect_bytes: text I have 42}",
        r"{expect: news}, {expect_hex: ff 00}, {expect_bytes: ticket 42, send_hex: '00:7f'}, {expect_hex: 007f}",
        r"{expect: 'news', send: '${1} stays'}, {expect: '^text \$\{1} stays$|^text  stays$', skip: 2}",
        r"{expect_bytes: news, send: '${1}'}, {expect_bytes: 'text ${1}', skip: 2}",
    ];
    for script in good {
        assert_verdict(&probe(&peer, PLENTY, &format!("query_response: [{script}],")).await, "success");
    }
    let bad = [
        (r"{expect: ticket}", "message 1 does not match query_response[0].expect /ticket/"),
        (
            r"{expect: ticket, skip: 1}",
            "message 2 does not match query_response[0].expect /ticket/, nor do the 1 before it",
        ),
        (r"{expect_hex: 6e657773}", "message 1 does not match query_response[0].expect_hex (4 bytes, binary)"),
        (r"{expect_bytes: new}", "message 1 does not match query_response[0].expect_bytes (3 bytes)"),
    ];
    for (script, cause) in bad {
        let report = probe(&peer, PLENTY, &format!("query_response: [{script}],")).await;
        assert_verdict(&report, "transfer/message_mismatch");
        assert_eq!(facts(&report).close_clean, Some(true), "{script}");
        assert_eq!(report.failure.unwrap().cause, cause);
    }
    until("all connections are closed", async || peer.open() == 0).await;
}

#[tokio::test]
async fn a_timeout_tells_what_was_waited_for() {
    let silent = writing(Vec::new(), false).await;
    for (settings, expected, cause) in [
        ("query_response: [{send: a}, {expect: b}],", "transfer/timeout", "no message for query_response[1] came"),
        ("ping: true,", "transfer/ping_unanswered", "no pong came"),
        ("expect_close: 1000,", "transfer/timeout", "the server did not close"),
    ] {
        let report = probe(&silent, 1, settings).await;
        assert_verdict(&report, expected);
        assert_eq!(report.failure.unwrap().cause, format!("{cause} before the deadline"));
    }
}

/// Closes with this code and these words as soon as it hears anything; else when the client does.
async fn closing(code: u16, words: &'static str) -> Peer {
    talking(move |mut socket| async move {
        if let Some(Ok(Message::Text(_))) = socket.next().await {
            let frame = CloseFrame { code: CloseCode::from(code), reason: words.into() };
            let _ = socket.close(Some(frame)).await;
        }
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await
}

#[tokio::test]
async fn the_close_handshake_is_told() {
    let peer = closing(4001, "quota \u{1b}[31m").await;
    let report = probe(&peer, PLENTY, "query_response: [{send: go}, {expect: hello}],").await;
    assert_verdict(&report, "transfer/closed");
    let closed = facts(&report);
    assert_eq!((closed.close_code, closed.close_words.as_str()), (Some(4001), "quota \u{1b}[31m"));
    assert_eq!(closed.close_clean, Some(true), "its close was answered");
    let shown = show::human(&report);
    assert!(shown.contains("close code 4001, \"quota \\u001b[31m\""), "{shown}");

    let expected = probe(&peer, PLENTY, "query_response: [{send: go}], expect_close: 4001,").await;
    assert_verdict(&expected, "success");
    assert_eq!(facts(&expected).close_clean, Some(true));
    let other = probe(&peer, PLENTY, "query_response: [{send: go}], expect_close: 1000,").await;
    assert_verdict(&other, "transfer/closed");

    let page = page_of(&probe(&peer, PLENTY, "").await);
    assert!(page.says("probe_websocket_close_clean", &[], 1.0));
    assert!(page.says("probe_websocket_close_code", &[], 1000.0));
    let page = page_of(&probe(&writing(Vec::new(), false).await, PLENTY, "").await);
    assert!(page.says("probe_websocket_close_clean", &[], 0.0), "nobody answered our close");
    assert!(page.says("probe_success", &[], 1.0));
}

const AUTH: &str = "headers: {X-Key: {secrets: [opensesame]}},";
static LONG: [u8; 200_000] = [b'x'; 200_000];

/// A refusal keeps its status, its headers and the beginning of its body, without what we sent to log in.
#[tokio::test]
async fn refusals_tell_why() {
    let answer = |text: &'static str, more: &'static [u8]| {
        Peer::tcp(move |mut io| async move {
            head(&mut io).await;
            let _ = io.write_all(&[text.as_bytes(), more].concat()).await;
            let _ = tokio::io::copy(&mut io, &mut tokio::io::sink()).await;
        })
    };
    let staff = answer(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"staff\"\r\nContent-Length: 31\r\n\r\n",
        b"who is\x1b[31m opensesame, please?",
    )
    .await;
    let report = probe(&staff, PLENTY, AUTH).await;
    assert_verdict(&report, "processing/upgrade_refused");
    assert!(report.failure.as_ref().unwrap().cause.contains("401 (www-authenticate: Basic realm=\"staff\")"));
    assert_eq!(facts(&report).refusal.as_deref(), Some("who is\x1b[31m <secret>, please?"));
    let shown = show::human(&report);
    assert!(shown.contains("who is\\u001b[31m <secret>, please?"), "{shown}");

    let moved =
        answer("HTTP/1.1 302 Found\r\nLocation: https://u:hunter2@login/\r\nContent-Length: 0\r\n\r\n", b"").await;
    let report = probe(&moved, PLENTY, "").await;
    assert!(report.failure.as_ref().unwrap().cause.contains("302 (location: https://u:xxxxx@login/)"));
    assert_eq!(facts(&report).refusal, None);

    // Announces more than it sends: what came is kept, and the deadline is not used up.
    let stalling = answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 100000\r\n\r\n", b"not here").await;
    let report = probe(&stalling, PLENTY, "").await;
    assert_verdict(&report, "processing/upgrade_refused");
    assert_eq!(facts(&report).refusal.as_deref(), Some("not here"));
    assert!(report.elapsed < Duration::from_secs(20), "{:?}", report.elapsed);

    let long = answer("HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2c\r\nContent-Length: 200000\r\n\r\n", &LONG).await;
    let report = probe(&long, PLENTY, "").await;
    assert!(report.failure.as_ref().unwrap().cause.contains("426 (upgrade: h2c)"));
    assert_eq!(facts(&report).refusal.as_ref().unwrap().len(), 4096);
}

/// A job with `hold` keeps one connection, pings it at each run, notices when it is cut, and opens another.
#[tokio::test]
async fn a_held_connection_is_pinged_and_its_drops_are_counted() {
    let (cut, cutting) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (signal, count) = (Arc::clone(&cut), Arc::clone(&cutting));
    let peer = Peer::tcp(move |io| {
        let (signal, count) = (Arc::clone(&signal), Arc::clone(&count));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            let Ok(mut socket) = accept_async(io).await else { return };
            // Reading answers pings; a cut ends the connection without a word.
            loop {
                tokio::select! {
                    message = socket.next() => if !matches!(message, Some(Ok(_))) { return },
                    () = signal.notified() => return,
                }
            }
        }
    })
    .await;
    let yaml = websocket_module(&Authority::new(), 1, "")
        + &format!(
            "jobs: [{{job_name: j, modules: [m], interval: 1s, hold: 1h, static_configs: [{{targets: ['{}']}}]}}]\n",
            peer.url("ws")
        );
    let exporter = Exporter::start(&yaml).await;
    let page = async |name: &str| {
        let page = exporter.metrics().await;
        page.all(name, &[]).first().map(|sample| sample.value)
    };
    until("it is pinged again and again", async || page("probe_runs_total").await.is_some_and(|runs| runs > 2.5)).await;
    assert_eq!((peer.accepted(), cutting.load(Ordering::SeqCst)), (1, 1), "on one connection");
    let held = exporter.metrics().await;
    assert!(
        held.says("probe_websocket_hold_up", &[], 1.0) && held.says("probe_websocket_hold_connects_total", &[], 1.0)
    );
    assert!(held.says("edgeprobe_websockets_held", &[], 1.0));
    assert!(held.value("probe_websocket_ping_rtt_seconds", &[]) >= 0.0);
    assert_eq!(held.verdict(&[]), "success");
    cut.notify_one();
    until("the drop is noticed", async || page("probe_websocket_hold_drops_total").await == Some(1.0)).await;
    until("another one is open", async || page("probe_websocket_hold_connects_total").await == Some(2.0)).await;
    let after = exporter.metrics().await;
    assert!(after.says("probe_websocket_hold_up", &[], 1.0));
    assert!(after.value("probe_websocket_hold_last_lifetime_seconds", &[]) > 1.0);
    assert!(after.value("probe_websocket_hold_last_idle_seconds", &[]) >= 0.0);
    assert_eq!(exporter.reload("modules: {m: {prober: tls}}").await.status, 200);
    until("a reload that drops the job closes the connection", async || peer.open() == 0).await;
    assert!(exporter.metrics().await.says("edgeprobe_websockets_held", &[], 0.0));
}

/// When its time is over a held connection is closed in good order, and another one opened; a server that answers no ping is
/// dropped with a reason.
#[tokio::test]
async fn a_held_connection_ends_with_its_time_or_without_a_pong() {
    let lab = Lab::start().await.unwrap();
    let ca = lab.ca();
    let good = lab.endpoint("wss-ping").url.clone();
    let silent = lab.endpoint("wss-silent").url.clone();
    let yaml = websocket_module(ca, 1, "")
        + &format!(
            "jobs: [{{job_name: j, modules: [m], interval: 1s, hold: 2s, static_configs: [{{targets: ['{good}', '{silent}']}}]}}]\n"
        );
    let exporter = Exporter::start(&yaml).await;
    until("one has ended with its time", async || {
        let page = exporter.metrics().await;
        page.all("probe_websocket_hold_completed_total", &[("instance", &good)]).iter().any(|s| s.value > 0.5)
    })
    .await;
    until("one was dropped for want of a pong", async || {
        let page = exporter.metrics().await;
        let drops =
            page.all("probe_websocket_hold_drops_total", &[("instance", &silent), ("reason", "ping_unanswered")]);
        drops.iter().any(|s| s.value > 0.5)
    })
    .await;
    exporter.stop().await;
    until("all are closed", async || lab.open_connections("wss-ping") + lab.open_connections("wss-silent") == 0).await;
}
