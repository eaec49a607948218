//! The folders in which a change of a file shows that is reached through links.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Most links on the way to a file, as in Linux.
const MOST: usize = 40;

/// Returns the folders of `place` and of each link on the way to it; if the way ends, the deepest folder
/// that exists.
pub(super) fn folders(place: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut rest = parts(place);
    let mut at = PathBuf::from("/");
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        if let Ok(target) = fs::read_link(&next) {
            folders.push(at.clone());
            if folders.len() > MOST {
                return folders;
            }
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            rest.extend(parts(&target));
        } else if rest.is_empty() || !next.is_dir() {
            folders.push(at);
            return folders;
        } else {
            at = next;
        }
    }
    folders
}

/// Returns the parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let named = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    named.rev().map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn each_link_on_the_way_and_the_end_of_the_way_have_a_folder() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        let place = |path: &str| root.join(path);
        fs::create_dir_all(place("a/rel/1")).unwrap();
        fs::create_dir(place("b")).unwrap();
        fs::write(place("a/rel/1/f"), "").unwrap();
        symlink("1", place("a/rel/cur")).unwrap();
        symlink("../a/rel/cur/f", place("b/in")).unwrap();
        symlink(place("b/in"), place("b/first")).unwrap();
        symlink("none/deep/f", place("b/dangling")).unwrap();
        symlink("loop", place("b/loop")).unwrap();
        assert_eq!(folders(&place("b/first")), ["b", "b", "a/rel", "a/rel/1"].map(&place));
        assert_eq!(folders(&place("b/dangling")), ["b", "b"].map(&place));
        assert_eq!(folders(&place("a/rel/1/f")), ["a/rel/1"].map(&place));
        assert_eq!(folders(&place("b/loop")).len(), MOST + 1);
        assert_eq!(folders(Path::new("/")), [""; 0].map(PathBuf::from));
    }
}
