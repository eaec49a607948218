//! The `zip` kind.

use anyhow::{Result, bail};

use super::{Done, Job};
use crate::buildfile::model::Zip;
use crate::key::Key;

pub(super) fn key(_zip: &Zip, _job: &Job) -> Result<Key> {
    bail!("not built yet")
}

pub(super) fn run(_zip: &Zip, _job: &Job) -> Result<Done> {
    bail!("not built yet")
}
