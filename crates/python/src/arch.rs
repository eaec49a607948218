//! The architectures of Lambda, as Lambda and as wheels name them.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    X86_64,
    Arm64,
}

impl Arch {
    pub const ALL: [Self; 2] = [Self::Arm64, Self::X86_64];

    /// Reads Lambda's name: `x86_64` or `arm64`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.name() == name)
    }

    /// Reads the machine's name in tags of wheels and in markers: `x86_64` or `aarch64`.
    pub fn of_machine(machine: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.machine() == machine)
    }

    /// Returns Lambda's name: `x86_64` or `arm64`.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// Returns the machine's name in tags of wheels and in markers: `x86_64` or `aarch64`.
    pub fn machine(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_architecture_has_two_names() {
        assert_eq!(Arch::parse("arm64"), Some(Arch::Arm64));
        assert_eq!(Arch::parse("aarch64"), None);
        assert_eq!(Arch::of_machine("aarch64"), Some(Arch::Arm64));
        assert_eq!(Arch::of_machine("arm64"), None);
    }
}
