//! The `command` kind.

use anyhow::{Result, bail};

use super::{Done, Job};
use crate::buildfile::model::Command;
use crate::key::Key;

pub(super) fn key(_command: &Command, _job: &Job) -> Result<Key> {
    bail!("not built yet")
}

pub(super) fn run(_command: &Command, _job: &Job) -> Result<Done> {
    bail!("not built yet")
}
