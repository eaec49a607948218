//! Calls of a bundle's handler on this machine, by [`crate::local`]. Knows the Python of a bundle,
//! and the hints for failures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

use super::{Calls, failure, show};
use crate::base::digest::FieldHasher;
use crate::base::{Digest, fs, words};
use crate::diagnostic::Spanned;
use crate::local::{Client, Function, Outcome, Setup, Tree};
use crate::pip::Interpreter;
use crate::process::Stream;
use crate::target::{Done, Job};
use crate::targets::invoke::Local;
use crate::targets::staging::Staging;
use crate::targets::wheelhouse::{Platform, Wheelhouse};
use crate::targets::zip::Zip;
use crate::watch::Hosts;

/// Folder of the unpacked bundles in the state folder, with one folder for each target.
const UNPACKED: &str = "local";

pub(super) fn run(
    local: &Local,
    (zip, layers): (&Spanned<String>, &[Spanned<String>]),
    calls: &Calls,
    job: &Job,
) -> Result<Done> {
    let handler = local.handler.as_deref().context("an invoke that is local needs a `handler`")?;
    let zips: Vec<&str> = [zip].into_iter().chain(layers).map(|name| name.value.as_str()).collect();
    let client = client(local, &zips, job)?;
    let python = version(client.interpreter.identity.minor);
    let zips = Zips { task: &zips[..1], layers: &zips[1..] };
    let region = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| job.project.var(name));
    let region = region.unwrap_or("us-east-1");
    let origin = zips.origin(&format!("{local:?} {client:?} {region}"), job)?;
    let hosts = job.shared.find::<Hosts>();
    let handlers = hosts.as_ref().map(|hosts| &hosts.handlers);
    // Another one is ended before its files are replaced.
    let warm = handlers.and_then(|handlers| handlers.take(&job.target.name.value, origin));
    job.messages.status("unpacking the bundle");
    let unpacked = zips.unpack(job)?;

    job.messages.status(&format!("running `{handler}`"));
    let cold = || {
        Function::new(Setup {
            name: job.target.name.value.clone(),
            handler: handler.to_owned(),
            tree: unpacked.task.folder.clone(),
            layers: unpacked.layers.as_ref().map(|layers| layers.folder.clone()),
            client,
            region: region.to_owned(),
            timeout: Duration::from_secs(local.timeout.into()),
            env: local.env.clone(),
        })
    };
    let mut function = warm.unwrap_or_else(cold);
    let log = |line: &str| job.messages.line(Stream::Stderr, line.into());
    let (mut starts, mut seconds) = (0, 0.0);
    let called = calls.each(|payload| {
        let reply = function.call(payload, &log)?;
        starts += usize::from(reply.cold);
        seconds = reply.seconds;
        match reply.outcome {
            Outcome::Response(response) => {
                show(&response, job);
                Ok(response)
            }
            Outcome::Failure(report) => {
                let way_out = way_out(&report, local);
                bail!("`{handler}` failed: {}{way_out}", failure(&report))
            }
        }
    });
    let foreign = unpacked.foreign()?;
    match (handlers, foreign) {
        (Some(handlers), None) => handlers.keep(&job.target.name.value, origin, function),
        (_, Some(path)) => warn_of_foreign(&path, job),
        (None, None) => {}
    }
    let (count, answers) = called?;
    let milliseconds = (seconds * 1e6).round() / 1e3;
    let facts = vec![
        ("local".into(), Json::from(true)),
        ("python".into(), Json::from(python)),
        ("duration_ms".into(), Json::from(milliseconds)),
        ("cold_starts".into(), Json::from(starts)),
        ("calls".into(), Json::from(count)),
    ];
    Ok(Done { result: Some(answers.finish()), facts, ..Done::default() })
}

/// The zip targets of a function.
struct Zips<'a> {
    task: &'a [&'a str],
    layers: &'a [&'a str],
}

struct Unpacked {
    task: Tree,
    layers: Option<Tree>,
}

impl Unpacked {
    /// Returns a path that the handler wrote beside its code.
    fn foreign(&self) -> Result<Option<PathBuf>> {
        let trees = [Some(&self.task), self.layers.as_ref()].into_iter().flatten();
        let foreign = trees.map(Tree::foreign).collect::<Result<Vec<_>>>()?;
        Ok(foreign.into_iter().flatten().next())
    }
}

fn warn_of_foreign(path: &Path, job: &Job) {
    job.messages.warn(&format!(
        "the handler wrote `{}` beside its code, which is read-only on Lambda; only /tmp is \
         writable",
        path.display()
    ));
}

impl Zips<'_> {
    fn unpack(&self, job: &Job) -> Result<Unpacked> {
        let layers = (!self.layers.is_empty()).then(|| unpack(self.layers, "opt", job));
        Ok(Unpacked { task: unpack(self.task, "task", job)?, layers: layers.transpose()? })
    }

    /// Returns a digest of everything that a function with these settings is started from.
    fn origin(&self, settings: &str, job: &Job) -> Result<Digest> {
        let mut hasher = FieldHasher::new();
        hasher.field(settings);
        for name in self.task.iter().chain(self.layers) {
            hasher.field(job.result_of(name)?.as_bytes());
        }
        Ok(hasher.finish())
    }
}

/// Unpacks the bundles of these zip targets into one folder of the target.
fn unpack(zips: &[&str], folder: &str, job: &Job) -> Result<Tree> {
    let mut bundles = Vec::new();
    for name in zips {
        bundles.push(fs::read(&job.project.place(&job.of_kind::<Zip>("zip", name)?.output.value))?);
    }
    let below = format!("{UNPACKED}/{}", job.target.name.value);
    let place = job.project.state_folder(&below)?.join(folder);
    let failed = || format!("could not unpack the bundle of {}", words::list(zips));
    Tree::unpack(&bundles, &place).with_context(failed)
}

/// Returns AWS's client in the configured Python, or in that of the bundles' wheels.
fn client(local: &Local, zips: &[&str], job: &Job) -> Result<Client> {
    let wheelhouse = zips.iter().find_map(|zip| wheelhouse(zip, job));
    let platform = wheelhouse.and_then(|wheelhouse| wheelhouse.platform.as_ref());
    let python = match (&local.python, platform, wheelhouse) {
        (Some(python), ..) => python.value.clone(),
        (None, Some(platform), _) => {
            format!("python{}.{}", platform.python.major, platform.python.minor)
        }
        (None, None, Some(wheelhouse)) => wheelhouse.python.value.clone(),
        (None, None, None) => "python3".into(),
    };
    let interpreter = Interpreter::find(job.project, &python)?;
    if let Some(platform) = platform {
        warn_of_differences(platform, &interpreter, job);
    }
    Client::prepare(job.project, interpreter, local.boto3, job.messages)
}

fn warn_of_differences(platform: &Platform, interpreter: &Interpreter, job: &Job) {
    let wanted = (platform.python.major, platform.python.minor);
    let found = interpreter.identity.minor;
    if wanted != found {
        job.messages.warn(&format!(
            "the bundle is for Python {} and runs in {}: compiled modules in it cannot be imported",
            version(wanted),
            version(found)
        ));
    }
    if platform.arch.machine() != std::env::consts::ARCH {
        job.messages.warn(
            "the bundle is for another architecture than this machine's: compiled modules in it \
             cannot be imported",
        );
    }
}

/// Returns the first wheelhouse in a bundle.
fn wheelhouse<'a>(zip: &str, job: &Job<'a>) -> Option<&'a Wheelhouse> {
    let zip = job.model.target(zip)?.kind.get::<Zip>()?;
    let staging = job.model.target(&zip.staging.value)?.kind.get::<Staging>()?;
    job.model.target(&staging.wheels.first()?.value)?.kind.get()
}

fn version((major, minor): (u8, u8)) -> String {
    format!("{major}.{minor}")
}

/// Returns the hint if the failure is a missing module.
fn way_out(report: &[u8], local: &Local) -> String {
    let report: BTreeMap<String, Json> = serde_json::from_slice(report).unwrap_or_default();
    let message = report.get("errorMessage").and_then(Json::as_str).unwrap_or_default();
    let missing =
        message.split("No module named '").nth(1).and_then(|rest| rest.split('\'').next());
    let Some(missing) = missing else { return String::new() };
    let top = missing.split('.').next().unwrap_or(missing);
    match top {
        "boto3" | "botocore" | "s3transfer" | "jmespath" if !local.boto3 => format!(
            "\nthe bundle has no `{top}`; to use the runtime's own, set `with-boto3 = true`"
        ),
        _ => format!("\nthe bundle has no `{missing}`; it would be missing on Lambda too"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_module_has_a_way_out() {
        let local =
            |boto3| Local { handler: None, timeout: 3, env: BTreeMap::new(), python: None, boto3 };
        let report = |name: &str| {
            format!(
                r#"{{"errorMessage": "Unable to import module 'app': No module named '{name}'"}}"#
            )
        };
        let of = |name: &str, boto3| way_out(report(name).as_bytes(), &local(boto3));
        assert!(of("boto3", false).contains("`with-boto3 = true`"));
        assert!(of("boto3", true).contains("has no `boto3`; it would be missing"));
        assert!(of("yaml.nodes", false).contains("has no `yaml.nodes`"));
        assert_eq!(way_out(br#"{"errorMessage": "boom"}"#, &local(false)), "");
        assert_eq!(way_out(b"?", &local(false)), "");
    }
}
