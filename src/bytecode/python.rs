//! Runs an interpreter that compiles: it gets no variable of the environment, and each file is
//! compiled independently of the others.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Compiled, Source};
use crate::base::fs;
use crate::process::{Invocation, describe};

const SCRIPT: &str = include_str!("compile.py");

/// Compiles in `folder`, which is empty. Returns the results in the order of the sources.
pub(super) fn compile(program: &Path, folder: &Path, sources: &[Source]) -> Result<Vec<Compiled>> {
    // A folder of its own: Python searches for modules beside its script.
    let script = folder.join("script/compile.py");
    fs::write_if_changed(&script, SCRIPT.as_bytes(), 0o600)?;
    let work = folder.join("work");
    fs::create_dir_all(&work)?;
    let write = |name: &str, bytes: &[u8]| {
        let place = work.join(name);
        std::fs::write(&place, bytes)
            .with_context(|| format!("could not write `{}`", place.display()))
    };
    for (number, source) in sources.iter().enumerate() {
        write(&number.to_string(), &source.content)?;
    }
    let paths: Vec<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    write("paths", paths.join("\n").as_bytes())?;
    let run = Invocation::new(program, "/")
        .args(["-s", "-S", "-B", "-W", "ignore"])
        .arg(&script)
        .arg(&work)
        .empty_environment()
        .env("LC_ALL", "C.UTF-8")
        // The order of a set of constants is that of their hashes.
        .env("PYTHONHASHSEED", "0")
        .capture()?;
    if !run.status.success() {
        let said = run.stderr.trim().lines().last().unwrap_or("no output").to_owned();
        bail!("`{}` did not compile ({}): {said}", program.display(), describe(run.status));
    }
    Ok((0..sources.len())
        .map(|number| {
            let bytes = |end: &str| std::fs::read(work.join(format!("{number}.{end}")));
            match bytes("pyc") {
                Ok(bytes) => Ok(bytes),
                Err(_) => Err(bytes("why").map_or_else(
                    |_| "the interpreter died of it".into(),
                    |why| String::from_utf8_lossy(&why).into_owned(),
                )),
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), content: text.into() }
    }

    fn compiled(sources: &[Source]) -> Vec<Compiled> {
        let say = "import sys; print(sys.executable)";
        let python = Command::new("python3").args(["-c", say]).output().unwrap();
        let program = String::from_utf8(python.stdout).unwrap();
        let folder = tempfile::tempdir().unwrap();
        compile(Path::new(program.trim()), folder.path(), sources).unwrap()
    }

    #[test]
    fn what_is_compiled_beside_a_file_leaves_no_trace_in_it() {
        let text = "names = {'alpha', 'beta', 'gamma', 'delta'}\n\
                    def alpha(beta=1.5):\n    return 'gamma delta', beta in {'x', 'y', 'z'}\n";
        let alone = compiled(&[source("a.py", text)]).remove(0).unwrap();
        let other = "alpha = beta = gamma = delta = 'gamma delta'\n";
        let amid = compiled(&[source("b.py", other), source("a.py", text), source("c.py", other)]);
        assert_eq!(amid[1].as_ref().unwrap(), &alone);
        assert_eq!(alone[4..8], 1_u32.to_le_bytes(), "unchecked hash");
        let text = String::from_utf8_lossy(&alone);
        assert!(text.contains("/var/task/a.py"));
    }

    #[test]
    fn what_does_not_compile_says_why_and_harms_no_other() {
        let results = compiled(&[source("a.py", "x = (\n"), source("b.py", "")]);
        let why = results[0].as_ref().unwrap_err();
        assert!(why.contains("line 1") || why.contains("line 2"), "{why}");
        assert!(results[1].is_ok());
    }
}
