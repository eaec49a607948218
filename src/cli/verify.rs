//! `zipwright verify [UPLOAD]...`: compares the deployed code with this project's build.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::args::{Common, Verify};
use super::session::{Session, Words};
use super::{DIFFERENT, FAILURE, Failure, SUCCESS, build, note, print, print_json, warn};
use crate::aws::{LATEST_PUBLISHED, Lambda};
use crate::base::{Sha256, fs, private};
use crate::bundle;
use crate::deploy::{self, Live, Publish};
use crate::diagnostic::Spanned;
use crate::diff::{self, Comparison};
use crate::graph::TargetId;
use crate::project::{Project, STATE_FOLDER};
use crate::targets;
use crate::targets::upload::Upload;
use crate::targets::zip::Zip;

/// A function of an upload, and the result of its comparison.
struct Found<'a> {
    target: &'a str,
    function: &'a str,
    alias: Option<&'a str>,
    here: String,
    live: Live,
    layers: Vec<Layer<'a>>,
    difference: Option<Difference>,
}

/// A layer of an upload, and the version of it that the function has.
struct Layer<'a> {
    name: &'a str,
    here: String,
    deployed: Option<String>,
}

/// The differences of the deployed code, and the paths of both for further comparison.
struct Difference {
    theirs: String,
    ours: String,
    comparison: Comparison,
}

/// Folder for downloaded code, in the state folder.
const FETCHED: &str = "deployed";

pub(super) fn run(common: &Common, verify: &Verify) -> Result<u8, Failure> {
    let session = Session::open(common, Words::new(&verify.words))?;
    let uploads = uploads(&session)?;
    let of_layers = uploads.iter().flat_map(|(_, upload, _)| layers(upload, &session));
    let of_layers = of_layers.filter_map(|(_, zip)| session.graph.id(zip));
    let zips: Vec<TargetId> = uploads.iter().map(|(_, _, zip)| *zip).chain(of_layers).collect();
    let summary = build::for_command(common, &verify.words, &session, zips)?;
    if summary.failed > 0 {
        return Ok(FAILURE);
    }
    let say = |text: &str| warn(text);
    let lambda = Lambda::connect(&session.project, None, &say).map_err(anyhow::Error::from)?;
    let mut all = Vec::new();
    for (target, upload, zip) in uploads {
        let zip = session.model.targets[zip.index()].kind.get::<Zip>();
        let zip = zip.expect("BUG: the graph has checked that an upload names a zip");
        for function in &upload.functions {
            let named = (target, function.value.as_str());
            let mut found = find(&lambda, named, upload, zip, verify.diff, &session.project)?;
            found.layers = find_layers(&lambda, &found.live, upload, &session)?;
            all.push(found);
        }
    }
    let identical = all.iter().all(Found::is_identical);
    if common.json {
        let functions: Vec<Value> = all.iter().map(Found::to_json).collect();
        let verdict = verdict(identical);
        print_json(&json!({ "verdict": verdict, "functions": functions }))?;
    } else {
        let lines: Vec<String> = all.iter().flat_map(Found::lines).collect();
        print(lines.join("\n"))?;
    }
    Ok(if identical { SUCCESS } else { DIFFERENT })
}

/// Returns the requested uploads, each with its zip.
pub(super) fn uploads(session: &Session) -> Result<Vec<(&str, &Upload, TargetId)>> {
    let ids: Vec<TargetId> = match session.words.goals.is_empty() {
        true => session.graph.ids().collect(),
        false => {
            session.words.goals.iter().map(|goal| session.find(goal)).collect::<Result<_>>()?
        }
    };
    let mut found = Vec::new();
    for id in ids {
        let target = &session.model.targets[id.index()];
        let (name, kind) = (target.name.value.as_str(), target.kind.name());
        if let Some(upload) = target.kind.get::<Upload>() {
            let zip = session.graph.id(&upload.zip.value);
            found.push((name, upload, zip.context("an upload has a zip")?));
        } else if !session.words.goals.is_empty() {
            bail!("`{name}` is of kind `{kind}`; only uploads have deployed code");
        }
    }
    if found.is_empty() {
        bail!("the Buildfile has no upload, so nothing of it is deployed by zipwright");
    }
    Ok(found)
}

fn find<'a>(
    lambda: &Lambda,
    (target, function): (&'a str, &'a str),
    upload: &'a Upload,
    zip: &Zip,
    fetch: bool,
    project: &Project,
) -> Result<Found<'a>> {
    let place = project.place(&zip.output.value);
    let here = bundle::code_sha256_of(&place)?;
    let alias = upload.alias.as_deref();
    let live = deploy::live(lambda, function, (alias, upload.publish), &|_| {})?;
    let layers = Vec::new();
    let mut found = Found { target, function, alias, here, live, layers, difference: None };
    if fetch && found.live.code_sha256 != found.here {
        note(&format!("fetching the code of function `{function}`"));
        let zip_of_theirs = download(lambda, &found)?;
        let (ours, name) = (zip.output.value.to_string(), file_name(function, upload));
        let theirs = format!("{STATE_FOLDER}/{FETCHED}/{name}.zip");
        let kept = project.root.join(&theirs);
        project.state_folder(FETCHED)?;
        fs::write_if_changed(&kept, &zip_of_theirs, private::FILE_MODE)?;
        let comparison = diff::compare(&kept, &place)?;
        found.difference = Some(Difference { theirs, ours, comparison });
    }
    Ok(found)
}

/// Returns the name or ARN of a function, with the qualifier of an upload, as a file name: several
/// uploads may have the same function.
fn file_name(function: &str, upload: &Upload) -> String {
    let published = Some(LATEST_PUBLISHED).filter(|_| upload.publish == Some(Publish::Latest));
    let plain = |text: &str| -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        text.chars().map(|c| if plain(c) { c } else { '_' }).collect()
    };
    match upload.alias.as_deref().or(published) {
        Some(qualifier) => format!("{}@{}", plain(function), plain(qualifier)),
        None => plain(function),
    }
}

/// Returns the layers of an upload by name, each with the name of its zip target.
fn layers<'a>(
    upload: &'a Upload,
    session: &'a Session,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let layer = |name: &Spanned<String>| {
        let layer = session.model.target(&name.value)?.kind.get::<targets::layer::Layer>()?;
        Some((layer.name.value.as_str(), layer.zip.value.as_str()))
    };
    upload.layers.iter().filter_map(layer)
}

fn find_layers<'a>(
    lambda: &Lambda,
    live: &Live,
    upload: &'a Upload,
    session: &'a Session,
) -> Result<Vec<Layer<'a>>> {
    let find = |(name, zip): (&'a str, &str)| {
        let zip = session.model.target(zip).and_then(|target| target.kind.get::<Zip>());
        let zip = zip.expect("BUG: the graph has checked that a layer names a zip");
        let here = bundle::code_sha256_of(&session.project.place(&zip.output.value))?;
        let deployed = deploy::live_layer(lambda, &live.layers, name)?;
        Ok(Layer { name, here, deployed })
    };
    layers(upload, session).map(find).collect()
}

/// Downloads the deployed code, and checks its digest.
fn download(lambda: &Lambda, found: &Found) -> Result<Vec<u8>> {
    let Live { code_sha256, code_size, version, .. } = &found.live;
    let limit = match *code_size {
        0 => bundle::UNZIPPED_LIMIT,
        size => size.min(bundle::UNZIPPED_LIMIT),
    };
    let qualifier =
        version.as_deref().filter(|version| found.alias.is_some() || *version == LATEST_PUBLISHED);
    let zip = lambda.download(found.function, qualifier, limit)?;
    let fetched = bundle::code_sha256(&Sha256::of(&zip));
    if fetched != *code_sha256 {
        bail!(
            "the code fetched for function `{}` has CodeSha256 {fetched} instead of \
             {code_sha256}: it was just being deployed; run again",
            found.function
        );
    }
    Ok(zip)
}

impl Found<'_> {
    fn is_identical(&self) -> bool {
        self.here == self.live.code_sha256
            && self.live.doubt.is_none()
            && self.layers.iter().all(Layer::is_identical)
    }

    fn lines(&self) -> Vec<String> {
        let Self { target, function, alias, here, live, layers, difference } = self;
        let under = match (alias, &live.version) {
            (Some(alias), Some(version)) => format!(" (alias {alias}, version {version})"),
            (Some(alias), None) => format!(" (alias {alias})"),
            (None, _) => String::new(),
        };
        let mut lines = vec![
            format!("{target}: function `{function}` {}", verdict(self.is_identical())),
            format!("  here     {here}"),
            format!("  deployed {}{under}", live.code_sha256),
        ];
        for Layer { name, here, deployed } in layers {
            let deployed = deployed.as_deref().unwrap_or("not attached");
            lines.push(format!("  here     {here} (layer {name})"));
            lines.push(format!("  deployed {deployed} (layer {name})"));
        }
        lines.extend(live.doubt.iter().map(|doubt| format!("  {doubt}")));
        if let Some(Difference { theirs, ours, comparison }) = difference {
            lines.extend(diff::lines(comparison, theirs, ours));
        }
        lines
    }

    fn to_json(&self) -> Value {
        json!({
            "target": self.target,
            "function": self.function,
            "alias": self.alias,
            "version": self.live.version,
            "verdict": verdict(self.is_identical()),
            "here": self.here,
            "deployed": self.live.code_sha256,
            "reason": self.live.doubt,
            "layers": self.layers.iter().map(Layer::to_json).collect::<Vec<_>>(),
            "difference": self.difference.as_ref().map(|found| found.comparison.to_json()),
        })
    }
}

impl Layer<'_> {
    fn is_identical(&self) -> bool {
        self.deployed.as_ref() == Some(&self.here)
    }

    fn to_json(&self) -> Value {
        json!({ "layer": self.name, "here": self.here, "deployed": self.deployed })
    }
}

fn verdict(identical: bool) -> &'static str {
    if identical { "identical" } else { "differs" }
}
