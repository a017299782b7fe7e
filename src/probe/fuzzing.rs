//! Doors to this folder's readers, for [`crate::fuzzing`].

/// Reads a certificate.
pub(crate) fn certificate(data: &[u8]) {
    drop(super::tls::certificate(data));
}
