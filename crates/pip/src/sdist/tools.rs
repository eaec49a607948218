//! The compilers that a build would use: their identities, and the variables passed to a build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::build_environment::{COMPILERS, SYSTEM_PATH};
use zipwright_engine::process::Invocation;
use zipwright_store::Digest;
use zipwright_store::digest::FieldHasher;
use zipwright_store::project::Project;

/// Tools whose versions are queried. A missing tool is recorded as missing.
const ASKED: [(&str, &str); 4] =
    [("cc", "-v"), ("c++", "-v"), ("ld", "--version"), ("cmake", "--version")];

/// The tools of this machine.
pub(super) struct Tools {
    /// Digest of the versions that they report.
    pub(super) identity: Digest,
    /// Name, and the line of its output that has the version.
    pub(super) versions: Vec<(String, String)>,
    /// Programs of Rust, by name.
    pub(super) rust: BTreeMap<String, PathBuf>,
    /// Compilers that are declared by their path, under the name by which a build finds them.
    pub(super) compilers: BTreeMap<String, PathBuf>,
}

impl Tools {
    pub(super) fn find(project: &Project) -> Self {
        let mut hasher = FieldHasher::new();
        let mut versions = Vec::new();
        for program in asked(project) {
            let usual = ASKED.iter().find(|(name, _)| *name == program);
            let option = usual.map_or("--version", |(_, option)| option);
            let says = Invocation::new("/bin/sh", "/")
                .args(["-c", "exec \"$0\" \"$1\" 2>&1", program, option])
                .empty_environment()
                .env("PATH", SYSTEM_PATH)
                .env("LC_ALL", "C")
                .capture();
            let says = says.map_or(String::new(), |says| says.stdout);
            let name = program.rsplit('/').next().unwrap_or(program);
            versions.extend(version(&says).map(|version| (name.into(), version)));
            hasher.field(name).field(says);
        }
        let names = ["cargo", "rustc", "rustup"];
        let rust: BTreeMap<String, PathBuf> = names
            .into_iter()
            .filter_map(|name| Some((name.to_string(), project.find_program(name)?)))
            .collect();
        if let Some(rustc) = rust.get("rustc") {
            let says = Invocation::new(rustc, "/").arg("-vV").capture();
            let says = says.map_or(String::new(), |says| says.stdout);
            versions.extend(version(&says).map(|version| ("rustc".into(), version)));
            hasher.field("rustc").field(says);
        }
        let own = COMPILERS.iter().filter_map(|name| declared(project, name));
        let named = own.filter(|program| program.starts_with('/')).filter_map(|program| {
            Some((Path::new(program).file_name()?.to_str()?.to_string(), PathBuf::from(program)))
        });
        let compilers = named.collect();
        Self { identity: hasher.finish(), versions, rust, compilers }
    }
}

/// Returns the programs whose versions can change a build, by name or path.
pub(super) fn asked(project: &Project) -> Vec<&str> {
    let own = COMPILERS.into_iter().chain(["AR"]).filter_map(|name| declared(project, name));
    ASKED.into_iter().map(|(name, _)| name).chain(own).collect()
}

/// Returns the program in a variable of the user.
fn declared<'p>(project: &'p Project, name: &str) -> Option<&'p str> {
    project.var(name)?.split_whitespace().next()
}

/// Returns the line of a tool's output that has its version. Skips the message of a shell that does
/// not find the tool.
fn version(says: &str) -> Option<String> {
    let by_name = |line: &&str| line.starts_with("gcc version ") || line.contains("clang version ");
    let line = says.lines().find(by_name).or(says.lines().next())?;
    (!line.ends_with("not found")).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_told_from_what_else_tools_say() {
        let gcc = "Using built-in specs.\nCOLLECT_GCC=cc\nConfigured with: --with-pkgversion='Debian'\n\
                   gcc version 12.2.0 (Debian 12.2.0-14)\n";
        assert_eq!(version(gcc).as_deref(), Some("gcc version 12.2.0 (Debian 12.2.0-14)"));
        let clang = "Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu\n";
        assert_eq!(version(clang).as_deref(), Some("Debian clang version 14.0.6"));
        let ld = "GNU ld (GNU Binutils) 2.40\nGNU General Public License version 3\n";
        assert_eq!(version(ld).as_deref(), Some("GNU ld (GNU Binutils) 2.40"));
        assert_eq!(version("sh: 1: exec: cmake: not found\n"), None);
        assert_eq!(version(""), None);
    }
}
