//! One token from its endpoint: a POST (RFC 6749 section 4.4.2) over a connection of its own, to nobody but a verified server.
//!
//! In: settings made ready, a deadline. Out: what the answer grants. The client's credentials go into the header
//! (section 2.3.1), and where that is refused into the form, which some servers want: as Go's client does.

use super::{TokenError, TokenSource, answer, answer::Grant, secrets};
use crate::model::{Reason, Secret};
use crate::probe::{
    connect::connect,
    http::{
        self, HttpError,
        body::{BodyFault, BodyReader},
        request::{OUR_NAME, assemble, basic, secret_text, sensitive},
    },
    resolve::by_system,
    route::{Names, Route},
    run::{StageError, chain},
    tls::{TlsNames, TlsSetup},
    wire::Wire,
};
use ::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;
use std::sync::atomic::Ordering;
use tokio::time::Instant;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

/// Most bytes of an answer; a token that needs more fits in no request.
const MAX_ANSWER: u64 = 64 * 1024;

/// Where the client's credentials stand in the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Style {
    Header,
    Form,
}

/// Asks for a token; gives it with the status of the answer.
pub(super) async fn ask(source: &TokenSource, deadline: Instant) -> Result<(Grant, u16), TokenError> {
    let secret = match &source.settings.client_secret {
        Some(secret) => secret_text(secret).await.map_err(|error| failed("cannot ask for a token", &error))?,
        None => Secret::new(""),
    };
    let remembered = source.place.in_form.load(Ordering::Relaxed);
    let styles = if remembered { [Style::Form, Style::Header] } else { [Style::Header, Style::Form] };
    let first = match ask_in(source, styles[0], &secret, deadline).await {
        Err(refused) if matches!(refused.status, Some(400 | 401)) => refused,
        outcome => return outcome,
    };
    let second = ask_in(source, styles[1], &secret, deadline).await;
    match second {
        Ok(granted) => {
            source.place.in_form.store(!remembered, Ordering::Relaxed);
            Ok(granted)
        }
        Err(refused) if refused.words == first.words => Err(first),
        Err(refused) => {
            let place = if styles[1] == Style::Form { "form" } else { "header" };
            let words = format!("{}; with the credentials in the {place}: {}", first.words, refused.words);
            Err(TokenError { words, ..first })
        }
    }
}

async fn ask_in(
    source: &TokenSource,
    style: Style,
    secret: &Secret,
    deadline: Instant,
) -> Result<(Grant, u16), TokenError> {
    let mut route = Route::first(source.settings.token_url.clone(), &Names::default());
    if let Some(name) = &source.settings.tls.server_name {
        route.tls = TlsNames::same(name.clone());
    }
    let request = request(source, &route, style, secret).map_err(|error| failed("cannot ask for a token", &error))?;
    let wire = open(source, &route, deadline).await?;
    let (status, body) = exchange(wire, request).await?;
    let grant = answer::read(status, body.bytes(), &unspeakable(source, secret))?;
    Ok((grant, status.as_u16()))
}

/// A wire to the endpoint, encrypted and verified where its URL says https.
async fn open(source: &TokenSource, route: &Route, deadline: Instant) -> Result<Wire, TokenError> {
    let found = by_system(&route.dial, source.ip, deadline).await;
    let mut address = found.map_err(|error| failed("the token endpoint", &error))?;
    address.set_port(route.port);
    let wire = connect(address).await.map_err(|error| failed("the token endpoint", &error))?;
    if !route.target.scheme().is_tls() {
        return Ok(wire);
    }
    encrypt(&source.tls, &route.tls, wire, deadline).await
}

async fn encrypt(tls: &TlsSetup, names: &TlsNames, wire: Wire, deadline: Instant) -> Result<Wire, TokenError> {
    let attempt = tls.attempt(names).map_err(|_| {
        let name = &names.verify;
        TokenError::new(Reason::TokenUnavailable, format!("the token endpoint's host `{name}` is no TLS name"))
    })?;
    let outcome = attempt.handshake(wire, deadline).await;
    outcome.map_err(|error| failed(&format!("the token endpoint's TLS ({})", error.reason()), &error))
}

async fn exchange(wire: Wire, request: Request<Full<Bytes>>) -> Result<(StatusCode, BodyReader), TokenError> {
    let lost = |error: HttpError| failed("the token endpoint", &error);
    let mut exchange = http::exchange(wire, false, request).await.map_err(lost)?;
    let status = exchange.head.status;
    let mut reader = BodyReader::new(None, Some(MAX_ANSWER), true);
    match exchange.read_body(&mut reader).await {
        Ok(()) => Ok((status, reader)),
        Err(HttpError::Body(BodyFault::TooLarge(limit))) => {
            let words = format!("the token endpoint's answer is larger than {limit} bytes");
            Err(TokenError { status: Some(status.as_u16()), ..TokenError::new(Reason::TokenRefused, words) })
        }
        Err(error) => Err(lost(error)),
    }
}

fn request(
    source: &TokenSource,
    route: &Route,
    style: Style,
    secret: &Secret,
) -> Result<Request<Full<Bytes>>, HttpError> {
    let settings = &source.settings;
    let mut form = Serializer::new(String::new());
    if settings.endpoint_params.iter().all(|(name, _)| name != "grant_type") {
        form.append_pair("grant_type", "client_credentials");
    }
    if !settings.scopes.is_empty() {
        form.append_pair("scope", &settings.scopes.join(" "));
    }
    for (name, value) in &settings.endpoint_params {
        form.append_pair(name, value.expose());
    }
    let mut headers = HeaderMap::new();
    match style {
        Style::Header => {
            headers.insert(header::AUTHORIZATION, sensitive(&client(&settings.client_id, secret))?);
        }
        Style::Form => {
            form.append_pair("client_id", &settings.client_id);
            if !secret.expose().is_empty() {
                form.append_pair("client_secret", secret.expose());
            }
        }
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(OUR_NAME));
    let request = assemble(route, Method::POST, headers, false)?;
    Ok(request.map(|()| Full::new(form.finish().into())))
}

/// The client's credentials in the Basic scheme, each encoded as in a form (RFC 6749 section 2.3.1).
fn client(id: &str, secret: &Secret) -> Zeroizing<String> {
    Zeroizing::new(basic(&encoded(id), &encoded(secret.expose())))
}

fn encoded(text: &str) -> Zeroizing<String> {
    Zeroizing::new(byte_serialize(text.as_bytes()).collect())
}

/// Everything secret that was sent, in each form in which an answer could echo it.
fn unspeakable(source: &TokenSource, secret: &Secret) -> Vec<Zeroizing<String>> {
    let basic = client(&source.settings.client_id, secret);
    let of_header = basic.trim_start_matches("Basic ").to_owned();
    let all = secrets(&source.settings).chain([secret]);
    let both = all.flat_map(|secret| [Zeroizing::new(secret.expose().to_owned()), encoded(secret.expose())]);
    both.chain([Zeroizing::new(of_header)]).collect()
}

/// What a lower layer's failure means for the token. Limits and rules of this exporter's own keep their names.
fn failed(what: &str, error: &impl StageError) -> TokenError {
    let reason = match error.reason() {
        own @ (Reason::LocalLimit | Reason::AddressDenied | Reason::Internal) => own,
        Reason::Timeout => Reason::Timeout,
        _ => Reason::TokenUnavailable,
    };
    TokenError::new(reason, format!("{what}: {}", chain(error)))
}
