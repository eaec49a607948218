//! Preflight of an upload: whether the function exists, accepts the bundle, and can be updated with
//! these credentials.

use anyhow::{Result, bail};

use crate::aws::{Function, Lambda};
use crate::base::words;
use crate::bundle;
use crate::deploy;
use crate::pip::Interpreter;
use crate::target::{Job, Kind};
use crate::targets::layer::Layer;
use crate::targets::staging::Staging;
use crate::targets::upload::Upload;
use crate::targets::wheelhouse::Wheelhouse;
use crate::targets::zip::Zip;

pub(in crate::targets) fn preflight(upload: &Upload, job: &Job) -> Result<()> {
    let say = |text: &str| job.messages.warn(text);
    if let Ok(zip) = job.of_kind::<Zip>("zip", &upload.zip.value)
        && upload.s3.is_none()
        && let Ok(last) = job.project.place(&zip.output.value).metadata()
        && !bundle::fits_in_a_request(last.len())
    {
        say(&format!(
            "the last `{}` has {}, which is too large for a request to Lambda: if the new one is \
             too, the upload needs `s3 = {{ bucket = \"…\" }}`",
            zip.output.value,
            words::size(last.len())
        ));
    }
    let lambda = Lambda::connect(job.project, None, &say)?;
    let look = |name: &str| {
        job.messages.status(&format!("checking function `{name}`"));
        let function = deploy::look(&lambda, name, upload.alias.as_deref())?;
        fits(&function, upload, job)
    };
    let names: Vec<&str> = super::names(upload).collect();
    if let [name] = names.as_slice() {
        return look(name);
    }
    let errors: Vec<String> = names
        .iter()
        .filter_map(|name| Some(format!("`{name}`: {:#}", look(name).err()?)))
        .collect();
    if !errors.is_empty() {
        let count = words::count(names.len(), "function");
        bail!("{} of {count} cannot be uploaded to:\n{}", errors.len(), errors.join("\n"));
    }
    Ok(())
}

/// Fails if the wheels in the bundle do not fit this function. A `platform` in the Buildfile must
/// match. Without it, nothing follows from the Python that runs pip, because most wheels fit any.
fn fits(function: &Function, upload: &Upload, job: &Job) -> Result<()> {
    if !upload.check {
        return Ok(());
    }
    let name = &function.name;
    let Some(runtime) = function.runtime.as_deref() else { return Ok(()) };
    for (target, wheelhouse) in wheelhouses(upload, job) {
        if let Some(platform) = &wheelhouse.platform {
            let python = format!("python{}.{}", platform.python.major, platform.python.minor);
            let arch = platform.arch.name();
            let archs = &function.architectures;
            if runtime != python || archs.first().is_some_and(|found| found != arch) {
                bail!(
                    "function `{name}` has {runtime} on {}, and the `platform` of `{target}` is \
                     {python} on {arch}: correct one of them; nothing was built (`check = false` \
                     ignores this)",
                    archs.first().map_or("x86_64", String::as_str),
                );
            }
        } else if let Ok(interpreter) = Interpreter::find(job.project, &wheelhouse.python.value)
            && let (major, minor) = interpreter.identity.minor
            && runtime != format!("python{major}.{minor}")
        {
            job.messages.warn(&format!(
                "function `{name}` has {runtime}, and `{target}` chooses wheels for Python \
                 {major}.{minor}; `platform` would choose those for the function"
            ));
        }
    }
    Ok(())
}

/// Returns the wheelhouses whose wheels are in the bundle, or in the layers that go with it.
fn wheelhouses<'a>(upload: &Upload, job: &Job<'a>) -> Vec<(&'a str, &'a Wheelhouse)> {
    let of_layer = |name: &str| Some(find::<Layer>(name, job)?.zip.value.as_str());
    let layers = upload.layers.iter().filter_map(|name| of_layer(&name.value));
    let staging = |zip: &str| find::<Staging>(&find::<Zip>(zip, job)?.staging.value, job);
    let wheelhouse = |name: &'a str| Some((name, find::<Wheelhouse>(name, job)?));
    let stagings = [upload.zip.value.as_str()].into_iter().chain(layers).filter_map(staging);
    stagings
        .flat_map(|staging| &staging.wheels)
        .filter_map(|name| wheelhouse(&name.value))
        .collect()
}

fn find<'a, T: Kind>(name: &str, job: &Job<'a>) -> Option<&'a T> {
    job.model.target(name)?.kind.get()
}
