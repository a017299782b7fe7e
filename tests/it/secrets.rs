//! A canary in every place of a config that takes a secret, looked for in everything that is ever printed.

use crate::world::{Exporter, Program, ask, edgeprobe, encoded, trusting};
use edgeprobe::lab::{
    Lab,
    oauth2::{self, CLIENT, TOKEN},
};
use std::fs;

const CANARY: &str = "canary9b1d";
/// The canary in the Basic scheme's encoding, with the user name `u`.
const ENCODED: &str = "dTpjYW5hcnk5YjFk";

/// A config with every kind of secret, and jobs that use them.
fn config(lab: &Lab) -> String {
    let (cert, key) = lab.client_pem();
    let quoted = |text| serde_json::to_string(text).unwrap();
    let tls = format!("tls_config: {{ca: @CA@, cert: {}, key: {}}}", quoted(cert), quoted(key));
    let http =
        |more: &str| format!("{{prober: http, timeout: 2s, http: {{preferred_ip_protocol: ip4, {more}, {tls}}}}}");
    let websocket = |more: &str, http: &str| {
        format!(
            "{{prober: websocket, timeout: 2s, websocket: {{preferred_ip_protocol: ip4, {more} http_config: {{{http} {tls}}}}}}}"
        )
    };
    let good = &lab.endpoint("good").url;
    // It does not know us, so what it was told may turn up in an error.
    let proxy = lab.proxy("https_connect_auth").address();
    let proxy = format!("proxy_url: \"http://u:{CANARY}@{proxy}\", proxy_connect_header: {{X-Any: [{CANARY}]}}");
    let oauth2 = |id: &str, secret: &str, path: &str| {
        let url = oauth2::url(lab.auth(), path);
        let more = format!("endpoint_params: {{resource: {CANARY}}}, tls_config: {{ca: @CA@}}");
        format!("oauth2: {{client_id: \"{id}\", client_secret: \"{secret}\", token_url: \"{url}\", {more}}}")
    };
    let modules = [
        ("basic", http(&format!("basic_auth: {{username: u, password: {CANARY}}}"))),
        ("bearer", http(&format!("bearer_token: {CANARY}"))),
        ("scheme", http(&format!("authorization: {{type: Token, credentials: {CANARY}}}"))),
        ("plain", http(&format!("headers: {{Authorization: {CANARY}, Cookie: a={CANARY}, X-Api-Key: {CANARY}}}"))),
        ("secret", http(&format!("http_headers: {{X-Any: {{secrets: [{CANARY}]}}}}"))),
        ("token", http(&oauth2(CLIENT.0, CLIENT.1, "/good"))),
        ("token_refused", http(&oauth2("u", CANARY, "/refused"))),
        ("wss_token", websocket("", &(oauth2(CLIENT.0, CLIENT.1, "/good") + ","))),
        ("wss_secret", websocket(&format!("headers: {{X-Any: {{secrets: [{CANARY}]}}}},"), "")),
        ("wss_basic", websocket("", &format!("basic_auth: {{username: u, password: {CANARY}}},"))),
        ("proxied", http(&proxy)),
        ("wss_proxied", websocket("", &format!("{proxy},"))),
    ];
    let modules: Vec<String> = modules.iter().map(|(name, module)| format!("{name}: {module}")).collect();
    let yaml = format!(
        "modules: {{{}}}\n\
         jobs:\n\
         - {{job_name: j, modules: [basic, bearer, scheme, plain, secret, proxied, token, token_refused], interval: 2s, \
           static_configs: [{{targets: [\"{good}\", \"{}\"]}}]}}\n\
         - {{job_name: w, modules: [wss_secret, wss_basic, wss_proxied, wss_token], interval: 2s, static_configs: [{{targets: [\"{}\"]}}]}}\n",
        modules.join(", "),
        lab.endpoint("wrong-status").url,
        lab.endpoint("wss-refused").url
    );
    trusting(lab.ca_pem(), &yaml)
}

#[track_caller]
fn assert_clean(place: &str, text: &str, key: &str) {
    for secret in [CANARY, ENCODED, key, CLIENT.1, TOKEN] {
        assert!(!text.contains(secret), "{place} shows `{secret}`:\n{text}");
    }
}

/// A line of the private key that nothing else contains.
fn key_line(lab: &Lab) -> String {
    lab.client_pem().1.lines().nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn no_page_and_no_log_shows_a_secret() {
    let lab = Lab::start().await.unwrap();
    let key = key_line(&lab);
    let program = Program::start(&config(&lab), &[]).await;
    crate::world::until("every series has a result", async || program.get("/-/ready").await.status == 200).await;
    let (good, bad) = (&lab.endpoint("good").url, &lab.endpoint("wrong-status").url);
    let with_password = encoded(&good.replace("https://", &format!("https://u:{CANARY}@")));
    let mut paths = vec!["/".to_owned(), "/config".to_owned(), "/metrics".to_owned(), "/logs?id=0".to_owned()];
    for module in ["basic", "bearer", "scheme", "plain", "secret", "proxied", "token", "token_refused"] {
        for target in [encoded(good), encoded(bad), with_password.clone()] {
            paths.push(format!("/probe?module={module}&target={target}"));
            paths.push(format!("/probe?module={module}&target={target}&debug=true"));
        }
    }
    for module in ["wss_secret", "wss_basic", "wss_proxied", "wss_token"] {
        paths.push(format!("/probe?module={module}&target={}&debug=true", encoded(&lab.endpoint("wss-refused").url)));
    }
    paths.push(format!("/logs?target={with_password}"));
    paths.push(format!("/probe?module=basic&target={}&debug=true", encoded(&format!("ftp://u:{CANARY}@h/"))));
    paths.push("/".to_owned());
    for path in paths {
        let answer = program.get(&path).await;
        assert!(answer.status < 500, "{path}: {}", answer.text());
        assert_clean(&path, answer.text(), &key);
        let open = ask(program.address, "GET", &path, "Accept: application/openmetrics-text\r\n").await;
        assert_clean(&path, open.text(), &key);
    }
    assert!(program.get("/config").await.text().contains("<secret>"));
    let asked = lab.proxy("https_connect_auth").log().requests();
    assert!(asked.iter().any(|seen| seen.headers["proxy-authorization"].to_str().unwrap().contains(ENCODED)));
    let sent = lab.requests("good");
    assert!(sent.iter().any(|seen| seen.headers.values().any(|value| value.to_str().unwrap().contains(CANARY))));
    assert!(sent.iter().any(|seen| seen.headers.values().any(|value| value.to_str().unwrap().contains(TOKEN))));
    let refused = program.get(&format!("/probe?module=token_refused&target={}&debug=true", encoded(good))).await;
    assert!(refused.text().contains("invalid_client ("), "the endpoint's echo is shown, but for what it echoes");
    let repeat = program.get(&format!("/probe?module=token&target={}&debug=true", encoded(good))).await;
    assert!(repeat.text().contains("-H 'Authorization: Bearer <secret>'"), "{}", repeat.text());
    assert_clean("the echo", refused.text(), &key);
    let log = program.whole_log().await;
    assert!(log.contains("module=basic"), "the log is at debug: {log}");
    assert_clean("the log", &log, &key);
}

#[tokio::test]
async fn the_command_line_shows_no_secret() {
    let lab = Lab::start().await.unwrap();
    let key = key_line(&lab);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edgeprobe.yml");
    fs::write(&file, config(&lab)).unwrap();
    let target = lab.endpoint("wrong-status").url.replace("https://", &format!("https://u:{CANARY}@"));
    for format in ["human", "json", "prometheus"] {
        for module in ["basic", "plain", "secret", "proxied", "token", "token_refused"] {
            let arguments =
                ["probe", &target, "--module", module, "--format", format, "--log.level=debug", "--config.file"];
            let output = edgeprobe(&[&arguments[..], &[file.to_str().unwrap()]].concat()).await;
            assert_eq!(output.code, Some(1), "{output:?}");
            assert_clean(format, &output.stdout, &key);
            assert_clean(format, &output.stderr, &key);
        }
    }
}

/// An error quotes what is wrong, but not when it is a secret.
#[tokio::test]
async fn errors_of_the_config_show_no_secret() {
    let lab = Lab::start().await.unwrap();
    let key = key_line(&lab);
    let quoted = serde_json::to_string(lab.client_pem().1).unwrap();
    let http = |more: String| format!("modules: {{m: {{prober: http, http: {{{more}}}}}}}");
    let faults = [
        http(format!("basic_auth: {{username: u, password: {CANARY}, passwort: {CANARY}}}")),
        http(format!("bearer_token: \"{CANARY}\\n{CANARY}\"")),
        http(format!("basic_auth: {{username: u, password: {CANARY}, password_file: /x}}")),
        http(format!("basic_auth: {{password: [{CANARY}]}}")),
        http(format!("authorization: {{type: \"Bearer {CANARY}\", credentials: {CANARY}}}")),
        http(format!("http_headers: {{X: {{secrets: [\"{CANARY}\\0\"]}}}}")),
        http(format!("headers: {{Authorization: \"{CANARY}\\0\"}}")),
        http(format!("tls_config: {{key: {quoted}}}")),
        http(format!("tls_config: {{ca: {quoted}}}")),
        http(format!("proxy_url: \"ftp://u:{CANARY}@proxy:3128\"")),
        http(format!("proxy_url: \"u:{CANARY}@proxy:3128\"")),
        http(format!("proxy_url: \"http://u:{CANARY} x@proxy:99999\"")),
        http(format!("proxy_url: [\"http://u:{CANARY}@proxy\"]")),
        http(format!("proxy_url: \"http://u:{CANARY}@proxy\", no_proxy: \"http://u:{CANARY}@a\"")),
        http(format!("proxy_url: http://proxy, proxy_connect_header: {{A: [\"{CANARY}\\0\"], B: {CANARY}}}")),
        http(format!("oauth2: {{client_id: a, client_secret: [{CANARY}], endpoint_params: {{a: {{b: {CANARY}}}}}}}")),
        http(format!("oauth2: {{client_id: a, token_url: \"https://u:{CANARY}@h/\"}}")),
        http(format!("oauth2: {{client_id: a, client_secret: {CANARY}, client_secret_file: /x, token_url: x}}")),
        format!(
            "modules: {{m: {{prober: http}}}}\njobs: [{{job_name: j, modules: [m], static_configs: \
             [{{targets: [\"ftp://u:{CANARY}@h/\", \"https://u:{CANARY}@h/\"]}}]}}]"
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edgeprobe.yml");
    let exporter = Exporter::start("modules: {m: {prober: tls}}").await;
    for fault in faults {
        fs::write(&file, &fault).unwrap();
        let output = edgeprobe(&["check-config", file.to_str().unwrap()]).await;
        assert_eq!(output.code, Some(1), "{fault}: {output:?}");
        assert_clean(&fault, &output.stderr, &key);
        let answer = exporter.reload(&fault).await;
        assert_eq!(answer.status, 500, "{fault}");
        assert_clean(&fault, answer.text(), &key);
    }
}
