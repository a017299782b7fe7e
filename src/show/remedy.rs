//! What to do about a failure: one sentence or two per reason, with the names and dates of this very report.

use super::{chain, names, text::visible, time::unix_seconds, time::utc};
use crate::model::{Certificate, Failure, NameClash, ProbeReport, Reason, TlsFacts, issuers};

/// What a person can do about the failure; `None` when there is none.
pub fn remedy(report: &ProbeReport) -> Option<String> {
    let failure = report.failure.as_ref()?;
    let advice = certificate_remedy(report, failure)
        .or_else(|| answer_remedy(report, failure))
        .unwrap_or_else(|| plain_remedy(failure.reason).to_owned());
    Some(advice)
}

/// Reasons whose remedy names a certificate.
fn certificate_remedy(report: &ProbeReport, failure: &Failure) -> Option<String> {
    let tls = report.tls()?;
    let leaf = tls.chain.first()?;
    let now = unix_seconds(report.started);
    Some(match failure.reason {
        Reason::CertExpired => {
            let Some(old) = in_use(tls).find(|c| c.not_after < now) else {
                return Some(
                    "replace the root that has ended, in the module's ca_file or in this machine's trust store".into(),
                );
            };
            format!("renew the certificate of {}, which ended on {}", subject(old), utc(old.not_after))
        }
        Reason::CertNotYetValid => {
            let young = in_use(tls).find(|c| c.not_before > now)?;
            let start = utc(young.not_before);
            format!("check this machine's clock, or wait: the certificate of {} starts on {start}", subject(young))
        }
        Reason::CertExpiresSoon => {
            let next = tls.chain.iter().min_by_key(|c| c.not_after).unwrap_or(leaf);
            format!("renew the certificate of {}: {}", subject(next), chain::remaining(next, now))
        }
        Reason::CertWrongName => format!(
            "probe one of the names the certificate has ({}), or get one for {}",
            chain::names(leaf).unwrap_or_else(|| "none at all".into()),
            visible(&tls.server_name)
        ),
        Reason::CertChainIncomplete => {
            let last = in_use(tls).filter(|c| !c.self_issued).last().unwrap_or(leaf);
            format!("configure the server to send the intermediate certificate named \"{}\"", visible(&last.issuer))
        }
        Reason::CertUnknownIssuer => {
            let last = in_use(tls).last().unwrap_or(leaf);
            let issuer = visible(&last.issuer);
            format!("if \"{issuer}\" is yours, name its certificate in the module's tls_config.ca_file")
        }
        Reason::CertPinMismatch if !leaf.spki_sha256.is_empty() => {
            format!("if the new key was meant, add \"sha256/{}\" to the module's tls_config.pins", leaf.spki_sha256)
        }
        Reason::ClientCertRejected => {
            let end = tls.client_cert_not_after.filter(|&end| end < now)?;
            format!("renew the module's client certificate, which ended on {}", utc(end))
        }
        _ => return None,
    })
}

/// The leaf, then what links up from it, nearest first: strays need no remedy.
fn in_use(tls: &TlsFacts) -> impl Iterator<Item = &Certificate> {
    let above = issuers(&tls.chain).into_iter().filter_map(|at| tls.chain.get(at));
    tls.chain.first().into_iter().chain(above)
}

/// Reasons whose remedy looks at the answer and at whom it was asked from.
fn answer_remedy(report: &ProbeReport, failure: &Failure) -> Option<String> {
    let hop = report.last_hop()?;
    let clashes = names::clashes(report, hop).join("; ");
    Some(match failure.reason {
        Reason::Status | Reason::UpgradeRefused if hop.refused_for_names().is_some() => match hop.name_clash() {
            Some(NameClash::Nameless { .. }) => {
                "probe the site's name and give the address as connect_to, or name the site with hostname".into()
            }
            _ => "make SNI and Host name one site, with hostname or sni".into(),
        },
        Reason::Status => {
            let status = report.http()?.status;
            match status {
                300..=399 => "let the module follow redirects, probe the address it points to, or list the status in \
                             valid_status_codes"
                    .into(),
                401 | 407 => "give the module credentials (basic_auth or authorization)".into(),
                500.. => "look at the server's own log; it answered, but could not serve the request".into(),
                _ => format!("correct the target's path, or list {status} in the module's valid_status_codes"),
            }
        }
        Reason::UnrecognizedName if !clashes.is_empty() => {
            format!("make the server serve this name, or ask for another one: {clashes}")
        }
        Reason::NotEncrypted if hop.url.starts_with("http://") => {
            "probe the https:// URL, or make the server redirect to it".into()
        }
        _ => return None,
    })
}

fn plain_remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::InvalidTarget => "correct the target; the cause says what is expected",
        Reason::TokenRefused => "compare the module's oauth2 block with the client's entry at the token endpoint",
        Reason::TokenUnavailable => {
            "check the token endpoint (oauth2.token_url) and the way to it; the target was not tried"
        }
        Reason::NameNotFound => "check the spelling of the name, and whether its DNS record exists",
        Reason::NoAddress => {
            "allow the other address family (ip_protocol_fallback), or give the name an A or AAAA record"
        }
        Reason::ResolverFailed => {
            "check the DNS servers (the module's or job's resolver.servers, else /etc/resolv.conf) and the way to them"
        }
        Reason::ResolverRefused => {
            "allow this machine to ask the name server (its access list), or ask another one that serves the name"
        }
        Reason::ResolverTimeout => {
            "check that the name servers run and that UDP and TCP reach them; else raise resolver.timeout and the module's"
        }
        Reason::Refused => "check that the server runs and listens on this address and port",
        Reason::Unreachable => "check the route, the address family and the firewalls between here and the address",
        Reason::AddressDenied => "allow the address in the exporter's own rules, or probe another one",
        Reason::LocalLimit => "raise the exporter's limit (open files, probes in flight) or probe less at once",
        Reason::ProxyUnreachable => "check the module's proxy_url, and that the proxy runs and is what its scheme says",
        Reason::ProxyRefused => {
            "ask the proxy's operator to allow this destination; its status may also tell of the target"
        }
        Reason::ProxyAuthRequired => "give the proxy's credentials in the module's proxy_url",
        Reason::CertExpired | Reason::CertExpiresSoon => "renew the certificate",
        Reason::CertNotYetValid => "check this machine's clock, or wait until the certificate starts",
        Reason::CertWrongName => "probe a name the certificate has, or get one for this name",
        Reason::CertSelfSigned => "get a certificate from a CA, or name this one in the module's tls_config.ca_file",
        Reason::CertChainIncomplete => "configure the server to send its intermediate certificates",
        Reason::CertUnknownIssuer => "if the issuer is yours, name its certificate in the module's tls_config.ca_file",
        Reason::CertRevoked => "replace the certificate: its issuer withdrew it",
        Reason::RevocationUnknown => "make the CA's responder or list reachable, or let the module fail soft",
        Reason::StapleMissing => "switch OCSP stapling on in the server, or drop require_staple",
        Reason::CertWrongPurpose => "get a certificate whose extended key usage includes TLS servers",
        Reason::CertWeak => "get a certificate with a current key and signature (ECDSA P-256 or RSA 2048, SHA-256)",
        Reason::CertMalformed => "get a well-formed X.509 v3 certificate",
        Reason::CertInvalid => {
            "get a certificate that breaks no rule of its issuers; the cause says which one it broke"
        }
        Reason::CertPinMismatch => "list the new key in the module's pins if the change was meant",
        Reason::StarttlsRefused => {
            "switch STARTTLS on in the server, or probe its TLS port; the cause shows what it said"
        }
        Reason::ClientCertRequired => "give the module a client certificate (tls_config.cert_file and key_file)",
        Reason::ClientCertRejected => "give the module a client certificate that this server trusts",
        Reason::UnrecognizedName => "make the server serve this name, or set tls_config.server_name to one it does",
        Reason::VersionUnsupported => "enable TLS 1.2 or 1.3 on the server, or widen min_version and max_version",
        Reason::NoSharedParameters => "enable a current cipher suite, group or protocol on the server",
        Reason::NotTls => "probe the port that speaks TLS, or use an unencrypted scheme for this one",
        Reason::TlsAlert => "look up the alert in the server's log",
        Reason::VersionPolicy => "change the server's TLS versions, or the module's policy",
        Reason::ProtocolError => "check what listens on this port; the cause shows what it sent",
        Reason::Status => "correct the target's path, or list the status in the module's valid_status_codes",
        Reason::HttpVersion => "enable the wanted HTTP version on the server, or list this one in valid_http_versions",
        Reason::HeaderMismatch => "compare the response's headers with the module's fail_if_header_* lists",
        Reason::RedirectLimit => "break the redirect loop on the server; each hop of the report shows its Location",
        Reason::RedirectInvalid => "correct the Location header on the server",
        Reason::NotEncrypted => "serve the final response over https, or drop fail_if_not_ssl",
        Reason::Encrypted => "serve the final response over http, or drop fail_if_ssl",
        Reason::UpgradeRefused => "check the path, the Origin and what proxies between do with Upgrade headers",
        Reason::AcceptMismatch => "look for a proxy or server that answers WebSocket upgrades from a cache or by rote",
        Reason::SubprotocolMismatch => "offer a subprotocol that the server speaks",
        Reason::BodyMismatch => "compare the response's body with the module's fail_if_body_* patterns",
        Reason::BodyTooLarge => "probe a smaller page, or raise body_size_limit",
        Reason::BodyDecode => "set the module's compression to what the server sends",
        Reason::MessageMismatch => "compare the server's message with the module's query_response",
        Reason::MessageTooLarge => "make the server send less at once, or raise the module's max_message_size",
        Reason::MessageFlood => "look for a loop in the server: nobody reads that many messages",
        Reason::Closed => "look at the close code and at the server's log",
        Reason::PingUnanswered => "make the server answer pings (RFC 6455 section 5.5.3), or drop `ping`",
        Reason::Timeout => "look at the phase that took the time; raise the timeout only if that is expected",
        Reason::Reset => "look for a firewall, a crash or a limit on the server: it cut the connection",
        Reason::Broken => "look at the server's log: it ended the connection in the middle",
        Reason::Internal => "look at the exporter's log; if a file of the module is missing, restore it",
    }
}

fn subject(certificate: &Certificate) -> String {
    let name = if certificate.subject.is_empty() { certificate.dns_names.first() } else { Some(&certificate.subject) };
    name.map_or_else(|| "an unnamed subject".into(), |name| format!("\"{}\"", visible(name)))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::model::Phase;

    #[test]
    fn every_reason_has_a_remedy() {
        for &reason in Reason::ALL {
            let report = fixture::failed(reason.phase().unwrap_or(Phase::Tls), reason);
            assert!(remedy(&report).is_some_and(|text| text.len() > 15), "{reason}");
        }
        assert_eq!(remedy(&fixture::success()), None);
    }

    #[test]
    fn certificate_remedies_name_the_certificate() {
        let of = |reason| remedy(&fixture::failed(Phase::Tls, reason)).unwrap();
        assert!(of(Reason::CertChainIncomplete).contains("\"CN=Example CA\""));
        assert!(of(Reason::CertWrongName).contains("www.example.com, *.example.org"));
        assert!(of(Reason::CertExpired).contains("replace the root that has ended"), "nothing that was sent has ended");
        let mut report = fixture::failed(Phase::Tls, Reason::CertExpired);
        let old = |subject: &str| Certificate {
            subject: subject.into(),
            fingerprint_sha256: subject.into(),
            not_after: fixture::NOW - 1,
            ..fixture::certificate()
        };
        let chain = vec![fixture::certificate(), old("CN=Stray"), old("CN=Example CA")].into();
        report.hops[0].tls.as_mut().unwrap().chain = chain;
        assert!(remedy(&report).unwrap().contains("\"CN=Example CA\", which ended on"), "not the stray");
    }

    #[test]
    fn a_refusal_by_address_asks_for_the_sites_name() {
        let mut report = fixture::failed(Phase::Processing, Reason::Status);
        let hop = &mut report.hops[0];
        hop.http.as_mut().unwrap().status = 403;
        hop.url = "https://192.0.2.7/".into();
        hop.host_header = "192.0.2.7".into();
        let tls = hop.tls.as_mut().unwrap();
        (tls.server_name, tls.sni) = ("192.0.2.7".into(), None);
        let advice = remedy(&report).unwrap();
        assert!(advice.contains("connect_to") && advice.contains("hostname"), "{advice}");
    }

    #[test]
    fn a_refusal_with_disagreeing_names_says_so() {
        let mut report = fixture::failed(Phase::Processing, Reason::Status);
        report.hops[0].http.as_mut().unwrap().status = 403;
        report.hops[0].host_header = "other.example".into();
        let (advice, hint) = (remedy(&report).unwrap(), names::hint(&report).unwrap());
        assert!(advice.contains("SNI and Host"), "{advice}");
        assert!(
            hint.contains("403") && hint.contains("the SNI is www.example.com, the Host header says other.example"),
            "{hint}"
        );
    }
}
