//! The Python that runs pip, and the properties of it that can change a result.
//!
//! Querying an interpreter costs a process, so its identity is cached together with its
//! *witnesses*: stat data of the program, its library, its standard library, its `pyvenv.cfg` and
//! every place where it would find pip. A cached identity is used only if all witnesses are
//! unchanged, and only for a binary or a shim of [`super::pyenv`]. Any other script may start
//! another Python each time, so it is queried each time.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::pyenv::{self, Shim};
use super::store::Store;
use super::unusable;
use crate::base::Digest;
use crate::base::digest::FieldHasher;
use crate::process::Invocation;
use crate::project::Project;

/// Bucket of the identities of interpreters.
const INTERPRETERS: &str = "interpreters";

/// Variables that decide where an interpreter finds its modules.
const SEARCH_VARIABLES: [&str; 6] =
    ["PYTHONPATH", "PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONUSERBASE", "PYTHONSAFEPATH", "HOME"];

/// Python program that prints the interpreter's identity as one JSON object.
const QUESTIONS: &str = r"
import json, os, platform, sys, sysconfig
try:
    import pip
    version, place = pip.__version__, pip.__file__
except ImportError:
    version, place = None, None
config = sysconfig.get_config_var
library = os.path.join(config('LIBDIR') or '', config('INSTSONAME') or '')
witnesses = [library, os.__file__, os.path.join(sys.prefix, 'pyvenv.cfg'),
             os.path.join(os.path.dirname(sys.executable), '..', 'pyvenv.cfg')]
for folder in sys.path[1:]:
    found = os.path.join(folder, 'pip', '__init__.py')
    witnesses.append(found)
    if place and os.path.exists(found):
        break
print(json.dumps({
    'python': ' '.join([platform.python_implementation(), platform.python_version(),
                        config('SOABI') or '', sysconfig.get_platform()]
                       + [part for part in platform.libc_ver() if part]),
    'minor': list(sys.version_info[:2]),
    'pip': version,
    'prefix': sys.prefix,
    'program': sys.executable,
    'witnesses': [path for path in witnesses if os.path.isabs(path)],
}))
";

/// The identity that an interpreter reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Implementation, full version, ABI, platform and C library; no paths.
    pub python: String,
    pub minor: (u8, u8),
    /// pip's version; empty if the interpreter has no pip.
    pub pip: String,
    /// The folder of its own `pip.conf`. Never part of a key.
    pub prefix: PathBuf,
    /// The program itself, if the interpreter was found as a script that starts it. Never part of a
    /// key.
    pub program: PathBuf,
}

/// An interpreter that was found and can do the required work.
#[derive(Clone, Debug)]
pub struct Interpreter {
    pub program: PathBuf,
    pub identity: Identity,
}

#[derive(Deserialize)]
struct Answer {
    python: String,
    minor: (u8, u8),
    pip: Option<String>,
    prefix: PathBuf,
    program: PathBuf,
    witnesses: Vec<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    identity: Identity,
    witnesses: Vec<(PathBuf, Witness)>,
}

/// Stat data of a file; `None` if it does not exist.
type Witness = Option<(u64, i64, i64, i64, i64, u64)>;

/// Seconds by which the clock of a file system may differ from the system's, or tick more slowly.
const CLOCK_MARGIN: i64 = 3;

impl Interpreter {
    /// Finds `python`, a name on PATH or a path. Fails if it does not have a usable pip.
    pub fn find(project: &Project, python: &str) -> Result<Self> {
        let found = Self::find_any(project, python)?;
        match unusable::unfit(python, &found.identity) {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }

    /// Finds `python` and its identity, with or without pip.
    pub fn find_any(project: &Project, python: &str) -> Result<Self> {
        let Some(program) = project.find_program(python) else {
            return Err(unusable::missing(project, python));
        };
        let store = Store::new(project.cache()?);
        let record = record_key(project, &program);
        let binary = fs::canonicalize(&program).ok().filter(|real| is_binary(real));
        let shim = if binary.is_none() { Shim::of(project, &program) } else { None };
        if (binary.is_some() || shim.is_some())
            && let Some(identity) = recall(&store, &record)
        {
            return Ok(Self { program, identity });
        }
        // Read the witnesses before the query, so that a change in between is noticed.
        let deciding = match (&binary, &shim) {
            (Some(real), _) => looks([program.clone(), real.clone()]),
            (None, Some(shim)) => looks(shim.witnesses.iter().cloned()),
            (None, None) => Vec::new(),
        };
        let (identity, named) = ask(project, python, &program)?;
        if binary.is_some() || shim.is_some_and(|shim| shim.owns(&identity.program)) {
            let named = named.into_iter().chain([identity.program.clone()]);
            let witnesses = deciding.into_iter().chain(looks(named)).collect();
            // If the cache cannot be written, the next build starts one more process.
            let _ = keep((&store, &record), &identity, witnesses);
        }
        Ok(Self { program, identity })
    }
}

fn record_key(project: &Project, program: &Path) -> Digest {
    let mut hasher = FieldHasher::new();
    hasher.field(program.as_os_str().as_encoded_bytes()).field(QUESTIONS);
    // Python also looks for modules in its working directory.
    hasher.field(project.root.as_os_str().as_encoded_bytes());
    for name in SEARCH_VARIABLES.into_iter().chain(pyenv::VARIABLES) {
        hasher.field(project.vars().get(name).map_or("", String::as_str));
    }
    hasher.finish()
}

fn recall(store: &Store, record: &Digest) -> Option<Identity> {
    let remembered: Remembered = store.recall(INTERPRETERS, record)?;
    let valid = remembered.witnesses.iter().all(|(path, witness)| look(path) == *witness);
    valid.then_some(remembered.identity)
}

/// Caches an identity, unless a witness is so new that another write might not change its stat
/// data.
fn keep(
    (store, record): (&Store, &Digest),
    identity: &Identity,
    witnesses: Vec<(PathBuf, Witness)>,
) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let settled = i64::try_from(now.as_secs()).unwrap_or(i64::MAX) - CLOCK_MARGIN;
    if witnesses
        .iter()
        .flat_map(|(_, look)| look)
        .any(|look| look.1 >= settled || look.3 >= settled)
    {
        return Ok(());
    }
    let remembered = Remembered { identity: identity.clone(), witnesses };
    store.remember(INTERPRETERS, record, &remembered)
}

fn looks(paths: impl IntoIterator<Item = PathBuf>) -> Vec<(PathBuf, Witness)> {
    paths.into_iter().map(|path| (path.clone(), look(&path))).collect()
}

/// Returns the stat data of a file, with links followed: a link to another file gives another
/// inode.
fn look(path: &Path) -> Witness {
    let meta = fs::metadata(path).ok()?;
    Some((
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
        meta.ino(),
    ))
}

/// Returns whether a file is a binary (ELF, Mach-O) and not a script.
fn is_binary(path: &Path) -> bool {
    let mut start = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    let known: [[u8; 4]; 4] =
        [*b"\x7fELF", [0xcf, 0xfa, 0xed, 0xfe], [0xfe, 0xed, 0xfa, 0xcf], [0xca, 0xfe, 0xba, 0xbe]];
    read.is_ok() && known.contains(&start)
}

fn ask(project: &Project, python: &str, program: &Path) -> Result<(Identity, Vec<PathBuf>)> {
    let asked = Invocation::new(program, &project.root)
        .args(["-c", QUESTIONS])
        .env("PYTHONIOENCODING", "utf-8")
        .capture()
        .map_err(|error| unusable::not_started(python, program, error))?;
    if !asked.status.success() {
        return Err(unusable::failed(python, &asked));
    }
    let line = asked.stdout.lines().last().unwrap_or_default();
    let answer: Answer =
        serde_json::from_str(line).map_err(|_| unusable::no_answer(python, &asked))?;
    let Answer { python, minor, pip, prefix, program, witnesses } = answer;
    let pip = pip.unwrap_or_default();
    Ok((Identity { python, minor, pip, prefix, program }, witnesses))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Returns a project whose PATH has only `bin/` of the folder.
    fn project(folder: &Path) -> Project {
        let root = folder.canonicalize().unwrap();
        let env = [
            ("PATH".to_string(), root.join("bin").to_string_lossy().into_owned()),
            ("XDG_CACHE_HOME".to_string(), root.join("cache").to_string_lossy().into_owned()),
        ];
        Project::new(root, BTreeMap::from(env))
    }

    /// Writes a script that acts as an interpreter, counts its starts and prints this answer.
    fn fake(folder: &Path, answer: &str) {
        let program = folder.join("bin/python3");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        let count = folder.join("count");
        let script = format!("#!/bin/sh\necho x >> '{}'\n{answer}\n", count.display());
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn answer(pip: &str) -> String {
        format!(
            r#"echo '{{"python":"CPython 3.13.0","minor":[3,13],"pip":{pip},"prefix":"/p","program":"/p/bin/python","witnesses":[]}}'"#
        )
    }

    fn error(folder: &Path) -> String {
        format!("{:#}", Interpreter::find(&project(folder), "python3").unwrap_err())
    }

    #[test]
    fn what_is_wrong_with_an_interpreter_is_said_with_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        assert!(error(folder.path()).contains("there is no interpreter `python3` on PATH"));
        fake(folder.path(), &answer("null"));
        assert!(error(folder.path()).contains("has no pip: run `python3 -m ensurepip`"));
        fake(folder.path(), &answer("\"21.3.1\""));
        assert!(error(folder.path()).contains("pip 21.3.1, and 22.2 or later is needed"));
        fake(folder.path(), "echo no such version >&2; exit 127");
        assert!(error(folder.path()).contains("does not run (exit status 127): no such version"));
    }

    #[test]
    fn a_script_is_asked_each_time() {
        let folder = tempfile::tempdir().unwrap();
        fake(folder.path(), &answer("\"24.2\""));
        for _ in 0..2 {
            let found = Interpreter::find(&project(folder.path()), "python3").unwrap();
            assert_eq!(found.identity.pip, "24.2");
        }
        let count = fs::read_to_string(folder.path().join("count")).unwrap();
        assert_eq!(count.lines().count(), 2);
    }

    #[test]
    fn a_shim_is_asked_again_when_what_it_looks_at_changes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let real = root.join("versions/3.13.0/bin/python3");
        let answer = answer("\"24.2\"").replace("/p/bin/python", real.to_str().unwrap());
        fake(&root, &answer);
        fs::create_dir_all(root.join("libexec")).unwrap();
        fs::rename(root.join("bin/python3"), root.join("libexec/pyenv")).unwrap();
        let place = root.display();
        let shim = format!(
            "#!/bin/bash\nprogram=\"${{0##*/}}\"\nexport PYENV_ROOT=\"{place}\"\n\
             exec \"{place}/libexec/pyenv\" exec \"$program\" \"$@\"\n"
        );
        fs::write(root.join("bin/python3"), shim).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(root.join("bin/python3"), mode).unwrap();
        let asked = || fs::read_to_string(root.join("count")).unwrap().lines().count();
        let find = || Interpreter::find(&project(&root), "python3").unwrap();
        // A file just written can be written again within the same clock tick.
        while {
            find();
            !root.join("cache/zipwright/interpreters").exists()
        } {}
        let before = asked();
        assert_eq!(find().program, root.join("bin/python3"));
        assert_eq!(asked(), before);
        fs::write(root.join(".python-version"), "3.12\n").unwrap();
        find();
        assert_eq!(asked(), before + 1);
    }

    #[test]
    fn a_remembered_answer_holds_while_its_witnesses_do() {
        let folder = tempfile::tempdir().unwrap();
        let (store, record) = (Store::new(&folder.path().join("cache")), Digest::of(b"record"));
        let witness = folder.path().join("pip.py");
        let identity = Identity {
            python: "CPython".into(),
            minor: (3, 13),
            pip: "24.2".into(),
            prefix: "/p".into(),
            program: "/p/bin/python".into(),
        };
        keep((&store, &record), &identity, looks([witness.clone()])).unwrap();
        assert_eq!(recall(&store, &record), Some(identity));
        fs::write(&witness, "").unwrap();
        assert_eq!(recall(&store, &record), None);
    }
}
