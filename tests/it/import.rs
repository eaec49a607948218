//! `zipwright import`: translations, compared whole, and what make and zipwright build of a project.

use std::fs;
use std::path::Path;

use crate::sandbox::Sandbox;

fn sample(name: &str) -> String {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/makefiles").join(name);
    fs::read_to_string(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display()))
}

/// A project with all files that the samples name.
fn project(makefile: &str) -> Sandbox {
    let mut sandbox = Sandbox::new();
    // The repository of this test is not that of the project.
    sandbox.set("GIT_CEILING_DIRECTORIES", sandbox.beside("").display());
    sandbox.write("Makefile", sample(makefile));
    for file in ["app.py", "handler.py", "lib/x.py", "src/app.py", "version.in", "conf/prod.json"] {
        sandbox.write(file, "");
    }
    sandbox
}

/// The table and the Buildfile are those of `NAME.out`. With `ZIPWRIGHT_BLESS`, they are written there.
#[track_caller]
fn assert_translated(name: &str) {
    let sandbox = project(&format!("{name}.mk"));
    let run = sandbox.run(["import"]).success();
    let found = format!("{}{}---\n{}", run.stdout, run.stderr, sandbox.read("Buildfile"));
    if std::env::var_os("ZIPWRIGHT_BLESS").is_some() {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/makefiles");
        fs::write(place.join(format!("{name}.out")), &found).unwrap();
    }
    assert_eq!(found, sample(&format!("{name}.out")));
    sandbox.run(["lint"]).success();
}

#[test]
fn the_usual_makefile_is_translated() {
    assert_translated("article");
}

#[test]
fn one_rule_for_everything_is_translated() {
    assert_translated("one-rule");
}

#[test]
fn added_members_buckets_and_aliases_are_translated() {
    assert_translated("added");
}

#[test]
fn steps_of_other_kinds_become_commands_as_they_are() {
    assert_translated("own-steps");
}

#[test]
fn virtual_environments_are_translated() {
    assert_translated("environment");
}

#[test]
fn the_way_that_uv_documents_is_translated() {
    assert_translated("uv");
}

#[test]
fn layers_are_translated() {
    assert_translated("layer");
}

#[test]
fn recipes_of_one_shell_and_exported_locks_are_translated() {
    assert_translated("one-shell");
}

#[test]
fn nothing_is_overwritten_and_print_writes_nothing() {
    let sandbox = project("article.mk");
    let run = sandbox.run(["import", "--print"]).success();
    assert!(run.stdout.contains("[target.package]\nkind = \"zip\"\n"), "{run}");
    assert!(!sandbox.exists("Buildfile") && !sandbox.exists("build"));
    sandbox.write("Buildfile", "mine");
    sandbox.run(["import"]).failure().stderr_has("and import overwrites nothing");
    assert_eq!(sandbox.read("Buildfile"), "mine");
    sandbox.remove("Buildfile");
    sandbox.run([]).failure().stderr_has("`zipwright import` one from `Makefile`");
    let run = sandbox.run(["import", "--json"]).success();
    let [report] = run.events().try_into().unwrap();
    assert_eq!(report["rows"].as_array().unwrap().len(), 21, "{report}");
}

#[test]
fn a_makefile_of_another_kind_is_an_error_that_names_its_commands() {
    let sandbox = Sandbox::new();
    sandbox.run(["import"]).failure().stderr_has("there is no Makefile in `");
    sandbox.run(["import", "x.mk"]).failure().stderr_has("there is no file `x.mk`");
    sandbox.write("Makefile", "x.zip: a\n\tcp a b\n\tbsdtar -a -cf x.zip b | zipnote\n");
    let run = sandbox.run(["import"]).failure();
    let run = run.stderr_has("has no rule that makes a zip by commands that are understood here");
    run.stderr_has("\nMakefile, rule in line 2, not understood: bsdtar -a -cf x.zip b | zipnote\n");
    sandbox.write("Makefile", "x.zip: a\n\tif\n  b c\n");
    sandbox
        .run(["import"])
        .failure()
        .stderr_has("make could not read it: Makefile:3: *** missing separator");
    assert!(!sandbox.exists("Buildfile"));
}

/// A recipe runs neither in a dry run nor when make would run a part of it in one.
#[test]
fn no_recipe_runs() {
    let sandbox = Sandbox::new();
    let makefile = "x.zip: a dir\n\tcd src && zip -qr ../x.zip . \n\ndir:\n\ttouch ran\n\n\
                    plus:\n\t+touch ran\n\nbelow: plus\n\t@touch ran; $(MAKE) -v > ran\n";
    sandbox.write("Makefile", makefile).write("src/app.py", "");
    sandbox.run(["import"]).success();
    assert!(!sandbox.exists("ran") && !sandbox.exists("x.zip"));
    sandbox.run([]).success();
    assert!(sandbox.exists("x.zip"));
    sandbox.run(["below"]).success();
    assert!(sandbox.exists("ran"));
}

/// Compares the bundles of make and of zipwright for a rule with this recipe.
#[track_caller]
fn assert_same(files: &[&str], recipe: &[&str]) {
    let mut sandbox = Sandbox::new();
    sandbox.set("GIT_CEILING_DIRECTORIES", sandbox.beside("").display());
    for file in files {
        sandbox.write(file, *file);
    }
    sandbox.write("Makefile", format!("f.zip:\n\t{}\n", recipe.join("\n\t")));
    let run = sandbox.run(["import", "--compare"]).success();
    let expected = "`f.zip` of make and of zipwright: the same files with the same content\n";
    // Entries of empty folders may differ.
    assert!(run.stdout.starts_with(expected), "{recipe:?}: {run}");
}

#[test]
fn what_is_put_after_a_removal_stays() {
    let zip = "cd p && zip -qr ../f.zip .";
    let app = ["app/a.py", "app/tests/t.py", "vendor/app/v.py", "vendor/tests/x.py"];
    assert_same(&app, &["mkdir p", "cp -r vendor/. p/", "rm -rf p/app", "cp -r app p/", zip]);
    assert_same(&app, &["mkdir -p p", "rm -rf p/*", "cp -r app vendor p/", zip]);
    let find = "find p -type d -name tests -exec rm -rf {} +";
    assert_same(&app, &["mkdir p", "cp -r vendor p/", find, "cp -r app p/", zip]);
    let again = "rm -rf p/app/tests; cp -r vendor/tests p/app/tests";
    assert_same(&app, &["mkdir p", "cp -r app p/app", again, zip]);
    // Of two zips that are made in one folder, each has its own files.
    let recipe = "rm -rf p; mkdir p; cp -r vendor p/; cd p && zip -qr ../other.zip .";
    assert_same(&app, &[recipe, "rm -rf p; mkdir p; cp -r app p/", zip]);
}

#[test]
fn files_that_the_shell_does_not_match_are_not_in_the_bundle() {
    let files = ["src/a.py", "src/.env", "src/.h.py", "src/sub/.x", "src/sub/y.py"];
    assert_same(&files, &["cd src && zip -qr ../f.zip *"]);
    assert_same(&files, &["cd src && zip -q ../f.zip *"]);
    assert_same(&files, &["mkdir p", "cp -r src/* p/", "cd p && zip -qr ../f.zip ."]);
    assert_same(&files, &["mkdir p", "cp src/*.py p/", "cd p && zip -qr ../f.zip ."]);
    assert_same(&files, &["mkdir p", "cp -r src/. p", "rm -rf p/*", "cd p && zip -qr ../f.zip ."]);
}

#[test]
fn files_and_folders_are_told_apart_as_cp_and_zip_do() {
    let zip = "cd p && zip -qr ../f.zip .";
    assert_same(&["bin/bootstrap"], &["mkdir p", "cp bin/bootstrap p/run", zip]);
    assert_same(&["src/bootstrap", "src/x/a.py"], &["cd src && zip -qr ../f.zip bootstrap x"]);
    assert_same(&["my.pkg/sub.d/x"], &["zip -qr f.zip my.pkg/sub.d"]);
    assert_same(&["data.d/x"], &["mkdir p", "cp -r data.d p/lib", zip]);
    assert_same(&["conf/c.ini"], &["mkdir -p p/templates", "cp -r conf p/templates", zip]);
    assert_same(&["src/a.py"], &["rm -rf p", "cp -r src p", zip]);
    assert_same(&["lib/a/x", "lib/b/y"], &["mkdir -p p/lib", "cp -r lib/*/ p/lib/", zip]);
    assert_same(
        &["a{b}.txt", "q[1].txt", "q1.txt"],
        &["mkdir p", "cp 'a{b}.txt' \"q[1].txt\" p/", zip],
    );
    // The later one wins.
    let files = ["c/default.json", "c/prod.json"];
    let one = "cp c/default.json p/config.json; cp c/prod.json p/config.json";
    assert_same(&files, &["mkdir p", one, zip]);
    assert_same(&files, &["mkdir p", "cp -r c p/", "cp c/prod.json p/c/default.json", zip]);
}

#[test]
fn patterns_of_find_and_zip_leave_out_what_they_do_for_make() {
    let zip = "cd p && zip -qr ../f.zip .";
    let files =
        ["testing/u.py", "test_x.py", "README.md", "app/tests/t.py", "tests/t.py", "tests2"];
    let fill = "mkdir p; cp -r testing test_x.py README.md app tests tests2 p/";
    assert_same(&files, &[fill, "find p -type f -name 'test*.py' -delete", zip]);
    assert_same(&files, &[fill, "find p -iname 'readme*' -exec rm -rf {} +", zip]);
    assert_same(&files, &[fill, "find p -type d -name 'tests*' -exec rm -rf {} +", zip]);
    assert_same(&files, &[fill, "cd p && zip -qr ../f.zip . -x '*/tests/*' 'test_x.py'"]);
    let more = "zip -qr f.zip app";
    assert_same(&files, &[fill, "cd p && zip -qr ../f.zip . -x '*tests*'", more]);
    // Without a glob for it, the step is not understood.
    let sandbox = Sandbox::new();
    let find = "find p -type f -name 'test*' -delete";
    sandbox.write("Makefile", format!("f.zip:\n\t{find}\n\tcd p && zip -qr ../f.zip .\n"));
    let run = sandbox.run(["import"]).failure();
    run.stderr_has(&format!("Makefile, rule in line 2, not understood: {find}\n"));
}

#[test]
fn a_bundle_of_the_whole_project_is_without_the_buildfile() {
    let sandbox = Sandbox::new();
    sandbox.write("app.py", "").write("Makefile", "f.zip:\n\tzip -qr f.zip .\n");
    sandbox.run(["import", "-f", "b.toml"]).success();
    sandbox.run(["-f", "b.toml"]).success();
    let names = sandbox.sh("python3 -m zipfile -l f.zip").success().stdout;
    assert!(names.contains("app.py") && !names.contains("b.toml"), "{names}");
    let digest = sandbox.sh("sha256sum f.zip").success().stdout;
    sandbox.write("b.toml", format!("# More.\n{}", sandbox.read("b.toml")));
    sandbox.run(["-f", "b.toml"]).success();
    assert_eq!(sandbox.sh("sha256sum f.zip").success().stdout, digest);
}

#[test]
fn names_that_recipes_do_not_write_are_no_outputs() {
    let sandbox = Sandbox::new();
    let makefile = "release: test format f.zip\n\nf.zip: app.py\n\tzip -q f.zip app.py\n\n\
                    format:\n\t@printf 'ruff %s\\n' format | sort\n\n\
                    test:\n\tpython3 -m unittest discover -q -s test\n\n\
                    words:\n\techo words | sort > words\n\n\
                    usage:\n\t@echo make release\n";
    sandbox.write("Makefile", makefile).write("app.py", "").write("test/test_x.py", "");
    let run = sandbox.run(["import"]).success();
    run.stderr_has("note: left out, as they print and make nothing: `usage`");
    let text = sandbox.read("Buildfile");
    assert!(text.contains("default = [\"release\"]"), "{text}");
    assert!(text.contains("targets = [\"test\", \"format\", \"package\"]"), "{text}");
    assert_eq!(text.matches("phony = true").count(), 2, "{text}");
    assert!(text.contains("outputs = [\"words\"]"), "{text}");
    sandbox.run(["format", "words"]).success();
    sandbox.run(["clean"]).success();
    assert!(sandbox.exists("test/test_x.py"));
}

#[test]
fn both_builds_are_compared() {
    let sandbox = Sandbox::new();
    let makefile = "\
build/lambda.zip: requirements.txt app.py conf/prod.json build/words.txt
	rm -rf build/tree
	python3 -m pip install -q -r requirements.txt -t build/tree
	rm -rf build/tree/bin
	cp app.py build/words.txt build/tree/
	cp conf/prod.json build/tree/config.json
	cp -r lib build/tree/
	cd build/tree && zip -qr ../lambda.zip .

build/words.txt: words.in
	mkdir -p build
	tr a-z A-Z < words.in > $@
";
    sandbox
        .write("Makefile", makefile)
        .write("requirements.txt", "idna==3.10\n")
        .write("app.py", "import idna\n")
        .write("conf/prod.json", "{}")
        .write("lib/a.py", "")
        .write("words.in", "words\n");
    let run = sandbox.run(["import", "--compare"]).success();
    let (same, traces) = run.stdout.trim_end().split_once('\n').unwrap();
    let expected =
        "`build/lambda.zip` of make and of zipwright: the same files with the same content";
    assert_eq!(same, expected);
    // Files of pip and bytecode.
    assert!(traces.starts_with("not compared: ") && traces.contains("`REQUESTED`"), "{run}");
    assert!(!sandbox.exists("build") && !sandbox.exists("Buildfile"));
    // A difference has its reason.
    sandbox.write(
        "Makefile",
        makefile.replace("cd build/tree &&", "cd build/tree && chmod 600 app.py &&"),
    );
    let run = sandbox.run(["import", "--compare"]).status(1);
    assert!(run.stdout.contains("app.py"), "{run}");
}

#[test]
fn folders_of_sources_are_not_taken_for_outputs_in_a_comparison() {
    let sandbox = Sandbox::new();
    sandbox.write("fn/app.py", "").write("fn/lib/x.py", "");
    for (head, recipe) in [
        ("", "cd fn && zip -qr ../lambda.zip ."),
        (".ONESHELL:", "cd fn\n\tzip -qr ../lambda.zip ."),
        (
            "SHELL := /bin/bash\n.ONESHELL:",
            "set -eu\n\tset -o pipefail\n\tcd fn\n\tzip -qr ../lambda.zip .",
        ),
    ] {
        sandbox.write("Makefile", format!("{head}\nlambda.zip: fn/app.py\n\t{recipe}\n"));
        let run = sandbox.run(["import", "--compare"]).success();
        let expected =
            "`lambda.zip` of make and of zipwright: the same files with the same content\n";
        assert_eq!(run.stdout, expected);
    }
}

#[test]
fn own_files_beside_installed_ones_are_sources() {
    let sandbox = Sandbox::new();
    sandbox.write("requirements.txt", "idna==3.10\n").write("fn/app.py", "import idna\n");
    let makefile = "pack:\n\tcd fn && python3 -m pip install -q -r ../requirements.txt -t . --no-compile\n\
                    \tcd fn && zip -qr ../lambda.zip . -x '*.dist-info/*'\n";
    sandbox.write("Makefile", makefile);
    let run = sandbox.run(["import", "--compare"]).success();
    let expected = "`lambda.zip` of make and of zipwright: the same files with the same content\n";
    assert_eq!(run.stdout, expected);
    let run = sandbox.run(["import"]).success();
    run.stderr_has("`fn` has own files, and make installs packages beside them");
    sandbox.run([]).success();
    let names = sandbox.sh("python3 -m zipfile -l lambda.zip").success().stdout;
    assert!(names.contains("app.py") && names.contains("idna/core.py"), "{names}");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_virtual_environment_and_its_translation_differ_in_pip_alone() {
    let sandbox = Sandbox::new();
    sandbox.write("Makefile", sample("environment.mk"));
    sandbox.write("requirements.txt", "idna==3.10\n").write("src/app.py", "import idna\n");
    let run = sandbox.run(["import", "--compare"]).status(1);
    let other = run.stdout.lines().filter(|line| line.starts_with("  `"));
    let expected = ["pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-"];
    let other: Vec<&str> = other
        .filter(|line| !line.contains(".dist-info/") && !line.contains("__pycache__"))
        .filter(|line| !expected.iter().any(|name| line.starts_with(&format!("  `{name}"))))
        .collect();
    assert!(other.is_empty(), "{run}");
    assert!(run.stdout.contains("  `pip/__init__.py`"), "{run}");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn the_usual_makefile_and_its_translation_make_the_same_bundle() {
    let sandbox = Sandbox::new();
    sandbox.fixture("article").write("Makefile", sample("article.mk"));
    let git = "git init -q . && git -c user.name=t -c user.email=t@example.com";
    sandbox.sh(&format!("{git} commit -q --allow-empty -m first")).success();
    let run = sandbox.run(["import", "--compare"]);
    assert!(run.code.is_some_and(|code| code < 2), "{run}");
    // pip sorts the lines of a wheel's RECORD in another way, and gives it another mode.
    let other = run.stdout.lines().filter(|line| line.starts_with("  `"));
    let other: Vec<&str> = other.filter(|line| !line.contains(".dist-info/RECORD`")).collect();
    assert!(other.is_empty(), "{run}");
    sandbox.run(["import"]).success();
    sandbox.run([]).success();
    assert_eq!(sandbox.ran([]), [""; 0]);
}
