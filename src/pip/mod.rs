//! pip, run as a process, and a per-user store of wheels around it.
//!
//! pip decides what a set of requirements means: zipwright reads its files only to know what it
//! reads, asks it once what it would install, and keeps every wheel by its SHA-256. This module
//! knows nothing of targets, keys or Buildfiles.

mod config;
mod interpreter;
mod lines;
mod platform;
mod requirements;
mod secrets;

pub use config::Config;
pub use interpreter::{Identity, Interpreter};
pub use platform::Runtime;
pub use requirements::Requirements;
pub use secrets::{Redactor, redact};
