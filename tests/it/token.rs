//! OAuth 2.0 with real sockets: who asks for a token how often, who is shown it, and what becomes of a probe without one.

use crate::world::{Exporter, Peer, Prober, assert_verdict, page_of, site, trusting, until, verdict};
use ::http::StatusCode;
use edgeprobe::lab::{
    Lab, Listener, Seen,
    http::Reply,
    oauth2::{self, CLIENT, TOKEN},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Modules `m`, `n` (http) and `w` (websocket) with equal `oauth2` settings; `more` is further ones, each with its comma.
fn config(lab: &Lab, token_url: &str, more: &str) -> String {
    let tls = "tls_config: {ca: @CA@}";
    let oauth2 = format!(
        "oauth2: {{client_id: \"{}\", client_secret: \"{}\", token_url: \"{token_url}\", {more} {tls}}}",
        CLIENT.0, CLIENT.1
    );
    let http = format!("{{prober: http, timeout: 3s, http: {{preferred_ip_protocol: ip4, {oauth2}, {tls}}}}}");
    let socket = format!(
        "{{prober: websocket, timeout: 3s, websocket: {{preferred_ip_protocol: ip4, http_config: {{{oauth2}, {tls}}}}}}}"
    );
    trusting(lab.ca_pem(), &format!("modules: {{m: {http}, n: {http}, w: {socket}}}\n"))
}

fn of_lab(lab: &Lab, path: &str) -> String {
    config(lab, &oauth2::url(lab.auth(), path), "")
}

/// How often the lab's authorization server was asked for this path.
fn asked(lab: &Lab, path: &str) -> usize {
    lab.auth().log().requests().iter().filter(|seen| seen.path == path).count()
}

/// What the requests to a server showed as Authorization.
fn shown(server: &Listener) -> Vec<String> {
    let of = |seen: &Seen| seen.headers.get("authorization").map_or("none".into(), |v| v.to_str().unwrap().to_owned());
    server.log().requests().iter().map(of).collect()
}

#[tokio::test]
async fn many_probes_of_several_modules_are_one_request_for_a_token() {
    let lab = Lab::start().await.unwrap();
    let prober = Prober::new(&of_lab(&lab, "/slow"));
    let (site, socket) = (&lab.endpoint("token").url, &lab.endpoint("wss-token").url);
    let http = (0..40).map(|n| prober.probe(if n % 2 == 0 { "m" } else { "n" }, site));
    let sockets = (0..10).map(|_| prober.probe("w", socket));
    let (http, sockets) = tokio::join!(futures_util::future::join_all(http), futures_util::future::join_all(sockets));
    for report in http.iter().chain(&sockets) {
        assert_verdict(report, "success");
    }
    assert_eq!(asked(&lab, "/slow"), 1);
    let fetched = |report: &edgeprobe::model::ProbeReport| report.token.as_ref().unwrap().fetched;
    let first = http.iter().chain(&sockets).find(|report| fetched(report)).unwrap();
    let page = page_of(first);
    assert!(page.says("probe_oauth2_token_fetched", &[], 1.0));
    assert!(page.value("probe_oauth2_token_expiry_timestamp_seconds", &[]) > 1e9);
    let family = if first.module.name.as_str() == "w" { "websocket" } else { "http" };
    let family = format!("probe_{family}_duration_seconds");
    assert!(page.value(&family, &[("phase", "token")]) >= 0.1, "its time is in its own phase");
    assert_eq!(http.iter().chain(&sockets).filter(|report| fetched(report)).count(), 1);
}

#[tokio::test]
async fn a_reload_keeps_the_token_unless_its_settings_change() {
    let lab = Lab::start().await.unwrap();
    let target = &lab.endpoint("token").url;
    let yaml = of_lab(&lab, "/good");
    let exporter = Exporter::start(&yaml).await;
    let probe = async || {
        let answer = exporter.probe("m", target, "").await;
        assert!(answer.text().contains("probe_success 1"), "{}", answer.text());
    };
    probe().await;
    assert_eq!(exporter.reload(&yaml.replace("timeout: 3s", "timeout: 4s")).await.status, 200);
    probe().await;
    assert_eq!(asked(&lab, "/good"), 1);
    let url = oauth2::url(lab.auth(), "/good");
    assert_eq!(exporter.reload(&config(&lab, &url, "scopes: [other],")).await.status, 200);
    probe().await;
    assert_eq!(asked(&lab, "/good"), 2);
    exporter.stop().await;
}

/// A token of one second is renewed without a probe ever showing an old one.
#[tokio::test]
async fn a_token_is_renewed_before_its_end() {
    let lab = Lab::start().await.unwrap();
    let prober = Prober::new(&of_lab(&lab, "/lives/1"));
    let target = &lab.endpoint("token").url;
    until("it was renewed twice", async || {
        let report = prober.probe("m", target).await;
        assert_verdict(&report, "success");
        assert!(report.token.unwrap().expires.unwrap() > report.started);
        asked(&lab, "/lives/1") >= 3
    })
    .await;
}

/// A token that was withdrawn is replaced by the next probe; a target that refuses every token does not have one fetched
/// by each.
#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let lab = Lab::start().await.unwrap();
    let prober = Prober::new(&of_lab(&lab, "/good"));
    let withdrawn = format!("Bearer {TOKEN}1");
    let strict = site(lab.ca(), &["strict"], move |seen| {
        let refused = seen.path == "/never" || seen.headers["authorization"] == withdrawn;
        Reply::new(if refused { StatusCode::UNAUTHORIZED } else { StatusCode::OK }, "")
    })
    .await;
    let target = format!("https://strict.localhost:{}/", strict.address().port());
    for (attempt, expected) in ["processing/status", "processing/status", "success"].iter().enumerate() {
        let report = prober.probe("m", &target).await;
        assert_verdict(&report, expected);
        assert_eq!(report.token.unwrap().fetched, attempt != 1, "attempt {attempt}");
    }
    for _ in 0..5 {
        assert_verdict(&prober.probe("n", &format!("{target}never")).await, "processing/status");
    }
    assert_eq!(asked(&lab, "/good"), 2);
}

/// A dead token endpoint is told as such, by the deadline, and the target is left alone (`blackbox_exporter` holds such a
/// probe beyond its time limit).
#[tokio::test]
async fn a_silent_token_endpoint_ends_at_the_deadline() {
    let lab = Lab::start().await.unwrap();
    let silent = Peer::tcp(|mut stream| async move {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let by_peer = config(&lab, &format!("https://127.0.0.1:{}/", silent.address.port()), "");
    for yaml in [of_lab(&lab, "/dead"), by_peer] {
        let prober = Prober::new(&yaml);
        let target = &lab.endpoint("token-dead").url;
        let (http, again) = tokio::join!(prober.probe("m", target), prober.probe("n", target));
        for report in [http, again] {
            assert_verdict(&report, "token/timeout");
            assert!(report.elapsed < Duration::from_secs(6), "{:?}", report.elapsed);
            assert_eq!(report.hops.len(), 1);
            assert!(report.hops[0].lookup.is_none() && report.hops[0].peer.is_none());
        }
    }
    assert!(lab.requests("token-dead").is_empty(), "the target was not tried");
    until("its connections are closed", async || silent.open() == 0).await;
}

/// Whatever is wrong with the endpoint, its own words are told and its secrets are not.
#[tokio::test]
async fn a_probe_without_a_token_says_why() {
    let lab = Lab::start().await.unwrap();
    let url = |path: &str| oauth2::url(lab.auth(), path);
    let nobody = lab.endpoint("refused").url.clone();
    let untrusted = oauth2::url(lab.untrusted_auth(), "/good");
    for (token_url, expected, words) in [
        (url("/refused"), "token/token_refused", "status 401: invalid_client (<secret> is not the secret"),
        (url("/junk"), "token/token_refused", "status 200, and its body is no token's"),
        (url("/huge"), "token/token_refused", "larger than 65536 bytes"),
        (url("/mac"), "token/token_refused", "of type mac"),
        (url("/down"), "token/token_unavailable", "status 503"),
        (nobody, "token/token_unavailable", "cannot connect to 127.0.0.1:"),
        ("https://nothing.invalid/".into(), "token/token_unavailable", "`nothing.invalid` does not exist"),
        (untrusted, "token/token_unavailable", "TLS (cert_expired)"),
    ] {
        let prober = Prober::new(&config(&lab, &token_url, ""));
        for (module, target) in [("m", "token-refused"), ("w", "wss-token")] {
            let report = prober.probe(module, &lab.endpoint(target).url).await;
            let failure = report.failure.as_ref().unwrap();
            assert_eq!(verdict(&report), expected, "{failure}");
            assert!(failure.cause.contains(words), "{failure}");
            assert!(!failure.cause.contains(CLIENT.1) && !failure.cause.contains("Basic b"), "{failure}");
        }
    }
    assert!(lab.requests("token-refused").is_empty() && lab.requests("wss-token").is_empty());
    assert!(lab.untrusted_auth().log().requests().is_empty(), "an unverified endpoint is shown nothing");
}

#[tokio::test]
async fn the_token_stays_on_the_site() {
    let lab = Lab::start().await.unwrap();
    let prober = Prober::new(&of_lab(&lab, "/good"));
    let other = site(lab.ca(), &["other"], |_| Reply::new(StatusCode::OK, "")).await;
    let away = format!("https://other.localhost:{}/", other.address().port());
    let own = site(lab.ca(), &["own"], move |seen| match seen.path.as_str() {
        "/" => Reply::redirect("/next"),
        _ => Reply::redirect(&away),
    })
    .await;
    let report = prober.probe("m", &format!("https://own.localhost:{}/", own.address().port())).await;
    assert_verdict(&report, "success");
    let token = format!("Bearer {TOKEN}1");
    assert_eq!((shown(&own), shown(&other)), (vec![token.clone(), token], vec!["none".to_owned()]));
}

/// The request, byte by byte: first with the credentials in the header, then in the form; what worked is remembered.
#[tokio::test]
async fn the_request_is_as_rfc_6749_wants_it() {
    let lab = Lab::start().await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let endpoint = Peer::tls(lab.ca(), move |mut io| {
        let log = Arc::clone(&log);
        async move {
            let mut bytes = vec![0; 4096];
            let mut length = 0;
            // The form is the last thing that is sent, and it ends with this.
            while !bytes[..length].ends_with(b"END") && !bytes[..length].ends_with(b"signs%2B") {
                length += io.read(&mut bytes[length..]).await.unwrap();
            }
            let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
            let body =
                if text.contains("Authorization") { "{}" } else { r#"{"access_token":"lab-token-9","expires_in":0}"# };
            let status = if text.contains("Authorization") { "401 No" } else { "200 OK" };
            log.lock().unwrap().push(text);
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = io.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let url = format!("{}token?v=1", endpoint.url("https"));
    let prober = Prober::new(&config(&lab, &url, "scopes: [a, b], endpoint_params: {audience: x y, z: END},"));
    for _ in 0..2 {
        assert_verdict(&prober.probe("m", &lab.endpoint("token").url).await, "success");
    }
    let requests = seen.lock().unwrap();
    let form = "grant_type=client_credentials&scope=a+b&audience=x+y&z=END";
    let in_form = format!("{form}&client_id=lab+client&client_secret=s%25cret%3A%2Fwith+signs%2B");
    assert_eq!(requests.len(), 3, "a token without a life is asked for by each probe, in the form that worked");
    for (request, body) in requests.iter().zip([form, &in_form, &in_form]) {
        assert!(request.starts_with("POST /token?v=1 HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nContent-Type: application/x-www-form-urlencoded\r\n"), "{request}");
        assert!(request.contains("\r\nUser-Agent: edgeprobe/"), "{request}");
        assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{request}");
    }
    let basic = "Basic bGFiK2NsaWVudDpzJTI1Y3JldCUzQSUyRndpdGgrc2lnbnMlMkI=";
    assert!(requests[0].contains(&format!("\r\nAuthorization: {basic}\r\n")), "{}", requests[0]);
}
