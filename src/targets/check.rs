//! The `check` kind: whether a bundle will run in a function. Also runs before every upload, with
//! Lambda's own configuration of the function.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::iter;

use anyhow::{Context, Result, bail};
use zipwright_python::Arch;

use super::{layer, zip};
use crate::aws::Function;
use crate::base::fs;
use crate::buildfile::table::{Reader, Table, string};
use crate::buildfile::value;
use crate::bundle::Origin;
use crate::check::{self, Finding, Location, Python, Severity, Subject};
use crate::deploy;
use crate::diagnostic::Spanned;
use crate::event::Located;
use crate::key::{Key, Value};
use crate::target::{Done, Findings, Fingerprint, Job, Kind, Reference};
use crate::targets::layer::Layer;
use crate::targets::upload::Upload;
use crate::targets::zip::Zip;

/// Checks whether a bundle will run in a Lambda runtime.
#[derive(Clone, Debug)]
pub struct Check {
    /// Name of a zip target.
    pub zip: Spanned<String>,
    /// Names of zip targets that the function has as layers.
    pub layers: Vec<Spanned<String>>,
    pub runtime: Python,
    pub arch: Arch,
    /// `module.function`
    pub handler: Option<String>,
    /// Rules that report nothing.
    pub silence: Vec<String>,
}

pub(super) fn read(table: &mut Table, reader: &mut Reader) -> Option<Check> {
    let zip = table.required("zip", "\"…\"", reader, string);
    let layers = table.many("layers", reader, string);
    let runtime = table.required("runtime", "\"python3.13\"", reader, value::runtime);
    let arch = table.required("arch", "\"arm64\"", reader, value::arch);
    let handler = table.optional("handler", reader, |item, reader| {
        value::filled(item, reader, "a handler such as `lambda_handler.handler`")
    });
    let silence = table.many("silence", reader, value::rule);
    let handler = handler.map(|handler| handler.value);
    Some(Check { zip: zip?, layers, runtime: runtime?, arch: arch?, handler, silence })
}

const NOTHING_WAS_SENT: &str =
    "nothing was sent; `silence = [\"RULE\"]` ignores a rule, `check = false` all rules";

fn key(check: &Check, job: &Job) -> Result<Key> {
    let Check { zip, layers, runtime, arch, handler, silence } = check;
    let mut key = Key::new();
    key.text("form", check::FORM);
    key.push(format!("zip {}", zip.value), Value::Digest(job.result_of(&zip.value)?));
    for layer in layers {
        key.push(format!("layer {}", layer.value), Value::Digest(job.result_of(&layer.value)?));
    }
    key.text("runtime", runtime);
    key.text("arch", arch.name());
    key.text("handler", handler.as_deref().unwrap_or("none"));
    for rule in silence {
        key.text(format!("silence {rule}"), "yes");
    }
    Ok(key)
}

fn run(check: &Check, job: &Job) -> Result<Done> {
    let name = &check.zip.value;
    let zip = job.of_kind::<Zip>("zip", name)?;
    let path = &zip.output.value;
    let subject = Subject {
        python: Some(check.runtime),
        arch: Some(check.arch),
        handler: check.handler.clone(),
        has_layers: false,
        silence: check.silence.clone(),
        origins: origins(zip, job),
    };
    job.messages.status(&format!("checking `{path}`"));
    let open = |zip: &Zip| fs::open(&job.project.place(&zip.output.value));
    let layers = check.layers.iter().map(|layer| open(job.of_kind::<Zip>("zip", &layer.value)?));
    let layers = layers.collect::<Result<_>>()?;
    let findings = check::check(open(zip)?, layers, &subject)
        .with_context(|| format!("could not check `{path}`"))?;
    report_places(&findings, zip, job);
    let warn = |text: &str| job.messages.warn(text);
    let warnings = check::conclude(&findings, &format!("`{path}`"), &warn)?;
    Ok(Done {
        result: Some(job.result_of(name)?),
        facts: vec![("warnings".into(), warnings.into())],
        ..Done::default()
    })
}

/// Passes on the findings about the project's own files, with their places.
fn report_places(findings: &[Finding], zip: &Zip, job: &Job) {
    let Ok(manifest) = zip::manifest(zip, job) else { return };
    let source = |member: &str| {
        let entry = manifest.entries.iter().find(|entry| entry.path.as_str() == member)?;
        match &entry.origin {
            Origin::Source(path) => Some(path.to_string()),
            Origin::Wheel { .. } => None,
        }
    };
    for finding in findings {
        for Location { member, line } in &finding.locations {
            let Some(file) = source(member) else { continue };
            job.messages.found(Located {
                is_error: finding.severity == Severity::Error,
                file,
                line: *line,
                title: finding.rule.into(),
                text: format!("{}\nhint: {}", finding.text, finding.hint),
            });
        }
    }
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
    let origins = origins(job.of_kind::<Zip>("zip", &upload.zip.value)?, job);
    let layers = layers_of(upload, function, job)?;
    let mut silence = upload.silence.clone();
    // Lambda accepts larger zips through S3.
    silence.extend(upload.s3.iter().map(|_| "zipped-size".to_owned()));
    let warn = |text: &str| job.messages.warn(text);
    deploy::check(function, zip, &layers, &silence, origins, &warn).context(NOTHING_WAS_SENT)
}

/// Returns the layers that the function will have. Fails if one does not support the function.
fn layers_of(upload: &Upload, function: &Function, job: &Job) -> Result<Vec<deploy::Layer>> {
    let mut zips = Vec::new();
    for name in &upload.layers {
        let layer = layer::named(&name.value, job)?;
        let fits = |have: Option<&String>, wanted: Vec<String>| {
            have.is_none_or(|have| wanted.is_empty() || wanted.contains(have))
        };
        let runtime = fits(function.runtime.as_ref(), layer::runtimes(layer));
        let architecture = fits(function.architectures.first(), layer::architectures(layer));
        if !(runtime && architecture) {
            bail!(
                "layer `{}` is for {}, and function `{}` is {} on {}; nothing was sent",
                name.value,
                [layer::runtimes(layer), layer::architectures(layer)].concat().join(", "),
                function.name,
                function.runtime.as_deref().unwrap_or("no known runtime"),
                function.architectures.first().map_or("x86_64", String::as_str),
            );
        }
        let place = job.project.place(&job.of_kind::<Zip>("zip", &layer.zip.value)?.output.value);
        zips.push(deploy::Layer {
            arn: layer::version_of(&name.value, job)?,
            zip: fs::read(&place)?,
        });
    }
    Ok(zips)
}

/// Checks the bytes that are about to be a version of a layer, for every runtime and architecture
/// of the layer.
pub(super) fn before_publishing(layer: &Layer, zip: &Zip, bytes: &[u8], job: &Job) -> Result<()> {
    if !layer.check {
        return Ok(());
    }
    let name = &layer.name.value;
    job.messages.status(&format!("checking the bundle for layer `{name}`"));
    let mut silence = layer.silence.clone();
    silence.extend(layer.s3.iter().map(|_| "zipped-size".to_owned()));
    let origins = origins(zip, job);
    let or_unknown = |count: usize| if count == 0 { 1 } else { count };
    let mut findings: Vec<Finding> = Vec::new();
    for runtime in 0..or_unknown(layer.runtimes.len()) {
        for arch in 0..or_unknown(layer.archs.len()) {
            let subject = Subject {
                python: layer.runtimes.get(runtime).copied(),
                arch: layer.archs.get(arch).copied(),
                handler: None,
                has_layers: true,
                silence: silence.clone(),
                origins: origins.clone(),
            };
            let found = check::check(Cursor::new(bytes), Vec::new(), &subject);
            let found = found.context("could not check the bundle")?;
            for finding in found {
                // A finding of several runtimes is reported once, with the hint for the first.
                let same = findings.iter().any(|other| {
                    (other.rule, &other.locations, &other.text)
                        == (finding.rule, &finding.locations, &finding.text)
                });
                findings.extend(Some(finding).filter(|_| !same));
            }
        }
    }
    let warn = |text: &str| job.messages.warn(text);
    check::conclude(&findings, &format!("layer `{name}`"), &warn).context(NOTHING_WAS_SENT)?;
    Ok(())
}

/// Returns the wheel of each path of a bundle. Without a manifest, the check uses the metadata of
/// wheels in the bundle.
fn origins(bundle: &Zip, job: &Job) -> BTreeMap<String, String> {
    let Ok(manifest) = zip::manifest(bundle, job) else { return BTreeMap::new() };
    let wheels = &manifest.wheels;
    let origin = |origin: &Origin| match origin {
        Origin::Wheel { wheel, .. } => Some(wheels[*wheel].file_name.clone()),
        Origin::Source(_) => None,
    };
    let entries = manifest.entries.iter();
    entries.filter_map(|entry| Some((entry.path.to_string(), origin(&entry.origin)?))).collect()
}

impl Kind for Check {
    fn name(&self) -> &'static str {
        "check"
    }

    fn references(&self) -> Vec<Reference<'_>> {
        let names = iter::once(&self.zip).chain(&self.layers);
        names.map(|name| Reference::to("zip", name)).collect()
    }

    fn fingerprint(&self, job: &Job) -> Result<Fingerprint> {
        key(self, job).map(Fingerprint::from)
    }

    fn run(&self, job: &Job, _findings: Findings) -> Result<Done> {
        run(self, job)
    }
}
