//! The identity of an interpreter.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The identity that an interpreter reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Implementation, full version, ABI, platform and C library; no paths.
    pub python: String,
    pub minor: (u8, u8),
    /// pip's version; empty if the interpreter has no pip.
    pub pip: String,
    /// The folder of its own `pip.conf`. Never part of a key.
    pub prefix: PathBuf,
    /// The program itself, if the interpreter was found as a script that starts it. Never part of a
    /// key.
    pub program: PathBuf,
}
