//! The Python environment that wheels are selected for: a Lambda runtime, or an interpreter of this
//! host.

use anyhow::{Result, bail};

use crate::environment::Environment;
use crate::runtime::Runtime;
use crate::tags::{Tags, linux_platforms};

#[derive(Clone, Debug)]
pub struct Target {
    /// For messages: `python3.13 on arm64`.
    pub name: String,
    /// The values that markers are evaluated with.
    pub environment: Environment,
    /// The version that `requires-python` is compared with.
    pub python: String,
    pub tags: Tags,
}

impl Target {
    pub fn of_runtime(runtime: Runtime) -> Self {
        let (major, minor, patch) = runtime.python();
        let abi = format!("cp{major}{minor}");
        Self {
            name: runtime.describe(),
            environment: runtime.environment(),
            python: format!("{major}.{minor}.{patch}"),
            tags: Tags::of_cpython((major, minor), &abi, &runtime.platforms()),
        }
    }

    /// Reads the identity of an interpreter: implementation, version, ABI, platform and C library, as
    /// in `CPython 3.11.7 cpython-311-x86_64-linux-gnu linux-x86_64 glibc 2.36`.
    pub fn of_interpreter(identity: &str, (major, minor): (u8, u8)) -> Result<Self> {
        let words: Vec<&str> = identity.split(' ').collect();
        let machine = words.iter().find_map(|word| word.strip_prefix("linux-"));
        let glibc = words.iter().skip_while(|word| **word != "glibc").nth(1);
        let glibc = glibc.and_then(|version| version.strip_prefix("2.")?.parse().ok());
        let (["CPython", full, ..], Some(machine), Some(glibc)) =
            (words.as_slice(), machine, glibc)
        else {
            bail!(
                "a lockfile can be read for CPython on Linux with glibc, and `python` is {identity}: \
                 set `platform`"
            );
        };
        let free_threaded = format!("cpython-{major}{minor}t-");
        let suffix = if identity.contains(&free_threaded) { "t" } else { "" };
        let abi = format!("cp{major}{minor}{suffix}");
        let platforms = linux_platforms(glibc, machine);
        Ok(Self {
            name: format!("Python {full} on this host ({machine}, glibc 2.{glibc})"),
            environment: Environment::of_linux(("CPython", full), (major, minor), machine),
            python: (*full).to_owned(),
            tags: Tags::of_cpython((major, minor), &abi, &platforms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wheel_name::WheelName;

    #[test]
    fn an_interpreter_is_read_from_its_identity() {
        let identity = "CPython 3.13.0 cpython-313-x86_64-linux-gnu linux-x86_64 glibc 2.36";
        let target = Target::of_interpreter(identity, (3, 13)).unwrap();
        assert_eq!(target.python, "3.13.0");
        let wheel = WheelName::parse("a-1-cp313-cp313-manylinux_2_36_x86_64.whl").unwrap();
        assert!(target.tags.rank(&wheel).is_some());
        for other in ["PyPy 3.10.14 pypy310-pp73 linux-x86_64 glibc 2.36", "CPython 3.13.0"] {
            assert!(Target::of_interpreter(other, (3, 13)).is_err());
        }
    }
}
