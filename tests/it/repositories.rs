//! Wheels that are built from commits of git repositories.

use crate::lockfiles::wheels;
use crate::sandbox::Sandbox;

/// Returns a project, and the id of the commit of the repository `repo` beside it, which has the
/// project `greeting` in the folder `sub`.
fn with_repository() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    sandbox.fixture("greeting");
    let made = sandbox.sh("mkdir -p ../repo/sub && mv pyproject.toml backend src ../repo/sub/ && \
         cd ../repo && git init -q && git add . && \
         git -c user.name=a -c user.email=a@b -c commit.gpgsign=false commit -qm one && \
         git rev-parse HEAD");
    let commit = made.success().stdout.trim().to_owned();
    (sandbox, commit)
}

fn build(sandbox: &Sandbox, keys: &str) {
    sandbox.write("Buildfile", format!("[target.wheels]\nkind = \"wheelhouse\"\n{keys}\n"));
    sandbox.run(["wheels"]).success();
    let found = wheels(sandbox);
    assert!(found.len() == 1 && found[0].starts_with("greeting-1.0-"), "{found:?}");
}

#[test]
fn a_folder_of_a_repository_is_built() {
    let (sandbox, commit) = with_repository();
    let url = format!("git+file://{}@{commit}", sandbox.beside("repo").display());
    for line in [
        format!("{url}#egg=greeting&subdirectory=sub"),
        format!("-e {url}#egg=greeting&subdirectory=sub"),
    ] {
        sandbox.write("requirements.txt", format!("{line}\n"));
        std::fs::remove_dir_all(sandbox.beside("cache")).unwrap();
        build(&sandbox, "requirements = [\"requirements.txt\"]");
    }
    sandbox.run(["lock"]).success();
    let lock = sandbox.read("pylock.toml");
    std::fs::remove_dir_all(sandbox.beside("cache")).unwrap();
    build(&sandbox, "lock = \"pylock.toml\"");
    // PEP 751 does not demand a version, and another tool may write it in another form.
    let (name, version) = ("name = \"greeting\"\n", "version = \"1.0\"\n");
    assert!(lock.contains(&format!("{name}{version}")), "{lock}");
    for other in ["", "version = \"1.0.0\"\n"] {
        let text = lock.replace(&format!("{name}{version}"), &format!("{name}{other}"));
        sandbox.write("pylock.toml", text);
        std::fs::remove_dir_all(sandbox.beside("cache")).unwrap();
        build(&sandbox, "lock = \"pylock.toml\"");
    }
}
