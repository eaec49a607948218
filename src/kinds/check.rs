//! The `check` kind: whether a bundle will run where it is going. Also done before every upload,
//! with what Lambda itself says of the function.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::{Done, Job, staging};
use crate::aws::Function;
use crate::base::fs;
use crate::buildfile::model::{Arch, Check, Kind, Upload};
use crate::bundle::Origin;
use crate::check::{self, Subject};
use crate::deploy;
use crate::key::{Key, Value};

pub(super) fn key(check: &Check, job: &Job) -> Result<Key> {
    let Check { zip, runtime, arch, handler, silence } = check;
    let mut key = Key::new();
    key.text("form", check::FORM);
    key.push(format!("zip {}", zip.value), Value::Digest(job.result_of(&zip.value)?));
    key.text("runtime", runtime);
    key.text("arch", arch_of(*arch).name());
    key.text("handler", handler.as_deref().unwrap_or("none"));
    for rule in silence {
        key.text(format!("silence {rule}"), "yes");
    }
    Ok(key)
}

pub(super) fn run(check: &Check, job: &Job) -> Result<Done> {
    let name = &check.zip.value;
    let Kind::Zip(zip) = &job.named(name)?.kind else {
        bail!("`{name}` is no zip target");
    };
    let path = &zip.output.value;
    let subject = Subject {
        python: Some(check.runtime),
        arch: Some(arch_of(check.arch)),
        handler: check.handler.clone(),
        has_layers: false,
        silence: check.silence.clone(),
        origins: origins(&zip.staging.value, job),
    };
    job.messages.status(&format!("checking `{path}`"));
    let file = fs::open(&job.project.place(path))?;
    let findings =
        check::check(file, &subject).with_context(|| format!("could not check `{path}`"))?;
    let warn = |text: &str| job.messages.warn(text);
    let warnings = check::conclude(&findings, &format!("`{path}`"), &warn)?;
    Ok(Done {
        result: Some(job.result_of(name)?),
        outputs: Vec::new(),
        facts: vec![("warnings".into(), warnings.into())],
    })
}

/// Checks the bytes that are about to be sent to `function`.
pub(super) fn before_upload(
    upload: &Upload,
    function: &Function,
    zip: &[u8],
    job: &Job,
) -> Result<()> {
    if !upload.check {
        return Ok(());
    }
    job.messages.status(&format!("checking the bundle for function `{}`", function.name));
    let origins = match &job.named(&upload.zip.value)?.kind {
        Kind::Zip(zip) => origins(&zip.staging.value, job),
        _ => BTreeMap::new(),
    };
    let warn = |text: &str| job.messages.warn(text);
    deploy::check(function, zip, &upload.silence, origins, &warn).context(
        "nothing was sent; `silence = [\"RULE\"]` passes over a rule, `check = false` over all",
    )
}

/// Which wheel each path of a staging tree came from. Without a manifest, what the wheels left
/// in the bundle will tell.
fn origins(staging: &str, job: &Job) -> BTreeMap<String, String> {
    let Ok(manifest) = staging::load(staging, job) else { return BTreeMap::new() };
    let wheels = &manifest.wheels;
    let origin = |origin: &Origin| match origin {
        Origin::Wheel { wheel, .. } => Some(wheels[*wheel].file_name.clone()),
        Origin::Source(_) => None,
    };
    let entries = manifest.entries.iter();
    entries.filter_map(|entry| Some((entry.path.to_string(), origin(&entry.origin)?))).collect()
}

fn arch_of(arch: Arch) -> check::Arch {
    match arch {
        Arch::X86_64 => check::Arch::X86_64,
        Arch::Arm64 => check::Arch::Arm64,
    }
}
