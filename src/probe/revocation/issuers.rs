//! Fetches the issuers that a server did not send, from where its certificates say they are (RFC 5280 section 4.2.2.1).
//!
//! Out: certificates that nobody vouches for yet. Whether they complete the chain is for the verdict to say.

use super::{
    Chain, Checks,
    cache::{Cache, Kept, Limits},
    fetch::{Errand, FetchError},
    leaf,
    online::SHORT,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::sync::LazyLock;
use tokio::time::Instant;
use webpki::EndEntityCert;

/// Chains are rarely longer; each step is one request.
const MAX_STEPS: usize = 3;
/// A certificate is about 2 KiB.
const MAX_CERTIFICATE: usize = 64 * 1024;

static ISSUERS: LazyLock<Cache<Result<CertificateDer<'static>, String>>> =
    LazyLock::new(|| Cache::new(Limits { entries: 1024, bytes: 4 * 1024 * 1024 }));

impl Checks {
    /// The issuers above the last certificate that links up from the leaf, as far as they can be had by `deadline`.
    pub(crate) async fn missing_issuers(
        &self,
        chain: &Chain<'_>,
        deadline: Instant,
    ) -> Result<Vec<CertificateDer<'static>>, String> {
        let mut top = top_of(chain.presented).ok_or("the certificates cannot be read")?;
        let mut found = Vec::new();
        for _ in 0..MAX_STEPS {
            let Some(url) = leaf::pointers(&top).issuer else { break };
            let issuer = self.issuer_at(&url, chain.seconds(), deadline).await?;
            let ends = self_issued(&issuer) || issuer == top;
            top = issuer.clone();
            found.push(issuer);
            if ends || chain.anchors.iter().any(|anchor| Some(anchor.subject.as_ref()) == issuer_of(&top).as_deref()) {
                break;
            }
        }
        Ok(found)
    }

    async fn issuer_at(&self, url: &str, now: i64, deadline: Instant) -> Result<CertificateDer<'static>, String> {
        let allow_private = self.policy.allow_private;
        let fetch = async {
            let answer = Errand { url, post: None, max_bytes: MAX_CERTIFICATE, allow_private }.run(deadline).await;
            let value = answer.map_err(|error| format!("{url}: {error}")).and_then(|bytes| certificate(&bytes, url));
            let kept = i64::try_from(self.policy.max_age.as_secs()).unwrap_or(i64::MAX);
            let until = now.saturating_add(if value.is_ok() { kept.max(SHORT) } else { SHORT });
            Kept { bytes: value.as_ref().map_or(0, |der| der.len()), value, until }
        };
        let answer = ISSUERS.get((&format!("{allow_private} {url}"), now), deadline, fetch).await;
        answer.unwrap_or_else(|| Err(format!("{url}: {}", FetchError::TimedOut)))
    }
}

fn certificate(bytes: &[u8], url: &str) -> Result<CertificateDer<'static>, String> {
    let der = if bytes.first() == Some(&super::der::SEQUENCE) {
        CertificateDer::from(bytes.to_vec())
    } else {
        CertificateDer::from_pem_slice(bytes).map_err(|_| format!("{url} gives no certificate"))?
    };
    // A bundle (PKCS #7) is a sequence, too.
    if EndEntityCert::try_from(&der).is_err() {
        return Err(format!("{url} gives no single X.509 certificate"));
    }
    Ok(der)
}

/// The last certificate that links up from the leaf.
fn top_of(presented: &[CertificateDer<'_>]) -> Option<CertificateDer<'static>> {
    let mut top = presented.first()?;
    for _ in presented {
        let Some(wanted) = issuer_of(top).filter(|_| !self_issued(top)) else { break };
        match presented.iter().find(|c| subject_of(c).as_deref() == Some(&wanted)) {
            Some(next) => top = next,
            None => break,
        }
    }
    Some(top.clone().into_owned())
}

fn issuer_of(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    EndEntityCert::try_from(der).ok().map(|c| c.issuer().to_vec())
}

fn subject_of(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    EndEntityCert::try_from(der).ok().map(|c| c.subject().to_vec())
}

fn self_issued(der: &CertificateDer<'_>) -> bool {
    EndEntityCert::try_from(der).is_ok_and(|c| c.issuer() == c.subject())
}
