//! uv as the resolver of requirements: one run of `uv pip compile`, which gives a `pylock.toml`.
//!
//! uv runs without its own configuration files, and gets pip's indexes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail};
use zipwright_python::lock::{LockedSet, Pylock, Wanted};
use zipwright_python::{Runtime, Target};
use zipwright_store::{Bucket, Memo, Observation};

use super::network::Network;
use super::options;
use super::run::{Failure, Pip};
use super::secrets::Redactor;
use super::sources::Sources;
use zipwright_engine::process::{Invocation, Stream, describe};
use zipwright_store::digest::FieldHasher;
use zipwright_store::project::Project;

/// Variables of uv that stay as they are: they change nothing in a result.
const KEPT: [&str; 7] = [
    "UV_CACHE_DIR",
    "UV_CONCURRENT_DOWNLOADS",
    "UV_HTTP_TIMEOUT",
    "UV_KEYRING_PROVIDER",
    "UV_NATIVE_TLS",
    "UV_NO_CACHE",
    "UV_SYSTEM_CERTS",
];

/// uv on this machine.
#[derive(Clone, Debug)]
pub struct Uv {
    program: PathBuf,
    pub version: String,
}

/// The inputs of a resolution besides the requirements.
pub(super) struct Question<'a> {
    pub pip: &'a Pip<'a>,
    pub network: &'a Network,
    /// pip's further arguments.
    pub arguments: &'a [String],
    /// The options in requirements files.
    pub options: &'a [String],
    pub runtime: Option<Runtime>,
    pub target: Target,
    /// A folder for the files of the run.
    pub folder: &'a Path,
    /// Pairs of a text in uv's output and the text to show instead.
    pub names: &'a [(String, String)],
}

impl Uv {
    /// Finds uv: the program in `UV`, else on PATH.
    pub(super) fn find(project: &Project) -> Result<Self> {
        let name = project.var("UV").filter(|name| !name.is_empty());
        let Some(program) = project.find_program(name.unwrap_or("uv")) else {
            match name {
                Some(name) => bail!("there is no program `{name}`, which `UV` names"),
                None => bail!(
                    "there is no `uv` on PATH, which `resolver = \"uv\"` runs: install it, or set \
                     `UV` to its path"
                ),
            }
        };
        let cache = project.cache()?;
        let mut hasher = FieldHasher::new();
        let key = hasher.field("uv").field(program.as_os_str().as_encoded_bytes()).finish();
        let cached = cache.get::<Memo<String>>(Bucket::Toolchains, &key);
        if let Some(version) = cached.and_then(Memo::valid) {
            return Ok(Self { program, version });
        }
        let witnesses = vec![Observation::file(&program)];
        let run = Invocation::new(&program, &project.root).arg("--version").capture()?;
        // `uv 0.13.9 (x86_64-unknown-linux-gnu)`
        let mut words = run.stdout.split_whitespace();
        let (Some("uv"), Some(version), true) = (words.next(), words.next(), run.status.success())
        else {
            bail!("`{}` is not uv: `--version` prints `{}`", program.display(), run.stdout.trim());
        };
        let version = version.to_owned();
        if let Some(memo) = Memo::new(witnesses, &version) {
            // If the cache cannot be written, the next build starts one more process.
            let _ = cache.put(Bucket::Toolchains, &key, &memo);
        }
        Ok(Self { program, version })
    }

    /// Resolves the requirements in `given`, options of pip with files. As with pip, a runtime's
    /// packages are chosen among wheels, and from source distributions only if there is no solution.
    pub(super) fn resolve(&self, given: &[OsString], question: &Question) -> Result<LockedSet> {
        question.pip.reporter.status("resolving the requirements with uv");
        let output = question.folder.join("pylock.toml");
        let attempt = |only_wheels: bool| -> Result<Result<(), Failure>> {
            let mut invocation = self.invocation(question, &output)?;
            if only_wheels {
                invocation = invocation.arg("--only-binary").arg(":all:");
            }
            for pair in given.chunks(2) {
                let [option, file] = pair else { continue };
                invocation = match option.to_str() {
                    Some("-c") => invocation.arg("--constraints").arg(file),
                    _ => invocation.arg(file),
                };
            }
            run(&invocation, question, only_wheels)
        };
        let mut result = attempt(question.runtime.is_some())?;
        if result.is_err() && question.runtime.is_some() {
            question.pip.reporter.status("running uv again, with source distributions");
            result = attempt(false)?;
        }
        if let Err(Failure { said, status }) = result {
            bail!("uv could not resolve the requirements ({status}):\n{}", said.join("\n"));
        }
        let text = std::fs::read_to_string(&output).context("uv wrote no `pylock.toml`")?;
        let read = || Pylock::parse(&text)?.select(&question.target, &Wanted::default());
        read().with_context(|| format!("the result of uv {} cannot be used", self.version))
    }

    fn invocation(&self, question: &Question, output: &Path) -> Result<Invocation> {
        let Question { pip, network, runtime, .. } = question;
        let project = pip.project;
        let mut invocation = Invocation::new(&self.program, &project.root)
            .args(["pip", "compile", "--quiet", "--no-config", "--no-header", "--no-annotate"])
            .args(["--index-strategy", "unsafe-best-match", "--format", "pylock.toml"])
            .arg("--output-file")
            .arg(output)
            .arg("--python")
            .arg(&pip.interpreter.get()?.program);
        if let Some(runtime) = runtime {
            let Runtime { major, minor, arch } = *runtime;
            invocation = invocation
                .args(["--python-version".into(), format!("{major}.{minor}")])
                .args(["--python-platform".into(), platform(*runtime, arch.machine())]);
        }
        let foreign = project.vars().keys().filter(|name| is_setting(name));
        invocation.env_remove.extend(foreign.map(Into::into));
        let sources = sources(question)?;
        if question.arguments.iter().any(|word| word == "--pre") {
            invocation = invocation.args(["--prerelease", "allow"]);
        }
        match sources.indexes.split_first() {
            None => invocation = invocation.env("UV_NO_INDEX", "1"),
            Some((first, rest)) => {
                invocation =
                    invocation.env("UV_DEFAULT_INDEX", first).env("UV_INDEX", rest.join(" "));
            }
        }
        if !sources.find_links.is_empty() {
            invocation = invocation.env("UV_FIND_LINKS", sources.find_links.join(","));
        }
        if let Some(file) = network.get("cert").filter(|_| project.var("SSL_CERT_FILE").is_none()) {
            invocation = invocation.env("SSL_CERT_FILE", project.root.join(file));
        }
        if let Some(proxy) = network.get("proxy") {
            invocation = invocation.env("ALL_PROXY", proxy);
        }
        Ok(invocation)
    }
}

/// Returns pip's sources. Fails if pip's arguments have an option that uv is not given.
fn sources(question: &Question) -> Result<Sources> {
    let plain = question.arguments.iter().filter(|word| *word != "--pre");
    let plain: Vec<String> = plain.cloned().collect();
    let mut sources = Sources::read(question.network, &plain, &[]).ok_or_else(|| {
        anyhow!(
            "`pip-args` has an option that uv does not take: with `resolver = \"uv\"` it may have \
             `--index-url`, `--extra-index-url`, `--find-links`, `--no-index` and `--pre`"
        )
    })?;
    // uv reads the others in the files itself.
    for line in question.options {
        let found = options::split(line).and_then(|words| options::read(words).ok());
        found.into_iter().flatten().for_each(|option| {
            let _ = sources.add_line(option);
        });
    }
    Ok(sources)
}

/// Returns uv's name of the newest platform that is not newer than the runtime's.
fn platform(runtime: Runtime, machine: &str) -> String {
    let glibc = match runtime.glibc() {
        31.. => runtime.glibc(),
        28..31 => 28,
        _ => 17,
    };
    format!("{machine}-manylinux_2_{glibc}")
}

/// Returns whether a variable is a setting of uv that could change a result.
fn is_setting(name: &str) -> bool {
    let is_credential = name.ends_with("_USERNAME") || name.ends_with("_PASSWORD");
    name.starts_with("UV_") && !KEPT.contains(&name) && !is_credential
}

/// Runs uv to the end. Its messages are shown unless another attempt follows a failure.
fn run(
    invocation: &Invocation,
    question: &Question,
    is_tentative: bool,
) -> Result<Result<(), Failure>> {
    let kept = Mutex::new(Vec::new());
    let secrets: &Redactor = question.pip.secrets;
    let status = invocation.stream(&|_, line| {
        let mut line = secrets.redact(line.trim_end());
        for (theirs, ours) in question.names {
            line = line.replace(theirs, ours);
        }
        if !is_tentative {
            question.pip.reporter.line(Stream::Stderr, line.as_str().into());
        }
        kept.lock().expect("BUG: no holder of this lock panics").push(line);
    })?;
    if status.success() {
        return Ok(Ok(()));
    }
    let said = kept.into_inner().expect("BUG: as above");
    Ok(Err(Failure { said, status: describe(status) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_those_of_uv() {
        let of = |minor| {
            let runtime = Runtime { major: 3, minor, arch: zipwright_python::Arch::Arm64 };
            platform(runtime, "aarch64")
        };
        assert_eq!(of(13), "aarch64-manylinux_2_34");
        assert_eq!(of(11), "aarch64-manylinux_2_17");
    }

    #[test]
    fn settings_of_uv_are_those_that_change_a_result() {
        assert!(is_setting("UV_PRERELEASE") && is_setting("UV_INDEX_URL"));
        for name in ["UV", "UV_CACHE_DIR", "UV_INDEX_MINE_PASSWORD", "PIP_PRE"] {
            assert!(!is_setting(name), "{name}");
        }
    }
}
