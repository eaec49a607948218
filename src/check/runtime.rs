//! What Lambda's Python runtimes have: their C library, their libstdc++, their shared libraries.
//! Where each number comes from, and how sure it is, is in `docs/CHECK.md`.

use std::fmt;

/// The Python of a managed runtime: `python3.13`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Python {
    pub minor: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    X86_64,
    Arm64,
}

/// The first and the last minor version whose runtime is known.
const OLDEST: u8 = 8;
const NEWEST: u8 = 14;

/// Since this minor version runtimes are Amazon Linux 2023, before it Amazon Linux 2.
const FIRST_ON_2023: u8 = 12;

/// Shared libraries that every runtime surely has: parts of glibc, the compiler's own, and zlib,
/// all of which manylinux wheels may take for granted.
const LIBRARIES: [&str; 13] = [
    "ld-linux-aarch64.so.1",
    "ld-linux-x86-64.so.2",
    "libanl.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libstdc++.so.6",
    "libutil.so.1",
    "libz.so.1",
];

impl Python {
    /// Takes `python3.13` apart, as Lambda calls its runtimes; `None` for one that is not known.
    pub fn parse(runtime: &str) -> Option<Self> {
        let minor = runtime.strip_prefix("python3.")?;
        Self::known().find(|python| python.minor.to_string() == minor)
    }

    /// Every runtime that is known.
    pub fn known() -> impl Iterator<Item = Self> {
        (OLDEST..=NEWEST).map(|minor| Self { minor })
    }

    fn is_on_2023(self) -> bool {
        self.minor >= FIRST_ON_2023
    }

    pub(super) fn system(self) -> &'static str {
        if self.is_on_2023() { "Amazon Linux 2023" } else { "Amazon Linux 2" }
    }

    pub(super) fn glibc(self) -> Version {
        Version(vec![2, if self.is_on_2023() { 34 } else { 26 }])
    }

    /// The newest symbols of libstdc++ that are surely there, and the newest that may be: since
    /// 2025 Amazon Linux 2023 has the libstdc++ of GCC 14, and not every runtime need have it.
    pub(super) fn cxx(self, family: &str) -> Option<[Version; 2]> {
        let known = match (family, self.is_on_2023()) {
            ("GLIBCXX", false) => [[3, 4, 24], [3, 4, 24]],
            ("GLIBCXX", true) => [[3, 4, 29], [3, 4, 33]],
            ("CXXABI", false) => [[1, 3, 11], [1, 3, 11]],
            ("CXXABI", true) => [[1, 3, 13], [1, 3, 15]],
            _ => return None,
        };
        Some(known.map(|numbers| Version(numbers.to_vec())))
    }

    pub(super) fn has_library(self, name: &str) -> bool {
        LIBRARIES.contains(&name) || name == format!("libpython3.{}.so.1.0", self.minor)
    }

    /// What its `.pyc` files begin with; CPython's `pycore_magic_number.h` lists them.
    pub(super) fn magic(self) -> u16 {
        match self.minor {
            ..=8 => 3413,
            9 => 3425,
            10 => 3439,
            11 => 3495,
            12 => 3531,
            13 => 3571,
            14.. => 3627,
        }
    }
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "python3.{}", self.minor)
    }
}

impl Arch {
    /// In the words of Lambda.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::X86_64, Self::Arm64].into_iter().find(|arch| arch.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// In the words of wheels.
    pub(super) fn in_tags(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }
}

/// `2.34`, compared number by number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(Vec<u32>);

impl Version {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let numbers: Result<_, _> = text.split('.').map(str::parse).collect();
        numbers.ok().map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_those_that_are_known() {
        assert_eq!(Python::parse("python3.13"), Some(Python { minor: 13 }));
        for other in ["python3.7", "python3.15", "python3.013", "python3", "nodejs22.x", ""] {
            assert_eq!(Python::parse(other), None, "{other}");
        }
        assert_eq!(Arch::parse("arm64"), Some(Arch::Arm64));
        assert_eq!(Arch::parse("aarch64"), None);
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let version = |text| Version::parse(text).unwrap();
        assert!(version("2.9") < version("2.17"));
        assert!(version("2.2.5") < version("2.17"));
        assert!(version("3.4") < version("3.4.1"));
        assert_eq!(Version::parse("PRIVATE"), None);
    }
}
