//! The sandbox of a wheel build: the same path on every machine, for every user and build.
//!
//! If the system allows user and mount namespaces, each build has a folder of its own, mounted at
//! `/zipwright`, so any number of builds may run at once. Otherwise builds take turns in one real
//! folder under `/tmp`. A path that a package records is then stable on one machine for one user,
//! but differs between the two ways, so the path is part of the cache key.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::super::build_environment::SYSTEM_PATH;
use zipwright_engine::process::Invocation;
use zipwright_store::fs::{create_dir_all, remove, write};
use zipwright_store::platform;
use zipwright_store::project::Project;

/// Environment variable: if set, builds take turns in a real folder even if namespaces work.
const NO_NAMESPACES: &str = "ZIPWRIGHT_NO_NAMESPACES";

const ENTER: &str = include_str!("enter.sh");
const INSIDE: &str = "/zipwright";
const ENTER_PLAIN: &str = "umask 022; cd \"$1\" && shift && exec \"$@\"";

/// Returns whether the user disabled namespaces.
pub(super) fn is_without_namespaces(project: &Project) -> bool {
    project.var(NO_NAMESPACES).is_some()
}

/// How builds are isolated from each other and from the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    /// `unshare`, the program that makes the namespaces.
    Namespaces(PathBuf),
    /// The real folder that all builds of this user share.
    Folder(PathBuf),
}

impl Isolation {
    /// Returns the isolation that works here, by trying it.
    pub(super) fn find(project: &Project, workshop: Result<TempDir>) -> Self {
        let uid = rustix::process::getuid().as_raw();
        let folder = Self::Folder(PathBuf::from(format!("/tmp/zipwright-{uid}")));
        if is_without_namespaces(project) {
            return folder;
        }
        let Some(unshare) = platform::unshare(project) else { return folder };
        let namespaces = Self::Namespaces(unshare);
        let tried =
            workshop.and_then(|workshop| namespaces.sandbox(workshop)).and_then(|sandbox| {
                namespaces.invocation(&sandbox, &["true".into()]).env("PATH", SYSTEM_PATH).capture()
            });
        if tried.is_ok_and(|tried| tried.status.success()) { namespaces } else { folder }
    }

    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Namespaces(_) => "namespaces",
            Self::Folder(_) => "fixed folder",
        }
    }

    /// Returns the path of the sandbox as a build sees it.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::Namespaces(_) => INSIDE.into(),
            Self::Folder(folder) => folder.join("b"),
        }
    }

    pub(super) fn sandbox(&self, workshop: TempDir) -> Result<Sandbox> {
        match self {
            Self::Namespaces(_) => Sandbox::in_namespaces(workshop),
            Self::Folder(folder) => Sandbox::in_folder(folder),
        }
    }

    /// Returns the command that runs a program in the sandbox, with an empty environment.
    pub(super) fn invocation(&self, sandbox: &Sandbox, words: &[OsString]) -> Invocation {
        let start = match self {
            Self::Namespaces(unshare) => {
                let options = ["--user", "--map-root-user", "--mount", "--uts", "/bin/sh", "-c"];
                let invocation = Invocation::new(unshare, "/").args(options).arg(ENTER).arg("sh");
                invocation.args(sandbox.workshop.as_ref().map(TempDir::path))
            }
            Self::Folder(_) => {
                let invocation = Invocation::new("/bin/sh", "/").args(["-c", ENTER_PLAIN, "sh"]);
                invocation.arg(&sandbox.place)
            }
        };
        start.args(words).empty_environment()
    }
}

/// An empty folder to build in.
pub(super) struct Sandbox {
    /// Its real path.
    pub(super) place: PathBuf,
    /// With namespaces, the folder of `place`, the new root and its `fstab`.
    workshop: Option<TempDir>,
    lock: Option<File>,
}

impl Sandbox {
    fn in_namespaces(workshop: TempDir) -> Result<Self> {
        let (place, root) = (workshop.path().join("b"), workshop.path().join("root"));
        create_dir_all(&place)?;
        let fstab = new_root(&root, &place)
            .with_context(|| format!("could not prepare `{}`", root.display()))?;
        write(&workshop.path().join("fstab"), &fstab, 0o644)?;
        Ok(Self { place, workshop: Some(workshop), lock: None })
    }

    /// Waits for the lock of the folder, and empties it.
    fn in_folder(folder: &Path) -> Result<Self> {
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error)
                    .with_context(|| format!("could not create `{}`", folder.display()));
            }
            _ => {}
        }
        let meta = fs::symlink_metadata(folder)
            .with_context(|| format!("could not read `{}`", folder.display()))?;
        let own = meta.uid() == rustix::process::getuid().as_raw();
        if !meta.is_dir() || !own || meta.mode() & 0o077 != 0 {
            bail!(
                "`{}`, where wheels are built, is not a folder that only you can use: remove it",
                folder.display()
            );
        }
        let lock = File::create(folder.join("lock"))
            .and_then(|lock| lock.lock().map(|()| lock))
            .with_context(|| format!("could not lock `{}`", folder.display()))?;
        let place = folder.join("b");
        remove(&place)?;
        create_dir_all(&place)?;
        Ok(Self { place, workshop: None, lock: Some(lock) })
    }
}

/// Makes a root with empty mount points for everything in `/`, and for `place` as [`INSIDE`]. Returns
/// the lines of fstab(5) that mount all of them.
fn new_root(root: &Path, place: &Path) -> io::Result<Vec<u8>> {
    fs::create_dir(root)?;
    let mut lines = Vec::new();
    let mut mount = |from: &Path, to: &Path, how: &str| {
        for path in [from, to] {
            lines.extend(in_fstab(path));
            lines.push(b' ');
        }
        lines.extend(format!("none {how}\n").bytes());
    };
    for entry in fs::read_dir("/")? {
        let (from, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        let to = root.join(entry_name(&from));
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if fs::metadata(&from).is_err() {
            // A dead mount, which mount(8) would fail for.
            continue;
        } else if kind.is_dir() {
            fs::create_dir(&to)?;
            mount(&from, &to, "rbind");
        } else if kind.is_file() {
            File::create(&to)?;
            mount(&from, &to, "bind");
        }
    }
    let inside = root.join(entry_name(Path::new(INSIDE)));
    fs::create_dir(&inside)?;
    mount(place, &inside, "rbind");
    Ok(lines)
}

/// Returns the path below `/`.
fn entry_name(path: &Path) -> &Path {
    path.strip_prefix("/").expect("BUG: it is in `/`")
}

/// Returns a path as fstab(5) has it.
fn in_fstab(path: &Path) -> impl Iterator<Item = u8> {
    let bytes = path.as_os_str().as_bytes().iter();
    bytes.flat_map(|byte| match byte {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
        byte => vec![*byte],
    })
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // A leftover is removed before the next build, or with the cache.
        if self.lock.is_some() {
            let _ = remove(&self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_fstab_has_one_word_for_each_path() {
        let text = |path: &str| String::from_utf8(in_fstab(Path::new(path)).collect()).unwrap();
        assert_eq!(text("/a b\\c\td\ne"), "/a\\040b\\134c\\011d\\012e");
        assert_eq!(text("/usr/lib-1.0#é"), "/usr/lib-1.0#é");
    }
}
