//! Raw config in, YAML for people out: unset keys left out, secrets masked.
//!
//! Keys typed as secrets mask themselves. What is found here: headers that carry secrets by custom, and the user info
//! of URLs.

use crate::model::{Secret, has_scheme};
use serde::Serialize;
use serde_yaml::Value;
use std::{borrow::Cow, sync::Arc};

/// A plain header whose name contains one of these has its values masked.
const SECRET_NAME_PARTS: &[&str] = &["authorization", "cookie", "token", "secret", "password", "key"];

/// `raw` as YAML, without what is unset and without secrets.
pub(super) fn yaml(raw: &impl Serialize) -> Arc<str> {
    let value = serde_yaml::to_value(raw).expect("the raw config is made of texts, numbers, lists and maps");
    let text = serde_yaml::to_string(&shown(value)).expect("a YAML value prints as YAML");
    text.into()
}

/// Whether a header of this name carries a secret by custom.
pub(super) fn is_secret_name(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    SECRET_NAME_PARTS.iter().any(|part| header.contains(part))
}

/// `text` with the user info of every URL in it masked.
pub(super) fn without_user_info(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end = after.find(['/', '?', '#', ' ', '\n', '"']).unwrap_or(after.len());
        rest = after;
        if let Some(at) = after[..end].rfind('@') {
            shown.push_str(Secret::MASK);
            rest = &after[at..];
        }
    }
    if shown.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(shown + rest) }
}

/// `target` as errors may show it: its user info masked, whether or not it has a scheme.
pub(super) fn target(target: &str) -> Cow<'_, str> {
    if has_scheme(target) {
        return without_user_info(target);
    }
    without_user_info(&format!("://{target}"))["://".len()..].to_owned().into()
}

fn shown(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_user_info(&text).into_owned()),
        Value::Sequence(items) => items.into_iter().map(shown).collect(),
        Value::Mapping(entries) => {
            let set = entries.into_iter().filter(|(_, value)| !value.is_null());
            let show = |(key, value): (Value, Value)| {
                let is_headers = matches!(key.as_str(), Some("headers" | "http_headers"));
                (key, shown(if is_headers { masked_headers(value) } else { value }))
            };
            Value::Mapping(set.map(show).collect())
        }
        other => other,
    }
}

fn masked_headers(headers: Value) -> Value {
    let Value::Mapping(headers) = headers else { return headers };
    let mask = |(name, value): (Value, Value)| {
        let secret = name.as_str().is_some_and(is_secret_name);
        (name, if secret { masked(value) } else { value })
    };
    Value::Mapping(headers.into_iter().map(mask).collect())
}

/// Every text below `value` masked, but for the paths of files.
fn masked(value: Value) -> Value {
    match value {
        Value::String(_) => Secret::MASK.into(),
        Value::Sequence(items) => items.into_iter().map(masked).collect(),
        Value::Mapping(entries) => {
            let mask = |(key, value): (Value, Value)| {
                let is_path = key.as_str() == Some("files");
                (key, if is_path { value } else { masked(value) })
            };
            Value::Mapping(entries.into_iter().map(mask).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_info_of_every_url_is_masked() {
        for (text, expected) in [
            ("https://u:p@h/x", "https://<secret>@h/x"),
            ("a token@b://c", "a token@b://c"),
            ("x https://t@h y wss://u:p@i:1?q=@", "x https://<secret>@h y wss://<secret>@i:1?q=@"),
            ("no url u:p@h", "no url u:p@h"),
        ] {
            assert_eq!(without_user_info(text), expected);
        }
        assert_eq!(target("u:p@h:1/x@y"), "<secret>@h:1/x@y");
        assert_eq!(target("https://u:p@h"), "https://<secret>@h");
        assert_eq!(target("u:p@h/?to=https://x"), "<secret>@h/?to=https://x");
    }

    #[test]
    fn header_names_tell_secrets() {
        for name in ["Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "x-auth-TOKEN", "Client-Secret"] {
            assert!(is_secret_name(name), "{name}");
        }
        assert!(!is_secret_name("Accept"));
    }
}
