//! A bearer token by OAuth 2.0: how it is asked for, and what came of that.

use super::{Secret, SecretText, Target, TlsOptions};
use std::time::SystemTime;

/// The `oauth2` block: a token by client credentials (RFC 6749 section 4.4).
#[derive(Clone, Debug)]
pub struct OAuth2 {
    /// The token endpoint; http or https, without user info.
    pub token_url: Target,
    /// Who we say we are.
    pub client_id: String,
    /// What proves it; none counts as empty.
    pub client_secret: Option<SecretText>,
    /// What the token shall be good for.
    pub scopes: Vec<String>,
    /// Further parameters of the request; some servers take credentials there.
    pub endpoint_params: Vec<(String, Secret)>,
    /// TLS towards the endpoint.
    pub tls: TlsOptions,
}

/// What is known of the token that a probe used, or failed to get.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TokenFacts {
    /// The token endpoint's URL.
    pub endpoint: String,
    /// Whether this probe asked the endpoint; else the token, or the failure, is that of another probe.
    pub fetched: bool,
    /// The status of the endpoint's answer; `None` when there was none.
    pub status: Option<u16>,
    /// When the token ends; `None` when there is none.
    pub expires: Option<SystemTime>,
}
