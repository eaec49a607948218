//! The `group` kind.

use anyhow::{Result, bail};

use super::{Done, Job};
use crate::buildfile::model::Group;
use crate::key::Key;

pub(super) fn key(_group: &Group, _job: &Job) -> Result<Key> {
    bail!("not built yet")
}

pub(super) fn run(_group: &Group, _job: &Job) -> Result<Done> {
    bail!("not built yet")
}
