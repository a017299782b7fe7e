//! The bearer token of a probe (OAuth 2.0, RFC 6749 section 4.4): at hand, or asked for before anything of the target's own.
//!
//! In: a module's settings. Out: what a request shows, and the facts. Probes with the same settings share one token
//! (`cache`), which one of them gets over a connection of its own (`endpoint`), and reads as little as it must (`answer`).

mod answer;
mod cache;
mod endpoint;
#[cfg(test)]
mod tests;

pub(crate) use cache::Tokens;

use super::{
    run::{Run, StageError, now},
    tls::{Loading, TlsSetup, TlsSetupError},
};
use crate::model::{Auth, Failure, IpPreference, Module, OAuth2, Phase, Reason, Secret, SecretText, TokenFacts};
use cache::{Place, Token};
use futures_util::FutureExt;
use http::StatusCode;
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::SystemTime};
use tokio::time::Instant;

/// Why there is no token. Kept and shown to every probe that wanted it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{words}")]
struct TokenError {
    reason: Reason,
    words: String,
    /// The status of the endpoint's answer, if there was one.
    status: Option<u16>,
}

impl TokenError {
    fn new(reason: Reason, words: impl Into<String>) -> Self {
        Self { reason, words: words.into(), status: None }
    }
}

impl StageError for TokenError {
    fn reason(&self) -> Reason {
        self.reason
    }
}

/// A module's way to its token, ready.
#[derive(Debug)]
pub(super) struct TokenSource {
    settings: OAuth2,
    ip: IpPreference,
    tls: TlsSetup,
    place: Arc<Place>,
}

impl TokenSource {
    /// Makes the module's `oauth2` block ready, if it has one.
    pub(super) fn new(
        module: &Module,
        loading: &mut Loading,
        tokens: &Tokens,
    ) -> Result<Option<Self>, Vec<TlsSetupError>> {
        let Some(settings) = module.prober.oauth2() else { return Ok(None) };
        let tls = TlsSetup::new((&module.name, &settings.tls), &[], loading)?;
        // The endpoint is not what is probed: any family will do.
        let ip = IpPreference { fallback: true, ..module.prober.ip() };
        let place = tokens.place(digest(settings));
        Ok(Some(Self { settings: settings.clone(), ip, tls, place }))
    }

    /// The token as what a request shows, by the probe's deadline.
    pub(super) async fn bearer(&self, run: &mut Run) -> Result<Bearer<'_>, Failure> {
        let deadline = run.deadline();
        let mut facts = TokenFacts { endpoint: self.settings.token_url.to_string(), ..TokenFacts::default() };
        let stage = async {
            let fetch = || {
                facts.fetched = true;
                self.fetch(deadline)
            };
            let outcome = self.place.get(now, fetch).await;
            match &outcome {
                Ok(token) => (facts.status, facts.expires) = (Some(token.status), Some(token.expires)),
                Err(error) => facts.status = error.status,
            }
            outcome
        };
        let outcome = run.phase(Phase::Token, stage).await;
        let cached = !facts.fetched;
        run.note_token(facts);
        let token = outcome?;
        let credentials = SecretText::Inline(token.secret.clone());
        let auth = Auth::Scheme { scheme: "Bearer".to_owned(), credentials };
        Ok(Bearer { auth, cached: cached.then_some((&*self.place, token)) })
    }

    async fn fetch(&self, deadline: Instant) -> Result<Token, TokenError> {
        // Before asking: an answer's `expires_in` counts from when it was made.
        let asked = (now(), SystemTime::now());
        // Boxed: its room is needed only where something is fetched.
        let (grant, status) = endpoint::ask(self, deadline).boxed().await?;
        Ok(Token::new(grant, status, asked))
    }
}

/// A token on its way into a request.
pub(super) struct Bearer<'a> {
    auth: Auth,
    /// Where it was at hand, if it was not fetched for this probe.
    cached: Option<(&'a Place, Arc<Token>)>,
}

impl Bearer<'_> {
    /// What the request shows.
    pub(super) fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Takes note of the target's answer. After a 401 the next probe asks for another token: one that was at hand may have
    /// been withdrawn. One that was fetched for this very probe is not to blame.
    pub(super) fn answered(&self, status: u16) {
        if let Some((place, token)) = self.cached.as_ref().filter(|_| status == StatusCode::UNAUTHORIZED.as_u16()) {
            place.refuse(token, now());
        }
    }
}

/// What tells one token from another: all settings.
fn digest(settings: &OAuth2) -> [u8; 32] {
    // The debug form has every setting but the secrets, which it masks.
    let mut all = Sha256::new_with_prefix(format!("{settings:?}"));
    for secret in secrets(settings).chain(settings.tls.identity.as_ref().and_then(|identity| inline(&identity.key))) {
        all.update((secret.expose().len() as u64).to_be_bytes());
        all.update(secret.expose());
    }
    all.finalize().into()
}

/// The secrets that go to the token endpoint, as far as they stand in the config.
fn secrets(settings: &OAuth2) -> impl Iterator<Item = &Secret> {
    let client = settings.client_secret.as_ref().and_then(inline);
    client.into_iter().chain(settings.endpoint_params.iter().map(|(_, value)| value))
}

fn inline(text: &SecretText) -> Option<&Secret> {
    match text {
        SecretText::Inline(secret) => Some(secret),
        SecretText::File(_) => None,
    }
}
