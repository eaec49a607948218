//! Deflates content for a bundle: always the same bytes for the same content, with one pinned
//! implementation and level. What is large waits in an unnamed temporary file, not in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use libdeflater::{CompressionLvl, Compressor};
use tempfile::SpooledTempFile;

use super::Method;
use zipwright_store::Digest;

/// The form of the zip and the compressor whose bytes it has. Part of every zip's key: a change
/// here makes every bundle anew.
const FORM: &str = "zipform=4;deflate=flate2-1.1.11+zlib-rs-0.6.8-9";
const FORM_SMALLEST: &str = "zipform=4,files only;deflate=libdeflate-1.26.1-8,10@256K>=40%";

const LEVEL: u32 = 9;

/// Input is passed to the compressor in full pieces of this size, for any size of reads, so that
/// the output cannot depend on how the input arrived.
const PIECE: usize = 64 * 1024;

/// Above this, packed content moves from memory to disk.
const IN_MEMORY: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Deflated if that is smaller.
    Deflate,
    /// The same by a compressor that takes longer, and the whole content in memory.
    Smallest,
    Store,
}

impl Packing {
    /// Returns everything that decides the bytes besides the content.
    pub fn form(self) -> &'static str {
        match self {
            Self::Deflate | Self::Store => FORM,
            Self::Smallest => FORM_SMALLEST,
        }
    }
}

/// Content, ready to go into a bundle.
pub struct Packed {
    pub method: Method,
    pub crc: u32,
    pub size: u64,
    pub compressed: u64,
    /// BLAKE3 of the content.
    pub digest: Digest,
    /// The bytes for the bundle, positioned at their start.
    pub data: SpooledTempFile,
}

/// Packs the content that `open` gives. Calls it a second time if deflating does not make the content
/// smaller. Large content waits in a temporary file in `folder`.
pub fn pack<R: Read>(
    open: impl Fn() -> io::Result<R>,
    packing: Packing,
    folder: &Path,
) -> io::Result<Packed> {
    if packing == Packing::Smallest {
        return pack_smallest(open, folder);
    }
    if packing == Packing::Deflate {
        let spool = tempfile::spooled_tempfile_in(IN_MEMORY, folder);
        let mut encoder = DeflateEncoder::new(spool, Compression::new(LEVEL));
        let sums = feed(open()?, &mut encoder)?;
        let data = encoder.finish()?;
        let packed = sums.into_packed(Method::Deflated, data)?;
        if packed.compressed < packed.size {
            return Ok(packed);
        }
    }
    let mut data = tempfile::spooled_tempfile_in(IN_MEMORY, folder);
    let sums = feed(open()?, &mut data)?;
    sums.into_packed(Method::Stored, data)
}

/// The levels of libdeflate for [`Packing::Smallest`].
const QUICK: i32 = 8;
const THOROUGH: i32 = 10;

/// Returns whether quickly deflated content is worth deflating thoroughly, which takes four times as
/// long. A second of that saves twice as much of large machine code as of text, which has shrunk to
/// less already, or of small files.
fn is_large_and_dense(size: usize, deflated: usize) -> bool {
    size >= 256 * 1024 && deflated >= size / 5 * 2
}

fn pack_smallest<R: Read>(open: impl Fn() -> io::Result<R>, folder: &Path) -> io::Result<Packed> {
    let mut content = Vec::new();
    let sums = feed(open()?, &mut content)?;
    let mut deflated = deflate_below(content.len(), &content, QUICK);
    if let Some(quick) = &deflated
        && is_large_and_dense(content.len(), quick.len())
        && let Some(thorough) = deflate_below(quick.len(), &content, THOROUGH)
    {
        deflated = Some(thorough);
    }
    let mut data = tempfile::spooled_tempfile_in(IN_MEMORY, folder);
    let method = if deflated.is_some() { Method::Deflated } else { Method::Stored };
    data.write_all(&deflated.unwrap_or(content))?;
    sums.into_packed(method, data)
}

/// Deflates `content`. Returns `None` if the result would not be shorter than `limit`.
fn deflate_below(limit: usize, content: &[u8], level: i32) -> Option<Vec<u8>> {
    thread_local! {
        /// Compressors are large and reusable, so each thread keeps its own.
        static COMPRESSORS: RefCell<BTreeMap<i32, Compressor>> = RefCell::default();
    }
    let mut deflated = vec![0; limit.saturating_sub(1)];
    let length = COMPRESSORS.with_borrow_mut(|compressors| {
        let compressor = compressors.entry(level).or_insert_with(|| compressor(level));
        compressor.deflate_compress(content, &mut deflated)
    });
    deflated.truncate(length.ok()?);
    Some(deflated)
}

fn compressor(level: i32) -> Compressor {
    Compressor::new(CompressionLvl::new(level).expect("BUG: libdeflate has this level"))
}

struct Sums {
    crc: u32,
    size: u64,
    digest: Digest,
}

impl Sums {
    fn into_packed(self, method: Method, mut data: SpooledTempFile) -> io::Result<Packed> {
        let Self { crc, size, digest } = self;
        let compressed = data.stream_position()?;
        data.rewind()?;
        Ok(Packed { method, crc, size, compressed, digest, data })
    }
}

/// Copies `content` into `sink` in full pieces.
fn feed(mut content: impl Read, sink: &mut impl Write) -> io::Result<Sums> {
    let (mut crc, mut digest) = (Crc::new(), blake3::Hasher::new());
    let mut piece = Vec::with_capacity(PIECE);
    let mut size = 0;
    loop {
        piece.clear();
        (&mut content).take(PIECE as u64).read_to_end(&mut piece)?;
        if piece.is_empty() {
            break;
        }
        size += piece.len() as u64;
        crc.update(&piece);
        digest.update(&piece);
        sink.write_all(&piece)?;
    }
    Ok(Sums { crc: crc.sum(), size, digest: Digest::from_bytes(*digest.finalize().as_bytes()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(buffer.len()).min(1);
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn bytes(mut packed: Packed) -> Vec<u8> {
        let mut bytes = Vec::new();
        packed.data.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, packed.compressed);
        bytes
    }

    #[test]
    fn the_bytes_do_not_depend_on_how_the_content_arrives() {
        let content: Vec<u8> = (0..300_000_u32).map(|n| (n % 977 * n % 31) as u8).collect();
        let folder = std::env::temp_dir();
        let fast = pack(|| Ok(content.as_slice()), Packing::Deflate, &folder).unwrap();
        let slow = pack(|| Ok(Slow(&content)), Packing::Deflate, &folder).unwrap();
        assert_eq!((fast.method, fast.size), (Method::Deflated, 300_000));
        assert_eq!(fast.digest, Digest::of(&content));
        assert_eq!(bytes(fast), bytes(slow));
    }

    #[test]
    fn what_deflating_does_not_make_smaller_is_stored() {
        let folder = std::env::temp_dir();
        for content in [b"".as_slice(), b"abc"] {
            let packed = pack(|| Ok(content), Packing::Deflate, &folder).unwrap();
            assert_eq!(packed.method, Method::Stored);
            assert_eq!(bytes(packed), content);
        }
        let long = [b'a'; 1000];
        let stored = pack(|| Ok(long.as_slice()), Packing::Store, &folder).unwrap();
        assert_eq!((stored.method, stored.compressed), (Method::Stored, 1000));
    }

    #[test]
    fn the_smallest_packing_inflates_to_the_content() {
        let folder = std::env::temp_dir();
        for length in [0, 1, 100, 300_000, 5_000_000] {
            let byte = |n: u32| (u64::from(n) % 977 * u64::from(n) % 31) as u8;
            let content: Vec<u8> = (0..length).map(byte).collect();
            let packed = pack(|| Ok(content.as_slice()), Packing::Smallest, &folder).unwrap();
            assert_eq!((packed.size, packed.digest), (length.into(), Digest::of(&content)));
            let method = if length > 10 { Method::Deflated } else { Method::Stored };
            assert_eq!(packed.method, method);
            let bytes = bytes(packed);
            let mut inflated = Vec::new();
            match method {
                Method::Stored => inflated = bytes,
                Method::Deflated => {
                    let mut decoder = flate2::read::DeflateDecoder::new(bytes.as_slice());
                    decoder.read_to_end(&mut inflated).unwrap();
                }
            }
            assert!(inflated == content);
        }
    }

    #[test]
    fn large_and_dense_content_is_deflated_thoroughly() {
        // Words of 4 bytes, with the given number of different ones.
        let words = |count: u32, different: u32| -> Vec<u8> {
            let mut state = 1_u32;
            let mut word = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((state >> 16) % different).wrapping_mul(2_654_435_761).to_le_bytes()
            };
            (0..count).flat_map(|_| word()).collect()
        };
        for (content, level) in [
            (words(100_000, 4096), THOROUGH),
            (words(100_000, 16), QUICK),
            (words(50_000, 4096), QUICK),
        ] {
            let packed = pack(|| Ok(content.as_slice()), Packing::Smallest, &std::env::temp_dir());
            let [quick, thorough] =
                [QUICK, THOROUGH].map(|level| deflate_below(content.len(), &content, level));
            assert!(thorough != quick);
            let expected = if level == QUICK { quick } else { thorough };
            assert!(bytes(packed.unwrap()) == expected.unwrap());
        }
    }

    #[test]
    fn the_form_names_the_compressor_that_is_linked() {
        let lock = include_str!("../../../Cargo.lock");
        let version = |name: &str| {
            let entry = format!("name = \"{name}\"\nversion = \"");
            let found: Vec<&str> = lock.split(&entry).skip(1).collect();
            assert_eq!(found.len(), 1, "{name} is linked once");
            found[0].split('"').next().unwrap()
        };
        let (flate2, zlib) = (version("flate2"), version("zlib-rs"));
        assert_eq!(FORM, format!("zipform=4;deflate=flate2-{flate2}+zlib-rs-{zlib}-{LEVEL}"));
        let libdeflate = version("libdeflate-sys");
        let deflate = format!("libdeflate-{libdeflate}-{QUICK},{THOROUGH}@256K>=40%");
        assert_eq!(FORM_SMALLEST, format!("zipform=4,files only;deflate={deflate}"));
    }
}
