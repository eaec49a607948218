//! Facts about a bundle: `diff`, the build record beside each zip, and the documents made from it,
//! validated by CycloneDX's own validator.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::emulators::install_python;
use crate::sandbox::{Run, Sandbox};

const PROJECT: &str = r#"
default = ["package"]

[target.wheels]
kind = "wheelhouse"
projects = ["greeting"]

[target.staging]
kind = "staging"
wheels = ["wheels"]
sources = ["handler.py"]

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
"#;

const RECORD: &str = "build/lambda.zip.record.json";

/// Returns a bundle of a handler and a local project whose back end has no requirements.
pub(crate) fn project() -> Sandbox {
    let sandbox = Sandbox::with(PROJECT);
    sandbox.write("handler.py", "import greeting\n");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/greeting");
    crate::sandbox::copy_tree(fixture.as_ref(), &sandbox.path("greeting"));
    sandbox
}

fn record(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.read(RECORD)).unwrap()
}

fn without_informative(mut record: Value) -> Value {
    record.as_object_mut().unwrap().remove("informative").unwrap();
    record
}

#[test]
fn two_builds_give_the_same_record_but_for_what_is_informative() {
    let (one, mut other) = (project(), project());
    let run = one.run(["--json"]).success();
    other.set("TZ", "Asia/Tokyo");
    other.set("SOURCE_DATE_EPOCH", "1000000000");
    let git = "git init -q . && git add . && \
               git -c user.name=n -c user.email=e commit -q -m first && git rev-parse HEAD";
    let commit = other.sh(git).success().stdout;
    other.run([]).success();
    let (a, b) = (record(&one), record(&other));
    assert_eq!(without_informative(a.clone()), without_informative(b.clone()));
    assert_eq!(a["zip"]["code_sha256"], run.target("package")["code_sha256"]);
    assert_eq!(b["informative"]["git"]["commit"], commit.trim());
    assert_eq!(b["informative"]["git"]["clean"], true);
    assert_eq!(b["informative"]["time"], "2001-09-09T01:46:40Z");
    assert_eq!(a["informative"]["wheels"][0][1], "built");
    other.write("handler.py", "import greeting  # edited\n");
    other.run([]).success();
    assert_eq!(record(&other)["informative"]["git"]["clean"], false);
    assert_ne!(record(&other)["content"]["digest"], a["content"]["digest"]);
}

#[test]
fn a_record_says_where_every_file_is_from() {
    let sandbox = project();
    sandbox.run([]).success();
    let record = record(&sandbox);
    let members = record["members"].as_array().unwrap();
    let origin = |path: &str| {
        let member = members.iter().find(|member| member["path"] == path).unwrap();
        member["origin"].clone()
    };
    assert_eq!(origin("handler.py")["source"], "handler.py");
    let wheel = record["wheels"][0]["file"].as_str().unwrap();
    assert_eq!(origin("greeting/__init__.py")["wheel"], wheel);
    // The digest, computed without zipwright.
    let lines: String = members
        .iter()
        .map(|member| {
            let part = |name: &str| member[name].as_str().unwrap().to_owned();
            format!("{} {} {}\n", part("mode"), part("blake3"), part("path"))
        })
        .collect();
    let expected = format!("blake3:{}", blake3::hash(lines.as_bytes()).to_hex());
    assert_eq!(record["content"]["digest"], expected);
    let sums =
        format!("{}  build/wheels/{wheel}\n", record["wheels"][0]["sha256"].as_str().unwrap());
    sandbox.write("sums", sums).sh("sha256sum -c sums").success();
}

#[test]
fn a_record_that_is_missing_is_made_again_and_cleaned_away() {
    let sandbox = project();
    sandbox.run([]).success();
    assert_eq!(sandbox.ran([]), [""; 0]);
    sandbox.remove(RECORD);
    assert_eq!(sandbox.ran([]), ["package"]);
    assert!(sandbox.exists(RECORD));
    sandbox.run(["clean"]).success();
    assert!(!sandbox.exists(RECORD));
}

#[test]
fn what_needs_a_zip_does_not_run_for_what_is_informative() {
    let mut sandbox = project();
    let after = "[target.after]\nkind = \"command\"\nneeds = [\"package\"]\nrun = [\"true\"]\n";
    sandbox.write("Buildfile", format!("{PROJECT}{after}"));
    sandbox.run(["after"]).success();
    sandbox.remove(RECORD);
    sandbox.set("SOURCE_DATE_EPOCH", "5");
    let ran = sandbox.ran(["after"]);
    assert!(ran.contains(&"package".to_owned()) && !ran.contains(&"after".to_owned()), "{ran:?}");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_bill_of_materials_is_valid_by_cyclonedx_own_validator() {
    let sandbox = project();
    sandbox.run([]).success();
    let bill = sandbox.run(["sbom"]).success().stdout;
    assert_eq!(sandbox.run(["sbom", "package"]).success().stdout, bill);
    assert_eq!(sandbox.run(["sbom", "build/lambda.zip"]).success().stdout, bill);
    let value: Value = serde_json::from_str(&bill).unwrap();
    assert_eq!(value["components"][0]["purl"], "pkg:pypi/greeting@1.0");
    sandbox.write("bill.json", bill);
    let venv = install_python("cyclonedx", "cyclonedx-python-lib[json-validation]==11.12.0");
    let script = "import sys\n\
                  from cyclonedx.validation.json import JsonStrictValidator\n\
                  from cyclonedx.schema import SchemaVersion\n\
                  text = open(sys.argv[1]).read()\n\
                  wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)\n\
                  sys.exit(str(wrong) if wrong else 0)\n";
    let python = venv.join("bin/python");
    let judge =
        |file: &str| Run::of(Command::new(&python).args(["-c", script]).arg(sandbox.path(file)));
    judge("bill.json").success();
    sandbox.write("broken.json", sandbox.read("bill.json").replace("\"library\"", "\"nothing\""));
    judge("broken.json").status(1);
}

#[test]
fn provenance_has_the_form_of_slsa() {
    let sandbox = project();
    sandbox.run([]).success();
    let statement: Value =
        serde_json::from_str(&sandbox.run(["provenance"]).success().stdout).unwrap();
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    let sum = sandbox.sh("sha256sum build/lambda.zip").success().stdout;
    let subject = &statement["subject"][0];
    assert_eq!(subject["digest"]["sha256"], sum.split(' ').next().unwrap());
    let definition = &statement["predicate"]["buildDefinition"];
    assert!(definition["buildType"].as_str().unwrap().contains(':'));
    assert!(definition["externalParameters"].is_object());
    let dependencies = definition["resolvedDependencies"].as_array().unwrap();
    assert!(dependencies.iter().all(|one| one["digest"].as_object().unwrap().len() == 1));
    assert!(dependencies.iter().any(|one| one["uri"] == "pkg:pypi/greeting@1.0"));
    assert!(dependencies.iter().any(|one| one["name"] == "handler.py"));
    let details = &statement["predicate"]["runDetails"];
    assert!(details["builder"]["id"].as_str().unwrap().contains(':'));
    assert!(details["metadata"]["finishedOn"].as_str().unwrap().ends_with('Z'));
}

/// Fails for fields that the messages of in-toto and SLSA do not have.
const JUDGE_OF_PROVENANCE: &str = "import json, sys
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
document = json.load(open(sys.argv[1]))
Statement.copy_from_pb(json_format.ParseDict(document, statement_pb2.Statement())).validate()
json_format.ParseDict(document['predicate'], provenance_pb2.Provenance())
";

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn provenance_is_valid_by_the_messages_of_in_toto() {
    let sandbox = project();
    sandbox.run([]).success();
    let statement = sandbox.run(["provenance"]).success().stdout;
    let venv = install_python("in-toto", "in-toto-attestation==0.9.3 protobuf==6.33.0");
    let judge = |text: &str| {
        sandbox.write("statement.json", text);
        let mut python = Command::new(venv.join("bin/python"));
        Run::of(python.args(["-c", JUDGE_OF_PROVENANCE]).arg(sandbox.path("statement.json")))
    };
    judge(&statement).success();
    judge(&statement.replace("\"resolvedDependencies\"", "\"dependencies\"")).status(1);
    judge(&statement.replace("https://in-toto.io/Statement/v1", "v1")).status(1);
}

#[test]
fn a_record_of_another_zip_is_refused() {
    let sandbox = project();
    sandbox.run([]).success();
    sandbox.write("build/lambda.zip", "tampered");
    sandbox.run(["sbom"]).failure().stderr_has("is the record of another zip");
    fs::remove_file(sandbox.path(RECORD)).unwrap();
    sandbox.run(["provenance"]).failure().stderr_has("there is no record");
}

#[test]
fn a_difference_is_told_by_exit_status_and_as_json() {
    let sandbox = project();
    sandbox.run([]).success();
    sandbox.sh("cp build/lambda.zip one.zip").success();
    let run = sandbox.run(["diff", "one.zip", "build/lambda.zip"]).success();
    assert!(run.stdout.starts_with("identical"), "{run}");
    sandbox.write("handler.py", "import greeting as g\n");
    sandbox.run([]).success();
    let run = sandbox.run(["diff", "one.zip", "build/lambda.zip"]).status(1);
    assert!(run.stdout.contains("+import greeting as g"), "{run}");
    let run = sandbox.run(["--json", "diff", "one.zip", "build/lambda.zip"]).status(1);
    let event = &run.events()[0];
    assert_eq!(
        (&event["verdict"], &event["changes"][0]["path"]),
        (&"differs".into(), &"handler.py".into())
    );
    sandbox.sh("mkdir same && cd same && unzip -q ../one.zip").success();
    let run = sandbox.run(["diff", "same", "one.zip"]).status(1);
    assert!(run.stdout.starts_with("same files in another container"), "{run}");
    sandbox.run(["diff", "one.zip", "nowhere"]).failure().stderr_has("`nowhere`");
}

/// Two wheels of a module in C that differ in a string, made by a real compiler and zip.
#[test]
fn wheels_that_differ_are_explained_by_member_section_and_mode() {
    let sandbox = Sandbox::new();
    let native = |text: &str| format!("const char *which(void) {{ return \"{text}\"; }}\n");
    sandbox.write("a.c", native("built in /somewhere")).write("b.c", native("built in /elsewhere"));
    let script = "set -e
for side in a b; do
    mkdir -p $side/p
    cc -g0 -shared -fPIC -o $side/p/_p.so $side.c
    echo 'import this' > $side/p/__init__.py
    echo $side > $side/p/only_$side.py
done
chmod 755 b/p/__init__.py
touch -d '2020-02-02 02:02:02' a/p/* b/p/*
touch -d '2021-02-02 02:02:02' b/p/__init__.py
for side in a b; do (cd $side && python3 -m zipfile -c ../$side.whl p); done
";
    sandbox.sh(script).success();
    let run = sandbox.run(["diff", "a.whl", "b.whl"]).status(1);
    for text in [
        "differs: `a.whl` and `b.whl`",
        "`p/_p.so`: content (elf,",
        "section .rodata: ",
        "`p/only_a.py`: only in `a.whl`",
        "`p/only_b.py`: only in `b.whl`",
        "`p/__init__.py`: mode 644 / 755",
        "`p/__init__.py`: time 2020-02-02T02:02:02 / 2021-02-02T02:02:02",
        "for the rest: diffoscope 'a.whl' 'b.whl'",
    ] {
        assert!(run.stdout.contains(text), "no `{text}` in\n{run}");
    }
    assert!(!run.stdout.contains(".text:"), "the code is the same: {run}");
    // Their unpacked trees, and single files, are compared in the same way.
    sandbox.run(["diff", "a", "b"]).status(1);
    let run = sandbox.run(["--json", "diff", "a/p/_p.so", "b/p/_p.so"]).status(1);
    let values = &run.events()[0]["changes"][0]["content"]["values"];
    assert_eq!(values["a"][0], "built in /somewhere", "{run}");
    assert_eq!(sandbox.run(["diff", "a.whl", "a.whl"]).success().stderr, "");
}
