//! `pip wheel`, `pip install --target` and `uv pip install --target`.

use super::deed::{self, Deed, Pip, WorkingFolder};

/// Options without an effect on which wheels there are.
const QUIET: [&str; 20] = [
    "-q",
    "-qq",
    "-qqq",
    "--quiet",
    "-v",
    "--verbose",
    "-U",
    "--upgrade",
    "--no-cache-dir",
    "--no-cache",
    "--disable-pip-version-check",
    "--no-warn-script-location",
    "--no-compile",
    "--no-compile-bytecode",
    "--no-installer-metadata",
    "--no-input",
    "--prefer-binary",
    "--only-binary=:all:",
    "--root-user-action=ignore",
    "--system",
];

/// Further options with a value that have no effect here: existing packages, and places of pip's files.
const QUIET_WITH_VALUE: [&str; 5] =
    ["--find-links", "-f", "--cache-dir", "--implementation", "--root-user-action"];

/// Options that are handed on, without and with a value.
const HANDED_ON: [&str; 4] = ["--no-deps", "--pre", "--require-hashes", "--no-index"];
const HANDED_ON_WITH_VALUE: [&str; 5] =
    ["--index-url", "-i", "--extra-index-url", "--no-binary", "--trusted-host"];

/// Programs that build or install, and are no part of a bundle.
const INSTALLERS: [&str; 6] = ["pip", "setuptools", "wheel", "build", "uv", "virtualenv"];

pub(super) fn deed(arguments: &[&str], place: &WorkingFolder) -> Option<Deed> {
    let (command, rest) = arguments.split_first()?;
    let is_wheel = *command == "wheel";
    if !is_wheel && *command != "install" {
        return None;
    }
    let is_installer = |word: &&str| INSTALLERS.contains(word) || word.starts_with('-');
    if !rest.is_empty() && rest.iter().all(is_installer) && !rest.contains(&"-r") {
        return Some(Deed::Nothing("pip itself is not in the bundle"));
    }
    let mut pip = Pip::default();
    let mut folder = None;
    let mut words = rest.iter().flat_map(|word| parts(word)).peekable();
    while let Some(word) = words.next() {
        let mut path = || place.path(&words.next()?);
        match word.as_str() {
            "-r" | "--requirement" | "--requirements" => pip.requirements.push(path()?),
            "-c" | "--constraint" | "--constraints" => pip.constraints.push(path()?),
            "-w" | "--wheel-dir" if is_wheel => folder = Some(path()?),
            "-t" | "--target" if !is_wheel => folder = Some(path()?),
            "--python-version" | "--python" | "-p" => pip.python = Some(version(&words.next()?)?),
            "--abi" => {
                words.next()?;
            }
            "--platform" | "--python-platform" => pip.arch = Some(arch(&words.next()?)?),
            "--only-binary" => (words.next()? == ":all:").then_some(())?,
            option if QUIET.contains(&option) => {}
            option if QUIET_WITH_VALUE.contains(&option) => {
                words.next()?;
            }
            option if HANDED_ON.contains(&option) => pip.arguments.push(word),
            option if HANDED_ON_WITH_VALUE.contains(&option) => {
                let value = words.next()?;
                pip.arguments.extend([word, value]);
            }
            option if option.starts_with('-') => return None,
            // A requirement on the command line belongs into a file.
            project => {
                let is_path = project == "." || project.starts_with("./") || project.contains('/');
                pip.projects.push(is_path.then(|| place.path(project))??);
            }
        }
    }
    let environment = place.environment.as_deref().filter(|_| !is_wheel);
    let folder = folder
        .or_else(|| is_wheel.then(|| place.folder.clone()))
        .or_else(|| environment.map(deed::site_packages))?;
    let is_empty = pip.requirements.is_empty() && pip.projects.is_empty();
    // A platform needs both.
    let is_whole = pip.arch.is_some() == pip.python.is_some();
    (!is_empty && is_whole).then_some(match is_wheel {
        true => Deed::Wheels { pip, folder },
        false => Deed::Install { pip, folder },
    })
}

/// `--wheel-dir=X` as two words; `--only-binary=:all:` stays one.
fn parts(word: &str) -> Vec<String> {
    match word.split_once('=').filter(|_| word.starts_with("--") && !QUIET.contains(&word)) {
        Some((option, value)) => vec![option.to_owned(), value.to_owned()],
        None => vec![word.to_owned()],
    }
}

/// `3.13` of `3.13`, `313`, `3.13.1` or `python3.13`.
fn version(text: &str) -> Option<String> {
    let text = text.strip_prefix("python").unwrap_or(text);
    let (major, minor) = match text.split_once('.') {
        Some((major, rest)) => (major, rest.split('.').next()?),
        None => text.split_at_checked(1)?,
    };
    (major == "3" && minor.parse::<u8>().is_ok()).then(|| format!("3.{minor}"))
}

fn arch(platform: &str) -> Option<&'static str> {
    if platform.starts_with("manylinux") || platform.contains("linux") {
        return match platform {
            name if name.contains("x86_64") => Some("x86_64"),
            name if name.contains("aarch64") => Some("arm64"),
            _ => None,
        };
    }
    None
}
