//! The route prefix and the external URL, as `blackbox_exporter`'s flags give them.

use super::State;
use axum::extract;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use std::fmt;
use std::sync::Arc;
use url::Url;

/// The path all endpoints live under: empty, or with a leading and without a trailing slash.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Prefix(String);

impl Prefix {
    /// Reads `--web.route-prefix`: `/`, `bb`, `/bb` and `/bb/` are all good.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = text.trim_matches('/');
        if path.bytes().any(|b| !b.is_ascii_graphic() || b"?#{}".contains(&b)) || path.contains("//") {
            return Err(format!("`{text}` is not a route prefix; it wants a path such as /edgeprobe"));
        }
        Ok(if path.is_empty() { Self::default() } else { Self(format!("/{path}")) })
    }

    /// Whether the endpoints live at the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// An endpoint's full path.
    pub(super) fn route(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// The prefix without its trailing slash.
    pub(super) fn bare_route(&self) -> String {
        self.0.clone()
    }
}

/// Where people reach the exporter, trailing slashes cut.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExternalUrl(Url);

impl ExternalUrl {
    /// Reads `--web.external-url`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with(['"', '\'']) || text.ends_with(['"', '\'']) {
            return Err("URL must not begin or end with quotes".into());
        }
        let wrong = |why: &dyn fmt::Display| format!("`{text}` is not an http or https URL: {why}");
        let mut url = Url::parse(text).map_err(|e| wrong(&e))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(&"another scheme"));
        }
        url.set_path(&format!("{}/", url.path().trim_end_matches('/')));
        Ok(Self(url))
    }

    /// The route prefix when no other is given: the URL's path.
    pub fn prefix(&self) -> Result<Prefix, String> {
        Prefix::parse(self.0.path())
    }
}

impl fmt::Display for ExternalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `/` leads to where the exporter lives.
pub(super) async fn to_external(extract::State(state): extract::State<Arc<State>>) -> Response {
    let options = &state.options;
    let place = options.external_url.as_ref().map_or_else(|| options.prefix.route("/"), ToString::to_string);
    (StatusCode::FOUND, [(header::LOCATION, place)]).into_response()
}

/// `/prefix` leads to `/prefix/`, where relative links work.
pub(super) async fn to_slash(extract::State(state): extract::State<Arc<State>>, uri: Uri) -> Response {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let place = format!("{}{query}", state.options.prefix.route("/"));
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, place)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_get_one_leading_slash() {
        for (text, route) in [("", "/x"), ("/", "/x"), ("bb", "/bb/x"), ("/bb/", "/bb/x"), ("//a/b//", "/a/b/x")] {
            assert_eq!(Prefix::parse(text).unwrap().route("/x"), route, "{text}");
        }
        for text in ["/a b", "/{x}", "/a?b", "/a//b"] {
            assert!(Prefix::parse(text).unwrap_err().contains("/edgeprobe"), "{text}");
        }
    }

    #[test]
    fn external_urls_give_the_prefix() {
        let url = ExternalUrl::parse("https://mon.example/bb//").unwrap();
        assert_eq!(url.to_string(), "https://mon.example/bb/");
        assert_eq!(url.prefix(), Prefix::parse("/bb"));
        assert!(ExternalUrl::parse("http://h:9115").unwrap().prefix().unwrap().is_root());
        for text in ["\"http://h/\"", "'http://h/"] {
            assert_eq!(ExternalUrl::parse(text).unwrap_err(), "URL must not begin or end with quotes");
        }
        assert!(ExternalUrl::parse("h:9115/x").unwrap_err().contains("http or https"));
    }
}
