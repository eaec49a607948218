//! `bytecode = true`: Python accepts it after an unzip, its bytes depend only on the source and the
//! interpreter, and only changed files are compiled again.

use std::collections::BTreeMap;
use std::io::Read;

use crate::sandbox::Sandbox;

const BUILDFILE: &str = r#"
default = ["package"]

[target.wheels]
kind = "wheelhouse"
requirements = ["requirements.txt"]

[target.staging]
kind = "staging"
wheels = ["wheels"]
sources = ["handler.py", "lib"]
bytecode = true

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
"#;

/// Makes the wheel `demo` in `house/`, with bytecode of each kind.
const WHEEL: &str = include_str!("bytecode/make_wheel.py");

fn bundle() -> Sandbox {
    let sandbox = Sandbox::with(BUILDFILE);
    sandbox
        .write("make_wheel.py", WHEEL)
        .write("requirements.txt", "--no-index\n--find-links house\ndemo\n")
        .write(
            "handler.py",
            "import demo, lib.tool\ndef handler(event, context):\n    return demo.hello()\n",
        )
        .write("lib/__init__.py", "")
        .write("lib/tool.py", "LIMITS = frozenset({'x', 'y', 'z'})\n");
    sandbox.sh("python3 make_wheel.py").success();
    sandbox
}

fn members(sandbox: &Sandbox) -> BTreeMap<String, Vec<u8>> {
    let file = std::fs::File::open(sandbox.path("build/lambda.zip")).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    let mut members = BTreeMap::new();
    for at in 0..archive.len() {
        let mut member = archive.by_index(at).unwrap();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        members.insert(member.name().unwrap().into_owned(), bytes);
    }
    members
}

/// Returns the `.pyc` files in the bundle, without the names of their folders and the tag.
fn compiled(sandbox: &Sandbox) -> Vec<String> {
    let tag = sandbox.sh("python3 -c 'import sys; print(sys.implementation.cache_tag)'").success();
    let tag = tag.stdout.trim();
    let names = members(sandbox).into_keys().filter(|name| name.ends_with(".pyc"));
    names.map(|name| name.replace("__pycache__/", "").replace(tag, "X")).collect()
}

#[test]
fn python_takes_the_bytecode_of_an_unzipped_bundle() {
    let sandbox = bundle();
    let run = sandbox.run(["--json"]).success();
    assert_eq!(run.target("staging")["bytecode"], 5);
    // Not the template and not the script; the wheel's bytecode is replaced, except where there is
    // no source.
    let expected = [
        "handler.X.pyc",
        "demo/__init__.X.pyc",
        "demo/other.X.pyc",
        "demo/alone.pyc",
        "lib/__init__.X.pyc",
        "lib/tool.X.pyc",
    ];
    let mut found = compiled(&sandbox);
    found.sort();
    let mut wanted = expected.map(String::from);
    wanted.sort();
    assert_eq!(found, wanted);
    for (name, bytes) in members(&sandbox) {
        if name.contains("__pycache__") && !name.ends_with('/') {
            assert_eq!(bytes[4..8], 1_u32.to_le_bytes(), "{name} has an unchecked hash");
            let path =
                name.replace("__pycache__/", "").split(".cpython").next().unwrap().to_owned();
            let place = format!("/var/task/{path}.py");
            assert!(String::from_utf8_lossy(&bytes).contains(&place), "{name} lacks {place}");
        }
    }
    let run = sandbox
        .sh("rm -rf tree && mkdir tree && cd tree && unzip -q ../build/lambda.zip && \
             python3 -S -s -v -c 'import handler; print(handler.handler(None, None))'")
        .success();
    assert!(run.stdout.contains("hello"));
    for module in ["handler", "demo/__init__", "lib/tool"] {
        let file = module.rsplit('/').next().unwrap();
        let taken = format!("__pycache__/{file}.");
        let line =
            run.stderr.lines().find(|line| line.contains("matches") && line.contains(&taken));
        assert!(line.is_some(), "{module} was compiled again:\n{}", run.stderr);
    }
    assert!(!run.stderr.contains("wrote "), "{}", run.stderr);
    sandbox
        .run(["check", "build/lambda.zip", "--runtime", &runtime(&sandbox), "--arch", "x86_64"])
        .stderr_lacks("pyc-");
}

fn runtime(sandbox: &Sandbox) -> String {
    let say = "python3 -c 'import sys; print(\"python%d.%d\" % sys.version_info[:2])'";
    sandbox.sh(say).success().stdout.trim().to_owned()
}

#[test]
fn the_bytes_are_the_same_on_any_checkout() {
    let (one, mut other) = (bundle(), bundle());
    one.run([]).success();
    for (name, value) in [("PYTHONHASHSEED", "77"), ("TZ", "Asia/Tokyo"), ("PYTHONOPTIMIZE", "2")] {
        other.set(name, value);
    }
    // A module that would break the compilation if it were imported.
    other.write("marshal.py", "raise SystemExit('mine')\n");
    other.write("importlib.py", "raise SystemExit('mine')\n");
    other.age("handler.py", 100_000);
    let program = env!("CARGO_BIN_EXE_zipwright");
    other.sh(&format!("umask 077; RAYON_NUM_THREADS=1 exec '{program}' -j1")).success();
    assert_eq!(one.bytes("build/lambda.zip"), other.bytes("build/lambda.zip"));
}

#[test]
fn an_edit_of_the_handler_compiles_the_handler() {
    let sandbox = bundle();
    sandbox.run([]).success();
    let entries = |bucket: &str| {
        std::fs::read_dir(sandbox.beside("cache/zipwright").join(bucket)).unwrap().count()
    };
    let compiled = || (entries("source-bytecode-v1"), entries("wheel-bytecode-v1"));
    assert_eq!(compiled(), (3, 1));
    let before = members(&sandbox);
    sandbox.write("handler.py", "def handler(event, context):\n    return 'edited'\n");
    assert_eq!(sandbox.ran([]), ["package", "staging"]);
    assert_eq!(compiled(), (4, 1));
    let after = members(&sandbox);
    let changed: Vec<&String> =
        after.keys().filter(|name| before.get(*name) != after.get(*name)).collect();
    assert_eq!(changed.len(), 2, "{changed:?}");
    let ask = "rm -rf tree && mkdir tree && cd tree && unzip -q ../build/lambda.zip && \
               rm handler.py && mv __pycache__/handler.*.pyc handler.pyc && \
               python3 -c 'import handler; print(handler.handler(None, None))'";
    assert_eq!(sandbox.sh(ask).success().stdout, "edited\n");
    assert_eq!(sandbox.ran([]), [""; 0]);
    // Without the cache, or with a damaged one, the same bytes are made again.
    let zip = sandbox.bytes("build/lambda.zip");
    sandbox.sh("rm -r ../cache/zipwright/*bytecode* build/lambda.zip").success();
    assert_eq!(sandbox.ran([]), ["package"]);
    assert_eq!(sandbox.bytes("build/lambda.zip"), zip);
    let damage =
        "for file in $(find ../cache/zipwright/*bytecode* -type f); do echo x >> $file; done";
    sandbox.sh(damage).success();
    sandbox.run(["-B"]).success();
    assert_eq!(sandbox.bytes("build/lambda.zip"), zip);
    // A compiled file is an output: after a change it is made again.
    let own = sandbox.sh("find .zipwright/bytecode -name 'handler*'").success().stdout;
    sandbox.write(own.trim(), "tampered");
    assert_eq!(sandbox.ran([]), ["staging"]);
    assert_eq!(sandbox.bytes("build/lambda.zip"), zip);
}

#[test]
fn bytecode_that_python_would_pass_over_is_left_out() {
    let sandbox = bundle();
    sandbox.write("Buildfile", BUILDFILE.replace("bytecode = true", ""));
    sandbox.run([]).success();
    // One with a hash is kept; the others have the time of a source, or none.
    assert_eq!(compiled(&sandbox), ["demo/other.X.pyc", "demo/alone.pyc"]);
    assert_eq!(sandbox.run(["staging"]).success().code, Some(0));
    let exclude =
        BUILDFILE.replace("bytecode = true", "bytecode = true\nexclude = [\"**/__pycache__\"]");
    sandbox.write("Buildfile", exclude);
    sandbox.run([]).success().stderr_has("`bytecode` compiles nothing");
    assert_eq!(compiled(&sandbox), ["demo/alone.pyc"]);
}

#[test]
fn an_own_file_that_does_not_compile_is_named() {
    let sandbox = bundle();
    sandbox.write("lib/broken.py", "x = (\n");
    let run = sandbox.run([]).success();
    run.stderr_has("`lib/broken.py` gets no bytecode: '(' was never closed (line 1)");
    assert!(!compiled(&sandbox).contains(&"lib/broken.X.pyc".to_owned()));
}

#[test]
fn the_python_of_the_runtime_must_be_there() {
    let sandbox = bundle();
    let platform = "platform = { python = \"3.99\", arch = \"arm64\" }\noutput = \"w\"";
    let house = "requirements = [\"requirements.txt\"]\n";
    sandbox.write("Buildfile", BUILDFILE.replace(house, &format!("{house}{platform}\n")));
    let run = sandbox.run([]).failure();
    run.stderr_has("`bytecode` needs the Python that `wheels` is for")
        .stderr_has("no `python3.99` on PATH")
        .stderr_has("or leave `bytecode` out");
}

#[test]
fn the_record_says_what_bytecode_is_of() {
    let sandbox = bundle();
    sandbox.run([]).success();
    let record: serde_json::Value =
        serde_json::from_str(&sandbox.read("build/lambda.zip.record.json")).unwrap();
    assert_eq!(record["wheels"].as_array().unwrap().len(), 1);
    let origin = |start: &str| {
        let members = record["members"].as_array().unwrap().iter();
        let mut found =
            members.filter(|member| member["path"].as_str().unwrap().starts_with(start));
        found.next().unwrap()["origin"].clone()
    };
    assert_eq!(origin("lib/__pycache__/tool.")["bytecode"], "lib/tool.py");
    assert_eq!(origin("demo/__pycache__/other.")["wheel"], "demo-1-py3-none-any.whl");
    sandbox.run(["provenance"]).success();
    sandbox.run(["sbom"]).success();
}
