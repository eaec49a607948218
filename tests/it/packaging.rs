//! The wheel with the program inside, as people without Rust get it.

use std::path::Path;
use std::process::Command;

use crate::sandbox::Sandbox;

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_wheel_is_built_installed_and_builds_the_smallest_project() {
    let mut sandbox = Sandbox::new();
    sandbox
        .sh("python3 -m venv ../tools && ../tools/bin/pip install -q 'maturin>=1.9,<2'")
        .success();
    // Not in the sandbox: cargo needs the home of the user.
    let build = Command::new(sandbox.beside("tools/bin/maturin"))
        .args(["build", "--out"])
        .arg(sandbox.beside("wheels"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    let names = sandbox.sh("ls ../wheels").success().stdout;
    assert!(names.contains("-py3-none-manylinux_2_"), "{names}");

    sandbox
        .sh("python3 -m venv ../fresh && ../fresh/bin/pip install -q --no-index ../wheels/*.whl")
        .success();
    sandbox.fixture("hello");
    for leftover in ["build", ".zipwright"] {
        if sandbox.exists(leftover) {
            sandbox.remove(leftover);
        }
    }
    let programs = sandbox.beside("fresh/bin");
    sandbox.set("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    let run = sandbox.sh("command -v zipwright && zipwright").success();
    let (program, output) = run.stdout.split_once('\n').unwrap();
    assert_eq!(Path::new(program), programs.join("zipwright"));
    assert!(output.contains("{'domain': 'xn--gre-6ka8i.example'}"), "{run}");
    run.stderr_has("CodeSha256");
}
