//! Pinned keys: whether one of them is in the chain.
//!
//! In: the pins and the evidence of a handshake. Out: one check of the verdict. Knows no connection.

use super::verdict::Evidence;
use crate::model::{CheckResult, Pin, Reason};
use sha2::{Digest, Sha256};
use std::cell::Cell;
use webpki::{EndEntityCert, Error, KeyUsage, VerifiedPath};

/// Whether the leaf, or another certificate of a path to a trusted root, has one of the pinned keys; `None` without pins.
///
/// What was sent but is on no such path counts for nothing: anybody can send along a certificate of somebody else. Dates
/// do not matter here, they are another check.
pub(super) fn check(pins: &[Pin], evidence: &Evidence<'_>) -> Option<CheckResult> {
    if pins.is_empty() {
        return None;
    }
    let Some(Ok(leaf)) = evidence.presented.first().map(EndEntityCert::try_from) else {
        return Some(Err((Reason::CertPinMismatch, "there is no certificate whose key could be a pinned one".into())));
    };
    let own = pin_of(&leaf.subject_public_key_info());
    Some(if pins.contains(&own) || on_a_path(pins, evidence, &leaf) {
        Ok(())
    } else {
        Err((Reason::CertPinMismatch, format!("the leaf's key is {own}, and no key of its path is a pinned one")))
    })
}

fn on_a_path(pins: &[Pin], evidence: &Evidence<'_>, leaf: &EndEntityCert<'_>) -> bool {
    let issuers = evidence.presented.get(1..).unwrap_or_default();
    let found = Cell::new(false);
    let look = |path: &VerifiedPath<'_>| {
        let sent = path.intermediate_certificates().map(|cert| pin_of(&cert.subject_public_key_info()));
        let root = pin_of_anchor(path.anchor().subject_public_key_info.as_ref());
        found.set(sent.chain([root]).any(|pin| pins.contains(&pin)));
        // Refusing a path makes the search go on to the next one.
        if found.get() { Ok(()) } else { Err(Error::UnknownIssuer) }
    };
    let anchors = evidence.roots.anchors();
    std::iter::once(evidence.now).chain(evidence.better_times()).any(|time| {
        let searched = leaf.verify_for_usage(
            evidence.algorithms,
            anchors,
            issuers,
            time,
            KeyUsage::server_auth(),
            None,
            Some(&look),
        );
        searched.is_ok() && found.get()
    })
}

fn pin_of(spki: &[u8]) -> Pin {
    Pin(Sha256::digest(spki).into())
}

/// An anchor keeps what is inside of the `SubjectPublicKeyInfo`; the pin is over all of it.
fn pin_of_anchor(inside: &[u8]) -> Pin {
    const SEQUENCE: u8 = 0x30;
    const LONG_FORM: u8 = 0x80;
    let length: Vec<u8> = inside.len().to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect();
    let mut der = vec![SEQUENCE];
    if inside.len() >= LONG_FORM.into() {
        der.push(LONG_FORM | u8::try_from(length.len()).expect("a length has at most eight bytes"));
    }
    der.extend(length);
    der.extend(inside);
    pin_of(&der)
}
