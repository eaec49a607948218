//! Lockfiles: the files that `pylock.toml` and `uv.lock` select for one Python environment.
//!
//! A reader takes the text of a lockfile and returns a [`LockedSet`]: one file, folder or commit for
//! each package. Nothing is fetched here, and no path is looked at.

mod pylock;
mod stale;
mod uv;
mod write;

use anyhow::{Context, Result, bail};

use crate::name::normalise;
use crate::target::Target;
use crate::version::Specifier;
use crate::wheel_name::WheelName;

pub use pylock::{Pylock, is_pylock};
pub use stale::{Behind, Checkout};
pub use uv::UvLock;

/// What of a lockfile is wanted. Names are as written in the Buildfile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// A member of the workspace.
    pub package: Option<&'a str>,
    pub extras: &'a [String],
    /// `None`: the default groups of the lockfile.
    pub groups: Option<&'a [String]>,
}

/// The packages that a lockfile selects for one environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockedSet {
    /// Sorted by name; each name once.
    pub packages: Vec<Locked>,
}

/// One package of a [`LockedSet`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locked {
    /// Normalised.
    pub name: String,
    /// Not every lockfile has the version of a package that is built from source.
    pub version: Option<String>,
    pub source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Wheel(File),
    /// A source distribution, or another archive of sources.
    Sdist(File),
    /// A folder, relative to that of the lockfile.
    Folder(String),
    Repository {
        /// `git`
        vcs: String,
        url: String,
        commit: String,
        subdirectory: Option<String>,
    },
}

/// A file of a lockfile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct File {
    /// Its file name.
    pub name: String,
    pub place: Location,
    /// In lowercase hex; empty for a file on this disk that the lockfile has no hash of.
    pub sha256: String,
    pub size: Option<u64>,
    /// The folder of the project in an archive.
    pub subdirectory: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    Url(String),
    /// Relative to the folder of the lockfile, or absolute.
    Path(String),
}

impl Location {
    /// Returns the last part of the path, decoded.
    fn file_name(&self) -> String {
        match self {
            Self::Path(path) => path.rsplit('/').next().unwrap_or_default().into(),
            Self::Url(url) => {
                let path = url.split(['?', '#']).next().unwrap_or_default();
                percent_decode(path.rsplit('/').next().unwrap_or_default())
            }
        }
    }
}

impl Locked {
    /// Returns `` `idna 3.7` ``.
    pub fn describe(&self) -> String {
        describe(&self.name, self.version.as_deref())
    }
}

fn describe(name: &str, version: Option<&str>) -> String {
    match version {
        Some(version) => format!("`{name} {version}`"),
        None => format!("`{name}`"),
    }
}

/// Returns the wheel that pip would prefer for the target, if one fits.
fn best_wheel<'a, T>(
    wheels: &'a [T],
    target: &Target,
    name: impl Fn(&T) -> Result<String>,
) -> Result<Option<&'a T>> {
    let mut best = None;
    for wheel in wheels {
        let file_name = name(wheel)?;
        let parsed = WheelName::parse(&file_name)
            .with_context(|| format!("`{file_name}` is not the name of a wheel"))?;
        let Some(rank) = target.tags.rank(&parsed) else { continue };
        let order = (rank, std::cmp::Reverse(build_number(&parsed)));
        if best.as_ref().is_none_or(|(least, _)| order < *least) {
            best = Some((order, wheel));
        }
    }
    Ok(best.map(|(_, wheel)| wheel))
}

/// Returns the number that the build tag of a wheel begins with, and the rest; none is the lowest.
pub(crate) fn build_number(wheel: &WheelName) -> Option<(u64, String)> {
    let build = wheel.build.as_deref()?;
    let end = build.find(|c: char| !c.is_ascii_digit()).unwrap_or(build.len());
    Some((build[..end].parse().unwrap_or(u64::MAX), build[end..].to_owned()))
}

/// The error for a package of which no wheel fits, and which has no source distribution.
fn no_file(package: &str, target: &Target, wheels: &[String]) -> anyhow::Error {
    let mut list: Vec<&str> = wheels.iter().map(String::as_str).take(4).collect();
    if wheels.len() > list.len() {
        list.push("…");
    }
    let found = if list.is_empty() { "no file".into() } else { list.join(", ") };
    anyhow::anyhow!(
        "no wheel of {package} in the lockfile fits {}, and there is no source distribution: it has \
         {found}\nlock it for this platform, or another version that has such a wheel",
        target.name
    )
}

/// Fails if the target's Python does not satisfy `requires-python`.
fn check_python(requires: Option<&str>, target: &Target, owner: &str) -> Result<()> {
    let Some(requires) = requires else { return Ok(()) };
    let unreadable = || format!("`requires-python` of {owner} is not readable");
    if !Specifier::all_allow(requires, &target.python).with_context(unreadable)? {
        bail!(
            "{owner} requires Python {requires}, and the target is {}\nbuild for another Python, or \
             lock for this one",
            target.name
        );
    }
    Ok(())
}

/// Returns the normalised names, if all of them are among `valid`.
fn known_names(
    names: &[String],
    valid: &[String],
    (what, owner): (&str, &str),
) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in names {
        let normal = normalise(name);
        if !valid.iter().any(|valid| normalise(valid) == normal) {
            let list: Vec<String> = valid.iter().map(|name| format!("`{name}`")).collect();
            let hint = if list.is_empty() { "none".into() } else { list.join(", ") };
            bail!("{owner} has no {what} `{name}`: it has {hint}");
        }
        found.push(normal);
    }
    Ok(found)
}

/// Checks a digest: 64 digits of lowercase hex.
fn sha256(text: &str, package: &str) -> Result<String> {
    let lower = text.to_ascii_lowercase();
    if lower.len() != 64 || !lower.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("a SHA-256 of {package} is not one: `{text}`\nlock it again");
    }
    Ok(lower)
}

/// Fails if a file's name is not one, or if a wheel's name is of another project.
fn check_file_name(name: &str, project: &str, package: &str) -> Result<()> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
        bail!("`{name}` of {package} is not the name of a file");
    }
    if name.ends_with(".whl") && WheelName::parse(name)?.normalised() != project {
        bail!("`{name}` is listed for {package}, and is a wheel of another project");
    }
    Ok(())
}

/// Checks that a URL is one of a file that can be fetched. It may have credentials, so it is not shown.
fn check_url(place: &Location, package: &str) -> Result<()> {
    let Location::Url(url) = place else { return Ok(()) };
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    match scheme.as_str() {
        "http" | "https" | "file" => Ok(()),
        _ => bail!(
            "the URL of a file of {package} does not begin with `https:`, `http:` or `file:`\nlock \
             it again from an index that has such URLs"
        ),
    }
}

/// Checks the address and the commit of a git repository: git reads a text that begins with `-` as an
/// option.
fn check_commit(url: &str, commit: &str, package: &str) -> Result<()> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    if !["https", "http", "ssh", "git", "file"].contains(&scheme.as_str()) {
        bail!(
            "the URL of the repository of {package} does not begin with `https:`, `http:`, `ssh:`, \
             `git:` or `file:`\nlock it again with such a URL"
        );
    }
    if commit.is_empty() || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("`{commit}` is not the id of a commit of {package}\nlock it again");
    }
    Ok(())
}

/// Decodes `%41`; other text stays as it is.
pub(crate) fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Joins two relative paths as text; an absolute second path stays as it is.
fn join(base: &str, path: &str) -> String {
    if path.starts_with('/') || base.is_empty() || base == "." {
        return path.into();
    }
    format!("{}/{path}", base.trim_end_matches('/'))
}
