//! The rows of the catalogue whose servers are scanned for what they accept.

use super::super::{
    Expected,
    old::{Profile, Refusal},
    raw::{Step, alert},
    starttls::{Manner, Protocol},
    tls::{Tls, Versions},
};
use super::{Entry, GOOD, Serves, fails, hello};

const TLS13_SUITES: &[u16] = &[0x1301, 0x1302, 0x1303];
/// Everything that was ever common.
const OLD: Profile = Profile {
    versions: &[0x0300, 0x0301, 0x0302, 0x0303, 0x0304],
    suites: &[0x1301, 0x1302, 0xc02f, 0xc030, 0xc013, 0xc014, 0x0033, 0x002f, 0x0035, 0x000a, 0x0005],
    groups: &[0x001d, 0x0017],
    client_cert: true,
    ..Profile::EMPTY
};
/// TLS 1.2 and 1.3 with forward secrecy.
const MODERN: Profile = Profile {
    versions: &[0x0303, 0x0304],
    suites: &[0x1301, 0x1302, 0xc02f, 0xc030],
    groups: &[0x001d, 0x0017],
    ..Profile::EMPTY
};

/// Every endpoint of the scan modules.
pub(super) const TABLE: &[Entry] = &[
    Entry {
        name: "scan-good",
        module: "scan",
        expected: Expected::Success,
        serves: Serves::Https(GOOD, hello),
        about: "a healthy server with TLS 1.2 and 1.3",
    },
    Entry {
        name: "scan-tls12-only",
        module: "scan",
        expected: fails("tls", "version_policy"),
        serves: Serves::Https(Tls { versions: Versions::Only12, ..GOOD }, hello),
        about: "lacks TLS 1.3, which the module wants",
    },
    Entry {
        name: "scan-hybrid",
        module: "scan",
        expected: Expected::Success,
        serves: Serves::Old(Profile { versions: &[0x0304], suites: TLS13_SUITES, groups: &[0x11ec], ..Profile::EMPTY }),
        about: "speaks TLS 1.3 with X25519MLKEM768 alone, and asks for a key share of it",
    },
    Entry {
        name: "scan-old",
        module: "scan",
        expected: fails("tls", "version_policy"),
        serves: Serves::Old(OLD),
        about: "accepts everything from SSL 3.0 to TLS 1.3, 3DES and RC4 included, and asks for a client certificate",
    },
    Entry {
        name: "scan-tls11-only",
        module: "scan",
        expected: fails("tls", "version_policy"),
        serves: Serves::Old(Profile { versions: &[0x0302], ..OLD }),
        about: "speaks TLS 1.1 alone",
    },
    Entry {
        name: "scan-tls10-only",
        module: "scan",
        expected: fails("tls", "version_policy"),
        serves: Serves::Old(Profile { versions: &[0x0301], ..OLD }),
        about: "speaks TLS 1.0 alone",
    },
    Entry {
        name: "scan-ssl3-only",
        module: "scan",
        expected: fails("tls", "version_policy"),
        serves: Serves::Old(Profile { versions: &[0x0300], ..OLD }),
        about: "speaks SSL 3.0 alone",
    },
    Entry {
        name: "scan-closes",
        module: "scan",
        expected: Expected::Success,
        serves: Serves::Old(Profile { refusal: Refusal::Close, ..MODERN }),
        about: "closes the connection instead of refusing old versions: they stay unknown",
    },
    Entry {
        name: "scan-resets",
        module: "scan",
        expected: Expected::Success,
        serves: Serves::Old(Profile { refusal: Refusal::Reset, ..MODERN }),
        about: "resets the connection instead of refusing old versions: they stay unknown",
    },
    Entry {
        name: "scan-internal-error",
        module: "scan",
        expected: Expected::Success,
        serves: Serves::Old(Profile { refusal: Refusal::Always(80), ..MODERN }),
        about: "answers old versions with internal_error, as OpenSSL 3 does",
    },
    Entry {
        name: "scan-size-intolerant",
        module: "scan",
        expected: Expected::Success,
        serves: Serves::Old(Profile { longest: 1000, ..MODERN }),
        about: "is silent to a hello that does not fit into one packet",
    },
    Entry {
        name: "scan-alert-handshake-failure",
        module: "scan",
        expected: fails("tls", "no_shared_parameters"),
        serves: Serves::Script(&[Step::ReadHello, Step::Send(&alert(40))]),
        about: "answers every hello with the alert handshake_failure",
    },
    Entry {
        name: "scan-alert-internal-error",
        module: "scan",
        expected: fails("tls", "tls_alert"),
        serves: Serves::Script(&[Step::ReadHello, Step::Send(&alert(80))]),
        about: "answers every hello with the alert internal_error",
    },
    Entry {
        name: "scan-alert-unrecognized-name",
        module: "scan",
        expected: fails("tls", "unrecognized_name"),
        serves: Serves::Script(&[Step::ReadHello, Step::Send(&alert(112))]),
        about: "answers every hello with the alert unrecognized_name",
    },
    Entry {
        name: "scan-junk",
        module: "scan",
        expected: fails("tls", "not_tls"),
        serves: Serves::Script(&[Step::ReadHello, Step::Send(b"\x00\xff\x00\xff\x00\xff")]),
        about: "answers with bytes that are no TLS",
    },
    Entry {
        name: "scan-half-record",
        module: "scan",
        expected: fails("tls", "broken"),
        serves: Serves::Script(&[Step::ReadHello, Step::Send(b"\x16\x03\x03\x00\x5a\x02\x00\x00\x56\x03\x03")]),
        about: "closes in the middle of its first record",
    },
    Entry {
        name: "scan-stalled",
        module: "scan",
        expected: fails("tls", "timeout"),
        serves: Serves::Script(&[Step::Stall]),
        about: "accepts connections and never speaks",
    },
    Entry {
        name: "scan-reset",
        module: "scan",
        expected: fails("tls", "reset"),
        serves: Serves::Script(&[Step::ReadHello, Step::Reset]),
        about: "resets every connection after the hello",
    },
    Entry {
        name: "scan-starttls",
        module: "scan_smtp",
        expected: Expected::Success,
        serves: Serves::StartTls(GOOD, Protocol::Smtp, Manner::Good),
        about: "a mail server with TLS 1.2 and 1.3 behind STARTTLS",
    },
];
