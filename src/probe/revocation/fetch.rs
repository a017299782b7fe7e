//! Small files from CAs over plain http: a URL in, bytes out, bounded in size, time and redirects.
//!
//! The URL comes from a certificate, so from a stranger: only http, and only addresses of the public Internet unless the
//! module says otherwise. The address that was judged is the one that is dialled.

use super::address;
use crate::model::{Host, IpFamily, IpPreference, ProberKind, Scheme, Target};
use crate::probe::{
    connect::connect,
    http,
    resolve::by_system,
    run::{chain, until},
};
use ::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use std::net::{IpAddr, SocketAddr};
use tokio::time::Instant;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 3;

/// Why a file could not be had.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum FetchError {
    #[error("`{0}` is not an http URL")]
    NotHttp(String),
    #[error("{0} is not an address of the public Internet (`allow_private` would permit it)")]
    Private(IpAddr),
    #[error("it redirects more than {MAX_REDIRECTS} times")]
    Redirects,
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("it gave no answer in time")]
    TimedOut,
    #[error("{0}")]
    Failed(String),
}

/// What is fetched, and how much of it is taken.
#[derive(Clone, Debug)]
pub(super) struct Errand<'a> {
    pub(super) url: &'a str,
    /// Sent by POST with its content type; without, GET.
    pub(super) post: Option<(&'static str, Vec<u8>)>,
    pub(super) max_bytes: usize,
    pub(super) allow_private: bool,
}

impl Errand<'_> {
    /// Fetches by `deadline`.
    pub(super) async fn run(&self, deadline: Instant) -> Result<Vec<u8>, FetchError> {
        // Boxed: its room is needed only where something is fetched.
        until(deadline, Box::pin(self.follow(deadline))).await.unwrap_or(Err(FetchError::TimedOut))
    }

    async fn follow(&self, deadline: Instant) -> Result<Vec<u8>, FetchError> {
        let mut target = plain(Target::parse(self.url, ProberKind::Http), self.url)?;
        for _ in 0..=MAX_REDIRECTS {
            match self.ask(&target, deadline).await? {
                Answer::Body(body) => return Ok(body),
                Answer::Elsewhere(location) => target = plain(target.join(&location), &location)?,
            }
        }
        Err(FetchError::Redirects)
    }

    async fn ask(&self, target: &Target, deadline: Instant) -> Result<Answer, FetchError> {
        let address = self.address((target.host(), target.port()), deadline).await?;
        let wire = connect(address).await.map_err(|error| FetchError::Failed(chain(&error)))?;
        let exchange = http::exchange(wire, false, self.request(target)?).await;
        let mut exchange = exchange.map_err(|error| FetchError::Failed(chain(&error)))?;
        let location = exchange.head.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        match (exchange.head.status, location) {
            (StatusCode::OK, _) => {}
            (status, Some(location)) if status.is_redirection() => return Ok(Answer::Elsewhere(location.to_owned())),
            (status, _) => return Err(FetchError::Status(status.as_u16())),
        }
        let mut body = Vec::new();
        while let Some(frame) = exchange.driver.drive(exchange.body.frame()).await {
            let frame = frame.map_err(|error| FetchError::Failed(chain(&error)))?;
            let chunk = frame.data_ref().map_or(&[][..], |chunk| chunk);
            if body.len() + chunk.len() > self.max_bytes {
                return Err(FetchError::TooLarge(self.max_bytes));
            }
            body.extend_from_slice(chunk);
        }
        Ok(Answer::Body(body))
    }

    /// The address to dial, if it may be dialled.
    async fn address(&self, (host, port): (&Host, u16), by: Instant) -> Result<SocketAddr, FetchError> {
        // IPv4 first: what a CA publishes is there for everybody, and a host without IPv6 must reach it.
        let preference = IpPreference { preferred: IpFamily::V4, fallback: true };
        let found = by_system(host, preference, by).await;
        let mut address = found.map_err(|error| FetchError::Failed(chain(&error)))?;
        if !self.allow_private && !address::is_public(address.ip()) {
            return Err(FetchError::Private(address.ip()));
        }
        address.set_port(port);
        Ok(address)
    }

    fn request(&self, target: &Target) -> Result<Request<Full<Bytes>>, FetchError> {
        let mut request = Request::builder()
            .uri(target.path_and_query())
            .header(header::HOST, target.authority())
            .header(header::USER_AGENT, concat!("edgeprobe/", env!("CARGO_PKG_VERSION")));
        let mut body = Bytes::new();
        if let Some((content_type, content)) = &self.post {
            request = request.method(Method::POST).header(header::CONTENT_TYPE, *content_type);
            body = content.clone().into();
        }
        request.body(Full::new(body)).map_err(|error| FetchError::Failed(error.to_string()))
    }
}

enum Answer {
    Body(Vec<u8>),
    Elsewhere(String),
}

fn plain<E>(target: Result<Target, E>, text: &str) -> Result<Target, FetchError> {
    let not_http = || FetchError::NotHttp(text.chars().take(200).collect());
    let target = target.map_err(|_| not_http())?;
    if target.scheme() == Scheme::Http { Ok(target) } else { Err(not_http()) }
}
