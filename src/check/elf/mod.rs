//! ELF objects, as far as the dynamic linker's first look: machine, what is needed, and which
//! versions of it. Reads untrusted bytes: every offset is checked, and rubbish is an error.

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

/// What an object says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elf {
    pub(super) machine: Machine,
    /// Whether something loads it as it is: a shared library or a program, not a `.o`.
    pub(super) loadable: bool,
    /// Empty for objects of other machines than ours.
    pub(super) needed: Vec<String>,
    pub(super) soname: Option<String>,
    pub(super) versions: Vec<Need>,
}

/// A version of a library that must be there when the object is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) library: String,
    /// `GLIBC_2.17`
    pub(super) version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    X86_64,
    Aarch64,
    I386,
    Arm,
    Other(u16),
}

pub(super) const MAGIC: &[u8] = b"\x7fELF";

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;
const DT_VERNEED: u64 = 0x6fff_fffe;
/// The linker goes on when such a version is missing.
const WEAK: u16 = 2;
/// No object comes near these; a list that goes in circles ends here.
const MOST_SEGMENTS: usize = 1 << 12;
const MOST_ENTRIES: usize = 1 << 16;

impl Machine {
    /// In Lambda's words where it has some.
    pub(super) fn name(self) -> String {
        match self {
            Self::X86_64 => "x86_64".into(),
            Self::Aarch64 => "arm64".into(),
            Self::I386 => "i386 (32 bits)".into(),
            Self::Arm => "arm (32 bits)".into(),
            Self::Other(number) => format!("another machine (ELF {number})"),
        }
    }
}

impl Elf {
    /// Reads a whole object. `None` when it is none, or damaged.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = Bytes(bytes);
        if !bytes.0.starts_with(MAGIC) {
            return None;
        }
        let (class, order) = (*bytes.0.get(4)?, *bytes.0.get(5)?);
        if !matches!((class, order), (1 | 2, 1 | 2)) {
            return None;
        }
        let header = |at| match order {
            1 => bytes.u16(at),
            _ => bytes.u16(at).map(u16::swap_bytes),
        };
        let kind = header(16)?;
        let machine = match (header(18)?, class) {
            (62, 2) => Machine::X86_64,
            (183, 2) => Machine::Aarch64,
            (3, _) => Machine::I386,
            (40, _) => Machine::Arm,
            (number, _) => Machine::Other(number),
        };
        let mut elf = Self {
            machine,
            loadable: matches!(kind, 2 | 3),
            needed: Vec::new(),
            soname: None,
            versions: Vec::new(),
        };
        let ours = order == 1 && matches!(machine, Machine::X86_64 | Machine::Aarch64);
        if ours && elf.loadable {
            elf.read_dynamic(bytes)?;
        }
        Some(elf)
    }

    /// What the dynamic section says. A program without one needs nothing.
    fn read_dynamic(&mut self, bytes: Bytes) -> Option<()> {
        let segments = Segment::all(bytes)?;
        let Some(dynamic) = segments.iter().find(|segment| segment.kind == PT_DYNAMIC) else {
            return Some(());
        };
        let mut entries = Vec::new();
        for index in 0..MOST_ENTRIES.min(dynamic.size / 16) {
            let at = dynamic.offset.checked_add(index * 16)?;
            let (tag, value) = (bytes.u64(at)?, bytes.u64(at.checked_add(8)?)?);
            if tag == 0 {
                break;
            }
            entries.push((tag, value));
        }
        let first =
            |wanted| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
        let Some(strings) = first(DT_STRTAB) else { return Some(()) };
        let strings = offset_of(&segments, strings)?;
        let string = |at: u64| bytes.string(strings.checked_add(usize::try_from(at).ok()?)?);
        for (_, name) in entries.iter().filter(|(tag, _)| *tag == DT_NEEDED) {
            self.needed.push(string(*name)?);
        }
        if let Some(name) = first(DT_SONAME) {
            self.soname = Some(string(name)?);
        }
        if let Some(needs) = first(DT_VERNEED) {
            self.versions = version_needs(bytes, offset_of(&segments, needs)?, &string)?;
        }
        Some(())
    }
}

/// The list of libraries, each with its list of versions.
fn version_needs(
    bytes: Bytes,
    start: usize,
    string: &impl Fn(u64) -> Option<String>,
) -> Option<Vec<Need>> {
    let mut found = Vec::new();
    let (mut at, mut left) = (start, MOST_ENTRIES);
    loop {
        let library = string(bytes.u32(at.checked_add(4)?)?.into())?;
        let mut version = at.checked_add(bytes.offset(at.checked_add(8)?)?)?;
        loop {
            left = left.checked_sub(1)?;
            let flags = bytes.u16(version.checked_add(4)?)?;
            if flags & WEAK == 0 {
                let name = string(bytes.u32(version.checked_add(8)?)?.into())?;
                found.push(Need { library: library.clone(), version: name });
            }
            match bytes.offset(version.checked_add(12)?)? {
                0 => break,
                next => version = version.checked_add(next)?,
            }
        }
        match bytes.offset(at.checked_add(12)?)? {
            0 => return Some(found),
            next => at = at.checked_add(next)?,
        }
    }
}

struct Segment {
    kind: u32,
    offset: usize,
    address: u64,
    size: usize,
}

impl Segment {
    fn all(bytes: Bytes) -> Option<Vec<Self>> {
        let table = usize::try_from(bytes.u64(32)?).ok()?;
        let (length, count) = (usize::from(bytes.u16(54)?), usize::from(bytes.u16(56)?));
        if length < 56 && count > 0 {
            return None;
        }
        let segment = |index: usize| {
            let at = table.checked_add(index.checked_mul(length)?)?;
            Some(Self {
                kind: bytes.u32(at)?,
                offset: usize::try_from(bytes.u64(at.checked_add(8)?)?).ok()?,
                address: bytes.u64(at.checked_add(16)?)?,
                size: usize::try_from(bytes.u64(at.checked_add(32)?)?).ok()?,
            })
        };
        (0..count.min(MOST_SEGMENTS)).map(segment).collect()
    }
}

/// Where in the file lies what is at `address` once it is loaded.
fn offset_of(segments: &[Segment], address: u64) -> Option<usize> {
    segments.iter().filter(|segment| segment.kind == PT_LOAD).find_map(|segment| {
        let within = usize::try_from(address.checked_sub(segment.address)?).ok()?;
        (within < segment.size).then(|| segment.offset.checked_add(within)).flatten()
    })
}

/// Little-endian numbers and strings at any offset.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn u16(self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    /// A 32-bit distance.
    fn offset(self, at: usize) -> Option<usize> {
        usize::try_from(self.u32(at)?).ok()
    }

    /// Up to the next NUL.
    fn string(self, at: usize) -> Option<String> {
        let rest = self.0.get(at..)?;
        let end = rest.iter().take(4096).position(|byte| *byte == 0)?;
        String::from_utf8(rest[..end].to_vec()).ok()
    }
}
