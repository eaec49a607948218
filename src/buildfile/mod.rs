//! Buildfiles: text in, a [`model::Model`] and every mistake at once out.
//! Knows nothing of the disk: the caller hands the text in.

pub mod model;
