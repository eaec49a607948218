//! The `group` kind: a name for several targets. It does no work of its own; its fingerprint is made
//! of its members' results, so that it changes if one of them does.

use anyhow::Result;

use crate::buildfile::table::{Reader, Table, members, string};
use crate::diagnostic::Spanned;
use crate::key::{Key, Value};
use crate::target::{Done, Findings, Fingerprint, Job, Kind, Reference, Trees};

#[derive(Clone, Debug)]
pub struct Group {
    pub targets: Vec<Spanned<String>>,
}

pub(super) fn read(table: &mut Table, reader: &mut Reader) -> Option<Group> {
    let targets = table
        .required("targets", "[\"…\"]", reader, |item, reader| members(item, reader, string));
    Some(Group { targets: targets? })
}

fn key(group: &Group, job: &Job) -> Result<Key> {
    let Group { targets } = group;
    let mut key = Key::new();
    for member in targets {
        key.push(format!("target {}", member.value), Value::Digest(job.result_of(&member.value)?));
    }
    Ok(key)
}

fn run(_group: &Group, _job: &Job) -> Result<Done> {
    Ok(Done::default())
}

impl Kind for Group {
    fn name(&self) -> &'static str {
        "group"
    }

    fn references(&self) -> Vec<Reference<'_>> {
        self.targets.iter().map(Reference::to_any).collect()
    }

    fn no_stamp(&self) -> Option<&'static str> {
        Some("it has no outputs: depend on its targets' outputs")
    }

    fn trees(&self) -> Trees {
        Trees::AsGoals
    }

    fn fingerprint(&self, job: &Job) -> Result<Fingerprint> {
        key(self, job).map(Fingerprint::from)
    }

    fn run(&self, job: &Job, _findings: Findings) -> Result<Done> {
        run(self, job)
    }
}
