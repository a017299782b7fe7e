//! The rows of the catalogue whose servers begin in the clear.

use super::super::{
    Expected,
    ca::Cert,
    starttls::{Manner, Protocol},
    tls::Tls,
};
use super::{Entry, GOOD, Serves, fails};

/// Every endpoint with STARTTLS.
pub(super) const TABLE: &[Entry] = &[
    switching("starttls-smtp", "starttls_smtp", Protocol::Smtp, "a mail server that switches to TLS"),
    switching("starttls-imap", "starttls_imap", Protocol::Imap, "a mailbox server that switches to TLS"),
    switching("starttls-pop3", "starttls_pop3", Protocol::Pop3, "an old mailbox server that switches to TLS"),
    switching("starttls-ftp", "starttls_ftp", Protocol::Ftp, "a file server that switches to TLS"),
    switching("starttls-ldap", "starttls_ldap", Protocol::Ldap, "a directory that switches to TLS"),
    switching("starttls-postgres", "starttls_postgres", Protocol::Postgres, "a PostgreSQL server that switches to TLS"),
    switching("starttls-mysql", "starttls_mysql", Protocol::Mysql, "a MySQL server that switches to TLS"),
    switching("starttls-xmpp", "starttls_xmpp", Protocol::Xmpp, "a chat server that switches to TLS"),
    Entry {
        name: "starttls-expired",
        module: "starttls_smtp",
        expected: fails("tls", "cert_expired"),
        serves: Serves::StartTls(Tls::new(Cert::Expired), Protocol::Smtp, Manner::Good),
        about: "a mail server whose certificate, behind STARTTLS, ended yesterday",
    },
    smtp(
        "starttls-refused",
        "starttls_refused",
        Manner::Refuses,
        "a mail server that offers STARTTLS and then has none",
    ),
    smtp("starttls-not-offered", "starttls_refused", Manner::OffersNot, "a mail server that does not offer STARTTLS"),
    smtp(
        "starttls-injection",
        "starttls_refused",
        Manner::Injects,
        "a mail server that sends more than its permission",
    ),
    smtp("starttls-endless", "starttls_refused", Manner::NeverEnds, "a mail server that never ends its greeting"),
    smtp(
        "starttls-silent",
        "timeout",
        Manner::FallsSilentAfter(1),
        "a mail server that greets and then says nothing more",
    ),
];

/// A server that switches to TLS as it should.
const fn switching(name: &'static str, module: &'static str, protocol: Protocol, about: &'static str) -> Entry {
    Entry { name, module, expected: Expected::Success, serves: Serves::StartTls(GOOD, protocol, Manner::Good), about }
}

/// A mail server that does not.
const fn smtp(name: &'static str, reason: &'static str, manner: Manner, about: &'static str) -> Entry {
    let serves = Serves::StartTls(GOOD, Protocol::Smtp, manner);
    Entry { name, module: "starttls_smtp", expected: fails("tls", reason), serves, about }
}
