//! What a certificate says about its own revocation: the URLs in it, and whether it demands a staple. Pure.

use super::der::{self, Reader};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{DistributionPointName, GeneralName, ParsedExtension},
};

/// The access methods of an authority information access extension (RFC 5280 section 4.2.2.1).
const OCSP: &str = "1.3.6.1.5.5.7.48.1";
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";
/// The TLS feature extension (RFC 7633), and the number of the feature that a staple answers.
const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";
const STATUS_REQUEST: &[u8] = &[5];

/// The first plain http URL of each kind; other schemes are never fetched.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Pointers {
    pub(super) responder: Option<String>,
    pub(super) list: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) must_staple: bool,
}

/// Reads the certificate's extensions; nothing is found in what is no certificate.
pub(super) fn pointers(certificate: &[u8]) -> Pointers {
    let mut found = Pointers::default();
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else { return found };
    found.must_staple = must_staple(&certificate);
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::AuthorityInfoAccess(access) => {
                let by = |method: &str| {
                    let mut of_method = access.iter().filter(|a| a.access_method.to_id_string() == method);
                    of_method.find_map(|a| http(&a.access_location))
                };
                found.responder = by(OCSP);
                found.issuer = by(CA_ISSUERS);
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                let names = points.iter().filter_map(|point| point.distribution_point.as_ref());
                let names = names.filter_map(|name| match name {
                    DistributionPointName::FullName(names) => Some(names),
                    DistributionPointName::NameRelativeToCRLIssuer(_) => None,
                });
                found.list = names.flatten().find_map(http);
            }
            _ => {}
        }
    }
    found
}

fn http(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::URI(url) if url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) => {
            Some((*url).to_owned())
        }
        _ => None,
    }
}

fn must_staple(certificate: &X509Certificate<'_>) -> bool {
    certificate.extensions().iter().filter(|extension| extension.oid.to_id_string() == TLS_FEATURE).any(|extension| {
        let Some(mut features) = Reader::sequence(extension.value) else { return false };
        std::iter::from_fn(|| features.take(der::INTEGER)).any(|feature| feature == STATUS_REQUEST)
    })
}
