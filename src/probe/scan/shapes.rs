//! Which hello asks which question: two shapes of each, because what a server dislikes about one it may like in the other.
//!
//! Knows neither connections nor replies. Random numbers and key shares only have to look right: nobody computes with them.

use super::{hello::Hello, suites};
use crate::model::{CipherClass, TlsGroup, TlsVersion};
use strum::VariantArray;

/// Suites of the control hello, about as many as a browser's.
const CONTROL_SUITES: usize = 24;
/// The curves of a hello up to TLS 1.2.
const CURVES: [TlsGroup; 5] =
    [TlsGroup::X25519, TlsGroup::Secp256r1, TlsGroup::Secp384r1, TlsGroup::Secp521r1, TlsGroup::X448];

/// The base point of each curve, uncompressed: a valid public key that costs nothing.
const P256: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                    4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
const P384: &str = "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7\
                    3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f";
const P521: &str = "0400c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ff\
                    a8de3348b3c1856a429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd1727\
                    3e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650";

/// The first hello of a question, or the one that is sent when its reply leaves doubt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    First,
    Second,
}

/// What is the same in every hello of a scan.
#[derive(Clone, Debug)]
pub(crate) struct Shapes {
    /// The SNI, unless the target is an address.
    pub(crate) server_name: Option<String>,
    /// Whether suites without encryption or authentication may be offered.
    pub(crate) include_weak: bool,
}

impl Shapes {
    /// A hello that every TLS server since 1.2 should answer: like a browser's, but small. The second shape has no TLS 1.3,
    /// which some old servers choke on, and no ALPN.
    pub(crate) fn control(&self, shape: Shape) -> Hello<'_> {
        match shape {
            Shape::First => Hello {
                versions: &[TlsVersion::Tls13, TlsVersion::Tls12],
                suites: with_tls13(suites::mixed(TlsVersion::Tls12, false, false, CONTROL_SUITES)),
                groups: all_groups(),
                shares: Some(vec![key_share(TlsGroup::X25519)]),
                alpn: true,
                ..self.hello(TlsVersion::Tls13, Shape::Second)
            },
            Shape::Second => Hello {
                suites: suites::mixed(TlsVersion::Tls12, false, false, CONTROL_SUITES),
                ..self.hello(TlsVersion::Tls12, Shape::First)
            },
        }
    }

    /// Whether `version` is offered.
    pub(crate) fn version(&self, version: TlsVersion, shape: Shape) -> Hello<'_> {
        let second = shape == Shape::Second;
        match version {
            TlsVersion::Tls13 if second => Hello {
                suites: with_tls13(suites::mixed(TlsVersion::Tls12, false, false, CONTROL_SUITES)),
                shares: Some(vec![key_share(TlsGroup::X25519), key_share(TlsGroup::Secp256r1)]),
                ..self.modern(all_groups())
            },
            TlsVersion::Tls13 => self.modern(all_groups()),
            _ => Hello {
                suites: suites::mixed(version, self.include_weak, second, suites::MAX_OFFERED),
                alpn: version == TlsVersion::Tls12 && !second,
                ..self.hello(version, shape)
            },
        }
    }

    /// Whether any of `offered` is accepted in `version`, which is TLS 1.2 or older.
    pub(crate) fn suites(&self, version: TlsVersion, offered: Vec<u16>, shape: Shape) -> Hello<'_> {
        // The groups of TLS 1.2 and older serve ECDHE; the signatures do no harm to older versions here.
        Hello { suites: offered, signatures: true, ..self.hello(version, shape) }
    }

    /// Whether any of TLS 1.3's suites in `offered` is accepted.
    pub(crate) fn suites13(&self, offered: Vec<u16>) -> Hello<'_> {
        Hello { suites: offered, ..self.modern(all_groups()) }
    }

    /// Whether `group` is accepted in TLS 1.3: first without a key share of it, which a server then asks for, then with one.
    pub(crate) fn group(&self, group: TlsGroup, shape: Shape) -> Hello<'_> {
        let shares = if shape == Shape::Second { vec![key_share(group)] } else { Vec::new() };
        Hello { shares: Some(shares), ..self.modern(vec![code(group)]) }
    }

    /// Whether `group` is accepted up to TLS 1.2. `own` is the curve of the server's certificate, without which it could not
    /// use it. The second shape leaves RSA key exchange as a way out.
    pub(crate) fn curve(&self, version: TlsVersion, groups: (TlsGroup, Option<TlsGroup>), shape: Shape) -> Hello<'_> {
        let forward = [CipherClass::ForwardSecretAead, CipherClass::ForwardSecretCbc];
        let ecdhe = forward.into_iter().flat_map(|class| suites::of_class(class, version));
        let mut offered: Vec<u16> = ecdhe.filter(|suite| suites::is_ecdhe(*suite)).collect();
        if shape == Shape::Second {
            offered.extend(suites::of_class(CipherClass::StaticRsa, version));
        }
        let (asked, own) = groups;
        let own = own.filter(|own| *own != asked);
        let groups = std::iter::once(asked).chain(own).map(code).collect();
        Hello { groups, ..self.suites(version, offered, shape) }
    }

    /// A hello that does not fit into one packet, by the key share of a post-quantum group.
    pub(crate) fn big(&self) -> Hello<'_> {
        let shares = [TlsGroup::X25519MLKEM768, TlsGroup::X25519].map(key_share).to_vec();
        Hello { shares: Some(shares), ..self.control(Shape::First) }
    }

    /// A hello of `length` that is large by padding alone.
    pub(crate) fn padded(&self, length: usize) -> Hello<'_> {
        Hello { least: length, ..self.control(Shape::First) }
    }

    /// TLS 1.3 alone, with no key share.
    fn modern(&self, groups: Vec<u16>) -> Hello<'_> {
        Hello {
            versions: &[TlsVersion::Tls13],
            suites: suites::of_version(TlsVersion::Tls13, false),
            groups,
            shares: Some(Vec::new()),
            // A session id is what middleboxes take for TLS 1.2's resumption (RFC 8446 appendix D.4).
            ..self.hello(TlsVersion::Tls13, Shape::Second)
        }
    }

    /// What a hello of `version` has in common with others. The second shape has a session id, which some old servers want,
    /// and signature algorithms, which some want in every version.
    fn hello(&self, version: TlsVersion, shape: Shape) -> Hello<'_> {
        let second = shape == Shape::Second;
        Hello {
            version,
            versions: &[],
            server_name: self.server_name.as_deref(),
            suites: Vec::new(),
            groups: CURVES.map(code).to_vec(),
            shares: None,
            signatures: second || version >= TlsVersion::Tls12,
            alpn: false,
            random: noise(),
            session_id: second.then(noise),
            least: 0,
        }
    }
}

/// The group's number in the IANA TLS Supported Groups registry.
pub(crate) fn code(group: TlsGroup) -> u16 {
    match group {
        TlsGroup::X25519MLKEM768 => 0x11ec,
        TlsGroup::SecP256r1MLKEM768 => 0x11eb,
        TlsGroup::SecP384r1MLKEM1024 => 0x11ed,
        TlsGroup::X25519 => 0x001d,
        TlsGroup::Secp256r1 => 0x0017,
        TlsGroup::Secp384r1 => 0x0018,
        TlsGroup::Secp521r1 => 0x0019,
        TlsGroup::X448 => 0x001e,
    }
}

/// Every group, the usual one first: a server without preferences takes what it knows.
fn all_groups() -> Vec<u16> {
    let rest = TlsGroup::VARIANTS.iter().filter(|group| **group != TlsGroup::X25519);
    std::iter::once(&TlsGroup::X25519).chain(rest).map(|group| code(*group)).collect()
}

fn with_tls13(suites: Vec<u16>) -> Vec<u16> {
    suites::of_version(TlsVersion::Tls13, false).into_iter().chain(suites).collect()
}

fn key_share(group: TlsGroup) -> (u16, Vec<u8>) {
    (code(group), share(group))
}

/// What a server takes for a public key of the group (RFC 8446 section 4.2.8.2).
fn share(group: TlsGroup) -> Vec<u8> {
    match group {
        TlsGroup::X25519MLKEM768 => [ml_kem(768), share(TlsGroup::X25519)].concat(),
        TlsGroup::SecP256r1MLKEM768 => [share(TlsGroup::Secp256r1), ml_kem(768)].concat(),
        TlsGroup::SecP384r1MLKEM1024 => [share(TlsGroup::Secp384r1), ml_kem(1024)].concat(),
        TlsGroup::X25519 => random(32),
        TlsGroup::X448 => random(56),
        TlsGroup::Secp256r1 => bytes(P256),
        TlsGroup::Secp384r1 => bytes(P384),
        TlsGroup::Secp521r1 => bytes(P521),
    }
}

/// An ML-KEM key of this many coefficients: each below 3329, in 12 bits, then a seed (FIPS 203 section 7.2).
fn ml_kem(coefficients: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(coefficients / 2 * 3 + 32);
    for _ in 0..coefficients / 2 {
        let [a, b] = [fastrand::u32(..3329), fastrand::u32(..3329)];
        key.extend(&(a | b << 12).to_le_bytes()[..3]);
    }
    key.extend(noise());
    key
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::fill(&mut bytes);
    bytes
}

fn noise() -> [u8; 32] {
    let mut bytes = [0; 32];
    fastrand::fill(&mut bytes);
    bytes
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok()).expect("a constant in hex");
    hex.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes() -> Shapes {
        Shapes { server_name: Some("www.example.com".into()), include_weak: false }
    }

    #[test]
    fn shares_have_the_lengths_of_their_groups() {
        for (group, length) in [
            (TlsGroup::X25519, 32),
            (TlsGroup::Secp256r1, 65),
            (TlsGroup::Secp384r1, 97),
            (TlsGroup::Secp521r1, 133),
            (TlsGroup::X448, 56),
            (TlsGroup::X25519MLKEM768, 1216),
            (TlsGroup::SecP256r1MLKEM768, 1249),
            (TlsGroup::SecP384r1MLKEM1024, 1665),
        ] {
            assert_eq!(share(group).len(), length, "{group}");
        }
        let key = ml_kem(768);
        for packed in key[..1152].chunks_exact(3) {
            let both = u32::from_le_bytes([packed[0], packed[1], packed[2], 0]);
            assert!(both & 0xfff < 3329 && both >> 12 < 3329);
        }
    }

    #[test]
    fn one_version_per_hello_and_two_shapes_of_each() {
        for &version in TlsVersion::VARIANTS {
            let (shapes, modern) = (shapes(), version == TlsVersion::Tls13);
            let [first, second] = [Shape::First, Shape::Second].map(|shape| shapes.version(version, shape));
            for hello in [&first, &second] {
                assert_eq!(hello.version, version);
                assert_eq!(hello.versions, if modern { &[TlsVersion::Tls13][..] } else { &[] });
                assert!(hello.session_id.is_some() == (modern || hello.signatures && !hello.alpn));
                assert!(hello.write().len() < 1200, "{version}: fits into one packet");
            }
            assert_ne!(first.suites, second.suites, "{version}");
            assert!(second.session_id.is_some(), "{version}");
        }
    }

    #[test]
    fn a_group_is_asked_for_alone() {
        let shapes = shapes();
        for &group in TlsGroup::VARIANTS {
            let (first, second) = (shapes.group(group, Shape::First), shapes.group(group, Shape::Second));
            assert_eq!((&first.groups, first.shares.as_deref()), (&vec![code(group)], Some(&[][..])));
            assert_eq!(second.shares.unwrap()[0].0, code(group));
        }
        let own = Some(TlsGroup::Secp256r1);
        let hello = shapes.curve(TlsVersion::Tls12, (TlsGroup::Secp384r1, own), Shape::First);
        assert_eq!(hello.groups, [0x0018, 0x0017]);
        assert!(hello.suites.iter().all(|suite| suites::is_ecdhe(*suite)));
        let alone = shapes.curve(TlsVersion::Tls12, (TlsGroup::Secp256r1, own), Shape::Second);
        assert_eq!(alone.groups, [0x0017]);
        assert!(alone.suites.contains(&0x002f));
    }

    #[test]
    fn big_hellos_are_larger_than_a_packet_and_equally_large() {
        let shapes = shapes();
        let big = shapes.big().write();
        assert!(big.len() > 1500);
        assert_eq!(shapes.padded(big.len() - 5).write().len(), big.len());
        assert!(shapes.control(Shape::First).write().len() < 600);
    }
}
