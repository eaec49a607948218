//! The `staging` kind.

use anyhow::{Result, bail};

use super::{Done, Job};
use crate::buildfile::model::{Output, Staging};
use crate::key::Key;

pub(super) fn key(_staging: &Staging, _job: &Job) -> Result<Key> {
    bail!("not built yet")
}

pub(super) fn run(_staging: &Staging, _job: &Job) -> Result<Done> {
    bail!("not built yet")
}

pub(super) fn expected_outputs(_staging: &Staging, _job: &Job) -> Vec<Output> {
    Vec::new()
}
