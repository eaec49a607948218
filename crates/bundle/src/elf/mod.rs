//! ELF objects: the machine, the libraries that the dynamic linker needs, and the sections. Reads
//! untrusted bytes: returns nothing for invalid ones, and never panics.
//!
//! Dependencies are read from the segments, as the dynamic linker does: an object without a section
//! table loads like any other.

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use object::elf::{self, FileHeader32, FileHeader64};
use object::endian::Endianness;
use object::pod::{self, Pod};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader};

/// The facts of an object that decide where it loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    pub machine: Machine,
    /// Whether it can be loaded: a shared library or a program, not a `.o`.
    pub loadable: bool,
    /// Empty for objects of machines other than Lambda's.
    pub needed: Vec<String>,
    pub soname: Option<String>,
    /// The search path of the dynamic linker for needed libraries: RUNPATH, or else RPATH.
    pub run_path: Vec<String>,
    pub versions: Vec<Need>,
}

/// A version of a library that must exist when the object is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    pub library: String,
    /// `GLIBC_2.17`
    pub version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    X86_64,
    Aarch64,
    I386,
    Arm,
    Other(u16),
}

pub const MAGIC: &[u8] = b"\x7fELF";

/// Bound for lists in damaged objects that go in circles; real objects stay far below it.
const MOST_ENTRIES: usize = 1 << 16;
const LONGEST_STRING: usize = 1 << 12;

impl Machine {
    /// Returns Lambda's name of the architecture if it has one.
    pub fn name(self) -> String {
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
    /// Reads a whole object. Returns `None` if it is not an object or is damaged.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match class(bytes)? {
            Class::Bits32 => Self::read::<FileHeader32<Endianness>>(bytes),
            Class::Bits64 => Self::read::<FileHeader64<Endianness>>(bytes),
        }
    }

    fn read<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<Self> {
        let header = H::parse(bytes).ok()?;
        let endian = header.endian().ok()?;
        let machine = match (header.e_machine(endian), header.is_class_64()) {
            (elf::EM_X86_64, true) => Machine::X86_64,
            (elf::EM_AARCH64, true) => Machine::Aarch64,
            (elf::EM_386, _) => Machine::I386,
            (elf::EM_ARM, _) => Machine::Arm,
            (other, _) => Machine::Other(other.0),
        };
        let mut found = Self {
            machine,
            loadable: [elf::ET_EXEC, elf::ET_DYN].contains(&header.e_type(endian)),
            needed: Vec::new(),
            soname: None,
            run_path: Vec::new(),
            versions: Vec::new(),
        };
        let ours =
            endian == Endianness::Little && matches!(machine, Machine::X86_64 | Machine::Aarch64);
        if ours && found.loadable {
            found.read_dynamic(header, endian, bytes)?;
        }
        Some(found)
    }

    /// Reads the dynamic section. A program without one needs nothing.
    fn read_dynamic<H: FileHeader<Endian = Endianness>>(
        &mut self,
        header: &H,
        endian: Endianness,
        bytes: &[u8],
    ) -> Option<()> {
        let segments = header.program_headers(endian, bytes).ok()?;
        let is_dynamic = |segment: &&H::ProgramHeader| segment.p_type(endian) == elf::PT_DYNAMIC;
        let Some(dynamic) = segments.iter().find(is_dynamic) else { return Some(()) };
        let entries: Vec<_> = dynamic
            .dynamic(endian, bytes)
            .ok()??
            .iter()
            .take(MOST_ENTRIES)
            .map(|entry| (entry.tag(endian), entry.val(endian)))
            .take_while(|(tag, _)| *tag != elf::DT_NULL)
            .collect();
        let first =
            |wanted| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
        let Some(strings) = first(elf::DT_STRTAB) else { return Some(()) };
        let strings = from_address(segments, endian, bytes, strings)?;
        for (_, name) in entries.iter().filter(|(tag, _)| *tag == elf::DT_NEEDED) {
            self.needed.push(string(strings, *name)?);
        }
        if let Some(name) = first(elf::DT_SONAME) {
            self.soname = Some(string(strings, name)?);
        }
        if let Some(path) = first(elf::DT_RUNPATH).or_else(|| first(elf::DT_RPATH)) {
            self.run_path = string(strings, path)?.split(':').map(str::to_owned).collect();
        }
        if let Some(needs) = first(elf::DT_VERNEED) {
            let needs = from_address(segments, endian, bytes, needs)?;
            self.versions = version_needs(needs, endian, strings)?;
        }
        Some(())
    }
}

/// Returns the libraries that an object needs; none if it is not an object or is damaged.
pub fn needed(bytes: &[u8]) -> Vec<String> {
    Elf::parse(bytes).map(|elf| elf.needed).unwrap_or_default()
}

/// A section's name and content, which is empty if it takes no space in the file.
pub type Section<'a> = (String, &'a [u8]);

/// Returns the sections of an object. `None` if it is not an object or is damaged.
pub fn sections(bytes: &[u8]) -> Option<Vec<Section<'_>>> {
    match class(bytes)? {
        Class::Bits32 => sections_of::<FileHeader32<Endianness>>(bytes),
        Class::Bits64 => sections_of::<FileHeader64<Endianness>>(bytes),
    }
}

fn sections_of<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<Vec<Section<'_>>> {
    let header = H::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let table = header.sections(endian, bytes).ok()?;
    let read = |section: &H::SectionHeader| {
        let name = table.section_name(endian, section).ok()?;
        Some((String::from_utf8_lossy(name).into_owned(), section.data(endian, bytes).ok()?))
    };
    table.iter().map(read).collect()
}

enum Class {
    Bits32,
    Bits64,
}

fn class(bytes: &[u8]) -> Option<Class> {
    match bytes.strip_prefix(MAGIC)?.first()? {
        1 => Some(Class::Bits32),
        2 => Some(Class::Bits64),
        _ => None,
    }
}

/// Returns the bytes from `address` of the loaded object to the end of its segment.
fn from_address<'a, P: ProgramHeader<Endian = Endianness>>(
    segments: &[P],
    endian: Endianness,
    bytes: &'a [u8],
    address: u64,
) -> Option<&'a [u8]> {
    let loaded = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
    loaded.into_iter().find_map(|segment| {
        let within = address.checked_sub(segment.p_vaddr(endian).into())?;
        let data = segment.data(endian, bytes).ok()?;
        data.get(usize::try_from(within).ok()?..).filter(|rest| !rest.is_empty())
    })
}

/// Reads up to the next NUL.
fn string(strings: &[u8], at: u64) -> Option<String> {
    let rest = strings.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().take(LONGEST_STRING).position(|byte| *byte == 0)?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

/// Returns the list of libraries, each with its list of versions.
fn version_needs(bytes: &[u8], endian: Endianness, strings: &[u8]) -> Option<Vec<Need>> {
    let mut found = Vec::new();
    let (mut at, mut left) = (0, MOST_ENTRIES);
    loop {
        let need: &elf::Verneed<Endianness> = entry(bytes, at)?;
        let library = string(strings, need.vn_file.get(endian).into())?;
        let mut version_at = further(at, need.vn_aux.get(endian))?;
        loop {
            left = left.checked_sub(1)?;
            let version: &elf::Vernaux<Endianness> = entry(bytes, version_at)?;
            // The linker does not fail if a weak version is missing.
            if !version.vna_flags.get(endian).contains(elf::VER_FLG_WEAK) {
                let version = string(strings, version.vna_name.get(endian).into())?;
                found.push(Need { library: library.clone(), version });
            }
            match version.vna_next.get(endian) {
                0 => break,
                next => version_at = further(version_at, next)?,
            }
        }
        match need.vn_next.get(endian) {
            0 => return Some(found),
            next => at = further(at, next)?,
        }
    }
}

fn entry<T: Pod>(bytes: &[u8], at: usize) -> Option<&T> {
    pod::from_bytes(bytes.get(at..)?).ok().map(|(entry, _)| entry)
}

fn further(at: usize, distance: u32) -> Option<usize> {
    at.checked_add(usize::try_from(distance).ok()?)
}
