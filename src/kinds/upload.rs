//! The `upload` kind.

use anyhow::{Result, bail};

use super::{Done, Job};
use crate::buildfile::model::Upload;
use crate::key::Key;

pub(super) fn key(_upload: &Upload, _job: &Job) -> Result<Key> {
    bail!("not built yet")
}

pub(super) fn run(_upload: &Upload, _job: &Job) -> Result<Done> {
    bail!("not built yet")
}
