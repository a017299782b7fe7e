//! Judges a response against what its module expects, in blackbox's order. Pure.

use crate::model::{Failure, HeaderMatcher, HttpModule, HttpVersion, Phase, Reason};
use http::{Version, response::Parts};

/// Status, then headers.
pub(in crate::probe) fn head(module: &HttpModule, head: &Parts) -> Result<(), Failure> {
    status(module, head.status.as_u16())?;
    module.fail_if_header_matches.iter().try_for_each(|matcher| header(matcher, head, false))?;
    module.fail_if_header_not_matches.iter().try_for_each(|matcher| header(matcher, head, true))
}

/// The body's bytes.
pub(in crate::probe) fn body(module: &HttpModule, bytes: &[u8]) -> Result<(), Failure> {
    let fail = |words: String| Err(Failure::new(Phase::Transfer, Reason::BodyMismatch, words));
    if let Some(pattern) = module.fail_if_body_matches.iter().find(|pattern| pattern.regex().is_match(bytes)) {
        return fail(format!("the body matches {pattern:?}"));
    }
    match module.fail_if_body_not_matches.iter().find(|pattern| !pattern.regex().is_match(bytes)) {
        Some(pattern) => fail(format!("the body does not match {pattern:?}")),
        None => Ok(()),
    }
}

/// Whether anything looks at the body's bytes.
pub(in crate::probe) fn looks_at_body(module: &HttpModule) -> bool {
    !module.fail_if_body_matches.is_empty() || !module.fail_if_body_not_matches.is_empty()
}

/// HTTP version, then encryption.
pub(in crate::probe) fn connection(module: &HttpModule, head: &Parts, encrypted: bool) -> Result<(), Failure> {
    let fail = |reason, words: String| Err(Failure::new(Phase::Processing, reason, words));
    let version = match head.version {
        Version::HTTP_10 => HttpVersion::Http10,
        Version::HTTP_2 => HttpVersion::Http2,
        _ => HttpVersion::Http11,
    };
    if !module.valid_http_versions.is_empty() && !module.valid_http_versions.contains(&version) {
        return fail(Reason::HttpVersion, format!("the response came over {version}"));
    }
    if module.fail_if_ssl && encrypted {
        return fail(Reason::Encrypted, "the final response came over TLS".into());
    }
    if module.fail_if_not_ssl && !encrypted {
        return fail(Reason::NotEncrypted, "the final response did not come over TLS".into());
    }
    Ok(())
}

fn status(module: &HttpModule, status: u16) -> Result<(), Failure> {
    let accepted = match module.valid_status_codes.as_slice() {
        [] => (200..300).contains(&status),
        codes => codes.contains(&status),
    };
    if accepted {
        return Ok(());
    }
    let wanted = match module.valid_status_codes.as_slice() {
        [] => "200 to 299".to_owned(),
        codes => codes.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
    };
    Err(Failure::new(Phase::Processing, Reason::Status, format!("the status is {status}, accepted is {wanted}")))
}

fn header(matcher: &HeaderMatcher, head: &Parts, must_match: bool) -> Result<(), Failure> {
    let name = &matcher.header;
    let fail = |words: String| Err(Failure::new(Phase::Processing, Reason::HeaderMismatch, words));
    let mut values = head.headers.get_all(name).iter().peekable();
    if values.peek().is_none() {
        return if matcher.allow_missing { Ok(()) } else { fail(format!("the header `{name}` is missing")) };
    }
    let found = values.any(|value| matcher.pattern.regex().is_match(value.as_bytes()));
    match (found, must_match) {
        (true, false) => fail(format!("the header `{name}` matches {:?}", matcher.pattern)),
        (false, true) => fail(format!("the header `{name}` does not match {:?}", matcher.pattern)),
        _ => Ok(()),
    }
}
