//! Native code in the bundle: whether it fits the machine, the C library and the Python of the
//! runtime, and whether every library that it needs is there.

use std::collections::BTreeSet;
use std::io::{Read, Seek};

use anyhow::Result;
use zipwright_python::Arch;

use super::Subject;
use super::archive::{Contents, Member};
use super::findings::{Finding, Findings, Severity};
use super::libraries::{self, Libraries};
use super::runtime::{Python, Version};
use super::wheels::for_runtime;
use crate::elf::{self, Elf, Machine, Need};

/// All native code of a bundle. An object may need another one, so all are read before the first
/// finding.
#[derive(Default)]
pub(super) struct Objects {
    found: Vec<Object>,
    /// The libraries of the bundle and its layers.
    libraries: Libraries,
}

struct Object {
    member: Member,
    origin: Option<String>,
    form: Form,
}

enum Form {
    Elf(Elf),
    Mac,
    Windows,
    /// It has the name of an object file, but another format.
    Unknown,
}

impl Objects {
    pub(super) fn look_at<R: Read + Seek>(
        &mut self,
        member: &Member,
        origin: Option<&String>,
        contents: &mut Contents<R>,
    ) -> Result<()> {
        let start = contents.start(member, 4)?;
        let name = member.file_name();
        let is_module = name.ends_with(".so") || name.ends_with(".pyd");
        let form = if start == elf::MAGIC {
            let elf = Elf::parse(&contents.whole(member)?);
            match elf {
                Some(elf) => Form::Elf(elf),
                None => Form::Unknown,
            }
        } else if !is_module {
            return Ok(());
        } else if matches!(start.as_slice(), [0xcf | 0xce, 0xfa, 0xed, 0xfe] | b"\xca\xfe\xba\xbe")
        {
            Form::Mac
        } else if start.starts_with(b"MZ") {
            Form::Windows
        } else {
            Form::Unknown
        };
        if let Form::Elf(elf) = &form {
            self.libraries.add(&member.name, elf, origin.is_some());
        }
        self.found.push(Object { member: member.clone(), origin: origin.cloned(), form });
        Ok(())
    }

    /// Records the libraries of an object outside of the bundle.
    pub(super) fn lend<R: Read + Seek>(
        &mut self,
        member: &Member,
        contents: &mut Contents<R>,
    ) -> Result<()> {
        if contents.start(member, 4)? == elf::MAGIC
            && let Some(elf) = Elf::parse(&contents.whole(member)?)
        {
            self.libraries.lend(&member.name, &elf);
        }
        Ok(())
    }

    /// Records a link to an object.
    pub(super) fn link<R: Read + Seek>(
        &mut self,
        member: &Member,
        contents: &mut Contents<R>,
    ) -> Result<()> {
        if contents.start(member, 4)? == elf::MAGIC
            && let Some(elf) = Elf::parse(&contents.whole(member)?)
        {
            self.libraries.add(&member.name, &elf, false);
        }
        Ok(())
    }

    pub(super) fn check(&self, subject: &Subject, findings: &mut Findings) {
        let fitting = self.fitting(subject);
        for object in &self.found {
            let spare = match module_of(object) {
                Some((module, _)) => fitting.modules.contains(&module),
                // Debuggers and similar packages have a library for each machine side by side.
                None => fitting.folders.contains(object.member.folder()),
            };
            let severity = if spare { Severity::Warning } else { Severity::Error };
            let wrong = object.wrong_form(subject, severity);
            let is_right = wrong.is_none();
            let mut add = |finding: Finding| {
                findings.add(finding.of(&object.member.name, object.origin.as_ref()));
            };
            wrong.into_iter().for_each(&mut add);
            if let (Form::Elf(elf), Some(python), true) = (&object.form, subject.python, is_right) {
                versions(elf, python, &self.libraries).into_iter().for_each(&mut add);
                let of =
                    libraries::Of { path: &object.member.name, origin: object.origin.as_ref() };
                libraries::check(&of, elf, python, &self.libraries).into_iter().for_each(&mut add);
            }
        }
    }

    /// Returns the objects that fit, so that another form of the same object is only superfluous.
    fn fitting(&self, subject: &Subject) -> Fitting<'_> {
        let mut fitting = Fitting::default();
        for object in &self.found {
            if object.wrong_form(subject, Severity::Error).is_none() {
                fitting.modules.extend(module_of(object).map(|(module, _)| module));
                fitting.folders.insert(object.member.folder());
            }
        }
        fitting
    }
}

#[derive(Default)]
struct Fitting<'a> {
    modules: BTreeSet<(&'a str, &'a str)>,
    folders: BTreeSet<&'a str>,
}

/// Returns the extension module of an object, by folder and name, and its tag:
/// `_speedups.cpython-312-x86_64-linux-gnu.so`. `None` if it has no tag.
fn module_of(object: &Object) -> Option<((&str, &str), &str)> {
    let name = object.member.file_name();
    let stem = name.strip_suffix(".so").or_else(|| name.strip_suffix(".pyd"))?;
    let (module, tag) = stem.rsplit_once('.')?;
    let is_tag = tag == "abi3"
        || ["cpython-", "cp3", "pypy", "graalpy"].iter().any(|start| tag.starts_with(start));
    is_tag.then_some(((object.member.folder(), module), tag))
}

impl Object {
    /// Returns the finding if the runtime can never load the object.
    fn wrong_form(&self, subject: &Subject, severity: Severity) -> Option<Finding> {
        let elf = match &self.form {
            Form::Elf(elf) => elf,
            Form::Mac => return Some(other_system("macOS", severity, subject)),
            Form::Windows => return Some(other_system("Windows", severity, subject)),
            Form::Unknown => {
                let text = "named like a shared library, but is not one";
                let hint = "it may be cut off, a pointer of Git LFS, or a script of the linker";
                return Some(Finding::new("object", Severity::Warning, text, hint));
            }
        };
        if let Some(arch) = subject.arch
            && elf.loadable
            && elf.machine != machine_of(arch)
        {
            let text = format!(
                "native code for {}, and the function runs on {}",
                elf.machine.name(),
                arch.name()
            );
            return Some(Finding::new("machine", severity, text, way_out(subject)));
        }
        let (_, tag) = module_of(self)?;
        let python = subject.python?;
        let text = wrong_tag(tag, python)?;
        Some(Finding::new("extension", severity, text, way_out(subject)))
    }
}

fn way_out(subject: &Subject) -> String {
    match (subject.python, subject.arch) {
        (Some(python), Some(arch)) => for_runtime(python, arch),
        _ => "take the wheel that is for the function's runtime and architecture".into(),
    }
}

fn other_system(name: &str, severity: Severity, subject: &Subject) -> Finding {
    let text = format!("native code for {name}, and Lambda runs Linux");
    Finding::new("extension", severity, text, way_out(subject))
}

fn machine_of(arch: Arch) -> Machine {
    match arch {
        Arch::X86_64 => Machine::X86_64,
        Arch::Arm64 => Machine::Aarch64,
    }
}

/// Returns the problem with the Python that a module's tag names.
fn wrong_tag(tag: &str, python: Python) -> Option<String> {
    if tag == "abi3" {
        return None;
    }
    let Some(rest) = tag.strip_prefix("cpython-") else {
        return Some(format!("an extension module for {tag}, which {python} does not import"));
    };
    let (version, system) = rest.split_once('-').unwrap_or((rest, ""));
    let digits = version.trim_end_matches('m');
    if digits.strip_prefix('3').and_then(|minor| minor.parse().ok()) != Some(python.minor) {
        let version = match digits.split_at_checked(1) {
            Some((major, minor)) => format!("{major}.{minor}"),
            None => digits.to_owned(),
        };
        return Some(format!(
            "an extension module for Python {version}, which {python} does not import"
        ));
    }
    let is_glibc = system.is_empty() || system.ends_with("-linux-gnu");
    (!is_glibc)
        .then(|| format!("an extension module for {system}, and Lambda runs Linux with glibc"))
}

/// Returns findings for symbol versions that the runtime's libraries do not have: the highest of
/// each family.
fn versions(elf: &Elf, python: Python, bundled: &Libraries) -> Vec<Finding> {
    let highest = |family: &str| -> Option<Version> {
        let of_runtime = elf.versions.iter().filter(|Need { library, .. }| !bundled.has(library));
        of_runtime
            .filter_map(|need| match need.version.as_str() {
                // The mark of packed relocations, supported by glibc 2.36 and later.
                "GLIBC_ABI_DT_RELR" if family == "GLIBC" => Version::parse("2.36"),
                version => version.strip_prefix(family)?.strip_prefix('_').and_then(Version::parse),
            })
            .max()
    };
    let mut found = Vec::new();
    if let (Some(needed), Some(glibc)) = (highest("GLIBC"), python.glibc())
        && needed > glibc
    {
        let system = python.system();
        let text = format!("needs glibc {needed}, and {python} ({system}) has {glibc}");
        let hint = "take a wheel for an older glibc (`manylinux2014` runs everywhere), build it \
                    on the runtime's system, or choose a newer runtime";
        found.push(Finding::new("glibc", Severity::Error, text, hint));
    }
    for family in ["GLIBCXX", "CXXABI"] {
        let (Some(needed), Some([sure, possible])) = (highest(family), python.cxx(family)) else {
            continue;
        };
        if needed <= sure {
            continue;
        }
        let system = python.system();
        let (severity, text) = match needed <= possible {
            true => (
                Severity::Warning,
                format!(
                    "needs {family}_{needed} of libstdc++; {python} ({system}) surely has {sure}, \
                     and newer ones only where its libstdc++ was updated"
                ),
            ),
            false => (
                Severity::Error,
                format!("needs {family}_{needed} of libstdc++, and {python} ({system}) has none"),
            ),
        };
        let hint = "take a wheel built by an older compiler, or put a libstdc++ into the bundle";
        found.push(Finding::new("libstdcxx", severity, text, hint));
    }
    found
}
