//! The request of one hop: method, headers, credentials and body, as module, route and earlier hops have it.

use super::HttpError;
use crate::model::{Auth, Body, Header, HttpModule, Secret, SecretText, Target, TextSource};
use crate::probe::route::Route;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use cookie_store::CookieStore;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version,
    header::{self, AUTHORIZATION, HOST, USER_AGENT},
};
use http_body_util::Full;
use std::path::Path;
use tokio::io::AsyncReadExt;
use url::Url;

/// How we introduce ourselves unless the module says otherwise.
pub(in crate::probe) const OUR_NAME: &str = concat!("edgeprobe/", env!("CARGO_PKG_VERSION"));
/// Most bytes read of a file that a request is made from.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Plain headers that carry credentials and so stay on the site, as in Go.
const CREDENTIAL_HEADERS: [HeaderName; 4] =
    [AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION, header::WWW_AUTHENTICATE];

/// Whether a status makes a client go elsewhere (RFC 9110 section 15.4).
pub(in crate::probe) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// What a redirect chain carries from hop to hop.
pub(in crate::probe) struct Session<'a> {
    module: &'a HttpModule,
    auth: Option<&'a Auth>,
    method: Method,
    with_body: bool,
    cookies: CookieStore,
    referer: Option<String>,
}

impl<'a> Session<'a> {
    /// A chain that begins with no cookie, and whose requests show `auth` on the site.
    pub(in crate::probe) fn new(module: &'a HttpModule, auth: Option<&'a Auth>) -> Self {
        let method = module.method.clone();
        Self { module, auth, method, with_body: true, cookies: CookieStore::default(), referer: None }
    }

    /// The request of the hop along `route`.
    pub(in crate::probe) async fn request(
        &self,
        route: &Route,
        http2: bool,
    ) -> Result<Request<Full<Bytes>>, HttpError> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.module.headers.iter().filter(|(name, _)| name != HOST) {
            if route.trusted_with_secrets || !CREDENTIAL_HEADERS.contains(name) {
                headers.append(name, value.clone());
            }
        }
        add_headers(&mut headers, &self.module.http_headers, route.trusted_with_secrets).await?;
        if route.trusted_with_secrets {
            add_credentials(&mut headers, &route.target, self.auth).await?;
        }
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(OUR_NAME));
        self.add_cookies(&mut headers, route);
        if let Some(referer) = self.referer.as_ref().and_then(|url| HeaderValue::from_str(url).ok()) {
            headers.entry(header::REFERER).or_insert(referer);
        }
        let body = if self.with_body { body(&self.module.body).await? } else { Bytes::new() };
        assemble(route, self.method.clone(), headers, http2).map(|request| request.map(|()| Full::new(body)))
    }

    /// Takes note of a response: its cookies, and what a redirect does to the method (RFC 9110 section 15.4).
    pub(in crate::probe) fn follow(&mut self, route: &Route, status: StatusCode, headers: &HeaderMap) {
        if let Some(url) = cookie_url(route) {
            for cookie in headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
                // A cookie that cannot be read or is not for this site is left out, as a browser does.
                let _ = self.cookies.parse(cookie, &url);
            }
        }
        if matches!(status.as_u16(), 301..=303) {
            if self.method != Method::HEAD {
                self.method = Method::GET;
            }
            self.with_body = false;
        }
    }

    /// Takes note of the hop that was left for `next`.
    pub(in crate::probe) fn leave(&mut self, from: &Target, next: &Target) {
        let downgrade = from.scheme().is_tls() && !next.scheme().is_tls();
        self.referer = (!downgrade).then(|| from.to_string());
    }

    fn add_cookies(&self, headers: &mut HeaderMap, route: &Route) {
        let Some(url) = cookie_url(route) else { return };
        let cookies: Vec<String> =
            self.cookies.get_request_values(&url).map(|(name, value)| format!("{name}={value}")).collect();
        if cookies.is_empty() {
            return;
        }
        // One header in all, with those that the module sets (RFC 6265 section 5.4).
        let own = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned);
        let all: Vec<String> = own.chain(cookies).collect();
        if let Ok(mut value) = HeaderValue::from_str(&all.join("; ")) {
            value.set_sensitive(true);
            headers.insert(header::COOKIE, value);
        }
    }
}

/// Cookies belong to the name that the Host header says, not to the address.
fn cookie_url(route: &Route) -> Option<Url> {
    let scheme = if route.target.scheme().is_tls() { "https" } else { "http" };
    Url::parse(&format!("{scheme}://{}{}", route.host_header, route.target.path_and_query())).ok()
}

/// Puts method, request target and Host together as the HTTP version writes them.
pub(in crate::probe) fn assemble(
    route: &Route,
    method: Method,
    mut headers: HeaderMap,
    http2: bool,
) -> Result<Request<()>, HttpError> {
    let unusable = |error: &dyn std::fmt::Display| HttpError::Request(error.to_string());
    // The body's real length counts: it may go with a redirect.
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::TRANSFER_ENCODING);
    let path = route.target.path_and_query();
    let uri = if http2 {
        let builder = Uri::builder().scheme("https").authority(route.host_header.as_str());
        builder.path_and_query(path).build().map_err(|error| unusable(&error))?
    } else {
        let host = HeaderValue::from_str(&route.host_header).map_err(|error| unusable(&error))?;
        headers.insert(HOST, host);
        if !headers.contains_key(header::CONNECTION) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        path.parse::<Uri>().map_err(|error| unusable(&error))?
    };
    if http2 {
        headers.remove(header::CONNECTION);
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
    *request.headers_mut() = headers;
    Ok(request)
}

/// Adds configured headers; secret values and credentials only where they may go.
pub(in crate::probe) async fn add_headers(
    headers: &mut HeaderMap,
    configured: &[Header],
    with_secrets: bool,
) -> Result<(), HttpError> {
    for header in configured.iter().filter(|header| header.name != HOST) {
        for value in header.values.iter().filter(|_| with_secrets || !CREDENTIAL_HEADERS.contains(&header.name)) {
            headers.append(&header.name, value.clone());
        }
        for secret in header.secrets.iter().filter(|_| with_secrets) {
            headers.append(&header.name, sensitive(secret_text(secret).await?.expose())?);
        }
    }
    Ok(())
}

/// Adds an Authorization header unless there is one: from the target's user info, else from `auth`.
pub(in crate::probe) async fn add_credentials(
    headers: &mut HeaderMap,
    target: &Target,
    auth: Option<&Auth>,
) -> Result<(), HttpError> {
    if headers.contains_key(AUTHORIZATION) {
        return Ok(());
    }
    let value = match (target.credentials(), auth) {
        (Some((user, password)), _) => basic(user, password.expose()),
        (None, Some(Auth::Basic { username, password })) => {
            let password = match password {
                Some(password) => secret_text(password).await?,
                None => Secret::new(""),
            };
            basic(secret_text(username).await?.expose(), password.expose())
        }
        (None, Some(Auth::Scheme { scheme, credentials })) => {
            let credentials = secret_text(credentials).await?;
            if credentials.expose().is_empty() {
                return Ok(());
            }
            format!("{scheme} {}", credentials.expose())
        }
        (None, None) => return Ok(()),
    };
    headers.insert(AUTHORIZATION, sensitive(&value)?);
    Ok(())
}

/// Credentials in the Basic scheme (RFC 7617).
pub(in crate::probe) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// A header value that is kept out of logs and compression tables.
pub(in crate::probe) fn sensitive(text: &str) -> Result<HeaderValue, HttpError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| HttpError::Request("a secret holds characters that no header can carry".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The secret, read anew where it stands in a file.
pub(in crate::probe) async fn secret_text(secret: &SecretText) -> Result<Secret, HttpError> {
    match secret {
        SecretText::Inline(secret) => Ok(secret.clone()),
        SecretText::File(path) => {
            let bytes = zeroize::Zeroizing::new(read_file(path).await?);
            Ok(Secret::new(String::from_utf8_lossy(&bytes).trim()))
        }
    }
}

async fn body(body: &Body) -> Result<Bytes, HttpError> {
    match body {
        Body::None => Ok(Bytes::new()),
        Body::Text(TextSource::Inline(text)) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Body::Text(TextSource::File(path)) => Ok(read_file(path).await?.into()),
    }
}

async fn read_file(path: &Path) -> Result<Vec<u8>, HttpError> {
    let failed = |source| HttpError::File { path: path.to_owned(), source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed(std::io::Error::other(format!("it is larger than {MAX_FILE} bytes"))));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProberKind;
    use crate::probe::route::Names;

    /// The first hop to a site, and one to somewhere else.
    fn routes() -> (Route, Route) {
        let target = Target::parse("https://a.example/", ProberKind::Http).unwrap();
        let first = Route::first(target, &Names::default());
        let elsewhere = first.target.join("https://b.example/").unwrap();
        let away = first.redirect(elsewhere, &first, &Names::default());
        (first, away)
    }

    fn module(headers: &[(HeaderName, &'static str)], http_headers: Vec<Header>) -> HttpModule {
        HttpModule {
            method: Method::POST,
            headers: headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect(),
            http_headers,
            body: Body::Text(TextSource::Inline("hello".into())),
            ..HttpModule::default()
        }
    }

    async fn sent(session: &Session<'_>, route: &Route, name: &HeaderName) -> Vec<String> {
        let request = session.request(route, false).await.unwrap();
        request.headers().get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn all_cookies_are_one_header_and_configured_ones_stay_on_the_site() {
        let (first, away) = routes();
        let cookies =
            Header { name: header::COOKIE, values: vec![HeaderValue::from_static("b=2")], secrets: Vec::new() };
        let module = module(&[(header::COOKIE, "a=1")], vec![cookies]);
        let mut session = Session::new(&module, None);
        let set = HeaderMap::from_iter([(header::SET_COOKIE, HeaderValue::from_static("c=3"))]);
        session.follow(&first, StatusCode::OK, &set);
        assert_eq!(sent(&session, &first, &header::COOKIE).await, ["a=1; b=2; c=3"]);
        assert!(sent(&session, &away, &header::COOKIE).await.is_empty());
    }

    #[tokio::test]
    async fn the_length_of_the_body_is_not_for_the_module_to_say() {
        let (first, _) = routes();
        let module = module(&[(header::CONTENT_LENGTH, "5"), (header::TRANSFER_ENCODING, "chunked")], Vec::new());
        let session = Session::new(&module, None);
        for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            assert!(sent(&session, &first, &name).await.is_empty(), "{name}");
        }
    }
}
