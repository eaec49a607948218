//! Runs git: tags, commits, files, and the changes between commits.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail};

use super::order::Tag;
use crate::process::{self, Captured, Invocation, Stream};
use crate::project::Project;

/// Settings that would change the form of the output.
const SETTINGS: [&str; 2] = ["core.quotePath=true", "color.ui=false"];

/// A git repository, seen from a folder of its work tree.
pub struct Repository {
    git: PathBuf,
    /// The folder of the project.
    root: PathBuf,
    /// Path of the project in the repository: empty, or with a `/` at its end.
    prefix: String,
    /// The commit of `HEAD`.
    pub(super) head: String,
    pub is_shallow: bool,
}

impl Repository {
    /// Fails if the project is not in a repository, or there is no commit.
    pub fn open(project: &Project) -> Result<Self> {
        let git = project.find_program("git").context(
            "there is no program `git` on PATH; the history of files is read from a git repository",
        )?;
        let root = project.root.clone();
        let mut repository =
            Self { git, root, prefix: String::new(), head: String::new(), is_shallow: false };
        let Captured { status, stdout, stderr } = repository.run(&[
            "rev-parse",
            "--is-inside-work-tree",
            "--is-shallow-repository",
            "--show-prefix",
            "HEAD^{commit}",
        ])?;
        let mut lines = stdout.lines();
        if lines.next() != Some("true") {
            let why = stderr.lines().next().unwrap_or("it is not a work tree").trim_end();
            // Another owner, a broken repository: git names the way out.
            if !stderr.is_empty() && !stderr.contains("not a git repository") {
                bail!(
                    "git cannot read the repository of `{}`: {}",
                    repository.root.display(),
                    stderr.trim()
                );
            }
            bail!(
                "`{}` is not in a git repository ({why})\n\
                 run it in a clone of the project, or name its folder with `-C`",
                repository.root.display()
            );
        }
        if !status.success() {
            bail!("the git repository has no commit yet: `git commit` makes one");
        }
        repository.is_shallow = lines.next() == Some("true");
        repository.prefix = lines.next().unwrap_or_default().to_owned();
        repository.head = lines.next().unwrap_or_default().to_owned();
        Ok(repository)
    }

    fn invocation(&self, args: &[&str]) -> Invocation {
        let settings = SETTINGS.iter().flat_map(|setting| ["-c", *setting]);
        Invocation::new(&self.git, &self.root)
            .env("LC_ALL", "C")
            // Otherwise, each commit is written by itself.
            .env("GIT_FLUSH", "0")
            .args(settings)
            .args(args.iter().copied())
    }

    fn run(&self, args: &[&str]) -> Result<Captured> {
        self.invocation(args).capture()
    }

    fn output(&self, args: &[&str]) -> Result<String> {
        Self::complete(&self.invocation(args))
    }

    /// Returns the output of git. Fails if it fails.
    fn complete(git: &Invocation) -> Result<String> {
        let Captured { status, stdout, stderr } = git.capture()?;
        if !status.success() {
            return Err(failure(git, &stderr, status));
        }
        Ok(stdout)
    }

    /// Returns the tags that name a commit, or those that match `glob`.
    pub(super) fn tags(&self, glob: Option<&str>) -> Result<Vec<Tag>> {
        let format = "--format=%(objecttype) %(objectname) %(*objecttype) %(*objectname) \
                      %(refname:lstrip=2)";
        let mut args = vec!["tag", "--list", format, "--"];
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

    /// Calls `each` with every line of `git rev-list --parents` of `HEAD`: a commit, and its parents. A
    /// commit comes after all commits that it is a parent of.
    pub(super) fn commits(&self, each: &mut (dyn FnMut(&str) + Send)) -> Result<()> {
        self.lines(&self.invocation(&["rev-list", "--topo-order", "--parents", &self.head]), each)
    }

    /// Returns the lines of `git rev-list --parents` for commits that `tips` reach and `HEAD` does not.
    pub(super) fn other_commits(&self, tips: &[&str]) -> Result<String> {
        if tips.is_empty() {
            return Ok(String::new());
        }
        let tips: String = tips.iter().map(|tip| format!("{tip}\n")).collect();
        let git = self.invocation(&["rev-list", "--parents", "--stdin"]);
        Self::complete(&git.input(format!("{tips}^{}\n", self.head)))
    }

    /// Returns the paths of all files in `HEAD`, relative to the repository, quoted as git does.
    pub(super) fn files(&self) -> Result<Vec<String>> {
        let listed = self.output(&["ls-tree", "--full-tree", "-r", "--name-only", &self.head])?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// Compares commits with their parents. Each line of `pairs` has a commit and one of its parents,
    /// or a commit without parents. Calls `each` with the lines of `git diff-tree --name-status`: the
    /// commit, then the changes, in the order of `pairs`.
    pub(super) fn changes(
        &self,
        pairs: String,
        renames: bool,
        each: &mut (dyn FnMut(&str) + Send),
    ) -> Result<()> {
        let git = self.invocation(&[
            "diff-tree",
            "--stdin",
            "--always",
            "--root",
            "-r",
            "--name-status",
            "--ignore-submodules=none",
            if renames { "-M" } else { "--no-renames" },
        ]);
        self.lines(&git.input(pairs), each)
    }

    /// Returns the contents of files of the project, each a revision and a path. Equal contents are
    /// read once; `None` if the revision does not have the file.
    pub(super) fn contents<'a>(
        &self,
        files: impl Iterator<Item = (&'a String, &'a String)>,
    ) -> Result<Vec<Option<Rc<str>>>> {
        let name = |(revision, path)| format!("{revision}:{}{path}\n", self.prefix);
        let git = self.invocation(&["cat-file", "--batch-check=%(objectname)"]);
        let listed = Self::complete(&git.input(files.map(name).collect::<String>()))?;
        let object = |line: &str| (!line.ends_with(" missing")).then(|| line.to_owned());
        let objects: Vec<Option<String>> = listed.lines().map(object).collect();
        let wanted: BTreeSet<&str> = objects.iter().flatten().map(String::as_str).collect();
        let git = self.invocation(&["cat-file", "--batch"]);
        let input: String = wanted.iter().map(|object| format!("{object}\n")).collect();
        let printed = Self::complete(&git.input(input))?;
        let mut contents: HashMap<&str, String> = HashMap::new();
        let mut wanted = wanted.into_iter().peekable();
        let mut current = None;
        for line in printed.lines() {
            // `OBJECT blob SIZE`, then the content.
            if let Some(object) = wanted.next_if(|object| line.starts_with(*object)) {
                current = Some(contents.entry(object).or_default());
            } else if let Some(content) = &mut current {
                content.push_str(line);
                content.push('\n');
            }
        }
        let contents: HashMap<&str, Rc<str>> =
            contents.into_iter().map(|(object, content)| (object, content.into())).collect();
        let content = |object: &Option<String>| contents.get(object.as_deref()?).cloned();
        Ok(objects.iter().map(content).collect())
    }

    /// Returns a path of the repository relative to the project; `None` outside of it.
    pub(super) fn path_in_project(&self, path: &str) -> Option<String> {
        path.strip_prefix(&self.prefix).map(str::to_owned)
    }

    fn lines(&self, git: &Invocation, each: &mut (dyn FnMut(&str) + Send)) -> Result<()> {
        let (each, errors) = (Mutex::new(each), Mutex::new(String::new()));
        let status = git.stream(&|stream, line| match stream {
            Stream::Stdout => each.lock().expect("BUG: the reader does not panic")(line),
            Stream::Stderr => {
                errors.lock().expect("BUG: it is only appended to").push_str(line);
            }
        })?;
        if !status.success() {
            let errors = errors.into_inner().expect("BUG: as above");
            return Err(failure(git, &errors, status));
        }
        Ok(())
    }
}

fn failure(git: &Invocation, stderr: &str, status: std::process::ExitStatus) -> anyhow::Error {
    let end = process::describe(status);
    let command = git.args.get(2 * SETTINGS.len()).map(|word| word.to_string_lossy());
    anyhow!("`git {}` ended with {end}: {}", command.unwrap_or_default(), stderr.trim())
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
