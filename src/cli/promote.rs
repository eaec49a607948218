//! `zipwright promote ZIP`: the very zip that a digest names, given to functions as it lies there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::args::{Common, Promote};
use super::{Failure, SUCCESS, note, print, uploading, warn};
use crate::aws::{Bucket, Code, Function, Lambda, Stored};
use crate::base::{fs, words};
use crate::deploy::{self, Deployed, Deployment};
use crate::project::Project;
use crate::{buildfile, bundle, check};

pub(super) fn run(common: &Common, promote: &Promote) -> Result<u8, Failure> {
    let digest = uploading::parse(&promote.digest)?;
    refuse_names(promote)?;
    let path = match Path::new(&promote.zip).is_file() {
        true => promote.zip.clone(),
        false => super::digest::zip_of(common, &promote.zip)?,
    };
    let zip = fs::read(Path::new(&path))?;
    let code_sha256 = bundle::code_sha256(&Sha256::digest(&zip).into());
    bundle::refuse_another(&path, &code_sha256, &digest)?;
    if !bundle::fits_in_a_request(zip.len() as u64) && promote.s3.is_none() {
        let size = words::size(zip.len() as u64);
        return Err(anyhow!(
            "`{path}` is too large to upload directly: it has {size}, and a request to Lambda \
             holds a little less than 50 MiB; add `--s3 BUCKET`, with a bucket of the function's \
             region"
        )
        .into());
    }
    let deployed = deploy(promote, &zip, &code_sha256)?;
    show(common, promote, &code_sha256, &deployed)?;
    Ok(SUCCESS)
}

/// What Lambda would refuse, and emulators would not.
fn refuse_names(promote: &Promote) -> Result<()> {
    for name in &promote.function {
        if !buildfile::is_function(name) {
            bail!("`{name}` cannot be the name of a function, nor an ARN of one without a version");
        }
    }
    if let Some(name) = promote.alias.as_ref().filter(|name| !buildfile::is_alias(name)) {
        bail!("`{name}` cannot be the name of an alias");
    }
    let bucket = promote.s3.as_deref().and_then(|s3| s3.split('/').next());
    if let Some(name) = bucket.filter(|name| !buildfile::is_bucket(name)) {
        bail!(
            "`{name}` cannot be the name of a bucket: write `--s3 BUCKET` or `--s3 BUCKET/PREFIX`"
        );
    }
    if let Some(rule) = promote.silence.iter().find(|rule| !check::is_rule(rule)) {
        bail!("unknown rule `{rule}`; docs/CHECK.md lists what there is");
    }
    Ok(())
}

fn deploy(promote: &Promote, zip: &[u8], code_sha256: &str) -> Result<Vec<Deployed>> {
    let project = Project::here()?;
    let say = |text: &str| warn(text);
    let lambda = Lambda::connect(&project, promote.profile.as_deref(), &say)?;
    let alias = promote.alias.as_deref();
    let fits = |function: &Function| {
        deploy::check(function, zip, &[], &promote.silence, BTreeMap::new(), &say)
            .context("nothing was sent; `--silence RULE` passes over a rule")
    };
    let mut functions: Vec<&str> = promote.function.iter().map(String::as_str).collect();
    functions.sort_unstable();
    functions.dedup();
    // All are asked before one is changed.
    for name in &functions {
        deploy::look(&lambda, name, alias)
            .with_context(|| format!("nothing was sent, because of function `{name}`"))?;
    }
    let said = Mutex::new(String::new());
    let status = |text: &str| progress(text, &said);
    let stored = Mutex::new(None);
    let code = || code(&lambda, promote, zip, &stored, &status);
    let deployment = |function| Deployment {
        function,
        code_sha256,
        size: zip.len() as u64,
        layers: &[],
        publish: promote.publish || alias.is_some(),
        alias,
        check: &fits,
        code: &code,
        status: &status,
        note: &note,
    };
    let deployments: Vec<Deployment> = functions.into_iter().map(deployment).collect();
    deploy::all_of(&deployments, deploy::deploy_all(&lambda, &deployments))
}

/// The code in the form in which it is sent. What goes by way of S3 goes there once.
fn code<'a>(
    lambda: &Lambda,
    promote: &Promote,
    zip: &'a [u8],
    stored: &Mutex<Option<Stored>>,
    status: &(dyn Fn(&str) + Sync),
) -> Result<Code<'a>> {
    let s3 = promote.s3.as_deref().filter(|_| !bundle::fits_in_a_request(zip.len() as u64));
    let Some(s3) = s3 else { return Ok(Code::Direct(zip)) };
    let (name, prefix) = s3.split_once('/').unwrap_or((s3, ""));
    let mut stored = stored.lock().expect("BUG: no holder of this lock panics");
    let Stored { key, version } = match &*stored {
        Some(stored) => stored.clone(),
        None => {
            let bucket = Bucket { name, prefix: prefix.trim_matches('/') };
            stored.insert(lambda.store(&bucket, zip, status)?).clone()
        }
    };
    Ok(Code::S3 { bucket: name.to_owned(), key, version })
}

/// A step as a line of its own; the seconds of a wait are not worth one each.
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
    code_sha256: &str,
    deployed: &[Deployed],
) -> Result<()> {
    let mut functions: Vec<&String> = promote.function.iter().collect();
    functions.sort_unstable();
    functions.dedup();
    let all = functions.into_iter().zip(deployed);
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
        return print(&json!({ "code_sha256": code_sha256, "functions": functions }).to_string());
    }
    for (function, deployed) in all {
        let version = deployed.version.iter().map(|version| format!(", version {version}"));
        let alias = promote.alias.iter().map(|alias| format!(", alias {alias}"));
        let under: String = version.chain(alias).collect();
        print(&format!("function `{function}` has {code_sha256}{under}"))?;
    }
    Ok(())
}
