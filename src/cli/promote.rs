//! `zipwright promote ZIP`: deploys an existing zip, identified by digest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use super::args::{Common, Promote, S3Storage};
use super::{Failure, SUCCESS, note, print, print_json, uploading, warn};
use crate::aws::{Bucket, Function, Lambda, Storage};
use crate::base::{fs, words};
use crate::deploy::{self, Artifact, Deployed, Deployment, Publish};
use crate::project::Project;
use crate::record::Record;
use crate::targets::{layer, upload};
use crate::{bundle, check};

pub(super) fn run(common: &Common, promote: &Promote) -> Result<u8, Failure> {
    let digest = uploading::parse(&promote.digest)?;
    refuse_names(promote)?;
    let path = match Path::new(&promote.zip).is_file() {
        true => promote.zip.clone(),
        false => super::digest::zip_of(common, &promote.zip)?,
    };
    let zip = fs::read(Path::new(&path))?;
    let reference = promote.s3_storage == S3Storage::Reference;
    let bucket = promote.s3.as_deref().map(|text| bucket(text, reference)).transpose()?;
    if !bundle::fits_in_a_request(zip.len() as u64) && bucket.is_none() {
        return Err(anyhow!(
            "`{path}` is too large to upload directly: it has {}, and a request to Lambda holds \
             slightly less than 50 MiB; nothing was sent; add `--s3 BUCKET`, with a bucket of the \
             functions' region",
            words::size(zip.len() as u64)
        )
        .into());
    }
    let artifact = Artifact::new(zip, bucket);
    bundle::refuse_another(&path, &artifact.code_sha256, &digest)?;
    let record = Record::of(Path::new(&path)).ok();
    let deployed = deploy(promote, &artifact, record.as_ref().and_then(Record::commit))?;
    show(common, promote, &artifact, &deployed)?;
    Ok(SUCCESS)
}

/// Parses `BUCKET` or `BUCKET/PREFIX`, with or without `s3://`.
fn bucket(text: &str, reference: bool) -> Result<Bucket<'_>> {
    let text = text.strip_prefix("s3://").unwrap_or(text);
    let (name, prefix) = text.split_once('/').unwrap_or((text, ""));
    if !layer::is_bucket(name) {
        bail!("`{name}` cannot be the name of a bucket");
    }
    Ok(Bucket { name, prefix: prefix.trim_matches('/'), reference })
}

/// Fails for names that Lambda refuses but emulators accept.
fn refuse_names(promote: &Promote) -> Result<()> {
    for name in &promote.function {
        if !upload::is_function(name) {
            bail!("`{name}` cannot be the name of a function, nor an ARN of one without a version");
        }
    }
    if let Some(name) = promote.alias.as_ref().filter(|name| !upload::is_alias(name)) {
        bail!("`{name}` cannot be the name of an alias");
    }
    if let Some(arn) = promote.kms_key.as_ref().filter(|arn| !upload::is_kms_key(arn)) {
        bail!("`{arn}` is not the ARN of a KMS key");
    }
    if let Some(rule) = promote.silence.iter().find(|rule| !check::is_rule(rule)) {
        bail!("unknown rule `{rule}`; docs/CHECK.md lists the rules");
    }
    Ok(())
}

fn deploy(promote: &Promote, artifact: &Artifact, commit: Option<&str>) -> Result<Vec<Deployed>> {
    let project = Project::here()?;
    let say = |text: &str| warn(text);
    let lambda = Lambda::connect(&project, promote.profile.as_deref(), &say)?;
    let alias = promote.alias.as_deref();
    // Lambda accepts larger zips through S3.
    let too_large = promote.s3.iter().map(|_| "zipped-size".to_owned());
    let silence: Vec<String> = promote.silence.iter().cloned().chain(too_large).collect();
    let fits = |function: &Function| {
        deploy::check(function, &artifact.bytes, &[], &silence, BTreeMap::new(), &say)
            .context("nothing was sent; `--silence RULE` ignores a rule")
    };
    let mut functions: Vec<&str> = promote.function.iter().map(String::as_str).collect();
    functions.sort_unstable();
    functions.dedup();
    // Check all functions before the first is changed.
    for name in &functions {
        deploy::look(&lambda, name, alias)
            .and_then(|function| match function.code_sha256 == artifact.code_sha256 {
                true => Ok(()),
                false => fits(&function),
            })
            .with_context(|| format!("nothing was sent, because of function `{name}`"))?;
    }
    let said = Mutex::new(String::new());
    let status = |text: &str| progress(text, &said);
    let code = || artifact.code(&lambda, &status);
    let deployment = |function| Deployment {
        function,
        code_sha256: &artifact.code_sha256,
        size: artifact.size(),
        layers: &[],
        publish: (promote.publish || alias.is_some()).then_some(Publish::Version),
        storage: Storage { kms_key: promote.kms_key.as_deref(), reference: artifact.reference() },
        commit,
        alias,
        check: &|_| Ok(()),
        code: &code,
        status: &status,
        note: &note,
    };
    let deployments: Vec<Deployment> = functions.into_iter().map(deployment).collect();
    deploy::deploy_all(&lambda, &deployments)
}

/// Prints a step as a line of its own, without a line for each second of a wait.
fn progress(text: &str, said: &Mutex<String>) {
    let what = text.split(" (").next().unwrap_or(text);
    let mut said = said.lock().expect("BUG: no holder of this lock panics");
    if *said != what {
        note(what);
        what.clone_into(&mut said);
    }
}

fn show(
    common: &Common,
    promote: &Promote,
    artifact: &Artifact,
    deployed: &[Deployed],
) -> Result<()> {
    let mut functions: Vec<&String> = promote.function.iter().collect();
    functions.sort_unstable();
    functions.dedup();
    let all = functions.into_iter().zip(deployed);
    let code_sha256 = &artifact.code_sha256;
    if common.json {
        let of = |(function, deployed): (&String, &Deployed)| {
            json!({
                "function": function,
                "sent": deployed.sent,
                "version": deployed.version,
                "alias": promote.alias,
            })
        };
        let functions: Vec<Value> = all.map(of).collect();
        return print_json(&json!({
            "code_sha256": code_sha256,
            "s3": artifact.stored(),
            "functions": functions,
        }));
    }
    for (function, deployed) in all {
        let version = deployed.version.iter().map(|version| format!(", version {version}"));
        let alias = promote.alias.iter().map(|alias| format!(", alias {alias}"));
        let under: String = version.chain(alias).collect();
        print(format!("function `{function}` has {code_sha256}{under}"))?;
    }
    Ok(())
}
