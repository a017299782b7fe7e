//! The demo's configuration: takes the lab, gives a complete configuration file.

use super::{Endpoint, Lab, cdn::CDN_SITE, oauth2};
use std::fmt::Write;

/// A module: its name, its prober, the block that holds its TLS settings, and further lines of the prober's block and of
/// the TLS settings.
struct Module {
    name: &'static str,
    prober: &'static str,
    tls_block: &'static str,
    lines: &'static [&'static str],
    tls: &'static [&'static str],
}

const MODULES: &[Module] = &[
    Module { name: "https", prober: "http", tls_block: "", lines: &["fail_if_not_ssl: true"], tls: &[] },
    Module { name: "http", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "https_gzip", prober: "http", tls_block: "", lines: &["compression: gzip"], tls: &[] },
    Module { name: "wss", prober: "websocket", tls_block: "http_config", lines: &["ping: true"], tls: &[] },
    Module {
        name: "https_headers",
        prober: "http",
        tls_block: "",
        lines: &["report_security_headers: true"],
        tls: &[],
    },
    Module {
        name: "wss_chat",
        prober: "websocket",
        tls_block: "http_config",
        lines: &["subprotocols: [chat]", "query_response:", "- send: hello", "- expect: hello"],
        tls: &[],
    },
    Module { name: "cert", prober: "tls", tls_block: "", lines: &[], tls: &[] },
    Module {
        name: "https_staple",
        prober: "http",
        tls_block: "",
        lines: &[],
        tls: &["revocation: {require_staple: true}"],
    },
    Module {
        name: "https_revocation_soft",
        prober: "http",
        tls_block: "",
        lines: &[],
        tls: &["revocation: {ocsp: soft, crl: soft, allow_private: true}"],
    },
    Module {
        name: "https_revocation_hard",
        prober: "http",
        tls_block: "",
        lines: &[],
        tls: &["revocation: {ocsp: hard, crl: hard, allow_private: true}"],
    },
    Module {
        name: "https_fetch_issuers",
        prober: "http",
        tls_block: "",
        lines: &[],
        tls: &["fetch_missing_issuers: true", "revocation: {allow_private: true}"],
    },
    Module { name: "mtls", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "mtls_stranger", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "wss_mtls", prober: "websocket", tls_block: "http_config", lines: &["ping: true"], tls: &[] },
    site("oauth2"),
    site("oauth2_form"),
    site("oauth2_refused"),
    site("oauth2_junk"),
    site("oauth2_huge"),
    site("oauth2_mac"),
    site("oauth2_down"),
    site("oauth2_dead"),
    site("oauth2_untrusted"),
    Module { name: "wss_oauth2", prober: "websocket", tls_block: "http_config", lines: &["ping: true"], tls: &[] },
    Module { name: "pinned", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "pinned_other", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "tls13", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "starttls_smtp", prober: "tls", tls_block: "", lines: &["starttls: smtp"], tls: &[] },
    Module { name: "starttls_imap", prober: "tls", tls_block: "", lines: &["starttls: imap"], tls: &[] },
    Module { name: "starttls_pop3", prober: "tls", tls_block: "", lines: &["starttls: pop3"], tls: &[] },
    Module { name: "starttls_ftp", prober: "tls", tls_block: "", lines: &["starttls: ftp"], tls: &[] },
    Module { name: "starttls_ldap", prober: "tls", tls_block: "", lines: &["starttls: ldap"], tls: &[] },
    Module { name: "starttls_postgres", prober: "tls", tls_block: "", lines: &["starttls: postgres"], tls: &[] },
    Module { name: "starttls_mysql", prober: "tls", tls_block: "", lines: &["starttls: mysql"], tls: &[] },
    Module { name: "starttls_xmpp", prober: "tls", tls_block: "", lines: &["starttls: xmpp"], tls: &[] },
    Module {
        name: "scan",
        prober: "tls_scan",
        tls_block: "",
        lines: &["fail_if_accepted: [SSL 3.0, TLS 1.0, TLS 1.1]", "fail_if_not_accepted: [TLS 1.3]"],
        tls: &[],
    },
    Module {
        name: "scan_smtp",
        prober: "tls_scan",
        tls_block: "",
        lines: &["starttls: smtp", "profile: intermediate"],
        tls: &[],
    },
    Module { name: "https_connect", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "https_connect_tls", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "https_connect_auth", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "https_socks", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "http_forwarded", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "wss_connect", prober: "websocket", tls_block: "http_config", lines: &["ping: true"], tls: &[] },
    Module { name: "cert_socks", prober: "tls", tls_block: "", lines: &[], tls: &[] },
    Module { name: "https_proxy_stranger", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "https_proxy_refuses", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "https_proxy_silent", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "https_proxy_garbage", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "https_proxy_closes", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "https_proxy_down", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "https_socks_refuses", prober: "http", tls_block: "", lines: &[], tls: &[] },
    Module { name: "https_socks_stranger", prober: "http", tls_block: "", lines: &[], tls: &[] },
];

/// The keys of a module's proxy; an `https` one has a certificate of the lab, too.
fn proxy_settings(module: &str, lab: &Lab) -> Vec<String> {
    let Some(url) = lab.proxies.url(module) else { return Vec::new() };
    let mut lines = vec![format!("proxy_url: {url}")];
    if url.starts_with("https:") {
        lines.push("proxy_tls_config:".into());
        lines.extend(text("ca", lab.ca_pem()).into_iter().map(|line| format!("  {line}")));
    }
    lines
}

/// A module of the `http` prober that differs from others by what [`tls_settings`] and [`oauth2_settings`] say.
const fn site(name: &'static str) -> Module {
    Module { name, prober: "http", tls_block: "", lines: &[], tls: &[] }
}

/// The `oauth2` block of a module, if it has one.
fn oauth2_settings(module: &str, lab: &Lab) -> Vec<String> {
    let (server, path) = match module {
        "oauth2" | "wss_oauth2" => (lab.auth(), "/good"),
        "oauth2_untrusted" => (lab.untrusted_auth(), "/good"),
        "oauth2_form" => (lab.auth(), "/form"),
        "oauth2_refused" => (lab.auth(), "/refused"),
        "oauth2_junk" => (lab.auth(), "/junk"),
        "oauth2_huge" => (lab.auth(), "/huge"),
        "oauth2_mac" => (lab.auth(), "/mac"),
        "oauth2_down" => (lab.auth(), "/down"),
        "oauth2_dead" => (lab.auth(), "/dead"),
        _ => return Vec::new(),
    };
    let (id, secret) = oauth2::CLIENT;
    let keys = [
        format!("client_id: \"{id}\""),
        format!("client_secret: \"{secret}\""),
        format!("token_url: {}", oauth2::url(server, path)),
        "scopes: [probe]".to_owned(),
        "tls_config:".to_owned(),
    ];
    let trust = text("ca", lab.ca_pem()).into_iter().map(|line| format!("    {line}"));
    std::iter::once("oauth2:".to_owned()).chain(keys.map(|key| format!("  {key}"))).chain(trust).collect()
}

/// Further keys of a module's `tls_config`.
fn tls_settings(module: &str, lab: &Lab) -> Vec<String> {
    let identity = |(cert, key): (&str, &str)| [text("cert", cert), text("key", key)].concat();
    match module {
        "mtls" | "wss_mtls" => identity(lab.client_pem()),
        "mtls_stranger" => {
            let (cert, key) = lab.ca.stranger_client_pem();
            identity((&cert, &key))
        }
        "pinned" => vec![format!("pins: [{}, {}]", lab.ca.stranger_pin(), lab.ca.intermediate_pin())],
        "pinned_other" => vec![format!("pins: [{}]", lab.ca.stranger_pin())],
        "tls13" => vec!["min_version: TLS13".into()],
        _ => Vec::new(),
    }
}

/// A key whose value is a text of several lines.
fn text(key: &str, text: &str) -> Vec<String> {
    std::iter::once(format!("{key}: |")).chain(text.lines().map(|line| format!("  {line}"))).collect()
}

/// The configuration: modules that trust the lab's root, and a job for each over its endpoints.
pub(super) fn config(lab: &Lab) -> String {
    let mut yaml = String::from("modules:\n");
    for module in MODULES {
        module.write(&mut yaml, lab);
    }
    yaml.push_str("jobs:\n");
    for module in MODULES {
        let targets = lab.endpoints().iter().filter(|endpoint| endpoint.module == module.name);
        add(&mut yaml, 0, &format!("- job_name: lab-{}", module.name));
        add(&mut yaml, 2, &format!("modules: [{}]", module.name));
        add(&mut yaml, 2, if module.scans() { "interval: 10s" } else { "interval: 5s" });
        add(&mut yaml, 2, "static_configs:");
        for Endpoint { name, url, expected, .. } in targets {
            add(&mut yaml, 2, &format!("- targets: [\"{url}\"]"));
            add(&mut yaml, 4, &format!("labels: {{endpoint: {name}, expected: {expected}}}"));
        }
    }
    let edges = lab.cdn().addresses().map(|edge| format!("\"{edge}\""));
    add(&mut yaml, 0, "- job_name: lab-cdn");
    add(&mut yaml, 2, "modules: [wss]");
    add(&mut yaml, 2, "interval: 5s");
    add(&mut yaml, 2, &format!("connect_to: [{}]", edges.join(", ")));
    add(
        &mut yaml,
        2,
        &format!(
            "static_configs: [{{targets: [\"wss://{CDN_SITE}/\"], labels: {{endpoint: cdn, expected: success}}}}]"
        ),
    );
    yaml
}

impl Module {
    /// A scan takes many connections, and trusts nobody.
    fn scans(&self) -> bool {
        self.prober == "tls_scan"
    }

    fn write(&self, yaml: &mut String, lab: &Lab) {
        add(yaml, 2, &format!("{}:", self.name));
        add(yaml, 4, &format!("prober: {}", self.prober));
        add(yaml, 4, if self.scans() { "timeout: 4s" } else { "timeout: 2s" });
        add(yaml, 4, &format!("{}:", self.prober));
        add(yaml, 6, "preferred_ip_protocol: ip4");
        for line in self.lines {
            add(yaml, 6, line);
        }
        if self.scans() {
            return;
        }
        let inner = if self.tls_block.is_empty() {
            6
        } else {
            add(yaml, 6, &format!("{}:", self.tls_block));
            8
        };
        for line in proxy_settings(self.name, lab).into_iter().chain(oauth2_settings(self.name, lab)) {
            add(yaml, inner, &line);
        }
        add(yaml, inner, "tls_config:");
        for line in self.tls {
            add(yaml, inner + 2, line);
        }
        for line in [text("ca", lab.ca_pem()), tls_settings(self.name, lab)].concat() {
            add(yaml, inner + 2, &line);
        }
    }
}

fn add(yaml: &mut String, indent: usize, line: &str) {
    writeln!(yaml, "{:indent$}{line}", "").expect("a String takes every text");
}
