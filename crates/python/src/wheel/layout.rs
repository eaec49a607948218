//! The place of each member of a wheel in a tree that Python imports from, by the rules for
//! installing wheels (PEP 427), with one folder as purelib, platlib and data.

use anyhow::{Result, bail};

use super::Member;

/// Replaces a script's `#!python…` line: finds an interpreter wherever the tree runs.
pub const PYTHON_SHEBANG: &[u8] = b"#!/usr/bin/env python3";

/// A member and its place.
#[derive(Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    pub member: &'a Member,
    pub path: String,
    pub executable: bool,
    /// Whether the first line is replaced by [`PYTHON_SHEBANG`].
    pub new_shebang: bool,
}

/// Returns the places of all members that have one. C headers have none: nothing compiles in Lambda.
pub fn layout(members: &[Member]) -> Result<Vec<Placed<'_>>> {
    let mut placed = Vec::with_capacity(members.len());
    for member in members {
        placed.extend(place(member)?);
    }
    Ok(placed)
}

fn place(member: &Member) -> Result<Option<Placed<'_>>> {
    let at = |path: &str| Placed {
        member,
        path: path.to_owned(),
        executable: member.executable,
        new_shebang: false,
    };
    let in_data = member
        .name
        .split_once('/')
        .filter(|(top, _)| top.ends_with(".data"))
        .and_then(|(_, rest)| rest.split_once('/'));
    let Some((scheme, rest)) = in_data else {
        return Ok(Some(at(&member.name)));
    };
    match scheme {
        "purelib" | "platlib" | "data" => Ok(Some(at(rest))),
        "scripts" => Ok(Some(Placed {
            executable: true,
            new_shebang: member.python_shebang,
            ..at(&format!("bin/{rest}"))
        })),
        "headers" => Ok(None),
        other => {
            bail!("`{}` uses the unknown install scheme `{other}`", member.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wheel::Method;
    use zipwright_store::Digest;

    fn member(name: &str, python_shebang: bool) -> Member {
        Member {
            name: name.into(),
            executable: false,
            method: Method::Stored,
            offset: 0,
            compressed: 0,
            size: 0,
            crc: 0,
            digest: Digest::of(b""),
            python_shebang,
        }
    }

    #[test]
    fn members_go_where_installers_put_them() {
        for (name, expected) in [
            ("pkg/a.py", Some("pkg/a.py")),
            ("pkg-1.dist-info/RECORD", Some("pkg-1.dist-info/RECORD")),
            ("pkg-1.data/purelib/pkg/b.py", Some("pkg/b.py")),
            ("pkg-1.data/platlib/pkg/c.so", Some("pkg/c.so")),
            ("pkg-1.data/data/share/d", Some("share/d")),
            ("pkg-1.data/scripts/run", Some("bin/run")),
            ("pkg-1.data/headers/e.h", None),
        ] {
            let member = member(name, false);
            let placed = place(&member).unwrap();
            assert_eq!(placed.map(|placed| placed.path).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn scripts_are_executable_and_find_their_python() {
        let script = member("pkg-1.data/scripts/run", true);
        let placed = place(&script).unwrap().unwrap();
        assert!(placed.executable && placed.new_shebang);
        let module = member("pkg/run.py", true);
        assert!(!place(&module).unwrap().unwrap().new_shebang);
    }

    #[test]
    fn an_unknown_scheme_is_refused() {
        let error = place(&member("pkg-1.data/include/x", false)).unwrap_err();
        assert!(error.to_string().contains("`include`"), "{error}");
    }
}
