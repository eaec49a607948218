//! Bytes on disk: digests, paths inside a project, files written all or nothing, folders of one user,
//! encoded values, the per-user cache.
//! Also the small values that every crate shares: text that may be shown, words for messages, the
//! size of the thread pool.
//!
//! Knows nothing of Buildfiles, targets, state or output.

pub mod beneath;
mod bucket;
mod cache;
pub mod clock;
pub mod digest;
mod envelope;
pub mod fs;
mod memo;
pub mod parallel;
pub mod path;
pub mod platform;
pub mod printable;
pub mod private;
pub mod project;
pub mod prune;
pub mod sha256;
pub mod stat;
pub mod words;

pub use bucket::{Bucket, Keep};
pub use cache::Cache;
pub use digest::Digest;
pub use envelope::Format;
pub use memo::{Memo, Observation};
pub use path::RelPath;
pub use printable::Printable;
pub use sha256::Sha256;
pub use stat::Stat;
