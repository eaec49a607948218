//! The `wheelhouse` kind.

use anyhow::{Result, bail};

use super::{Done, Job};
use crate::buildfile::model::Wheelhouse;
use crate::key::Key;

pub(super) fn key(_wheelhouse: &Wheelhouse, _job: &Job) -> Result<Key> {
    bail!("not built yet")
}

pub(super) fn run(_wheelhouse: &Wheelhouse, _job: &Job) -> Result<Done> {
    bail!("not built yet")
}
