//! `zipwright lock`: each wheel has the origin that it has for this project, and no secret is written.

use std::fs;

use crate::index::{Index, file_of, response};
use crate::kills;
use crate::lockfiles::sha256;
use crate::sandbox::Sandbox;

const ALPHA: &str = "alpha-1.0-py3-none-any.whl";

/// Returns a project with these requirements, and the folder `w` with the wheel `alpha`.
fn project(requirements: &str) -> Sandbox {
    let sandbox = Sandbox::with(
        "[target.wheels]\nkind = \"wheelhouse\"\nrequirements = [\"requirements.txt\"]\n",
    );
    sandbox.write("requirements.txt", requirements);
    fs::create_dir(sandbox.path("w")).unwrap();
    kills::wheel(&sandbox.path("w"), "alpha", 1);
    sandbox
}

/// Returns a further project of the same user.
fn second(first: &Sandbox, requirements: &str) -> Sandbox {
    let mut sandbox = project(requirements);
    sandbox.set("XDG_CACHE_HOME", first.beside("cache").display());
    sandbox
}

/// Returns the options of a requirement that allow exactly this wheel.
fn hash(sandbox: &Sandbox) -> String {
    format!("--hash=sha256:{}", sha256(&sandbox.bytes(&format!("w/{ALPHA}"))))
}

fn lock(sandbox: &Sandbox) -> String {
    sandbox.run(["lock"]).success();
    sandbox.read("pylock.toml")
}

#[test]
fn the_origins_of_another_project_with_the_same_wheels_do_not_count() {
    let one = project("");
    let index = Index::of(&one.path("w"));
    one.write("requirements.txt", format!("alpha @ {}\n", index.url(ALPHA)));
    one.run(["wheels"]).success();
    let two = second(&one, "--no-index\n-f w\nalpha\n");
    two.run(["wheels"]).success();
    let url = format!("url = \"{}\"", index.url(ALPHA));
    assert!(lock(&one).contains(&url), "{}", lock(&one));
    assert!(lock(&two).contains(&format!("path = \"w/{ALPHA}\"")), "{}", lock(&two));
}

#[test]
fn a_local_project_is_locked_by_its_own_folder() {
    let place = |sandbox: &Sandbox, folder: &str| {
        sandbox.write("requirements.txt", format!("./{folder}\n")).fixture("greeting");
        let files = "pyproject.toml backend src";
        sandbox.sh(&format!("mkdir -p {folder} && mv {files} {folder}/")).success();
        sandbox.run(["wheels"]).success();
    };
    let one = project("");
    place(&one, "lib");
    let two = second(&one, "");
    place(&two, "packages/gg");
    assert!(lock(&one).contains("path = \"lib\""), "{}", lock(&one));
    assert!(lock(&two).contains("path = \"packages/gg\""), "{}", lock(&two));
}

#[test]
fn a_cached_resolution_has_the_origins_of_the_project_that_uses_it() {
    for folder in ["w", "../w"] {
        let one = project("");
        let text = format!("--no-index\n-f {folder}\nalpha==1.0 {}\n", hash(&one));
        let two = second(&one, &text);
        one.write("requirements.txt", &text);
        for sandbox in [&one, &two] {
            fs::create_dir(sandbox.beside("w")).unwrap();
            kills::wheel(&sandbox.beside("w"), "alpha", 1);
            sandbox.run(["wheels"]).success();
        }
        for sandbox in [&one, &two] {
            let (own, text) = (sandbox.beside("w").display().to_string(), lock(sandbox));
            let is_own = match folder {
                "w" => text.contains(&format!("path = \"w/{ALPHA}\"")),
                _ => text.contains(&own),
            };
            assert!(is_own, "{text}");
        }
    }
}

#[test]
fn a_project_that_is_up_to_date_is_locked_without_the_cache() {
    let sandbox = project("");
    sandbox.write("requirements.txt", format!("--no-index\n-f w\nalpha==1.0 {}\n", hash(&sandbox)));
    sandbox.run(["wheels"]).success();
    fs::remove_dir_all(sandbox.beside("cache")).unwrap();
    let before = lock(&sandbox);
    // Without a record, the way out that the error names leads to the same lockfile.
    sandbox.remove(".zipwright/origins");
    let run = sandbox.run(["lock"]).failure();
    run.stderr_has(&format!("no record of the origin of `{ALPHA}`")).stderr_has("again with `-B`");
    sandbox.run(["-B", "wheels"]).success();
    assert_eq!(lock(&sandbox), before);
}

#[test]
fn a_url_with_a_secret_is_neither_locked_nor_kept() {
    let sandbox = project("");
    let bytes = sandbox.bytes(&format!("w/{ALPHA}"));
    let index = Index::new(move |head, _| match file_of(head).contains("token=s3cretvalue") {
        true => response("200 OK", &bytes),
        false => response("403 Forbidden", b""),
    });
    let requirement =
        format!("alpha @ {}?token=s3cretvalue {}\n", index.url(ALPHA), hash(&sandbox));
    sandbox.write("requirements.txt", requirement);
    let run = sandbox.run(["lock"]).failure();
    run.stderr_has("the URL of `alpha 1.0` has a secret")
        .stderr_has("?token=****`")
        .stderr_lacks("s3cretvalue");
    assert!(!sandbox.exists("pylock.toml"));
    let kept = sandbox.sh("grep -rl s3cretvalue .zipwright build ../cache");
    assert_eq!(kept.stdout, "", "{kept}");
}
