//! The blocks of the web config file.

use super::super::error::{At, Findings, Wrong, nearest, wrong};
use super::super::raw::Masked;
use super::super::value;
use super::super::web::{RawRateLimit, RawWeb, RawWebHttp, RawWebTls};
use super::tls::{secret_or_file, text_or_file};
use super::{each, optional};
use crate::model::{
    CipherSuite, ClientCertPolicy, Curve, RateLimit, Secret, SecretText, TextSource, TlsVersion, WebConfig, WebTls,
};
use http::{HeaderName, HeaderValue};
use std::{collections::BTreeMap, path::Path};
use strum::VariantArray;

/// The headers that exporter-toolkit lets one set, with the values it takes; any value if there are none.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// The web config that `raw` stands for; relative paths start at `folder`.
pub(in super::super) fn web(raw: &RawWeb, folder: &Path, findings: &mut Findings) -> WebConfig {
    let at = At::default();
    let http = raw.http_server_config.as_ref();
    // An empty block switches nothing on, as in exporter-toolkit.
    let tls_block = raw.tls_server_config.as_ref().filter(|raw| **raw != RawWebTls::default());
    WebConfig {
        tls: tls_block.and_then(|raw| tls(raw, folder, &at.key("tls_server_config"), findings)),
        http2: http.and_then(|http| http.http2).unwrap_or(true),
        headers: http.map(|http| headers(http, &at.key("http_server_config"), findings)).unwrap_or_default(),
        users: users(raw.basic_auth_users.as_ref(), &at.key("basic_auth_users"), findings),
        rate_limit: raw.rate_limit.as_ref().and_then(|raw| rate_limit(raw, &at.key("rate_limit"), findings)),
    }
}

fn tls(raw: &RawWebTls, folder: &Path, at: &At, findings: &mut Findings) -> Option<WebTls> {
    let cert = text_or_file(findings, at, ["cert", "cert_file"], [raw.cert.as_ref(), raw.cert_file.as_ref()]);
    let key = secret_or_file(findings, at, "key", (raw.key.as_ref(), raw.key_file.as_ref()));
    if cert.is_none() {
        findings.add(at, wrong("no certificate to show", "add `cert_file` or `cert`, or remove the block"));
    }
    if key.is_none() {
        findings.add(at, wrong("no key for the certificate", "add `key_file` or `key`"));
    }
    let (min_version, max_version) = versions(raw, at, findings);
    let (client_auth, client_ca) = clients(raw, at, findings);
    let cipher_suites = suites(raw, max_version, at, findings);
    let curves_at = at.key("curve_preferences");
    let curve_preferences = each(findings, &curves_at, raw.curve_preferences.as_ref(), |name| curve(name));
    Some(WebTls {
        cert: within(folder, cert?),
        key: match key? {
            SecretText::File(path) => SecretText::File(folder.join(path)),
            inline @ SecretText::Inline(_) => inline,
        },
        client_auth,
        client_ca: client_ca.map(|ca| within(folder, ca)),
        client_allowed_sans: raw.client_allowed_sans.clone().unwrap_or_default(),
        min_version,
        max_version,
        cipher_suites,
        prefer_server_cipher_suites: raw.prefer_server_cipher_suites.unwrap_or(true),
        curve_preferences,
    })
}

fn suites(raw: &RawWebTls, max_version: TlsVersion, at: &At, findings: &mut Findings) -> Vec<CipherSuite> {
    let at = at.key("cipher_suites");
    let suites = each(findings, &at, raw.cipher_suites.as_ref(), |name| suite(name));
    let usable = |suite: &CipherSuite| suite.version() <= max_version;
    if !suites.is_empty() && !suites.iter().any(usable) {
        let remedy = "add a suite that begins with TLS_ECDHE_, or raise `max_version`";
        findings.add(&at, wrong(format!("no suite for {max_version}, the newest version"), remedy));
    }
    suites
}

fn within(folder: &Path, source: TextSource) -> TextSource {
    match source {
        TextSource::File(path) => TextSource::File(folder.join(path)),
        inline @ TextSource::Inline(_) => inline,
    }
}

fn versions(raw: &RawWebTls, at: &At, findings: &mut Findings) -> (TlsVersion, TlsVersion) {
    const REMEDY: &str = "write TLS12 or TLS13";
    let mut read = |key: &str, text: Option<&String>, default| {
        let at = at.key(key);
        let known = |text: &str| value::tls_version(text).map_err(|wrong| Wrong { remedy: REMEDY.into(), ..wrong });
        let version = optional(findings, &at, text, known).unwrap_or(default);
        if version < TlsVersion::Tls12 {
            let problem = format!("{version} is too old: TLS 1.2 is the oldest version our TLS library speaks");
            findings.add(&at, wrong(problem, REMEDY));
        }
        version
    };
    let min = read("min_version", raw.min_version.as_ref(), TlsVersion::Tls12);
    let max = read("max_version", raw.max_version.as_ref(), TlsVersion::Tls13);
    if min > max && max >= TlsVersion::Tls12 {
        let problem = format!("the oldest version, {min}, is newer than the newest, {max}");
        findings.add(&at.key("min_version"), wrong(problem, "lower `min_version` or raise `max_version`"));
    }
    (min, max)
}

fn clients(raw: &RawWebTls, at: &At, findings: &mut Findings) -> (ClientCertPolicy, Option<TextSource>) {
    let keys = ["client_ca", "client_ca_file"];
    let ca = text_or_file(findings, at, keys, [raw.client_ca.as_ref(), raw.client_ca_file.as_ref()]);
    let policy_at = at.key("client_auth_type");
    let policy = optional(findings, &policy_at, raw.client_auth_type.as_ref(), policy);
    let known = raw.client_auth_type.is_none() || policy.is_some();
    let policy = policy.unwrap_or(ClientCertPolicy::NoClientCert);
    if !known {
        return (policy, ca);
    }
    match (policy, &ca) {
        (ClientCertPolicy::NoClientCert, Some(_)) => {
            let remedy = "add `client_auth_type: RequireAndVerifyClientCert`, or remove the CA";
            findings.add(at, wrong("a CA for clients, but no certificate is asked of them", remedy));
        }
        (policy, None) if policy.verifies() => {
            let problem = "there is no CA to verify the certificates of clients with";
            findings.add(&policy_at, wrong(problem, "add `client_ca_file` or `client_ca`"));
        }
        _ => {}
    }
    if raw.client_allowed_sans.is_some() && !policy.requires() {
        let problem = "names that clients must have, but a client without a certificate is let in";
        let remedy =
            "write `client_auth_type: RequireAndVerifyClientCert` (or RequireAnyClientCert), or remove the names";
        findings.add(&at.key("client_allowed_sans"), wrong(problem, remedy));
    } else if raw.client_allowed_sans.as_ref().is_some_and(Vec::is_empty) {
        let problem = "an empty list lets no client in";
        findings.add(&at.key("client_allowed_sans"), wrong(problem, "add a name, or remove the key"));
    }
    (policy, ca)
}

fn policy(name: &str) -> Result<ClientCertPolicy, Wrong> {
    // An older name that exporter-toolkit still takes.
    let name = if name == "RequireClientCert" { "RequireAnyClientCert" } else { name };
    named(name, "client authentication type")
}

fn suite(name: &str) -> Result<CipherSuite, Wrong> {
    if name.ends_with("_CBC_SHA") || name.ends_with("_CBC_SHA256") || name.starts_with("TLS_RSA_WITH_") {
        let problem = format!("`{name}` is not spoken: our TLS library wants forward secrecy and AEAD");
        return Err(wrong(problem, "remove it"));
    }
    named(name, "cipher suite")
}

fn curve(name: &str) -> Result<Curve, Wrong> {
    if name == "CurveP521" {
        return Err(wrong("`CurveP521` is not spoken by our TLS library", "remove it; CurveP384 is the next best"));
    }
    named(name, "key exchange")
}

/// The variant of this name.
fn named<T: VariantArray + Copy + Into<&'static str>>(name: &str, what: &str) -> Result<T, Wrong> {
    let names = || T::VARIANTS.iter().map(|&variant| -> &'static str { variant.into() });
    if let Some(found) = T::VARIANTS.iter().find(|&&variant| name == variant.into()) {
        return Ok(*found);
    }
    let remedy = match nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of {}", names().collect::<Vec<_>>().join(", ")),
    };
    Err(wrong(format!("`{name}` is not a {what}"), remedy))
}

fn headers(raw: &RawWebHttp, at: &At, findings: &mut Findings) -> Vec<(HeaderName, HeaderValue)> {
    let at = at.key("headers");
    let entries = raw.headers.iter().flatten();
    entries.filter_map(|(name, value)| findings.take(&at.key(name), header(name, value))).collect()
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Wrong> {
    let Some((_, values)) = HEADERS.iter().find(|(known, _)| *known == name) else {
        let names = HEADERS.map(|(known, _)| known);
        let remedy = match HEADERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((known, _)) => format!("write it as `{known}`"),
            None => format!("known here: {}", names.join(", ")),
        };
        return Err(wrong("a header that cannot be set", remedy));
    };
    if !values.is_empty() && !values.contains(&value) {
        return Err(wrong(format!("`{value}` is not a value of it"), format!("write {}", values.join(" or "))));
    }
    Ok((value::header_name(name)?, value::header_value(value)?))
}

fn users(raw: Option<&BTreeMap<String, Masked>>, at: &At, findings: &mut Findings) -> BTreeMap<String, Secret> {
    let entries = raw.into_iter().flatten();
    let read = entries.filter_map(|(name, hash)| {
        let at = at.key(name);
        if name.contains(':') {
            let problem = "the user name holds a colon, which would end it (RFC 7617)";
            findings.add(&at, wrong(problem, "choose a name without one"));
        }
        Some((name.clone(), findings.take(&at, bcrypt_hash(hash))?))
    });
    read.collect()
}

/// A hash that passwords can be compared with. The text is not shown: it may be the password itself.
fn bcrypt_hash(hash: &Masked) -> Result<Secret, Wrong> {
    const REMEDY: &str = "write the output of `htpasswd -nBC 10 NAME` after the colon; it begins with $2";
    let hash = hash.0.clone().ok_or_else(|| wrong("no password", REMEDY))?;
    let parts = hash.expose().parse::<bcrypt::HashParts>().ok();
    parts.filter(|parts| (4..=31).contains(&parts.get_cost())).ok_or_else(|| wrong("not a bcrypt hash", REMEDY))?;
    Ok(hash)
}

fn rate_limit(raw: &RawRateLimit, at: &At, findings: &mut Findings) -> Option<RateLimit> {
    let interval = optional(findings, &at.key("interval"), raw.interval.as_ref(), value::duration);
    let interval = interval.filter(|interval| !interval.is_zero())?;
    let burst = raw.burst.and_then(|burst| u32::try_from(burst).ok()).filter(|burst| *burst > 0);
    if burst.is_none() {
        let remedy = "write how many requests are answered at once, at least 1";
        findings.add(&at.key("burst"), wrong("no request would be answered", remedy));
    }
    Some(RateLimit { interval, burst: burst? })
}
