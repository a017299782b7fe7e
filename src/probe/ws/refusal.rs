//! What a refused upgrade says: the headers that tell why, and how the body begins. Never a secret of ours.

use crate::model::{Secret, mask_credentials};
use crate::probe::{
    http::Exchange,
    run::{share, until},
};
use http::{HeaderMap, HeaderName, header, response::Parts};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::Instant;

/// Bytes kept of a refusal's body.
const MAX_BODY: usize = 4 * 1024;
/// How long the body may take, and never more than a third of what the probe has left.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a header that goes into the failure's words.
const MAX_VALUE: usize = 256;
/// Shorter secrets are not looked for: they would be found in the middle of words.
const SHORTEST_SECRET: usize = 4;
/// The headers that say why.
const TELLING: [HeaderName; 4] =
    [header::LOCATION, header::WWW_AUTHENTICATE, header::UPGRADE, header::SEC_WEBSOCKET_VERSION];

/// The status, and those headers of a refusal that say why.
pub(super) fn words(head: &Parts) -> String {
    let shown = |name: &HeaderName| {
        let value = head.headers.get(name)?.as_bytes();
        let value = String::from_utf8_lossy(&value[..value.len().min(MAX_VALUE)]).into_owned();
        Some(format!("{name}: {}", mask_credentials(&value)))
    };
    let told: Vec<String> = TELLING.iter().filter_map(shown).collect();
    let status = head.status.as_u16();
    if told.is_empty() { status.to_string() } else { format!("{status} ({})", told.join(", ")) }
}

/// How the body begins, as text; `None` when there is none.
pub(super) async fn body(answer: &mut Exchange, secrets: &[String], deadline: Instant) -> Option<String> {
    let mut kept = Vec::new();
    let Exchange { body, driver, .. } = answer;
    let read = async {
        while let Some(Ok(frame)) = driver.drive(body.frame()).await {
            kept.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if kept.len() >= MAX_BODY {
                break;
            }
        }
    };
    // What came in time is enough.
    let _ = until(share(Some(deadline), PATIENCE), read).await;
    let text = without(&String::from_utf8_lossy(&kept), secrets);
    let end = (0..=MAX_BODY.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    (!kept.is_empty()).then(|| text[..end].to_owned())
}

/// The credentials in a request, which a server may send back: whole values, and what follows a scheme.
pub(super) fn secrets(headers: &HeaderMap) -> Vec<String> {
    let values = headers.values().filter(|value| value.is_sensitive()).filter_map(|value| value.to_str().ok());
    let parts = values.flat_map(|value| [Some(value), value.split_once(' ').map(|(_, rest)| rest)]).flatten();
    parts.filter(|part| part.len() >= SHORTEST_SECRET).map(str::to_owned).collect()
}

fn without(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), Secret::MASK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn credentials_of_the_request_are_masked() {
        let mut value = HeaderValue::from_static("Bearer hunter2");
        value.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value);
        headers.insert(header::ORIGIN, HeaderValue::from_static("https://a.example"));
        let secrets = secrets(&headers);
        assert_eq!(
            without("hunter2? Bearer hunter2 of https://a.example", &secrets),
            "<secret>? <secret> of https://a.example"
        );
    }

    #[test]
    fn the_headers_that_say_why_are_told() {
        let head = |headers: &[(HeaderName, &str)]| {
            let mut builder = http::Response::builder().status(401);
            for (name, value) in headers {
                builder = builder.header(name, *value);
            }
            builder.body(()).unwrap().into_parts().0
        };
        assert_eq!(words(&head(&[])), "401");
        let realm = r#"Basic realm="staff""#;
        let told = words(&head(&[(header::WWW_AUTHENTICATE, realm), (header::LOCATION, "https://u:hunter2@h/")]));
        assert_eq!(told, format!("401 (location: https://u:xxxxx@h/, www-authenticate: {realm})"));
        assert!(words(&head(&[(header::LOCATION, &"x".repeat(5000))])).len() < 300);
    }
}
