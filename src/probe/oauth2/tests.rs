//! The parts of the token's way, each by itself: how long one is kept, who fetches it, what an answer means.

use super::{
    TokenError,
    answer::{self, Grant},
    cache::{Place, Token, Tokens},
    digest,
};
use crate::model::{OAuth2, ProberKind, Reason, Secret, SecretText, Target, TlsOptions};
use crate::probe::run::now;
use http::StatusCode;
use std::{
    cell::Cell,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::time::{advance, sleep, timeout};
use zeroize::Zeroizing;

const SECOND: Duration = Duration::from_secs(1);

/// An endpoint that counts how often it is asked.
#[derive(Default)]
struct Endpoint(AtomicUsize);

impl Endpoint {
    /// A token for `seconds`, after a second.
    async fn grant(&self, seconds: u64) -> Result<Token, TokenError> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let asked = (now(), SystemTime::now());
        sleep(SECOND).await;
        let grant = Grant { secret: Secret::new(number.to_string()), life: Duration::from_secs(seconds) };
        Ok(Token::new(grant, 200, asked))
    }

    fn refuse(&self) -> Ready<Result<Token, TokenError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        ready(Err(TokenError::new(Reason::TokenRefused, "no")))
    }

    fn asked(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_probes_at_once_are_one_request() {
    let (place, endpoint) = (Place::default(), Endpoint::default());
    let all = (0..100).map(|_| place.get(now, || endpoint.grant(600)));
    let outcomes = futures_util::future::join_all(all).await;
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap().secret.expose() == "0"));
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_a_minute_before_its_end_or_at_half_its_life() {
    for (life, kept) in [(3600, 3540), (120, 60), (100, 50), (4, 2)] {
        let (place, endpoint) = (Place::default(), Endpoint::default());
        let asked = async || {
            place.get(now, || endpoint.grant(life)).await.unwrap();
            endpoint.asked()
        };
        assert_eq!(asked().await, 1);
        // The second that asking took is a part of the life.
        advance(Duration::from_secs(kept - 1).saturating_sub(Duration::from_millis(1))).await;
        assert_eq!(asked().await, 1, "{life}: too early");
        advance(Duration::from_millis(2)).await;
        assert_eq!(asked().await, 2, "{life}: too late");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_kept_for_a_moment_only() {
    let (place, endpoint) = (Place::default(), Endpoint::default());
    for _ in 0..3 {
        let outcome = place.get(now, || endpoint.refuse()).await;
        assert_eq!((outcome.unwrap_err().reason, endpoint.asked()), (Reason::TokenRefused, 1));
    }
    advance(SECOND + Duration::from_millis(1)).await;
    assert!(place.get(now, || endpoint.grant(600)).await.is_ok(), "the endpoint is well again");
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a probe that is cut off")]
async fn the_next_in_line_fetches_when_the_first_gives_up() {
    let place = Place::default();
    let turn = Cell::new(0);
    let fetch = || async {
        turn.set(turn.get() + 1);
        sleep(if turn.get() == 1 { SECOND * 3600 } else { SECOND }).await;
        Endpoint::default().grant(600).await
    };
    let first = timeout(SECOND * 5, place.get(now, fetch));
    let second = timeout(SECOND * 10, place.get(now, fetch));
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err() && second.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_but_not_by_every_probe() {
    let (place, endpoint) = (Place::default(), Endpoint::default());
    let get = async || place.get(now, || endpoint.grant(3600)).await.unwrap();
    let first = get().await;
    place.refuse(&first, now());
    let second = get().await;
    assert_eq!(endpoint.asked(), 2);
    place.refuse(&first, now());
    place.refuse(&second, now());
    assert!(Arc::ptr_eq(&get().await, &second), "a target that refuses every token");
    advance(SECOND * 61).await;
    place.refuse(&first, now());
    assert!(Arc::ptr_eq(&get().await, &second), "not the one that was refused");
    place.refuse(&second, now());
    assert!(!Arc::ptr_eq(&get().await, &second));
    assert_eq!(endpoint.asked(), 3);
}

fn settings(secret: &str) -> OAuth2 {
    OAuth2 {
        token_url: Target::parse("https://auth.example/token", ProberKind::Http).unwrap(),
        client_id: "a".into(),
        client_secret: Some(SecretText::Inline(Secret::new(secret))),
        scopes: vec!["x".into()],
        endpoint_params: vec![("p".into(), Secret::new("q"))],
        tls: TlsOptions::default(),
    }
}

#[test]
fn equal_settings_share_a_place_and_each_difference_has_its_own() {
    let base = settings("s");
    assert_eq!(digest(&base), digest(&settings("s")));
    let params = |name: &str, value: &str| vec![(name.to_owned(), Secret::new(value))];
    let others = [
        settings("t"),
        OAuth2 { client_id: "b".into(), ..settings("s") },
        OAuth2 { client_secret: Some(SecretText::File("s".into())), ..settings("s") },
        OAuth2 { scopes: vec!["y".into()], ..settings("s") },
        OAuth2 { endpoint_params: params("p", "r"), ..settings("s") },
        OAuth2 { endpoint_params: params("r", "q"), ..settings("s") },
        OAuth2 { tls: TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() }, ..settings("s") },
        OAuth2 { token_url: base.token_url.join("/other").unwrap(), ..settings("s") },
    ];
    for other in &others {
        assert_ne!(digest(&base), digest(other), "{other:?}");
    }
    let tokens = Tokens::default();
    let place = tokens.place(digest(&base));
    assert!(Arc::ptr_eq(&place, &tokens.place(digest(&base))));
    let mut held: Vec<_> = others.iter().map(|other| tokens.place(digest(other))).collect();
    assert!(held.iter().all(|other| !Arc::ptr_eq(&place, other)));
    held.clear();
    tokens.place([0; 32]);
    assert_eq!(format!("{tokens:?}").matches("Weak").count(), 2, "places that nobody has are gone");
}

#[test]
fn answers_mean_what_rfc_6749_says() {
    let life = |body: &str| answer::read(StatusCode::OK, body.as_bytes(), &[]).map(|grant| grant.life.as_secs());
    for (expires, seconds) in [
        (r#","expires_in":3600"#, 3600),
        (r#","expires_in":"3600""#, 3600),
        (r#","expires_in":1.9e1,"token_type":"BEARER","refresh_token":"x","scope":null"#, 19),
        ("", 300),
        (r#","expires_in":"soon""#, 300),
        (r#","expires_in":-5"#, 0),
        (r#","expires_in":1e300"#, 86_400),
    ] {
        assert_eq!(life(&format!(r#"{{"access_token":"t"{expires}}}"#)), Ok(seconds), "{expires}");
    }
    let cases = [
        (200, "", Reason::TokenRefused, "status 200, and its body is no token's"),
        (200, "[]", Reason::TokenRefused, "no access_token"),
        (200, r#"{"access_token":5}"#, Reason::TokenRefused, "no token's"),
        (200, r#"{"access_token":""}"#, Reason::TokenRefused, "no access_token"),
        (200, r#"{"access_token":"a\nb"}"#, Reason::TokenRefused, "no header can carry"),
        (200, r#"{"access_token":"t","token_type":"mac"}"#, Reason::TokenRefused, "of type mac"),
        (200, r#"{"error":"bad_verification_code"}"#, Reason::TokenRefused, ": bad_verification_code"),
        (302, "", Reason::TokenRefused, "redirect"),
        (
            400,
            r#"{"error":"invalid_scope","error_description":"x\u0007y"}"#,
            Reason::TokenRefused,
            "invalid_scope (x y)",
        ),
        (401, "<html>", Reason::TokenRefused, "status 401"),
        (503, "<html>", Reason::TokenUnavailable, "status 503"),
        (500, r#"{"error":"server_error"}"#, Reason::TokenUnavailable, ": server_error"),
    ];
    for (status, body, reason, words) in cases {
        let error = answer::read(StatusCode::from_u16(status).unwrap(), body.as_bytes(), &[]).unwrap_err();
        assert_eq!((error.reason, error.status), (reason, Some(status)), "{body}");
        assert!(error.words.contains(words), "{}", error.words);
    }
}

#[test]
fn an_errors_words_are_short_and_hold_no_secret() {
    let echo = format!(r#"{{"error":"hunter2","error_description":"no hunter2, {}"}}"#, "long ".repeat(1000));
    let secrets = [Zeroizing::new("hunter2".to_owned()), Zeroizing::new(String::new())];
    let error = answer::read(StatusCode::BAD_REQUEST, echo.as_bytes(), &secrets).unwrap_err();
    assert!(error.words.contains(": <secret> (no <secret>, long ") && error.words.len() < 400, "{}", error.words);
}
