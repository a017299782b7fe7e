//! The lab's authorization server (RFC 6749 section 4.4): one server over TLS, with a path for each way to answer. Takes the
//! authority and a certificate kind, gives a listener. Knows which tokens are its own.
//!
//! | path | answers |
//! | --- | --- |
//! | `/good`, `/slow`, `/dead` | a token for an hour: at once, after 100 ms, never |
//! | `/lives/SECONDS` | a token for so long |
//! | `/form` | as `/good`, but only to a client that does not put its credentials into the header |
//! | `/refused`, `/down` | 401 `invalid_client` that says what was shown, 503 |
//! | `/junk`, `/huge`, `/mac` | a web page, 16 MiB, a token that is no bearer token |

use super::{
    Listener, Seen,
    ca::{Authority, Cert},
    http::{self, Reply},
    tls::{ServerTls, Tls},
};
use ::http::{HeaderMap, StatusCode, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use url::form_urlencoded::{byte_serialize, parse};

/// The one client, by name and secret: with signs that have to be encoded.
pub const CLIENT: (&str, &str) = ("lab client", "s%cret:/with signs+");
/// What every token begins with; a number follows, one higher for each token.
pub const TOKEN: &str = "lab-token-";
/// The server's name.
const NAME: &str = "auth.localhost";
/// Longer than any probe.
const NEVER: Duration = Duration::from_secs(60 * 60);

/// Starts the server with a certificate of this kind.
pub async fn serve(ca: &Authority, cert: Cert) -> io::Result<Listener> {
    let tls = ServerTls::new(ca, Tls::new(cert), &[NAME.to_owned()]);
    let issued = AtomicUsize::new(0);
    http::serve(Some(tls), move |seen| answer(seen, &issued)).await
}

/// The URL of a path on the server.
pub fn url(server: &Listener, path: &str) -> String {
    format!("https://{NAME}:{}{path}", server.address().port())
}

/// Whether a request shows a token of the lab.
pub fn is_authorized(headers: &HeaderMap) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    shown.and_then(|text| text.strip_prefix("Bearer ")).is_some_and(|token| token.starts_with(TOKEN))
}

fn answer(seen: &Seen, issued: &AtomicUsize) -> Reply {
    const CHUNK: &[u8] = &[b' '; 16 * 1024];
    let grant = |seconds: &str| {
        let number = issued.fetch_add(1, Ordering::Relaxed) + 1;
        json(
            StatusCode::OK,
            format!("{{\"access_token\":\"{TOKEN}{number}\",\"token_type\":\"bearer\",\"expires_in\":{seconds}}}"),
        )
    };
    let asks = seen.method == "POST"
        && seen.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/x-www-form-urlencoded");
    let in_header = seen.headers.get(header::AUTHORIZATION);
    let is_client = in_header.is_some_and(|value| value.as_bytes() == credentials().as_bytes());
    match seen.path.split('/').collect::<Vec<_>>()[..] {
        _ if !asks => json(StatusCode::BAD_REQUEST, "{\"error\":\"invalid_request\"}".into()),
        ["", "form"] if in_header.is_none() => grant("3600"),
        ["", "good"] if is_client => grant("3600"),
        ["", "slow"] if is_client => grant("3600").after(Duration::from_millis(100)),
        ["", "lives", seconds] if is_client => grant(seconds),
        ["", "dead"] => Reply::new(StatusCode::OK, "").after(NEVER),
        ["", "down"] => Reply::new(StatusCode::SERVICE_UNAVAILABLE, "not now\n"),
        ["", "junk"] => Reply::new(StatusCode::OK, "<html>sign in</html>\n"),
        ["", "huge"] => Reply::new(StatusCode::OK, "").body(Bytes::from_static(CHUNK), 1024),
        ["", "mac"] => {
            json(StatusCode::OK, format!("{{\"access_token\":\"{TOKEN}0\",\"token_type\":\"mac\",\"expires_in\":1}}"))
        }
        _ => {
            let shown = in_header.and_then(|value| value.to_str().ok()).unwrap_or_default();
            let words = format!("{} is not the secret, nor is {shown}", secret_of(shown));
            let error = format!("{{\"error\":\"invalid_client\",\"error_description\":\"{words}\"}}");
            json(StatusCode::UNAUTHORIZED, error)
        }
    }
}

/// The header of the client, each half encoded as in a form (RFC 6749 section 2.3.1).
fn credentials() -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(CLIENT.0), encoded(CLIENT.1))))
}

/// The secret in a header of a client.
fn secret_of(header: &str) -> String {
    let pair = header.strip_prefix("Basic ").and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    let secret = pair.split(|byte| *byte == b':').nth(1).unwrap_or_default();
    parse(secret).map(|(name, _)| name.into_owned()).collect()
}

fn json(status: StatusCode, text: String) -> Reply {
    Reply::new(status, "").header(header::CONTENT_TYPE, "application/json").body(text.into(), 1)
}
