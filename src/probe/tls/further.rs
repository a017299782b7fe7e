//! Between the handshake and the gate: what takes asking others about the certificate, where the module wants it.
//!
//! The probe's connection waits meanwhile. Nothing has been sent over it but the handshake; with a client certificate that
//! includes the certificate, which the handshake shows before anybody could be asked.

use super::{Attempt, facts, verdict::Evidence, witness::MAX_CHAIN};
use crate::model::{CheckResult, Reason};
use crate::probe::{
    revocation::{Chain, Findings},
    run::share,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use tokio::time::Instant;

/// The most time that all the asking of one probe may take.
const PATIENCE: Duration = Duration::from_secs(3);

impl Attempt {
    /// Completes the verdict on the certificates that the peer presented. Takes at most a third of what is left until
    /// `deadline`, and nothing at all unless the module has asked for it.
    pub(super) async fn look_further(&self, presented: Option<&[CertificateDer<'static>]>, deadline: Instant) {
        let setup = &self.witness;
        let presented = presented.unwrap_or_default();
        let chain = Chain {
            presented: &presented[..presented.len().min(MAX_CHAIN)],
            anchors: setup.trust.roots.anchors(),
            algorithms: setup.algorithms.all,
            now: UnixTime::now(),
        };
        let deadline = share(Some(deadline), PATIENCE);
        let verdict = setup.seen().verdict.clone();
        match verdict.as_ref().map(|verdict| (verdict.failure().is_some(), &verdict.chain)) {
            Some((false, _)) if setup.trust.checks.is_online() => {
                // Boxed: few modules ask, and every probe would carry the room for it.
                Box::pin(self.ask_about_revocation(&chain, deadline)).await;
            }
            Some((_, Err((Reason::CertChainIncomplete | Reason::CertUnknownIssuer, _))))
                if setup.trust.fetch_issuers =>
            {
                Box::pin(self.fetch_issuers(&chain, deadline)).await;
            }
            _ => {}
        }
    }

    /// Only for certificates that all other checks believe: the URLs in them are then those of a trusted CA.
    async fn ask_about_revocation(&self, chain: &Chain<'_>, deadline: Instant) {
        let known = {
            let seen = self.witness.seen();
            let check = seen.verdict.as_ref().and_then(|verdict| verdict.revocation.clone());
            Findings { facts: seen.revocation.clone(), check }
        };
        let findings = self.witness.trust.checks.online(chain, known, deadline).await;
        let mut seen = self.witness.seen();
        seen.revocation = findings.facts;
        if let Some(verdict) = &mut seen.verdict {
            verdict.revocation = findings.check;
        }
    }

    /// Tells a server that forgot an intermediate from one whose issuer is not trusted. The verdict stays a failure: other
    /// clients do not fetch.
    async fn fetch_issuers(&self, chain: &Chain<'_>, deadline: Instant) {
        let Ok(fetched) = self.witness.trust.checks.missing_issuers(chain, deadline).await else { return };
        let Some(missing) = fetched.first().and_then(|der| facts::read(der)) else { return };
        let presented: Vec<CertificateDer<'_>> = chain.presented.iter().chain(&fetched).cloned().collect();
        let certificates: Vec<_> = presented.iter().map(|der| facts::read(der).unwrap_or_default()).collect();
        let evidence = Evidence {
            presented: &presented,
            facts: &certificates,
            roots: &self.witness.trust.roots,
            name: &self.witness.name,
            now: chain.now,
            algorithms: chain.algorithms,
        };
        let completed: CheckResult = match evidence.judge().chain {
            Ok(()) => {
                let words = format!("the server did not send `{}`, with which the chain is complete", missing.subject);
                Err((Reason::CertChainIncomplete, words))
            }
            still_failed => still_failed,
        };
        if let Some(verdict) = &mut self.witness.seen().verdict {
            verdict.chain = completed;
        }
    }
}
