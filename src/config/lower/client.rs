//! Credentials and headers of a request: what the `http` and the `websocket` block have in common.

use super::super::error::{At, Findings, Wrong, wrong};
use super::super::raw::{Later, Masked, RawAuthorization, RawBasicAuth, RawHeader};
use super::super::{show, value};
use super::tls::secret_or_file;
use super::{each, file, later};
use crate::model::{Auth, Header, Secret, SecretText};
use http::{HeaderName, HeaderValue};
use std::collections::BTreeMap;

/// The keys that say who asks; at most one kind of them may be set.
pub(super) struct AuthKeys<'a> {
    pub(super) basic_auth: Option<&'a RawBasicAuth>,
    pub(super) authorization: Option<&'a mut RawAuthorization>,
    pub(super) bearer_token: Option<&'a Masked>,
    pub(super) bearer_token_file: Option<&'a String>,
    /// Whether there is such a block; it is read elsewhere.
    pub(super) oauth2: bool,
}

/// The credentials of the block at `at`.
pub(super) fn auth(keys: AuthKeys<'_>, at: &At, findings: &mut Findings) -> Option<Auth> {
    let token = secret_or_file(findings, at, "bearer_token", (keys.bearer_token, keys.bearer_token_file));
    let token = token.and_then(|token| findings.take(&at.key("bearer_token"), credential(token)));
    let kinds = [keys.basic_auth.is_some(), keys.authorization.is_some(), token.is_some(), keys.oauth2];
    if kinds.iter().filter(|set| **set).count() > 1 {
        let problem = "more than one of `basic_auth`, `authorization`, `bearer_token` and `oauth2` is set";
        findings.add(at, wrong(problem, "keep the one that the server wants"));
    }
    let basic = keys.basic_auth.map(|raw| basic_auth(raw, &at.key("basic_auth"), findings));
    let scheme = keys.authorization.and_then(|raw| authorization(raw, &at.key("authorization"), findings));
    basic.or(scheme).or(token.map(|credentials| Auth::Scheme { scheme: "Bearer".to_owned(), credentials }))
}

fn basic_auth(raw: &RawBasicAuth, at: &At, findings: &mut Findings) -> Auth {
    later(findings, at, &[("username_ref", raw.username_ref), ("password_ref", raw.password_ref)]);
    if raw.username.as_ref().is_some_and(|name| name.contains(':')) {
        let problem = "the user name holds a colon, which would end it (RFC 7617)";
        findings.add(&at.key("username"), wrong(problem, "move what follows the colon to `password`"));
    }
    let username = raw.username.as_ref().map(|name| Masked((!name.is_empty()).then(|| Secret::new(name.as_str()))));
    let username = secret_or_file(findings, at, "username", (username.as_ref(), raw.username_file.as_ref()));
    Auth::Basic {
        username: username.unwrap_or_else(|| SecretText::Inline(Secret::new(""))),
        password: secret_or_file(findings, at, "password", (raw.password.as_ref(), raw.password_file.as_ref())),
    }
}

fn authorization(raw: &mut RawAuthorization, at: &At, findings: &mut Findings) -> Option<Auth> {
    later(findings, at, &[("credentials_ref", raw.credentials_ref)]);
    let scheme = raw.scheme.get_or_insert_with(|| "Bearer".to_owned()).trim().to_owned();
    if scheme.eq_ignore_ascii_case("basic") {
        findings.add(&at.key("type"), wrong("the type `Basic` is not set here", "use `basic_auth`"));
    } else if !value::is_token(&scheme) {
        // Not quoted: a credential may have slipped in.
        findings.add(&at.key("type"), wrong("the type is not one word", "write the scheme alone, such as Bearer"));
    }
    let credentials =
        secret_or_file(findings, at, "credentials", (raw.credentials.as_ref(), raw.credentials_file.as_ref()));
    if credentials.is_none() && raw.credentials_ref.is_none_or(|later: Later| !later.0) {
        findings.add(at, wrong("no credentials", "add `credentials` or `credentials_file`, or remove the block"));
    }
    let credentials = findings.take(&at.key("credentials"), credential(credentials?))?;
    Some(Auth::Scheme { scheme, credentials })
}

/// A credential that fits in a header. The line end of a block text is no part of it.
fn credential(text: SecretText) -> Result<SecretText, Wrong> {
    let SecretText::Inline(secret) = text else { return Ok(text) };
    let trimmed = secret.expose().trim();
    value::header_value(trimmed)?;
    Ok(SecretText::Inline(Secret::new(trimmed)))
}

/// A map of headers with several values each, in which `refuse` says which names do not belong.
pub(super) fn headers(
    raw: Option<&BTreeMap<String, RawHeader>>,
    at: &At,
    findings: &mut Findings,
    refuse: impl Fn(&HeaderName) -> Option<Wrong>,
) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::new();
    for (text, raw) in raw.into_iter().flatten() {
        let at = at.key(text);
        let values = each(findings, &at.key("values"), raw.values.as_ref(), |v| plain_value(text, v));
        let secrets = each(findings, &at.key("secrets"), raw.secrets.as_ref(), secret_value);
        let files = raw.files.iter().flatten().filter_map(|path| file(Some(path)));
        let secrets = secrets.into_iter().chain(files.map(SecretText::File)).collect();
        let Some(name) = findings.take(&at, value::header_name(text)) else { continue };
        if let Some(wrong) = refuse(&name) {
            findings.add(&at, wrong);
        }
        if headers.iter().any(|header| header.name == name) {
            findings.add(&at, twice());
        }
        headers.push(Header { name, values, secrets });
    }
    headers
}

/// The problem of two names that differ in case only.
pub(super) fn twice() -> Wrong {
    wrong("the header stands here a second time: names are the same in any case", "keep one of the two")
}

/// The value of a header that is not typed as secret; marked as one when its name or its user info says so.
pub(super) fn plain_value(name: &str, text: &str) -> Result<HeaderValue, Wrong> {
    let mut header = value::header_value(text)?;
    header.set_sensitive(show::is_secret_name(name) || show::without_user_info(text) != text);
    Ok(header)
}

/// A header's value that is typed as secret.
pub(super) fn secret_value(masked: &Masked) -> Result<SecretText, Wrong> {
    let secret = masked.0.clone().ok_or_else(|| wrong("an empty secret", "write the value, or remove the entry"))?;
    value::header_value(secret.expose())?;
    Ok(SecretText::Inline(secret))
}
