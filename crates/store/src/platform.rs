//! Everything that a system besides Linux may lack: its lists of processes, connections and
//! descriptors, its namespaces, its events of opened files, and calls on paths that POSIX does not
//! have.
//!
//! All other code uses what every Unix has. Each function here may return that the system does not
//! report something, and its callers then do without: `docs/INSTALL.md` lists the consequences. So a
//! port fills in `other.rs`. `--cfg zipwright_portable` uses `other.rs` on Linux too, for tests of
//! these ways.

#[cfg(all(target_os = "linux", not(zipwright_portable)))]
mod linux;
#[cfg(not(all(target_os = "linux", not(zipwright_portable))))]
mod other;

#[cfg(all(target_os = "linux", not(zipwright_portable)))]
pub use linux::*;
#[cfg(not(all(target_os = "linux", not(zipwright_portable))))]
pub use other::*;

/// A process that runs.
#[derive(Clone, Debug)]
pub struct Process {
    pub id: i32,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// In clock ticks since the system started. No two processes of a system have the same number
    /// and start.
    pub started: u64,
}
