//! Writes a `ClientHello`: in goes what to offer, out come the bytes of its record. Pure; no key is ever made.
//!
//! Layout: RFC 8446 section 4.1.2, for older versions RFC 5246 section 7.4.1.2 and RFC 6101 section 5.6.1.2.

use super::suites::RENEGOTIATION_INFO;
use crate::model::TlsVersion;

/// Record type and handshake type.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Old load balancers hang on a hello of these lengths (RFC 7685 section 1).
const TROUBLE: std::ops::Range<usize> = 256..512;

const SERVER_NAME: u16 = 0;
const STATUS_REQUEST: u16 = 5;
const SUPPORTED_GROUPS: u16 = 10;
const EC_POINT_FORMATS: u16 = 11;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const PADDING: u16 = 21;
const EXTENDED_MASTER_SECRET: u16 = 23;
const SESSION_TICKET: u16 = 35;
const SUPPORTED_VERSIONS: u16 = 43;
const PSK_KEY_EXCHANGE_MODES: u16 = 45;
const KEY_SHARE: u16 = 51;

/// ECDSA, RSA-PSS, PKCS#1, Edwards curves, then SHA-1 for old servers and ML-DSA for new ones.
const SIGNATURES: [u16; 17] = [
    0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0807, 0x0808, 0x0809, 0x0201, 0x0203,
    0x0904, 0x0905, 0x0906,
];

/// What a hello offers.
#[derive(Clone, Debug)]
pub(crate) struct Hello<'a> {
    /// The newest version; with [`Hello::versions`], the oldest field that says so stays at TLS 1.2.
    pub(crate) version: TlsVersion,
    /// The `supported_versions` extension; empty leaves it out.
    pub(crate) versions: &'a [TlsVersion],
    /// The SNI.
    pub(crate) server_name: Option<&'a str>,
    /// Cipher suites, without the renegotiation signal, which is added up to TLS 1.2.
    pub(crate) suites: Vec<u16>,
    /// Groups in order of preference.
    pub(crate) groups: Vec<u16>,
    /// The `key_share` extension, which may be empty; `None` leaves it out.
    pub(crate) shares: Option<Vec<(u16, Vec<u8>)>>,
    /// Whether `signature_algorithms` is there.
    pub(crate) signatures: bool,
    /// Whether h2 and http/1.1 are offered by ALPN.
    pub(crate) alpn: bool,
    /// The client's random number.
    pub(crate) random: [u8; 32],
    /// The session id; `None` is the empty one.
    pub(crate) session_id: Option<[u8; 32]>,
    /// The least length of the handshake message, reached by padding.
    pub(crate) least: usize,
}

/// The wire's number of a version.
pub(crate) fn number(version: TlsVersion) -> u16 {
    match version {
        TlsVersion::Ssl30 => 0x0300,
        TlsVersion::Tls10 => 0x0301,
        TlsVersion::Tls11 => 0x0302,
        TlsVersion::Tls12 => 0x0303,
        TlsVersion::Tls13 => 0x0304,
    }
}

impl Hello<'_> {
    /// The record that holds the whole hello.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut body = self.before_extensions();
        if self.version > TlsVersion::Ssl30 {
            let extensions = self.extensions();
            let padding = self.padding(4 + body.len() + 2 + extensions.len());
            put_list16(&mut body, &[extensions, padding].concat());
        }
        let mut message = vec![CLIENT_HELLO, 0];
        put_list16(&mut message, &body);
        let mut record = vec![HANDSHAKE];
        // The first record of a client speaks TLS 1.0, whatever it offers: some servers want it so.
        put16(&mut record, number(self.version).min(0x0301));
        put_list16(&mut record, &message);
        record
    }

    fn before_extensions(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(512);
        put16(&mut body, number(self.version).min(0x0303));
        body.extend(self.random);
        put_list8(&mut body, self.session_id.as_ref().map_or(&[], |id| id));
        let mut suites = list_of(&self.suites);
        if self.versions.is_empty() || self.versions.iter().any(|version| *version < TlsVersion::Tls13) {
            put16(&mut suites, RENEGOTIATION_INFO);
        }
        put_list16(&mut body, &suites);
        put_list8(&mut body, &[0]);
        body
    }

    /// The extensions; the last is never empty, which some old servers cannot read.
    fn extensions(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(512);
        if let Some(name) = self.server_name {
            let mut entry = vec![0];
            put_list16(&mut entry, name.as_bytes());
            extension(&mut all, SERVER_NAME, &in_list16(&entry));
        }
        if self.version >= TlsVersion::Tls12 {
            extension(&mut all, EXTENDED_MASTER_SECRET, &[]);
            extension(&mut all, STATUS_REQUEST, &[1, 0, 0, 0, 0]);
        }
        extension(&mut all, SESSION_TICKET, &[]);
        if self.alpn {
            extension(&mut all, ALPN, &in_list16(b"\x02h2\x08http/1.1"));
        }
        if self.signatures {
            extension(&mut all, SIGNATURE_ALGORITHMS, &in_list16(&list_of(&SIGNATURES)));
        }
        if !self.versions.is_empty() {
            let numbers: Vec<u16> = self.versions.iter().map(|version| number(*version)).collect();
            extension(&mut all, SUPPORTED_VERSIONS, &in_list8(&list_of(&numbers)));
            extension(&mut all, PSK_KEY_EXCHANGE_MODES, &[1, 1]);
        }
        if let Some(shares) = &self.shares {
            let mut list = Vec::new();
            for (group, share) in shares {
                put16(&mut list, *group);
                put_list16(&mut list, share);
            }
            extension(&mut all, KEY_SHARE, &in_list16(&list));
        }
        if !self.groups.is_empty() {
            extension(&mut all, SUPPORTED_GROUPS, &in_list16(&list_of(&self.groups)));
        }
        extension(&mut all, EC_POINT_FORMATS, &[1, 0]);
        all
    }

    /// The padding extension (RFC 7685) for a hello that is `length` long without it, if it needs one.
    fn padding(&self, length: usize) -> Vec<u8> {
        let wanted = if TROUBLE.contains(&length) { TROUBLE.end } else { 0 }.max(self.least);
        let mut padding = Vec::new();
        if wanted > length {
            let zeros = wanted.saturating_sub(length + 4).max(1);
            extension(&mut padding, PADDING, &vec![0; zeros]);
        }
        padding
    }
}

fn extension(all: &mut Vec<u8>, kind: u16, content: &[u8]) {
    put16(all, kind);
    put_list16(all, content);
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend(value.to_be_bytes());
}

fn list_of(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn put_list8(out: &mut Vec<u8>, content: &[u8]) {
    out.push(u8::try_from(content.len()).expect("lists of a hello are made here, and short"));
    out.extend(content);
}

fn put_list16(out: &mut Vec<u8>, content: &[u8]) {
    put16(out, u16::try_from(content.len()).expect("a hello is far shorter than a record may be"));
    out.extend(content);
}

fn in_list8(content: &[u8]) -> Vec<u8> {
    let mut list = Vec::with_capacity(content.len() + 1);
    put_list8(&mut list, content);
    list
}

fn in_list16(content: &[u8]) -> Vec<u8> {
    let mut list = Vec::with_capacity(content.len() + 2);
    put_list16(&mut list, content);
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version: TlsVersion) -> Hello<'static> {
        Hello {
            version,
            versions: &[],
            server_name: Some("www.example.com"),
            suites: vec![0xc02f, 0x002f],
            groups: vec![0x001d, 0x0017],
            shares: None,
            signatures: true,
            alpn: false,
            random: [7; 32],
            session_id: None,
            least: 0,
        }
    }

    /// Takes `n` bytes off the front.
    fn take<'a>(rest: &mut &'a [u8], n: usize) -> &'a [u8] {
        let (head, tail) = rest.split_at(n);
        *rest = tail;
        head
    }

    fn length(bytes: &[u8]) -> usize {
        bytes.iter().fold(0, |all, byte| all << 8 | usize::from(*byte))
    }

    /// A list behind a length of `prefix` bytes.
    fn list<'a>(rest: &mut &'a [u8], prefix: usize) -> &'a [u8] {
        let n = length(take(rest, prefix));
        take(rest, n)
    }

    /// Kind and content.
    type Extension = (u16, Vec<u8>);

    /// Record version, hello version, session id, suites and extensions, every length checked.
    fn parse(bytes: &[u8]) -> (u16, u16, Vec<u8>, Vec<u16>, Vec<Extension>) {
        let mut rest = bytes;
        assert_eq!(take(&mut rest, 1), [22]);
        let record = u16::try_from(length(take(&mut rest, 2))).unwrap();
        let mut message = list(&mut rest, 2);
        assert!(rest.is_empty());
        assert_eq!(take(&mut message, 1), [1]);
        let mut body = list(&mut message, 3);
        assert!(message.is_empty());
        let version = u16::try_from(length(take(&mut body, 2))).unwrap();
        assert_eq!(take(&mut body, 32), [7; 32]);
        let session = list(&mut body, 1).to_vec();
        let suites = list(&mut body, 2).chunks(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect();
        assert_eq!(list(&mut body, 1), [0]);
        let mut extensions = Vec::new();
        if !body.is_empty() {
            let mut all = list(&mut body, 2);
            while !all.is_empty() {
                let kind = u16::try_from(length(take(&mut all, 2))).unwrap();
                extensions.push((kind, list(&mut all, 2).to_vec()));
            }
        }
        assert!(body.is_empty());
        (record, version, session, suites, extensions)
    }

    #[test]
    fn every_version_is_written_in_its_own_way() {
        for (version, record_says, hello_says) in [
            (TlsVersion::Ssl30, 0x0300, 0x0300),
            (TlsVersion::Tls10, 0x0301, 0x0301),
            (TlsVersion::Tls11, 0x0301, 0x0302),
            (TlsVersion::Tls12, 0x0301, 0x0303),
            (TlsVersion::Tls13, 0x0301, 0x0303),
        ] {
            let versions: &[TlsVersion] = if version == TlsVersion::Tls13 { &[TlsVersion::Tls13] } else { &[] };
            let (record, legacy, session, suites, extensions) =
                parse(&Hello { versions, session_id: Some([9; 32]), ..hello(version) }.write());
            assert_eq!((record, legacy), (record_says, hello_says), "{version}");
            assert_eq!(session, [9; 32]);
            let signal = suites.last() == Some(&RENEGOTIATION_INFO);
            assert_eq!(signal, version < TlsVersion::Tls13, "{version}");
            assert_eq!(extensions.is_empty(), version == TlsVersion::Ssl30, "{version}");
            assert!(extensions.last().is_none_or(|(_, content)| !content.is_empty()), "{version}");
            let asks = extensions.iter().find(|(kind, _)| *kind == SUPPORTED_VERSIONS).map(|(_, content)| &content[..]);
            assert_eq!(asks, (version == TlsVersion::Tls13).then_some(&[2, 3, 4][..]), "{version}");
        }
    }

    #[test]
    fn extensions_say_what_was_asked() {
        let shares = Some(vec![(0x001d, vec![5; 32])]);
        let (.., extensions) = parse(&Hello { shares, alpn: true, ..hello(TlsVersion::Tls12) }.write());
        let content = |kind| &extensions.iter().find(|(k, _)| *k == kind).unwrap().1[..];
        assert_eq!(content(SERVER_NAME), b"\x00\x12\x00\x00\x0fwww.example.com");
        assert_eq!(content(SUPPORTED_GROUPS), [0, 4, 0, 0x1d, 0, 0x17]);
        assert_eq!(&content(KEY_SHARE)[..6], [0, 36, 0, 0x1d, 0, 32]);
        assert_eq!(content(ALPN), b"\x00\x0c\x02h2\x08http/1.1");
        assert_eq!(content(SIGNATURE_ALGORITHMS).len(), 2 + 2 * SIGNATURES.len());
        let (.., extensions) = parse(&Hello { shares: Some(Vec::new()), ..hello(TlsVersion::Tls12) }.write());
        assert!(extensions.contains(&(KEY_SHARE, vec![0, 0])));
        let (.., extensions) = parse(&Hello { server_name: None, ..hello(TlsVersion::Tls12) }.write());
        assert!(extensions.iter().all(|(kind, _)| *kind != SERVER_NAME));
    }

    #[test]
    fn no_hello_has_a_length_that_old_servers_hang_on() {
        for count in 1..200 {
            let suites = (0..count).collect();
            let message = Hello { suites, ..hello(TlsVersion::Tls12) }.write().len() - 5;
            assert!(!TROUBLE.contains(&message), "{count} suites: {message}");
        }
        let large = Hello { least: 1800, ..hello(TlsVersion::Tls12) }.write();
        assert_eq!(large.len() - 5, 1800);
        parse(&large);
    }
}
