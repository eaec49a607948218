//! zipwright builds AWS Lambda bundles for Python from a Buildfile.
//!
//! Modules in the order of their layers: each may import only the modules above it. The map is in
//! `docs/ARCHITECTURE.md`, and `tests/it/tidy.rs` checks the order.

pub use zipwright_bundle as bundle;
pub use zipwright_bundle::{check, diff, elf, pyc, record};
pub use zipwright_engine::{
    build, diagnostic, event, files, glob, graph, key, leftovers, lock, make, observation,
    ownership, plan, process, signals, snapshot, state, target,
};
pub use zipwright_lambda::{aws, deploy};
pub use zipwright_pip as pip;
pub use zipwright_python::wheel;
/// Bytes on disk, by the name that the modules use.
pub use zipwright_store as base;
pub use zipwright_store::project;

pub mod unpack;
pub mod graph_export;
pub mod timings;
pub mod reproduce;
pub mod bytecode;
pub mod local;
pub mod watch;
pub mod timestamp;
pub mod buildfile;
pub mod targets;
pub mod json_schema;
pub mod init;
pub mod import;
pub mod history;
pub mod ui;
pub mod cli;
