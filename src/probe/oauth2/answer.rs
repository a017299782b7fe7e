//! What a token endpoint answered (RFC 6749 section 5): a token and its life, or why there is none, in words that hold no
//! secret.
//!
//! The endpoint is a stranger as any peer: its words are cut, made printable and searched for what must not be shown.

use super::TokenError;
use crate::model::{Reason, Secret};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use zeroize::Zeroizing;

/// The life of a token whose answer tells none.
const DEFAULT_LIFE: Duration = Duration::from_secs(5 * 60);
/// No token is kept for longer, whatever its answer tells.
const MAX_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Characters of an error that are shown.
const MAX_WORDS: usize = 300;

/// A token and how long it lives.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) secret: Secret,
    pub(super) life: Duration,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    access_token: Option<String>,
    token_type: Option<String>,
    /// A number; some servers send it as a text.
    expires_in: Option<Value>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Reads an answer; `secrets` are what its words may not show.
pub(super) fn read(status: StatusCode, body: &[u8], secrets: &[Zeroizing<String>]) -> Result<Grant, TokenError> {
    let reason = if status.is_server_error() { Reason::TokenUnavailable } else { Reason::TokenRefused };
    let refused = |words: String| {
        let words = format!("the token endpoint answered with status {}{}", status.as_u16(), shown(&words, secrets));
        TokenError { status: Some(status.as_u16()), ..TokenError::new(reason, words) }
    };
    let body = serde_json::from_slice::<Body>(body);
    if let Ok(Body { error: Some(error), error_description, .. }) = &body {
        let description = error_description.as_ref().map(|words| format!(" ({words})")).unwrap_or_default();
        return Err(refused(format!(": {error}{description}")));
    }
    if status.is_redirection() {
        return Err(refused(", a redirect, which is not followed".into()));
    }
    if !status.is_success() {
        return Err(refused(String::new()));
    }
    let body = body.map_err(|_| refused(", and its body is no token's".into()))?;
    let token = body.access_token.filter(|token| !token.is_empty()).map(Secret::new);
    let token = token.ok_or_else(|| refused(", and no access_token".into()))?;
    if body.token_type.as_ref().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        let kind = body.token_type.unwrap_or_default();
        return Err(refused(format!(", and a token of type {kind}, not bearer")));
    }
    if HeaderValue::from_str(token.expose()).is_err() {
        return Err(refused(", and a token that no header can carry".into()));
    }
    Ok(Grant { secret: token, life: life(body.expires_in.as_ref()) })
}

fn life(expires_in: Option<&Value>) -> Duration {
    let seconds = match expires_in {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let seconds = seconds.filter(|seconds| !seconds.is_nan());
    seconds.map_or(DEFAULT_LIFE, |seconds| Duration::from_secs_f64(seconds.clamp(0.0, MAX_LIFE.as_secs_f64())))
}

fn shown(words: &str, secrets: &[Zeroizing<String>]) -> String {
    let mut words = words.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        words = words.replace(secret.as_str(), Secret::MASK);
    }
    let printable = words.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(MAX_WORDS).collect()
}
