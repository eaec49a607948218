//! Brings one target up to date through the library, without an engine around it: in a process
//! of its own, because the SDK reads the environment of its process.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use serde_json::{Value, json};
use tempfile::TempDir;
use zipwright::base::{Digest, RelPath};
use zipwright::buildfile::model::{
    Compression, Invoke, Kind, Model, Payload, Spanned, Target, Upload, Zip,
};
use zipwright::files::Files;
use zipwright::kinds::{Job, Messages};
use zipwright::process::Stream;
use zipwright::project::Project;

/// A project with a bundle in it. Its runs are processes of their own.
pub(crate) struct Sandbox {
    pub(crate) folder: TempDir,
}

/// What a run said and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) error: Option<String>,
    pub(crate) facts: Value,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn success(&self) {
        assert_eq!(self.error, None);
    }
}

impl Sandbox {
    pub(crate) fn new(zip: &[u8]) -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(folder.path().join("build")).unwrap();
        fs::write(folder.path().join("build/lambda.zip"), zip).unwrap();
        Self { folder }
    }

    pub(crate) fn upload(&self, env: &[(&'static str, String)]) -> Outcome {
        self.run("upload", env)
    }

    pub(crate) fn invoke(&self, env: &[(&'static str, String)], payload: &str) -> Outcome {
        fs::write(self.folder.path().join("payload.json"), payload).unwrap();
        self.run("invoke", env)
    }

    fn run(&self, target: &str, env: &[(&'static str, String)]) -> Outcome {
        let required = ("ZIPWRIGHT_REQUIRE_LOOPBACK", "1".to_owned());
        assert!(env.contains(&required), "a test stays on this machine");
        let output = Command::new(env::current_exe().unwrap())
            .args(["one_target::runs_a_target_for_a_test", "--exact", "--nocapture"])
            .current_dir(&self.folder)
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .env(TARGET, target)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let outcome = fs::read(self.folder.path().join("outcome.json")).unwrap();
        let outcome: Value = serde_json::from_slice(&outcome).unwrap();
        let lines = |stream: &str| serde_json::from_value(outcome[stream].clone()).unwrap();
        Outcome {
            error: outcome["error"].as_str().map(str::to_owned),
            facts: outcome["facts"].clone(),
            stdout: lines("stdout"),
            stderr: lines("stderr"),
        }
    }
}

/// Names the target to run, in the process that runs it.
const TARGET: &str = "ZIPWRIGHT_TEST_TARGET";

/// Not a test of its own: what [`Sandbox::run`] starts.
#[test]
fn runs_a_target_for_a_test() {
    let Ok(target) = env::var(TARGET) else { return };
    let said = Said::default();
    let folder = env::current_dir().unwrap();
    let done = with_job(&folder, env::vars().collect(), &target, &said, zipwright::kinds::run);
    let (error, facts) = match done {
        Ok(done) => (None, done.facts.into_iter().collect()),
        Err(error) => (Some(format!("{error:#}")), serde_json::Map::new()),
    };
    let Said { stdout, stderr } = said;
    let outcome = json!({"error": error, "facts": facts, "stdout": stdout, "stderr": stderr});
    fs::write("outcome.json", outcome.to_string()).unwrap();
}

#[derive(Default)]
pub(crate) struct Said {
    stdout: Mutex<Vec<String>>,
    stderr: Mutex<Vec<String>>,
}

impl Messages for Said {
    fn line(&self, stream: Stream, text: &str) {
        let lines = if stream == Stream::Stdout { &self.stdout } else { &self.stderr };
        lines.lock().unwrap().push(text.into());
    }

    fn warn(&self, _text: &str) {}

    fn status(&self, _text: &str) {}
}

pub(crate) fn with_job<T>(
    folder: &Path,
    env: BTreeMap<String, String>,
    name: &str,
    messages: &Said,
    work: impl Fn(&Job) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let model = model();
    let results = ["package", "upload"]
        .map(|name| (name.to_owned(), Digest::of(format!("result of {name}").as_bytes())))
        .into();
    work(&Job {
        target: model.target(name).unwrap(),
        model: &model,
        project: &Project::new(folder.into(), env),
        files: &Files::new(folder, Vec::new(), zipwright::files::Memory::default()),
        results: &results,
        write_tree: false,
        messages,
    })
}

fn model() -> Model {
    let path = |path: &str| spanned(RelPath::parse(path).unwrap());
    let target = |name: &str, kind| Target {
        name: spanned(name.into()),
        description: None,
        needs: Vec::new(),
        after: Vec::new(),
        stamp: None,
        kind,
    };
    let zip = Zip {
        staging: spanned("staging".into()),
        output: path("build/lambda.zip"),
        compression: Compression::Keep,
        clamp: None,
        limits: true,
    };
    let upload = Upload { zip: spanned("package".into()), function: spanned("hello".into()) };
    let invoke =
        Invoke { upload: spanned("upload".into()), payload: Payload::File(path("payload.json")) };
    Model {
        targets: vec![
            target("package", Kind::Zip(zip)),
            target("upload", Kind::Upload(upload)),
            target("invoke", Kind::Invoke(invoke)),
        ],
        ..Model::default()
    }
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned { value, span: 0..0 }
}
