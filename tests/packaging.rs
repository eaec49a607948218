//! The wheel with the program inside, as people without Rust get it.
//!
//! A test program of its own: maturin moves `target/debug/zipwright` away while it packs it, and
//! cargo runs test programs one after another.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

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
    finished(&mut command, script)
}

/// Runs a command, and panics if it fails.
fn finished(command: &mut Command, script: &str) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {}\n{stderr}", output.status);
    output
}

/// Returns the wheel, built by maturin at the first call.
fn wheel() -> PathBuf {
    static WHEEL: OnceLock<PathBuf> = OnceLock::new();
    let wheel = WHEEL.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packaging");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir(&folder).unwrap();
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
        let wheels = folder.join("wheels");
        let install = "python3 -m venv tools && tools/bin/pip install -q 'maturin>=1.9,<2'";
        sh(&folder, None, install);
        let maturin = folder.join("tools/bin/maturin");
        sh(checkout, None, &format!("{} build --out {}", maturin.display(), wheels.display()));
        fs::read_dir(&wheels).unwrap().next().unwrap().unwrap().path()
    });
    wheel.clone()
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_wheel_is_built_installed_and_builds_the_smallest_project() {
    let folder = tempfile::tempdir().unwrap();
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let wheel = wheel();
    let name = wheel.file_name().unwrap().to_str().unwrap();
    assert!(name.contains("-py3-none-manylinux_2_"), "{name}");
    let install = format!(
        "python3 -m venv fresh && fresh/bin/pip install -q --no-index '{}'",
        wheel.display()
    );
    sh(folder.path(), None, &install);
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

/// The commands of the first screen, but for the upload, which needs AWS.
#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn the_first_screen_of_the_readme_works_in_an_empty_home() {
    let readme = include_str!("../README.md");
    let blocks: Vec<&str> =
        readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks[0].starts_with("pip install zipwright "), "{}", blocks[0]);
    let commands: Vec<&str> =
        blocks[1].lines().map(|line| line.split('#').next().unwrap().trim()).collect();
    assert_eq!(commands, ["zipwright init", "zipwright", "zipwright upload"]);

    let home = tempfile::tempdir().unwrap();
    let only = home.path().join("only");
    fs::create_dir(&only).unwrap();
    let python = sh(home.path(), None, "python3 -c 'import sys; print(sys.executable)'").stdout;
    symlink(String::from_utf8(python).unwrap().trim(), only.join("python3")).unwrap();
    let git = sh(home.path(), None, "command -v git").stdout;
    symlink(String::from_utf8(git).unwrap().trim(), only.join("git")).unwrap();
    let project = home.path().join("hello");
    fs::create_dir(&project).unwrap();
    let handler = "import idna\n\n\ndef handler(event, context):\n    return idna.__version__\n";
    fs::write(project.join("lambda_handler.py"), handler).unwrap();
    fs::write(project.join("requirements.txt"), "idna==3.10\n").unwrap();

    let path = format!("{}:{}", home.path().join("fresh/bin").display(), only.display());
    let run = |script: &str| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).current_dir(&project).env_clear();
        command.env("HOME", home.path()).env("PATH", &path).env("LANG", "C.UTF-8");
        // The settings by which this machine reaches the package index.
        let network =
            |name: &str| name.starts_with("PIP_") || name.to_lowercase().ends_with("_proxy");
        command.envs(std::env::vars().filter(|(name, _)| network(name)));
        finished(&mut command, script)
    };
    run("python3 -m venv ../fresh");
    run(&format!("pip install -q '{}'", wheel().display()));
    run(commands[0]);
    let built = String::from_utf8(run(commands[1]).stderr).unwrap();
    assert!(built.contains("build/lambda.zip ") && built.contains("CodeSha256"), "{built}");
    let again = String::from_utf8(run(commands[1]).stderr).unwrap();
    assert!(again.starts_with("up to date: 3 targets"), "{again}");
    let called = run("zipwright invoke --local --payload '{}'").stdout;
    assert_eq!(String::from_utf8(called).unwrap(), "\"3.10\"\n");
}
