//! The Lambda runtime that wheels are chosen for, in pip's words: which platform tags its glibc
//! allows. Knows nothing of how pip is run.

/// A runtime: its Python, and the machine in the words of wheel tags (`x86_64`, `aarch64`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runtime {
    pub major: u8,
    pub minor: u8,
    pub machine: &'static str,
}

impl Runtime {
    /// The minor version of the runtime's glibc 2.x: Amazon Linux 2023 since Python 3.12,
    /// Amazon Linux 2 before.
    pub fn glibc(self) -> u8 {
        if (self.major, self.minor) >= (3, 12) { 34 } else { 26 }
    }

    /// Platform tags that load in the runtime, the most demanding first: pip prefers the first.
    pub fn platforms(self) -> Vec<String> {
        let machine = self.machine;
        // aarch64 came with glibc 2.17: nothing older was ever built for it.
        let oldest = if machine == "aarch64" { 17 } else { 5 };
        let mut tags = Vec::new();
        for minor in (oldest..=self.glibc()).rev() {
            tags.push(format!("manylinux_2_{minor}_{machine}"));
            let old_name = match minor {
                17 => "manylinux2014",
                12 => "manylinux2010",
                5 => "manylinux1",
                _ => continue,
            };
            tags.push(format!("{old_name}_{machine}"));
        }
        tags.push(format!("linux_{machine}"));
        tags
    }

    /// pip's options for choosing wheels for the runtime instead of for this host.
    pub fn options(self) -> Vec<String> {
        let Self { major, minor, machine: _ } = self;
        let mut options = vec![
            "--only-binary=:all:".to_string(),
            format!("--python-version={major}.{minor}"),
            "--implementation=cp".into(),
            format!("--abi=cp{major}{minor}"),
            "--abi=abi3".into(),
            "--abi=none".into(),
        ];
        options.extend(self.platforms().iter().map(|tag| format!("--platform={tag}")));
        options
    }

    /// `python3.13 on arm64`, with the architecture in Lambda's words.
    pub fn describe(self) -> String {
        let arch = if self.machine == "aarch64" { "arm64" } else { self.machine };
        format!("python{}.{} on {arch}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_go_from_the_runtimes_glibc_down_with_the_old_names() {
        let tags = Runtime { major: 3, minor: 11, machine: "x86_64" }.platforms();
        assert_eq!(tags.first().map(String::as_str), Some("manylinux_2_26_x86_64"));
        assert_eq!(tags.last().map(String::as_str), Some("linux_x86_64"));
        assert_eq!(tags.len(), 22 + 3 + 1);
        for tag in ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"] {
            assert!(tags.iter().any(|known| known == tag), "{tag}");
        }
    }

    #[test]
    fn arm_starts_at_glibc_2_17() {
        let tags = Runtime { major: 3, minor: 13, machine: "aarch64" }.platforms();
        assert_eq!(tags[0], "manylinux_2_34_aarch64");
        assert_eq!(
            tags[tags.len() - 3..],
            ["manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64"]
        );
    }
}
