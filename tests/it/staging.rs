//! `staging`, `clamp` and `zip` on the project's own files: the content of the bundle, the runs of
//! each target, and that the bytes depend on content alone.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::sandbox::Sandbox;

const BUNDLE: &str = r#"
default = ["package"]

[target.staging]
kind = "staging"
sources = ["handler.py", "config/**/*.json", { from = "src", to = "." }]

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
"#;

fn bundle() -> Sandbox {
    let sandbox = Sandbox::with(BUNDLE);
    sandbox
        .write("handler.py", "def handler(event, context):\n    return 'hello'\n")
        .write("config/a.json", "{}")
        .write("config/b.json", "[]")
        .write("src/pkg/__init__.py", "")
        .write("src/pkg/tool", "#!/bin/sh\n")
        .chmod("src/pkg/tool", 0o755);
    sandbox
}

fn code_sha256(sandbox: &Sandbox) -> String {
    let run = sandbox.run(["--json", "-B"]).success();
    run.target("package")["code_sha256"].as_str().unwrap().to_owned()
}

fn names(sandbox: &Sandbox) -> Vec<String> {
    let file = std::fs::File::open(sandbox.path("build/lambda.zip")).unwrap();
    let archive = zip::ZipArchive::new(file).unwrap();
    archive.file_names().map(|name| name.unwrap().into_owned()).collect()
}

#[test]
fn the_bundle_holds_the_sources_and_no_folder_is_written() {
    let sandbox = bundle();
    sandbox.run([]).success();
    let expected = [
        "config/",
        "config/a.json",
        "config/b.json",
        "handler.py",
        "pkg/",
        "pkg/__init__.py",
        "pkg/tool",
    ];
    assert_eq!(names(&sandbox), expected);
    assert!(!sandbox.exists("build/staging"));
    let checked = "python3 -c \"import zipfile; assert zipfile.ZipFile('build/lambda.zip').testzip() is None\"";
    sandbox.sh(checked).success();
    let ask = "PYTHONPATH=build/lambda.zip python3 -c 'import handler, pkg; print(handler.handler({}, None))'";
    assert_eq!(sandbox.sh(ask).success().stdout, "hello\n");
}

#[test]
fn one_content_has_one_digest() {
    let (one, mut other) = (bundle(), bundle());
    let digest = code_sha256(&one);
    other.set("TZ", "Asia/Tokyo");
    other.set("LANG", "C");
    for name in ["handler.py", "config/a.json"] {
        other.age(name, 1_000_000_000).chmod(name, 0o600);
    }
    assert_eq!(code_sha256(&other), digest);
    let zipwright = other.zipwright().get_program().to_str().unwrap().to_owned();
    other.sh(&format!("umask 077; RAYON_NUM_THREADS=1 '{zipwright}' -B package")).success();
    assert_eq!(other.run(["digest", "package"]).success().stdout.trim(), digest);
    let mode = other.path("build/lambda.zip").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn what_is_edited_added_removed_or_excluded_reaches_the_bundle() {
    let sandbox = bundle();
    sandbox.run([]).success();
    assert_eq!(sandbox.ran([]), [""; 0]);
    sandbox.touch("handler.py").write("elsewhere.txt", "no source");
    assert_eq!(sandbox.ran([]), [""; 0]);
    sandbox.write("handler.py", "changed = True\n");
    assert_eq!(sandbox.ran([]), ["package", "staging"]);
    sandbox.remove("config/b.json");
    assert_eq!(sandbox.ran([]), ["package", "staging"]);
    assert!(!names(&sandbox).contains(&"config/b.json".into()));
    sandbox.write("config/deep/c.json", "{}");
    assert_eq!(sandbox.ran([]), ["package", "staging"]);
    assert!(names(&sandbox).contains(&"config/deep/c.json".into()));
    sandbox.write("Buildfile", BUNDLE.replace("sources =", "exclude = [\"config\"]\nsources ="));
    assert_eq!(sandbox.ran([]), ["package", "staging"]);
    assert!(!names(&sandbox).iter().any(|name| name.starts_with("config")));
    sandbox.write("config/a.json", "an excluded file is no input");
    assert_eq!(sandbox.ran([]), [""; 0]);
}

#[test]
fn equal_bytes_stop_the_build_there() {
    let sandbox = bundle();
    sandbox.run([]).success();
    sandbox.age("build/lambda.zip", 1000);
    let before = sandbox.modified("build/lambda.zip");
    // Another rule, the same tree.
    sandbox.write("Buildfile", BUNDLE.replace("sources =", "exclude = [\"none\"]\nsources ="));
    assert_eq!(sandbox.ran([]), ["staging"]);
    assert_eq!(sandbox.ran(["-B"]), ["package", "staging"]);
    assert_eq!(sandbox.modified("build/lambda.zip"), before);
}

#[test]
fn a_hand_changed_bundle_or_tree_is_made_again() {
    let sandbox = bundle();
    sandbox.run([]).success();
    let honest = sandbox.bytes("build/lambda.zip");
    sandbox.write("build/lambda.zip", "tampered");
    sandbox.run([]).failure().stderr_has("`build/lambda.zip` is in the way");
    assert_eq!(sandbox.read("build/lambda.zip"), "tampered");
    assert_eq!(sandbox.ran(["--force"]), ["package"]);
    assert_eq!(sandbox.bytes("build/lambda.zip"), honest);
    sandbox.run(["staging"]).success();
    sandbox.write("build/staging/handler.py", "tampered");
    sandbox.run([]).failure().stderr_has("`build/staging/handler.py` is in the way");
    assert_eq!(sandbox.read("build/staging/handler.py"), "tampered");
    assert_eq!(sandbox.ran(["--force"]), ["staging"]);
    assert_eq!(sandbox.read("build/staging/handler.py"), sandbox.read("handler.py"));
    sandbox.write("build/staging/stray.py", "").write("build/staging/handler.py", "tampered");
    let run = sandbox.run([]).failure();
    run.stderr_has("`build/staging/handler.py`, `build/staging/stray.py` are in the way");
    assert!(sandbox.exists("build/staging/stray.py"));
    assert_eq!(sandbox.ran(["--force"]), ["staging"]);
    assert!(!sandbox.exists("build/staging/stray.py"));
    sandbox.write(".zipwright/manifests/staging", "torn");
    assert_eq!(sandbox.ran([]), ["staging"]);
    assert_eq!(sandbox.ran([]), [""; 0]);
}

/// Each of these is done to a tree that the snapshot has, alone and together with an edit.
#[test]
fn a_tree_is_mended_whatever_was_done_to_it() {
    type Deed = fn(&Sandbox);
    let deeds: &[(&str, Deed)] = &[
        ("nothing", |_| ()),
        ("an edit", |sandbox| _ = sandbox.write("tree/handler.py", "tampered")),
        ("a mode", |sandbox| _ = sandbox.chmod("tree/pkg/tool", 0o600)),
        ("a file gone", |sandbox| _ = sandbox.remove("tree/pkg/tool")),
        ("a folder gone", |sandbox| _ = sandbox.remove("tree/pkg")),
        ("all gone", |sandbox| _ = sandbox.remove("tree")),
        ("a stray file", |sandbox| _ = sandbox.write("tree/pkg/stray", "")),
        ("a stray folder", |sandbox| _ = sandbox.write("tree/stray/stray", "")),
        ("a folder for a file", |sandbox| {
            sandbox.remove("tree/handler.py").write("tree/handler.py/in", "");
        }),
        ("a file for a folder", |sandbox| _ = sandbox.remove("tree/pkg").write("tree/pkg", "")),
        ("a link for a file", |sandbox| {
            symlink("../handler.py", sandbox.remove("tree/handler.py").path("tree/handler.py"))
                .unwrap();
        }),
        ("a link to the same files for a folder", |sandbox| {
            symlink("../src/pkg", sandbox.remove("tree/pkg").path("tree/pkg")).unwrap();
        }),
    ];
    let buildfile = "[target.tree]\nkind = \"staging\"\noutput = \"tree\"\n\
                     sources = [\"handler.py\", { from = \"src\", to = \".\" }]\n";
    let look = |sandbox: &Sandbox| {
        sandbox.sh("find tree -printf '%p %y %m\\n' | sort; cat tree/handler.py").success().stdout
    };
    for (what, deed) in deeds {
        for edit in [None, Some("edited\n")] {
            let sandbox = bundle();
            sandbox.write("Buildfile", buildfile).run(["tree"]).success();
            let mut expected = look(&sandbox);
            sandbox.settle(["tree"]);
            deed(&sandbox);
            if let Some(text) = edit {
                expected = expected.replace(&sandbox.read("handler.py"), text);
                sandbox.write("handler.py", text);
            }
            sandbox.run(["tree", "--force"]).success();
            assert_eq!(look(&sandbox), expected, "{what}, {edit:?}");
            sandbox.run(["tree"]).success().stderr_has("up to date");
            sandbox.write("tree/pkg/tool", "tampered").run(["tree", "--force"]).success();
            assert_eq!(look(&sandbox), expected, "{what}, {edit:?}, and one more edit");
        }
    }
}

/// Files observed before a program ran are observed again, whichever outputs the program declares.
#[test]
fn what_a_command_leaves_in_other_places_is_staged() {
    let sandbox = Sandbox::with(
        r#"
default = ["tree"]
[target.first]
kind = "command"
inputs = ["src/**"]
stamp = "first.stamp"
run = ["true"]
[target.generated]
kind = "command"
needs = ["first"]
inputs = ["word"]
stamp = "generated.stamp"
shell = "cat word > src/own; cp word src/$(cat word)"
[target.tree]
kind = "staging"
needs = ["generated"]
sources = ["src/**"]
write = true
"#,
    );
    sandbox.write("src/own", "before");
    // From the second on, the build starts with a snapshot.
    for word in ["one", "two", "three"] {
        sandbox.write("word", word).run([]).success();
        assert_eq!(sandbox.read("build/tree/src/own"), word);
        assert_eq!(sandbox.read(&format!("build/tree/src/{word}")), word);
        sandbox.settle([]);
    }
}

#[test]
fn the_tree_is_written_for_a_goal_and_kept_in_step() {
    let sandbox = bundle();
    sandbox.run(["staging"]).success();
    let mode = |name: &str| sandbox.path(name).metadata().unwrap().mode() & 0o7777;
    let tree = ["build/staging/pkg/tool", "build/staging/pkg", "build/staging/handler.py"];
    assert_eq!(tree.map(mode), [0o755, 0o755, 0o644]);
    sandbox.write("handler.py", "two").remove("config");
    sandbox.run([]).success();
    assert_eq!(sandbox.read("build/staging/handler.py"), "two");
    assert!(!sandbox.exists("build/staging/config"));
}

#[test]
fn a_clamp_lowers_times_once() {
    let sandbox = bundle();
    let clamp = "[target.times]\nkind = \"clamp\"\nneeds = [\"staging\"]\n\
                 directory = \"build/staging\"\ninstant = \"2001-09-09T01:46:40Z\"\n";
    sandbox.write("Buildfile", format!("{BUNDLE}{clamp}"));
    sandbox.run(["times"]).success();
    let mtime = |name: &str| sandbox.path(name).metadata().unwrap().mtime();
    let tree = ["build/staging", "build/staging/pkg", "build/staging/pkg/tool"];
    assert_eq!(tree.map(mtime), [1_000_000_000; 3]);
    assert_eq!(sandbox.ran(["times"]), [""; 0]);
    sandbox.touch("build/staging/pkg/tool");
    assert_eq!(sandbox.ran(["times"]), ["times"]);
    assert_eq!(tree.map(mtime), [1_000_000_000; 3]);
}

#[test]
fn a_clamp_by_git_says_what_it_needs() {
    let sandbox = bundle();
    sandbox.write("Buildfile", BUNDLE.replace("output =", "clamp = \"git\"\noutput ="));
    sandbox.run([]).failure().stderr_has("needs a commit");
    let commit = "git init -q . && git -c user.name=n -c user.email=e commit -q --allow-empty -m x";
    sandbox
        .sh(&format!(
            "GIT_COMMITTER_DATE='1234567890 +0900' && export GIT_COMMITTER_DATE && {commit}"
        ))
        .success();
    sandbox.run([]).success();
    let file = std::fs::File::open(sandbox.path("build/lambda.zip")).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    let time = archive.by_name("handler.py").unwrap().last_modified().unwrap();
    assert_eq!(time.to_string(), "2009-02-13 23:31:30");
    assert_eq!(sandbox.ran([]), [""; 0]);
}

#[test]
fn a_source_that_is_not_there_is_named() {
    let sandbox = bundle();
    sandbox.remove("handler.py");
    sandbox.run([]).failure().stderr_has("`handler.py` does not exist");
}

#[test]
fn two_sources_for_one_path_are_named() {
    let sandbox = bundle();
    sandbox.write("src/handler.py", "another");
    let run = sandbox.run([]).failure();
    run.stderr_has("`handler.py` by `handler.py` and `src/handler.py`");
}

#[test]
fn names_that_are_not_utf_8_are_an_error_only_where_they_are_selected() {
    let buildfile = r#"
        default = ["tree", "names"]
        [target.tree]
        kind = "staging"
        sources = [{ from = "src", to = "app/" }]
        exclude = ["app/data/**/*.csv"]
        output = "build/tree"
        [target.names]
        kind = "command"
        inputs = ["src/**/*.py"]
        outputs = ["build/list"]
        shell = "ls src > build/list"
        "#;
    let sandbox = Sandbox::with(buildfile);
    sandbox.write("src/app.py", "").write("src/data/a.txt", "");
    sandbox.sh("touch \"$(printf 'src/data/\\377.csv')\" \"$(printf 'src/\\377.pyc')\"").success();
    assert_eq!(sandbox.ran([]), ["names", "tree"]);
    assert_eq!(sandbox.ran([]), [""; 0]);
    // A foreign file of such a name in the tree is noticed.
    sandbox.sh("touch \"$(printf 'build/tree/\\377.txt')\"").success();
    sandbox.run(["-q"]).status(1);
    sandbox.sh("rm build/tree/*.txt").success();
    sandbox.write("Buildfile", buildfile.replace("*.csv", "*.tsv").replace("*.py", "*"));
    let name = r#"the name "src/data/\xFF.csv" is not UTF-8 or has control characters"#;
    sandbox.run(["tree"]).failure().stderr_has(name);
    sandbox.run(["names"]).failure().stderr_has(name);
}
