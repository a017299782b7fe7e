//! A request that goes to the proxy itself, for a target without TLS: absolute form (RFC 9112 section 3.2.2).

use super::{Errand, connect};
use crate::model::{Failure, Header, Hop, Phase, Reason};
use crate::probe::http::{HttpError, request::add_headers};
use http::{HeaderMap, Request, StatusCode, Uri, header, response::Parts};

impl Errand {
    /// Writes a request to the target as the proxy wants it, with the credentials for the proxy. Its other headers stay
    /// out: it would send them on.
    pub(in crate::probe) async fn address_request<B>(&self, request: &mut Request<B>) -> Result<(), HttpError> {
        let unusable = |_| HttpError::Request("the URL cannot be written for a proxy".into());
        let host = request.headers().get(header::HOST).map(|host| host.as_bytes().to_vec()).unwrap_or_default();
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let uri = Uri::builder().scheme("http").authority(host.as_slice()).path_and_query(path);
        *request.uri_mut() = uri.build().map_err(unusable)?;
        let of_proxy = |header: &&Header| header.name == header::PROXY_AUTHORIZATION;
        let configured: Vec<Header> = self.proxy.headers.iter().filter(of_proxy).cloned().collect();
        let mut headers = HeaderMap::new();
        add_headers(&mut headers, &configured, true).await?;
        connect::add_credentials(&mut headers, &self.proxy)?;
        request.headers_mut().extend(headers);
        Ok(())
    }
}

/// `failed`, unless the answer is the proxy's own word that it wants to know who asks: only a proxy may say 407 (RFC 9110
/// section 15.5.8).
pub(in crate::probe) fn or_refusal(failed: Failure, hop: &mut Hop, head: &Parts) -> Failure {
    let Some(facts) = hop.proxy.as_deref_mut().filter(|facts| !facts.tunnel) else { return failed };
    if head.status != StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        return failed;
    }
    facts.status = Some(head.status.as_u16());
    facts.challenge = connect::challenge(head);
    let words = connect::auth_words(facts.challenge.as_deref());
    Failure::new(Phase::Proxy, Reason::ProxyAuthRequired, words)
}
