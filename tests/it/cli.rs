//! The command line: exit codes, and the words that tell a person what is wrong and where.

use crate::world::{Output, PLENTY, Page, demo_config, edgeprobe, trusting};
use edgeprobe::lab::Lab;
use std::{fs, path::PathBuf};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A config in a file that lives as long as this.
struct File {
    path: PathBuf,
    _dir: TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edgeprobe.yml");
        fs::write(&path, text).unwrap();
        Self { path, _dir: dir }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

#[track_caller]
fn assert_told(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.code, Some(code), "{output:?}");
    let printed = format!("{}{}", output.stdout, output.stderr);
    for word in words {
        assert!(printed.contains(word), "`{word}` is not in:\n{printed}");
    }
}

async fn probe(file: &File, target: &str, more: &[&str]) -> Output {
    edgeprobe(&[&["probe", target, "--config.file", file.path()], more].concat()).await
}

#[tokio::test]
async fn a_probe_prints_what_happened_and_its_exit_code_is_the_verdict() {
    let lab = Lab::start().await.unwrap();
    let [short, long] = [2, PLENTY].map(|timeout| File::new(&demo_config(&lab, timeout, timeout)));
    let human = async |name: &str| {
        let endpoint = lab.endpoint(name);
        let file = if name == "wss-silent" { &short } else { &long };
        probe(file, &endpoint.url, &["--module", endpoint.module]).await
    };
    assert_told(&human("good").await, 0, &["ok  https", "resolve", "connect", "tls", "processing", "good.localhost"]);
    assert_told(&human("expired").await, 1, &["cert_expired", "tls", "expired.localhost"]);
    assert_told(&human("refused").await, 1, &["refused", "connect"]);
    assert_told(&human("no-such-name").await, 1, &["name_not_found", "nothing.invalid"]);
    assert_told(&human("wss-echo").await, 0, &["ok  wss", "chat"]);
    assert_told(&human("wss-silent").await, 1, &["ping_unanswered"]);
}

#[tokio::test]
async fn a_probe_prints_for_machines_too() {
    let lab = Lab::start().await.unwrap();
    let file = File::new(&demo_config(&lab, PLENTY, PLENTY));
    let target = &lab.endpoint("expired").url;
    let prometheus = probe(&file, target, &["--module", "https", "--format", "prometheus"]).await;
    assert_eq!(Page::parse(&prometheus.stdout).verdict(&[]), "tls/cert_expired");
    let json = probe(&file, target, &["--module", "https", "--format", "json"]).await;
    let report: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report["failure"]["phase"], "tls");
    assert_eq!(report["failure"]["reason"], "cert_expired");
    assert_eq!(json.code, Some(1));
}

#[tokio::test]
async fn address_and_name_can_be_set_apart() {
    let lab = Lab::start().await.unwrap();
    let file = File::new(&demo_config(&lab, PLENTY, PLENTY));
    let by_address = &lab.endpoint("cdn-edge-by-address").url;
    let named = probe(&file, by_address, &["--module", "https", "--hostname", "cdn-edge.localhost"]).await;
    assert_told(&named, 0, &["ok  https"]);
    let address = by_address.trim_start_matches("https://").trim_end_matches('/');
    let pinned = probe(&file, "https://cdn-edge.localhost/", &["--module", "https", "--connect-to", address]).await;
    assert_told(&pinned, 0, &["ok  https"]);
}

#[tokio::test]
async fn an_unknown_module_is_told_with_the_known_ones() {
    let output = edgeprobe(&["probe", "https://nothing.invalid", "--module", "nope"]).await;
    assert_told(&output, 1, &["unknown module `nope`", "https_2xx", "wss_upgrade"]);
}

/// The path in the file and the line, for every fault at once (`blackbox_exporter` #1478).
#[tokio::test]
async fn a_bad_config_is_told_by_place() {
    let file = File::new("modules:\n  a:\n    prober: htttp\n  b:\n    prober: http\n    timeuot: 5s\n");
    for arguments in [&["check-config", file.path()][..], &["--config.check", "--config.file", file.path()]] {
        let output = edgeprobe(arguments).await;
        assert_told(&output, 1, &[file.path(), "modules.a.prober", "htttp", "modules.b", "timeuot", ":3", ":6"]);
    }
    let serve = edgeprobe(&["--config.file", file.path(), "--web.listen-address=127.0.0.1:0"]).await;
    assert_told(&serve, 1, &["modules.a.prober"]);
    let good = File::new("modules: {m: {prober: tls}}");
    assert_told(&edgeprobe(&["check-config", good.path()]).await, 0, &["valid"]);
    assert_told(&edgeprobe(&["check-config", "/no/such/file.yml"]).await, 1, &["/no/such/file.yml"]);
}

#[tokio::test]
async fn a_missing_ca_file_is_told_by_path_and_line() {
    let file =
        File::new("modules:\n  m:\n    prober: http\n    http:\n      tls_config:\n        ca_file: /no/such/ca.pem\n");
    for arguments in
        [&["check-config", file.path()][..], &["--config.file", file.path(), "--web.listen-address=127.0.0.1:0"]]
    {
        let output = edgeprobe(arguments).await;
        assert_told(&output, 1, &["modules.m.http.tls_config.ca_file", "/no/such/ca.pem", ":6"]);
    }
}

/// Whatever a config leaves out, it starts or says what is missing; it never crashes (grafana agent #4798).
#[tokio::test]
async fn minimal_configs_are_judged_not_crashed_on() {
    let cases = [
        ("modules: {m: {prober: http}}", 0),
        ("modules: {m: {prober: tls, tls: {}}}", 0),
        ("modules: {m: {prober: websocket, websocket: {}}}\njobs: []", 0),
        ("modules: {m: {prober: http}}\njobs: [{job_name: j, modules: [m], static_configs: [{targets: [x]}]}]", 0),
        ("modules: {m: {prober: http}}\njobs: [{targets: [x]}]", 1),
        ("modules: {m: }", 1),
        ("modules:", 0),
        ("jobs: [{job_name: j}]", 1),
        ("", 1),
        ("- x", 1),
        ("x: &a [*a]", 1),
        ("modules: {m: {prober: http, http: {body_size_limit: -1}}}", 1),
        ("modules: {m: {prober: http, timeout: -1s}}", 1),
    ];
    for (text, code) in cases {
        let output = edgeprobe(&["check-config", File::new(text).path()]).await;
        assert_eq!(output.code, Some(code), "{text}: {output:?}");
        assert!(!output.stderr.contains("panicked"), "{text}: {output:?}");
        assert_eq!(output.stderr.is_empty(), code == 0, "{text}: {output:?}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_told_by_address() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for arguments in [&["--web.listen-address", &address][..], &["demo", "--web.listen-address", &address]] {
        assert_told(&edgeprobe(arguments).await, 1, &[&address, "in use"]);
    }
}

#[tokio::test]
async fn a_wrong_command_line_exits_with_2() {
    for arguments in
        [&["--no-such-flag"][..], &["probe"], &["probe", "x", "--format", "xml"], &["--timeout-offset=soon"]]
    {
        let output = edgeprobe(arguments).await;
        assert_eq!(output.code, Some(2), "{arguments:?}: {output:?}");
        assert!(output.stderr.contains("Usage") || output.stderr.contains("--help"), "{output:?}");
    }
}

#[tokio::test]
async fn version_and_help_are_printed() {
    assert_told(&edgeprobe(&["--version"]).await, 0, &["edgeprobe ", env!("CARGO_PKG_VERSION")]);
    assert_told(&edgeprobe(&["--help"]).await, 0, &["probe", "check-config", "demo", "--config.file"]);
}

/// The default and the examples that need no files load as they are.
#[tokio::test]
async fn the_configs_we_ship_are_valid() {
    for file in ["config/edgeprobe.yml", "config/examples/jobs.yml"] {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/").to_owned() + file;
        assert_told(&edgeprobe(&["check-config", &path]).await, 0, &["valid"]);
    }
}

/// A private root in a file works as one in the config does.
#[tokio::test]
async fn a_ca_file_is_read() {
    let lab = Lab::start().await.unwrap();
    let ca = File::new(lab.ca_pem());
    let quoted = serde_json::to_string(ca.path()).unwrap();
    let yaml = format!("modules: {{m: {{prober: tls, tls: {{tls_config: {{ca_file: {quoted}}}}}}}}}");
    let file = File::new(&trusting("", &yaml));
    assert_told(&probe(&file, &lab.endpoint("cert-good").url, &["--module", "m"]).await, 0, &["ok  https"]);
}
