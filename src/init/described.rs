//! Functions as the files of a deployment tool describe them: the common form of SAM templates,
//! `serverless.yml` and Terraform.

use crate::base::RelPath;
use crate::check::Arch;

/// One Lambda function. A fact that the file does not have, or computes, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Function {
    /// The file's own name of it.
    pub(super) name: String,
    /// Its name in Lambda.
    pub(super) lambda_name: Option<String>,
    /// `module.function`; a module in a package has `/` or `.`.
    pub(super) handler: Option<String>,
    /// The folder that becomes the root of the bundle, relative to the project; `""` is the project.
    pub(super) folder: String,
    /// Lambda's name of it: `python3.13`.
    pub(super) runtime: Option<String>,
    /// `arm64` or `x86_64`.
    pub(super) arch: Option<String>,
    /// Seconds, if they are not Lambda's default.
    pub(super) timeout: Option<u64>,
    /// `template.yaml, line 12`.
    pub(super) origin: String,
}

/// All functions of one tool, and remarks on those that cannot be taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) functions: Vec<Function>,
    pub(super) notes: Vec<String>,
}

impl Described {
    pub(super) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Adds a function. `states` is whether the file has a runtime and an architecture: if one of them is
    /// computed, a note names it. Without an architecture, Lambda's default is taken.
    pub(super) fn push(&mut self, function: Function, states: [bool; 2]) {
        let Function { name, origin, runtime, .. } = &function;
        let arch = function.arch.clone().filter(|arch| Arch::parse(arch).is_some());
        let [has_runtime, has_arch] = states;
        if has_runtime && runtime.is_none() {
            self.notes
                .push(format!("{origin}: the runtime of `{name}` is computed; --runtime gives it"));
        }
        if has_arch && arch.is_none() {
            self.notes.push(format!(
                "{origin}: the architecture of `{name}` is computed; x86_64 is assumed, --arch gives another"
            ));
        }
        let arch = arch.or_else(|| Some("x86_64".into()));
        self.functions.push(Function { arch, ..function });
    }

    /// Adds a note on a file that cannot be parsed.
    pub(super) fn unread(&mut self, path: &str, language: &str) {
        self.note(format!("`{path}` was not read: it is not {language}"));
    }

    pub(super) fn add(&mut self, other: Self) {
        self.functions.extend(other.functions);
        self.notes.extend(other.notes);
    }
}

/// The path `path`, which a file in `folder` names, relative to the project. `None` if it leaves the
/// project.
pub(super) fn resolve(folder: &str, path: &str) -> Option<String> {
    let path = RelPath::parse(&join(folder, path)).ok()?;
    Some(if path.is_root() { String::new() } else { path.as_str().to_owned() })
}

/// Returns whether the name of a runtime is that of a Python.
pub(super) fn is_python(runtime: &str) -> bool {
    runtime.starts_with("python3.")
}

/// Returns the folder of a path; `""` for a file of the project's own folder.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The path of a file of a folder; `""` is the project's own.
pub(super) fn join(folder: &str, path: &str) -> String {
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}

/// Returns the timeout; `None` for 3 seconds, the default of Lambda and of a local run.
pub(super) fn timeout(text: &str) -> Option<u64> {
    text.parse().ok().filter(|seconds| *seconds != 3 && (1..=900).contains(seconds))
}
