//! `.pyc` files: the meaning of their names and headers.

/// Magic number, flags, then time and size of the source, or a hash of it (PEP 552).
pub const HEADER: u64 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Used only beside a source with this time and size; in a bundle, never.
    Timestamp,
    /// Used if the source has this hash.
    CheckedHash,
    /// Always used.
    UncheckedHash,
    /// No bytecode at all.
    Unknown,
}

impl Kind {
    pub fn of(header: &[u8]) -> Self {
        let flags = header.get(4..8).and_then(|flags| flags.try_into().ok());
        match (header.get(2..4), flags.map(u32::from_le_bytes)) {
            (Some(b"\r\n"), Some(0)) => Self::Timestamp,
            (Some(b"\r\n"), Some(1)) => Self::UncheckedHash,
            (Some(b"\r\n"), Some(3)) => Self::CheckedHash,
            _ => Self::Unknown,
        }
    }
}

/// Returns the path at which this Python searches for the bytecode of `source`. `None` if `source`
/// is not a module.
pub fn place_of(source: &str, (major, minor): (u8, u8)) -> Option<String> {
    let (folder, name) =
        source.rsplit_once('/').map_or(("", source), |(folder, name)| (folder, name));
    let stem = name.strip_suffix(".py").filter(|stem| !stem.is_empty() && !stem.contains('.'))?;
    let separator = if folder.is_empty() { "" } else { "/" };
    Some(format!("{folder}{separator}__pycache__/{stem}.cpython-{major}{minor}.pyc"))
}

/// Returns the source of a `.pyc`, and whether the `.pyc` is in a `__pycache__`:
/// `a/__pycache__/b.cpython-313.opt-1.pyc` belongs to `a/b.py`.
pub fn source_of(path: &str) -> Option<(String, bool)> {
    let stem = path.strip_suffix(".pyc")?;
    let (folder, file) = stem.rsplit_once('/').unwrap_or_default();
    let cached = folder == "__pycache__" || folder.ends_with("/__pycache__");
    if !cached {
        return Some((format!("{stem}.py"), false));
    }
    let folder = folder.strip_suffix("__pycache__").unwrap_or(folder);
    Some((format!("{folder}{}.py", file.split('.').next().unwrap_or_default()), true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytecode_lies_where_python_looks_for_it() {
        for (source, place) in [
            ("a.py", Some("__pycache__/a.cpython-313.pyc")),
            ("p/q/a.py", Some("p/q/__pycache__/a.cpython-313.pyc")),
            ("p/a.b.py", None),
            ("p/a.pyi", None),
            ("p/.py", None),
        ] {
            assert_eq!(place_of(source, (3, 13)).as_deref(), place, "{source}");
            if let Some(place) = place {
                assert_eq!(source_of(place), Some((source.into(), true)));
            }
        }
        assert_eq!(source_of("p/a.pyc"), Some(("p/a.py".into(), false)));
        let optimised = source_of("p/__pycache__/a.cpython-313.opt-1.pyc");
        assert_eq!(optimised, Some(("p/a.py".into(), true)));
        assert_eq!(source_of("p/a.py"), None);
    }

    #[test]
    fn the_header_says_when_bytecode_is_believed() {
        let header = |flags: u32| {
            let numbers = [flags, 1, 2].map(u32::to_le_bytes).concat();
            [b"\xf3\x0d\r\n".to_vec(), numbers].concat()
        };
        let kinds = [0, 1, 3, 9].map(|flags| Kind::of(&header(flags)));
        let expected = [Kind::Timestamp, Kind::UncheckedHash, Kind::CheckedHash, Kind::Unknown];
        assert_eq!(kinds, expected);
        assert_eq!(Kind::of(b"\xf3\x0d\r\n"), Kind::Unknown);
        assert_eq!(Kind::of(b"import os\nx = 1\n"), Kind::Unknown);
    }
}
