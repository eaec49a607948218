//! `reproduce`: a project that is the same under everything that is varied; one in which every file
//! has a planted difference (`fixtures/planted`), each found with its cause; and the article's
//! project with an extension module in C.

use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

use crate::proving::project;
use crate::sandbox::{Run, Sandbox, copy_tree};

fn report(run: &Run) -> Value {
    run.events().remove(0)
}

/// Returns whether this machine can vary this condition in the second build.
fn is_varied(report: &Value, cause: &str) -> bool {
    let offers = report["variations"].as_array().unwrap();
    let offer = offers.iter().find(|offer| offer["cause"] == cause);
    offer.unwrap_or_else(|| panic!("`{cause}` is not listed"))["varied"] == true
}

fn zip<'a>(report: &'a Value, target: &str) -> &'a Value {
    let zips = report["zips"].as_array().unwrap();
    zips.iter().find(|zip| zip["target"] == target).unwrap()
}

fn cause<'a>(zip: &'a Value, path: &str) -> Option<&'a str> {
    let findings = zip["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["path"] == path)?;
    found["cause"].as_str()
}

/// Returns one run with every planted difference, shared by all its tests.
fn planted() -> &'static (Sandbox, Value) {
    static PLANTED: OnceLock<(Sandbox, Value)> = OnceLock::new();
    PLANTED.get_or_init(|| {
        let sandbox = Sandbox::new();
        sandbox.fixture("planted");
        let run = sandbox.run(["--json", "reproduce", "all"]).status(1);
        let report = report(&run);
        (sandbox, report)
    })
}

/// Asserts that a file of the planted project is found with this cause, if it can be varied here.
#[track_caller]
fn is_found(file: &str, expected: &str) {
    let report = &planted().1;
    let found = cause(zip(report, "package"), &format!("gen/{file}.txt"));
    let by_itself = ["clock", "random", "order"].contains(&expected);
    let expected = (by_itself || is_varied(report, expected)).then_some(expected);
    assert_eq!(found, expected, "{file} in {report:#}");
}

#[test]
fn a_planted_clock_is_found() {
    is_found("clock", "clock");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_planted_uuid_is_found() {
    is_found("uuid", "random");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_planted_order_of_threads_is_found() {
    is_found("threads", "order");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_planted_path_of_the_build_is_found() {
    is_found("path", "path");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_planted_host_name_is_found() {
    is_found("host", "hostname");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_planted_umask_is_found() {
    is_found("umask", "umask");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_planted_order_of_a_set_is_found() {
    is_found("hash", "hash-seed");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn planted_folders_of_the_user_are_found() {
    is_found("home", "home");
    is_found("temporary", "tmpdir");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn planted_habits_of_a_country_are_found() {
    is_found("zone", "time-zone");
    is_found("locale", "locale");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn planted_properties_of_the_machine_are_found() {
    is_found("cpus", "cpus");
    is_found("listing", "file-order");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn what_two_things_at_once_change_is_of_unknown_cause() {
    let (sandbox, report) = planted();
    let (package, unexplained) = (zip(report, "package"), zip(report, "unexplained"));
    assert_eq!(unexplained["verdict"], "differs-cause-unknown", "{report:#}");
    assert_eq!(cause(unexplained, "both/both.txt"), Some("unknown"));
    assert_eq!(report["verdict"], "differs-cause-unknown", "the worst of both");
    assert_eq!(package["verdict"], "differs-cause-known");
    let varied = report["variations"].as_array().unwrap().len();
    assert!(report["builds"].as_u64().unwrap() <= varied as u64 + 2, "{report:#}");
    assert!(!sandbox.exists("build") && !sandbox.exists("gen"), "the project itself is not built");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn what_differs_is_kept_with_both_values() {
    let (sandbox, report) = planted();
    let zip = zip(report, "package");
    assert_eq!(cause(zip, "handler.py"), None);
    let changes = zip["difference"]["changes"].as_array().unwrap();
    let path = changes.iter().find(|change| change["path"] == "gen/path.txt").unwrap();
    let value = |side: &str| path["content"]["values"][side][0].as_str().unwrap().to_owned();
    assert!(value("a").ends_with("/project") && value("b").ends_with("/project"), "{path}");
    assert_ne!(value("a"), value("b"));
    let kept = |at: usize| zip["kept"][at].as_str().unwrap();
    assert_eq!(sandbox.run(["digest", kept(0)]).success().stdout.trim(), zip["code_sha256"]);
    let diff = sandbox.run(["diff", kept(0), kept(1)]).status(1);
    assert!(diff.stdout.contains("built at"), "{diff}");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn what_a_package_writes_into_its_wheel_is_found_and_what_the_recipe_cures_is_not_there() {
    let sandbox = Sandbox::new();
    sandbox.fixture("planted");
    let run = sandbox.run(["--json", "reproduce", "from-source"]).status(1);
    let report = report(&run);
    let zip = zip(&report, "from-source");
    assert_eq!(zip["verdict"], "differs-cause-known", "{run}");
    assert_eq!(zip["inputs"].as_array().unwrap().len(), 0, "{run}");
    for (file, expected) in [
        ("planted/clock.py", Some("clock")),
        ("planted/generated.py", Some("clock")),
        ("planted/uuid.py", Some("random")),
        ("planted/threads.txt", Some("order")),
        ("planted-1.0.dist-info/RECORD", Some("follows")),
        ("planted/path.py", None),
        ("planted/umask.py", None),
    ] {
        assert_eq!(cause(zip, file), expected, "{file} in {run}");
    }
    let findings = zip["findings"].as_array().unwrap();
    let wheel = "planted-1.0-py3-none-any.whl";
    assert!(findings.iter().all(|finding| finding["origin"]["wheel"] == wheel), "{run}");
}

#[test]
fn a_project_that_holds_is_identical() {
    let sandbox = project();
    let run = sandbox.run(["--json", "reproduce"]).success();
    let report = report(&run);
    assert_eq!(report["verdict"], "identical", "{run}");
    assert_eq!(report["builds"], 2);
    for cause in ["path", "home", "tmpdir", "umask", "time-zone", "locale", "hash-seed", "clock"] {
        assert!(is_varied(&report, cause), "{cause} in {run}");
    }
    for cause in ["hostname", "cpus", "file-order"] {
        is_varied(&report, cause);
    }
    assert!(!sandbox.exists("build"), "the project itself is not built");
}

/// Writes wheels. `differs` changes in the second build, which has another umask.
const WHEEL: &str = "import base64, hashlib, os, zipfile
differs = os.umask(0o022) == 0o077
def wheel(name, version, module, text, level):
    info = '%s-%s.dist-info/' % (name, version)
    members = {
        module: text,
        info + 'METADATA': 'Metadata-Version: 2.1\\nName: %s\\nVersion: %s\\n' % (name, version),
        info + 'WHEEL': 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
    }
    record = ''
    for member, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=')
        record += '%s,sha256=%s,%d\\n' % (member, digest.decode(), len(text))
    members[info + 'RECORD'] = record + info + 'RECORD,,\\n'
    os.makedirs('made', exist_ok=True)
    place = 'made/%s-%s-py3-none-any.whl' % (name, version)
    with zipfile.ZipFile(place, 'w', zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for member, text in members.items():
            archive.writestr(member, text)
";
const READY_MADE: &str = "
text = ''.join('LINE_%d = %d\\n' % (i, i * i) for i in range(999))
wheel('thing', '1.0', 'thing.py', text, 1 if differs else 9)
";
const HELPER: &str = "
version = '2.0' if differs else '1.0'
wheel('helper_of_builds', version, 'helper.py', 'VERSION = %r\\n' % version, 9)
";

/// A ready-made wheel is used with its compression, which differs each time here.
#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn the_same_files_in_another_container_are_told_apart_from_others() {
    let sandbox = Sandbox::with(
        "[target.make]\nkind = \"command\"\noutputs = [\"made/thing-1.0-py3-none-any.whl\"]\n\
         run = [\"python3\", \"make.py\"]\n\
         [target.wheels]\nkind = \"wheelhouse\"\nneeds = [\"make\"]\n\
         requirements = [\"requirements.txt\"]\n\
         [target.staging]\nkind = \"staging\"\nwheels = [\"wheels\"]\n\
         [target.package]\nkind = \"zip\"\nstaging = \"staging\"\noutput = \"lambda.zip\"\n",
    );
    sandbox.write("make.py", [WHEEL, READY_MADE].concat());
    sandbox.write("requirements.txt", "./made/thing-1.0-py3-none-any.whl\n");
    let run = sandbox.run(["--json", "reproduce", "package"]).status(1);
    let report = report(&run);
    assert_eq!(report["verdict"], "same-files", "{run}");
    assert_eq!(report["builds"], 2, "there is no cause to look for");
    let changes = zip(&report, "package")["difference"]["changes"].as_array().unwrap();
    assert!(changes.iter().any(|change| change["what"] == "compression"), "{run}");
    let record = |number: u8| -> Value {
        let path = format!(".zipwright/reproduce/package.{number}.zip.record.json");
        serde_json::from_str(&sandbox.read(&path)).unwrap()
    };
    let (one, two) = (record(1), record(2));
    assert_ne!(one["zip"]["code_sha256"], two["zip"]["code_sha256"]);
    assert_eq!(one["content"]["digest"], two["content"]["digest"], "another compressor, no more");
    let run = sandbox.run(["reproduce", "package"]).status(1);
    assert!(run.stdout.starts_with("same files in another container"), "{run}");
}

/// The build requirement of a package is another version each time, as after a new release.
#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn other_inputs_of_a_build_are_said_first() {
    let sandbox = Sandbox::with(
        "[target.make]\nkind = \"command\"\nphony = true\nrun = [\"python3\", \"make.py\"]\n\
         [target.wheels]\nkind = \"wheelhouse\"\nneeds = [\"make\"]\n\
         requirements = [\"requirements.txt\"]\nprojects = [\"package\"]\n\
         [target.staging]\nkind = \"staging\"\nwheels = [\"wheels\"]\n\
         [target.package]\nkind = \"zip\"\nstaging = \"staging\"\noutput = \"lambda.zip\"\n",
    );
    sandbox.write("make.py", [WHEEL, HELPER].concat());
    sandbox.write("requirements.txt", "--find-links made\n");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/greeting");
    copy_tree(&fixture, &sandbox.path("package"));
    let project = sandbox.read("package/pyproject.toml");
    let project = project.replace("requires = []", "requires = [\"helper-of-builds\"]");
    assert!(project.contains("helper-of-builds"));
    sandbox.write("package/pyproject.toml", project);
    let backend = sandbox.read("package/backend/backend.py");
    let backend = backend.replace("Generator: fixture", "Generator: {helper.VERSION}");
    sandbox.write(
        "package/backend/backend.py",
        backend.replace("import zipfile", "import zipfile\nimport helper"),
    );
    let run = sandbox.run(["reproduce", "package"]).status(1);
    let said = run.stdout.lines().nth(1).unwrap();
    for text in [
        "package: the builds of `greeting` did not have the same inputs",
        ": helper_of_builds-1.0-py3-none-any.whl (",
        " / helper_of_builds-2.0-py3-none-any.whl (",
    ] {
        assert!(said.contains(text), "no `{text}` in\n{run}");
    }
}

#[test]
fn a_report_says_what_differs_why_and_what_to_do() {
    let sandbox = Sandbox::new();
    sandbox.fixture("planted");
    let only = sandbox.read("Buildfile").replace("\"gen/*.txt\"", "\"gen/path.txt\"");
    sandbox.write("Buildfile", only);
    let run = sandbox.run(["reproduce", "package"]).status(1);
    for text in [
        "differs, cause known",
        "package: `gen/path.txt`",
        "build 2: /",
        "cause: it changes with the folder of the build",
        "advice: write paths relative to the project",
        "varied, in 4 builds:",
        "time: at least two seconds later",
        "diffoscope '.zipwright/reproduce/package.1.zip'",
    ] {
        assert!(run.stdout.contains(text), "no `{text}` in\n{run}");
    }
}

#[test]
fn what_cannot_be_built_or_compared_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.fixture("planted").remove("threads.py");
    sandbox.run(["reproduce", "clock"]).failure().stderr_has("no zip is made");
    sandbox.run(["reproduce"]).failure().stderr_has("build 1 failed").stderr_has("threads.py");
}

const NATIVE: &str = r#"
default = ["package"]

[target.wheels]
kind = "wheelhouse"
requirements = ["requirements.txt"]
projects = [".", "native"]

[target.staging]
kind = "staging"
wheels = ["wheels"]
sources = ["lambda_handler.py"]

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"

[target.invoke]
kind = "invoke"
local = true
zip = "package"
handler = "lambda_handler.handler"
payload = "example-payload.json"
"#;

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn the_articles_project_with_a_module_in_c_is_identical_and_runs_from_the_zip() {
    let sandbox = Sandbox::with(NATIVE);
    sandbox.fixture("article");
    let native = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/backends/setuptools");
    copy_tree(&native, &sandbox.path("native"));
    let handler = sandbox.read("lambda_handler.py");
    let handler = handler.replace("from greetings import greet", "from by_setuptools import greet");
    sandbox.write("lambda_handler.py", handler);
    let digest = || {
        let run = sandbox.run(["--json", "reproduce"]).success();
        let report = report(&run);
        assert_eq!(report["verdict"], "identical", "{run}");
        zip(&report, "package")["code_sha256"].as_str().unwrap().to_owned()
    };
    let first = digest();
    assert_eq!(digest(), first);
    let run = sandbox.run(["--json"]).success();
    assert_eq!(run.target("package")["code_sha256"], first.as_str());
    let run = sandbox.run(["invoke"]).success();
    assert!(run.stdout.contains("Hello, World!"), "{run}");
    says_what_built_it(&sandbox);
}

/// Asserts that the build record has the build of the module in C, and distinguishes it from
/// downloads.
#[track_caller]
fn says_what_built_it(sandbox: &Sandbox) {
    let record: Value =
        serde_json::from_str(&sandbox.read("build/lambda.zip.record.json")).unwrap();
    let informative = &record["informative"];
    let wheels = informative["wheels"].as_array().unwrap();
    let way = |start: &str| {
        let is_it = |pair: &&Value| pair[0].as_str().unwrap().starts_with(start);
        wheels.iter().find(is_it).unwrap()[1].as_str().unwrap().to_owned()
    };
    assert_eq!((way("by_setuptools-"), way("idna-")), ("built".into(), "downloaded".into()));
    let builds = informative["builds"].as_array().unwrap();
    let is_it = |build: &&Value| build["wheel"].as_str().unwrap().starts_with("by_setuptools-");
    let build = builds.iter().find(is_it).unwrap();
    let requires = build["requires"].as_array().unwrap();
    let setuptools =
        requires.iter().find(|one| one["file"] == "setuptools-80.9.0-py3-none-any.whl");
    assert_eq!(setuptools.unwrap()["sha256"].as_str().unwrap().len(), 64);
    let tools = build["tools"].as_array().unwrap();
    assert!(tools.iter().any(|tool| tool[0] == "cc"), "{build:#}");
    assert!(informative["pip"][0][1].as_str().unwrap().contains('.'), "{informative:#}");
    assert!(builds.iter().all(|build| !build["wheel"].as_str().unwrap().starts_with("idna-")));
}
