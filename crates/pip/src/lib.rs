//! pip, run as a process, and the per-user cache of wheels.
//!
//! pip resolves requirements: zipwright parses its files only to find its inputs, runs it once to
//! resolve, and stores every wheel by its SHA-256. This module knows nothing of targets, keys or
//! Buildfiles.

mod arguments;
mod build;
mod build_environment;
mod config;
mod download;
mod fetch;
mod foreign;
mod gather;
mod handed_on;
mod install;
mod identity;
mod interpreter;
mod launch;
mod lines;
mod lockfile;
mod network;
mod options;
mod origins;
mod pinned;
mod provenance;
mod pyenv;
mod sdist;
mod requirements;
mod resolve;
mod run;
mod secrets;
mod settings;
mod sources;
mod parallel_map;
mod text;
mod tree;
mod unusable;
mod uv;
mod wheel_command;
mod wheels;

pub use build::Source;
pub use config::Config;
pub use gather::{Gathered, Inputs, RECIPE, Request, Resolver};
pub use identity::Identity;
pub use install::install;
pub use interpreter::{Interpreter, LazyInterpreter};
pub use lockfile::{LockRequest, LockedInputs};
pub use origins::{Origins, has_source, is_own_lock, pylock};
pub use parallel_map::parallel_map;
pub use provenance::{BuildInputs, Provenance, provenance};
pub use requirements::{ReadFile, Requirements};
pub use secrets::{Redactor, redact};
pub use wheels::Wheel;
