//! Any other Unix: nothing of it is used, so everything works, with the limits in
//! `docs/INSTALL.md`.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Process;
use crate::RelPath;
use crate::project::Project;

pub const NAMESPACE_SETTINGS: &[&str] = &[];

pub fn processes() -> Vec<Process> {
    Vec::new()
}

pub fn process(_id: i32) -> Option<Process> {
    None
}

pub fn output_pipes(_id: i32) -> Vec<String> {
    Vec::new()
}

pub fn process_namespace() -> String {
    String::new()
}

pub fn ignored_signals() -> Vec<i32> {
    Vec::new()
}

pub fn allowed_cpus() -> Option<String> {
    None
}

pub fn confinement() -> Vec<String> {
    Vec::new()
}

pub fn unshare(_project: &Project) -> Option<PathBuf> {
    None
}

pub fn program() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

pub fn load_average() -> Option<f64> {
    None
}

pub fn host_name() -> Option<String> {
    let output = Command::new("hostname").output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

pub fn connections() -> Option<io::Result<String>> {
    None
}

pub fn descriptor(_number: i32) -> Option<(PathBuf, OFlags)> {
    None
}

pub fn has_descriptors() -> bool {
    false
}

pub fn open_beneath(_: &OwnedFd, _path: &str, _: OFlags) -> Option<Result<OwnedFd, Errno>> {
    None
}

pub fn rename_to_free(_from: &Path, _to: &Path) -> Option<io::Result<()>> {
    None
}

pub fn exchange(_one: &Path, _other: &Path) -> bool {
    false
}

pub fn make_fifo(path: &Path) -> io::Result<()> {
    let status = Command::new("mkfifo").args(["-m", "600"]).arg(path).status()?;
    let failed = || io::Error::other("`mkfifo` failed");
    status.success().then_some(()).ok_or_else(failed)
}

/// Reports nothing.
pub enum OpenedFiles {}

impl OpenedFiles {
    pub fn watch(_files: impl Iterator<Item = (RelPath, PathBuf)>) -> Option<Self> {
        None
    }

    pub fn finish(self, _folder: &Path) -> Option<BTreeSet<RelPath>> {
        match self {}
    }
}
