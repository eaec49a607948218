//! Properties of every build from source besides its bytes: its cache key, its messages, and
//! independence of parallel builds. The sources are made here; their back ends have no
//! requirements.

use std::process::Command;

use crate::sandbox::{Run, Sandbox};

/// The frame of a back end; `body` fills `files`, which become the wheel.
const BACK_END: &str = r#"
import os, subprocess, sys, time, zipfile
HERE = os.getcwd()
NAME = open(os.path.join(HERE, "name")).read()
METADATA = "Metadata-Version: 2.1\nName: %s\nVersion: 1.0\n" % NAME
WHEEL = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: false\nTag: py3-none-any\n"
def run(*words):
    subprocess.run(words, check=True)
def read(name):
    with open(name, "rb") as file:
        return file.read()
def build_wheel(folder, config_settings=None, metadata_directory=None):
    files = {}
    fill(files)
    info = NAME + "-1.0.dist-info/"
    files.update({info + "METADATA": METADATA, info + "WHEEL": WHEEL, info + "RECORD": ""})
    wheel = NAME + "-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, wheel), "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return wheel
"#;

/// Returns an empty project that requires sdists of these names, with these bodies of back ends.
fn project(sources: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::with(
        "[target.wheels]\nkind = \"wheelhouse\"\nrequirements = [\"requirements.txt\"]\n",
    );
    let mut requirements = String::new();
    for (name, body) in sources {
        let folder = format!("{name}-1.0");
        let system =
            "[build-system]\nrequires = []\nbuild-backend = \"back\"\nbackend-path = [\".\"]\n";
        let body: String = body.lines().map(|line| format!("    {line}\n")).collect();
        sandbox
            .write(&format!("{folder}/pyproject.toml"), system)
            .write(&format!("{folder}/name"), name)
            .write(&format!("{folder}/native.c"), "const char *where(void) { return __FILE__; }\n")
            .write(&format!("{folder}/back.py"), format!("{BACK_END}\ndef fill(files):\n{body}"));
        requirements += &format!("./{folder}.tar.gz\n");
    }
    sandbox.write("requirements.txt", requirements);
    pack(&sandbox);
    sandbox
}

fn pack(sandbox: &Sandbox) {
    let script = "for folder in *-1.0; do tar czf $folder.tar.gz --mtime=@1500000000 $folder; done";
    sandbox.sh(script).success();
}

fn wheels(sandbox: &Sandbox, more: &[&str]) -> Run {
    Run::of(sandbox.zipwright().args(["--json", "wheels"]).args(more))
}

/// Returns all texts of a run for people.
fn said(run: &Run) -> String {
    format!("{}{}", run.stdout, run.stderr)
}

fn built(run: &Run) -> u64 {
    run.target("wheels")["built"].as_u64().unwrap_or(0)
}

const PLANTED: &str = r#"
files["p/clock.txt"] = "made at %d\n" % time.time()
files["p/date.txt"] = time.strftime("built on %Y-%m-%d\n")
files["p/asctime.c"] = time.strftime("/* %b %e %Y */\n")
files["p/random.txt"] = "/elsewhere/tmp.aB3dE6gH1j/x"
files["p/path.py"] = "BUILT_IN = %r\n" % HERE
run("cc", "-shared", "-fPIC", "-o", "native.so", os.path.join(HERE, "native.c"))
files["p/native.so"] = read("native.so")
files["p/mounts.txt"] = read("/proc/self/mountinfo")
files["p/sound.txt"] = read("CHANGES")
"#;

#[test]
fn what_only_a_build_knew_is_found_in_its_wheel() {
    let sandbox = project(&[("planted", PLANTED)]);
    sandbox.sh("date +'%Y-%m-%d: planted /elsewhere' > planted-1.0/CHANGES").success();
    sandbox
        .sh("sed -i 's,/elsewhere/tmp.aB3,/elsewhere/tmp.\" + \"aB3,' planted-1.0/back.py")
        .success();
    pack(&sandbox);
    let run = wheels(&sandbox, &[]).success();
    let said = said(&run);
    assert!(said.contains("`planted 1.0`: `p/clock.txt` holds `1"), "{said}");
    assert!(said.contains("`p/asctime.c` holds `"), "{said}");
    let random = "`p/random.txt` holds `/elsewhere/tmp.aB3dE6gH1j/x`, a random name";
    assert!(said.contains(random), "{said}");
    let namespaces = run.target("wheels")["isolation"] == "namespaces";
    if namespaces {
        let path = "`p/path.py` holds `/zipwright/src/planted-1.0`, a path of the build: every";
        assert!(said.contains(path), "{said}");
        assert!(said.contains("`p/mounts.txt` holds `"), "{said}");
        assert!(said.contains("a path of this machine"), "{said}");
    } else {
        assert!(said.contains("`p/path.py` holds `/tmp/zipwright-"), "{said}");
    }
    // Compilers are configured to write this path, and the source itself has that day.
    for sound in ["p/native.so", "p/sound.txt", "p/date.txt"] {
        assert!(!said.contains(&format!("`{sound}` holds")), "{said}");
    }
    // It is reported whenever the wheel is used.
    let again = wheels(&sandbox, &["-B"]).success();
    assert_eq!(built(&again), 0);
    assert!(again.stdout.contains("p/clock.txt"), "{again}");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn the_name_of_the_host_is_found() {
    let body = "import socket\nfiles[\"p/host.txt\"] = socket.gethostname()\n";
    let mut sandbox = project(&[("named", body)]);
    sandbox.set("ZIPWRIGHT_NO_NAMESPACES", "1");
    if sandbox.sh("unshare --user --map-root-user --uts true").code != Some(0) {
        // Another name needs root on this machine; the unit test covers it.
        return;
    }
    let program = env!("CARGO_BIN_EXE_zipwright");
    let script = format!("hostname builder-17x && exec {program} wheels");
    let run =
        sandbox.sh(&format!("unshare --user --map-root-user --uts sh -c '{script}'")).success();
    run.stderr_has("`p/host.txt` holds `builder-17x`, the name of this host");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_library_of_the_host_is_said() {
    let body = r#"
run("cc", "-shared", "-fPIC", "-o", os.environ["TMPDIR"] + "/libforeign.so", "native.c")
link = ["-Wl,--no-as-needed", "-L" + os.environ["TMPDIR"], "-lforeign"]
run("cc", "-shared", "-fPIC", "-o", "native.so", "native.c", *link)
files["p/native.so"] = read("native.so")
"#;
    let run = wheels(&project(&[("linked", body)]), &[]).success();
    let said = said(&run);
    assert!(
        said.contains("`linked 1.0`: `p/native.so` needs `libforeign.so` of this host"),
        "{said}"
    );
}

const DECLARED: &str = r#"
run(*os.environ["CC"].split(), "-g", "-shared", "-fPIC", "-o", "native.so", os.path.join(HERE, "native.c"))
files["p/native.so"] = read("native.so")
"#;

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_compiler_is_known_by_what_it_says_of_itself() {
    let mut sandbox = project(&[("compiled", DECLARED)]);
    let compiler = |version: &str| {
        let script =
            "#!/bin/sh\n[ \"$1\" = --version ] && exec echo VERSION\nexec /usr/bin/cc \"$@\"\n";
        sandbox.write("mycc", script.replace("VERSION", version)).chmod("mycc", 0o755);
    };
    compiler("1.0");
    let place = sandbox.path("mycc").display().to_string();
    sandbox.set("CC", format!("{place} -mtune=native"));
    let run = wheels(&sandbox, &[]).success();
    assert_eq!(built(&run), 1);
    let said = said(&run);
    assert!(said.contains("`compiled 1.0` is compiled with `-mtune=native`"), "{said}");
    // A compiler named by its path also gets the flags that keep out paths and debug information.
    let object = "unzip -p build/wheels/*.whl p/native.so | tr -c '[:print:]' '\\n'";
    let object = sandbox.sh(object).success().stdout;
    assert!(object.contains("/zipwright/src/compiled-1.0/native.c"), "{object}");
    assert!(!object.contains(".debug_line") && !object.contains(&place), "{object}");
    assert_eq!(built(&wheels(&sandbox, &["-B"]).success()), 0);
    let script = sandbox.read("mycc");
    sandbox.write("mycc", script.replace("1.0", "2.0"));
    assert_eq!(built(&wheels(&sandbox, &["-B"]).success()), 1, "another compiler");
    assert_eq!(built(&wheels(&sandbox, &["-B"]).success()), 0);
}

/// Returns a back end that writes a log; with a partner, each waits until the other has started.
fn partner(name: &str, other: &str, place: &str) -> String {
    format!(
        "open('{place}/{name}', 'w').close()\n\
         open('{place}/events', 'a').write('begin\\n')\n\
         for number in range(200):\n    \
         print('this is {name}', number, flush=True)\n\
         for _ in range(3000 if {other:?} else 0):\n    \
         if os.path.exists('{place}/{other}'): break\n    \
         time.sleep(0.02)\n\
         else:\n    \
         if {other:?}: raise SystemExit('{other} did not begin beside {name}')\n\
         open('{place}/events', 'a').write('end\\n')\n\
         files['p/x.txt'] = 'x'"
    )
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn several_build_side_by_side_with_an_output_of_their_own() {
    let shared = tempfile::tempdir().unwrap();
    let place = shared.path().to_str().unwrap();
    let one = partner("one", "two", place);
    let two = partner("two", "one", place);
    let mut sandbox = project(&[("one", &one), ("two", &two)]);
    let run = wheels(&sandbox, &["-j2"]);
    if run.code == Some(0) && run.target("wheels")["isolation"] != "namespaces" {
        panic!("in one folder builds take turns: {run}");
    }
    let isolated = run.code == Some(0);
    if isolated {
        for (name, other) in [("one", "two"), ("two", "one")] {
            let log = sandbox.read(&format!(".zipwright/logs/build-{name}-1.0.log"));
            assert_eq!(log.matches(&format!("this is {name}")).count(), 200, "{log}");
            assert!(!log.contains(&format!("this is {other}")), "{log}");
        }
    } else {
        assert!(run.stderr.contains("did not begin beside"), "{run}");
    }
    // With one job, or in one folder, one build ends before the other starts.
    for (name, value) in [("", ""), ("ZIPWRIGHT_NO_NAMESPACES", "1")] {
        let one = partner("one", "", place);
        let two = partner("two", "", place);
        sandbox = project(&[("one", &one), ("two", &two)]);
        sandbox.write("x", "");
        if !name.is_empty() {
            sandbox.set(name, value);
        }
        std::fs::write(shared.path().join("events"), "").unwrap();
        wheels(&sandbox, &[if name.is_empty() { "-j1" } else { "-j2" }]).success();
        let events = std::fs::read_to_string(shared.path().join("events")).unwrap();
        assert_eq!(events, "begin\nend\nbegin\nend\n");
    }
}

#[test]
fn build_requirements_are_resolved_once_and_recorded() {
    let sandbox =
        Sandbox::with("[target.wheels]\nkind = \"wheelhouse\"\nprojects = [\"one\", \"two\"]\n");
    for name in ["one", "two"] {
        sandbox
            .write(&format!("{name}/setup.py"), format!(
                "from setuptools import setup\nsetup(name='{name}', version='1', py_modules=['{name}'])\n"
            ))
            .write(&format!("{name}/{name}.py"), "");
    }
    let asked = |run: &Run| said(run).matches("Collecting setuptools").count();
    let run = wheels(&sandbox, &["-j2"]).success();
    assert_eq!((built(&run), asked(&run)), (2, 1), "{run}");
    sandbox.write("one/one.py", "x = 1\n");
    let run = wheels(&sandbox, &[]).success();
    assert_eq!((built(&run), asked(&run)), (1, 0), "{run}");
    let count = |bucket: &str, text: &str| {
        let entries = format!("cat ../cache/zipwright/{bucket}/* | grep -ao '{text}' | wc -l");
        sandbox.sh(&entries).success().stdout.trim().parse::<usize>().unwrap()
    };
    // One entry has the wheel; those of the three builds have its name as required, too.
    assert_eq!(count("build-requirements-v1", "setuptools-[0-9]"), 1);
    assert_eq!(count("project-builds-v1", "setuptools-[0-9]"), 3);
    assert_eq!(count("project-builds-v1", "setuptools[^-.]"), 3);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_back_end_gets_what_it_asks_for_besides() {
    let sandbox = project(&[("asking", "import tomlkit\nfiles['p/x.txt'] = tomlkit.__version__")]);
    let ask = "\ndef get_requires_for_build_wheel(config_settings=None):\n    return ['tomlkit==0.13.2']\n";
    let back = sandbox.read("asking-1.0/back.py");
    sandbox.write("asking-1.0/back.py", back + ask);
    pack(&sandbox);
    wheels(&sandbox, &[]).success();
    let version = sandbox.sh("unzip -p build/wheels/*.whl p/x.txt").success().stdout;
    assert_eq!(version, "0.13.2");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_wheel_that_was_downloaded_is_never_rewritten() {
    let sandbox = Sandbox::with(
        "[target.wheels]\nkind = \"wheelhouse\"\nrequirements = [\"requirements.txt\"]\n",
    );
    sandbox.write("requirements.txt", "--no-index\n--find-links house\ndemo\n");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/bytecode/make_wheel.py");
    let mut python = Command::new("python3");
    assert!(python.arg(script).current_dir(sandbox.path("")).status().unwrap().success());
    wheels(&sandbox, &[]).success();
    let name = "demo-1-py3-none-any.whl";
    let given = sandbox.bytes(&format!("house/{name}"));
    assert_eq!(sandbox.bytes(&format!("build/wheels/{name}")), given);
}

#[test]
fn a_local_source_needs_its_marker_to_be_built() {
    let sandbox = project(&[("never", "raise SystemExit('it was built')")]);
    sandbox.write("requirements.txt", "./never-1.0.tar.gz ; python_version < '3'\n");
    let run = wheels(&sandbox, &[]).success();
    assert_eq!(built(&run), 0);
}
