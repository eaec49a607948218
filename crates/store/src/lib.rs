//! Bytes on disk: digests, paths inside a project, files written all or nothing, folders of one user.
//! Also the small values that every crate shares: text that may be shown, words for messages, the
//! size of the thread pool.
//!
//! Knows nothing of Buildfiles, targets, state or output.

pub mod beneath;
pub mod clock;
pub mod digest;
pub mod fs;
pub mod parallel;
pub mod path;
pub mod printable;
pub mod private;
pub mod sha256;
pub mod words;

pub use digest::Digest;
pub use path::RelPath;
pub use printable::Printable;
pub use sha256::Sha256;
