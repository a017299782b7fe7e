//! The `tls` block and `tls_config`, which every prober has.

use super::super::error::{At, Findings, Wrong, wrong};
use super::super::raw::{Masked, RawTls, RawTlsConfig};
use super::super::value;
use super::{duration_or, each, file, ip, later, no_duplicates, optional, revocation};
use crate::model::{ClientIdentity, Pin, SecretText, TextSource, TlsModule, TlsOptions, TlsVersion, Trust};

/// The `tls` block.
pub(super) fn block(raw: &mut RawTls, at: &At, findings: &mut Findings) -> TlsModule {
    let within = at.key("fail_if_expires_within");
    TlsModule {
        ip: ip(&mut raw.preferred_ip_protocol, &mut raw.ip_protocol_fallback, at, findings),
        tls: options(raw.tls_config.as_ref(), at, findings),
        fail_if_expires_within: duration_or(findings, &within, &mut raw.fail_if_expires_within, "0s")
            .unwrap_or_default(),
        starttls: optional(findings, &at.key("starttls"), raw.starttls.as_ref(), value::starttls),
    }
}

/// The `tls_config` block of the block at `at`.
pub(super) fn options(raw: Option<&RawTlsConfig>, at: &At, findings: &mut Findings) -> TlsOptions {
    raw.map(|raw| config(raw, &at.key("tls_config"), findings)).unwrap_or_default()
}

/// A block of TLS settings at `at`.
pub(super) fn config(raw: &RawTlsConfig, at: &At, findings: &mut Findings) -> TlsOptions {
    let mut options = TlsOptions::default();
    later(findings, at, &[("ca_ref", raw.ca_ref), ("cert_ref", raw.cert_ref), ("key_ref", raw.key_ref)]);
    options.insecure_skip_verify = raw.insecure_skip_verify.unwrap_or_default();
    options.trust = trust(raw, at, findings);
    options.pins = pins(raw.pins.as_ref(), &at.key("pins"), findings);
    options.identity = identity(raw, at, findings);
    for (key, text) in [("ca", &raw.ca), ("cert", &raw.cert)] {
        // Only `key` is masked where the config is shown.
        if text.as_ref().is_some_and(|text| text.contains("PRIVATE KEY-----")) {
            findings.add(&at.key(key), wrong("a private key among certificates", "move it to `key`"));
        }
    }
    options.server_name = raw.server_name.clone().filter(|name| !name.is_empty());
    if let Some(name) = &options.server_name {
        findings.take(&at.key("server_name"), server_name(name));
    }
    versions(raw, &mut options, at, findings);
    options.fetch_missing_issuers = raw.fetch_missing_issuers.unwrap_or_default();
    if let Some(block) = &raw.revocation {
        options.revocation = revocation::block(block, &at.key("revocation"), findings);
    }
    options
}

/// `ca`, `ca_file` and `ca_dir` replace the stores of others, unless `roots` names some.
fn trust(raw: &RawTlsConfig, at: &At, findings: &mut Findings) -> Trust {
    let ca = text_or_file(findings, at, ["ca", "ca_file"], [raw.ca.as_ref(), raw.ca_file.as_ref()]);
    let folder = file(raw.ca_dir.as_ref());
    let own = ca.is_some() || folder.is_some();
    let at = at.key("roots");
    let stores = match &raw.roots {
        Some(names) => {
            no_duplicates(findings, &at, names);
            each(findings, &at, Some(names), |name| value::root_store(name))
        }
        None if own => Vec::new(),
        None => Trust::default().stores,
    };
    if !own && raw.roots.as_ref().is_some_and(Vec::is_empty) {
        let remedy = "name system or embedded, add `ca`, `ca_file` or `ca_dir`, or leave `roots` out";
        findings.add(&at, wrong("no roots at all: no certificate could be verified", remedy));
    }
    Trust { stores, ca, folder }
}

fn pins(raw: Option<&Vec<String>>, at: &At, findings: &mut Findings) -> Vec<Pin> {
    if raw.is_some_and(Vec::is_empty) {
        findings.add(at, wrong("an empty list of pins pins nothing", "list a pin, or remove the key"));
    }
    let pins = each(findings, at, raw, |text| value::pin(text));
    for (i, pin) in pins.iter().enumerate() {
        if pins[..i].contains(pin) && pins.len() == raw.map_or(0, Vec::len) {
            findings
                .add(&at.index(i), wrong(format!("the pin {pin} stands here a second time"), "keep one of the two"));
        }
    }
    pins
}

fn identity(raw: &RawTlsConfig, at: &At, findings: &mut Findings) -> Option<ClientIdentity> {
    let cert = text_or_file(findings, at, ["cert", "cert_file"], [raw.cert.as_ref(), raw.cert_file.as_ref()]);
    let key = secret_or_file(findings, at, "key", (raw.key.as_ref(), raw.key_file.as_ref()));
    match (cert, key) {
        (Some(cert), Some(key)) => Some(ClientIdentity { cert, key }),
        (Some(_), None) => {
            findings.add(at, wrong("a client certificate without its key", "add `key` or `key_file`"));
            None
        }
        (None, Some(_)) => {
            findings.add(at, wrong("a client key without its certificate", "add `cert` or `cert_file`"));
            None
        }
        (None, None) => None,
    }
}

pub(super) fn server_name(name: &str) -> Result<(), Wrong> {
    let is_ip = name.parse::<std::net::IpAddr>().is_ok();
    let is_name = rustls_pki_types::DnsName::try_from(name).is_ok();
    if is_ip || is_name {
        return Ok(());
    }
    let remedy = "write a host name without scheme and port, international names in their xn-- form";
    Err(wrong(format!("`{name}` is not a host name"), remedy))
}

fn versions(raw: &RawTlsConfig, options: &mut TlsOptions, at: &At, findings: &mut Findings) {
    let mut read = |key: &str, text: Option<&String>| optional(findings, &at.key(key), text, value::tls_version);
    let min = read("min_version", raw.min_version.as_ref());
    let max = read("max_version", raw.max_version.as_ref());
    options.min_version = min.unwrap_or(options.min_version);
    options.max_version = max.unwrap_or(options.max_version);
    if options.max_version < TlsVersion::Tls12 {
        let problem =
            format!("{} is too old: TLS 1.2 is the oldest version our TLS library speaks", options.max_version);
        findings.add(&at.key("max_version"), wrong(problem, "write TLS12 or TLS13"));
    } else if options.min_version > options.max_version {
        let problem =
            format!("the oldest version, {}, is newer than the newest, {}", options.min_version, options.max_version);
        findings.add(&at.key("min_version"), wrong(problem, "lower `min_version` or raise `max_version`"));
    }
}

/// A text that stands under the first key or in a file under the second.
pub(super) fn text_or_file(
    findings: &mut Findings,
    at: &At,
    keys: [&str; 2],
    [inline, path]: [Option<&String>; 2],
) -> Option<TextSource> {
    let inline = inline.filter(|text| !text.is_empty()).cloned();
    let source = (inline.map(TextSource::Inline), file(path).map(TextSource::File));
    one_of(findings, at, keys, source)
}

/// A secret that stands under `key` or in a file under `key_file`.
pub(super) fn secret_or_file(
    findings: &mut Findings,
    at: &At,
    key: &str,
    (inline, path): (Option<&Masked>, Option<&String>),
) -> Option<SecretText> {
    let inline = inline.and_then(|masked| masked.0.clone());
    let source = (inline.map(SecretText::Inline), file(path).map(SecretText::File));
    one_of(findings, at, [key, &format!("{key}_file")], source)
}

fn one_of<T>(findings: &mut Findings, at: &At, keys: [&str; 2], source: (Option<T>, Option<T>)) -> Option<T> {
    if source.0.is_some() && source.1.is_some() {
        findings.add(
            &at.key(keys[1]),
            wrong(format!("both `{}` and `{}` are set", keys[0], keys[1]), "keep one of the two"),
        );
    }
    source.0.or(source.1)
}
