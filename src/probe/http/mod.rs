//! One HTTP exchange over an open wire: a request out, a response's head and body in, nothing decided.
//!
//! Knows nothing of names, TLS or redirects: a test hands it one end of a pipe.

pub(super) mod body;
mod driver;
pub(super) mod expect;
pub(super) mod request;

pub(super) use driver::Driver;

use super::{
    run::StageError,
    wire::{Wire, reason_of_io},
};
use crate::model::{Hsts, HttpFacts, Reason, SECURITY_HEADERS, mask_credentials};
use body::{BodyFault, BodyReader};
use bytes::Bytes;
use driver::Tasks;
use http::{HeaderMap, Request, Response, Version, header, response::Parts};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use std::{error::Error, io, path::PathBuf};

/// Response headers taken at most; more is a protocol error.
const MAX_HEADERS: usize = 256;
/// Bytes of a response head taken at most.
const MAX_HEAD: usize = 256 * 1024;
/// Headers kept as facts, and bytes of each value.
const KEPT_HEADERS: usize = 100;
const KEPT_VALUE: usize = 1024;

/// Why an exchange did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("the HTTP exchange failed")]
    Exchange(#[from] hyper::Error),
    #[error(transparent)]
    Body(#[from] BodyFault),
    #[error("the request cannot be made: {0}")]
    Request(String),
    #[error("cannot read `{}`", path.display())]
    File { path: PathBuf, source: io::Error },
}

impl StageError for HttpError {
    fn reason(&self) -> Reason {
        match self {
            Self::Exchange(error) => reason_of(error),
            Self::Body(BodyFault::TooLarge(_)) => Reason::BodyTooLarge,
            Self::Body(BodyFault::Undecodable) => Reason::BodyDecode,
            Self::Request(_) => Reason::InvalidTarget,
            Self::File { .. } => Reason::Internal,
        }
    }
}

fn reason_of(error: &hyper::Error) -> Reason {
    if error.is_parse() || error.is_parse_too_large() {
        return Reason::ProtocolError;
    }
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            // hyper says so of a chunked body that breaks the rules.
            let broken_rules = io.kind() == io::ErrorKind::InvalidInput;
            return if broken_rules { Reason::ProtocolError } else { reason_of_io(io) };
        }
        if let Some(h2) = inner.downcast_ref::<h2::Error>() {
            return match h2.get_io() {
                Some(io) => reason_of_io(io),
                None if h2.is_remote() && h2.is_reset() => Reason::Reset,
                None if h2.is_remote() && h2.is_go_away() => Reason::Broken,
                None => Reason::ProtocolError,
            };
        }
        source = inner.source();
    }
    Reason::Broken
}

/// A response whose body is still on the wire.
pub(super) struct Exchange {
    pub(super) head: Parts,
    pub(super) body: Incoming,
    pub(super) driver: Driver,
}

/// Sends `request` over `wire` in HTTP/2 or HTTP/1.1 and takes the response's head.
pub(super) async fn exchange(wire: Wire, http2: bool, request: Request<Full<Bytes>>) -> Result<Exchange, HttpError> {
    let io = TokioIo::new(wire);
    let (driver, response): (Driver, Response<Incoming>) = if http2 {
        let tasks = Tasks::default();
        let (mut sender, connection) = http2::Builder::new(tasks.clone())
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .handshake(io)
            .await?;
        let mut driver = Driver::new(connection, tasks);
        let response = driver.drive(sender.send_request(request)).await?;
        (driver, response)
    } else {
        let (mut sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD)
            .handshake(io)
            .await?;
        let mut driver = Driver::new(connection.with_upgrades(), Tasks::default());
        let response = driver.drive(sender.send_request(request)).await?;
        (driver, response)
    };
    let (head, body) = response.into_parts();
    Ok(Exchange { head, body, driver })
}

impl Exchange {
    /// Reads the body to its end into `reader`, which keeps what it got if this is cut off.
    pub(super) async fn read_body(&mut self, reader: &mut BodyReader) -> Result<(), HttpError> {
        while let Some(frame) = self.driver.drive(self.body.frame()).await {
            if let Some(chunk) = frame?.data_ref() {
                reader.push(chunk).await?;
            }
        }
        Ok(reader.finish()?)
    }
}

/// What a response's head says.
pub(super) fn facts(head: &Parts) -> HttpFacts {
    let text = |name: header::HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    HttpFacts {
        status: head.status.as_u16(),
        version: match head.version {
            Version::HTTP_10 => 1.0,
            Version::HTTP_2 => 2.0,
            _ => 1.1,
        },
        headers: kept_headers(&head.headers),
        content_length: text(header::CONTENT_LENGTH).and_then(|length| length.trim().parse().ok()),
        body_length: 0,
        last_modified: text(header::LAST_MODIFIED).and_then(unix_time),
        hsts: text(header::STRICT_TRANSPORT_SECURITY).and_then(hsts),
        security_headers: SECURITY_HEADERS.into_iter().filter(|name| head.headers.contains_key(*name)).collect(),
        redirect: location(head).map(|location| {
            let kept: String = location.chars().take(KEPT_VALUE).collect();
            mask_credentials(&kept).into_owned()
        }),
    }
}

/// Where a redirect status points to. An empty Location points nowhere, as in Go.
pub(super) fn location(head: &Parts) -> Option<String> {
    let location = head.headers.get(header::LOCATION).filter(|_| request::is_redirect(head.status))?;
    (!location.is_empty()).then(|| String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// The headers that are kept as facts.
pub(super) fn kept_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let shown = |value: &http::HeaderValue| {
        let bytes = value.as_bytes();
        String::from_utf8_lossy(&bytes[..bytes.len().min(KEPT_VALUE)]).into_owned()
    };
    headers.iter().take(KEPT_HEADERS).map(|(name, value)| (name.to_string(), shown(value))).collect()
}

fn unix_time(text: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// Reads a Strict-Transport-Security header; `None` without a usable `max-age` (RFC 6797 section 6.1).
fn hsts(text: &str) -> Option<Hsts> {
    let mut found = Hsts { max_age: 0, include_subdomains: false, preload: false };
    let mut max_age = None;
    for directive in text.split(';') {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "max-age" => max_age = value.trim().trim_matches('"').parse().ok(),
            "includesubdomains" => found.include_subdomains = true,
            "preload" => found.preload = true,
            _ => {}
        }
    }
    found.max_age = max_age?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_location_leads_nowhere() {
        let redirect = |location: &str| {
            let response = Response::builder().status(302).header(header::LOCATION, location).body(()).unwrap();
            facts(&response.into_parts().0).redirect
        };
        assert_eq!(redirect("/x").as_deref(), Some("/x"));
        assert_eq!(redirect(""), None);
    }

    #[test]
    fn a_kept_location_is_short_and_shows_no_password() {
        let head = |location: &str| {
            let response = Response::builder().status(302).header(header::LOCATION, location).body(()).unwrap();
            response.into_parts().0
        };
        let secret = head("https://u:hunter2@h/");
        assert_eq!(facts(&secret).redirect.as_deref(), Some("https://u:xxxxx@h/"));
        assert_eq!(location(&secret).as_deref(), Some("https://u:hunter2@h/"), "what is followed stays whole");
        let long = head(&format!("/{}", "x".repeat(10_000)));
        assert_eq!(facts(&long).redirect.unwrap().len(), KEPT_VALUE);
        assert_eq!(location(&long).unwrap().len(), 10_001);
    }

    #[test]
    fn reads_hsts_as_rfc_6797_writes_it() {
        let full = Hsts { max_age: 31_536_000, include_subdomains: true, preload: true };
        assert_eq!(hsts("max-age=31536000; includeSubDomains; preload"), Some(full));
        assert_eq!(hsts("INCLUDESUBDOMAINS;max-age=\"31536000\" ; Preload"), Some(full));
        assert_eq!(hsts("max-age=0").map(|h| h.max_age), Some(0));
        assert_eq!(hsts("includeSubDomains"), None);
        assert_eq!(hsts("max-age=forever"), None);
    }
}
