//! Findings for modules and names that an import does not find.

use std::io::{Read, Seek};

use super::Subject;
use super::archive::Member;
use super::findings::{Finding, Findings, Severity};
use super::modules;
use super::reach::{Kind, Level, Reach};
use super::runtime::Python;
use super::stdlib::{self, Availability};

/// Distributions with modules of another name.
const DISTRIBUTIONS: [(&str, &str); 14] = [
    ("Crypto", "pycryptodome"),
    ("MySQLdb", "mysqlclient"),
    ("OpenSSL", "pyOpenSSL"),
    ("PIL", "pillow"),
    ("attr", "attrs"),
    ("bs4", "beautifulsoup4"),
    ("cv2", "opencv-python-headless"),
    ("docx", "python-docx"),
    ("dotenv", "python-dotenv"),
    ("jwt", "PyJWT"),
    ("magic", "python-magic"),
    ("psycopg2", "psycopg2-binary"),
    ("sklearn", "scikit-learn"),
    ("yaml", "PyYAML"),
];

/// Reports all missing modules and names of a walk.
pub(super) fn report<R: Read + Seek>(
    reach: &Reach<R>,
    view: &[Member],
    subject: &Subject,
    findings: &mut Findings,
) {
    for missing in &reach.missing {
        let sure = match missing.level {
            Level::Surely => Severity::Error,
            _ => Severity::Warning,
        };
        let finding = match &missing.kind {
            Kind::Module(name) => {
                let Some(found) = module(name, sure, reach, view, subject) else { continue };
                found
            }
            Kind::Name { module, name } => Finding::new(
                "import",
                sure,
                format!("imports `{name}` from `{module}`, which does not define it"),
                format!("define it in `{module}`, or correct the import"),
            ),
            Kind::Relative(name) => Finding::new(
                "relative-import",
                sure,
                format!("imports from `{name}`, and is in no package that this leads to"),
                "a module at the root of the bundle imports others by their names: \
                 `import helper`, not `from . import helper`",
            ),
        };
        findings.add(finding.at(&missing.member, missing.line));
    }
}

fn module<R: Read + Seek>(
    name: &str,
    sure: Severity,
    reach: &Reach<R>,
    view: &[Member],
    subject: &Subject,
) -> Option<Finding> {
    let python = reach.sources.python;
    let first = name.split('.').next().unwrap_or_default();
    let elsewhere = elsewhere(view, &name.replace('.', "/"));
    // A module that changes the search path may find it.
    if reach.changes_path && elsewhere.is_some() {
        return None;
    }
    // The file `distutils-precedence.pth` of setuptools makes it available again.
    if first == "distutils" && modules::find(view, "_distutils_hack").is_some() {
        return None;
    }
    let is_unsure = subject.has_layers || reach.changes_path || elsewhere.is_some();
    let severity = if is_unsure { Severity::Warning } else { sure };
    let text = format!("imports `{name}`, {}", reason(name, first, python));
    let hint = match elsewhere {
        Some(path) => format!(
            "there is `{path}`: put it where imports look, or set PYTHONPATH for the function"
        ),
        None if subject.has_layers => "that is right if a layer has it".into(),
        None => way_out(name, first),
    };
    Some(Finding::new("import", severity, text, hint))
}

fn reason(name: &str, first: &str, python: Python) -> String {
    match stdlib::look_up(first, python) {
        Availability::Until(last) => {
            format!("which is in the standard library up to Python 3.{last}, and not in the bundle")
        }
        Availability::Since(since) => {
            format!(
                "which is in the standard library since Python 3.{since}, and not in the bundle"
            )
        }
        Availability::OnlyOnWindows => "which Python has on Windows only".into(),
        Availability::There | Availability::No if name != first => {
            "which is not in the bundle".into()
        }
        Availability::There | Availability::No => format!(
            "which is neither in the bundle nor in the standard library or the runtime of {python}"
        ),
    }
}

fn way_out(name: &str, first: &str) -> String {
    let distribution = DISTRIBUTIONS.iter().find(|(module, _)| *module == first);
    match distribution {
        Some((_, distribution)) => {
            format!("add `{distribution}`, which brings it, to the requirements")
        }
        None => format!(
            "add what brings `{name}` to the requirements or the sources, or put the import into \
             `try` and `except ImportError` if the function runs without it"
        ),
    }
}

/// Returns a module of this path that is not at the root, but in a folder that may be in the search
/// path: a folder that is not a package.
fn elsewhere(view: &[Member], path: &str) -> Option<String> {
    let ends = [format!("/{path}.py"), format!("/{path}/__init__.py")];
    let found = view.iter().find(|member| {
        ends.iter().any(|end| {
            let folder = member.name.strip_suffix(end.as_str());
            folder
                .is_some_and(|folder| modules::find(view, folder).is_none_or(|file| !file.is_init))
        })
    });
    found.map(|member| member.name.clone())
}
