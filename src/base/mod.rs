//! The crate `zipwright-store` under its old name, and the fields of sealed files.

pub mod sealed;

pub use zipwright_store::{Digest, Printable, RelPath, Sha256};
pub use zipwright_store::{
    beneath, clock, digest, fs, parallel, path, printable, private, sha256, words,
};
