//! Parts of `zipwright watch`: the paths that the goals observed, the events of the file system, and
//! the programs that outlast a round. The rounds themselves are in `cli/watch.rs`.
//!
//! Knows nothing of targets and Buildfiles: paths, patterns and programs are given to it.

mod events;
mod handlers;
mod journal;
mod links;
mod observations;
mod ready;
mod screen;
mod services;
mod tracker;

pub use events::{Events, Method};
pub use handlers::Handlers;
pub use journal::{Journal, end_orphans};
pub use observations::Observations;
pub use ready::{Ready, Url};
pub use screen::{InRound, Screen};
pub use services::{Listener, Restart, Services, Spec};
pub use tracker::{Pattern, Tracker};

/// Programs that outlast a build, for the targets that use them.
pub struct Hosts {
    pub services: Services,
    pub handlers: Handlers,
}
