//! What a shell and an editor get: help, mistakes without a build, completions, manual pages.

use std::path::Path;

use crate::sandbox::{Run, Sandbox};

const BUILDFILE: &str = r#"
default = ["package"]
[vars]
stage = "dev"
[target.staging]
kind = "staging"
sources = ["a"]
[target.package]
kind = "zip"
description = "the bundle"
staging = "staging"
"#;

#[test]
fn without_a_buildfile_the_error_names_the_commands_that_write_one() {
    let sandbox = Sandbox::new();
    let run = sandbox.run([]).failure();
    let folder = sandbox.path("");
    let folder = folder.to_str().unwrap().trim_end_matches('/');
    let expected = format!(
        "error: there is no `Buildfile` in `{folder}`\n\
         `zipwright init` writes one from the files of a project; -C names another folder, -f another file\n"
    );
    assert_eq!(run.stderr, expected);
    sandbox.run(["-f", "other"]).failure().stderr_has("there is no `other` in ");
}

#[test]
fn help_fits_a_screen_and_has_a_page_for_each_command_and_kind() {
    let sandbox = Sandbox::new();
    let overview = sandbox.run(["--help"]).success().stdout;
    assert_eq!(overview, sandbox.run(["help"]).success().stdout);
    assert!(overview.lines().count() <= 50, "{overview}");
    let build = sandbox.run(["help", "build"]).success().stdout;
    assert!(
        build.starts_with("Bring goals up to date") && build.contains("--keep-going"),
        "{build}"
    );
    assert!(build.contains("\nExamples:\n  zipwright build "), "{build}");
    assert_eq!(build, sandbox.run(["build", "--help"]).success().stdout);
    let kind = sandbox.run(["help", "wheelhouse"]).success().stdout;
    assert!(kind.starts_with("The kind `wheelhouse`, from docs/BUILDFILE.md:\n\n"), "{kind}");
    assert!(kind.contains("[target.wheels]\nkind = \"wheelhouse\"\n"), "{kind}");
    // A command and a kind.
    let both = sandbox.run(["help", "check"]).success().stdout;
    assert!(both.contains("--runtime") && both.contains("[target.bundle-check]"), "{both}");
    let run = sandbox.run(["help", "stagin"]).failure();
    assert_eq!(run.stderr, "error: there is no help on `stagin`; did you mean `staging`?\n");
}

#[test]
fn lint_reports_every_mistake_and_builds_nothing() {
    let sandbox = Sandbox::with(BUILDFILE);
    let run = sandbox.run(["lint"]).success();
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    assert!(!sandbox.exists(".zipwright"));
    let mistakes = "[target.a]\nkind = \"zip\"\nstaging = \"b\"\n\n[target.c]\nkind = \"zap\"\n";
    sandbox.write("sub/Buildfile", mistakes);
    let run = sandbox.run(["lint", "Buildfile", "sub/Buildfile"]).failure();
    let run = run
        .stderr_has("--> sub/Buildfile:3:11")
        .stderr_has("--> sub/Buildfile:6:8")
        .stderr_has("error: 2 mistakes in `Buildfile` and `sub/Buildfile`\n");
    assert_eq!(run.stdout, "");
    let run = sandbox.run(["lint", "--json", "-f", "sub/Buildfile"]).failure();
    let [first, second] = run.events().try_into().unwrap();
    assert_eq!((&first["line"], &first["column"]), (&3.into(), &11.into()));
    assert_eq!(second["message"], "unknown kind `zap`");
    assert_eq!(second["file"], "sub/Buildfile");
    sandbox.run(["lint", "gone"]).failure().stderr_has("there is no file `gone`");
}

/// Every sample with a mistake has one for `lint` too, unless the mistake is one of the command line.
#[test]
fn lint_agrees_with_builds_on_the_samples() {
    let sandbox = Sandbox::new();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/buildfiles");
    for (folder, code) in [("valid", 0), ("invalid", 2)] {
        let files = walkdir::WalkDir::new(samples.join(folder)).sort_by_file_name();
        let files = files.into_iter().map(|entry| entry.unwrap().into_path());
        let files: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
        assert!(!files.is_empty());
        for file in files {
            let run = Run::of(sandbox.zipwright().arg("lint").arg(&file));
            assert_eq!(run.code, Some(code), "{}\n{run}", file.display());
        }
    }
}

/// The answers to a shell for the last of `words`.
#[track_caller]
fn completions(sandbox: &Sandbox, words: &str) -> Vec<String> {
    let index = words.split(' ').count() - 1;
    let binary = env!("CARGO_BIN_EXE_zipwright");
    let quoted: Vec<String> = words.split(' ').map(|word| format!("'{word}'")).collect();
    let script = format!(
        "ZIPWRIGHT_COMPLETE=bash _CLAP_IFS=' ' _CLAP_COMPLETE_INDEX={index} '{binary}' -- {}",
        quoted.join(" ")
    );
    sandbox.sh(&script).success().stdout.split(' ').map(str::to_owned).collect()
}

#[test]
fn completions_know_commands_options_targets_and_variables() {
    let sandbox = Sandbox::with(BUILDFILE);
    assert_eq!(completions(&sandbox, "zipwright pack"), ["package"]);
    assert_eq!(completions(&sandbox, "zipwright expl"), ["explain"]);
    assert_eq!(completions(&sandbox, "zipwright explain sta"), ["staging", "stage="]);
    assert_eq!(completions(&sandbox, "zipwright --keep"), ["--keep-going"]);
    assert_eq!(completions(&sandbox, "zipwright completions z"), ["zsh"]);
    sandbox.write("b.toml", BUILDFILE.replace("package", "paper"));
    assert_eq!(completions(&sandbox, "zipwright -f b.toml build pa"), ["paper"]);
    assert_eq!(completions(&sandbox, "zipwright digest B"), ["Buildfile"]);
    assert_eq!(completions(&sandbox, "zipwright unpack pack"), ["package"]);
    assert_eq!(completions(&sandbox, "zipwright unpack package b"), ["b.toml"]);
    assert_eq!(completions(&sandbox, "zipwright help ini"), ["init"]);
    assert_eq!(completions(&sandbox, "zipwright help whe"), ["wheelhouse"]);
    assert_eq!(completions(&sandbox, "zipwright man ini"), ["init"]);
    assert_eq!(completions(&sandbox, "zipwright init --runtime python3.13"), ["python3.13"]);
    assert_eq!(completions(&sandbox, "zipwright init --arch a"), ["arm64"]);
    // A Buildfile with mistakes still has its targets, and none is no error.
    sandbox.write("Buildfile", format!("{BUILDFILE}\n[target.x]\nkind = \"none\"\n"));
    assert_eq!(completions(&sandbox, "zipwright build pack"), ["package"]);
    sandbox.remove("Buildfile");
    assert_eq!(completions(&sandbox, "zipwright build pack"), [""]);
}

#[test]
fn the_script_for_bash_completes_in_a_shell() {
    let sandbox = Sandbox::with(BUILDFILE);
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = sandbox.run(["completions", shell]).success().stdout;
        assert!(script.contains("ZIPWRIGHT_COMPLETE"), "{script}");
    }
    let folder = Path::new(env!("CARGO_BIN_EXE_zipwright")).parent().unwrap().display();
    let script = format!(
        "PATH='{folder}':$PATH; source <(zipwright completions bash); \
         COMP_WORDS=(zipwright upload pac); COMP_CWORD=2; COMP_TYPE=9; \
         _clap_complete_zipwright zipwright pac upload; echo \"${{COMPREPLY[*]}}\""
    );
    sandbox.write("script", script);
    let run = sandbox.sh("bash script").success();
    assert_eq!(run.stdout.trim(), "package", "{run}");
}

#[test]
fn manual_pages_are_roff() {
    let sandbox = Sandbox::new();
    let page = sandbox.run(["man"]).success().stdout;
    assert!(page.contains(".TH zipwright 1") && page.contains("keep\\-going"), "{page}");
    let page = sandbox.run(["man", "promote"]).success().stdout;
    assert!(page.contains(".TH zipwright-promote 1"), "{page}");
    let expected = "there is no manual page of `nothing`; `zipwright help` lists the commands";
    sandbox.run(["man", "nothing"]).failure().stderr_has(expected);
    let expected = "of `zip`, which is a kind of target: `zipwright help zip` prints its page";
    sandbox.run(["man", "zip"]).failure().stderr_has(expected);
    sandbox.run(["man", "lits"]).failure().stderr_has("did you mean `list`?");
}
