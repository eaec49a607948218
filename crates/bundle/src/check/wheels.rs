//! The wheels of a bundle, by the metadata that they left in it: the files of each, and the
//! runtimes that its tags allow.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use anyhow::Result;
use zipwright_python::Arch;

use super::Subject;
use super::archive::{Contents, Member};
use super::findings::{Finding, Findings, Severity};
use super::runtime::{Python, Version};

#[derive(Default)]
pub(super) struct Wheels {
    /// The wheel of each path: `MarkupSafe-3.0.2`.
    pub(super) origins: BTreeMap<String, String>,
    pub(super) tags: Vec<Tags>,
}

/// Number of lines of a RECORD that are kept in addition to two for each member of the bundle.
const SPARE_LINES: usize = 1000;

/// The content of a wheel's `WHEEL` file.
pub(super) struct Tags {
    member: String,
    origin: String,
    /// `cp312-cp312-manylinux_2_17_x86_64`
    tags: Vec<String>,
}

pub(super) fn read<R: Read + Seek>(
    members: &[Member],
    contents: &mut Contents<R>,
) -> Result<Wheels> {
    let mut wheels = Wheels::default();
    for member in members.iter().filter(|member| member.is_file()) {
        let Some((parent, origin)) = metadata_folder(member) else { continue };
        match member.file_name() {
            "RECORD" => {
                let text = String::from_utf8_lossy(&contents.whole(member)?).into_owned();
                // Limits memory if a RECORD lists far more paths than the bundle has.
                let most = 2 * members.len() + SPARE_LINES;
                for path in text.lines().filter_map(path_of_line).take(most) {
                    wheels
                        .origins
                        .insert(format!("{parent}{}", installed(&path)), origin.to_owned());
                }
            }
            "WHEEL" => {
                let text = String::from_utf8_lossy(&contents.whole(member)?).into_owned();
                let tags = text.lines().filter_map(|line| line.strip_prefix("Tag:"));
                wheels.tags.push(Tags {
                    member: member.name.clone(),
                    origin: origin.to_owned(),
                    tags: tags.map(|tag| tag.trim().to_owned()).collect(),
                });
            }
            _ => {}
        }
    }
    Ok(wheels)
}

/// Returns the folder that contains a `.dist-info` folder, with its `/`, and the name of the
/// latter.
fn metadata_folder(member: &Member) -> Option<(&str, &str)> {
    let folder = member.folder();
    let (parent, name) = match folder.rfind('/') {
        Some(at) => folder.split_at(at + 1),
        None => ("", folder),
    };
    Some((parent, name.strip_suffix(".dist-info")?))
}

/// Returns the path in a line of RECORD, which is quoted if it has a comma.
fn path_of_line(line: &str) -> Option<String> {
    match line.strip_prefix('"') {
        None => line.split(',').next().filter(|path| !path.is_empty()).map(str::to_owned),
        Some(rest) => {
            let end = rest.rfind("\",")?;
            Some(rest[..end].replace("\"\"", "\""))
        }
    }
}

/// Returns the installed path of a file in RECORD. Unpacked wheels still list their `.data`
/// folders, and pip writes `../../bin/tool` for files in the `bin` of a `--target`.
fn installed(path: &str) -> String {
    let path = path.trim_start_matches("../");
    let in_data = path.split_once('/').filter(|(first, _)| first.ends_with(".data"));
    match in_data.and_then(|(_, rest)| rest.split_once('/')) {
        Some(("purelib" | "platlib" | "data", rest)) => rest.to_owned(),
        Some(("scripts", rest)) => format!("bin/{rest}"),
        _ => path.to_owned(),
    }
}

pub(super) fn check(wheels: &Wheels, subject: &Subject, findings: &mut Findings) {
    let (Some(python), Some(arch)) = (subject.python, subject.arch) else { return };
    for wheel in &wheels.tags {
        let fits: Vec<Fit> = wheel.tags.iter().flat_map(|tag| fits(tag, python, arch)).collect();
        let finding = match (fits.iter().min(), python.glibc()) {
            (None | Some(Fit::Yes), _) | (Some(Fit::NewerGlibc), None) => continue,
            (Some(Fit::NewerGlibc), Some(glibc)) => Finding::new(
                "wheel-glibc",
                Severity::Warning,
                format!(
                    "its wheel is for a newer glibc ({}) than the {glibc} of {python}",
                    wheel.tags.join(", "),
                ),
                "whether it runs depends on the symbols that it uses, which rule `glibc` checks",
            ),
            (Some(Fit::No), _) => Finding::new(
                "wheel-tags",
                Severity::Error,
                format!(
                    "its wheel is for {}, which {python} on {} cannot install",
                    wheel.tags.join(", "),
                    arch.name()
                ),
                for_runtime(python, arch),
            ),
        };
        let origin = wheels.origins.get(&wheel.member).unwrap_or(&wheel.origin);
        findings.add(finding.of(&wheel.member, Some(origin)));
    }
}

/// Returns the hint for getting the right wheels.
pub(super) fn for_runtime(python: Python, arch: Arch) -> String {
    format!(
        "give the wheelhouse `platform = {{ python = \"3.{}\", arch = \"{}\" }}`, or the function \
         the runtime that the wheels are for",
        python.minor,
        arch.name()
    )
}

/// How well a tag fits, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Yes,
    NewerGlibc,
    No,
}

/// Returns the fit of each simple tag in a compressed one (`py2.py3-none-any`).
fn fits(tag: &str, python: Python, arch: Arch) -> Vec<Fit> {
    let parts: Vec<&str> = tag.split('-').collect();
    let [pythons, abis, platforms] = parts.as_slice() else { return Vec::new() };
    let mut fits = Vec::new();
    for interpreter in pythons.split('.') {
        for abi in abis.split('.') {
            for platform in platforms.split('.') {
                let fit = match interpreter_fits(interpreter, abi, python.minor) {
                    true => platform_fits(platform, python, arch),
                    false => Fit::No,
                };
                fits.push(fit);
            }
        }
    }
    fits
}

fn interpreter_fits(interpreter: &str, abi: &str, minor: u8) -> bool {
    let digits = interpreter.trim_start_matches(|c: char| !c.is_ascii_digit());
    let name = &interpreter[..interpreter.len() - digits.len()];
    let of_minor = digits.strip_prefix('3').and_then(|text| match text {
        "" => Some(0),
        text => text.parse::<u8>().ok(),
    });
    let Some(of_minor) = of_minor else { return false };
    match (name, abi) {
        ("py", "none") => of_minor <= minor,
        ("cp", "none") => of_minor == 0 || of_minor == minor,
        ("cp", "abi3") => of_minor <= minor,
        ("cp", abi) => of_minor == minor && abi.trim_end_matches('m') == interpreter,
        _ => false,
    }
}

fn platform_fits(platform: &str, python: Python, arch: Arch) -> Fit {
    if platform == "any" {
        return Fit::Yes;
    }
    let Some(system) = platform.strip_suffix(arch.machine()).and_then(|p| p.strip_suffix('_'))
    else {
        return Fit::No;
    };
    let glibc = match system {
        "linux" | "manylinux1" | "manylinux2010" | "manylinux2014" => return Fit::Yes,
        system => system.strip_prefix("manylinux_").map(|version| version.replace('_', ".")),
    };
    match glibc.and_then(|version| Version::parse(&version)) {
        Some(version) if python.glibc().is_none_or(|glibc| version <= glibc) => Fit::Yes,
        Some(_) => Fit::NewerGlibc,
        None => Fit::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_fit_as_pip_sees_them() {
        for (tag, minor, arch, expected) in [
            ("py3-none-any", 13, Arch::Arm64, Fit::Yes),
            ("py2.py3-none-any", 13, Arch::X86_64, Fit::Yes),
            ("py2-none-any", 13, Arch::X86_64, Fit::No),
            ("py314-none-any", 13, Arch::X86_64, Fit::No),
            ("cp312-cp312-manylinux_2_17_x86_64", 12, Arch::X86_64, Fit::Yes),
            ("cp312-cp312-manylinux2014_x86_64", 13, Arch::X86_64, Fit::No),
            ("cp313-cp313t-manylinux2014_x86_64", 13, Arch::X86_64, Fit::No),
            ("cp39-abi3-manylinux_2_34_aarch64", 13, Arch::Arm64, Fit::Yes),
            ("cp39-abi3-manylinux_2_28_x86_64", 11, Arch::X86_64, Fit::NewerGlibc),
            ("cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64", 11, Arch::X86_64, Fit::Yes),
            ("cp313-cp313-musllinux_1_2_x86_64", 13, Arch::X86_64, Fit::No),
            ("cp313-cp313-macosx_11_0_arm64", 13, Arch::Arm64, Fit::No),
            ("cp313-cp313-win_amd64", 13, Arch::X86_64, Fit::No),
            ("cp313-cp313-linux_x86_64", 13, Arch::X86_64, Fit::Yes),
            ("py3-none-manylinux2014_x86_64", 13, Arch::Arm64, Fit::No),
        ] {
            let best = fits(tag, Python { minor }, arch).into_iter().min();
            assert_eq!(best, Some(expected), "{tag} on 3.{minor}");
        }
    }

    #[test]
    fn files_of_a_data_folder_are_where_the_scheme_says() {
        for (path, expected) in [
            ("pkg/a.py", "pkg/a.py"),
            ("pkg-1.0.data/purelib/pkg/b.py", "pkg/b.py"),
            ("pkg-1.0.data/platlib/pkg/_c.so", "pkg/_c.so"),
            ("pkg-1.0.data/data/share/c.pem", "share/c.pem"),
            ("pkg-1.0.data/scripts/tool", "bin/tool"),
            ("../../bin/tool", "bin/tool"),
            ("x.data/a.py", "x.data/a.py"),
        ] {
            assert_eq!(installed(path), expected);
        }
    }

    #[test]
    fn lines_of_record_have_a_path() {
        assert_eq!(path_of_line("a/b.py,sha256=x,1").as_deref(), Some("a/b.py"));
        assert_eq!(path_of_line("\"a,\"\"b\"\".py\",sha256=x,1").as_deref(), Some("a,\"b\".py"));
        assert_eq!(path_of_line(""), None);
    }
}
