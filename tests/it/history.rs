//! `history`: in which release each file was added and last changed, against git itself.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::aws_project::{self, NEW, uploading};
use crate::emulators::{Emulator, bundle, code_sha256};
use crate::sandbox::{Run, Sandbox, python, text};

/// Defines `save`, which commits everything; each commit is later than the one before.
const SCRIPT: &str = r#"
set -e
git init -q -b main .
git config user.name a
git config user.email a@example.com
n=1500000000
save() { n=$((n + 60)); git add -A; GIT_COMMITTER_DATE="$n +0000" GIT_AUTHOR_DATE="$n +0000" git commit -q --allow-empty -m "$1"; }
new() { mkdir -p "$(dirname "$1")"; for i in $(seq 9); do echo "$1 $i"; done > "$1"; }
"#;

/// Returns a repository that the script makes.
fn repository(script: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.sh(&format!("{SCRIPT}{script}")).success();
    sandbox
}

/// Returns `PATH ADDED CHANGED` for each file, with `-` for a release that is still to come.
fn history<const N: usize>(sandbox: &Sandbox, args: [&str; N]) -> Vec<String> {
    let run = Run::of(sandbox.zipwright().args(["history", "--json"]).args(args)).success();
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |row: Value| {
        let [path, added, changed] = ["path", "added", "changed"].map(|key| word(&row[key]));
        match row.get("removed") {
            Some(removed) => format!("{path} {added} {changed} {}", word(removed)),
            None => format!("{path} {added} {changed}"),
        }
    };
    run.events().into_iter().map(line).collect()
}

#[test]
fn each_file_has_the_releases_of_its_first_and_its_last_change() {
    let sandbox = repository(
        "new a; new b; save 1; git tag v1.9
         echo x >> a; new c; new d; save 2; git tag -a -m x v1.10
         git rm -q d; save 3; git tag v1.11rc1; echo y >> c; save 4; git tag v1.11
         new e; echo z >> b; save 5; git tag latest",
    );
    let all = ["a v1.9 v1.10", "b v1.9 -", "c v1.10 v1.11", "e - -"];
    assert_eq!(history(&sandbox, []), all);
    assert_eq!(history(&sandbox, ["--all"])[3], "d v1.10 v1.11rc1 v1.11rc1");
    assert_eq!(history(&sandbox, ["--since", "v1.10"]), ["b v1.9 -", "c v1.10 v1.11", "e - -"]);
    assert_eq!(history(&sandbox, ["--since", "v1.11"]), ["b v1.9 -", "e - -"]);
    assert_eq!(
        history(&sandbox, ["--tags", "v1.1?"]),
        ["a v1.10 v1.10", "b v1.10 -", "c v1.10 v1.11", "e - -"]
    );
    assert_eq!(history(&sandbox, ["--tags", "latest", "e"]), ["e latest latest"]);
    let run = sandbox.run(["history"]).success();
    let run =
        run.stderr_has("note: tags that are not versions are left out: latest; `--tags GLOB`");
    assert_eq!(
        run.stdout,
        "a  v1.9        v1.10\nb  v1.9        unreleased\nc  v1.10       v1.11\n\
         e  unreleased  unreleased\n"
    );
}

#[test]
fn renames_are_followed_and_files_that_come_back_were_there_before() {
    let sandbox = repository(
        "new a; new b; save 1; git tag 1
         git mv a 'ä \"b\"'; save 2; git tag 2
         git rm -q b; save 3; git tag 3; new b; echo other > b; save 4; git tag 4
         mkdir pkg; git mv b pkg/b; git mv 'ä \"b\"' c; save 5; git tag 5",
    );
    assert_eq!(history(&sandbox, []), ["c 1 5", "pkg/b 1 5"]);
    assert_eq!(history(&sandbox, ["--no-renames"]), ["c 5 5", "pkg/b 5 5"]);
    assert_eq!(
        history(&sandbox, ["--no-renames", "--all"]),
        ["a 1 2 2", "b 1 5 5", "c 5 5", "pkg/b 5 5", "ä \"b\" 2 5 5"]
    );
}

#[test]
fn a_tag_has_what_it_reaches() {
    let sandbox = repository(
        "new a; new b; new shared; save 1; git tag v1.0
         git checkout -q -b old; echo fix >> a; save fix; git tag v1.0.1
         git checkout -q main; new c; save 2; git tag v2.0
         git checkout -q -b topic; new t; save topic; git checkout -q main
         echo x >> b; save 3; git tag v2.1
         git merge -q --no-edit topic; save merged; git tag v2.2",
    );
    // The fix is on a branch that was not merged, and the topic is older than v2.1, which lacks it.
    let all = ["a v1.0 v1.0", "b v1.0 v2.1", "c v2.0 v2.0", "shared v1.0 v1.0", "t v2.2 v2.2"];
    assert_eq!(history(&sandbox, []), all);
    // A merge that changes a file itself, and one that discards the other side.
    sandbox
        .sh("set -e; git checkout -q -b left; echo left >> a; git commit -qam left; git tag v2.3
             git checkout -q main; echo right >> a; git commit -qam right
             git merge -q left || { echo both >> a; git add a; git commit -qm both; }; git tag v2.4
             git checkout -q -b dropped; echo no >> b; git commit -qam no; git tag v2.5
             git checkout -q main; new=1; echo m >> c; git commit -qam m
             git merge -q -s ours --no-edit dropped; git tag v2.6")
        .success();
    assert_eq!(history(&sandbox, ["a", "b"]), ["a v1.0 v2.4", "b v1.0 v2.1"]);
}

#[test]
fn paths_are_relative_to_the_project_and_unknown_ones_are_errors() {
    let sandbox =
        repository("new top; new in/x/a; new in/b; save 1; git tag v1; new in/new; mkdir in/empty");
    let inner = |args: &[&str]| {
        let run = Run::of(sandbox.zipwright().args(["-C", "in", "history"]).args(args));
        (run.code, run.stdout, run.stderr)
    };
    assert_eq!(inner(&[]).1, "b    v1  v1\nx/a  v1  v1\n");
    assert_eq!(inner(&["x/", "./new"]).1, "new  unreleased  unreleased\nx/a  v1          v1\n");
    let (code, _, stderr) = inner(&["x", "gone"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("there is no file `gone`: `--all` also lists files that are gone"));
    sandbox
        .run(["history", "--since", "v9"])
        .failure()
        .stderr_has("there is no tag or commit `v9`");

    let sandbox = Sandbox::new();
    sandbox.run(["history"]).failure().stderr_has("is not in a git repository").stderr_has("`-C`");
    sandbox.sh("git init -q .").success();
    sandbox.run(["history"]).failure().stderr_has("the git repository has no commit yet");
    let mut without = Sandbox::new();
    without.set("PATH", without.path("").display());
    without.run(["history"]).failure().stderr_has("there is no program `git` on PATH");
}

#[test]
fn paths_are_read_in_every_spelling_and_must_be_in_the_project() {
    let sandbox = repository(
        "new x; new plain/a; new app/a.py; new app/sub/b; new data/dt=2024/f; new k=v; save 1
         git tag v1",
    );
    let outside = sandbox.path("app/a.py").display().to_string();
    let inner = |args: &[&str]| {
        let run = Run::of(sandbox.zipwright().args(["-C", "app", "history"]).args(args));
        (run.code, run.stdout, run.stderr)
    };
    for buildfile in [false, true] {
        if buildfile {
            sandbox.write("Buildfile", "[vars]\nv = ''\n");
            sandbox.write("app/Buildfile", "");
        }
        for (word, lines) in [
            ("app//sub", &["app/sub/b v1 v1"][..]),
            ("app/./a.py", &["app/a.py v1 v1"]),
            ("app/../x", &["x v1 v1"]),
            (&outside, &["app/a.py v1 v1"]),
            ("../project/x", &["x v1 v1"]),
            ("data/dt=2024", &["data/dt=2024/f v1 v1"]),
            ("./k=v", &["k=v v1 v1"]),
            ("k=v", &["k=v v1 v1"]),
        ] {
            assert_eq!(history(&sandbox, [word]), lines, "{word}");
        }
        for word in ["../x", "../plain", "/etc/passwd", "sub/../../x"] {
            let (code, stdout, stderr) = inner(&[word]);
            assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
            assert!(stderr.contains(&format!("`{word}` is not in the project `/")), "{stderr}");
        }
        sandbox.run(["history", ""]).failure().stderr_has("a path is empty");
        let run = sandbox.run(["history", "none=1"]).failure();
        run.stderr_has(if buildfile { "`none`" } else { "there is no `Buildfile`; `./none=` is" });
    }
    assert_eq!(history(&sandbox, ["v=1", "x"]), ["x v1 v1"]);
    assert_eq!(history(&sandbox, ["v=1"]).len(), 6);
}

#[test]
fn files_are_gone_once_and_only_if_a_merge_does_not_have_them() {
    let sandbox = repository(
        "new x; new k; new both; new y; save 1; git tag v1.0
         git checkout -q -b side; new s; git rm -q y both; save 2
         git rm -q k; save 3; new k; save 4; git checkout -q main
         new t; git rm -q both; save 5
         git merge -q --no-commit --no-ff side; git rm -qf x t; new y; save merge; git tag v1.1",
    );
    let live = ["k v1.0 v1.0", "s v1.1 v1.1", "y v1.0 v1.0"];
    assert_eq!(history(&sandbox, []), live);
    let gone =
        ["both v1.0 v1.1 v1.1", live[0], live[1], "t v1.1 v1.1 v1.1", "x v1.0 v1.1 v1.1", live[2]];
    assert_eq!(history(&sandbox, ["--all"]), gone);
}

#[test]
fn a_file_that_a_side_branch_removed_is_not_gone_if_the_merge_kept_it() {
    let sandbox = repository(
        "new x; new y; save 1; git tag v1
         git checkout -q -b side; git rm -q x y; save 2; git checkout -q main
         git mv y z; echo more >> x; save 3
         git merge -q -s ours --no-edit side; new a; save 4; git tag v2",
    );
    assert_eq!(history(&sandbox, ["--all"]), ["a v2 v2", "x v1 v2", "z v1 v2"]);
    sandbox.sh("set -e; git rm -q x; git commit -qm 5; git tag v3").success();
    assert_eq!(history(&sandbox, ["--all"]), ["a v2 v2", "x v1 v3 v3", "z v1 v2"]);
}

#[test]
fn the_way_out_of_git_is_passed_on_and_words_are_not_options_of_git() {
    let sandbox = repository("new a; save 1; git tag v1");
    let run = sandbox.run(["history", "--tags=-d"]).success();
    assert_eq!(run.stdout, "a  unreleased  unreleased\n");
    // As if another user owned it.
    let mut sandbox = sandbox;
    sandbox.set("GIT_TEST_ASSUME_DIFFERENT_OWNER", 1);
    let run = sandbox.run(["history"]).failure();
    run.stderr_has("dubious ownership").stderr_has("safe.directory").stderr_lacks("in a clone");
}

#[test]
fn a_shallow_clone_is_named_as_one() {
    let sandbox = repository(
        "new a; save 1; git tag v1; new b; save 2; git tag v2; new c; save 3; git tag v3
         git clone -q --depth 2 \"file://$PWD\" clone",
    );
    let run = sandbox.run(["-C", "clone", "history"]).success();
    let run = run.stderr_has("note: this is a shallow clone").stderr_has("git fetch --unshallow");
    assert_eq!(run.stdout, "a  <= v2  v2\nb  <= v2  v2\nc  v3     v3\n");
    let run = sandbox.run(["-C", "clone", "history", "--json", "a"]).success();
    assert_eq!(
        run.events(),
        [json!({"path": "a", "added": "v2", "changed": "v2", "shallow": true})]
    );
}

#[test]
fn a_zip_has_the_history_of_its_own_files_and_of_its_locked_wheels() {
    let sandbox = Sandbox::with(
        r#"
        [target.wheels]
        kind = "wheelhouse"
        requirements = ["requirements.txt"]
        pip-args = ["--no-index", "--find-links", "dist"]
        [target.staging]
        kind = "staging"
        wheels = ["wheels"]
        sources = ["app/**/*.py"]
        [target.package]
        kind = "zip"
        staging = "staging"
        output = "build/lambda.zip"
        "#,
    );
    std::fs::create_dir(sandbox.path("dist")).unwrap();
    for name in ["alpha", "beta"] {
        crate::kills::wheel(&sandbox.path("dist"), name, 1);
    }
    let git = |script: &str| sandbox.sh(&format!("set -e; {script}")).success();
    sandbox
        .write("requirements.txt", "-r locked/base.txt\n")
        .write("locked/base.txt", "alpha==0.9\n")
        .write("app/a.py", "a = 1\n")
        .write("notes", "");
    git("git init -q -b main .; git config user.name a; git config user.email a@example.com
         printf 'build\\n.zipwright\\n' > .gitignore; git add -A; git commit -qm 1; git tag v1");
    sandbox.write("locked/base.txt", "alpha==1  # new\n").write("app/b.py", "b = 1\n");
    git("git add -A; git commit -qm 2; git tag v2");
    sandbox.write("requirements.txt", "-r locked/base.txt\nbeta\n").write("notes", "more\n");
    git("git add -A; git commit -qm 3");
    sandbox.run(["history", "package"]).failure().stderr_has("does not exist yet: build it first");
    sandbox.run(["package"]).success();
    let run = sandbox.run(["history", "package"]).success();
    assert_eq!(
        run.stdout,
        "app/a.py   v1          v1\napp/b.py   v2          v2\nalpha 1.0  v1          v2\n\
         beta 1.0   not locked\n"
    );
    let run = sandbox.run(["history", "--since", "v1", "--json", "package"]).success();
    let rows = run.events();
    assert_eq!(text(&rows[0], "path"), "app/b.py");
    let alpha = json!({"wheel": "alpha", "version": "1.0", "added": "v1", "changed": "v2", "before": "0.9"});
    assert_eq!(rows[1], alpha);
    assert_eq!(rows.len(), 3);
    // The same version in another spelling is no change.
    let run = sandbox.run(["history", "--since", "v2", "package"]).success();
    assert_eq!(run.stdout, "beta 1.0  not locked\n");
    sandbox.run(["history", "staging"]).failure().stderr_has("is of kind `staging`, not `zip`");
}

/// Returns a project with an upload of `app.py` to the function `hello`, and a repository with the tag v1.
fn deployable(endpoint: &str, more: &str) -> Sandbox {
    let uploading = uploading!().replace("\"hello\"", "\"{function}\"");
    let buildfile = format!("[vars]\nfunction = \"hello\"\n{uploading}{more}\n");
    let sandbox = aws_project::project(&buildfile, endpoint);
    sandbox.write(".gitignore", "build\n.zipwright\n");
    sandbox.sh(&format!("{SCRIPT}save 1; git tag v1")).success();
    sandbox
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn changes_are_listed_since_the_commit_that_is_deployed() {
    let aws = Emulator::ministack();
    aws.create_function("hello", "x86_64", &bundle("app.py", NEW));
    aws.create_function("other", "x86_64", &bundle("app.py", NEW));
    aws.configure("hello", &json!({"Description": "orders"}));
    let sandbox = deployable(&aws.endpoint(), "alias = 'live'");
    let git = |script: &str| sandbox.sh(&format!("set -e; {script}")).success().stdout;
    let since = |args: &[&str]| Run::of(sandbox.zipwright().args(["history"]).args(args));
    sandbox.run(["history", "--deployed"]).failure().stderr_has("has no alias `live`");
    sandbox.run(["upload"]).success();
    let head = git("git rev-parse HEAD");
    let described = |number: &str| text(&aws.version("hello", number), "Description");
    assert_eq!(described("1"), format!("orders; commit {}", head.trim_end()));
    git("echo '# 2' >> app.py; git commit -qam 2; echo new > new; git add new; git commit -qm 3");
    let run = since(&["--deployed"]).success();
    let note = "note: v1 is deployed as version 1 of function `hello`";
    assert_eq!(
        run.stderr_has(note).stdout,
        "app.py  v1          unreleased\nnew     unreleased  unreleased\n"
    );
    assert_eq!(
        since(&["package", "--deployed=upload"]).success().stdout,
        "app.py  v1  unreleased\n"
    );
    since(&["--deployed=package"]).failure().stderr_has("`package` is of kind `zip`; only uploads");
    since(&["--deployed", "--since", "v1"]).failure().stderr_has("cannot be used with");

    // A zip with changes that no commit has.
    git("echo '# 3' >> app.py");
    sandbox.run(["upload"]).success();
    assert_eq!(described("2"), "orders");
    since(&["--deployed"]).failure().stderr_has(
        "it is unknown from which commit version 2 of function `hello` was built; the next version",
    );
    // The build record names the commit, once the same zip was built from it.
    git("git commit -qam 4");
    sandbox.run(["-B", "package"]).success();
    assert_eq!(since(&["--deployed"]).success().stdout, "");
    // The version of another clone.
    git("echo '# 5' >> app.py; git commit -qam 5");
    sandbox.run(["upload"]).success();
    git("git reset -q --hard HEAD~1; git reflog expire --expire=now --all; git gc -q --prune=now");
    since(&["--deployed"]).failure().stderr_has("this clone does not have commit ");
    since(&["--deployed", "function=other"]).failure().stderr_has("has no alias `live`");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn without_an_alias_the_version_with_the_same_code_names_the_commit() {
    let aws = Emulator::ministack();
    for name in ["hello", "other"] {
        aws.create_function(name, "x86_64", &bundle("app.py", "old = 1\n"));
    }
    let sandbox = deployable(&aws.endpoint(), "publish = true");
    sandbox.run(["upload"]).success();
    sandbox.remove("build/lambda.zip");
    let run = sandbox.run(["history", "--deployed"]).success();
    run.stderr_has("v1 is deployed as version $LATEST of function `hello`");
    let other = sandbox.run(["history", "--deployed", "function=other"]).failure();
    other.stderr_has(
        "it is unknown from which commit version $LATEST of function `other` was built",
    );

    // `promote` reads the build record.
    sandbox.sh("set -e; echo '# 2' >> app.py; git commit -qam 2").success();
    sandbox.run(["package"]).success();
    let digest = code_sha256(&sandbox.bytes("build/lambda.zip"));
    let args = ["promote", "package", "--digest", &digest, "--function", "other", "--publish"];
    sandbox.run(args).success();
    sandbox.remove("build/lambda.zip.record.json");
    let run = sandbox.run(["history", "--deployed", "function=other"]).success();
    assert_eq!(run.stdout, "");
    let two = sandbox
        .read("Buildfile")
        .replace("function = \"{function}\"", "functions = ['hello', 'other']");
    sandbox.write("Buildfile", two);
    let run = sandbox.run(["history", "--deployed"]).failure();
    run.stderr_has(
        "the deployed code was built from different commits: version $LATEST of function",
    );
    // A commit instead of a tag.
    let run = sandbox.run(["history", "--since", "HEAD~1", "app.py"]).success();
    assert_eq!(run.stdout, "app.py  v1  unreleased\n");
}

/// Returns the releases of every file by `git log --follow` and `git tag --contains`.
fn oracle(sandbox: &Sandbox) -> Vec<String> {
    let first_tag = |commit: &str| {
        let script = format!("git tag --contains {commit} --sort=version:refname | head -1");
        // Git sorts release candidates after their release.
        let tags = sandbox.sh(&script.replace(" | head -1", "")).success().stdout;
        let mut tags: Vec<&str> = tags.lines().collect();
        let release = |tag: &str| tag.split("rc").next().unwrap().to_owned();
        if let Some(first) = tags.first().map(|tag| release(tag)) {
            tags.retain(|tag| release(tag) == first);
            tags.sort_by_key(|tag| !tag.contains("rc"));
        }
        tags.first().map_or_else(|| "-".to_owned(), |tag| (*tag).to_owned())
    };
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let files = sandbox.sh("git ls-files").success().stdout;
    let mut lines = Vec::new();
    for file in files.lines() {
        let log = sandbox.sh(&format!("git log --follow --format=%H -- '{file}'")).success().stdout;
        let (last, first) = (log.lines().next().unwrap(), log.lines().last().unwrap());
        let mut tag =
            |commit: &str| known.entry(commit.into()).or_insert_with(|| first_tag(commit)).clone();
        lines.push(format!("{file} {} {}", tag(first), tag(last)));
    }
    lines
}

fn generated(files: u32, tags: u32, commits: u32, seed: u32) -> Sandbox {
    let sandbox = Sandbox::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/history/make_repository.py");
    let mut make = sandbox.program(python());
    make.arg(script).arg(sandbox.path("")).args(["--files", &files.to_string()]);
    make.args(["--tags", &tags.to_string(), "--commits-per-tag", &commits.to_string()]);
    Run::of(make.args(["--seed", &seed.to_string()])).success();
    sandbox
}

#[test]
fn a_branchy_history_has_the_answers_of_git() {
    // Enough commits for several processes of git.
    let sandbox = generated(40, 24, 24, 1);
    assert_eq!(history(&sandbox, []), oracle(&sandbox));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn many_branchy_histories_have_the_answers_of_git() {
    for seed in 2..8 {
        let sandbox = generated(120, 30, 8, seed);
        assert_eq!(history(&sandbox, []), oracle(&sandbox), "seed {seed}");
    }
}
