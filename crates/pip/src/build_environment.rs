//! The environment of builds from source, made from nothing: without user, host and time.

use std::path::Path;

use super::handed_on;
use zipwright_store::project::Project;

/// PATH of a build. Programs elsewhere differ from machine to machine.
pub(super) const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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

/// Variables that name a compiler, or a linker in its place.
pub(super) const COMPILERS: [&str; 3] = ["CC", "CXX", "LDSHARED"];

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

/// Returns the whole environment of a build, without user, host and time.
pub(super) fn environment(
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
