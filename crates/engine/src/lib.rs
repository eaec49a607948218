//! An incremental build engine: the model of targets and the contract of their kinds, the graph, the
//! snapshot of everything that earlier builds observed, the state, and the build itself. It speaks
//! make's command line and job slots.
//!
//! Modules in the order of their layers: each imports only the modules above it. Knows nothing of
//! Buildfiles, Python, zips or AWS; a kind brings all of that.

pub mod process;
pub mod signals;
pub mod make;
pub mod key;
pub mod event;
pub mod diagnostic;
pub mod glob;
pub mod observation;
pub mod files;
pub mod state;
pub mod ownership;
pub mod lock;
pub mod target;
pub mod graph;
pub mod plan;
pub mod snapshot;
pub mod leftovers;
pub mod build;
#[cfg(test)]
mod testing;
