//! A response body, read within bounds: counted, decompressed as configured, and kept only when something will look at it.

use crate::model::Compression;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use std::{
    fmt,
    io::{self, Write},
};
use tokio::task::yield_now;

/// Most bytes kept for matchers where the module sets no `body_size_limit`.
const MAX_KEPT: u64 = 16 * 1024 * 1024;
/// Compressed bytes handed to a decoder at once, so that they cannot grow by much before limit and deadline are looked at.
const STEP: usize = 4 * 1024;
/// The same for brotli, which says "16 MiB of this" in a few bytes.
const BROTLI_STEP: usize = 16;
/// Decompressed bytes after which others get their turn, the deadline among them.
const BREATH: u64 = 1024 * 1024;
/// The window of a brotli decoder's own buffer.
const BROTLI_BUFFER: usize = 4 * 1024;

/// Why a body was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::probe) enum BodyFault {
    /// It is larger than this many bytes.
    TooLarge(u64),
    /// It is not what its compression says.
    Undecodable,
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(f, "the body is larger than {limit} bytes"),
            Self::Undecodable => f.write_str("the body is not in the configured compression"),
        }
    }
}

impl std::error::Error for BodyFault {}

/// Takes a body in chunks.
pub(in crate::probe) struct BodyReader {
    decoder: Decoder,
}

impl BodyReader {
    /// A reader for a body in `compression` of at most `limit` bytes (after decompression), which keeps the bytes only if
    /// `keep`.
    pub(in crate::probe) fn new(compression: Option<Compression>, limit: Option<u64>, keep: bool) -> Self {
        let limit = limit.unwrap_or(if keep { MAX_KEPT } else { u64::MAX });
        let sink = Sink { length: 0, limit, kept: keep.then(Vec::new) };
        let decoder = match compression {
            None | Some(Compression::Identity) => Decoder::Plain(sink),
            Some(Compression::Gzip) => Decoder::Gzip(MultiGzDecoder::new(sink)),
            Some(Compression::Deflate) => Decoder::Undecided(Vec::new(), sink),
            Some(Compression::Br) => Decoder::Brotli(Box::new(brotli::DecompressorWriter::new(sink, BROTLI_BUFFER))),
        };
        Self { decoder }
    }

    /// Takes the next chunk. Pauses on the way, however little of it becomes however much: the probe can be cut off then.
    pub(super) async fn push(&mut self, chunk: &[u8]) -> Result<(), BodyFault> {
        let mut rested = self.length();
        for step in chunk.chunks(self.decoder.step()) {
            self.decoder.write(step).map_err(|error| fault(&error))?;
            if self.length() - rested > BREATH {
                rested = self.length();
                yield_now().await;
            }
        }
        Ok(())
    }

    /// Says that no more comes.
    pub(super) fn finish(&mut self) -> Result<(), BodyFault> {
        self.decoder.finish().map_err(|error| fault(&error))
    }

    /// Bytes after decompression, so far.
    pub(in crate::probe) fn length(&self) -> u64 {
        self.decoder.sink().length
    }

    /// The kept bytes.
    pub(in crate::probe) fn bytes(&self) -> &[u8] {
        self.decoder.sink().kept.as_deref().unwrap_or_default()
    }
}

fn fault(error: &io::Error) -> BodyFault {
    error.get_ref().and_then(|inner| inner.downcast_ref::<BodyFault>()).copied().unwrap_or(BodyFault::Undecodable)
}

/// Where decompressed bytes end up.
struct Sink {
    length: u64,
    limit: u64,
    kept: Option<Vec<u8>>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length += bytes.len() as u64;
        if self.length > self.limit {
            return Err(io::Error::other(BodyFault::TooLarge(self.limit)));
        }
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Decoder {
    Plain(Sink),
    Gzip(MultiGzDecoder<Sink>),
    /// `deflate` means zlib (RFC 9110 section 8.4.1.2), but bare deflate is met, and is what blackbox expects: the first
    /// two bytes tell.
    Undecided(Vec<u8>, Sink),
    Zlib(ZlibDecoder<Sink>),
    Deflate(DeflateDecoder<Sink>),
    Brotli(Box<brotli::DecompressorWriter<Sink>>),
}

impl Decoder {
    fn step(&self) -> usize {
        if matches!(self, Self::Brotli(_)) { BROTLI_STEP } else { STEP }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(sink) => sink.write_all(bytes),
            Self::Gzip(decoder) => decoder.write_all(bytes).and_then(|()| decoder.flush()),
            Self::Zlib(decoder) => decoder.write_all(bytes).and_then(|()| decoder.flush()),
            Self::Deflate(decoder) => decoder.write_all(bytes).and_then(|()| decoder.flush()),
            Self::Brotli(decoder) => decoder.write_all(bytes),
            Self::Undecided(start, _) => {
                start.extend_from_slice(bytes);
                if start.len() < 2 { Ok(()) } else { self.decide() }
            }
        }
    }

    fn decide(&mut self) -> io::Result<()> {
        let Self::Undecided(start, sink) = self else { return Ok(()) };
        let start = std::mem::take(start);
        let sink = Sink { length: sink.length, limit: sink.limit, kept: sink.kept.take() };
        let header = u16::from_be_bytes([start[0], start[1]]);
        // RFC 1950 section 2.2: method 8, and a check over both bytes.
        let zlib = start[0] & 0x0f == 8 && header % 31 == 0;
        *self = if zlib { Self::Zlib(ZlibDecoder::new(sink)) } else { Self::Deflate(DeflateDecoder::new(sink)) };
        self.write(&start)
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Zlib(decoder) => decoder.try_finish(),
            Self::Deflate(decoder) => decoder.try_finish(),
            Self::Brotli(decoder) => decoder.close(),
            Self::Undecided(..) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn sink(&self) -> &Sink {
        match self {
            Self::Plain(sink) | Self::Undecided(_, sink) => sink,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zlib(decoder) => decoder.get_ref(),
            Self::Deflate(decoder) => decoder.get_ref(),
            Self::Brotli(decoder) => decoder.get_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{
        Compression as Level,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };
    use futures_util::FutureExt;

    fn packed(compression: &str, plain: &[u8]) -> Vec<u8> {
        match compression {
            "gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            "zlib" => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Level::fast());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Level::fast());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            "br" => {
                let mut out = Vec::new();
                let params = brotli::enc::BrotliEncoderParams { quality: 3, ..Default::default() };
                brotli::BrotliCompress(&mut &plain[..], &mut out, &params).unwrap();
                out
            }
            _ => plain.to_vec(),
        }
    }

    async fn read(reader: &mut BodyReader, bytes: &[u8], step: usize) -> Result<(), BodyFault> {
        for chunk in bytes.chunks(step) {
            reader.push(chunk).await?;
        }
        reader.finish()
    }

    const FORMS: [(&str, Compression); 5] = [
        ("gzip", Compression::Gzip),
        ("zlib", Compression::Deflate),
        ("deflate", Compression::Deflate),
        ("br", Compression::Br),
        ("identity", Compression::Identity),
    ];

    #[tokio::test]
    async fn every_compression_is_undone_whatever_the_chunks() {
        let plain = b"edge ".repeat(10_000);
        for (form, compression) in FORMS {
            for step in [1, 7, 100_000] {
                let mut reader = BodyReader::new(Some(compression), None, true);
                read(&mut reader, &packed(form, &plain), step).await.unwrap();
                assert_eq!(reader.bytes(), plain, "{form} in steps of {step}");
                assert_eq!(reader.length(), plain.len() as u64);
            }
        }
    }

    #[tokio::test]
    async fn the_limit_counts_decompressed_bytes_and_stops_a_bomb() {
        let bomb = vec![0; 8 * 1024 * 1024];
        for (form, compression) in FORMS {
            let packed = packed(form, &bomb);
            let mut reader = BodyReader::new(Some(compression), Some(1000), true);
            assert_eq!(read(&mut reader, &packed, 64 * 1024).await, Err(BodyFault::TooLarge(1000)), "{form}");
            assert!(reader.bytes().len() <= 1000, "{form}");
            let mut exact = BodyReader::new(Some(compression), Some(bomb.len() as u64), false);
            assert_eq!(read(&mut exact, &packed, 64 * 1024).await, Ok(()), "{form}");
            assert!(exact.bytes().is_empty());
        }
    }

    /// The deadline is looked at only while the reader pauses.
    #[test]
    fn a_bomb_is_not_defused_in_one_go() {
        let bomb = vec![0; 8 * 1024 * 1024];
        for (form, compression) in &FORMS[..4] {
            let mut reader = BodyReader::new(Some(*compression), None, false);
            assert!(reader.push(&packed(form, &bomb)).now_or_never().is_none(), "{form}");
        }
    }

    #[tokio::test]
    async fn what_is_not_compressed_as_said_or_ends_early_is_undecodable() {
        for (form, compression) in &FORMS[..4] {
            let mut junk = BodyReader::new(Some(*compression), None, false);
            assert_eq!(
                read(&mut junk, b"\xff\xfe<html>not packed</html>", 4).await,
                Err(BodyFault::Undecodable),
                "{form}"
            );
            let packed = packed(form, &b"edge ".repeat(100));
            let mut cut = BodyReader::new(Some(*compression), None, false);
            assert_eq!(read(&mut cut, &packed[..packed.len() - 3], 4).await, Err(BodyFault::Undecodable), "{form}");
        }
    }
}
