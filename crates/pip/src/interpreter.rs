//! The Python that runs pip, and the properties of it that can change a result.
//!
//! Querying an interpreter costs a process, so its identity is cached with observations of its
//! *witnesses*: the program, its library, its standard library, its `pyvenv.cfg` and every place where
//! it would find pip. This is done only for a binary or a shim of [`super::pyenv`]. Any other script
//! may start another Python each time, so it is queried each time.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Result;
use serde::Deserialize;
use zipwright_store::{Bucket, Cache, Memo, Observation};

use super::identity::Identity;
use super::pyenv::{self, Shim};
use super::unusable;
use zipwright_engine::process::Invocation;
use zipwright_store::Digest;
use zipwright_store::digest::FieldHasher;
use zipwright_store::project::Project;

/// Variables with places where an interpreter finds its modules.
const PLACES: [&str; 4] = ["PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "HOME"];

/// Variables that decide which of these places count.
const SWITCHES: [&str; 2] = ["PYTHONNOUSERSITE", "PYTHONSAFEPATH"];

/// Files of the working directory that are pip to Python.
const LOCAL_PIPS: [&str; 3] = ["pip", "pip.py", "pip.pyc"];

/// Python program that prints the interpreter's identity as one JSON object. It depends on the working
/// directory only if that has a pip, so projects can share an answer.
const QUESTIONS: &str = r"
import sys
if sys.path[:1] == ['']:
    del sys.path[0]
import json, os, platform, sysconfig
if any(map(os.path.exists, ['pip', 'pip.py', 'pip.pyc'])):
    sys.path.insert(0, '')
try:
    import pip
    version, place = pip.__version__, pip.__file__
except ImportError:
    version, place = None, None
config = sysconfig.get_config_var
library = os.path.join(config('LIBDIR') or '', config('INSTSONAME') or '')
witnesses = [library, os.__file__, os.path.join(sys.prefix, 'pyvenv.cfg'),
             os.path.join(os.path.dirname(sys.executable), '..', 'pyvenv.cfg')]
for folder in filter(None, sys.path):
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
        let cache = project.cache()?;
        let binary = fs::canonicalize(&program).ok().filter(|real| is_binary(real));
        let shim = if binary.is_none() { Shim::of(project, &program) } else { None };
        let key = key(project, &program, shim.is_some());
        if (binary.is_some() || shim.is_some())
            && let Some(identity) = cached(cache, &key)
        {
            return Ok(Self { program, identity });
        }
        // Read the witnesses before the query, so that a change in between is noticed.
        let deciding = match (&binary, &shim) {
            (Some(real), _) => observe([program.clone(), real.clone()]),
            (None, Some(shim)) => observe(shim.witnesses.iter().cloned()),
            (None, None) => Vec::new(),
        };
        let (identity, named) = ask(project, python, &program)?;
        if binary.is_some() || shim.is_some_and(|shim| shim.owns(&identity.program)) {
            let named = named.into_iter().chain([identity.program.clone()]);
            let witnesses = deciding.into_iter().chain(observe(named)).collect();
            if let Some(memo) = Memo::new(witnesses, &identity) {
                // If the cache cannot be written, the next build starts one more process.
                let _ = cache.put(Bucket::Interpreters, &key, &memo);
            }
        }
        Ok(Self { program, identity })
    }
}

/// An interpreter that is looked for when it is first needed. Wheels of a lockfile for a platform need
/// none.
pub struct LazyInterpreter {
    project: Project,
    python: String,
    found: OnceLock<Interpreter>,
}

impl LazyInterpreter {
    pub fn new(project: &Project, python: &str) -> Self {
        let (project, python) = (project.clone(), python.to_owned());
        Self { project, python, found: OnceLock::new() }
    }

    /// Returns one that was found.
    pub fn of(project: &Project, found: &Interpreter) -> Self {
        let python = found.program.display().to_string();
        Self { project: project.clone(), python, found: found.clone().into() }
    }

    /// Returns the interpreter, with or without pip. The first call may start a process.
    pub fn get(&self) -> Result<&Interpreter> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let found = Interpreter::find_any(&self.project, &self.python)?;
        Ok(self.found.get_or_init(|| found))
    }

    /// Returns the interpreter if it can run pip as needed, else the error.
    pub fn fit(&self) -> Result<&Interpreter> {
        let found = self.get()?;
        match unusable::unfit(&self.python, &found.identity) {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }

    /// Returns the folder of the interpreter's own `pip.conf`; `None` if there is no interpreter. Starts
    /// it only if that does not follow from its place.
    pub fn prefix(&self) -> Result<Option<PathBuf>> {
        let Some(program) = self.project.find_program(&self.python) else { return Ok(None) };
        if self.found.get().is_none()
            && self.project.var("PYTHONHOME").is_none()
            && let Some(prefix) = prefix_of(&program)
        {
            return Ok(Some(prefix));
        }
        Ok(Some(self.get()?.identity.prefix.clone()))
    }
}

/// Returns `sys.prefix` of a program: the folder with its `bin`, if that is a virtual environment (PEP
/// 405), or if it has the standard library. `None` for any other layout, and for scripts.
fn prefix_of(program: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(program).ok().filter(|real| is_binary(real))?;
    let above = |program: &Path| Some(program.parent()?.parent()?.to_path_buf());
    let own = above(program)?;
    if own.join("pyvenv.cfg").exists() || program.with_file_name("pyvenv.cfg").exists() {
        return Some(own);
    }
    let (prefix, name) = (above(&real)?, real.file_name()?);
    let library = |folder: &&str| prefix.join(folder).join(name).join("os.py").exists();
    ["lib", "lib64"].iter().any(library).then_some(prefix)
}

fn key(project: &Project, program: &Path, is_shim: bool) -> Digest {
    let mut hasher = FieldHasher::new();
    hasher.field(program.as_os_str().as_encoded_bytes()).field(QUESTIONS);
    let root = project.root.as_os_str().as_encoded_bytes();
    hasher.field(if sees_root(project) { root } else { b"" });
    hasher.field(if is_shim { Shim::choice(project) } else { String::new() });
    for name in PLACES.into_iter().chain(SWITCHES).chain(pyenv::VARIABLES) {
        hasher.field(project.vars().get(name).map_or("", String::as_str));
    }
    hasher.finish()
}

/// Returns whether Python may find modules in the root of the project, its working directory.
fn sees_root(project: &Project) -> bool {
    let is_relative = |name: &&str| {
        let value = project.vars().get(*name).filter(|value| !value.is_empty());
        value.is_some_and(|value| value.split(':').any(|path| !path.starts_with('/')))
    };
    PLACES.iter().any(is_relative) || LOCAL_PIPS.iter().any(|name| project.root.join(name).exists())
}

fn cached(cache: &Cache, key: &Digest) -> Option<Identity> {
    cache.get::<Memo<Identity>>(Bucket::Interpreters, key)?.valid()
}

fn observe(paths: impl IntoIterator<Item = PathBuf>) -> Vec<Observation> {
    paths.into_iter().map(Observation::file).collect()
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
    fn the_prefix_follows_from_the_place_of_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let env = ["PATH", "HOME"].map(|name| (name.to_owned(), std::env::var(name).unwrap()));
        let cache = ("XDG_CACHE_HOME".to_owned(), root.join("cache").display().to_string());
        let project = Project::new(root.clone(), env.into_iter().chain([cache]).collect());
        let found = Interpreter::find_any(&project, "python3").unwrap().identity;
        assert_eq!(prefix_of(&found.program).unwrap(), found.prefix);
        let made =
            Invocation::new(&found.program, &root).args(["-m", "venv", "--without-pip", "own"]);
        assert!(made.capture().unwrap().status.success());
        std::os::unix::fs::symlink(root.join("own/bin/python"), root.join("elsewhere")).unwrap();
        for program in ["own/bin/python", "elsewhere"] {
            let program = root.join(program);
            let found = Interpreter::find_any(&project, program.to_str().unwrap()).unwrap();
            assert_eq!(
                prefix_of(&program).unwrap(),
                found.identity.prefix,
                "{}",
                program.display()
            );
        }
        fake(&root, &answer("null"));
        assert_eq!(prefix_of(&root.join("bin/python3")), None);
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
    fn the_project_counts_only_if_python_looks_into_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let key_in = |name: &str, variable: (&str, &str)| {
            let root = root.join(name);
            fs::create_dir_all(&root).unwrap();
            let env = [(variable.0.to_owned(), variable.1.to_owned())];
            key(&Project::new(root, BTreeMap::from(env)), Path::new("/usr/bin/python3"), false)
        };
        for same in [("LANG", "C"), ("PYTHONPATH", "/lib"), ("PYTHONSAFEPATH", "1")] {
            assert_eq!(key_in("a", same), key_in("b", same), "{same:?}");
        }
        for own in [("PYTHONPATH", "/lib:src"), ("PYTHONPATH", "/lib:"), ("PYTHONUSERBASE", ".")] {
            assert_ne!(key_in("a", own), key_in("b", own), "{own:?}");
        }
        fs::write(root.join("b/pip.py"), "").unwrap();
        assert_ne!(key_in("a", ("LANG", "C")), key_in("b", ("LANG", "C")));
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
            !root.join("cache/zipwright/interpreters-v1").exists()
        } {}
        let before = asked();
        assert_eq!(find().program, root.join("bin/python3"));
        assert_eq!(asked(), before);
        fs::write(root.join(".python-version"), "3.12\n").unwrap();
        find();
        assert_eq!(asked(), before + 1);
    }
}
