//! The `clamp` kind.

use anyhow::{Result, bail};

use super::{Done, Job};
use crate::buildfile::model::Clamp;
use crate::key::Key;

pub(super) fn key(_clamp: &Clamp, _job: &Job) -> Result<Key> {
    bail!("not built yet")
}

pub(super) fn run(_clamp: &Clamp, _job: &Job) -> Result<Done> {
    bail!("not built yet")
}
