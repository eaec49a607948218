//! `zipwright history [PATH|TARGET]...`: the release in which each file was added and last changed.

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

use super::args::{Common, History as Args};
use super::session::{self, Session, Words};
use super::{Failure, SUCCESS, deployed, note, print};
use crate::base::Printable;
use crate::history::{Entry, History, Locks, Query, Repository};
use crate::project::Project;
use crate::record::{Origin, Record, Wheel};
use crate::signals;
use crate::targets::staging::Staging;
use crate::targets::wheelhouse::Wheelhouse;
use crate::targets::zip::Zip;

/// Shown for a release that does not exist yet.
const UNRELEASED: &str = "unreleased";

pub(super) fn run(common: &Common, args: &Args) -> Result<u8, Failure> {
    let project = Project::here()?;
    signals::install().map_err(anyhow::Error::from)?;
    let words = split(&project, &args.words);
    let overrides = words.overrides.clone();
    let (paths, bundles) = read(common, &project, words)?;
    let since = match &args.deployed {
        Some(name) => {
            let upload = Some(name.as_str()).filter(|name| !name.is_empty());
            Some(deployed::commit(common, &project, overrides, upload)?)
        }
        None => args.since.clone(),
    };
    let query = Query {
        tags: args.tags.clone(),
        all: args.all,
        no_renames: args.no_renames,
        since: since.clone(),
    };
    let mut history = History::read(&project, &query)?;
    history.notes.iter().for_each(|text| note(text));
    let mut rows = Vec::new();
    for bundle in &bundles {
        rows.extend(wheel_rows(&project, &history.tags, bundle, since.as_deref())?);
    }
    let sources = bundles.iter().flat_map(Bundle::sources);
    let all: Vec<String> = paths.iter().cloned().chain(sources).collect();
    if !paths.is_empty() || !bundles.is_empty() {
        history.select(&all, |path| project.root.join(path).symlink_metadata().is_ok())?;
    }
    let mut lines: Vec<Row> = history.entries.iter().map(Row::of_file).collect();
    lines.extend(rows);
    show(common, &lines)?;
    Ok(SUCCESS)
}

/// A zip target: the build record of its last build, and the files that lock its wheels.
struct Bundle {
    record: Record,
    locks: Vec<String>,
}

impl Bundle {
    /// Returns the paths of the project's own files in the bundle.
    fn sources(&self) -> impl Iterator<Item = String> {
        self.record.body.members.iter().filter_map(|member| match &member.origin {
            Origin::Source(path) => Some(path.clone()),
            Origin::Wheel(_) | Origin::Bytecode(_) => None,
        })
    }
}

/// Splits the command line into paths, targets and variables. A word with `=` is a path if there is a file
/// of this name, or a `/` before the `=`.
fn split(project: &Project, given: &[String]) -> Words {
    let is_path = |word: &&String| {
        let has_folder = word.split('=').next().is_some_and(|name| name.contains('/'));
        has_folder || project.root.join(word).symlink_metadata().is_ok()
    };
    let (paths, others): (Vec<&String>, Vec<&String>) = given.iter().partition(is_path);
    let others: Vec<String> = others.into_iter().cloned().collect();
    let mut words = Words::new(&others);
    words.goals.extend(paths.into_iter().cloned());
    words
}

/// Returns the paths and the bundles that the command line names. A word without `/` that is a target
/// is the target.
fn read(
    common: &Common,
    project: &Project,
    words: Words,
) -> Result<(Vec<String>, Vec<Bundle>), Failure> {
    let file = session::buildfile(common);
    let variable = words.overrides.given.keys().next().cloned();
    let (mut paths, mut bundles) = (Vec::new(), Vec::new());
    if !project.root.join(&file).is_file() {
        if let Some(name) = variable {
            let file = file.display();
            return Err(anyhow!(
                "`{name}=` sets a variable, and there is no `{file}`; `./{name}=` is a path"
            )
            .into());
        }
        for word in &words.goals {
            paths.push(path(project, word)?);
        }
        return Ok((paths, bundles));
    }
    if words.goals.is_empty() && variable.is_none() {
        return Ok((paths, bundles));
    }
    let session = Session::open(common, words)?;
    for word in &session.words.goals {
        match session.model.target(word) {
            Some(target) => match target.kind.get::<Zip>() {
                Some(zip) => bundles.push(bundle(&session, zip)?),
                None => {
                    let kind = target.kind.name();
                    let hint = format!("`./{word}` is the path");
                    return Err(anyhow!("`{word}` is of kind `{kind}`, not `zip`; {hint}").into());
                }
            },
            None => paths.push(path(project, word)?),
        }
    }
    Ok((paths, bundles))
}

/// Returns a path relative to the project. Fails if it is not in the project.
fn path(project: &Project, word: &str) -> Result<String> {
    let root = project.root.display();
    match session::path(project, word) {
        Some(path) => Ok(path.to_string()),
        None if word.is_empty() => bail!("a path is empty; `.` is the project"),
        None => {
            bail!("`{word}` is not in the project `{root}`; name the folder to start in with `-C`")
        }
    }
}

fn bundle(session: &Session, zip: &Zip) -> Result<Bundle> {
    let path = &zip.output.value;
    let place = session.project.place(path);
    if !place.is_file() {
        bail!("`{path}` does not exist yet: build it first, its build record lists its files");
    }
    let record = Record::of(&place)?;
    let staging = session.model.target(&zip.staging.value);
    let staging = staging.and_then(|target| target.kind.get::<Staging>());
    let mut locks = Vec::new();
    for name in staging.into_iter().flat_map(|staging| &staging.wheels) {
        let wheelhouse = session.model.target(&name.value);
        let Some(wheelhouse) = wheelhouse.and_then(|target| target.kind.get::<Wheelhouse>()) else {
            continue;
        };
        locks.extend(wheelhouse.lock.iter().map(|lock| lock.path.value.to_string()));
        let files = wheelhouse.requirements.iter().chain(&wheelhouse.constraints);
        locks.extend(files.map(|path| path.value.to_string()));
    }
    Ok(Bundle { record, locks })
}

/// Returns a row for each wheel of a bundle; with `since`, of those that another version was locked of.
fn wheel_rows(
    project: &Project,
    tags: &[String],
    bundle: &Bundle,
    since: Option<&str>,
) -> Result<Vec<Row>> {
    let repository = Repository::open(project)?;
    let locks = Locks::read(&repository, tags, since, &bundle.locks)?;
    let mut rows = Vec::new();
    for Wheel { project, version, .. } in &bundle.record.body.wheels {
        let before = locks.before(project);
        if since.is_some() && locks.had(project, version) {
            continue;
        }
        let pin = locks.pin(project, version);
        let before = before.join(", ");
        let subject = match before.is_empty() {
            true => format!("{project} {version}"),
            false => format!("{project} {before} -> {version}"),
        };
        let mut object = json!({ "wheel": project, "version": version });
        if let Some(pin) = &pin {
            object["added"] = pin.added.clone().into();
            object["changed"] = pin.changed.clone().into();
        }
        if !before.is_empty() {
            object["before"] = before.into();
        }
        let (added, changed) = match pin {
            Some(pin) => (release(pin.added.as_deref()), release(pin.changed.as_deref())),
            None => ("not locked".into(), String::new()),
        };
        rows.push(Row { subject, added, changed, object });
    }
    Ok(rows)
}

/// One line of the result.
struct Row {
    subject: String,
    added: String,
    changed: String,
    object: Value,
}

impl Row {
    fn of_file(entry: &Entry) -> Self {
        let Entry { path, added, changed, removed, is_cut } = entry;
        let mut object = json!({ "path": path, "added": added, "changed": changed });
        let mut subject = path.clone();
        if let Some(removed) = removed {
            object["removed"] = removed.clone().into();
            subject.push_str(" (gone)");
        }
        let mut first = release(added.as_deref());
        if *is_cut {
            object["shallow"] = true.into();
            first.insert_str(0, "<= ");
        }
        Self { subject, added: first, changed: release(changed.as_deref()), object }
    }
}

fn release(tag: Option<&str>) -> String {
    tag.unwrap_or(UNRELEASED).to_owned()
}

fn show(common: &Common, rows: &[Row]) -> Result<()> {
    if common.json {
        // At once: there may be thousands of them.
        let lines: Vec<String> = rows.iter().map(|row| row.object.to_string()).collect();
        return match lines.is_empty() {
            true => Ok(()),
            false => print(Printable::json(&lines.join("\n"))),
        };
    }
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max();
    let first = width(|row| &row.subject).unwrap_or(0);
    let second = width(|row| &row.added).unwrap_or(0);
    let lines = rows.iter().map(|Row { subject, added, changed, .. }| {
        format!("{subject:first$}  {added:second$}  {changed}").trim_end().to_owned()
    });
    let lines: Vec<String> = lines.collect();
    if !lines.is_empty() {
        print(lines.join("\n"))?;
    }
    Ok(())
}
