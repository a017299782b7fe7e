//! The config files that ship and those under `tests/configs`, each loaded or refused as it says.

use super::{Config, ConfigErrors, DEFAULT, load, parse};
use crate::model::{FanOut, Over, Prober, RootStore, TextSource, Trust};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const CANARY: &str = "hunter2";

pub(super) fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "yml"));
    assert!(!files.is_empty(), "{} has no config", folder.display());
    files.sort();
    files
}

/// The errors of a text, without the file's name.
#[track_caller]
fn errors(text: &str) -> String {
    let errors = parse(text, "f").expect_err("the config is wrong");
    errors.to_string().lines().map(|line| line.strip_prefix("f:").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn good(text: &str) -> Config {
    parse(text, "f").unwrap_or_else(|e: ConfigErrors| panic!("{e}"))
}

#[test]
fn every_shipped_and_every_good_config_loads_and_prints_itself() {
    for folder in ["config", "config/examples", "tests/configs/good"] {
        for path in files(folder).into_iter().filter(|path| !path.ends_with("web-config.yml")) {
            let config = load(&path).unwrap_or_else(|e| panic!("{e}"));
            let again =
                parse(&config.yaml, "printed").unwrap_or_else(|e| panic!("{}: {e}\n{}", path.display(), config.yaml));
            assert_eq!(again.yaml, config.yaml, "{}", path.display());
            assert_eq!(again.plan.series.len(), config.plan.series.len(), "{}", path.display());
            assert!(!config.yaml.contains(CANARY), "{}\n{}", path.display(), config.yaml);
        }
    }
}

/// Each bad config has its messages beside it, in a file that ends in `.err`.
#[test]
fn every_bad_config_is_refused_with_the_messages_beside_it() {
    for path in files("tests/configs/bad") {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let found = parse(&text, &name).err().unwrap_or_else(|| panic!("{name} loads")).to_string();
        let expected = fs::read_to_string(path.with_extension("err")).unwrap_or_default();
        assert_eq!(found.trim_end(), expected.trim_end(), "\n{name} says now:\n{found}\n");
        assert!(!found.contains(CANARY), "{found}");
    }
}

#[test]
fn the_default_config_has_the_modules_that_the_docs_name() {
    let config = good(DEFAULT);
    let names: Vec<_> = config.plan.modules.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["cert_expiry", "http_2xx", "https_2xx", "tls_version", "wss_upgrade"]);
    let timeout = |scans| Some(Duration::from_secs(if scans { 30 } else { 5 }));
    assert!(config.plan.modules.iter().all(|m| m.timeout == timeout(m.name.as_str() == "tls_version")));
    assert!(config.plan.series.is_empty());
    assert_eq!(config.line_of("modules.https_2xx.http.method"), config.line_of("modules.https_2xx.http"));
}

#[test]
fn secrets_show_in_no_error_no_debug_form_and_no_printed_config() {
    let secrets = r"
  ok:
    prober: http
    http:
      headers: {Cookie: hunter2, X-Api-Key: hunter2, Origin: 'https://u:hunter2@h/'}
      http_headers: {X-Session-Token: {values: [hunter2]}, X-A: {secrets: [hunter2]}}
      basic_auth: {username: u, password: hunter2}
      tls_config: {cert: c, key: hunter2}
  bearer: {prober: http, http: {bearer_token: hunter2}}
  scheme: {prober: websocket, websocket: {http_config: {authorization: {credentials: hunter2}}}}
";
    let config = good(&format!("modules:{secrets}"));
    assert!(!config.yaml.contains(CANARY), "{}", config.yaml);
    assert!(!format!("{config:?}").contains(CANARY), "{config:?}");
    assert_eq!(config.yaml.matches("<secret>").count(), 9, "{}", config.yaml);
    let wrong = r#"
  bad:
    prober: http
    http:
      basic_auth: hunter2
      bearer_token: {a: hunter2}
      authorization: {type: "Bearer hunter2", credentials: "hunter2\n", credentials_file: f}
      headers: {Authorization: "hunter2\n"}
      http_headers: {X: {secrets: hunter2, values: ["hunter2\n"]}, Y: hunter2}
      tls_config: {key: !hunter2 x, cert: "-----BEGIN PRIVATE KEY-----\nhunter2"}
jobs:
- {job_name: j, modules: [ok], static_configs: [{targets: ["https://u:hunter2@h/", "ftp://hunter2@h", "u:hunter2@h"]}]}
"#;
    let errors = parse(&format!("modules:{secrets}{wrong}"), "f").unwrap_err();
    assert!(errors.errors.len() >= 9, "{errors}");
    assert!(!errors.to_string().contains(CANARY), "{errors}");
    assert!(!format!("{errors:?}").contains(CANARY), "{errors:?}");
}

#[test]
fn an_empty_file_and_a_second_document_are_explained() {
    for text in ["", "# nothing\n", "---\n"] {
        assert!(errors(text).contains("the file is empty"), "{text:?}");
    }
    assert!(errors("modules:\n---\nmodules:\n").starts_with("2: a second YAML document"));
    assert!(good("modules:\n").plan.modules.is_empty());
}

/// A file is read while someone still writes it.
#[test]
fn every_beginning_of_a_config_is_answered() {
    for path in files("tests/configs/good") {
        let text = fs::read_to_string(path).unwrap();
        for (end, _) in text.char_indices().step_by(7) {
            if let Err(errors) = parse(&text[..end], "f") {
                assert!(!errors.errors.is_empty());
                assert!(!errors.to_string().contains(CANARY), "{errors}");
            }
        }
    }
}

#[test]
fn a_missing_file_is_an_error_with_its_name() {
    let error = load(Path::new("no/such.yml")).unwrap_err().to_string();
    assert!(error.starts_with("no/such.yml: cannot read it: "), "{error}");
}

#[test]
fn jobs_become_series_in_file_order_with_their_labels() {
    let config = good(
        "modules: {a: {prober: http}, b: {prober: tls}}
jobs:
- job_name: j
  modules: [b, a]
  connect_to: [203.0.113.7, edge.example:8443]
  static_configs: [{targets: [https://x/], labels: {zone: z, app: y}}]
",
    );
    let shown: Vec<String> = config
        .plan
        .series
        .iter()
        .map(|s| s.key.labels().iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        shown,
        ["job=j instance=https://x/ module=b app=y zone=z", "job=j instance=https://x/ module=a app=y zone=z"]
    );
    assert_eq!(config.plan.series[0].interval, Duration::from_secs(30));
    assert_eq!(config.plan.series[0].job.retry.attempts, 1);
    let Some(FanOut { over: Over::Listed(edges), .. }) = &config.plan.series[1].fan else { panic!("it fans out") };
    assert_eq!(edges[1].to_string(), "edge.example:8443");
}

#[test]
fn deprecated_and_merged_keys_mean_what_they_meant() {
    let config = good(
        "modules:
  a: {prober: http, http: &h {no_follow_redirects: yes, tls_config: {ca_file: x.pem}, enable_http3: false}}
  b: {prober: http, http: {<<: *h, no_follow_redirects: off}}
",
    );
    let http = |i: usize| match &config.plan.modules[i].prober {
        Prober::Http(http) => http.as_ref(),
        other => panic!("{other:?}"),
    };
    assert!(!http(0).follow_redirects && http(1).follow_redirects);
    assert!(http(1).tls.trust.stores.is_empty() && http(1).tls.trust.ca.is_some());
    assert_eq!(config.line_of("modules.b.http.tls_config.ca_file"), Some(2));
    assert!(config.plan.modules[0].yaml.contains("follow_redirects: false") && !config.yaml.contains("no_follow"));
}

#[test]
fn own_roots_replace_the_others_unless_these_are_named() {
    let file = || Some(TextSource::File("a".into()));
    for (written, stores, ca, folder) in [
        ("{}", vec![RootStore::SystemOrEmbedded], None, None),
        ("{ca_file: a}", vec![], file(), None),
        ("{ca_dir: b}", vec![], None, Some("b".into())),
        ("{ca_file: a, ca_dir: b, roots: []}", vec![], file(), Some("b".into())),
        ("{ca_file: a, roots: [system]}", vec![RootStore::System], file(), None),
        ("{roots: [embedded]}", vec![RootStore::Embedded], None, None),
        ("{roots: [embedded, system]}", vec![RootStore::Embedded, RootStore::System], None, None),
    ] {
        let config = good(&format!("modules: {{m: {{prober: tls, tls: {{tls_config: {written}}}}}}}"));
        assert_eq!(config.plan.modules[0].prober.tls().trust, Trust { stores, ca, folder }, "{written}");
    }
}

#[test]
fn the_reference_explains_every_key() {
    let reference = include_str!("../../docs/configuration.md");
    let fields = include_str!("raw.rs").lines().filter_map(|line| line.trim().strip_prefix("pub(super) "));
    let keys: Vec<_> = fields.filter_map(|field| field.split_once(": Option<")).map(|(key, _)| key).collect();
    assert!(keys.len() > 100);
    for key in keys {
        let key = if key == "scheme" { "type" } else { key };
        assert!(reference.contains(&format!("`{key}`")), "docs/configuration.md does not explain `{key}`");
    }
}
