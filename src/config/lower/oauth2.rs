//! The `oauth2` block, which the `http` block and `http_config` have.

use super::super::error::{At, Findings, Wrong, wrong};
use super::super::raw::{Masked, RawOAuth2};
use super::super::show;
use super::{each, later, no_duplicates, tls};
use crate::model::{OAuth2, ProberKind, Secret, Target, has_scheme};
use std::collections::BTreeMap;

const CLIENT_CREDENTIALS: &str = "client_credentials";
/// RFC 7523.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The `oauth2` block of the block at `at`.
pub(super) fn block(raw: Option<&mut RawOAuth2>, at: &At, findings: &mut Findings) -> Option<Box<OAuth2>> {
    let raw = raw?;
    let at = at.key("oauth2");
    refuse_later(raw, &at, findings);
    let grant = raw.grant_type.get_or_insert_with(|| CLIENT_CREDENTIALS.to_owned());
    findings.take(&at.key("grant_type"), grant_type(grant));
    let client_id = raw.client_id.clone().filter(|id| !id.is_empty());
    let client_id = client_id.ok_or_else(|| wrong("no client", "write the name that the server knows us by"));
    let token_url = findings.take(&at.key("token_url"), token_url(raw.token_url.as_deref().unwrap_or_default()));
    let scopes = raw.scopes.clone().unwrap_or_default();
    no_duplicates(findings, &at.key("scopes"), &scopes);
    each(findings, &at.key("scopes"), Some(&scopes), |text| scope(text));
    let endpoint_params =
        params(raw.endpoint_params.as_ref(), !scopes.is_empty(), &at.key("endpoint_params"), findings);
    let secret = (raw.client_secret.as_ref(), raw.client_secret_file.as_ref());
    let client_secret = tls::secret_or_file(findings, &at, "client_secret", secret);
    let tls = tls::options(raw.tls_config.as_ref(), &at, findings);
    let client_id = findings.take(&at.key("client_id"), client_id);
    Some(Box::new(OAuth2 { token_url: token_url?, client_id: client_id?, client_secret, scopes, endpoint_params, tls }))
}

fn refuse_later(raw: &RawOAuth2, at: &At, findings: &mut Findings) {
    let keys = [
        ("client_secret_ref", raw.client_secret_ref),
        ("client_certificate_key", raw.client_certificate_key),
        ("client_certificate_key_file", raw.client_certificate_key_file),
        ("client_certificate_key_ref", raw.client_certificate_key_ref),
        ("client_certificate_key_id", raw.client_certificate_key_id),
        ("signature_algorithm", raw.signature_algorithm),
        ("iss", raw.iss),
        ("audience", raw.audience),
        ("claims", raw.claims),
        ("proxy_url", raw.proxy_url),
        ("no_proxy", raw.no_proxy),
        ("proxy_from_environment", raw.proxy_from_environment),
        ("proxy_connect_header", raw.proxy_connect_header),
    ];
    later(findings, at, &keys);
}

fn grant_type(text: &str) -> Result<(), Wrong> {
    match text {
        "" | CLIENT_CREDENTIALS => Ok(()),
        JWT_BEARER => Err(wrong(
            "the grant `jwt-bearer` is not supported yet",
            format!("write {CLIENT_CREDENTIALS}, or remove the key"),
        )),
        _ => Err(wrong(format!("`{text}` is not a grant"), format!("write {CLIENT_CREDENTIALS}, or remove the key"))),
    }
}

fn token_url(text: &str) -> Result<Target, Wrong> {
    const REMEDY: &str = "write a URL such as https://auth.example.com/oauth2/token";
    if text.is_empty() {
        return Err(wrong("no token endpoint", REMEDY));
    }
    let shown = show::target(text);
    if !has_scheme(text) {
        return Err(wrong(format!("`{shown}` is not a URL"), REMEDY));
    }
    let target = Target::parse(text, ProberKind::Http).map_err(|error| {
        let problem = format!("`{shown}` is not a URL that a token can be had from: {error}");
        wrong(problem, REMEDY)
    })?;
    match target.credentials() {
        Some(_) => Err(wrong(format!("`{shown}` holds credentials"), "move them to `client_id` and `client_secret`")),
        None => Ok(target),
    }
}

/// RFC 6749 section 3.3: words without quotes and backslashes.
fn scope(text: &str) -> Result<(), Wrong> {
    let allowed = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    if !text.is_empty() && text.bytes().all(allowed) {
        return Ok(());
    }
    Err(wrong(format!("`{text}` is not a scope"), "write one scope per entry: no spaces, quotes or backslashes"))
}

fn params(
    raw: Option<&BTreeMap<String, Masked>>,
    has_scopes: bool,
    at: &At,
    findings: &mut Findings,
) -> Vec<(String, Secret)> {
    if has_scopes && raw.is_some_and(|params| params.contains_key("scope")) {
        findings.add(&at.key("scope"), wrong("the scope is set twice, here and in `scopes`", "keep `scopes`"));
    }
    let text = |masked: &Masked| masked.0.clone().unwrap_or_else(|| Secret::new(""));
    raw.into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}
