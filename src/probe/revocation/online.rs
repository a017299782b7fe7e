//! The checks that ask somebody: the CA's OCSP responder, and the place of its revocation list.
//!
//! Both at once, both within one deadline that is a share of the probe's. Answers are kept by URL for all modules; failures
//! are too, for a minute, so that a dead responder costs its share once and not with every probe.

use super::{
    Chain, Checks, Findings,
    cache::{Cache, Kept, Limits},
    consult,
    crl::{self, Crl},
    fetch::{Errand, FetchError},
    leaf,
    ocsp::{self, Subject},
    response,
    signed::{Issuer, serial_of},
    worst,
};
use crate::model::{CheckResult, CrlFacts, OcspFacts, OcspStatus, Online, Reason};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::sync::{Arc, LazyLock};
use tokio::time::Instant;

/// Responses are about 500 bytes, some 3 KiB with a responder's certificates.
const MAX_RESPONSE: usize = 64 * 1024;
/// Lists of this size have some 200,000 entries; larger ones are for files.
const MAX_LIST: usize = 8 * 1024 * 1024;
/// How long a failure, or an answer that proves nothing, is kept, in seconds.
pub(super) const SHORT: i64 = 60;

static RESPONSES: LazyLock<Cache<Result<Arc<[u8]>, FetchError>>> =
    LazyLock::new(|| Cache::new(Limits { entries: 4096, bytes: 8 * 1024 * 1024 }));
static LISTS: LazyLock<Cache<Result<Arc<Crl>, String>>> =
    LazyLock::new(|| Cache::new(Limits { entries: 256, bytes: 64 * 1024 * 1024 }));

impl Checks {
    /// Whether anybody is ever asked.
    pub(crate) fn is_online(&self) -> bool {
        self.policy.ocsp != Online::Off || self.policy.crl != Online::Off
    }

    /// Completes what [`Checks::offline`] found by asking, until `deadline`.
    pub(crate) async fn online(&self, chain: &Chain<'_>, mut findings: Findings, deadline: Instant) -> Findings {
        let Some(leaf) = chain.presented.first() else { return findings };
        if matches!(findings.check, Some(Err(_))) {
            return findings;
        }
        let pointers = leaf::pointers(leaf);
        let stapled = findings.facts.staple.as_ref().is_some_and(|staple| staple.status == OcspStatus::Good);
        let listed = findings.facts.crl.as_ref().is_some_and(|crl| crl.answered);
        let responder = pointers.responder.filter(|_| self.policy.ocsp != Online::Off && !stapled);
        let list = pointers.list.filter(|_| self.policy.crl != Online::Off && !listed);
        let (responder, list) =
            tokio::join!(async { Some(self.ask_responder(&responder?, chain, deadline).await) }, async {
                Some(self.ask_list(&list?, chain, deadline).await)
            },);
        let by_responder: Option<CheckResult> = match responder.as_ref().map(|facts| facts.status) {
            Some(OcspStatus::Good) => Some(Ok(())),
            Some(OcspStatus::Revoked) => responder.as_ref().map(|f| Err((Reason::CertRevoked, f.problem.clone()))),
            _ => None,
        };
        findings.facts.responder = responder;
        let mut by_list = None;
        if let Some((facts, check)) = list {
            findings.facts.crl = Some(facts);
            by_list = check;
        }
        findings.check = worst(worst(findings.check, by_responder), by_list);
        if findings.check.is_none() && self.policy.must_be_known() {
            findings.check = Some(Err((Reason::RevocationUnknown, silence(&findings))));
        }
        findings
    }

    async fn ask_responder(&self, url: &str, chain: &Chain<'_>, deadline: Instant) -> OcspFacts {
        let Some((issuer, serial)) = Issuer::of_leaf(chain).zip(chain.presented.first().and_then(serial_of)) else {
            return OcspFacts::nothing(OcspStatus::IssuerUnknown, "the issuer's certificate is not at hand");
        };
        let request = ocsp::request(&Subject { serial: &serial, issuer: &issuer });
        let url_with_request = format!("{}/{}", url.trim_end_matches('/'), url_encoded(&STANDARD.encode(&request)));
        let key = format!("{} {url_with_request}", self.policy.allow_private);
        let fetch = async {
            let get = Errand {
                url: &url_with_request,
                post: None,
                max_bytes: MAX_RESPONSE,
                allow_private: self.policy.allow_private,
            };
            let mut answer = get.run(deadline).await;
            // Some responders only know the older way to ask.
            if matches!(answer, Err(FetchError::Status(404 | 405))) {
                let post = Some(("application/ocsp-request", request.clone()));
                answer = Errand { url, post, ..get }.run(deadline).await;
            }
            self.kept_response(answer, chain)
        };
        match RESPONSES.get((&key, chain.seconds()), deadline, fetch).await {
            Some(Ok(bytes)) => response(&bytes, chain),
            Some(Err(error)) => OcspFacts::nothing(OcspStatus::Unreachable, unreachable_words(url, &error)),
            None => OcspFacts::nothing(OcspStatus::Unreachable, unreachable_words(url, &FetchError::TimedOut)),
        }
    }

    /// An answer that proves something is kept until a newer one is due.
    fn kept_response(
        &self,
        answer: Result<Vec<u8>, FetchError>,
        chain: &Chain<'_>,
    ) -> Kept<Result<Arc<[u8]>, FetchError>> {
        let now = chain.seconds();
        let mut until = now.saturating_add(SHORT);
        let bytes = answer.as_ref().map_or(0, Vec::len);
        if let Ok(bytes) = &answer {
            let facts = response(bytes, chain);
            if matches!(facts.status, OcspStatus::Good | OcspStatus::Revoked) {
                until = until.max(self.latest(now).min(facts.next_update.unwrap_or(until)));
            }
        }
        Kept { value: answer.map(Into::into), until, bytes }
    }

    async fn ask_list(&self, url: &str, chain: &Chain<'_>, deadline: Instant) -> (CrlFacts, Option<CheckResult>) {
        let key = format!("{} {url}", self.policy.allow_private);
        let fetch = async {
            let allow_private = self.policy.allow_private;
            let answer = Errand { url, post: None, max_bytes: MAX_LIST, allow_private }.run(deadline).await;
            self.kept_list(answer, url, chain)
        };
        match LISTS.get((&key, chain.seconds()), deadline, fetch).await {
            Some(Ok(list)) => {
                let (facts, check) = consult(&[list], chain);
                (facts.unwrap_or_default(), check)
            }
            Some(Err(problem)) => (CrlFacts { problem, ..CrlFacts::default() }, None),
            None => {
                let problem = unreachable_words(url, &FetchError::TimedOut);
                (CrlFacts { problem, ..CrlFacts::default() }, None)
            }
        }
    }

    fn kept_list(
        &self,
        answer: Result<Vec<u8>, FetchError>,
        url: &str,
        chain: &Chain<'_>,
    ) -> Kept<Result<Arc<Crl>, String>> {
        let now = chain.seconds();
        let mut until = now.saturating_add(SHORT);
        let read = answer.map_err(|error| unreachable_words(url, &error)).and_then(|bytes| {
            let mut lists = crl::read_all(&bytes).map_err(|problem| format!("what {url} gives {problem}"))?;
            let list = lists.pop().ok_or_else(|| format!("{url} gives no list"))?;
            let by_issuer = Issuer::of_leaf(chain).is_some_and(|i| crl::is_signed_by(&bytes, &i, chain.algorithms));
            if by_issuer {
                until = until.max(self.latest(now).min(list.next_update));
            }
            Ok(Arc::new(list))
        });
        let bytes = read.as_ref().map_or(0, |list| list.size);
        Kept { value: read, until, bytes }
    }

    fn latest(&self, now: i64) -> i64 {
        now.saturating_add(i64::try_from(self.policy.max_age.as_secs()).unwrap_or(i64::MAX))
    }
}

/// Base64 as a path segment (RFC 6960 appendix A.1).
fn url_encoded(base64: &str) -> String {
    base64.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

fn unreachable_words(url: &str, error: &FetchError) -> String {
    format!("{url}: {error}")
}

/// Why the status is not known.
fn silence(findings: &Findings) -> String {
    let responder = match &findings.facts.responder {
        Some(facts) if facts.status == OcspStatus::Unknown => "the responder does not know the certificate".into(),
        Some(facts) => facts.problem.clone(),
        None => "the certificate names no OCSP responder that was asked".into(),
    };
    let list = findings.facts.crl.as_ref().map_or_else(|| "no revocation list was asked".into(), |f| f.problem.clone());
    format!("nobody could tell whether the certificate is revoked: {responder}; {list}")
}
