//! Mistakes of users outside the meaning of a Buildfile (`tests/buildfiles/` has those): each is
//! one error that names the place and the way out, and leaves no half-written file.

use crate::sandbox::Sandbox;

const COPY: &str = r#"
[target.copy]
kind = "command"
outputs = ["build/out"]
shell = "echo one > build/out"
"#;

const BUNDLE: &str = r#"
default = ["package"]
[target.staging]
kind = "staging"
sources = ["app.py"]
[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
"#;

fn bundle() -> Sandbox {
    let sandbox = Sandbox::with(BUNDLE);
    sandbox.write("app.py", "");
    sandbox
}

#[test]
fn a_virtual_environment_among_sources_is_one_error_with_the_way_out() {
    let sandbox = bundle();
    sandbox.write(".venv/pyvenv.cfg", "home = /usr/bin\n");
    sandbox.write(".venv/lib/python3.13/site-packages/six.py", "");
    sandbox.sh("ln -s lib .venv/lib64; mkdir .venv/bin; ln -s /bin/sh .venv/bin/python").success();
    for pattern in [".", "**/*.py", "**"] {
        let line = format!("sources = [\"{pattern}\"]\nexclude = [\"build\", \"Buildfile\"]");
        let buildfile = BUNDLE.replace("sources = [\"app.py\"]", &line);
        sandbox.write("Buildfile", &buildfile);
        sandbox
            .run([])
            .failure()
            .stderr_has(&format!("source `{pattern}` has the virtual environment `.venv`"))
            .stderr_has("add `exclude = [\".venv\"]`")
            .stderr_lacks("lib64");
        sandbox.write("Buildfile", buildfile.replace("[\"build\"", "[\".venv\", \"build\""));
        sandbox.run([]).success();
    }
    let own = "sources = [{ from = \".venv/lib/python3.13/site-packages\", to = \".\" }]";
    sandbox.write("Buildfile", BUNDLE.replace("sources = [\"app.py\"]", own));
    sandbox.run([]).success();
    sandbox.write("Buildfile", BUNDLE.replace("sources = [\"app.py\"]", "sources = [\".venv\"]"));
    sandbox.run([]).failure().stderr_has("virtual environment `.venv`: remove it from `sources`");
}

#[test]
fn a_buildfile_that_cannot_be_read_is_named_with_its_line() {
    let sandbox = Sandbox::new();
    sandbox.run([]).failure().stderr_has("there is no `Buildfile` in ");
    sandbox.write("Buildfile", b"# a\n# caf\xe9\n");
    sandbox.run([]).failure().stderr_has("`Buildfile` line 2 is not UTF-8; save the file as UTF-8");
    sandbox.write("Buildfile", "");
    sandbox.run([]).failure().stderr_has("the Buildfile has no target; docs/BUILDFILE.md");
    sandbox.write("folder/x", "");
    sandbox.run(["-f", "folder"]).failure().stderr_has("`folder` is a folder; name the file");
    sandbox.write("Buildfile", "default = [\"x\"]\n");
    sandbox.run([]).failure().stderr_has("there are no targets; `[target.NAME]` starts one");
    assert!(!sandbox.exists(".zipwright"));
}

#[test]
fn thousands_of_mistakes_are_counted_and_the_first_are_shown() {
    let keys: String = (0..20_000).map(|number| format!("x{number} = 1\n")).collect();
    let sandbox = Sandbox::with(&keys);
    let run = sandbox.run([]).failure().stderr_has("… and 19950 more");
    assert!(run.stderr.lines().count() < 500, "{} lines", run.stderr.lines().count());
    let sandbox = Sandbox::with(&format!("x = {}\n", "[".repeat(20_000)));
    sandbox.run([]).failure().stderr_has("3 mistakes").stderr_has("this array has no end");
}

#[test]
fn words_that_are_no_goal_and_no_option_get_a_hint() {
    let sandbox = Sandbox::with(COPY);
    sandbox.run(["lst"]).failure().stderr_has("there is no target `lst`; did you mean `list`?");
    let expected = "there is no target `check`; add one of kind `check`, or name a zip";
    sandbox.run(["check"]).failure().stderr_has(expected);
    sandbox
        .run(["build", "list"])
        .failure()
        .stderr_has("`list`; `zipwright list` shows what there is");
    sandbox.run(["cpoy"]).failure().stderr_has("did you mean `copy`?");
    sandbox.run(["build", "nope"]).failure().stderr_has("`zipwright list` shows what there is");
    sandbox.run(["a=1"]).failure().stderr_has("declare it: `a = \"…\"` in `[vars]`");
    sandbox.run(["=1"]).failure().stderr_has("`=` names no variable");
    sandbox.run(["-j0"]).failure().stderr_has("it takes a number from 1");
    sandbox.run(["digest", "copy"]).failure().stderr_has("`copy` is of kind `command`; only a zip");
    sandbox.run(["-C", "nowhere"]).failure().stderr_has("could not change to `nowhere`");
    assert!(!sandbox.exists(".zipwright"));
}

#[test]
fn what_lies_where_an_output_goes_is_named_and_stays() {
    let sandbox = bundle();
    sandbox.write("build/lambda.zip/mine", "kept");
    sandbox.run([]).failure().stderr_has("build/lambda.zip`, a folder: move it away");
    assert_eq!(sandbox.read("build/lambda.zip/mine"), "kept");

    let sandbox = bundle();
    sandbox.write("build", "kept");
    sandbox.run([]).failure().stderr_has("build` is not a folder: move it away");
    assert_eq!(sandbox.read("build"), "kept");
}

#[test]
fn a_command_without_its_folder_or_program_is_told_apart() {
    let sandbox = Sandbox::with(
        r#"
        [target.folder]
        kind = "command"
        run = ["true"]
        directory = "nowhere"
        [target.program]
        kind = "command"
        run = ["no-such-program"]
        "#,
    );
    sandbox.run(["folder"]).failure().stderr_has("nowhere`, which is not a folder");
    sandbox.run(["program"]).failure().stderr_has("there is no program `no-such-program`");
}

#[test]
fn a_python_that_is_none_or_missing_is_named_in_a_few_lines() {
    let wheels = |python: &str| {
        let sandbox = Sandbox::with(&format!(
            "[target.wheels]\nkind = \"wheelhouse\"\nrequirements = [\"r.txt\"]\npython = \"{python}\"\n"
        ));
        sandbox.write("r.txt", "");
        sandbox.run([]).failure()
    };
    wheels("python3.99").stderr_has("there is no interpreter `python3.99` on PATH: set `python`");
    let run = wheels("ls").stderr_has("the interpreter `ls` does not run (exit status 2)");
    let run = run.stderr_has("set `python` to a Python that has pip");
    assert!(run.stderr.lines().all(|line| line.len() < 300), "{run}");
    wheels(".venv/bin/python")
        .stderr_has("create the virtual environment (`python3 -m venv .venv`)");
    wheels("..")
        .stderr_has("the interpreter `..` is a folder: set `python` to a Python that has pip");
}

#[test]
fn a_shim_without_a_version_is_shown_with_its_own_reason() {
    let sandbox = Sandbox::with(
        "[target.wheels]\nkind = \"wheelhouse\"\nrequirements = [\"r.txt\"]\npython = \"./python3\"\n",
    );
    let shim = "#!/bin/sh\ncat >&2 <<E\npyenv: python3: command not found\n\n\
                The \\`python3' command exists in these Python versions:\n  3.13.0\n\n\
                Note: See 'pyenv help global' for tips.\nE\nexit 127\n";
    sandbox.write("r.txt", "").write("python3", shim).chmod("python3", 0o755);
    sandbox.run([]).failure().stderr_has(
        "the interpreter `./python3` does not run (exit status 127): pyenv: python3: command not found\n\
         \x20 The `python3' command exists in these Python versions:\n\
         \x20   3.13.0\n",
    );
}

#[test]
fn endpoints_that_are_no_urls_are_named_and_end_the_upload() {
    let upload = "[target.upload]\nkind = \"upload\"\nzip = \"package\"\nfunction = \"hello\"\n";
    for (url, expected) in [
        ("", "AWS_ENDPOINT_URL is set, but empty: unset it"),
        ("127.0.0.1:9", "AWS_ENDPOINT_URL is `127.0.0.1:9`, which is not a URL"),
    ] {
        let mut sandbox = bundle();
        sandbox.write("Buildfile", format!("{BUNDLE}{upload}"));
        sandbox.set("AWS_REGION", "eu-west-1");
        sandbox.set("AWS_ENDPOINT_URL", url);
        sandbox.run(["upload"]).failure().stderr_has(expected);
        assert!(!sandbox.exists("build/upload.stamp"));
    }
}
