//! What the lab's authority publishes: an OCSP responder, a place of revocation lists and the issuer's certificate, over
//! plain http, each also slow, silent or huge. Takes the authority, gives a listener.
//!
//! | path | answers |
//! | --- | --- |
//! | `/ocsp/good/...`, `/ocsp/revoked/...`, `/ocsp/unknown/...` | about any certificate (RFC 6960 appendix A.1) |
//! | `/ocsp/slow/...`, `/ocsp/dead/...` | good after 100 ms, never |
//! | `/crl/list`, `/crl/dead`, `/crl/huge` | a list that names [`REVOKED_SERIAL`], never, 16 MiB |
//! | `/issuer.cer` | the intermediate's certificate |

use super::{
    Listener, Seen,
    ca::Authority,
    http::{self, Reply},
    ocsp::{self, Status},
};
use ::http::StatusCode;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, KeyPair, RevocationReason, RevokedCertParams, SerialNumber};
use std::{
    io,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

/// The serial number that the lab's revocation list names.
pub const REVOKED_SERIAL: &[u8] = &[0x0b, 0xad];

const VALID: &str = "the lab's names, dates and keys are valid";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than any probe.
const NEVER: Duration = Duration::from_secs(60 * 60);

/// Starts the server.
pub async fn serve(ca: &Authority) -> io::Result<Listener> {
    let key = KeyPair::try_from(ca.intermediate_key().serialize_der()).expect(VALID);
    let (list, issuer) = (Bytes::from(list(ca)), Bytes::from(ca.intermediate().to_vec()));
    http::serve(None, move |seen| match seen.path.split('/').collect::<Vec<_>>()[..] {
        ["", "ocsp", kind, request] => responder(&key, kind, request),
        ["", "crl", "list"] => found(list.clone(), 1),
        ["", "crl", "huge"] => found(Bytes::from_static(&[b'.'; 16 * 1024]), 1024),
        ["", "crl", "dead"] => found(list.clone(), 1).after(NEVER),
        ["", "issuer.cer"] => found(issuer.clone(), 1),
        _ => missing(seen),
    })
    .await
}

/// Where the server at `address` has `path`.
pub(super) fn url(address: SocketAddr, path: &str) -> String {
    format!("http://pki.localhost:{}{path}", address.port())
}

fn responder(key: &KeyPair, kind: &str, request: &str) -> Reply {
    let request = request.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    let status = match kind {
        "revoked" => Status::Revoked,
        "unknown" => Status::Unknown,
        _ => Status::Good,
    };
    let answer = STANDARD.decode(request).ok().and_then(|request| ocsp::answer(key, &request, status));
    let Some(answer) = answer else { return Reply::new(StatusCode::BAD_REQUEST, "no OCSP request\n") };
    let reply = found(answer.into(), 1);
    match kind {
        "slow" => reply.after(Duration::from_millis(100)),
        "dead" => reply.after(NEVER),
        _ => reply,
    }
}

fn found(body: Bytes, times: usize) -> Reply {
    Reply::new(StatusCode::OK, "").body(body, times)
}

fn missing(_: &Seen) -> Reply {
    Reply::new(StatusCode::NOT_FOUND, "nothing here\n")
}

fn list(ca: &Authority) -> Vec<u8> {
    let now = SystemTime::now();
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from_slice(REVOKED_SERIAL),
        revocation_time: (now - DAY).into(),
        reason_code: Some(RevocationReason::Superseded),
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: (now - DAY).into(),
        next_update: (now + 6 * DAY).into(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(ca.intermediate_issuer()).expect(VALID).der().to_vec()
}
