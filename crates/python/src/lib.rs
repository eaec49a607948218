//! The vocabulary of Python packaging, each word in one place: names of projects, versions, markers,
//! requirements, architectures, Lambda runtimes, names and tags of wheels, lockfiles, pages of package
//! indexes; and the content of wheels.
//!
//! All but [`wheel`] is computed from text. This crate starts no process, and knows nothing of pip,
//! targets or Buildfiles.

mod arch;
mod environment;
mod grammar;
pub mod lock;
mod marker;
mod metadata;
mod name;
mod pin;
mod requirement;
mod runtime;
mod simple;
mod tags;
mod target;
mod version;
pub mod wheel;
mod wheel_name;

pub use arch::Arch;
pub use environment::Environment;
pub use marker::Marker;
pub use metadata::{Metadata, lack};
pub use name::{is_name, normalise};
pub use pin::{Choice, Pin};
pub use requirement::Requirement;
pub use runtime::Runtime;
pub use simple::{Offer, SimplePage};
pub use tags::{Tags, linux_platforms};
pub use target::Target;
pub use version::{Specifier, Version};
pub use wheel_name::WheelName;
