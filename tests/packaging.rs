//! The wheel with the program inside, as people without Rust get it.
//!
//! A test program of its own: maturin moves `target/debug/zipwright` away while it packs it, and
//! cargo runs test programs one after another.

use std::path::Path;
use std::process::{Command, Output};

/// Runs a shell script in a folder, with the environment of the user but the variables of a
/// surrounding `make`, and returns what it printed. Panics if it fails.
fn sh(folder: &Path, path: Option<&str>, script: &str) -> Output {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).current_dir(folder);
    for variable in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS"] {
        command.env_remove(variable);
    }
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {}\n{stderr}", output.status);
    output
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_wheel_is_built_installed_and_builds_the_smallest_project() {
    let folder = tempfile::tempdir().unwrap();
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let wheels = folder.path().join("wheels");
    sh(folder.path(), None, "python3 -m venv tools && tools/bin/pip install -q 'maturin>=1.9,<2'");
    let maturin = folder.path().join("tools/bin/maturin");
    sh(checkout, None, &format!("{} build --out {}", maturin.display(), wheels.display()));
    let names = sh(&wheels, None, "ls").stdout;
    let names = String::from_utf8(names).unwrap();
    assert!(names.contains("-py3-none-manylinux_2_"), "{names}");

    sh(
        folder.path(),
        None,
        "python3 -m venv fresh && fresh/bin/pip install -q --no-index wheels/*.whl",
    );
    let project = folder.path().join("hello");
    std::fs::create_dir(&project).unwrap();
    for name in ["Buildfile", "lambda_handler.py", "requirements.txt", "try.py"] {
        std::fs::copy(checkout.join("fixtures/hello").join(name), project.join(name)).unwrap();
    }
    let programs = folder.path().join("fresh/bin");
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let run = sh(&project, Some(&path), "command -v zipwright && zipwright");
    let (stdout, stderr) =
        (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    let (program, output) = stdout.split_once('\n').unwrap();
    assert_eq!(Path::new(program), programs.join("zipwright"));
    assert!(output.contains("{'domain': 'xn--gre-6ka8i.example'}"), "{output}");
    assert!(stderr.contains("CodeSha256"), "{stderr}");
}
