//! The Lambda runtime that wheels are chosen for, in pip's terms: the platform tags that its glibc
//! supports. Does not know how pip is run.

use crate::arch::Arch;
use crate::environment::Environment;
use crate::tags::linux_platforms;
use crate::wheel_name::WheelName;

/// The patch release that `requires-python` is compared with.
const LATE_PATCH: u8 = 99;

/// A Lambda runtime: its Python and its architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runtime {
    pub major: u8,
    pub minor: u8,
    pub arch: Arch,
}

impl Runtime {
    /// Returns the minor version of the runtime's glibc 2.x: Amazon Linux 2023 since Python 3.12,
    /// Amazon Linux 2 before.
    pub fn glibc(self) -> u8 {
        if (self.major, self.minor) >= (3, 12) { 34 } else { 26 }
    }

    /// Returns the platform tags that load in the runtime, the most specific first: pip prefers the
    /// first.
    pub fn platforms(self) -> Vec<String> {
        linux_platforms(self.glibc(), self.arch.machine())
    }

    /// Returns pip's options for choosing wheels for the runtime instead of this host.
    pub fn options(self) -> Vec<String> {
        let Self { major, minor, arch: _ } = self;
        let mut options = vec![
            format!("--python-version={major}.{minor}.{LATE_PATCH}"),
            "--implementation=cp".into(),
            format!("--abi=cp{major}{minor}"),
            "--abi=abi3".into(),
            "--abi=none".into(),
        ];
        options.extend(self.platforms().iter().map(|tag| format!("--platform={tag}")));
        options
    }

    /// Returns the version that `requires-python` is compared with.
    ///
    /// It has a late patch release: Lambda's runtimes have one, and packages exclude early ones
    /// (`!=3.9.0,!=3.9.1`).
    pub fn python(self) -> (u8, u8, u8) {
        (self.major, self.minor, LATE_PATCH)
    }

    /// Returns the environment that markers are evaluated in.
    pub fn environment(self) -> Environment {
        Environment::of_runtime((self.major, self.minor), self.arch.machine())
    }

    /// Returns all values of the environment in one line, for keys.
    pub fn markers(self) -> String {
        let environment = self.environment();
        let values = environment.values().map(|(name, value)| format!("{name}={value}"));
        values.collect::<Vec<_>>().join(" ")
    }

    /// Returns whether a wheel without compiled code fits the runtime, by its name. Other wheels
    /// built on this host never do.
    pub fn takes_portable(self, file_name: &str) -> bool {
        let Ok(name) = WheelName::parse(file_name) else { return false };
        let mut tags = name.tags.split('-');
        let (pythons, abis) = (tags.next().unwrap_or(""), tags.next().unwrap_or(""));
        let series = format!("py{}", self.major);
        let fits = |python: &str| {
            let minor = python.strip_prefix(&series);
            python == format!("cp{}{}", self.major, self.minor)
                || minor.is_some_and(|minor| {
                    minor.is_empty() || minor.parse().is_ok_and(|minor: u8| minor <= self.minor)
                })
        };
        tags.next() == Some("any")
            && abis.split('.').any(|abi| abi == "none")
            && pythons.split('.').any(fits)
    }

    /// Returns `python3.13 on arm64`, with Lambda's name of the architecture.
    pub fn describe(self) -> String {
        format!("python{}.{} on {}", self.major, self.minor, self.arch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_go_from_the_runtimes_glibc_down_with_the_old_names() {
        let tags = Runtime { major: 3, minor: 11, arch: Arch::X86_64 }.platforms();
        assert_eq!(tags.first().map(String::as_str), Some("manylinux_2_26_x86_64"));
        assert_eq!(tags.last().map(String::as_str), Some("linux_x86_64"));
        assert_eq!(tags.len(), 22 + 3 + 1);
        for tag in ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"] {
            assert!(tags.iter().any(|known| known == tag), "{tag}");
        }
    }

    #[test]
    fn wheels_without_compiled_code_fit_by_their_python() {
        let runtime = Runtime { major: 3, minor: 11, arch: Arch::Arm64 };
        for tags in ["py3-none-any", "py2.py3-none-any", "py310-none-any", "cp311-none-any"] {
            assert!(runtime.takes_portable(&format!("a-1-{tags}.whl")), "{tags}");
        }
        for tags in ["py2-none-any", "py312-none-any", "cp312-none-any", "py3-none-linux_aarch64"] {
            assert!(!runtime.takes_portable(&format!("a-1-{tags}.whl")), "{tags}");
        }
    }

    #[test]
    fn arm_starts_at_glibc_2_17() {
        let tags = Runtime { major: 3, minor: 13, arch: Arch::Arm64 }.platforms();
        assert_eq!(tags[0], "manylinux_2_34_aarch64");
        assert_eq!(
            tags[tags.len() - 3..],
            ["manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64"]
        );
    }
}
