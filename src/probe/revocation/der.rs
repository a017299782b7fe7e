//! DER, as much of it as OCSP and revocation lists need: bytes in, values out, and the other way round. Pure; never panics.

use x509_parser::{prelude::FromDer, time::ASN1Time};

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;

/// The tag of `[number]` around other values.
pub(super) const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// The tag of `[number]` in place of a primitive value's own.
pub(super) const fn primitive(number: u8) -> u8 {
    0x80 | number
}

/// One value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// Tag and length included.
    pub(super) whole: &'a [u8],
}

/// Reads one value after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The values inside the one sequence that `bytes` are.
    pub(super) fn sequence(bytes: &'a [u8]) -> Option<Self> {
        let mut outer = Self(bytes);
        let inner = outer.take(SEQUENCE)?;
        outer.is_empty().then_some(Self(inner))
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next value, whatever it is. Tags of more than one byte and indefinite lengths are none.
    pub(super) fn any(&mut self) -> Option<Value<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (content, after) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Some(Value { tag, content, whole })
    }

    /// The content of the next value, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.whole(tag).map(|value| value.content)
    }

    /// The next value, which must have this tag.
    pub(super) fn whole(&mut self, tag: u8) -> Option<Value<'a>> {
        self.any().filter(|value| value.tag == tag)
    }

    /// The content of the next value if it has this tag; else nothing is taken.
    pub(super) fn maybe(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let content = ahead.take(tag)?;
        *self = ahead;
        Some(content)
    }

    /// The bytes of the next value, a bit string of whole bytes.
    pub(super) fn bits(&mut self) -> Option<&'a [u8]> {
        self.take(BIT_STRING)?.strip_prefix(&[0])
    }

    /// The next value, a time of either kind, in Unix seconds.
    pub(super) fn time(&mut self) -> Option<i64> {
        let value = self.any()?;
        ASN1Time::from_der(value.whole).ok().map(|(_, time)| time.timestamp())
    }
}

/// A value of this tag.
pub(super) fn write(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|&&byte| byte == 0).count();
    let significant = &length[zeros.min(length.len() - 1)..];
    if content.len() > 0x7f {
        out.push(0x80 | u8::try_from(significant.len()).expect("a length has at most eight bytes"));
    }
    out.extend(significant);
    out.extend(content);
    out
}

/// A sequence of these values.
pub(super) fn write_sequence(values: &[&[u8]]) -> Vec<u8> {
    write(SEQUENCE, &values.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; length];
            let written = write(OCTET_STRING, &content);
            let mut reader = Reader::new(&written);
            let value = reader.any().unwrap();
            assert_eq!((value.content, value.whole), (&content[..], &written[..]), "{length}");
            assert!(reader.is_empty() && reader.any().is_none());
        }
    }

    #[test]
    fn lengths_that_lie_are_no_values() {
        for bytes in [&[0x04, 2, 1][..], &[0x04, 0x80, 0, 0], &[0x04, 0x85, 0, 0, 0, 0, 1, 1], &[0x1f, 1, 1], &[0x04]] {
            assert!(Reader::new(bytes).any().is_none(), "{bytes:?}");
        }
        let mut huge = Reader::new(&[0x04, 0x84, 0xff, 0xff, 0xff, 0xff, 1]);
        assert!(huge.any().is_none());
    }

    #[test]
    fn an_optional_value_of_another_kind_stays() {
        let mut reader = Reader::new(&[0x02, 1, 9]);
        assert_eq!(reader.maybe(SEQUENCE), None);
        assert_eq!(reader.maybe(INTEGER), Some(&[9][..]));
    }
}
