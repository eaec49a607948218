//! The sources of the bytes in a tree: wheels, opened and checked, and the project's files.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use crate::base::fs;
use crate::bundle::Origin;
use crate::files::{Content, Fact};
use crate::project::Project;
use crate::target::Job;
use crate::targets::shared::Wheels;
use crate::targets::staging::Staging;
use crate::wheel::{Member, Wheel};

pub(in crate::targets) struct Origins<'a> {
    /// Sorted by file name, then digest; each digest once. Then the archives of their bytecode,
    /// each with the file name of its wheel.
    pub(in crate::targets) wheels: Vec<Wheel>,
    /// Number of real wheels at the start of `wheels`.
    pub(super) genuine: usize,
    project: &'a Project,
}

impl<'a> Origins<'a> {
    /// Opens all wheels in the wheelhouses of a staging target.
    pub(in crate::targets) fn open(staging: &Staging, job: &Job<'a>) -> Result<Self> {
        let mut found = BTreeMap::new();
        for folder in super::wheelhouses(staging, job)? {
            let mut paths = job.files.list(folder)?.files;
            paths.retain(|path| path.file_name().ends_with(".whl"));
            // Wheels are few and large, so each gets its own task.
            let facts: Vec<Result<Fact>> =
                paths.par_iter().map(|path| job.files.fact(path)).collect();
            for (path, fact) in paths.into_iter().zip(facts) {
                let Content::File { digest, .. } = fact?.content else {
                    bail!("`{path}` is not a file");
                };
                found.entry(digest).or_insert(path);
            }
        }
        let cache = job.project.cache()?;
        let shared = job.shared.get::<Wheels>();
        let opened: Vec<Result<Wheel>> = found
            .into_par_iter()
            .map(|(digest, path)| shared.open(&job.project.place(&path), digest, cache))
            .collect();
        let mut wheels = opened.into_iter().collect::<Result<Vec<_>>>()?;
        wheels.sort_by(|a, b| (&a.file_name, a.digest).cmp(&(&b.file_name, b.digest)));
        Ok(Self { genuine: wheels.len(), wheels, project: job.project })
    }

    /// Returns the wheel and the member of an origin; the position is that in [`Self::wheels`].
    pub(in crate::targets) fn member(&self, wheel: usize, name: &str) -> Result<(&Wheel, &Member)> {
        let wheel = &self.wheels[wheel];
        let member = wheel.member(name).with_context(|| {
            format!("wheel `{}` has no member `{name}` any more", wheel.file_name)
        })?;
        Ok((wheel, member))
    }

    /// Returns a reader for the content of a file in the tree.
    pub(in crate::targets) fn content(&self, origin: &Origin) -> Result<Box<dyn Read + Send + '_>> {
        match origin {
            Origin::Source(path) => Ok(Box::new(fs::open(&self.project.place(path))?)),
            Origin::Wheel { wheel, member, new_shebang } => {
                let (wheel, member) = self.member(*wheel, member)?;
                if *new_shebang {
                    let script = wheel.script(member).with_context(|| {
                        format!("could not read `{}` of `{}`", member.name, wheel.file_name)
                    })?;
                    return Ok(Box::new(Cursor::new(script)));
                }
                Ok(wheel.content(member))
            }
        }
    }

    /// Returns the name of an origin in messages.
    pub(in crate::targets) fn name<'b>(wheels: &'b [Wheel], origin: &'b Origin) -> &'b str {
        match origin {
            Origin::Wheel { wheel, .. } => &wheels[*wheel].file_name,
            Origin::Source(path) => path.as_str(),
        }
    }
}
