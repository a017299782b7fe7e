//! The demo's configuration: takes the endpoints and the root to trust, gives a complete configuration file.

use super::Endpoint;
use std::fmt::Write;

/// A module: its name, its prober, the block that holds its TLS settings, and further lines of the prober's block.
struct Module {
    name: &'static str,
    prober: &'static str,
    tls_block: &'static str,
    lines: &'static [&'static str],
}

const MODULES: &[Module] = &[
    Module { name: "https", prober: "http", tls_block: "", lines: &["fail_if_not_ssl: true"] },
    Module { name: "http", prober: "http", tls_block: "", lines: &[] },
    Module { name: "https_gzip", prober: "http", tls_block: "", lines: &["compression: gzip"] },
    Module { name: "https_headers", prober: "http", tls_block: "", lines: &["report_security_headers: true"] },
    Module { name: "wss", prober: "websocket", tls_block: "http_config", lines: &["ping: true"] },
    Module {
        name: "wss_chat",
        prober: "websocket",
        tls_block: "http_config",
        lines: &["subprotocols: [chat]", "query_response:", "- send: hello", "- expect: hello"],
    },
    Module { name: "cert", prober: "tls", tls_block: "", lines: &[] },
];

/// The configuration: modules that trust `ca_pem`, and a job for each over its endpoints.
pub(super) fn config(endpoints: &[Endpoint], ca_pem: &str) -> String {
    let mut yaml = String::from("modules:\n");
    for module in MODULES {
        module.write(&mut yaml, ca_pem);
    }
    yaml.push_str("jobs:\n");
    for module in MODULES {
        let targets = endpoints.iter().filter(|endpoint| endpoint.module == module.name);
        add(&mut yaml, 0, &format!("- job_name: lab-{}", module.name));
        add(&mut yaml, 2, &format!("modules: [{}]", module.name));
        add(&mut yaml, 2, "interval: 5s");
        add(&mut yaml, 2, "static_configs:");
        for Endpoint { name, url, expected, .. } in targets {
            add(&mut yaml, 2, &format!("- targets: [\"{url}\"]"));
            add(&mut yaml, 4, &format!("labels: {{endpoint: {name}, expected: {expected}}}"));
        }
    }
    yaml
}

impl Module {
    fn write(&self, yaml: &mut String, ca_pem: &str) {
        add(yaml, 2, &format!("{}:", self.name));
        add(yaml, 4, &format!("prober: {}", self.prober));
        add(yaml, 4, "timeout: 2s");
        add(yaml, 4, &format!("{}:", self.prober));
        add(yaml, 6, "preferred_ip_protocol: ip4");
        for line in self.lines {
            add(yaml, 6, line);
        }
        let inner = if self.tls_block.is_empty() {
            6
        } else {
            add(yaml, 6, &format!("{}:", self.tls_block));
            8
        };
        add(yaml, inner, "tls_config:");
        add(yaml, inner + 2, "ca: |");
        for line in ca_pem.lines() {
            add(yaml, inner + 4, line);
        }
    }
}

fn add(yaml: &mut String, indent: usize, line: &str) {
    writeln!(yaml, "{:indent$}{line}", "").expect("a String takes every text");
}
