//! The forms an answer takes: a line of text, a text, a page of metrics in the format and encoding that was asked for.

use crate::metrics::Format;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use flate2::{Compression, write::GzEncoder};
use std::io::Write as _;

const TEXT: &str = "text/plain; charset=utf-8";
/// Shorter pages are not worth compressing.
const GZIP_FROM: usize = 1024;

/// One line for a person; the end of the line is added.
pub(super) fn line(status: StatusCode, text: &str) -> Response {
    (status, [(header::CONTENT_TYPE, TEXT)], format!("{text}\n")).into_response()
}

/// A text as it is.
pub(super) fn text(body: impl Into<String>) -> Response {
    ([(header::CONTENT_TYPE, TEXT)], body.into()).into_response()
}

/// A page of metrics, negotiated by Accept and Accept-Encoding.
pub(super) fn exposition(request: &HeaderMap, openmetrics: String) -> Response {
    let accept = joined(request, &header::ACCEPT);
    let format = Format::negotiate(accept.as_deref());
    let page = format.page(openmetrics);
    let vary = (header::VARY, "Accept, Accept-Encoding");
    let head = [(header::CONTENT_TYPE, format.content_type()), vary];
    if page.len() <= GZIP_FROM || !takes_gzip(request) {
        return (head, page).into_response();
    }
    let mut response = (head, gzip(&page)).into_response();
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response
}

fn gzip(page: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(page.len() / 8), Compression::fast());
    encoder.write_all(page.as_bytes()).and_then(|()| encoder.finish()).expect("a Vec takes everything")
}

/// Whether Accept-Encoding allows gzip (RFC 9110 section 12.5.3): by name, else by `*`, and not with a weight of 0.
fn takes_gzip(request: &HeaderMap) -> bool {
    let Some(accepted) = joined(request, &header::ACCEPT_ENCODING) else { return false };
    let weight_of = |wanted: &[&str]| {
        accepted.split(',').find_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next()?;
            let named = wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            named.then(|| weight.map_or(1.0, |q| q.parse::<f64>().unwrap_or(0.0)))
        })
    };
    weight_of(&["gzip", "x-gzip"]).or_else(|| weight_of(&["*"])).is_some_and(|weight| weight > 0.0)
}

/// All values of a list header as one; those that are not text are left out.
fn joined(request: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let values: Vec<&str> = request.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_goes_to_those_who_want_it() {
        for (accepted, expected) in [
            (&["gzip"][..], true),
            (&["deflate, GZIP;q=0.5"], true),
            (&["br", "gzip"], true),
            (&["*"], true),
            (&["gzip;q=0"], false),
            (&["gzip; q=0.0, *"], false),
            (&["*;q=0"], false),
            (&["br"], false),
            (&["gzip;q=x"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in accepted {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(takes_gzip(&headers), expected, "{accepted:?}");
        }
    }
}
