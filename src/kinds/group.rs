//! The `group` kind: a name for several targets. It does no work of its own; its fingerprint is made
//! of its members' results, so that it changes if one of them does.

use anyhow::Result;

use super::{Done, Job};
use crate::buildfile::model::Group;
use crate::key::{Key, Value};

pub(super) fn key(group: &Group, job: &Job) -> Result<Key> {
    let Group { targets } = group;
    let mut key = Key::new();
    for member in targets {
        key.push(format!("target {}", member.value), Value::Digest(job.result_of(&member.value)?));
    }
    Ok(key)
}

pub(super) fn run(_group: &Group, _job: &Job) -> Result<Done> {
    Ok(Done::default())
}
