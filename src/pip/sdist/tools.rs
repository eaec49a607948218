//! The compilers that a build would use: their identities, and the variables passed to a build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::handed_on;
use super::sandbox::SYSTEM_PATH;
use crate::base::Digest;
use crate::base::digest::FieldHasher;
use crate::process::Invocation;
use crate::project::Project;

/// Tools whose versions are queried. A missing tool is recorded as missing.
const ASKED: [(&str, &str); 4] =
    [("cc", "-v"), ("c++", "-v"), ("ld", "--version"), ("cmake", "--version")];

/// Variables that cargo needs to reach its registry.
const NETWORK: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "CARGO_HTTP_CAINFO",
];

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

/// Variables that name a compiler, or a linker in its place.
const COMPILERS: [&str; 3] = ["CC", "CXX", "LDSHARED"];

/// Returns a value without the path of its program, so that a build runs our wrapper of it.
fn by_name(value: &str) -> String {
    let (program, rest) =
        value.split_once(' ').map_or((value, ""), |(program, rest)| (program, rest));
    let name = Path::new(program).file_name().and_then(|name| name.to_str());
    match name.filter(|_| program.starts_with('/')) {
        Some(name) if rest.is_empty() => name.to_string(),
        Some(name) => format!("{name} {rest}"),
        None => value.to_string(),
    }
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

/// Returns the whole environment of a build, without user, host and time.
pub(in super::super) fn environment(
    project: &Project,
    root: &Path,
    (epoch, rust): (i64, bool),
) -> Vec<(String, String)> {
    let below = |name: &str| root.join(name).display().to_string();
    let epoch = project.var("SOURCE_DATE_EPOCH").map_or_else(|| epoch.to_string(), String::from);
    let mut variables: Vec<(String, String)> = [
        ("PATH", format!("{}:{}:{SYSTEM_PATH}", below("cc"), below("env/bin"))),
        ("HOME", below("home")),
        ("TMPDIR", below("tmp")),
        ("LC_ALL", "C.UTF-8".into()),
        ("TZ", "UTC".into()),
        ("SOURCE_DATE_EPOCH", epoch),
        ("PYTHONHASHSEED", "0".into()),
        ("PYTHONDONTWRITEBYTECODE", "1".into()),
        ("PYTHONNOUSERSITE", "1".into()),
        ("PYTHONUNBUFFERED", "1".into()),
        ("PYTHON_CPU_COUNT", "1".into()),
        ("ZERO_AR_DATE", "1".into()),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into();
    let handed_on = handed_on::variables(project).into_iter();
    variables.extend(handed_on.map(|(name, value)| match COMPILERS.contains(&name.as_str()) {
        true => (name, by_name(&value)),
        false => (name, value),
    }));
    if rust {
        let home = |name: &str, folder: &str| {
            let home = project.var("HOME").unwrap_or("/");
            project.var(name).map_or_else(|| format!("{home}/{folder}"), String::from)
        };
        let cargo = home("CARGO_HOME", ".cargo");
        let own = |name: &str| Some((name.to_string(), project.var(name)?.to_string()));
        variables.extend(NETWORK.into_iter().filter_map(own));
        variables.extend([
            ("CARGO_ENCODED_RUSTFLAGS".into(), rust_flags(project, &cargo, root)),
            ("CARGO_HOME".into(), cargo),
            ("RUSTUP_HOME".into(), home("RUSTUP_HOME", ".rustup")),
            ("CARGO_INCREMENTAL".into(), "0".into()),
        ]);
    }
    variables
}

/// Returns the declared flags followed by ours, which therefore win.
fn rust_flags(project: &Project, cargo: &str, root: &Path) -> String {
    let declared = project.var("RUSTFLAGS").unwrap_or_default().split_whitespace();
    let ours = [
        format!("--remap-path-prefix={cargo}=/cargo"),
        format!("--remap-path-prefix={}=/zipwright", root.display()),
    ];
    let flags: Vec<String> = declared.map(String::from).chain(ours).collect();
    flags.join("\x1f")
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
