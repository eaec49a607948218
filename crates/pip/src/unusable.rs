//! Errors for an unusable interpreter, each with the reason and a hint: a missing program, a broken
//! link, a shim of a version manager without a version, a broken Python.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Error, anyhow};
use rustix::io::Errno;

use super::identity::Identity;
use zipwright_engine::process::{Captured, describe};
use zipwright_store::project::Project;

/// The first pip with `pip install --dry-run --report`.
const OLDEST_PIP: (u32, u32) = (22, 2);
/// The oldest Python that has such a pip.
const OLDEST_PYTHON: (u8, u8) = (3, 7);

const WAY_OUT: &str = "set `python` to a Python that has pip";

/// Number of lines of a program's output that an error repeats, and the length of each.
const REPEATED_LINES: usize = 6;
const REPEATED_CHARS: usize = 160;
const LINKS_MAX: usize = 40;

/// Returns the error for an interpreter that was not found.
pub(super) fn missing(project: &Project, python: &str) -> Error {
    if let Some(found) = candidates(project, python).find(|path| path.symlink_metadata().is_ok()) {
        return misplaced(python, &found);
    }
    let place = if python.contains('/') { "in the project or there" } else { "on PATH" };
    let venv = Path::new(python).parent().filter(|bin| bin.ends_with("bin")).and_then(Path::parent);
    let hint = match venv.filter(|venv| !venv.as_os_str().is_empty() && venv.is_relative()) {
        Some(venv) => format!(
            "create the virtual environment (`python3 -m venv {}`), or set `python` to an \
             interpreter that is installed",
            venv.display()
        ),
        None => "set `python` to one that is installed".into(),
    };
    anyhow!("there is no interpreter `{python}` {place}: {hint}")
}

/// Returns places with something else of this name: on PATH anything but a folder, in the project
/// also the folder of a virtual environment.
fn candidates(project: &Project, python: &str) -> impl Iterator<Item = PathBuf> {
    let own = project.root.join(python);
    let is_path = python.contains('/');
    let on_path = project.var("PATH").filter(|_| !is_path).unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(on_path).collect();
    let named = folders.into_iter().map(move |folder| project.root.join(folder).join(python));
    let own = Some(own).filter(|own| is_path || own.is_dir());
    named.filter(|path| !path.is_dir()).chain(own)
}

/// Returns the error for something at `place` that is not a program.
fn misplaced(python: &str, place: &Path) -> Error {
    let shown = place.display();
    if let Some(end) = dead_end(place) {
        let end = end.display();
        return anyhow!(
            "the interpreter `{python}` is a link to `{end}`, which does not exist{}",
            again(place)
        );
    }
    if place.is_dir() {
        let inner = Path::new(python).join("bin/python");
        return match place.join("bin/python").exists() {
            true => anyhow!(
                "the interpreter `{python}` is a folder: set `python` to `{}`",
                inner.display()
            ),
            false => anyhow!("the interpreter `{python}` is a folder: {WAY_OUT}"),
        };
    }
    anyhow!("the interpreter `{shown}` is not executable: run `chmod +x {shown}`, or {WAY_OUT}")
}

/// Returns the missing file at the end of a chain of links.
fn dead_end(place: &Path) -> Option<PathBuf> {
    if place.exists() {
        return None;
    }
    let mut path = place.to_path_buf();
    for _ in 0..LINKS_MAX {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent()?.join(target);
    }
    Some(path)
}

/// Returns the hint for a virtual environment whose base is gone, or the general one.
fn again(program: &Path) -> String {
    let venv = program.parent().and_then(Path::parent);
    match venv.filter(|venv| venv.join("pyvenv.cfg").exists()) {
        Some(venv) => format!(
            ": recreate the virtual environment (`python3 -m venv --clear {}`), or {WAY_OUT}",
            venv.display()
        ),
        None => format!(": {WAY_OUT}"),
    }
}

/// Returns the error for a program that could not be started.
pub(super) fn not_started(python: &str, program: &Path, error: Error) -> Error {
    let Some(cause) = error.root_cause().downcast_ref::<io::Error>() else { return error };
    let why = match shebang(program) {
        Some(interpreter) if cause.kind() == ErrorKind::NotFound => {
            format!("its first line names `{interpreter}`, which does not exist")
        }
        None if cause.kind() == ErrorKind::NotFound => {
            "the loader that it needs does not exist, so it is for another system".into()
        }
        _ if cause.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
            "it is not a program for this machine".into()
        }
        _ => return error,
    };
    anyhow!("the interpreter `{python}` does not start: {why}{}", again(program))
}

/// Returns the program that a script's first line names.
fn shebang(program: &Path) -> Option<String> {
    let mut start = [0; 256];
    let length = fs::File::open(program).and_then(|mut file| file.read(&mut start)).ok()?;
    let line = start[..length].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(clean(String::from_utf8_lossy(line).split_whitespace().next()?))
}

/// Returns the error for an interpreter that failed.
pub(super) fn failed(python: &str, run: &Captured) -> Error {
    let status = describe(run.status);
    let reason = reason(&run.stderr).or_else(|| reason(&run.stdout));
    let reason = reason.unwrap_or_else(|| "it printed nothing".into());
    anyhow!("the interpreter `{python}` does not run ({status}): {reason}\n{WAY_OUT}")
}

/// Returns the error for a program whose output is not that of a Python.
pub(super) fn no_answer(python: &str, run: &Captured) -> Error {
    let line = run.stdout.lines().chain(run.stderr.lines()).find(|line| !line.trim().is_empty());
    let printed = line.map_or("nothing".into(), |line| format!("`{}`", clean(line)));
    anyhow!(
        "the interpreter `{python}` does not answer as a Python 3 interpreter does: it printed \
         {printed}\n{WAY_OUT}"
    )
}

/// Returns the lines of a program's output with the reason of its failure: for Python, the
/// exception or fatal error, which comes last; for a shim or loader, its first lines.
fn reason(output: &str) -> Option<String> {
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    let fatal = lines.iter().position(|line| line.starts_with("Fatal Python error:"));
    if let Some(fatal) = fatal {
        let is_cause = |line: &&&str| line.contains("Error: ");
        let cause = lines[fatal + 1..].iter().find(is_cause);
        return Some(
            [lines[fatal]]
                .into_iter()
                .chain(cause.copied())
                .map(clean)
                .collect::<Vec<_>>()
                .join("; "),
        );
    }
    if lines.iter().any(|line| line.starts_with("Traceback (most recent call last)")) {
        return lines.iter().rfind(|line| !line.starts_with(' ')).map(|line| clean(line));
    }
    let is_warning = |line: &&str| line.to_lowercase().contains("warning:");
    let first = lines.iter().position(|line| !is_warning(line)).unwrap_or(0);
    let shown: Vec<String> =
        lines[first..].iter().take(REPEATED_LINES).map(|line| clean(line)).collect();
    (!shown.is_empty()).then(|| shown.join("\n"))
}

/// Returns a line shortened and without characters that a terminal does not show as text.
fn clean(line: &str) -> String {
    let line = anstream::adapter::strip_str(line).to_string();
    line.trim_end().chars().filter(|char| !char.is_control()).take(REPEATED_CHARS).collect()
}

/// Returns the error if an interpreter is not able to run pip as needed.
pub(super) fn unfit(python: &str, identity: &Identity) -> Option<Error> {
    let Identity { minor, pip, .. } = identity;
    let (oldest_major, oldest_minor) = OLDEST_PYTHON;
    if *minor < OLDEST_PYTHON {
        return Some(anyhow!(
            "the interpreter `{python}` is Python {}.{}, and {oldest_major}.{oldest_minor} or later \
             is needed: {WAY_OUT}",
            minor.0,
            minor.1
        ));
    }
    if pip.is_empty() {
        return Some(anyhow!(
            "the interpreter `{python}` has no pip: run `{python} -m ensurepip`, install the \
             system's package of pip (`python3-pip`), or set `python` to the interpreter of a \
             virtual environment"
        ));
    }
    version(pip).is_some_and(|version| version < OLDEST_PIP).then(|| {
        anyhow!(
            "the interpreter `{python}` has pip {pip}, and 22.2 or later is needed: run \
             `{python} -m pip install --upgrade pip`"
        )
    })
}

/// Returns the first two numbers of a version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().unwrap_or("0");
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    Some((major, digits.parse().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::interpreter::Interpreter;
    use super::*;

    fn error(root: &Path, python: &str) -> String {
        let env = BTreeMap::from([("PATH".to_owned(), format!("{}/bin", root.display()))]);
        let project = Project::new(root.to_path_buf(), env);
        format!("{:#}", Interpreter::find(&project, python).unwrap_err())
    }

    fn script(place: &Path, text: &str, mode: u32) {
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
        fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_reason_is_where_each_program_has_it() {
        let said = [
            (
                "pyenv: python3.13: command not found\n\nThe `python3.13' command exists in these \
              Python versions:\n  3.13.0\n",
                "pyenv: python3.13: command not found\nThe \
              `python3.13' command exists in these Python versions:\n  3.13.0",
            ),
            (
                "No version is set for command python3\nConsider adding one of the following\n",
                "No version is set for command python3\nConsider adding one of the following",
            ),
            (
                "\u{1b}[31mmise\u{1b}[0m ERROR No version is set for shim: python3\n",
                "mise ERROR No version is set for shim: python3",
            ),
            (
                "sh: warning: setlocale: LC_ALL: cannot change locale\nxcode-select: error: No \
              developer tools were found\n",
                "xcode-select: error: No developer tools were found",
            ),
            (
                "x: error while loading shared libraries: libpython3.11.so.1.0: cannot open\n",
                "x: error while loading shared libraries: libpython3.11.so.1.0: cannot open",
            ),
            (
                "Traceback (most recent call last):\n  File \"<string>\", line 1\nImportError: no \
              json\n",
                "ImportError: no json",
            ),
            (
                "Python path configuration:\n  PYTHONHOME = '/gone'\nFatal Python error: \
              init_fs_encoding: failed\nPython runtime state: core initialized\n\
              ModuleNotFoundError: No module named 'encodings'\n\nCurrent thread 0x1:\n  <no Python \
              frame>\n",
                "Fatal Python error: init_fs_encoding: failed; ModuleNotFoundError: No module named \
              'encodings'",
            ),
        ];
        for (output, expected) in said {
            assert_eq!(reason(output).as_deref(), Some(expected));
        }
        assert_eq!(reason(" \n"), None);
    }

    #[test]
    fn what_is_in_the_place_of_an_interpreter_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let none = error(&root, ".venv/bin/python");
        assert!(none.contains("(`python3 -m venv .venv`)"), "{none}");
        script(&root.join(".venv/pyvenv.cfg"), "", 0o644);
        fs::create_dir(root.join(".venv/bin")).unwrap();
        symlink("/gone/python3.9", root.join(".venv/bin/python3")).unwrap();
        symlink("python3", root.join(".venv/bin/python")).unwrap();
        let gone = error(&root, ".venv/bin/python");
        assert!(gone.contains("is a link to `/gone/python3.9`, which does not exist"), "{gone}");
        assert!(gone.contains("recreate the virtual environment"), "{gone}");
        script(&root.join("env/bin/python"), "", 0o644);
        let folder = error(&root, "./env");
        assert!(folder.contains("is a folder: set `python` to `./env/bin/python`"), "{folder}");
        let mode = error(&root, "env/bin/python");
        assert!(mode.contains("is not executable: run `chmod +x "), "{mode}");
        symlink("/gone/python3", root.join("bin")).unwrap();
        assert!(error(&root, "python3").contains("there is no interpreter `python3` on PATH"));
    }

    #[test]
    fn a_program_that_cannot_start_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        script(&root.join("bin/python3"), "#!/gone/bin/python3 -I\n", 0o755);
        let gone = error(&root, "python3");
        assert!(gone.contains("its first line names `/gone/bin/python3`"), "{gone}");
        script(&root.join("bin/python3"), "\u{1}\u{2}", 0o755);
        assert!(error(&root, "python3").contains("it is not a program for this machine"));
        script(&root.join("bin/python3"), "#!/bin/sh\necho hello\n", 0o755);
        let other = error(&root, "python3");
        assert!(
            other.contains("does not answer as a Python 3 interpreter does: it printed `hello`")
        );
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(version("22.2"), Some((22, 2)));
        assert_eq!(version("9.0.3"), Some((9, 0)));
        assert_eq!(version("25.1b1"), Some((25, 1)));
        assert!(version("22.0.4").unwrap() < OLDEST_PIP);
    }
}
