//! `zipwright init` on projects of many shapes. Of each, the command that its last lines name is run.

use std::collections::BTreeSet;
use std::path::Path;

use crate::emulators;
use crate::sandbox::{Run, Sandbox};

const HANDLER: &str = "import idna\n\n\ndef lambda_handler(event, context):\n    return idna.encode(event['domain']).decode()\n";
const PLAIN: &str = "def handler(event, context):\n    return event\n";

/// Runs init, and then the command that it names first; the members of the only zip, without those
/// of wheels' own metadata.
#[track_caller]
fn next(sandbox: &Sandbox) -> BTreeSet<String> {
    let init = sandbox.run(["init"]).success();
    let line = init.stdout.lines().find_map(|line| line.strip_prefix("next: ")).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_zipwright")).parent().unwrap().display();
    sandbox.sh(&format!("PATH='{binary}':$PATH; {line}")).success();
    members(sandbox, "build/lambda.zip")
}

fn members(sandbox: &Sandbox, zip: &str) -> BTreeSet<String> {
    let script = format!(
        "python3 -c \"import zipfile; print(*zipfile.ZipFile('{zip}').namelist(), sep='\\n')\""
    );
    let run = sandbox.sh(&script).success();
    let names =
        run.stdout.lines().filter(|name| !name.ends_with('/') && !name.contains(".dist-info/"));
    names.map(str::to_owned).collect()
}

fn own(members: &BTreeSet<String>) -> Vec<&str> {
    members.iter().map(String::as_str).filter(|name| !name.starts_with("idna/")).collect()
}

fn pyproject(backend: &str, requires: &str) -> String {
    format!(
        "[build-system]\nrequires = [\"{requires}\"]\nbuild-backend = \"{backend}\"\n\n\
         [project]\nname = \"my-app\"\nversion = \"1.0\"\ndependencies = [\"idna==3.10\"]\n"
    )
}

/// Of the flat project.
const REPORT: &str = "\
wrote `Buildfile`
  handler       lambda_handler.lambda_handler     `lambda_handler.py`, line 6
  function      project                           a guess: correct it before `zipwright upload`
  requirements  requirements.txt                  a file of this name
  schema        .zipwright/buildfile.schema.json  for editors
  ignored       .zipwright/                       `.gitignore`
next: zipwright   # makes build/lambda.zip
then: zipwright invoke --local   # runs the handler on this machine
then: zipwright upload   # deploys
";

/// Of the flat project.
const BUILDFILE: &str = r#"#:schema .zipwright/buildfile.schema.json
# docs/BUILDFILE.md describes every key; `zipwright list` lists the targets.
default = ["package"]

[vars]
function = "project"  # a guess: the function's name in Lambda

[target.wheels]
kind = "wheelhouse"
requirements = ["requirements.txt"]
# `zipwright lock` pins them: for `lock = "pylock.toml"` instead.
# Without the function's runtime, wheels are for this machine:
# platform = { python = "3.13", arch = "arm64" }

[target.staging]
kind = "staging"
wheels = ["wheels"]
# The handler and the modules that it imports. Add files that it opens.
sources = ["helper.py", "lambda_handler.py", "prices.py", "shop"]
exclude = ["shop/tests"]

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"

[target.upload]
kind = "upload"
zip = "package"
function = "{function}"

# `zipwright invoke --local` runs the handler on this machine.
[target.invoke]
kind = "invoke"
upload = "upload"
handler = "lambda_handler.lambda_handler"
payload = "event.json"
"#;

#[test]
fn a_flat_project_has_its_handler_and_the_modules_that_it_imports() {
    let sandbox = Sandbox::new();
    sandbox
        .write("lambda_handler.py", format!("import helper\nfrom shop import cart\n{HANDLER}"))
        .write("helper.py", "import idna\n")
        .write("shop/__init__.py", "")
        .write("shop/cart.py", "import prices\n")
        .write("shop/tests/test_cart.py", "")
        .write("shop/data.json", "{}")
        .write("prices.py", "")
        .write("unrelated.py", "")
        .write("test_helper.py", "def handler(event, context): ...\n")
        .write("tests/events.py", "def handler(event, context): ...\n")
        .write("venv/pyvenv.cfg", "")
        .write("venv/lib/site.py", PLAIN)
        .write("requirements.txt", "idna==3.10\n")
        .write("requirements-dev.txt", "pytest\n")
        .write("event.json", "{\"domain\": \"a\"}")
        .write(".gitignore", "*.pyc\n/build");
    let run = sandbox.run(["init"]).success();
    assert_eq!(run.stdout, REPORT);
    assert_eq!(sandbox.read("Buildfile"), BUILDFILE);
    assert_eq!(sandbox.read(".gitignore"), "*.pyc\n/build\n.zipwright/\n");
    sandbox.remove("Buildfile");
    let members = next(&sandbox);
    let expected = [
        "helper.py",
        "lambda_handler.py",
        "prices.py",
        "shop/__init__.py",
        "shop/cart.py",
        "shop/data.json",
    ];
    assert_eq!(own(&members), expected);
    assert!(members.contains("idna/core.py"));
}

#[test]
fn nothing_is_overwritten_and_print_writes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("app.py", PLAIN).write(".gitignore", "");
    let run = sandbox.run(["init", "--print"]).success();
    assert!(run.stdout.contains("\nsources = [\"app.py\"]\n"), "{run}");
    assert!(!sandbox.exists("Buildfile"));
    assert_eq!(sandbox.read(".gitignore"), "");
    sandbox.write("Buildfile", "mine");
    let run = sandbox.run(["init"]).failure();
    let expected = "error: there is a `Buildfile` already, and init overwrites nothing; `zipwright init \
                    --print` shows what it would write\n";
    assert_eq!(run.stderr, expected);
    assert_eq!(sandbox.read("Buildfile"), "mine");
    // Another file, and the facts of the command line.
    let run = sandbox
        .run([
            "init",
            "-f",
            "b.toml",
            "--function",
            "shop",
            "--runtime",
            "python3.13",
            "--arch",
            "arm64",
        ])
        .success();
    assert!(run.stdout.contains("next: zipwright -f b.toml   #"), "{run}");
    let text = sandbox.read("b.toml");
    assert!(
        text.contains("function = \"shop\"\n") && text.contains("runtime = \"python3.13\"\n"),
        "{text}"
    );
    sandbox.run(["-f", "b.toml"]).success();
}

#[test]
fn nothing_to_bundle_is_an_error_that_shows_what_to_give() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(["init"]).failure();
    assert!(run.stderr.starts_with("error: no handler in `"), "{run}");
    run.stderr_has("no Python file has a function `(event, context)`")
        .stderr_has("\nname it: `zipwright init --handler lambda_handler.handler`\n");
    sandbox.write("app.py", "def main(*arguments): ...\n");
    sandbox.run(["init"]).failure();
    sandbox.run(["init", "--handler", "ap.main"]).failure().stderr_has("there is no module `ap`");
    sandbox.run(["init", "--handler", "app.main"]).success();
    sandbox.run([]).success();
    assert_eq!(own(&members(&sandbox, "build/lambda.zip")), ["app.py"]);
}

/// A Buildfile has no other handlers.
#[test]
fn names_that_are_no_handlers_are_left_out_or_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("my func.py", PLAIN).write("-app.py", PLAIN);
    let run = sandbox.run(["init"]).failure();
    run.stderr_has(
        "note: `my func.py`, line 1: `my func.handler` was left out, as it is not a handler",
    )
    .stderr_has("note: `-app.py`, line 1: `-app.handler` was left out");
    sandbox.write("app.py", PLAIN).write("m/app.py", PLAIN);
    for handler in ["app.handler x", "app.", "app.{x}", "app"] {
        let run = sandbox.run(["init", &format!("--handler={handler}")]).failure();
        run.stderr_has(&format!("error: `{handler}` is not a handler; write module and function"));
    }
    sandbox
        .write("template.yaml", TEMPLATE.replace("app.lambda_handler", "app.h-x y"))
        .write("hello_world/app.py", PLAIN);
    let run = sandbox.run(["init", "--print"]).success();
    run.stderr_has("the function `Hello` was not taken over: `app.h-x y` is not a handler");
    sandbox.remove("template.yaml").write(
        "serverless.yml",
        "service: s\nprovider: {name: aws, runtime: python3.13}\nfunctions:\n  api: {handler: app.}\n",
    );
    let run = sandbox.run(["init", "--print"]).success();
    run.stderr_has("the function `api` was not taken over: `app.` is not a handler");
}

#[test]
fn files_that_cannot_be_read_are_named_with_the_reason() {
    let sandbox = Sandbox::new();
    sandbox.write("app.py", PLAIN).write("Makefile", "x.zip:\n\tzip -r x.zip app.py\n");
    sandbox.sh("chmod 0 app.py Makefile").success();
    if std::fs::File::open(sandbox.path("app.py")).is_ok() {
        return;
    }
    sandbox.run(["init"]).failure().stderr_has("`app.py` was not read: Permission denied");
    let run = sandbox.run(["import"]).failure();
    run.stderr_has("error: could not read `Makefile`: Permission denied");
}

#[test]
fn the_buildfile_of_the_project_around_a_folder_is_named() {
    let sandbox = Sandbox::with("");
    sandbox.write("src/deep/app.py", PLAIN);
    let run = sandbox.run(["-C", "src/deep"]).failure();
    run.stderr_has("\n`zipwright -C ../..` reads the one of the project around this folder\n");
}

#[test]
fn a_folder_of_code_becomes_the_root_of_the_bundle() {
    let sandbox = Sandbox::new();
    sandbox
        .write("src/app.py", format!("import lib.words\n{PLAIN}"))
        .write("src/lib/words.py", "")
        .write("src/lib/words.txt", "")
        .write("src/tests/test_app.py", PLAIN)
        .write("src/.venv/pyvenv.cfg", "");
    assert_eq!(own(&next(&sandbox)), ["app.py", "lib/words.py", "lib/words.txt"]);
}

#[test]
fn several_handlers_of_one_folder_share_a_bundle_and_those_of_several_do_not() {
    let sandbox = Sandbox::new();
    sandbox.write("api.py", PLAIN).write("worker.py", PLAIN);
    let members = next(&sandbox);
    assert_eq!(own(&members), ["api.py", "worker.py"]);
    let text = sandbox.read("Buildfile");
    assert!(text.contains("functions = [\"api\", \"worker\"]\n"), "{text}");

    let sandbox = Sandbox::new();
    sandbox.write("functions/orders/main.py", PLAIN).write("functions/users/main.py", PLAIN);
    sandbox.run(["init"]).success();
    sandbox.run([]).success();
    for name in ["orders", "users"] {
        let zip = format!("build/{name}.zip");
        assert_eq!(own(&self::members(&sandbox, &zip)), ["main.py"]);
    }
}

const TEMPLATE: &str = "
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.13, Architectures: [arm64], Timeout: 20}
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: hello
      CodeUri: hello_world/
      Handler: app.lambda_handler
";

#[test]
fn a_sam_template_has_handler_runtime_architecture_and_name() {
    let sandbox = Sandbox::new();
    sandbox
        .write("template.yaml", TEMPLATE)
        .write("hello_world/app.py", HANDLER)
        .write("hello_world/__init__.py", "")
        .write("hello_world/requirements.txt", "idna==3.10\n")
        .write("events/event.json", "{}")
        .write("tests/unit/test_handler.py", PLAIN);
    // The check of the bundle is one of the goals.
    let members = next(&sandbox);
    assert_eq!(own(&members), ["__init__.py", "app.py"]);
    let text = sandbox.read("Buildfile");
    for line in [
        "default = [\"package\", \"check\"]",
        "function = \"hello\"",
        "platform = { python = \"3.13\", arch = \"arm64\" }",
        "handler = \"app.lambda_handler\"",
        "payload = \"events/event.json\"",
        "timeout = 20",
    ] {
        assert!(text.lines().any(|other| other == line), "no `{line}` in\n{text}");
    }
}

#[test]
fn other_tools_are_read_too_and_what_is_left_out_is_named() {
    let sandbox = Sandbox::new();
    sandbox
        .write("src/__init__.py", "")
        .write("src/api.py", PLAIN)
        .write(
            "serverless.yml",
            "service: shop\nprovider: {name: aws, runtime: python3.13}\nfunctions:\n  api: {handler: \
             src/api.handler}\n  web: {handler: web.main, runtime: nodejs22.x}\n  gone: {handler: gone.main}\n",
        )
        .write("main.tf", "resource \"aws_lambda_function\" \"x\" {\n  handler = \"src.api.handler\"\n}\n");
    let run = sandbox.run(["init", "--print"]).success();
    let run = run
        .stderr_has("note: `serverless.yml`, line 5: the function `web` was not taken over: its runtime is nodejs22.x")
        .stderr_has("`gone` was not taken over: `the project` has no module for `gone.main`")
        .stderr_has("note: `main.tf`, line 1: not used, as `serverless.yml`, line 4 counts");
    assert!(run.stdout.contains("function = \"shop-dev-api\"\n"), "{run}");
    assert_eq!(own(&next(&sandbox)), ["src/__init__.py", "src/api.py"]);
    sandbox.remove("serverless.yml").remove("Buildfile");
    let run = sandbox.run(["init", "--json"]).success();
    let [report] = run.events().try_into().unwrap();
    assert_eq!(report["taken"][0]["from"], "`main.tf`, line 1");
    assert_eq!(report["next"][0], "zipwright");
}

#[test]
fn a_package_for_setuptools_is_built_and_its_handler_is_in_the_wheel() {
    let sandbox = Sandbox::new();
    sandbox
        .write("pyproject.toml", pyproject("setuptools.build_meta", "setuptools"))
        .write("src/my_app/__init__.py", "")
        .write("src/my_app/main.py", HANDLER);
    let members = next(&sandbox);
    assert_eq!(own(&members), ["my_app/__init__.py", "my_app/main.py"]);
    assert!(members.contains("idna/core.py"));
    let text = sandbox.read("Buildfile");
    assert!(text.contains("projects = [\".\"]\n") && !text.contains("sources"), "{text}");
    assert!(text.contains("handler = \"my_app.main.lambda_handler\"\n"), "{text}");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_setup_py_beside_a_handler_is_both() {
    let sandbox = Sandbox::new();
    sandbox.fixture("article");
    let members = next(&sandbox);
    assert_eq!(own(&members), ["greetings/__init__.py", "lambda_handler.py"]);
}

#[test]
fn dependencies_of_a_pyproject_that_is_not_built_are_taken() {
    let sandbox = Sandbox::new();
    let manifest = pyproject("", "").split_once("\n\n").unwrap().1.to_owned();
    sandbox.write("pyproject.toml", manifest).write("main.py", HANDLER).write("other.py", "");
    if Run::of(sandbox.program("python3").args(["-c", "import tomllib"])).code != Some(0) {
        return;
    }
    let members = next(&sandbox);
    assert_eq!(own(&members), ["main.py"]);
    assert!(members.contains("idna/core.py"));
}

#[test]
fn requirements_that_only_another_tool_reads_are_exported_by_it() {
    let exported = |sandbox: &Sandbox| {
        let run = sandbox.write("app.py", PLAIN).run(["init", "--print"]).success();
        let text = run.stdout.clone();
        let lines = text.lines().skip_while(|line| *line != "[target.requirements]").skip(1);
        let lines: Vec<String> =
            lines.take_while(|line| !line.is_empty()).map(str::to_owned).collect();
        (run, lines)
    };
    let pipenv = Sandbox::new();
    let (run, lines) = exported(pipenv.write("Pipfile", "[packages]\nidna = \"*\"\n"));
    let expected = [
        "kind = \"command\"",
        "inputs = [\"Pipfile.lock\"]",
        "outputs = [\"build/requirements.txt\"]",
        "shell = \"pipenv requirements > build/requirements.txt\"",
    ];
    assert_eq!(lines, expected);
    run.stderr_has("`Pipfile` is not locked: `pipenv lock` is needed before the first build");
    let (run, lines) = exported(pipenv.write("Pipfile.lock", "{}"));
    assert_eq!(lines, expected);
    run.stderr_lacks("not locked");
    let poetry = Sandbox::new();
    let manifest =
        "[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\npython = \"^3.9\"\n";
    let (_, lines) = exported(poetry.write("pyproject.toml", manifest));
    assert_eq!(lines, [""; 0]);
    let (run, lines) =
        exported(poetry.write("pyproject.toml", format!("{manifest}idna = \"^3\"\n")));
    assert_eq!(lines[3], "shell = \"poetry export > build/requirements.txt\"");
    run.stderr_has("`pyproject.toml` is not locked: `poetry lock` is needed");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn the_tools_of_other_locks_give_the_requirements() {
    for (package, file, text, lock) in [
        ("pipenv", "Pipfile", "[packages]\nidna = \"==3.10\"\n", "pipenv lock"),
        (
            "poetry poetry-plugin-export",
            "pyproject.toml",
            "[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\npython = \">=3.9\"\nidna = \"3.10\"\n\
             [[tool.poetry.source]]\nname = \"pypi-simple\"\nurl = \"https://pypi.org/simple/\"\n",
            "poetry lock",
        ),
    ] {
        let name = package.split(' ').next().unwrap();
        let tool = emulators::install_python(&format!("tool-{name}"), package).join("bin");
        let mut sandbox = Sandbox::new();
        let path = format!("{}:{}", tool.display(), std::env::var("PATH").unwrap());
        sandbox.set("PATH", path);
        sandbox.set("PIPENV_IGNORE_VIRTUALENVS", "1");
        if let Ok(certificates) = std::env::var("PIP_CERT") {
            sandbox.set("REQUESTS_CA_BUNDLE", certificates);
        }
        sandbox.write(file, text).write("src/app.py", HANDLER);
        sandbox.sh(lock).success();
        let members = next(&sandbox);
        assert_eq!(own(&members), ["app.py"]);
        assert!(members.contains("idna/core.py"));
    }
}

#[test]
fn a_broken_pyproject_is_an_error_with_its_line() {
    let sandbox = Sandbox::new();
    sandbox.write("app.py", PLAIN).write("pyproject.toml", "[project]\nname = \n");
    let run = sandbox.run(["init"]).failure();
    assert!(run.stderr.starts_with("error: `pyproject.toml` line 2 is not valid TOML: "), "{run}");
    assert!(!sandbox.exists("Buildfile"));
}

#[test]
fn links_that_are_not_followed_are_left_out() {
    let sandbox = Sandbox::new();
    sandbox.write("src/app.py", PLAIN).write("lib/x.py", "");
    sandbox.sh("ln -s ../lib src/linked; ln -s /etc/hostname src/host").success();
    assert_eq!(own(&next(&sandbox)), ["app.py"]);
}

/// Its build would fail: the back end finds no package, or several.
#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_project_without_a_package_gives_its_dependencies() {
    for (manifest, other) in [
        (pyproject("hatchling.build", "hatchling"), None),
        (pyproject("poetry.core.masonry.api", "poetry-core"), None),
        (pyproject("setuptools.build_meta", "setuptools"), Some("helper.py")),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("pyproject.toml", manifest).write("app.py", HANDLER);
        let mut expected = vec!["app.py"];
        if let Some(other) = other {
            sandbox.write(other, "X = 1\n");
            sandbox.write("app.py", format!("import helper\n{HANDLER}"));
            expected.push(other);
        }
        let members = next(&sandbox);
        assert_eq!(own(&members), expected);
        assert!(members.contains("idna/core.py"));
    }
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn packages_of_other_back_ends_are_built() {
    let poetry = "[build-system]\nrequires = [\"poetry-core\"]\nbuild-backend = \"poetry.core.masonry.api\"\n\n\
                  [tool.poetry]\nname = \"my-app\"\nversion = \"1.0\"\ndescription = \"\"\nauthors = []\n\n\
                  [tool.poetry.dependencies]\npython = \"^3.9\"\nidna = \"3.10\"\n";
    for (manifest, folder) in [
        (pyproject("hatchling.build", "hatchling"), "src/my_app"),
        (pyproject("hatchling.build", "hatchling"), "my_app"),
        (pyproject("uv_build", "uv_build"), "src/my_app"),
        (poetry.to_owned(), "my_app"),
    ] {
        let sandbox = Sandbox::new();
        sandbox
            .write("pyproject.toml", manifest)
            .write(&format!("{folder}/__init__.py"), "")
            .write(&format!("{folder}/main.py"), HANDLER);
        let members = next(&sandbox);
        assert_eq!(own(&members), ["my_app/__init__.py", "my_app/main.py"]);
        assert!(members.contains("idna/core.py"));
    }
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn the_versions_of_a_uv_lock_are_taken() {
    let mut sandbox = Sandbox::new();
    sandbox.set("UV_NATIVE_TLS", 1);
    sandbox.sh("python3 -m venv ../tools && ../tools/bin/pip install -q uv").success();
    let manifest = pyproject("", "").split_once("\n\n").unwrap().1.replace("idna==3.10", "idna");
    sandbox.write("pyproject.toml", manifest).write("main.py", HANDLER);
    let path = format!("PATH='{}':$PATH", sandbox.beside("tools/bin").display());
    sandbox.sh(&format!("{path}; uv lock -q --exclude-newer 2024-10-01")).success();
    sandbox.run(["init"]).success();
    let binary = env!("CARGO_BIN_EXE_zipwright");
    sandbox.sh(&format!("{path}; '{binary}'")).success();
    let version =
        "python3 -c \"import zipfile; print(*zipfile.ZipFile('build/lambda.zip').namelist())\"";
    let names = sandbox.sh(version).success().stdout;
    assert!(names.contains("idna-3.10.dist-info/"), "{names}");
}
