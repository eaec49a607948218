//! Wheels built from source: twice, the second time under other conditions, with the same bytes.
//! The fixture has the bad habits that the recipe cures; the real packages come from pip's
//! configured package index.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use crate::sandbox::{Run, Sandbox};

const WHEELS: &str =
    "[target.wheels]\nkind = \"wheelhouse\"\nrequirements = [\"requirements.txt\"]\n";

/// Returns a project with these requirements.
pub(crate) fn project(requirements: &str) -> Sandbox {
    let sandbox = Sandbox::with(WHEELS);
    sandbox.write("requirements.txt", requirements);
    sandbox
}

/// Returns a project that requires the fixture's sdist.
fn habits() -> Sandbox {
    let sandbox = project("./habits-1.0.tar.gz\n");
    sdist(&sandbox, "habits", "habits-1.0");
    sandbox
}

/// Packs a folder of `fixtures/` as a source distribution of this name, into the project.
pub(crate) fn sdist(sandbox: &Sandbox, fixture: &str, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture);
    let mut tar = Command::new("tar");
    tar.arg("czf")
        .arg(format!("{name}.tar.gz"))
        .arg(format!("--transform=s,^\\.,{name},"))
        .args(["--exclude=__pycache__", "--sort=name", "--mtime=@1500000000", "-C"])
        .arg(folder)
        .arg(".")
        .current_dir(sandbox.path(""));
    assert!(tar.status().unwrap().success());
}

/// Changes everything that a build could notice.
pub(crate) fn make_hostile(sandbox: &mut Sandbox) {
    for (name, value) in [
        ("TZ", "Pacific/Kiritimati"),
        ("LANG", "tr_TR.UTF-8"),
        ("LC_ALL", "C"),
        ("PYTHONHASHSEED", "4711"),
        ("USER", "somebody-else"),
        ("A_FURTHER_VARIABLE", "of some length"),
    ] {
        sandbox.set(name, value);
    }
    let tmp = sandbox.beside("a/longer/name/of/a/folder");
    std::fs::create_dir_all(&tmp).unwrap();
    sandbox.set("TMPDIR", tmp.display());
}

pub(crate) fn build(sandbox: &Sandbox, umask: &str) -> Run {
    let program = env!("CARGO_BIN_EXE_zipwright");
    sandbox.sh(&format!("umask {umask}; exec '{program}' --json wheels"))
}

/// Returns the only built wheel.
fn wheel(sandbox: &Sandbox) -> Vec<u8> {
    let folder = std::fs::read_dir(sandbox.path("build/wheels")).unwrap();
    let places: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(places.len(), 1, "{places:?}");
    std::fs::read(&places[0]).unwrap()
}

pub(crate) fn member(wheel: &[u8], name: &str) -> String {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(wheel)).unwrap();
    let mut bytes = Vec::new();
    archive.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the members of two wheels that differ.
fn differing(one: &[u8], two: &[u8]) -> Vec<String> {
    let archive = zip::ZipArchive::new(std::io::Cursor::new(one)).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    names.into_iter().filter(|name| member(one, name) != member(two, name)).collect()
}

#[track_caller]
fn assert_same(one: &Sandbox, two: &Sandbox) {
    let (one, two) = (wheel(one), wheel(two));
    assert!(one == two, "these differ: {:?}", differing(&one, &two));
}

pub(crate) fn isolation(run: &Run) -> String {
    run.target("wheels")["isolation"].as_str().unwrap_or_default().to_string()
}

#[test]
fn bad_habits_are_cured() {
    let one = habits();
    let first = build(&one, "022").success();
    let mut two = habits();
    make_hostile(&mut two);
    build(&two, "077").success();
    let built = wheel(&one);
    assert_eq!(member(&built, "habits/umask.txt"), "\"0o22\"");
    let object = member(&built, "habits/native.so");
    assert!(object.contains("/zipwright/src/habits-1.0/native.c"), "the path is mapped");
    assert!(!object.contains(".debug_line"));
    match isolation(&first).as_str() {
        "namespaces" => {
            assert_eq!(member(&built, "habits/cwd.txt"), "\"/zipwright/src/habits-1.0\"");
            let who = member(&built, "habits/who.txt");
            assert_eq!(who, "[\"root\", \"localhost\", \"/zipwright/home\"]");
        }
        other => assert_eq!(other, "fixed folder"),
    }
    assert_same(&one, &two);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn without_namespaces_builds_share_a_folder_and_the_result_is_the_same_twice() {
    let mut one = habits();
    one.set("ZIPWRIGHT_NO_NAMESPACES", "1");
    let run = build(&one, "022").success();
    assert_eq!(isolation(&run), "fixed folder");
    let mut two = habits();
    two.set("ZIPWRIGHT_NO_NAMESPACES", "1");
    make_hostile(&mut two);
    build(&two, "077").success();
    let differs = differing(&wheel(&one), &wheel(&two));
    // Without a namespace, the system decides the order of addresses.
    let other: Vec<_> = differs
        .iter()
        .filter(|name| {
            !["habits/addresses.txt", "habits-1.0.dist-info/RECORD"].contains(&name.as_str())
        })
        .collect();
    assert!(other.is_empty(), "{other:?}");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_flag_for_this_very_processor_is_said() {
    let mut sandbox = habits();
    sandbox.set("CFLAGS", "-march=native");
    let run = build(&sandbox, "022").success();
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(said.contains("`habits 1.0` is compiled with `-march=native`"), "{said}");
}

#[test]
fn a_failed_build_names_its_log() {
    let sandbox = project("./habits-1.0.tar.gz\n");
    sandbox.write(
        "habits-1.0/pyproject.toml",
        "[build-system]\nrequires = []\nbuild-backend = \"b\"\nbackend-path = [\".\"]\n",
    );
    let back_end = "import os\nM = 'Metadata-Version: 2.1\\nName: habits\\nVersion: 1.0\\n'\n\
        def prepare_metadata_for_build_wheel(folder, config_settings=None):\n    \
        os.mkdir(folder + '/habits-1.0.dist-info')\n    \
        open(folder + '/habits-1.0.dist-info/METADATA', 'w').write(M)\n    \
        return 'habits-1.0.dist-info'\n\
        def build_wheel(*_, **__):\n    raise SystemExit('the compiler is on strike')\n";
    sandbox.write("habits-1.0/b.py", back_end);
    sandbox.sh("tar czf habits-1.0.tar.gz habits-1.0").success();
    build(&sandbox, "022").failure();
    let log = sandbox.read(".zipwright/logs/build-habits-1.0.log");
    assert!(log.contains("the compiler is on strike"), "{log}");
    let run = sandbox.run(["wheels"]).failure();
    run.stderr_has("`habits 1.0` could not be built from source (exit status 1)")
        .stderr_has("the compiler is on strike")
        .stderr_has("The whole log is `.zipwright/logs/build-habits-1.0.log`");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_package_in_c_is_the_same_twice_and_stays_optimised() {
    let requirements = "--no-binary markupsafe\nmarkupsafe==3.0.2\n";
    let one = project(requirements);
    let run = build(&one, "022").success();
    assert!(!run.stdout.contains("` holds `"), "a sound package has no leak: {run}");
    let log = one.read(".zipwright/logs/build-MarkupSafe-3.0.2.log");
    assert!(log.contains(" -O3 ") || log.contains(" -O2 "), "{log}");
    let mut two = project(requirements);
    make_hostile(&mut two);
    build(&two, "077").success();
    assert_same(&one, &two);
}

/// Another compiler leads to another build; for the same one, the cached result is used.
#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn what_the_machine_has_is_found_out_once() {
    let mut sandbox = habits();
    let (programs, asked) = (sandbox.beside("programs"), sandbox.beside("asked"));
    std::fs::create_dir_all(&programs).unwrap();
    let script =
        format!("#!/bin/sh\necho >> '{}'\nexec /usr/bin/unshare \"$@\"\n", asked.display());
    std::fs::write(programs.join("unshare"), script).unwrap();
    let install = format!("cd '{}' && chmod +x unshare && cp /bin/true ar", programs.display());
    sandbox.sh(&install).success();
    let path = std::env::var("PATH").unwrap();
    sandbox.set("PATH", format!("{}:{path}", programs.display()));
    sandbox.set("AR", programs.join("ar").display());
    // The first run of a rustup leaves its settings.
    let _ = sandbox.sh("rustc -vV");
    sandbox.set_clock_margin();
    let asked = || std::fs::read(&asked).unwrap_or_default().len();

    let anew = |sandbox: &Sandbox| {
        sandbox.sh("rm -rf build .zipwright").success();
        !isolation(&build(sandbox, "022").success()).is_empty()
    };
    assert!(anew(&sandbox));
    let before = asked();
    assert!(before > 0);
    assert!(!anew(&sandbox));
    assert_eq!(asked(), before);
    sandbox.sh(&install.replace("true", "false")).success();
    assert!(anew(&sandbox));
    assert!(asked() > before);
}
