//! The JSON Schema of Buildfiles, by a validator of another project, beside the parser.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::emulators;
use crate::sandbox::{Run, Sandbox};

/// The samples with mistakes that the schema accepts; `zipwright lint` refuses them.
const ACCEPTED: [&str; 45] = [
    // Relations of targets.
    "cycle",
    "cycle-by-files",
    "cycle-by-order-alone",
    "cycle-of-one",
    "cycle-of-one-by-file",
    "cycle-through-a-local-invoke",
    "cycles-apart",
    "cycles-that-share-targets",
    "layers-of-the-wrong-kind",
    "output-inside-output",
    "same-output",
    "same-output-by-default",
    "same-output-in-one-target",
    "stamp-is-an-output",
    "unknown-target",
    "unknown-target-in-every-place",
    "unknown-target-not-near",
    "which-function",
    "wrong-kind-and-no-right-one",
    "wrong-kind-of-target",
    // References to variables.
    "path-leaves-project-by-variable",
    "unknown-variable",
    "unknown-variable-in-script",
    "variable-refers-to-variable",
    // Keys whose meaning depends on the value of another one.
    "invoke-in-the-wrong-place",
    "local-invoke-called-as-on-aws",
    "many-files-to-one-path",
    "service-keys-without-a-service",
    "service-with-keys-of-others",
    "stamp-of-a-command-with-one-output",
    "stamp-of-a-phony-command",
    // The text of a path, glob, instant or name, and values without a form in JSON.
    "bad-environment-name",
    "bad-glob",
    "bad-instant",
    "control-character-in-path",
    "glob-climbs-after-wildcard",
    "glob-leaves-project",
    "instant-not-in-zip",
    "instant-without-offset",
    "locks-of-other-tools",
    "output-among-the-records",
    "output-is-the-project",
    "own-build-variable",
    "path-leaves-project",
    "payload-that-json-cannot-say",
];

/// Prints the names of the files that the schema accepts, and after `!` those that are not TOML.
const VALIDATOR: &str = r#"
import datetime, json, sys, tomllib
from jsonschema import Draft7Validator

def plain(value):
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [plain(member) for member in value]
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    return value

schema = json.load(open(sys.argv[1]))
Draft7Validator.check_schema(schema)
validator = Draft7Validator(schema)
for path in sys.argv[2:]:
    try:
        value = plain(tomllib.load(open(path, "rb")))
    except tomllib.TOMLDecodeError:
        print("!" + path)
    else:
        errors = list(validator.iter_errors(value))
        print(("-" if errors else "+") + path)
"#;

fn samples(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter();
    let files = files.map(|entry| entry.unwrap().into_path());
    files.filter(|path| path.is_file() && path.to_str().unwrap().ends_with(extension)).collect()
}

#[test]
fn the_schema_and_the_parser_agree_on_every_sample() {
    let sandbox = Sandbox::new();
    let schema = sandbox.run(["schema"]).success().stdout;
    sandbox.write("schema.json", &schema).write("validate.py", VALIDATOR);
    let tools = emulators::install_python("jsonschema", "jsonschema==4.23.0");
    let verdicts = |files: &[PathBuf]| {
        let mut command = sandbox.program(tools.join("bin/python"));
        let run = Run::of(command.args(["validate.py", "schema.json"]).args(files)).success();
        let lines = run.stdout.lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines.len(), files.len());
        lines
    };
    let mut valid = samples("fixtures", "Buildfile");
    valid.extend(samples("tests/buildfiles/valid", ".toml"));
    valid.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("Buildfile.example"));
    assert!(valid.len() >= 4, "{valid:?}");
    for (file, verdict) in valid.iter().zip(verdicts(&valid)) {
        assert!(verdict.starts_with('+'), "the schema refuses {}", file.display());
        Run::of(sandbox.zipwright().arg("lint").arg(file)).success();
    }
    // The examples of the manual are parts of Buildfiles.
    let page = include_str!("../../docs/BUILDFILE.md");
    let examples = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let files = examples.enumerate().map(|(number, text)| {
        sandbox.write(&format!("{number}.toml"), text);
        sandbox.path(&format!("{number}.toml"))
    });
    let files: Vec<PathBuf> = files.collect();
    assert!(files.len() >= 9);
    assert!(verdicts(&files).iter().all(|verdict| verdict.starts_with('+')));
    let invalid = samples("tests/buildfiles/invalid", ".toml");
    let accepted: BTreeSet<String> = invalid
        .iter()
        .zip(verdicts(&invalid))
        .filter(|(_, verdict)| verdict.starts_with('+'))
        .map(|(file, _)| file.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(accepted, ACCEPTED.map(str::to_owned).into());
}

/// The words of the parser are in the schema, so an editor completes them.
#[test]
fn the_schema_has_kinds_keys_and_descriptions() {
    let sandbox = Sandbox::new();
    let schema = sandbox.run(["schema"]).success().stdout;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let zip = &schema["definitions"]["zip"]["properties"];
    let description = zip["compression"]["description"].as_str().unwrap();
    assert!(description.starts_with("`\"keep\"`: members of wheels"), "{description}");
    assert!(!sandbox.exists(".zipwright"));
    sandbox.run(["schema", "--write"]).success().stderr_has("buildfile.schema.json`");
    let written = sandbox.read(".zipwright/buildfile.schema.json");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), schema);
    assert_eq!(sandbox.read(".zipwright/.gitignore"), "*\n");
}
