//! Requirements files and the inputs of builds from source, from the Buildfile to the wheels. The
//! projects have a back end of their own, so that nothing comes from a package index.

use std::fs;
use std::sync::{Arc, Mutex};

use crate::index::{Index, response};
use crate::kills;
use crate::lockfiles::sha256;
use crate::recipe::{member, project};
use crate::sandbox::{Run, Sandbox, text as text_of};

/// Writes its settings and variables into the wheel; fails with the text of `fails`.
const BACK_END: &str = r#"
import json, os, zipfile

def build_wheel(out, config_settings=None, metadata_directory=None):
    if os.path.exists("fails"):
        raise SystemExit(open("fails").read())
    name = open("name").read()
    info = name + "-1.dist-info"
    found = json.dumps([config_settings, dict(os.environ)])
    files = {
        name + "/found.json": found,
        info + "/METADATA": "Metadata-Version: 2.1\nName: %s\nVersion: 1\n" % name,
        info + "/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[info + "/RECORD"] = "".join(path + ",,\n" for path in [*files, info + "/RECORD"])
    with zipfile.ZipFile(os.path.join(out, name + "-1-py3-none-any.whl"), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return name + "-1-py3-none-any.whl"
"#;

fn add_project(sandbox: &Sandbox, folder: &str, name: &str) {
    let pyproject = "[build-system]\nrequires = []\nbuild-backend = \"b\"\nbackend-path = [\".\"]\n\
                     [project]\nname = \"NAME\"\nversion = \"1\"\n";
    sandbox.write(&format!("{folder}/pyproject.toml"), pyproject.replace("NAME", name));
    sandbox.write(&format!("{folder}/b.py"), BACK_END);
    sandbox.write(&format!("{folder}/name"), name);
}

/// Returns a project in `lib` with the name `zz-lib`, and these requirements.
fn with_lib(requirements: &str) -> Sandbox {
    let sandbox = project(requirements);
    add_project(&sandbox, "lib", "zz_lib");
    sandbox
}

fn wheels(sandbox: &Sandbox) -> Vec<String> {
    let entries = fs::read_dir(sandbox.path("build/wheels")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns the settings and the variables in the build of `lib`.
fn found(sandbox: &Sandbox) -> (serde_json::Value, serde_json::Value) {
    let wheel = fs::read(sandbox.path("build/wheels").join(WHEEL)).unwrap();
    serde_json::from_str(&member(&wheel, "zz_lib/found.json")).unwrap()
}

fn build(sandbox: &Sandbox) -> Run {
    sandbox.run(["wheels"])
}

const WHEEL: &str = "zz_lib-1-py3-none-any.whl";

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn every_spelling_of_a_local_project_is_the_folder() {
    let sandbox = with_lib("");
    let root = sandbox.path("").display().to_string();
    let root = root.trim_end_matches('/');
    for line in [
        "-e lib",
        "--editable=lib",
        "-elib",
        "-e ./lib ; sys_platform == 'win32'",
        "zz.lib @ file://ROOT/lib",
        "file://ROOT/#egg=zz-lib&subdirectory=lib",
        "-e file://ROOT#subdirectory=lib",
    ] {
        let _ = fs::remove_dir_all(sandbox.path("build"));
        sandbox.write("requirements.txt", format!("--no-index\n{line}\n").replace("ROOT", root));
        build(&sandbox).success();
        assert_eq!(wheels(&sandbox), [WHEEL], "{line}");
    }
}

#[test]
fn a_name_that_the_folder_does_not_build_is_refused() {
    let sandbox = with_lib("");
    let root = sandbox.path("lib").display().to_string();
    for line in ["other @ file://ROOT", "-e file://ROOT#egg=other"] {
        sandbox.write("requirements.txt", line.replace("ROOT", &root));
        build(&sandbox)
            .failure()
            .stderr_has("`requirements.txt` line 1")
            .stderr_has("it names `other`, and `lib` builds `zz-lib`");
    }
}

#[test]
fn a_project_behind_a_false_marker_is_not_built() {
    let lines = "--no-index\n./lib\n./windows ; sys_platform == 'win32'\n./gone;os_name=='nt'\n";
    let sandbox = with_lib(lines);
    add_project(&sandbox, "windows", "windows");
    sandbox.write("windows/fails", "it is for Windows");
    build(&sandbox).success();
    assert_eq!(wheels(&sandbox), [WHEEL]);
    sandbox.write("requirements.txt", "./windows ; sys_platform == 'linux'\n");
    build(&sandbox).failure().stderr_has("it is for Windows");
}

#[test]
fn an_include_behind_a_byte_order_mark_is_an_input() {
    let sandbox = with_lib("\u{feff}-r base.txt\n");
    add_project(&sandbox, "other", "other");
    sandbox.write("base.txt", "--no-index\n./lib\n");
    build(&sandbox).success();
    assert_eq!(wheels(&sandbox), [WHEEL]);
    let utf_16: Vec<u8> =
        "\u{feff}--no-index\r\n./other\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    sandbox.write("base.txt", utf_16);
    build(&sandbox).success();
    assert_eq!(wheels(&sandbox), ["other-1-py3-none-any.whl"]);
}

#[test]
fn a_file_of_another_host_is_read_by_every_run() {
    let sandbox = project("");
    fs::create_dir(sandbox.path("w")).unwrap();
    let line = |name: &str| {
        kills::wheel(&sandbox.path("w"), name, 1);
        let bytes = sandbox.bytes(&format!("w/{name}-1.0-py3-none-any.whl"));
        format!("{name}==1.0 --hash=sha256:{}\n", sha256(&bytes))
    };
    let (alpha, beta) = (line("alpha"), line("beta"));
    let served = Arc::new(Mutex::new(beta));
    let page = served.clone();
    let host = Index::new(move |_, _| response("200 OK", page.lock().unwrap().as_bytes()));
    let text = format!("--no-index\n-f w\n-r {}\n{alpha}", host.url("more.txt"));
    sandbox.write("requirements.txt", text);
    build(&sandbox).success();
    assert_eq!(wheels(&sandbox).len(), 2);
    served.lock().unwrap().clear();
    sandbox.run(["-B", "wheels"]).success();
    assert_eq!(wheels(&sandbox), ["alpha-1.0-py3-none-any.whl"]);
}

#[test]
fn errors_of_pip_have_their_reason() {
    let sandbox = project("");
    fs::create_dir(sandbox.path("w")).unwrap();
    kills::wheel(&sandbox.path("w"), "alpha", 1);
    let error = |text: String| {
        sandbox.write("requirements.txt", format!("--no-index\n-f w\n{text}\n"));
        let run = sandbox.run(["--json", "wheels"]);
        text_of(&run.target("wheels"), "error")
    };
    let (found, wanted) = (sha256(&sandbox.bytes("w/alpha-1.0-py3-none-any.whl")), "0".repeat(64));
    let mismatch = error(format!("alpha==1.0 --hash=sha256:{wanted}"));
    assert!(mismatch.contains("    alpha==1.0 from file:"), "{mismatch}");
    assert!(mismatch.contains(&wanted) && mismatch.contains(&found), "{mismatch}");
    let unpinned = error(format!("alpha --hash=sha256:{found}"));
    assert!(unpinned.contains("must have their versions pinned"), "{unpinned}");
    assert!(unpinned.contains("\n    alpha from "), "{unpinned}");
    // Both requirements are of the user, so that the conflict names them.
    let conflict = error("alpha==1.0\nalpha==2.0".into());
    assert!(conflict.contains("\n    The user requested alpha==2.0"), "{conflict}");
}

#[test]
fn settings_reach_the_build_that_they_are_for() {
    let mut sandbox =
        with_lib("--no-index\n./lib -C one=1 --config-settings=\"two=2 2\" -C one=3\n");
    build(&sandbox).success();
    assert_eq!(found(&sandbox).0, serde_json::json!({ "one": ["1", "3"], "two": "2 2" }));
    sandbox.set("PIP_CONFIG_SETTINGS", "two=every");
    sandbox.write("requirements.txt", "--no-index\n./lib -C one=1\n");
    build(&sandbox).success();
    assert_eq!(found(&sandbox).0, serde_json::json!({ "two": "every", "one": "1" }));
    let arguments = "pip-args = [\"-C\", \"three=3\", \"--config-settings=one=0\"]\n";
    sandbox.write("Buildfile", sandbox.read("Buildfile") + arguments);
    build(&sandbox).success();
    assert_eq!(found(&sandbox).0, serde_json::json!({ "three": "3", "one": "1" }));
    sandbox.write("requirements.txt", "./lib --global-option=x\n");
    build(&sandbox).failure().stderr_has("are not passed to builds");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn variables_of_the_buildfile_reach_builds_and_count() {
    let mut sandbox = with_lib("--no-index\n./lib\n");
    sandbox.set("SETUPTOOLS_SCM_PRETEND_VERSION_FOR_ZZ_LIB", "4.5.6");
    sandbox.set("PBR_VERSION", "7");
    sandbox.set("A_FURTHER_ONE", "shell");
    let buildfile = sandbox.read("Buildfile");
    for value in ["one", "two"] {
        let line = format!("build-env = {{ OWN = \"{value}\", PBR_VERSION = \"8\" }}\n");
        sandbox.write("Buildfile", format!("{buildfile}{line}"));
        build(&sandbox).success();
        let variables = found(&sandbox).1;
        assert_eq!(variables["SETUPTOOLS_SCM_PRETEND_VERSION_FOR_ZZ_LIB"], "4.5.6");
        assert_eq!((&variables["OWN"], &variables["PBR_VERSION"]), (&value.into(), &"8".into()));
        assert!(variables.get("A_FURTHER_ONE").is_none());
    }
    sandbox.set("PIP_NO_BUILD_ISOLATION", "1");
    build(&sandbox).success().stderr_has("pip's setting `no-build-isolation` is not passed on");
}

#[test]
fn a_version_that_git_has_is_asked_for_by_its_variable() {
    let sandbox = with_lib("./lib\n");
    sandbox.write("lib/fails", "LookupError: setuptools-scm was unable to detect version for /x.");
    build(&sandbox)
        .failure()
        .stderr_has("`.git` is not in the copy that is built")
        .stderr_has("set `SETUPTOOLS_SCM_PRETEND_VERSION_FOR_ZZ_LIB`");
}

#[test]
fn files_of_other_tools_are_refused_with_the_way_out() {
    let sandbox = project("# platform: linux-64\nsix=1.16.0=pyhd3eb1b0_1\n");
    build(&sandbox).failure().stderr_has("it lists packages of conda");
    sandbox.write("Buildfile", sandbox.read("Buildfile").replace("requirements.txt", "uv.lock"));
    sandbox.write("uv.lock", "version = 1\n");
    build(&sandbox)
        .failure()
        .stderr_has("`uv.lock` is not a requirements file: it is a lockfile of uv")
        .stderr_has("Name it by the key `lock`: `lock = \"uv.lock\"`");
}
