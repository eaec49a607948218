//! Top-level modules that exist without the bundle: the standard library of a Python, and the
//! packages of Lambda's runtimes. `docs/CHECK.md` has the sources of the lists.

use super::runtime::Python;

/// Blocks of names, each under the first and, if they were removed, the last minor version that has
/// them.
const TABLE: &str = include_str!("stdlib.txt");

/// Modules compiled into the interpreter, so that a file cannot hide them.
const BUILT_IN: [&str; 13] = [
    "atexit",
    "builtins",
    "errno",
    "faulthandler",
    "gc",
    "itertools",
    "marshal",
    "posix",
    "pwd",
    "sys",
    "time",
    "__main__",
    "_thread",
];

/// Modules of the standard library that exist only on Windows.
const ONLY_ON_WINDOWS: [&str; 8] =
    ["_msi", "_overlapped", "_winapi", "msilib", "msvcrt", "nt", "winreg", "winsound"];

/// boto3, its requirements, and the packages of the runtime itself.
const OF_RUNTIME: [&str; 10] = [
    "awslambdaric",
    "boto3",
    "botocore",
    "dateutil",
    "jmespath",
    "runtime_client",
    "s3transfer",
    "simplejson",
    "six",
    "urllib3",
];

/// Whether a module exists without the bundle, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    There,
    /// In the standard library of older Pythons, up to this minor version.
    Until(u8),
    /// In the standard library of newer Pythons, from this minor version on.
    Since(u8),
    OnlyOnWindows,
    No,
}

/// Returns whether a top-level module exists in a runtime.
pub(super) fn look_up(module: &str, python: Python) -> Availability {
    if ONLY_ON_WINDOWS.contains(&module) {
        return Availability::OnlyOnWindows;
    }
    if BUILT_IN.contains(&module) || is_of_runtime(module, python) {
        return Availability::There;
    }
    match versions(module) {
        Some((first, _)) if python.minor < first => Availability::Since(first),
        Some((_, Some(last))) if python.minor > last => Availability::Until(last),
        Some(_) => Availability::There,
        None => Availability::No,
    }
}

/// Returns whether a file of this name at the root hides a module of the standard library, or is
/// hidden by it. `test` may be used, because functions do not need Python's own tests.
pub(super) fn is_standard(module: &str, python: Python) -> bool {
    let is_there = versions(module).is_some_and(|(first, last)| {
        python.minor >= first && last.is_none_or(|last| python.minor <= last)
    });
    is_there && !ONLY_ON_WINDOWS.contains(&module) && module != "test" && !module.starts_with("__")
}

pub(super) fn is_built_in(module: &str) -> bool {
    BUILT_IN.contains(&module)
}

/// Returns whether the runtime has this top-level module besides the standard library.
pub(super) fn is_of_runtime(module: &str, python: Python) -> bool {
    match module {
        // Installed with Python up to 3.11.
        "pip" => true,
        "setuptools" | "pkg_resources" | "_distutils_hack" => python.minor <= 11,
        // Hooks of SnapStart, which Lambda supports for Python since 3.12.
        "snapshot_restore_py" => python.minor >= 12,
        module => OF_RUNTIME.contains(&module),
    }
}

/// Returns the first and the last minor version that has a module.
fn versions(module: &str) -> Option<(u8, Option<u8>)> {
    let mut versions = (0, None);
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        if let Some(names) = line.strip_prefix("  ") {
            if names.split(' ').any(|name| name == module) {
                return Some(versions);
            }
        } else {
            let mut numbers = line.split(' ').filter_map(|number| number.parse().ok());
            versions = (numbers.next()?, numbers.next());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_and_go() {
        let look = |module, minor| look_up(module, Python { minor });
        assert_eq!(look("json", 8), Availability::There);
        assert_eq!(look("sys", 14), Availability::There);
        assert_eq!(look("distutils", 11), Availability::There);
        assert_eq!(look("distutils", 12), Availability::Until(11));
        assert_eq!(look("tomllib", 10), Availability::Since(11));
        assert_eq!(look("tomllib", 11), Availability::There);
        assert_eq!(look("annotationlib", 14), Availability::There);
        assert_eq!(look("winreg", 13), Availability::OnlyOnWindows);
        assert_eq!(look("boto3", 13), Availability::There);
        assert_eq!(look("pkg_resources", 11), Availability::There);
        assert_eq!(look("pkg_resources", 12), Availability::No);
        assert_eq!(look("requests", 13), Availability::No);
        assert_eq!(look("8", 13), Availability::No);
    }

    #[test]
    fn only_names_of_the_standard_library_are_hidden() {
        for (module, minor, expected) in [
            ("json", 13, true),
            ("typing", 13, true),
            ("distutils", 12, false),
            ("test", 13, false),
            ("boto3", 13, false),
            ("winreg", 13, false),
            ("app", 13, false),
        ] {
            assert_eq!(is_standard(module, Python { minor }), expected, "{module}");
        }
    }
}
