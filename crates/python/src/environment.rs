//! The values that markers compare, of a runtime or of a host.

/// The values of the variables that markers compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    values: [(&'static str, String); 11],
}

impl Environment {
    /// Returns the environment of a Lambda runtime: CPython `X.Y` on Linux, with the machine as in
    /// wheel tags (`x86_64`, `aarch64`).
    ///
    /// The patch release is 0, because Lambda moves functions to newer ones by itself. The kernel
    /// is unknown: its release is that of Lambda's microVMs, its version 0.
    pub fn of_runtime((major, minor): (u8, u8), machine: &str) -> Self {
        let full = format!("{major}.{minor}.0");
        let values = [
            ("implementation_name", "cpython".into()),
            ("implementation_version", full.clone()),
            ("os_name", "posix".into()),
            ("platform_machine", machine.into()),
            ("platform_python_implementation", "CPython".into()),
            ("platform_release", "5.10".into()),
            ("platform_system", "Linux".into()),
            ("platform_version", "0".into()),
            ("python_full_version", full),
            ("python_version", format!("{major}.{minor}")),
            ("sys_platform", "linux".into()),
        ];
        Self { values }
    }

    /// Returns the environment of an interpreter on a Linux host, with its implementation and full
    /// version, such as `CPython` and `3.11.7`. Release and version of the kernel are empty.
    pub fn of_linux((implementation, full): (&str, &str), minor: (u8, u8), machine: &str) -> Self {
        let mut host = Self::of_runtime(minor, machine);
        for (variable, value) in &mut host.values {
            match *variable {
                "implementation_name" => *value = implementation.to_ascii_lowercase(),
                "implementation_version" | "python_full_version" => *value = full.into(),
                "platform_python_implementation" => *value = implementation.into(),
                "platform_release" | "platform_version" => value.clear(),
                _ => {}
            }
        }
        host
    }

    /// Returns the environment with other values of these variables.
    pub(crate) fn with(&self, changes: &[(&str, &str)]) -> Self {
        let mut changed = self.clone();
        for (variable, value) in &mut changed.values {
            if let Some((_, other)) = changes.iter().find(|(name, _)| name == variable) {
                *value = (*other).into();
            }
        }
        changed
    }

    /// Returns all variables with their values, sorted by name.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(name, value)| (*name, value.as_str()))
    }

    pub(crate) fn get(&self, variable: &str) -> &str {
        self.values().find(|(name, _)| *name == variable).map_or("", |(_, value)| value)
    }
}
