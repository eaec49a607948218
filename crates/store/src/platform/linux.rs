//! Linux, mostly by way of `/proc` (`man 5 proc`).

mod opened;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::fs::{mknodat, openat2, renameat_with};
use rustix::io::Errno;

pub use opened::OpenedFiles;

use super::Process;
use crate::project::Project;

/// Files with the settings of the kernel and the container that decide whether namespaces can be
/// made.
pub const NAMESPACE_SETTINGS: &[&str] = &[
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/user/max_mnt_namespaces",
    "/proc/self/attr/current",
];

/// Lines of `/proc/self/status` of the same kind.
const CONFINEMENT: [&str; 4] = ["Uid:", "CapEff:", "NoNewPrivs:", "Seccomp:"];

/// Every open IPv4 connection, with the user of this machine's end.
const CONNECTIONS: &str = "/proc/net/tcp";

/// Returns the processes of the system; none if it does not list them.
pub fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter_map(process).collect()
}

/// Returns `None` also for a process that has ended and was not collected yet.
pub fn process(id: i32) -> Option<Process> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may itself contain spaces and parentheses.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    Some(Process {
        id,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// Returns the numbers of the pipes that are standard output and standard error of a process.
pub fn output_pipes(id: i32) -> Vec<String> {
    let pipe = |number: &str| {
        let link = fs::read_link(format!("/proc/{id}/fd/{number}")).ok()?;
        let link = link.to_str()?;
        Some(link.strip_prefix("pipe:[")?.strip_suffix(']')?.to_owned())
    };
    ["1", "2"].into_iter().filter_map(pipe).collect()
}

/// Returns a text that differs if process numbers have another meaning: another boot, another
/// process namespace, or another first process in it (numbers of namespaces are reused as well).
pub fn process_namespace() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let numbers = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let first = process(1).map_or(0, |first| first.started);
    format!("{} {} {first}", boot.trim(), numbers.display())
}

/// Returns the signals that this process ignores.
pub fn ignored_signals() -> Vec<i32> {
    let mask = status("SigIgn:").and_then(|mask| u64::from_str_radix(&mask, 16).ok()).unwrap_or(0);
    (1..=64).filter(|signal| mask >> (signal - 1) & 1 == 1).collect()
}

/// Returns a list of the CPUs that this process may use, such as `0-3,8`.
pub fn allowed_cpus() -> Option<String> {
    status("Cpus_allowed_list:")
}

/// Returns the lines about the rights of this process that decide whether it can make namespaces.
pub fn confinement() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_one = |line: &&str| CONFINEMENT.iter().any(|name| line.starts_with(name));
    status.lines().filter(is_one).map(str::to_owned).collect()
}

fn status(name: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().to_owned())
}

/// Returns `unshare`, the program that makes namespaces.
pub fn unshare(project: &Project) -> Option<PathBuf> {
    project.find_program("unshare")
}

/// Returns a path of the file of this program, which need not have a name any more.
pub fn program() -> Option<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() { Some(own) } else { std::env::current_exe().ok() }
}

/// Returns the number of processes that ran or waited for a core, averaged over the last minute.
pub fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

pub fn host_name() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_owned())
}

/// Returns the list of open connections, in the form of `/proc/net/tcp`; `None` if the system has no
/// such list.
pub fn connections() -> Option<io::Result<String>> {
    Some(fs::read_to_string(CONNECTIONS))
}

/// Returns a path by which an inherited descriptor can be opened again, and the flags with which it
/// is open. `None` if it is closed, or the system does not tell.
pub fn descriptor(number: i32) -> Option<(PathBuf, OFlags)> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
    // They are octal.
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
    Some((PathBuf::from(format!("/proc/self/fd/{number}")), OFlags::from_bits_retain(flags)))
}

/// Returns whether [`descriptor`] works for open ones.
pub fn has_descriptors() -> bool {
    Path::new("/proc/self/fdinfo").exists()
}

/// Opens a folder below `root` without following links. `None` if the system has no such call.
pub fn open_beneath(root: &OwnedFd, path: &str, flags: OFlags) -> Option<Result<OwnedFd, Errno>> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(root, path, flags | OFlags::PATH, Mode::empty(), resolve) {
        // An older kernel, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => None,
        opened => Some(opened),
    }
}

/// Renames a file to a name that nothing has, in one step. `None` if the system or the file system
/// has no such operation.
pub fn rename_to_free(from: &Path, to: &Path) -> Option<io::Result<()>> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => None,
        renamed => Some(renamed.map_err(Into::into)),
    }
}

/// Exchanges the names of two files, in one step. Returns whether that was done.
pub fn exchange(one: &Path, other: &Path) -> bool {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}

/// Creates a named pipe for this user alone.
pub fn make_fifo(path: &Path) -> io::Result<()> {
    Ok(mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?)
}
