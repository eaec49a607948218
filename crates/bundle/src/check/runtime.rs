//! Facts about Lambda's Python runtimes: their C library, their libstdc++, their shared libraries.
//! `docs/CHECK.md` has the source and the certainty of each number.

use std::fmt;

use super::Subject;
use super::findings::{Finding, Findings, Severity};
use zipwright_store::words;

/// The Python of a managed runtime: `python3.13`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Python {
    pub minor: u8,
}

/// The oldest supported minor version, and the newest with facts about its system.
const OLDEST: u8 = 8;
const NEWEST: u8 = 14;
/// The newest minor version in Lambda's API: a preview, without facts about its system.
const PREVIEW: u8 = 15;
/// A later minor version is more likely a typing error than a runtime of the next years.
const LATEST: u8 = 20;

/// The rules that need facts about a runtime's system or bytecode.
const NEED_FACTS: [&str; 10] = [
    "glibc",
    "libstdcxx",
    "library",
    "pyc-python",
    "wheel-glibc",
    "syntax",
    "import",
    "relative-import",
    "shadow",
    "pyc-unused",
];

/// Runtimes are Amazon Linux 2023 from this minor version on, and Amazon Linux 2 before it.
const FIRST_ON_2023: u8 = 12;

/// Shared libraries that every runtime has: parts of glibc, the compiler's own, and zlib, all of
/// which manylinux wheels may rely on.
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
    /// Parses Lambda's name of a runtime, `python3.13`. Returns `None` if Lambda has no such Python
    /// and is not about to have it.
    pub fn parse(runtime: &str) -> Option<Self> {
        let minor = runtime.strip_prefix("python3.")?;
        (OLDEST..=LATEST)
            .map(|minor| Self { minor })
            .find(|python| python.minor.to_string() == minor)
    }

    /// Returns every runtime of Lambda, previews included.
    pub fn known() -> impl Iterator<Item = Self> {
        (OLDEST..=PREVIEW).map(|minor| Self { minor })
    }

    /// Returns `false` if the runtime is too new: rules of [`NEED_FACTS`] then do not apply.
    pub(super) fn has_facts(self) -> bool {
        self.minor <= NEWEST
    }

    /// Returns the newest runtime with facts.
    pub(super) fn newest() -> Self {
        Self { minor: PREVIEW }
    }

    fn is_on_2023(self) -> bool {
        self.minor >= FIRST_ON_2023
    }

    pub(super) fn system(self) -> &'static str {
        if self.is_on_2023() { "Amazon Linux 2023" } else { "Amazon Linux 2" }
    }

    /// Returns the version of glibc; `None` if there are no facts.
    pub(super) fn glibc(self) -> Option<Version> {
        self.has_facts().then(|| Version(vec![2, if self.is_on_2023() { 34 } else { 26 }]))
    }

    /// Returns the newest symbols of libstdc++ that every system of the runtime has, and the newest
    /// that some have: since 2025, Amazon Linux 2023 has the libstdc++ of GCC 14, but not every
    /// runtime may use it.
    pub(super) fn cxx(self, family: &str) -> Option<[Version; 2]> {
        if !self.has_facts() {
            return None;
        }
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

    /// Returns the number at the start of its `.pyc` files, from CPython's `pycore_magic_number.h`;
    /// `None` if there are no facts.
    pub(super) fn magic(self) -> Option<u16> {
        match self.minor {
            ..=8 => Some(3413),
            9 => Some(3425),
            10 => Some(3439),
            11 => Some(3495),
            12 => Some(3531),
            13 => Some(3571),
            14 => Some(3627),
            15.. => None,
        }
    }
}

/// Warns if a runtime is too new, with the rules that do not apply.
pub(super) fn check(subject: &Subject, findings: &mut Findings) {
    let Some(python) = subject.python.filter(|python| !python.has_facts()) else { return };
    let age = match python.minor {
        ..=PREVIEW => "is a preview in Lambda",
        _ => "is newer than this zipwright",
    };
    let rules = words::list(&NEED_FACTS);
    let text = format!(
        "{python} {age}: its system, bytecode and modules are unknown here, so these rules were \
         skipped: {rules}"
    );
    let hint = "try the bundle on Lambda; a newer zipwright may support the runtime";
    findings.add(Finding::new("new-runtime", Severity::Warning, text, hint));
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "python3.{}", self.minor)
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
        for other in ["python3.7", "python3.33", "python3.013", "python3", "nodejs22.x", ""] {
            assert_eq!(Python::parse(other), None, "{other}");
        }
        // A preview, and a version that may come.
        for minor in [15, 16] {
            let python = Python::parse(&format!("python3.{minor}"));
            assert_eq!(python, Some(Python { minor }));
            assert!(python.is_some_and(|python| !python.has_facts()));
        }
        assert!(Python::known().any(|python| python.minor == 15));
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
