//! The chosen instant of a clamp, as a number of seconds. May start git; reads nothing else.

use anyhow::{Context, Result, bail};

use crate::process::{self, Invocation};
use crate::project::Project;

/// The chosen instant of a clamp.
#[derive(Clone, Debug, PartialEq)]
pub enum Timestamp {
    /// Commit time of `HEAD`.
    Git,
    /// The environment variable `SOURCE_DATE_EPOCH`.
    SourceDateEpoch,
    /// Seconds since 1970-01-01T00:00:00Z.
    At(i64),
}

/// Returns seconds since 1970-01-01T00:00:00Z.
pub fn resolve(instant: &Timestamp, project: &Project) -> Result<i64> {
    match instant {
        Timestamp::At(seconds) => Ok(*seconds),
        Timestamp::SourceDateEpoch => source_date_epoch(project),
        Timestamp::Git => last_commit(project),
    }
}

fn source_date_epoch(project: &Project) -> Result<i64> {
    let Some(text) = project.var("SOURCE_DATE_EPOCH") else {
        bail!(
            "the instant \"source-date-epoch\" needs the environment variable SOURCE_DATE_EPOCH, \
             which is not set"
        );
    };
    text.parse().ok().filter(|seconds| *seconds >= 0).with_context(|| {
        format!("SOURCE_DATE_EPOCH is `{text}`, and not a number of seconds since 1970")
    })
}

/// Returns the commit time of `HEAD` in the repository that contains the project.
fn last_commit(project: &Project) -> Result<i64> {
    const WAY_OUT: &str = "give a time such as \"1980-02-01T00:00:00Z\" instead";
    let Some(git) = project.find_program("git") else {
        bail!("the instant \"git\" needs git, which is not on PATH; {WAY_OUT}");
    };
    // Without the setting, a user's configuration can print signatures before the time.
    let log = ["-c", "log.showSignature=false", "log", "-1", "--format=%ct", "HEAD"];
    let captured = Invocation::new(git, &project.root).args(log).capture()?;
    if !captured.status.success() {
        bail!(
            "the instant \"git\" needs a commit, but git failed ({}): {}; commit once, or {WAY_OUT}",
            process::describe(captured.status),
            captured.stderr.trim(),
        );
    }
    let text = captured.stdout.trim();
    text.parse().with_context(|| format!("git printed `{text}` as the time of the last commit"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    fn project(root: &Path, vars: &[(&str, &str)]) -> Project {
        let path = std::env::var("PATH").unwrap();
        let mut env = BTreeMap::from([("PATH".to_owned(), path)]);
        env.extend(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Project::new(root.to_path_buf(), env)
    }

    #[test]
    fn source_date_epoch_comes_from_the_environment() {
        let here = Path::new("/");
        let resolved =
            |vars: &[(&str, &str)]| resolve(&Timestamp::SourceDateEpoch, &project(here, vars));
        assert_eq!(resolved(&[("SOURCE_DATE_EPOCH", "1000")]).unwrap(), 1000);
        assert!(resolved(&[("SOURCE_DATE_EPOCH", "now")]).is_err());
        assert!(resolved(&[]).unwrap_err().to_string().contains("not set"));
    }

    #[test]
    fn the_last_commit_gives_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let project = project(folder.path(), &[]);
        let error = resolve(&Timestamp::Git, &project).unwrap_err().to_string();
        assert!(error.contains("1980-02-01T00:00:00Z"), "{error}");
        let script = "git init -q . && git -c user.name=n -c user.email=e -c commit.gpgsign=false \
                      commit -q --allow-empty -m first";
        let committed = Invocation::new("/bin/sh", folder.path())
            .args(["-c", script])
            .env("GIT_COMMITTER_DATE", "1234567890 +0900")
            .capture()
            .unwrap();
        assert!(committed.status.success(), "{}", committed.stderr);
        assert_eq!(resolve(&Timestamp::Git, &project).unwrap(), 1_234_567_890);
    }
}
