//! The `invoke` kind.

use anyhow::{Result, bail};

use super::{Done, Job};
use crate::buildfile::model::Invoke;
use crate::key::Key;

pub(super) fn key(_invoke: &Invoke, _job: &Job) -> Result<Key> {
    bail!("not built yet")
}

pub(super) fn run(_invoke: &Invoke, _job: &Job) -> Result<Done> {
    bail!("not built yet")
}
