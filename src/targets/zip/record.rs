//! The build record that a zip target leaves beside its bundle.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::base::{Digest, fs, sha256};
use crate::bundle::{self, Manifest, Origin, Written};
use crate::pip::{self, BuildInputs, Interpreter, Provenance};
use crate::record::{
    self, Body, Build, Content, Git, Informative, Licence, Member, Requirement, Text, Wheel,
    Wheelhouse,
};
use crate::target::Job;
use crate::targets::checkout::Repository;
use crate::targets::staging::Staging;
use crate::targets::staging::{Origins, bytecode};
use crate::targets::wheelhouse;
use crate::targets::zip::Zip;
use crate::wheel;

/// Largest METADATA that is read, far above any real one.
const METADATA_MAX: u64 = 4 << 20;

/// Returns the Buildfile's part of the build record. It is part of the zip's key, so that the
/// record is updated even if changed requirements gave the same wheels.
pub(super) fn wheelhouses(staging: &Staging, job: &Job) -> Vec<Wheelhouse> {
    let wheelhouse = |name: &str| {
        let wheelhouse = job.of_kind::<wheelhouse::Wheelhouse>("wheelhouse", name).ok()?;
        Some(Wheelhouse {
            target: name.to_owned(),
            python: wheelhouse.python.value.clone(),
            platform: wheelhouse.platform.as_ref().map(|platform| {
                let python = platform.python;
                format!("python{}.{} on {}", python.major, python.minor, platform.arch)
            }),
        })
    };
    staging.wheels.iter().filter_map(|name| wheelhouse(&name.value)).collect()
}

/// The part of a build record that does not depend on the bundle's bytes, which may not exist yet.
pub(super) struct Draft(Text);

impl Draft {
    pub(super) fn of(
        staging: &Staging,
        (manifest, origins): (&Manifest, &Origins),
        job: &Job,
    ) -> Result<Self> {
        let wheels: Vec<Wheel> = origins
            .without_bytecode()
            .iter()
            .map(|wheel| {
                describe(wheel).with_context(|| format!("could not read `{}`", wheel.file_name))
            })
            .collect::<Result<_>>()?;
        let members = members(manifest);
        let wheelhouses = wheelhouses(staging, job);
        let git = job.shared.get::<Repository>().checkout().map(|checkout| checkout.git(manifest));
        let informative = informative(&wheelhouses, &wheels, git, job);
        let digest = record::content_digest(&members);
        let content = Content { digest, size: manifest.unzipped_size() };
        Ok(Self(Body { content, wheelhouses, wheels, members, informative }.text()))
    }

    /// Writes the build record of the bundle in its place.
    pub(super) fn leave<W>(&self, zip: &Zip, written: &Written<W>, job: &Job) -> Result<()> {
        let text = self.0.with(&record::Zip {
            name: zip.output.value.file_name().into(),
            size: written.size,
            sha256: sha256::hex(&written.sha256),
            code_sha256: bundle::code_sha256(&written.sha256),
            form: super::packing(zip).form().into(),
        });
        let path = zip.record();
        let digest = Digest::of(text.as_bytes());
        if let Err(error) = job.check_replaces(&path, &digest)
            && (job.owned.was_left(&path) || !is_like(&job.project.place(&path), &text))
        {
            return Err(error);
        }
        job.owned.promise([(&path, &digest)])?;
        let place = job.files.to_write(&path)?;
        fs::write_if_changed(&place, text.as_bytes(), fs::FILE_MODE)?;
        Ok(())
    }
}

/// Returns whether the file at `place` is a build record that differs from `text` only in its
/// informative part, such as the time of its build.
fn is_like(place: &Path, text: &str) -> bool {
    let binding = |text: &str| {
        let mut record: serde_json::Map<_, _> = serde_json::from_str(text).ok()?;
        record.remove("informative")?;
        Some(record)
    };
    let is_file = place.symlink_metadata().is_ok_and(|meta| meta.is_file());
    let found = is_file.then(|| fs::read_to_string(place).ok()).flatten();
    found.and_then(|found| binding(&found)).is_some_and(|found| binding(text) == Some(found))
}

fn members(manifest: &Manifest) -> Vec<Member> {
    manifest
        .entries
        .iter()
        .map(|entry| Member {
            path: entry.path.to_string(),
            mode: if entry.executable { "755" } else { "644" }.into(),
            size: entry.size,
            blake3: entry.digest.to_string(),
            origin: match &entry.origin {
                Origin::Wheel { wheel, .. } => {
                    record::Origin::Wheel(manifest.wheels[*wheel].file_name.clone())
                }
                Origin::Source(path) => match bytecode::source_of(path) {
                    Some(source) => record::Origin::Bytecode(source),
                    None => record::Origin::Source(path.to_string()),
                },
            },
        })
        .collect()
}

fn describe(wheel: &wheel::Wheel) -> Result<Wheel> {
    Ok(Wheel {
        file: wheel.file_name.clone(),
        project: wheel.name.normalised(),
        version: wheel.name.version.clone(),
        sha256: wheel.sha256.clone(),
        licence: licence(wheel)?,
    })
}

fn licence(wheel: &wheel::Wheel) -> Result<Option<Licence>> {
    let is_metadata = |name: &str| {
        name.strip_suffix(".dist-info/METADATA").is_some_and(|rest| !rest.contains('/'))
    };
    let Some(member) = wheel.members.iter().find(|member| is_metadata(&member.name)) else {
        return Ok(None);
    };
    // A much longer description may follow; it is not inflated.
    let mut metadata = BufReader::with_capacity(4096, wheel.content(member).take(METADATA_MAX));
    let mut head = Vec::new();
    while metadata.read_until(b'\n', &mut head)? > 0 && !is_blank_line_at_end(&head) {}
    Ok(record::licence_of(&String::from_utf8_lossy(&head)))
}

fn is_blank_line_at_end(head: &[u8]) -> bool {
    head.ends_with(b"\n\n") || head.ends_with(b"\n\r\n")
}

fn informative(
    wheelhouses: &[Wheelhouse],
    wheels: &[Wheel],
    git: Option<Git>,
    job: &Job,
) -> Informative {
    let epoch = job.project.var("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok());
    let time = epoch.and_then(|seconds| Timestamp::from_second(seconds).ok());
    // A cache that cannot be used has no wheels.
    let cache = job.project.cache().ok();
    let provenance = |wheel: &Wheel| {
        cache.map_or(Provenance::Unknown, |cache| pip::provenance(cache, &wheel.sha256))
    };
    let provenances: Vec<Provenance> = wheels.iter().map(provenance).collect();
    let word = |provenance: &Provenance| match provenance {
        Provenance::Built(_) => "built",
        Provenance::Downloaded => "downloaded",
        Provenance::Unknown => "unknown",
    };
    let ways = wheels.iter().zip(&provenances);
    let builds = ways.clone().filter_map(|(wheel, how)| match how {
        Provenance::Built(build_inputs) => Some(build(wheel, build_inputs)),
        Provenance::Downloaded | Provenance::Unknown => None,
    });
    let builds: Vec<Build> = builds.collect();
    let identity = |wheelhouse: &Wheelhouse| {
        let target = &wheelhouse.target;
        let own = job.of_kind::<wheelhouse::Wheelhouse>("wheelhouse", target).ok()?;
        if builds.is_empty() && own.needs_no_python(job) {
            return None;
        }
        let found = Interpreter::find(job.project, &wheelhouse.python).ok()?;
        Some((target.clone(), found.identity))
    };
    let interpreters: Vec<_> = wheelhouses.iter().filter_map(identity).collect();
    Informative {
        time: time.unwrap_or_else(Timestamp::now).to_string(),
        git,
        builds,
        pip: interpreters.iter().map(|(name, of)| (name.clone(), of.pip.clone())).collect(),
        interpreters: interpreters.into_iter().map(|(name, of)| (name, of.python)).collect(),
        wheels: ways.map(|(wheel, how)| (wheel.file.clone(), word(how).into())).collect(),
    }
}

fn build(wheel: &Wheel, build_inputs: &BuildInputs) -> Build {
    let requirement =
        |wheel: &pip::Wheel| Requirement { file: wheel.name.clone(), sha256: wheel.sha256.clone() };
    Build {
        wheel: wheel.file.clone(),
        path: build_inputs.path.clone(),
        requires: build_inputs.requires.iter().map(requirement).collect(),
        tools: build_inputs.tools.clone(),
    }
}
