//! Runs git: tags, commits, files, and the log with the changes of each commit.

use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail};

use super::order::Tag;
use crate::process::{self, Captured, Invocation, Stream};
use crate::project::Project;

/// Settings that would change the form of the output.
const SETTINGS: [&str; 7] = [
    "core.quotePath=true",
    "color.ui=false",
    "diff.relative=false",
    "diff.ignoreSubmodules=none",
    "log.diffMerges=separate",
    "log.showRoot=true",
    "log.showSignature=false",
];

/// A git repository, seen from a folder of its work tree.
pub struct Repository {
    git: PathBuf,
    /// The folder of the project.
    root: PathBuf,
    /// Path of the project in the repository: empty, or with a `/` at its end.
    prefix: String,
    pub is_shallow: bool,
}

impl Repository {
    /// Fails if the project is not in a repository, or there is no commit.
    pub fn open(project: &Project) -> Result<Self> {
        let git = project.find_program("git").context(
            "there is no program `git` on PATH; the history of files is read from a git repository",
        )?;
        let mut repository =
            Self { git, root: project.root.clone(), prefix: String::new(), is_shallow: false };
        let args =
            ["rev-parse", "--is-inside-work-tree", "--is-shallow-repository", "--show-prefix"];
        let Captured { status, stdout, stderr } = repository.run(&args)?;
        let mut lines = stdout.lines();
        if !status.success() || lines.next() != Some("true") {
            let why = stderr.lines().next().unwrap_or("it is not a work tree").trim_end();
            bail!(
                "`{}` is not in a git repository ({why})\n\
                 run it in a clone of the project, or name its folder with `-C`",
                repository.root.display()
            );
        }
        repository.is_shallow = lines.next() == Some("true");
        repository.prefix = lines.next().unwrap_or_default().to_owned();
        if !repository.run(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])?.status.success()
        {
            bail!("the git repository has no commit yet: `git commit` makes one");
        }
        Ok(repository)
    }

    fn invocation(&self, args: &[&str]) -> Invocation {
        let settings = SETTINGS.iter().flat_map(|setting| ["-c", *setting]);
        Invocation::new(&self.git, &self.root)
            .env("LC_ALL", "C")
            .args(settings)
            .args(args.iter().copied())
    }

    fn run(&self, args: &[&str]) -> Result<Captured> {
        self.invocation(args).capture()
    }

    fn output(&self, args: &[&str]) -> Result<String> {
        let Captured { status, stdout, stderr } = self.run(args)?;
        if !status.success() {
            return Err(failure(args[0], &stderr, status));
        }
        Ok(stdout)
    }

    /// Returns the tags that name a commit, or those that match `glob`.
    pub(super) fn tags(&self, glob: Option<&str>) -> Result<Vec<Tag>> {
        let format = "--format=%(objecttype) %(objectname) %(*objecttype) %(*objectname) \
                      %(refname:lstrip=2)";
        let mut args = vec!["tag", "--list", format];
        args.extend(glob);
        let parse = |line: &str| {
            let mut words = line.splitn(5, ' ');
            let [kind, own, inner_kind, inner, name] = std::array::from_fn(|_| words.next());
            let commit = match (kind?, inner_kind?) {
                ("commit", _) => own?,
                ("tag", "commit") => inner?,
                _ => return None,
            };
            Some(Tag { name: name?.to_owned(), commit: commit.to_owned() })
        };
        Ok(self.output(&args)?.lines().filter_map(parse).collect())
    }

    /// Returns the commit of the tag or revision `name`; `None` if there is none.
    pub fn commit_of(&self, name: &str) -> Result<Option<String>> {
        for place in ["refs/tags/", ""] {
            let revision = format!("{place}{name}^{{commit}}");
            let Captured { status, stdout, .. } =
                self.run(&["rev-parse", "--verify", "--quiet", &revision])?;
            if status.success() {
                return Ok(Some(stdout.trim_end().to_owned()));
            }
        }
        Ok(None)
    }

    /// Returns a commit as people name it: by the last tag that it has.
    pub fn describe(&self, commit: &str) -> Result<String> {
        let described = self.output(&["describe", "--tags", "--always", commit])?;
        Ok(described.trim_end().to_owned())
    }

    /// Returns `HEAD`.
    pub(super) fn head(&self) -> Result<String> {
        Ok(self.output(&["rev-parse", "HEAD"])?.trim_end().to_owned())
    }

    /// Calls `each` with every line of `git rev-list --parents` of `starts`.
    pub(super) fn commits<'a>(
        &self,
        starts: impl Iterator<Item = &'a str>,
        each: &mut (dyn FnMut(&str) + Send),
    ) -> Result<()> {
        let mut args = vec!["rev-list", "--parents"];
        let fixed = args.len();
        args.extend(starts);
        args[fixed..].sort_unstable();
        args.dedup();
        self.lines(&args, each)
    }

    /// Returns the paths of all files in `HEAD`, relative to the repository, quoted as git does.
    pub(super) fn files(&self) -> Result<Vec<String>> {
        let listed = self.output(&["ls-tree", "--full-tree", "-r", "--name-only", "HEAD"])?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// Calls `each` with every line of the log of `HEAD`: a commit, then its changes. A commit comes
    /// after all commits that it is a parent of. A merge comes once for each parent that it differs
    /// from.
    pub(super) fn log(&self, renames: bool, each: &mut (dyn FnMut(&str) + Send)) -> Result<()> {
        let renames = if renames { "-M" } else { "--no-renames" };
        let args = [
            "log",
            "--topo-order",
            "--format=oneline",
            "--no-decorate",
            "--no-notes",
            "--name-status",
            "-m",
            renames,
            "HEAD",
            "--",
        ];
        self.lines(&args, each)
    }

    /// Returns the content of a file of the project at a revision; `None` if there is none.
    pub(super) fn content(&self, revision: &str, path: &str) -> Result<Option<String>> {
        let name = format!("{revision}:{}{path}", self.prefix);
        let Captured { status, stdout, .. } = self.run(&["show", "--no-textconv", &name])?;
        Ok(status.success().then_some(stdout))
    }

    /// Returns a path of the repository relative to the project; `None` outside of it.
    pub(super) fn path_in_project(&self, path: &str) -> Option<String> {
        path.strip_prefix(&self.prefix).map(str::to_owned)
    }

    fn lines(&self, args: &[&str], each: &mut (dyn FnMut(&str) + Send)) -> Result<()> {
        let (each, errors) = (Mutex::new(each), Mutex::new(String::new()));
        let status = self.invocation(args).stream(&|stream, line| match stream {
            Stream::Stdout => each.lock().expect("BUG: the reader does not panic")(line),
            Stream::Stderr => {
                errors.lock().expect("BUG: it is only appended to").push_str(line);
            }
        })?;
        if !status.success() {
            let errors = errors.into_inner().expect("BUG: as above");
            return Err(failure(args[0], &errors, status));
        }
        Ok(())
    }
}

fn failure(command: &str, stderr: &str, status: std::process::ExitStatus) -> anyhow::Error {
    let end = process::describe(status);
    anyhow!("`git {command}` ended with {end}: {}", stderr.trim())
}

/// Returns the path that git wrote, with quotes and escapes if it has unusual characters. Bytes that
/// are not UTF-8 are replaced.
pub(super) fn unquoted(written: &str) -> String {
    let Some(inner) = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return written.to_owned();
    };
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'a') => 7,
            Some(b'b') => 8,
            Some(b't') => b'\t',
            Some(b'n') => b'\n',
            Some(b'v') => 11,
            Some(b'f') => 12,
            Some(b'r') => b'\r',
            Some(digit @ b'0'..=b'7') => {
                let mut value = u32::from(digit - b'0');
                while let Some(digit @ b'0'..=b'7') = rest.peek().copied() {
                    value = value * 8 + u32::from(digit - b'0');
                    rest.next();
                }
                u8::try_from(value).unwrap_or(b'?')
            }
            Some(other) => other,
            None => b'\\',
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_paths_are_read_as_git_writes_them() {
        assert_eq!(unquoted("a b.py"), "a b.py");
        assert_eq!(unquoted(r#""\303\244 \"x\\\t""#), "ä \"x\\\t");
    }
}
