//! The cipher suites that are asked for, by class: codes and names of the IANA TLS Cipher Suites registry.
//!
//! Within a class the common ones come first. Left out: suites with pre-shared keys, passwords, Kerberos or fixed
//! Diffie-Hellman certificates, which no public server has, and national ones that only their own stacks speak.

use crate::model::{CipherClass, TlsVersion};

/// Signals secure renegotiation (RFC 5746). Stands in every hello up to TLS 1.2: some servers refuse one without it.
pub(crate) const RENEGOTIATION_INFO: u16 = 0x00ff;
/// More suites in one hello make it large, and old servers stumble over large ones.
pub(crate) const MAX_OFFERED: usize = 90;

/// Code and name.
type Suite = (u16, &'static str);

/// TLS 1.3's suites.
const TLS13: &[Suite] = &[
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    (0x1304, "TLS_AES_128_CCM_SHA256"),
    (0x1305, "TLS_AES_128_CCM_8_SHA256"),
];

const FORWARD_SECRET_AEAD: &[Suite] = &[
    (0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xc0ac, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    (0xc0ad, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM"),
    (0xc0ae, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
    (0xc0af, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8"),
    (0xc09e, "TLS_DHE_RSA_WITH_AES_128_CCM"),
    (0xc09f, "TLS_DHE_RSA_WITH_AES_256_CCM"),
    (0xc0a2, "TLS_DHE_RSA_WITH_AES_128_CCM_8"),
    (0xc0a3, "TLS_DHE_RSA_WITH_AES_256_CCM_8"),
    (0x00a2, "TLS_DHE_DSS_WITH_AES_128_GCM_SHA256"),
    (0x00a3, "TLS_DHE_DSS_WITH_AES_256_GCM_SHA384"),
    (0xc05c, "TLS_ECDHE_ECDSA_WITH_ARIA_128_GCM_SHA256"),
    (0xc05d, "TLS_ECDHE_ECDSA_WITH_ARIA_256_GCM_SHA384"),
    (0xc060, "TLS_ECDHE_RSA_WITH_ARIA_128_GCM_SHA256"),
    (0xc061, "TLS_ECDHE_RSA_WITH_ARIA_256_GCM_SHA384"),
    (0xc086, "TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_GCM_SHA256"),
    (0xc087, "TLS_ECDHE_ECDSA_WITH_CAMELLIA_256_GCM_SHA384"),
    (0xc08a, "TLS_ECDHE_RSA_WITH_CAMELLIA_128_GCM_SHA256"),
    (0xc08b, "TLS_ECDHE_RSA_WITH_CAMELLIA_256_GCM_SHA384"),
    (0xc052, "TLS_DHE_RSA_WITH_ARIA_128_GCM_SHA256"),
    (0xc053, "TLS_DHE_RSA_WITH_ARIA_256_GCM_SHA384"),
    (0xc07c, "TLS_DHE_RSA_WITH_CAMELLIA_128_GCM_SHA256"),
    (0xc07d, "TLS_DHE_RSA_WITH_CAMELLIA_256_GCM_SHA384"),
    (0xc056, "TLS_DHE_DSS_WITH_ARIA_128_GCM_SHA256"),
    (0xc057, "TLS_DHE_DSS_WITH_ARIA_256_GCM_SHA384"),
];

const FORWARD_SECRET_CBC: &[Suite] = &[
    (0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    (0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    (0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    (0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    (0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    (0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
    (0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
    (0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
    (0x0032, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA"),
    (0x0038, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA"),
    (0x0040, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA256"),
    (0x006a, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA256"),
    (0xc048, "TLS_ECDHE_ECDSA_WITH_ARIA_128_CBC_SHA256"),
    (0xc049, "TLS_ECDHE_ECDSA_WITH_ARIA_256_CBC_SHA384"),
    (0xc04c, "TLS_ECDHE_RSA_WITH_ARIA_128_CBC_SHA256"),
    (0xc04d, "TLS_ECDHE_RSA_WITH_ARIA_256_CBC_SHA384"),
    (0xc072, "TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_CBC_SHA256"),
    (0xc073, "TLS_ECDHE_ECDSA_WITH_CAMELLIA_256_CBC_SHA384"),
    (0xc076, "TLS_ECDHE_RSA_WITH_CAMELLIA_128_CBC_SHA256"),
    (0xc077, "TLS_ECDHE_RSA_WITH_CAMELLIA_256_CBC_SHA384"),
    (0x0045, "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA"),
    (0x0088, "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA"),
    (0x009a, "TLS_DHE_RSA_WITH_SEED_CBC_SHA"),
    (0x00be, "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA256"),
    (0x00c4, "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA256"),
    (0x0044, "TLS_DHE_DSS_WITH_CAMELLIA_128_CBC_SHA"),
    (0x0087, "TLS_DHE_DSS_WITH_CAMELLIA_256_CBC_SHA"),
    (0x0099, "TLS_DHE_DSS_WITH_SEED_CBC_SHA"),
    (0x00bd, "TLS_DHE_DSS_WITH_CAMELLIA_128_CBC_SHA256"),
    (0x00c3, "TLS_DHE_DSS_WITH_CAMELLIA_256_CBC_SHA256"),
];

const STATIC_RSA: &[Suite] = &[
    (0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    (0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    (0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    (0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256"),
    (0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    (0xc09c, "TLS_RSA_WITH_AES_128_CCM"),
    (0xc09d, "TLS_RSA_WITH_AES_256_CCM"),
    (0xc0a0, "TLS_RSA_WITH_AES_128_CCM_8"),
    (0xc0a1, "TLS_RSA_WITH_AES_256_CCM_8"),
    (0x0007, "TLS_RSA_WITH_IDEA_CBC_SHA"),
    (0x0041, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA"),
    (0x0084, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA"),
    (0x0096, "TLS_RSA_WITH_SEED_CBC_SHA"),
    (0x00ba, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA256"),
    (0x00c0, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA256"),
    (0xc03c, "TLS_RSA_WITH_ARIA_128_CBC_SHA256"),
    (0xc03d, "TLS_RSA_WITH_ARIA_256_CBC_SHA384"),
    (0xc050, "TLS_RSA_WITH_ARIA_128_GCM_SHA256"),
    (0xc051, "TLS_RSA_WITH_ARIA_256_GCM_SHA384"),
    (0xc07a, "TLS_RSA_WITH_CAMELLIA_128_GCM_SHA256"),
    (0xc07b, "TLS_RSA_WITH_CAMELLIA_256_GCM_SHA384"),
];

const TRIPLE_DES: &[Suite] = &[
    (0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0xc008, "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA"),
    (0xc012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x0016, "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x0013, "TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA"),
];

const RC4_DES: &[Suite] = &[
    (0x0004, "TLS_RSA_WITH_RC4_128_MD5"),
    (0x0005, "TLS_RSA_WITH_RC4_128_SHA"),
    (0x0009, "TLS_RSA_WITH_DES_CBC_SHA"),
    (0xc007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"),
    (0xc011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA"),
    (0x0015, "TLS_DHE_RSA_WITH_DES_CBC_SHA"),
    (0x0012, "TLS_DHE_DSS_WITH_DES_CBC_SHA"),
];

const NULL_ANONYMOUS_EXPORT: &[Suite] = &[
    (0x0001, "TLS_RSA_WITH_NULL_MD5"),
    (0x0002, "TLS_RSA_WITH_NULL_SHA"),
    (0x0003, "TLS_RSA_EXPORT_WITH_RC4_40_MD5"),
    (0x0006, "TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5"),
    (0x0008, "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA"),
    (0x0017, "TLS_DH_anon_EXPORT_WITH_RC4_40_MD5"),
    (0x0018, "TLS_DH_anon_WITH_RC4_128_MD5"),
    (0x0019, "TLS_DH_anon_EXPORT_WITH_DES40_CBC_SHA"),
    (0x001a, "TLS_DH_anon_WITH_DES_CBC_SHA"),
    (0x001b, "TLS_DH_anon_WITH_3DES_EDE_CBC_SHA"),
    (0x0034, "TLS_DH_anon_WITH_AES_128_CBC_SHA"),
    (0x003a, "TLS_DH_anon_WITH_AES_256_CBC_SHA"),
    (0x003b, "TLS_RSA_WITH_NULL_SHA256"),
    (0x006c, "TLS_DH_anon_WITH_AES_128_CBC_SHA256"),
    (0x006d, "TLS_DH_anon_WITH_AES_256_CBC_SHA256"),
    (0x00a6, "TLS_DH_anon_WITH_AES_128_GCM_SHA256"),
    (0x00a7, "TLS_DH_anon_WITH_AES_256_GCM_SHA384"),
    (0xc006, "TLS_ECDHE_ECDSA_WITH_NULL_SHA"),
    (0xc010, "TLS_ECDHE_RSA_WITH_NULL_SHA"),
    (0xc015, "TLS_ECDH_anon_WITH_NULL_SHA"),
    (0xc016, "TLS_ECDH_anon_WITH_RC4_128_SHA"),
    (0xc017, "TLS_ECDH_anon_WITH_3DES_EDE_CBC_SHA"),
    (0xc018, "TLS_ECDH_anon_WITH_AES_128_CBC_SHA"),
    (0xc019, "TLS_ECDH_anon_WITH_AES_256_CBC_SHA"),
    (0x0014, "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA"),
    (0x0011, "TLS_DHE_DSS_EXPORT_WITH_DES40_CBC_SHA"),
    (0x0046, "TLS_DH_anon_WITH_CAMELLIA_128_CBC_SHA"),
    (0x0089, "TLS_DH_anon_WITH_CAMELLIA_256_CBC_SHA"),
    (0x009b, "TLS_DH_anon_WITH_SEED_CBC_SHA"),
    (0x00bf, "TLS_DH_anon_WITH_CAMELLIA_128_CBC_SHA256"),
    (0x00c5, "TLS_DH_anon_WITH_CAMELLIA_256_CBC_SHA256"),
];

/// The suites of a class.
const fn table(class: CipherClass) -> &'static [Suite] {
    match class {
        CipherClass::ForwardSecretAead => FORWARD_SECRET_AEAD,
        CipherClass::ForwardSecretCbc => FORWARD_SECRET_CBC,
        CipherClass::StaticRsa => STATIC_RSA,
        CipherClass::TripleDes => TRIPLE_DES,
        CipherClass::Rc4Des => RC4_DES,
        CipherClass::NullAnonymousExport => NULL_ANONYMOUS_EXPORT,
    }
}

/// The classes that may be asked for.
pub(crate) fn classes(include_weak: bool) -> impl Iterator<Item = CipherClass> {
    let all = <CipherClass as strum::VariantArray>::VARIANTS.iter().copied();
    all.filter(move |class| include_weak || *class != CipherClass::NullAnonymousExport)
}

/// The suites of `class` that a server may choose in `version`, which is TLS 1.2 or older.
pub(crate) fn of_class(class: CipherClass, version: TlsVersion) -> Vec<u16> {
    table(class).iter().filter(|suite| fits(suite, version)).map(|(code, _)| *code).collect()
}

/// Every suite of `version`.
pub(crate) fn of_version(version: TlsVersion, include_weak: bool) -> Vec<u16> {
    if version == TlsVersion::Tls13 {
        return TLS13.iter().map(|(code, _)| *code).collect();
    }
    classes(include_weak).flat_map(|class| of_class(class, version)).collect()
}

/// At most `most` suites of `version` out of all classes: the common ones of each, or, for the `other` list, the rare ones.
pub(crate) fn mixed(version: TlsVersion, include_weak: bool, other: bool, most: usize) -> Vec<u16> {
    let mut lists: Vec<Vec<u16>> = classes(include_weak).map(|class| of_class(class, version)).collect();
    if other {
        lists.reverse();
        for list in &mut lists {
            list.reverse();
        }
    }
    let longest = lists.iter().map(Vec::len).max().unwrap_or_default();
    let by_rank = (0..longest).flat_map(|rank| lists.iter().filter_map(move |list| list.get(rank).copied()));
    let mut chosen: Vec<u16> = by_rank.take(most).collect();
    // Strong classes before weak ones, or the other way round, as a client with a preference lists them.
    chosen.sort_by_key(|code| lists.iter().position(|list| list.contains(code)));
    chosen
}

/// The IANA name of a suite that is asked for.
pub(crate) fn name(code: u16) -> Option<&'static str> {
    let classes = classes(true).map(table);
    std::iter::once(TLS13).chain(classes).flatten().find(|(other, _)| *other == code).map(|(_, name)| *name)
}

/// Whether the suite's key exchange runs over a curve.
pub(crate) fn is_ecdhe(code: u16) -> bool {
    name(code).is_some_and(|name| name.starts_with("TLS_ECDHE_"))
}

/// AEAD and SHA-2 came with TLS 1.2 (RFC 5246), elliptic curves and hello extensions with TLS 1.0 (RFC 8422).
fn fits((_, name): &Suite, version: TlsVersion) -> bool {
    let needs_tls12 = ["_SHA256", "_SHA384", "_CCM", "_CCM_8"].iter().any(|end| name.ends_with(end));
    let needs_tls10 = name.starts_with("TLS_EC");
    version >= TlsVersion::Tls12 || (!needs_tls12 && (version >= TlsVersion::Tls10 || !needs_tls10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_suite_is_in_one_class_under_one_name() {
        let (mut codes, mut names) = (BTreeSet::new(), BTreeSet::new());
        for (code, name) in classes(true).flat_map(table).chain(TLS13) {
            assert!(codes.insert(code) && names.insert(name), "{code:04x} {name} twice");
            assert!(name.starts_with("TLS_"), "{name}");
        }
        assert_eq!(name(0xc02f), Some("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
        assert_eq!(name(RENEGOTIATION_INFO), None);
    }

    #[test]
    fn old_versions_get_no_suites_that_came_later() {
        let named = |version, class| of_class(class, version).into_iter().filter_map(name).collect::<Vec<_>>();
        assert!(named(TlsVersion::Tls11, CipherClass::ForwardSecretAead).is_empty());
        let cbc = named(TlsVersion::Tls10, CipherClass::ForwardSecretCbc);
        assert!(cbc.contains(&"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA") && !cbc.iter().any(|name| name.contains("SHA256")));
        let ssl = named(TlsVersion::Ssl30, CipherClass::TripleDes);
        assert!(ssl.contains(&"TLS_RSA_WITH_3DES_EDE_CBC_SHA") && !ssl.iter().any(|name| name.contains("ECDHE")));
    }

    #[test]
    fn the_two_lists_of_a_version_hold_every_suite_between_them() {
        for version in [TlsVersion::Ssl30, TlsVersion::Tls10, TlsVersion::Tls12] {
            let (first, other) = (mixed(version, false, false, MAX_OFFERED), mixed(version, false, true, MAX_OFFERED));
            assert!(first.len() <= MAX_OFFERED && other.len() <= MAX_OFFERED && first != other);
            let both: BTreeSet<u16> = first.into_iter().chain(other).collect();
            assert_eq!(both, of_version(version, false).into_iter().collect(), "{version}");
        }
    }
}
