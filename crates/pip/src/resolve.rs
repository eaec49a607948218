//! Resolves a set of requirements by one dry run of pip with a report.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::{Deserialize, Serialize};
use zipwright_python::Runtime;

use super::launch::Reading;
use super::run::{Failure, Pip};
use super::secrets::percent_decode;
use zipwright_store::fs::read;

/// One distribution that pip chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pick {
    pub project: String,
    pub version: String,
    /// The URL as pip reports it, without credentials.
    pub url: String,
    pub origin: Origin,
    pub subdirectory: Option<String>,
    /// In bytes; pip does not report it.
    pub size: Option<u64>,
    /// The wheel that pip downloaded to read its metadata.
    pub fetched: Option<PathBuf>,
}

impl Pick {
    /// Returns whether a wheel of it is built from source.
    pub(super) fn is_source(&self) -> bool {
        !matches!(self.origin, Origin::Wheel { .. })
    }

    /// Returns the pick of a source archive on this disk, if its name has project and version.
    pub(super) fn local(name: &str, place: &Path) -> Option<Self> {
        let ends = [".tar.gz", ".tgz", ".tar", ".zip"];
        let stem = ends.iter().find_map(|end| name.strip_suffix(end))?;
        let (project, version) = stem.rsplit_once('-')?;
        let is_version = version.starts_with(|c: char| c.is_ascii_digit());
        is_version.then(|| Self {
            project: project.into(),
            version: version.into(),
            url: file_url(place),
            origin: Origin::Archive { sha256: None },
            subdirectory: None,
            size: None,
            fetched: None,
        })
    }

    /// Returns `` `idna 3.7` ``.
    pub(super) fn describe(&self) -> String {
        format!("`{}`", format!("{} {}", self.project, self.version).trim_end())
    }

    /// Returns the name of its file.
    pub(super) fn file_name(&self) -> String {
        match &self.origin {
            Origin::Wheel { name, .. } => name.clone(),
            Origin::Archive { .. } | Origin::Repository { .. } => file_name(&self.url),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Origin {
    Wheel { name: String, sha256: Option<String> },
    Archive { sha256: Option<String> },
    Repository { vcs: String, commit: String },
}

#[derive(Deserialize)]
struct Report {
    install: Vec<Item>,
    /// The environment in which pip evaluated markers.
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Item {
    download_info: Download,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Download {
    url: String,
    archive_info: Option<Archive>,
    vcs_info: Option<Vcs>,
    subdirectory: Option<String>,
}

#[derive(Deserialize)]
struct Archive {
    hash: Option<String>,
    hashes: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Vcs {
    vcs: String,
    commit_id: String,
}

/// Runs pip to choose distributions. `given` are the options that name requirements and
/// constraints; `folder` is for the files of the run.
///
/// For a runtime, pip chooses among wheels only. If there is no solution, it runs once more with
/// source distributions, which are used if no matching version has a fitting wheel.
pub(super) fn resolve(
    pip: &Pip,
    given: &[OsString],
    reading: &Reading,
    (folder, names): (&Path, &[(String, String)]),
) -> Result<Vec<Pick>> {
    pip.reporter.status("resolving the requirements");
    let (report, wheels) = (folder.join("report.json"), folder.join("wheels"));
    zipwright_store::fs::create_dir_all(&wheels)?;
    let attempt = |choice: &str, is_tentative: bool| {
        let wheels = Some(wheels.clone());
        let reading = Reading { is_tentative, wheels, ..reading.clone() };
        let mut args: Vec<OsString> =
            ["install", "--dry-run", "--ignore-installed", "--report"].map(Into::into).into();
        args.push(report.clone().into());
        // Nothing is written to either: pip requires a target for foreign platforms, and for
        // Pythons managed by the system; and it would clone editable requirements beside the
        // project.
        args.extend(["--target".into(), folder.join("target").into()]);
        args.extend(["--src".into(), folder.join("src").into()]);
        if let Some(runtime) = reading.runtime {
            args.push(choice.into());
            args.extend(runtime.options().into_iter().map(Into::into));
        }
        args.extend_from_slice(given);
        pip.run_with(&reading, args, names)
    };
    if let Err(first) = attempt("--only-binary=:all:", reading.runtime.is_some())? {
        let Some(runtime) = reading.runtime.filter(|_| has_no_solution(&first)) else {
            return Err(first.error("resolve the requirements"));
        };
        pip.reporter.status("running pip again, with source distributions");
        if let Err(second) = attempt("--prefer-binary", false)? {
            return Err(match unfit(&second) {
                Some(requirement) => no_wheel(runtime, requirement, &second),
                None => second.error("resolve the requirements with source distributions"),
            });
        }
    }
    let mut picks = parse(&read(&report)?, reading.runtime)?;
    for pick in picks.iter_mut().filter(|pick| matches!(pick.origin, Origin::Wheel { .. })) {
        pick.fetched = Some(wheels.join(pick.file_name())).filter(|place| place.is_file());
    }
    Ok(picks)
}

/// Reads pip's report. Fails if it is for another runtime.
fn parse(report: &[u8], runtime: Option<Runtime>) -> Result<Vec<Pick>> {
    let report: Report = serde_json::from_slice(report).context("pip's report is not readable")?;
    if let Some(runtime) = runtime {
        let environment = runtime.environment();
        let other = environment
            .values()
            .filter_map(|(name, value)| Some((name, value, report.environment.get(name)?)))
            .find(|(_, value, theirs)| value != theirs);
        if let Some((name, value, theirs)) = other {
            bail!(
                "pip evaluated markers with `{name}` `{theirs}` instead of `{value}`, that of {}: set \
                 `python` to an interpreter that is started without `-I`, `-E` and `-S`",
                runtime.describe()
            );
        }
    }
    report.install.into_iter().map(pick).collect()
}

fn pick(item: Item) -> Result<Pick> {
    let Download { url, archive_info, vcs_info, subdirectory } = item.download_info;
    let Metadata { name: project, version } = item.metadata;
    let origin = match (archive_info, vcs_info) {
        (_, Some(Vcs { vcs, commit_id })) => Origin::Repository { vcs, commit: commit_id },
        (Some(Archive { hash, hashes }), None) => {
            let old = hash.and_then(|hash| hash.strip_prefix("sha256=").map(String::from));
            let sha256 = hashes.and_then(|mut hashes| hashes.remove("sha256")).or(old);
            let name = file_name(&url);
            if name.ends_with(".whl") {
                Origin::Wheel { name, sha256 }
            } else {
                Origin::Archive { sha256 }
            }
        }
        (None, None) => bail!(
            "`{project}` comes from the folder `{url}`, named by another package: name the folder \
             in a requirements file or in `projects`, so that its files are inputs"
        ),
    };
    Ok(Pick { project, version, url, origin, subdirectory, size: None, fetched: None })
}

/// Every character of a path but those that a URL may have as they are.
const IN_PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'+');

pub(super) fn file_url(path: &Path) -> String {
    format!("file://{}", percent_encode(path.as_os_str().as_encoded_bytes(), IN_PATH))
}

/// Returns the path of a `file:` URL.
pub(super) fn local_file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("file://")?.split(['?', '#']).next()?;
    Some(PathBuf::from(percent_decode(path)))
}

fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    percent_decode(path.rsplit('/').next().unwrap_or(path))
}

/// Returns whether pip found no solution, as opposed to another failure.
fn has_no_solution(failure: &Failure) -> bool {
    let is_conflict = |line: &String| line.starts_with("ERROR: ResolutionImpossible");
    unfit(failure).is_some() || failure.said.iter().any(is_conflict)
}

/// Returns the requirement that pip found nothing for, as pip prints it.
fn unfit(failure: &Failure) -> Option<&str> {
    failure
        .said
        .iter()
        .find_map(|line| line.strip_prefix("ERROR: No matching distribution found for "))
}

fn no_wheel(runtime: Runtime, requirement: &str, failure: &Failure) -> anyhow::Error {
    let requirement = requirement.split(" (from ").next().unwrap_or(requirement);
    anyhow::anyhow!(
        "no wheel of `{requirement}` fits {} (glibc 2.{}), and it has no source distribution: it may \
         have wheels for other systems only, or no such version. Choose a version that has a wheel, \
         or build one for that system and name its folder by --find-links\n{}",
        runtime.describe(),
        runtime.glibc(),
        failure.said.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use zipwright_python::Arch;

    use super::*;

    #[test]
    fn reports_of_old_and_new_pips_are_read() {
        let report = br#"{"version":"1","install":[
          {"download_info":{"url":"https://h/a%2Bb-1-py3-none-any.whl","archive_info":{"hash":"sha256=00"}},
           "metadata":{"name":"a","version":"1"}},
          {"download_info":{"url":"file:///w/b-2.tar.gz","archive_info":{}},
           "metadata":{"name":"b","version":"2"}},
          {"download_info":{"url":"https://h/r.git","vcs_info":{"vcs":"git","commit_id":"c0"},"subdirectory":"s"},
           "metadata":{"name":"c","version":"3"}},
          {"download_info":{"url":"https://h/d-4.zip","archive_info":{"hashes":{"md5":"1","sha256":"11"}}},
           "metadata":{"name":"d","version":"4"}}]}"#;
        let origins: Vec<_> =
            parse(report, None).unwrap().into_iter().map(|pick| pick.origin).collect();
        assert_eq!(
            origins,
            [
                Origin::Wheel { name: "a+b-1-py3-none-any.whl".into(), sha256: Some("00".into()) },
                Origin::Archive { sha256: None },
                Origin::Repository { vcs: "git".into(), commit: "c0".into() },
                Origin::Archive { sha256: Some("11".into()) },
            ]
        );
    }

    #[test]
    fn a_folder_that_only_metadata_names_is_refused() {
        let report = br#"{"install":[{"download_info":{"url":"file:///x","dir_info":{}},
          "metadata":{"name":"a","version":"1"}}]}"#;
        let error = parse(report, None).unwrap_err().to_string();
        assert!(error.contains("`a` comes from the folder `file:///x`"), "{error}");
    }

    #[test]
    fn a_report_for_another_environment_is_refused() {
        let report = br#"{"install":[],"environment":
          {"implementation_name":"cpython","python_version":"3.11"}}"#;
        let runtime = |minor| Some(Runtime { major: 3, minor, arch: Arch::X86_64 });
        assert!(parse(report, runtime(11)).unwrap().is_empty());
        let error = parse(report, runtime(13)).unwrap_err().to_string();
        assert!(error.contains("`python_version` `3.11` instead of `3.13`"), "{error}");
    }

    #[test]
    fn a_package_without_a_fitting_wheel_is_named() {
        let said = [
            "ERROR: Could not find a version",
            "ERROR: No matching distribution found for x==1 (from -r r.txt (line 2))",
        ];
        let failure =
            Failure { said: said.map(String::from).into(), status: "exit status 1".into() };
        let runtime = Runtime { major: 3, minor: 13, arch: Arch::Arm64 };
        let error = no_wheel(runtime, unfit(&failure).unwrap(), &failure).to_string();
        assert!(
            error.starts_with("no wheel of `x==1` fits python3.13 on arm64 (glibc 2.34)"),
            "{error}"
        );
    }
}
