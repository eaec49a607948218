//! Small values that every layer shares: digests, project paths, words for messages.
//! Knows nothing of Buildfiles, targets, state or output.

pub mod beneath;
pub mod clock;
pub mod digest;
pub mod fs;
pub mod parallel;
pub mod path;
pub mod printable;
pub mod private;
pub mod sealed;
pub mod sha256;
pub mod words;

pub use digest::Digest;
pub use path::RelPath;
pub use printable::Printable;
pub use sha256::Sha256;
