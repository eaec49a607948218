//! The variations of a second build's environment, as far as this machine allows them.

use std::collections::BTreeSet;
use std::ffi::OsString;

use crate::base::platform;
use crate::process::Invocation;
use crate::project::Project;

pub(super) const HOSTNAME: &str = "zipwright-elsewhere";
const TIME_ZONE: &str = "<+14>-14";
pub(super) const SEEDS: (&str, &str) = ("0", "4242");

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variation {
    Path,
    Home,
    Tmp,
    Umask,
    TimeZone,
    Locale,
    HashSeed,
    Hostname,
    Cpus,
    FileOrder,
}

pub(super) const ALL: [Variation; 10] = [
    Variation::Path,
    Variation::Home,
    Variation::Tmp,
    Variation::Umask,
    Variation::TimeZone,
    Variation::Locale,
    Variation::HashSeed,
    Variation::Hostname,
    Variation::Cpus,
    Variation::FileOrder,
];

impl Variation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Path => "folder of the build",
            Self::Home => "home folder (HOME)",
            Self::Tmp => "folder for temporary files (TMPDIR)",
            Self::Umask => "umask",
            Self::TimeZone => "time zone (TZ)",
            Self::Locale => "locale (LANG, LC_ALL)",
            Self::HashSeed => "hash seed (PYTHONHASHSEED)",
            Self::Hostname => "host name",
            Self::Cpus => "number of CPUs",
            Self::FileOrder => "order of files in folders",
        }
    }

    /// Returns the word used in `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Home => "home",
            Self::Tmp => "tmpdir",
            Self::Umask => "umask",
            Self::TimeZone => "time-zone",
            Self::Locale => "locale",
            Self::HashSeed => "hash-seed",
            Self::Hostname => "hostname",
            Self::Cpus => "cpus",
            Self::FileOrder => "file-order",
        }
    }
}

/// A variation with its values, or the reason for leaving it out.
pub struct Offer {
    pub variation: Variation,
    pub varied: bool,
    pub how: String,
}

pub(super) fn offers(project: &Project) -> Vec<Offer> {
    let offer = |variation| {
        let (varied, how) = match how(variation, project) {
            Ok(how) => (true, how),
            Err(why) => (false, why),
        };
        Offer { variation, varied, how }
    };
    ALL.into_iter().map(offer).collect()
}

fn how(variation: Variation, project: &Project) -> Result<String, String> {
    Ok(match variation {
        Variation::Path => "another one, of another length".into(),
        Variation::Home if project.var("HOME").is_none() => return Err("HOME is not set".into()),
        Variation::Home => "another path to the same files".into(),
        Variation::Tmp => "another one".into(),
        Variation::Umask => "077 instead of 022".into(),
        Variation::TimeZone => format!("TZ={TIME_ZONE}"),
        Variation::Locale => locale(project),
        Variation::HashSeed => format!("{} instead of {}", SEEDS.1, SEEDS.0),
        Variation::Hostname => match host_prefix(project) {
            Some(_) => HOSTNAME.into(),
            None => return Err("the system does not allow `unshare --uts`".into()),
        },
        Variation::Cpus => match cpu_prefix(project) {
            Some(_) => "one".into(),
            None => return Err("there is one only, or no `taskset`".into()),
        },
        Variation::FileOrder => "files are made in another order".into(),
    })
}

/// Returns an installed locale other than the current one; Turkish if possible, for its letter i.
fn locale(project: &Project) -> String {
    let installed = project
        .find_program("locale")
        .and_then(|program| Invocation::new(program, &project.root).arg("-a").capture().ok())
        .map(|captured| captured.stdout)
        .unwrap_or_default();
    let own = ["LC_ALL", "LANG"].into_iter().find_map(|name| project.var(name)).unwrap_or("C");
    let foreign = installed.lines().find(|name| name.starts_with("tr_TR"));
    let foreign = foreign.or_else(|| {
        installed.lines().find(|name| name.contains('_') && !own.starts_with(&name[..2]))
    });
    let plain = if own.to_lowercase().contains("utf") { "C" } else { "C.UTF-8" };
    foreign.unwrap_or(plain).to_owned()
}

/// Returns a command prefix that changes the host name.
fn host_prefix(project: &Project) -> Option<Vec<OsString>> {
    let unshare = platform::unshare(project)?;
    let rename = format!("hostname {HOSTNAME} && exec \"$@\"");
    // Without privileges, a user namespace allows it.
    [vec!["--uts"], vec!["-r", "--uts"]].into_iter().find_map(|options| {
        let mut words: Vec<OsString> = vec![unshare.clone().into()];
        words.extend(options.iter().map(Into::into));
        words.extend(["sh", "-c", &rename, "sh"].map(Into::into));
        let probe = Invocation::new(&words[0], &project.root).args(words[1..].iter().cloned());
        let works = probe.arg("true").capture().is_ok_and(|probe| probe.status.success());
        works.then_some(words)
    })
}

/// Returns a command prefix that leaves one CPU.
fn cpu_prefix(project: &Project) -> Option<Vec<OsString>> {
    let taskset = project.find_program("taskset")?;
    let allowed = platform::allowed_cpus()?;
    if !allowed.contains([',', '-']) {
        return None;
    }
    let first = allowed.split([',', '-']).next()?;
    Some(vec![taskset.into(), "-c".into(), first.into()])
}

/// A command prefix and variables.
pub(super) struct Setting {
    pub(super) prefix: Vec<OsString>,
    pub(super) env: Vec<(&'static str, String)>,
}

/// Returns the settings that a prefix and variables can make; the caller varies folders and files.
pub(super) fn setting(variations: &BTreeSet<Variation>, project: &Project) -> Setting {
    let has = |variation| variations.contains(&variation);
    let mut prefix = Vec::new();
    if has(Variation::Hostname) {
        prefix.extend(host_prefix(project).unwrap_or_default());
    }
    if has(Variation::Cpus) {
        prefix.extend(cpu_prefix(project).unwrap_or_default());
    }
    let umask = if has(Variation::Umask) { "077" } else { "022" };
    let set = format!("umask {umask} && exec \"$@\"");
    prefix.extend(["sh", "-c", &set, "sh"].map(OsString::from));
    let seed = if has(Variation::HashSeed) { SEEDS.1 } else { SEEDS.0 };
    let mut env = vec![("PYTHONHASHSEED", seed.to_owned())];
    if has(Variation::TimeZone) {
        env.push(("TZ", TIME_ZONE.into()));
    }
    if has(Variation::Locale) {
        let locale = locale(project);
        env.push(("LANG", locale.clone()));
        env.push(("LC_ALL", locale));
    }
    Setting { prefix, env }
}
