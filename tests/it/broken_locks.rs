//! Lockfiles that were damaged, or made by hand: one error that names the file, the place and the way
//! out, and nothing is fetched or started that the lockfile does not need.

use std::fs;

use crate::index::{Index, file_of, response};
use crate::kills;
use crate::lockfiles::{BUILDFILE, lock};
use crate::sandbox::{Run, Sandbox};

const HEAD: &str = "lock-version = \"1.0\"\ncreated-by = \"t\"\n";
const HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const AGAIN: &str = "restore it, or write it again with the tool that locks this project";

fn build(sandbox: &Sandbox) -> Run {
    let run = sandbox.run(["wheels"]).failure();
    let errors = run.stderr.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 1, "{run}");
    run
}

/// Returns a lockfile with one file of `alpha 1.0`: a place such as `url = "…"`.
fn one_file(kind: &str, place: &str) -> String {
    let item = format!("{{ {place}, hashes = {{ sha256 = \"{HASH}\" }} }}");
    let item = if kind == "wheels" { format!("[{item}]") } else { item };
    format!("{HEAD}[[packages]]\nname = \"alpha\"\nversion = \"1.0\"\n{kind} = {item}\n")
}

#[test]
fn a_text_that_is_no_lockfile_is_named_with_its_place_and_a_way_out() {
    let sandbox = Sandbox::with(BUILDFILE);
    let deep = format!("{HEAD}x = {}", "[".repeat(5_000));
    for (text, place) in [
        (format!("{HEAD}[[packages]]\nname = \"alpha\"\nversion = \"1."), "at line 5, column 14"),
        (String::new(), "missing field `lock-version`"),
        ("<html>Not Found</html>".into(), "at line 1, column "),
        (format!("{HEAD}<<<<<<< HEAD\n"), "at line 3, column "),
        (deep, "at line 3, column "),
        ("lock-version = \"2.0\"\npackages = []\n".into(), "`lock-version` is 2.0"),
    ] {
        sandbox.write("pylock.toml", text);
        let run = build(&sandbox).stderr_has("`pylock.toml` cannot be used: ");
        let run = run.stderr_has(place).stderr_has(AGAIN);
        assert!(run.stderr.lines().all(|line| line.len() < 200), "{run}");
    }
    sandbox.write("pylock.toml", b"\xff\xfe\x00");
    build(&sandbox).stderr_has("could not read `pylock.toml`: ").stderr_has(AGAIN);
}

#[test]
fn a_lock_that_is_missing_or_is_not_a_file_is_an_error_at_once() {
    let sandbox = Sandbox::with(BUILDFILE);
    sandbox.write("pylock.toml", format!("{HEAD}packages = []\n"));
    sandbox.run(["wheels"]).success();
    sandbox.remove("pylock.toml");
    build(&sandbox).stderr_has("there is no file `pylock.toml`").stderr_has(AGAIN);
    sandbox.sh("mkdir pylock.toml").success();
    build(&sandbox).stderr_has("`pylock.toml` is not a file");
    sandbox.sh("rmdir pylock.toml; mkfifo pylock.toml").success();
    build(&sandbox).stderr_has("`pylock.toml` is not a file");
    sandbox.sh("rm pylock.toml; ln -s pylock.toml pylock.toml").success();
    build(&sandbox).stderr_has("could not read `pylock.toml`: ");
    // A link to a file is read like the file.
    sandbox.write("real.toml", format!("{HEAD}packages = []\n"));
    sandbox.sh("rm pylock.toml; ln -s real.toml pylock.toml").success();
    assert_eq!(sandbox.outcomes(["wheels"])["wheels"], "up-to-date");
    sandbox.write("Buildfile", BUILDFILE.replace("pylock.toml", "uv.lock"));
    build(&sandbox)
        .stderr_has("there is no file `uv.lock`")
        .stderr_has("write it again: `uv lock`");
}

#[test]
fn entries_that_cannot_be_right_are_named() {
    let sandbox = Sandbox::with(BUILDFILE);
    let alpha = "alpha-1.0-py3-none-any.whl";
    let url = |url: &str| one_file("wheels", &format!("url = \"{url}\""));
    let vcs = |url: &str, commit: &str| {
        format!(
            "{HEAD}[[packages]]\nname = \"alpha\"\nvcs = {{ type = \"git\", url = \"{url}\", \
             commit-id = \"{commit}\" }}\n"
        )
    };
    let commit = "0123456789012345678901234567890123456789";
    let twice = url(&format!("http://127.0.0.1/{alpha}"));
    let scheme = "a file of `alpha 1.0` does not begin with `https:`, `http:` or `file:`";
    let repository = "the URL of the repository of `alpha` does not begin with";
    for (text, error, way_out) in [
        (twice.replace(HASH, "12"), "a SHA-256 of `alpha 1.0` is not one: `12`", "lock it again"),
        (twice.replace("sha256", "md5"), "has no `sha256` among its `hashes`", "lock it again"),
        (
            format!("{twice}{}", twice.replace(HEAD, "")),
            "has both `alpha 1.0` and",
            "lock it again",
        ),
        (
            url("http://h/alpha-1.0-cp313-cp313-manylinux_2_17_x86_64.whl"),
            "no wheel of `alpha 1.0` in the lockfile fits python3.13 on arm64",
            "lock it for this platform",
        ),
        (
            twice.replace(
                "version = \"1.0\"\nwheels",
                "version = \"1.0\"\nrequires-python = \"<3.9\"\nwheels",
            ),
            "`alpha 1.0` requires Python <3.9, and the target is python3.13 on arm64",
            "build for another Python",
        ),
        (url("http://h/beta-1.0-py3-none-any.whl"), "is a wheel of another project", ""),
        (url(&format!("ftp://me:secret@h/{alpha}")), scheme, "lock it again"),
        (url(alpha), scheme, "lock it again"),
        (vcs("--upload-pack=touch x", commit), repository, "lock it again"),
        (vcs("ext::sh -c touch% x", commit), repository, "lock it again"),
        (vcs("https://h/r", "--help"), "`--help` is not the id of a commit", "lock it again"),
        (twice.replace(" }]", ", size = 99999999999999999999 }]"), "expected u64", AGAIN),
    ] {
        sandbox.write("pylock.toml", &text);
        build(&sandbox).stderr_has(error).stderr_has(way_out).stderr_lacks("secret");
    }
    assert!(!sandbox.exists("x"));
}

#[test]
fn files_that_are_not_there_are_named() {
    let sandbox = Sandbox::with(BUILDFILE);
    let alpha = "alpha-1.0-py3-none-any.whl";
    let folder = one_file("wheels", "url = \"file:///tmp\"");
    let folder = folder.replace(", hashes", &format!(", name = \"{alpha}\", hashes"));
    let missing = "the file of `alpha 1.0`, does not exist";
    for (text, error) in [
        (one_file("wheels", &format!("path = \"gone/{alpha}\"")), missing),
        (one_file("wheels", &format!("path = \"../gone/{alpha}\"")), missing),
        (one_file("sdist", "path = \"gone/alpha-1.0.tar.gz\""), missing),
        (folder, "`/tmp`, the file of `alpha 1.0`, is not a file"),
    ] {
        sandbox.write("pylock.toml", &text);
        build(&sandbox).stderr_has(error).stderr_has("put it there, or lock again");
    }
    for (kind, file) in [("wheels", alpha), ("sdist", "alpha-1.0.tar.gz")] {
        sandbox.sh(&format!("rm -rf pipe; mkdir pipe; mkfifo pipe/{file}")).success();
        sandbox.write("pylock.toml", one_file(kind, &format!("path = \"pipe/{file}\"")));
        build(&sandbox).stderr_has("the file of `alpha 1.0`, is not a file");
    }
}

#[test]
fn answers_of_an_index_that_are_no_wheel_are_named_without_credentials() {
    let sandbox = Sandbox::with(BUILDFILE);
    fs::create_dir(sandbox.beside("files")).unwrap();
    for name in ["alpha", "beta"] {
        kills::wheel(&sandbox.beside("files"), name, 1);
    }
    let files = sandbox.beside("files");
    let index = Index::new(move |head, _| {
        let file = file_of(head).split('?').next().unwrap_or_default();
        match (file.starts_with("alpha"), head.split('/').nth(1)) {
            (false, _) => response("200 OK", &fs::read(files.join(file)).unwrap()),
            (true, Some("gone")) => response("404 Not Found", b"<html>"),
            (true, Some("login")) => response("200 OK", b"<html>Log in</html>"),
            (true, Some("endless")) => response("200 OK", &vec![b'x'; 1 << 20]),
            (true, Some("teapot")) => response("418 I'm a teapot", b""),
            (true, Some("circle")) => {
                b"HTTP/1.1 302 Found\r\nlocation: #\r\ncontent-length: 0\r\n\r\n".to_vec()
            }
            (true, Some("busy")) => response("503 Service Unavailable\r\nretry-after: 0", b""),
            (true, _) => response("403 Forbidden", b"<html>"),
        }
    });
    let text = lock(&sandbox, &index);
    let host = format!("http://127.0.0.1:{}/", index.port);
    let with_secret = format!("http://me:secret@127.0.0.1:{}/", index.port);
    for (folder, error, way_out) in [
        ("gone", "404 Not Found", "if the index no longer has this file, lock again"),
        ("login", "bytes instead of ", "this is not the file that was locked"),
        ("endless", "has more than the ", "this is not the file that was locked"),
        ("teapot", "418 I'm a teapot", "if another index has this file, lock again with that one"),
        (
            "circle",
            "is redirected more than 10 times",
            "if another index has this file, lock again",
        ),
        ("busy", ": 503 Service Unavailable, 5 times in a row", "the files that arrived are kept"),
    ] {
        sandbox.write(
            "pylock.toml",
            text.replace(&format!("{host}files/"), &format!("{with_secret}{folder}/")),
        );
        let run =
            build(&sandbox).stderr_has(&format!("could not fetch `alpha 1.0`: {host}{folder}/"));
        run.stderr_has(error).stderr_has(way_out).stderr_lacks("secret");
    }
    // Without a size in the lockfile, the digest tells.
    let sizes = text.split(", size = ").skip(1).map(|rest| rest.split(',').next().unwrap());
    let unsized_text =
        sizes.fold(text.clone(), |text, size| text.replace(&format!(", size = {size}"), ""));
    sandbox.write(
        "pylock.toml",
        unsized_text.replace(&format!("{host}files/"), &format!("{with_secret}login/")),
    );
    build(&sandbox)
        .stderr_has("`alpha-1.0-py3-none-any.whl` from ")
        .stderr_has("this is not the file that was locked: find out why before you lock again")
        .stderr_lacks("secret");
}
