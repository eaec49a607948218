//! Writes the canonical zip: one form for one content, independent of its source.
//!
//! Entries are sorted by the bytes of their names; the writer adds one entry for each folder,
//! before the first file in it; modes are 644, 755 for executables and folders; there are no extra
//! fields, comments or data descriptors, and no zip64. The zip crate's writer cannot produce this
//! form: it copies a member together with its metadata.

use std::io::{self, Read, Write};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::stream::{Sent, Stream};
use zipwright_store::Digest;

/// Zip64 begins at this many entries, and at this size. Lambda unzips neither.
const ENTRIES_LIMIT: u64 = 0xFFFF;
const SIZE_LIMIT: u64 = 0xFFFF_FFFF;

/// Unix, version 2.0 of the format: readers take the mode bits at their word.
const MADE_BY: u16 = 0x0314;
const UTF8_NAME: u16 = 1 << 11;
const FOLDER_BIT: u32 = 0x10;

const FAILED: &str = "could not write the bundle";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    Stored,
    Deflated,
}

/// The time of every entry, to two seconds, as MS-DOS counted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    date: u16,
    time: u16,
}

impl Time {
    /// 1980-02-01 00:00:00. Not the first time of the format, which some readers would show as 1979
    /// in a zone east of UTC.
    pub const CONSTANT: Self = Self { date: (2 << 5) | 1, time: 0 };

    /// Seconds since 1970-01-01T00:00:00Z, brought into the years 1980 to 2107.
    pub fn at(seconds: i64) -> Self {
        const FIRST: i64 = 315_532_800;
        const LAST: i64 = 4_354_819_198;
        let utc = Timestamp::from_second(seconds.clamp(FIRST, LAST))
            .map(|instant| jiff::tz::Offset::UTC.to_datetime(instant))
            .expect("BUG: these years are within jiff's");
        let part = |value: i8| u16::from(value.unsigned_abs());
        Self {
            date: ((utc.year() - 1980).unsigned_abs() << 9)
                | (part(utc.month()) << 5)
                | part(utc.day()),
            time: (part(utc.hour()) << 11) | (part(utc.minute()) << 5) | (part(utc.second()) / 2),
        }
    }

    /// Returns date and time in the zip format. As a pair they sort by time.
    pub fn words(self) -> (u16, u16) {
        (self.date, self.time)
    }
}

/// A file of the bundle, all but its data.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// A normalised relative path.
    pub name: &'a str,
    pub executable: bool,
    pub method: Method,
    pub crc: u32,
    pub compressed: u64,
    pub size: u64,
}

/// A finished bundle.
pub struct Written<W> {
    pub sink: W,
    pub size: u64,
    pub sha256: [u8; 32],
    /// BLAKE3 of the whole file.
    pub digest: Digest,
}

pub struct BundleWriter<W> {
    stream: Stream<W>,
    time: Time,
    /// The central directory so far: some 80 bytes for each entry.
    central: Vec<u8>,
    entries: u64,
    last: String,
    /// Whether folders get entries of their own.
    with_folders: bool,
}

/// Fields that both headers of an entry have.
struct Header<'a> {
    name: &'a str,
    method: Method,
    needed: u16,
    crc: u32,
    compressed: u32,
    size: u32,
    attributes: u32,
}

impl<W: Write> BundleWriter<W> {
    pub fn new(sink: W, time: Time) -> Self {
        Self {
            stream: Stream::new(sink),
            time,
            central: Vec::new(),
            entries: 0,
            last: String::new(),
            with_folders: true,
        }
    }

    /// Writes files only, as is the custom in wheels.
    pub fn leave_folders_out(&mut self) {
        self.with_folders = false;
    }

    /// Adds a file, whose name is greater by bytes than those before, and the folders that it is the
    /// first file in. `data` gives exactly `item.compressed` bytes. Returns the offset of these bytes
    /// in the bundle.
    pub fn add(&mut self, item: &Item, data: &mut dyn Read) -> Result<u64> {
        assert!(item.name > self.last.as_str(), "BUG: entries come sorted");
        for (at, _) in item.name.match_indices('/') {
            let folder = &item.name[..=at];
            if self.with_folders && !self.last.starts_with(folder) {
                self.header(&Header {
                    name: folder,
                    method: Method::Stored,
                    needed: 20,
                    crc: 0,
                    compressed: 0,
                    size: 0,
                    attributes: (0o040_755 << 16) | FOLDER_BIT,
                })?;
            }
        }
        self.last = item.name.to_owned();
        self.header(&Header {
            name: item.name,
            method: item.method,
            needed: if item.method == Method::Stored { 10 } else { 20 },
            crc: item.crc,
            compressed: fits(item.compressed, item.name)?,
            size: fits(item.size, item.name)?,
            attributes: (if item.executable { 0o100_755 } else { 0o100_644 }) << 16,
        })?;
        let start = self.stream.length();
        self.data(item, data)?;
        Ok(start)
    }

    /// Writes the central directory and ends the bundle.
    pub fn finish(mut self) -> Result<Written<W>> {
        let start = fits(self.stream.length(), "the central directory")?;
        let central = std::mem::take(&mut self.central);
        self.write(&central)?;
        let entries = u16::try_from(self.entries).expect("BUG: entries were counted");
        let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
        end.extend(entries.to_le_bytes());
        end.extend(entries.to_le_bytes());
        end.extend(fits(central.len() as u64, "the central directory")?.to_le_bytes());
        end.extend(start.to_le_bytes());
        end.extend([0, 0]);
        self.write(&end)?;
        let Sent { sink, length, sha256, blake3 } = self.stream.finish().context(FAILED)?;
        Ok(Written { sink, size: length, sha256, digest: blake3 })
    }

    /// Writes the local header and keeps the central one.
    fn header(&mut self, header: &Header) -> Result<()> {
        self.entries += 1;
        if self.entries >= ENTRIES_LIMIT {
            bail!(
                "the bundle has {ENTRIES_LIMIT} files and folders or more, which is more than a \
                 zip that Lambda reads can hold; leave some out with `exclude`"
            );
        }
        let offset = fits(self.stream.length(), header.name)?;
        let name_length = u16::try_from(header.name.len())
            .with_context(|| format!("the path `{}` is too long for a zip", header.name))?;
        let mut common = Vec::with_capacity(26);
        common.extend(header.needed.to_le_bytes());
        common.extend(if header.name.is_ascii() { 0 } else { UTF8_NAME }.to_le_bytes());
        common.extend((if header.method == Method::Stored { 0_u16 } else { 8 }).to_le_bytes());
        common.extend(self.time.time.to_le_bytes());
        common.extend(self.time.date.to_le_bytes());
        common.extend(header.crc.to_le_bytes());
        common.extend(header.compressed.to_le_bytes());
        common.extend(header.size.to_le_bytes());
        common.extend(name_length.to_le_bytes());
        common.extend([0, 0]);

        let name = header.name.as_bytes();
        self.write(&[b"PK\x03\x04", common.as_slice(), name].concat())?;

        self.central.extend(b"PK\x01\x02");
        self.central.extend(MADE_BY.to_le_bytes());
        self.central.extend(&common);
        // Comment length, disk number and internal attributes, two bytes each.
        self.central.extend([0; 6]);
        self.central.extend(header.attributes.to_le_bytes());
        self.central.extend(offset.to_le_bytes());
        self.central.extend(name);
        Ok(())
    }

    fn data(&mut self, item: &Item, data: &mut dyn Read) -> Result<()> {
        let failed = || format!("could not read the data of `{}`", item.name);
        let mut left = item.compressed;
        while left > 0 {
            let room = self.stream.room().context(FAILED)?;
            let wanted = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = match data.read(&mut room[..wanted]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.with_context(failed)?,
            };
            ensure!(count > 0, "the data of `{}` ended too early", item.name);
            self.stream.filled(count);
            left -= count as u64;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write(bytes).context(FAILED)
    }
}

fn fits(number: u64, what: &str) -> Result<u32> {
    if number >= SIZE_LIMIT {
        bail!("the bundle exceeds 4 GiB at `{what}`, more than Lambda can unzip");
    }
    Ok(u32::try_from(number).expect("BUG: it was compared"))
}
