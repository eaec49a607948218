//! A wheelhouse from a lockfile: what is built, what is fetched, and from where.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use sha2::{Digest, Sha256};

use crate::index::{Index, file_of, response};
use crate::kills;
use crate::lock_tools::{UV, install, trust, uv};
use crate::sandbox::{Run, Sandbox};
use crate::wait::{end_of, send, until};

pub(crate) const BUILDFILE: &str = r#"
[target.wheels]
kind = "wheelhouse"
lock = "pylock.toml"
platform = { python = "3.13", arch = "arm64" }
"#;

/// Returns a sandbox with the wheels `alpha` and `beta` beside the project.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(BUILDFILE);
    fs::create_dir(sandbox.beside("files")).unwrap();
    for (name, modules) in [("alpha", 2), ("beta", 1)] {
        kills::wheel(&sandbox.beside("files"), name, modules);
    }
    sandbox
}

fn file(name: &str) -> String {
    format!("{name}-1.0-py3-none-any.whl")
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the entry of a wheel in a `pylock.toml`.
fn entry(sandbox: &Sandbox, name: &str, place: &str) -> String {
    let bytes = fs::read(sandbox.beside("files").join(file(name))).unwrap();
    let digest = sha256(&bytes);
    let size = bytes.len();
    format!(
        "[[packages]]\nname = \"{name}\"\nversion = \"1.0\"\nwheels = [{{ {place}, size = {size}, \
         hashes = {{ sha256 = \"{digest}\" }} }}]\n"
    )
}

pub(crate) fn lock(sandbox: &Sandbox, index: &Index) -> String {
    let entry = |name| entry(sandbox, name, &format!("url = \"{}\"", index.url(&file(name))));
    format!("lock-version = \"1.0\"\ncreated-by = \"test\"\n{}{}", entry("alpha"), entry("beta"))
}

pub(crate) fn wheels(sandbox: &Sandbox) -> Vec<String> {
    let entries = fs::read_dir(sandbox.path("build/wheels")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn build(sandbox: &Sandbox) -> Run {
    sandbox.run(["wheels"])
}

/// Puts an interpreter without pip first on PATH, so that a run of pip fails.
fn without_pip(sandbox: &mut Sandbox) {
    let run = sandbox.sh("python3 -m venv --without-pip venv && rm -rf venv/lib64");
    run.success();
    let path = std::env::var("PATH").unwrap();
    sandbox.set("PATH", format!("{}:{path}", sandbox.path("venv/bin").display()));
}

#[test]
fn locked_wheels_are_fetched_once_for_all_projects_and_without_pip() {
    let mut sandbox = sandbox();
    let index = Index::of(&sandbox.beside("files"));
    sandbox.write("pylock.toml", lock(&sandbox, &index));
    without_pip(&mut sandbox);
    build(&sandbox).success();
    let expected = [file("alpha"), file("beta")];
    assert_eq!(wheels(&sandbox), expected);
    for name in &expected {
        let original = fs::read(sandbox.beside("files").join(name)).unwrap();
        assert_eq!(sandbox.bytes(&format!("build/wheels/{name}")), original);
    }
    assert_eq!(index.requested(), expected);
    // The cache has them for every other target and project.
    sandbox.remove("build").remove(".zipwright");
    build(&sandbox).success();
    assert_eq!(wheels(&sandbox), expected);
    assert_eq!(index.requested(), expected);
}

#[test]
fn only_the_selected_wheels_count() {
    let sandbox = sandbox();
    let index = Index::of(&sandbox.beside("files"));
    let lock = lock(&sandbox, &index);
    let other = entry(&sandbox, "alpha", "path = \"gone/gamma-1.0-py3-none-any.whl\"")
        .replace("\"alpha\"\nversion", "\"gamma\"\nmarker = \"sys_platform == 'win32'\"\nversion");
    sandbox.write("pylock.toml", &lock);
    build(&sandbox).success();
    sandbox.write("pylock.toml", format!("{lock}{other}"));
    assert_eq!(sandbox.outcomes(["wheels"])["wheels"], "up-to-date");
    // A mirror has the same files.
    let mirror = Index::of(&sandbox.beside("files"));
    sandbox.write("pylock.toml", lock.replace(&index.url(""), &mirror.url("")));
    assert_eq!(sandbox.outcomes(["wheels"])["wheels"], "up-to-date");
    kills::wheel(&sandbox.beside("files"), "beta", 3);
    let newer = lock.replace(
        &entry(&sandbox, "alpha", &format!("url = \"{}\"", index.url(&file("alpha")))),
        "",
    );
    sandbox.write(
        "pylock.toml",
        newer.replace("name = \"beta\"\nversion = \"1.0\"", "name = \"beta\"\nversion = \"1.1\""),
    );
    let explained = sandbox.run(["explain", "wheels"]).success();
    for text in ["package beta", "1.0", "1.1", "package alpha"] {
        assert!(explained.stdout.contains(text), "{explained}");
    }
}

#[test]
fn a_file_with_other_bytes_is_refused_by_name_with_both_digests() {
    let sandbox = sandbox();
    let index = Index::of(&sandbox.beside("files"));
    let lock = lock(&sandbox, &index);
    let digest = lock.split("sha256 = \"").nth(1).unwrap()[..64].to_owned();
    let other = "0".repeat(64);
    sandbox.write("pylock.toml", lock.replace(&digest, &other));
    build(&sandbox)
        .failure()
        .stderr_has(&format!("`{}` from {} has SHA-256", file("alpha"), index.url(&file("alpha"))))
        .stderr_has(&format!("SHA-256 {digest}, and not {other}"));
    assert!(!sandbox.exists("build/wheels"));
}

#[test]
fn a_broken_download_is_resumed_and_a_busy_server_asked_again() {
    let sandbox = sandbox();
    let bytes = fs::read(sandbox.beside("files").join(file("alpha"))).unwrap();
    let half = bytes.len() / 2;
    let served = bytes.clone();
    let index = Index::new(move |head, number| match number {
        1 => response("503 Service Unavailable", b""),
        2 => {
            let mut whole = response("200 OK", &served);
            whole.truncate(whole.len() - (served.len() - half));
            whole
        }
        _ => {
            assert!(head.to_ascii_lowercase().contains(&format!("range: bytes={half}-\r\n")));
            let range = format!("bytes {half}-{}/{}", served.len() - 1, served.len());
            let status = format!("206 Partial Content\r\nContent-Range: {range}");
            response(&status, &served[half..])
        }
    });
    let alpha = entry(&sandbox, "alpha", &format!("url = \"{}\"", index.url(&file("alpha"))));
    sandbox.write("pylock.toml", format!("lock-version = \"1.0\"\ncreated-by = \"t\"\n{alpha}"));
    build(&sandbox).success();
    assert_eq!(sandbox.bytes(&format!("build/wheels/{}", file("alpha"))), bytes);
    assert_eq!(index.requested().len(), 3);
}

#[test]
fn a_signal_ends_downloads_and_the_next_build_fetches_only_the_rest() {
    let sandbox = sandbox();
    let whole = |name: &str| fs::read(sandbox.beside("files").join(file(name))).unwrap();
    let (alpha, beta) = (whole("alpha"), whole("beta"));
    let index = Index::new(move |head, _| match file_of(head) {
        name if name == file("alpha") => response("200 OK", &alpha),
        // The rest of the file does not arrive while the test runs.
        _ if head.to_ascii_lowercase().contains("range: ") => {
            thread::sleep(Duration::from_secs(600));
            Vec::new()
        }
        _ => {
            let mut half = response("200 OK", &beta);
            half.truncate(half.len() - beta.len() / 2);
            half
        }
    });
    let text = lock(&sandbox, &index);
    sandbox.write("pylock.toml", &text);
    let mut zipwright = sandbox
        .zipwright()
        .args(["--json", "wheels"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the rest of a file", || (index.requested().len() == 3).then_some(()));
    send(&zipwright, Signal::INT);
    assert_eq!(end_of(&mut zipwright).signal(), Some(Signal::INT.as_raw()));
    let mut events = String::new();
    zipwright.stdout.take().unwrap().read_to_string(&mut events).unwrap();
    assert!(
        events.contains(r#""event":"downloading","target":"wheels","files":2,"done":1,"#),
        "{events}"
    );
    assert!(!sandbox.exists("build/wheels"));
    let left = walkdir::WalkDir::new(sandbox.beside("cache")).into_iter().flatten();
    let left = left.filter(|entry| entry.path().extension().is_some_and(|it| it == "whl"));
    assert_eq!(left.count(), 1, "the complete file, and no part of another");
    let again = Index::of(&sandbox.beside("files"));
    sandbox.write("pylock.toml", text.replace(&index.url(""), &again.url("")));
    build(&sandbox).success();
    assert_eq!(wheels(&sandbox), [file("alpha"), file("beta")]);
    assert_eq!(again.requested(), [file("beta")]);
}

#[test]
fn files_that_arrived_beside_a_failure_are_not_fetched_again() {
    let sandbox = sandbox();
    let files = sandbox.beside("files");
    let index = Index::new(move |head, _| match fs::read(files.join(file_of(head))) {
        Ok(bytes) => response("200 OK", &bytes),
        Err(_) => response("404 Not Found", b""),
    });
    sandbox.write("pylock.toml", lock(&sandbox, &index));
    let place = sandbox.beside("files").join(file("alpha"));
    let alpha = fs::read(&place).unwrap();
    fs::remove_file(&place).unwrap();
    build(&sandbox)
        .failure()
        .stderr_has("could not fetch `alpha 1.0`: ")
        .stderr_has(&format!("{}: 404 Not Found", index.url(&file("alpha"))));
    fs::write(&place, alpha).unwrap();
    build(&sandbox).success();
    assert_eq!(index.requested(), [file("alpha"), file("alpha"), file("beta")]);
}

/// Opens tunnels to any server. Returns its port and the heads of the requests.
fn tunnels() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = heads.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut near, kept) = (stream.unwrap(), kept.clone());
            thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    near.read_exact(&mut byte).unwrap();
                    head.extend(byte);
                }
                let head = String::from_utf8(head).unwrap();
                let mut far = TcpStream::connect(head.split(' ').nth(1).unwrap()).unwrap();
                kept.lock().unwrap().push(head);
                near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
                let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut from, &mut to));
                let _ = std::io::copy(&mut far, &mut near);
            });
        }
    });
    (port, heads)
}

#[test]
fn https_goes_through_a_tunnel_of_the_proxy() {
    let mut sandbox = Sandbox::with(BUILDFILE);
    // If the package index is only reached by a proxy, this test cannot stand in for it.
    if ["https_proxy", "HTTPS_PROXY"].iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    let (port, heads) = tunnels();
    sandbox.set("HTTPS_PROXY", format!("http://me:hidden@127.0.0.1:{port}"));
    sandbox.write("pylock.toml", IDNA);
    build(&sandbox).success().stderr_lacks("hidden");
    let heads = heads.lock().unwrap();
    assert!(heads[0].starts_with("CONNECT files.pythonhosted.org:443 HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[0].to_lowercase().contains("proxy-authorization: basic "), "{heads:?}");
}

#[test]
fn credentials_and_proxies_are_used_and_never_shown() {
    let mut sandbox = sandbox();
    let files = sandbox.beside("files");
    // `me:secret`
    let index = Index::new(move |head, _| match head.contains("Basic bWU6c2VjcmV0") {
        true => response("200 OK", &fs::read(files.join(file_of(head))).unwrap()),
        false => response("401 Unauthorized", b""),
    });
    let text = lock(&sandbox, &index);
    sandbox.write("pylock.toml", &text);
    sandbox.set("PIP_RETRIES", 0);
    // pip may have a keyring, so it has a try.
    build(&sandbox)
        .failure()
        .stderr_has("warning: wheels: pip fetches 2 files: ")
        .stderr_has("wants credentials")
        .stderr_has("the download without pip failed before: ");
    sandbox.set("PIP_EXTRA_INDEX_URL", format!("http://me:secret@127.0.0.1:{}/simple", index.port));
    build(&sandbox).success().stderr_lacks("secret");
    sandbox.unset("PIP_EXTRA_INDEX_URL");
    sandbox.set("HOME", sandbox.beside("home").display());
    fs::write(sandbox.beside("home/.netrc"), "machine 127.0.0.1 login me password secret\n")
        .unwrap();
    fs::remove_dir_all(sandbox.beside("cache")).unwrap();
    sandbox.run(["-B", "wheels"]).success().stderr_lacks("secret");
    // A server that only the proxy can reach.
    fs::remove_dir_all(sandbox.beside("cache")).unwrap();
    let proxy = Index::of(&sandbox.beside("files"));
    let elsewhere = format!("http://files.example:{}/", index.port);
    sandbox.write(
        "pylock.toml",
        text.replace(&format!("http://127.0.0.1:{}/", index.port), &elsewhere),
    );
    sandbox.set("http_proxy", format!("http://me:hidden@127.0.0.1:{}", proxy.port));
    sandbox.unset("no_proxy");
    sandbox.unset("NO_PROXY");
    sandbox.run(["-B", "wheels"]).success().stderr_lacks("hidden");
    assert_eq!(proxy.requested(), [file("alpha"), file("beta")]);
    let heads = proxy.heads.lock().unwrap();
    assert!(
        heads.iter().all(|head| head.starts_with(&format!("GET {elsewhere}files/"))),
        "{heads:?}"
    );
}

#[test]
fn local_files_and_source_distributions_of_a_lock_are_used() {
    let sandbox = sandbox();
    crate::recipe::sdist(&sandbox, "habits", "habits-1.0");
    let bytes = sandbox.bytes("habits-1.0.tar.gz");
    let digest = sha256(&bytes);
    let index = Index::new(move |_, _| response("200 OK", &bytes));
    let url = index.url("habits-1.0.tar.gz");
    sandbox.remove("habits-1.0.tar.gz");
    fs::rename(sandbox.beside("files"), sandbox.path("files")).unwrap();
    fs::create_dir(sandbox.beside("files")).unwrap();
    for name in ["alpha", "beta"] {
        fs::copy(sandbox.path("files").join(file(name)), sandbox.beside("files").join(file(name)))
            .unwrap();
    }
    let alpha = entry(&sandbox, "alpha", &format!("path = \"./files/{}\"", file("alpha")));
    let beta = sandbox.path("files").join(file("beta"));
    let beta = entry(&sandbox, "beta", &format!("url = \"file://{}\"", beta.display()));
    let habits = format!(
        "[[packages]]\nname = \"habits\"\nversion = \"1.0\"\nsdist = {{ url = \"{url}\", hashes = \
         {{ sha256 = \"{digest}\" }} }}\n"
    );
    let lock = format!("lock-version = \"1.0\"\ncreated-by = \"t\"\n{alpha}{beta}{habits}");
    sandbox.write("pylock.host.toml", lock);
    sandbox.write(
        "Buildfile",
        "[target.wheels]\nkind = \"wheelhouse\"\nlock = \"pylock.host.toml\"\n",
    );
    build(&sandbox).success();
    let built = wheels(&sandbox);
    assert_eq!(built[..2], [file("alpha"), file("beta")]);
    assert!(built.len() == 3 && built[2].starts_with("habits-1.0-"), "{built:?}");
    assert_eq!(index.requested(), ["habits-1.0.tar.gz"]);
}

const UV_LOCK: &str = r#"
version = 1
requires-python = ">=3.10"
[manifest]
members = ["app", "lib"]
[[package]]
name = "app"
version = "1"
source = { virtual = "." }
dependencies = [{ name = "greeting" }, { name = "alpha", marker = "python_full_version < '3.12'" }]
[package.metadata]
requires-dist = [
    { name = "greeting", editable = "libs/greeting" },
    { name = "alpha", marker = "python_full_version < '3.12'", specifier = ">=1" },
]
[package.optional-dependencies]
more = [{ name = "beta" }]
[[package]]
name = "greeting"
version = "1"
source = { editable = "libs/greeting" }
"#;

const PYPROJECT: &str = r#"
[project]
name = "app"
version = "1"
dependencies = ["greeting", "alpha>=1; python_version < '3.12'"]
[tool.uv.sources]
greeting = { workspace = true }
"#;

#[test]
fn members_of_a_workspace_are_built_and_a_lock_behind_its_project_is_an_error() {
    let sandbox = sandbox();
    sandbox.fixture("greeting");
    fs::create_dir(sandbox.path("libs")).unwrap();
    fs::create_dir(sandbox.path("libs/greeting")).unwrap();
    sandbox.sh("mv pyproject.toml backend src libs/greeting/").success();
    sandbox.write("pyproject.toml", PYPROJECT).write("uv.lock", UV_LOCK);
    sandbox.write("Buildfile", BUILDFILE.replace("pylock.toml", "uv.lock"));
    build(&sandbox).success();
    let built = wheels(&sandbox);
    assert!(built.len() == 1 && built[0].starts_with("greeting-"), "{built:?}");
    sandbox.write("pyproject.toml", PYPROJECT.replace("alpha>=1", "alpha>=2"));
    build(&sandbox).failure().stderr_has(
        "`uv.lock` is behind `pyproject.toml`, which requires `alpha>=2`: run `uv lock`",
    );
    sandbox.write("pyproject.toml", PYPROJECT.replace("'3.12'", "'3.14'"));
    build(&sandbox).failure().stderr_has(
        "`uv.lock` is behind `pyproject.toml`, which requires `alpha>=1` under another marker: run \
         `uv lock`",
    );
    sandbox.write("pyproject.toml", PYPROJECT);
    let add = |line: &str| {
        sandbox
            .write("Buildfile", format!("{}{line}\n", BUILDFILE.replace("pylock.toml", "uv.lock")));
        build(&sandbox).failure()
    };
    add("extras = [\"les\"]").stderr_has("`app` has no extra `les`: it has `more`");
    add("package = \"nobody\"").stderr_has("no member `nobody`: it has `app`");
    add("groups = [\"dev\"]").stderr_has("`app` has no dependency group `dev`: it has none");
    add("projects = [\"libs/greeting\"]\nextras = [\"more\"]")
        .stderr_has("the lockfile names `beta`, and has no such package");
}

#[test]
fn a_folder_that_is_an_index_of_uv_needs_no_hashes() {
    let sandbox = sandbox();
    let lock = "version = 1\nrequires-python = \">=3.10\"\n[[package]]\nname = \"app\"\n\
                source = { virtual = \".\" }\ndependencies = [{ name = \"alpha\" }]\n\
                [package.metadata]\nrequires-dist = [{ name = \"alpha\" }]\n\
                [[package]]\nname = \"alpha\"\nversion = \"1.0\"\nsource = { registry = \"fl\" }\n\
                wheels = [{ path = \"alpha-1.0-py3-none-any.whl\" }]\n";
    let pyproject = "[project]\nname = \"app\"\ndependencies = [\"alpha\"]\n";
    sandbox.write("pyproject.toml", pyproject).write("uv.lock", lock);
    sandbox.write("Buildfile", BUILDFILE.replace("pylock.toml", "uv.lock"));
    build(&sandbox).failure().stderr_has("put it there, or lock again");
    fs::create_dir(sandbox.path("fl")).unwrap();
    for modules in [2, 3] {
        kills::wheel(&sandbox.path("fl"), "alpha", modules);
        build(&sandbox).success();
        let place = format!("build/wheels/{}", file("alpha"));
        assert_eq!(sandbox.bytes(&place), sandbox.bytes(&format!("fl/{}", file("alpha"))));
        assert_eq!(sandbox.outcomes(["wheels"])["wheels"], "up-to-date");
    }
    sandbox.write("uv.lock", lock.replace("\"fl\"", "\"../files\""));
    build(&sandbox)
        .failure()
        .stderr_has("has no hash in the lockfile, and is outside the project")
        .stderr_has(&format!("`alpha = {{ path = \"../files/{}\" }}`", file("alpha")));
    sandbox.write("uv.lock", lock.replace("path = \"", "url = \"https://h/"));
    build(&sandbox).failure().stderr_has("name the file in `tool.uv.sources`");
}

#[test]
fn credentials_of_an_index_of_uv_are_used() {
    let mut sandbox = sandbox();
    let files = sandbox.beside("files");
    // `aws:token`
    let index = Index::new(move |head, _| match head.contains("Basic YXdzOnRva2Vu") {
        true => response("200 OK", &fs::read(files.join(file_of(head))).unwrap()),
        false => response("401 Unauthorized", b""),
    });
    let digest = sha256(&fs::read(sandbox.beside("files").join(file("alpha"))).unwrap());
    let url = index.url(&file("alpha"));
    sandbox.write("Buildfile", BUILDFILE.replace("pylock.toml", "uv.lock"));
    sandbox.write(
        "uv.lock",
        format!(
            "version = 1\n[[package]]\nname = \"app\"\nsource = {{ virtual = \".\" }}\n\
             dependencies = [{{ name = \"alpha\" }}]\n[package.metadata]\n\
             requires-dist = [{{ name = \"alpha\" }}]\n[[package]]\nname = \"alpha\"\n\
             version = \"1.0\"\nsource = {{ registry = \"{0}\" }}\n\
             wheels = [{{ url = \"{url}\", hash = \"sha256:{digest}\" }}]\n",
            index.url("simple")
        ),
    );
    sandbox.write(
        "pyproject.toml",
        format!(
            "[project]\nname = \"app\"\ndependencies = [\"alpha\"]\n[[tool.uv.index]]\n\
             name = \"own-index\"\nurl = \"{}\"\n",
            index.url("simple")
        ),
    );
    sandbox.set("UV_INDEX_OWN_INDEX_USERNAME", "aws");
    sandbox.set("UV_INDEX_OWN_INDEX_PASSWORD", "token");
    build(&sandbox).success();
    assert_eq!(wheels(&sandbox), [file("alpha")]);
}

/// The files of `idna 3.7` in the package index.
const IDNA: &str = r#"
lock-version = "1.0"
created-by = "test"
[[packages]]
name = "idna"
version = "3.7"
sdist = { url = "https://files.pythonhosted.org/packages/21/ed/f86a79a07470cb07819390452f178b3bef1d375f2ec021ecfc709fc7cf07/idna-3.7.tar.gz", hashes = { sha256 = "028ff3aadf0609c1fd278d8ea3089299412a7a8b9bd005dd08b9f8285bcb5cfc" } }
wheels = [{ url = "https://files.pythonhosted.org/packages/e5/3e/741d8c82801c347547f8a2a06aa57dbb1992be9e948df2ea0eda2c8b79e8/idna-3.7-py3-none-any.whl", size = 66836, hashes = { sha256 = "82fee1fc78add43492d3a1898bfa6d8a904cc97d8427f683ed8e798d07761aa0" } }]
"#;

#[test]
fn a_wheel_of_the_package_index_is_fetched() {
    let sandbox = Sandbox::with(BUILDFILE);
    sandbox.write("pylock.toml", IDNA);
    build(&sandbox).success();
    assert_eq!(wheels(&sandbox), ["idna-3.7-py3-none-any.whl"]);
}

const APP: &str = r#"
[project]
name = "app"
version = "1"
requires-python = ">=3.11"
dependencies = ["numpy", "httpx[http2]", "colorama; sys_platform == 'win32'", "greeting"]
[project.optional-dependencies]
cloud = ["boto3"]
[dependency-groups]
dev = ["pytest"]
[tool.uv.workspace]
members = ["libs/*"]
[tool.uv.sources]
greeting = { workspace = true }
"#;

/// Locks of uv itself give the wheels that uv installs, and so do the pylocks that it exports.
#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn locks_of_uv_give_the_wheels_that_uv_installs() {
    let mut sandbox = Sandbox::new();
    sandbox.fixture("greeting");
    sandbox.sh("mkdir -p libs/greeting && mv pyproject.toml backend src libs/greeting/").success();
    sandbox.write("pyproject.toml", APP);
    trust(&mut sandbox);
    install(&sandbox, UV);
    let run = |command: &str| uv(&sandbox, command).success();
    run("lock -q");
    run("export -q --frozen --no-dev --extra cloud --format pylock.toml -o pylock.toml");
    run(
        "export -q --frozen --no-dev --extra cloud --no-emit-workspace --format requirements-txt -o theirs.txt",
    );
    for (arch, machine) in [("arm64", "aarch64"), ("x86_64", "x86_64")] {
        sandbox.write(
            "Buildfile",
            format!(
                "[target.uv]\nkind = \"wheelhouse\"\nlock = \"uv.lock\"\nextras = [\"cloud\"]\n\
                 platform = {{ python = \"3.13\", arch = \"{arch}\" }}\n\
                 [target.pylock]\nkind = \"wheelhouse\"\nlock = \"pylock.toml\"\n\
                 platform = {{ python = \"3.13\", arch = \"{arch}\" }}\n"
            ),
        );
        sandbox.run(["uv", "pylock"]).success();
        sandbox.sh("diff -r build/uv build/pylock").success();
        run(&format!(
            "pip install -q --target theirs-{arch} --python-version 3.13 --only-binary :all: \
             --python-platform {machine}-manylinux_2_34 -r theirs.txt"
        ));
        let ours =
            sandbox.sh("ls build/uv | grep -v ^greeting- | cut -d- -f1,2 | tr A-Z a-z | sort");
        let theirs = sandbox.sh(&format!(
            "ls -d theirs-{arch}/*.dist-info | xargs -n1 basename -s .dist-info | tr A-Z a-z | sort"
        ));
        let (ours, theirs) = (ours.success().stdout, theirs.success().stdout);
        assert_eq!(ours, theirs);
        assert!(ours.contains("numpy-") && ours.contains("boto3-"), "{ours}");
    }
}
