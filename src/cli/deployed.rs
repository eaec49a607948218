//! `--deployed`: the commit that the live code of uploads was built from.

use std::collections::BTreeMap;

use anyhow::anyhow;

use super::args::Common;
use super::session::{Session, Words};
use super::{Failure, note, verify, warn};
use crate::aws::Lambda;
use crate::deploy::{self, Live};
use crate::history::Repository;
use crate::project::Project;
use crate::record::Record;
use crate::snapshot::Overrides;
use crate::targets::upload::Upload;
use crate::targets::zip::Zip;

/// Returns the commit of the live code of one upload, or of all uploads without a name. Fails unless it
/// is one commit, which this clone has.
pub(super) fn commit(
    common: &Common,
    project: &Project,
    overrides: Overrides,
    upload: Option<&str>,
) -> Result<String, Failure> {
    let goals = upload.map(str::to_owned).into_iter().collect();
    let session = Session::open(common, Words { overrides, goals })?;
    let repository = Repository::open(project)?;
    let say = |text: &str| warn(text);
    let lambda = Lambda::connect(project, None, &say).map_err(anyhow::Error::from)?;
    let mut commits: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, upload, zip) in verify::uploads(&session)? {
        let zip = session.model.targets[zip.index()].kind.get::<Zip>();
        let zip = zip.expect("BUG: the graph has checked that an upload names a zip");
        let built = Record::of(&project.place(&zip.output.value)).ok();
        for function in &upload.functions {
            let function = function.value.as_str();
            let place = (upload.alias.as_deref(), upload.publish);
            let live = deploy::live(&lambda, function, place, &|_| {})?;
            if let Some(doubt) = &live.doubt {
                warn(&format!("function `{function}`: {doubt}"));
            }
            let published = deploy::commit_of(&lambda, function, &live)?;
            let same = built.as_ref().filter(|built| built.zip.code_sha256 == live.code_sha256);
            let of_record = || same.and_then(Record::commit).map(str::to_owned);
            let commit = published.or_else(of_record);
            let commit = commit.ok_or_else(|| unknown(&live, function, upload))?;
            commits.entry(commit).or_default().push(shown(&live, function));
        }
    }
    let all: Vec<String> = commits
        .iter()
        .map(|(commit, functions)| format!("{} from {commit}", functions.join(", ")))
        .collect();
    let (Some((commit, functions)), 1) = (commits.first_key_value(), all.len()) else {
        return Err(anyhow!(
            "the deployed code was built from different commits: {}\n\
             name one upload, `--deployed=UPLOAD`, or a commit, `--since COMMIT`",
            all.join("; ")
        )
        .into());
    };
    let functions = functions.join(", ");
    if repository.commit_of(commit)?.is_none() {
        return Err(anyhow!(
            "this clone does not have commit {commit}, which is deployed as {functions}\n\
             fetch it: `git fetch origin {commit}`"
        )
        .into());
    }
    note(&format!("{} is deployed as {functions}", repository.describe(commit)?));
    Ok(commit.clone())
}

fn unknown(live: &Live, function: &str, upload: &Upload) -> anyhow::Error {
    let way = match upload.publish {
        Some(_) => "the next version that is published from a clean checkout names it",
        None => "with `publish = true`, the upload publishes versions that name it",
    };
    anyhow!(
        "it is unknown from which commit {} was built; {way}\n\
         `--since COMMIT` or `--since TAG` takes another",
        shown(live, function)
    )
}

fn shown(live: &Live, function: &str) -> String {
    match &live.version {
        Some(version) => format!("version {version} of function `{function}`"),
        None => format!("function `{function}`"),
    }
}
