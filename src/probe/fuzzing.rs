//! Doors to this folder's readers, for [`crate::fuzzing`].

use super::{
    revocation::{Chain, Checks},
    scan, tls,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::{sync::LazyLock, time::Duration};

/// Reads a certificate.
pub(crate) fn certificate(data: &[u8]) {
    drop(tls::certificate(data));
}

/// Reads the start of a server's answer to a hello, once as far as each question needs it.
pub(crate) fn hello(data: &[u8]) {
    scan::read_reply(data);
}

/// Reads a stapled OCSP response for a certificate whose issuer is known, so that the signature is looked at, too.
pub(crate) fn ocsp(data: &[u8]) {
    static CHAIN: LazyLock<Vec<CertificateDer<'static>>> = LazyLock::new(|| {
        let leaf = include_bytes!("../../tests/fixtures/ocsp/ec/good.crt");
        let issuer = include_bytes!("../../tests/fixtures/ocsp/ec/issuer.crt");
        vec![CertificateDer::from_slice(leaf), CertificateDer::from_slice(issuer)]
    });
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    let chain = Chain { presented: &CHAIN, anchors: &[], algorithms: webpki::ALL_VERIFICATION_ALGS, now };
    drop(Checks::default().offline(&chain, data));
}
