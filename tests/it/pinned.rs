//! Requirements from a package index on this machine: pinned ones without pip, and others with each
//! wheel downloaded once.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};

use serde_json::json;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::index::{Index, response};
use crate::lock_tools::UV;
use crate::lockfiles::{sha256, wheels};
use crate::markers::compare_with;
use crate::sandbox::{Run, Sandbox};

const BUILDFILE: &str = r#"
[target.wheels]
kind = "wheelhouse"
requirements = ["requirements.txt"]
platform = { python = "3.13", arch = "arm64" }
"#;

/// A file of the index: its name, its METADATA after the version, and the rest of its entry on the
/// page.
type File = (&'static str, &'static str, &'static str);

const FILES: [File; 7] = [
    ("alpha-1.0-py3-none-any.whl", "Requires-Dist: beta>=1\n", ""),
    ("alpha-1.0-py2-none-any.whl", "", ""),
    ("alpha-1.1-py3-none-any.whl", "", ""),
    ("beta-2.0-py3-none-any.whl", "", ""),
    ("beta-2.0-5-py3-none-any.whl", "Requires-Dist: alpha; extra == 'x'\n", "yanked"),
    ("beta-2.0-4-py3-none-any.whl", "", "requires"),
    ("beta-2.0-3-py3-none-any.whl", "Requires-Python: >=3.8\n", ""),
];

fn metadata((name, rest, _): File) -> String {
    let parts: Vec<&str> = name.split('-').collect();
    format!("Metadata-Version: 2.1\nName: {}\nVersion: {}\n{rest}", parts[0], parts[1])
}

fn content(file: File) -> Vec<u8> {
    let parts: Vec<&str> = file.0.split('-').collect();
    let info = format!("{}-{}.dist-info", parts[0], parts[1]);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let wheel = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let record = format!("{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n");
    for (name, text) in [("METADATA", metadata(file)), ("WHEEL", wheel.into()), ("RECORD", record)]
    {
        archive.start_file(format!("{info}/{name}"), SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// The form of an index's pages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    /// JSON, with a file of metadata beside each wheel (PEP 658).
    JsonWithMetadata,
    Html,
    /// HTML without hashes.
    HtmlWithoutHashes,
}

/// Returns the page of a project.
fn page(project: &str, form: Form) -> (&'static str, String) {
    let own = FILES.iter().copied().filter(|file| file.0.starts_with(&format!("{project}-")));
    let is_json = [Form::Json, Form::JsonWithMetadata].contains(&form);
    let entry = |file: File| {
        let (name, _, more) = file;
        let (url, digest) = (format!("../../files/{name}"), sha256(&content(file)));
        if is_json {
            let more = match (more, form) {
                ("yanked", _) => ", \"yanked\": \"broken\"".into(),
                ("requires", _) => ", \"requires-python\": \"<3\"".into(),
                (_, Form::JsonWithMetadata) => {
                    let digest = sha256(metadata(file).as_bytes());
                    format!(", \"core-metadata\": {{\"sha256\": \"{digest}\"}}")
                }
                _ => String::new(),
            };
            let hashes = format!("{{\"sha256\": \"{digest}\"}}");
            return format!(
                "{{\"filename\": \"{name}\", \"url\": \"{url}\", \"hashes\": {hashes}{more}}}"
            );
        }
        let hash = if form == Form::Html { format!("#sha256={digest}") } else { String::new() };
        let more = match more {
            "yanked" => " data-yanked=\"broken\"",
            "requires" => " data-requires-python=\"&lt;3\"",
            _ => "",
        };
        format!("<a href=\"{url}{hash}\"{more}>{name}</a><br/>")
    };
    let entries: Vec<String> = own.map(entry).collect();
    if is_json {
        let files = entries.join(", ");
        let text = format!(
            "{{\"meta\": {{\"api-version\": \"1.1\"}}, \"name\": \"{project}\", \"files\": [{files}]}}"
        );
        ("application/vnd.pypi.simple.v1+json", text)
    } else {
        ("text/html", format!("<!DOCTYPE html><html><body>{}</body></html>", entries.join("\n")))
    }
}

/// Returns an index with these projects.
fn index(projects: &'static [&'static str], form: Form) -> Index {
    Index::new(move |head, _| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let project = projects.iter().find(|project| path == format!("/simple/{project}/"));
        if let Some(project) = project {
            let (media_type, text) = page(project, form);
            return response(&format!("200 OK\r\nContent-Type: {media_type}"), text.as_bytes());
        }
        let name = path.strip_prefix("/files/").unwrap_or_default();
        let file = |name: &str| FILES.iter().copied().find(|file| file.0 == name);
        if let Some(file) = name.strip_suffix(".metadata").and_then(file) {
            return response("200 OK", metadata(file).as_bytes());
        }
        match file(name) {
            Some(file) => response("200 OK", &content(file)),
            None => response("404 Not Found", b""),
        }
    })
}

/// Returns how often each file was requested, by which program.
fn requests(index: &Index) -> BTreeMap<(String, &'static str), usize> {
    let mut requests = BTreeMap::new();
    for head in index.heads.lock().unwrap().iter() {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let is_pip = head.to_ascii_lowercase().contains("user-agent: pip/");
        let program = if is_pip { "pip" } else { "zipwright" };
        let name = path.trim_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        *requests.entry((name, program)).or_default() += 1;
    }
    requests
}

fn programs(index: &Index) -> Vec<&'static str> {
    let mut programs: Vec<&str> = requests(index).into_keys().map(|(_, program)| program).collect();
    programs.sort_unstable();
    programs.dedup();
    programs
}

fn hash(name: &str) -> String {
    let file = FILES.iter().copied().find(|file| file.0 == name).unwrap();
    format!("--hash=sha256:{}", sha256(&content(file)))
}

/// Returns the line of a project with the hashes of all its files.
fn line(requirement: &str) -> String {
    let project = requirement.split(['[', '=']).next().unwrap();
    let own = FILES.iter().filter(|file| file.0.starts_with(&format!("{project}-")));
    let hashes: Vec<String> = own.map(|file| hash(file.0)).collect();
    format!("{requirement} {}\n", hashes.join(" \\\n    "))
}

fn sandbox(requirements: &str) -> Sandbox {
    let mut sandbox = Sandbox::with(BUILDFILE);
    sandbox.unset("PIP_INDEX_URL");
    sandbox.set("PIP_CACHE_DIR", sandbox.beside("pip-cache").display());
    sandbox.write("requirements.txt", requirements);
    sandbox
}

fn url(index: &Index) -> String {
    format!("http://127.0.0.1:{}/simple", index.port)
}

fn build(sandbox: &Sandbox) -> Run {
    sandbox.run(["wheels"])
}

const CHOSEN: [&str; 2] = ["alpha-1.0-py3-none-any.whl", "beta-2.0-3-py3-none-any.whl"];

#[test]
fn pinned_requirements_are_found_in_several_indexes_without_pip() {
    for (first, second) in [(Form::Json, Form::Html), (Form::Html, Form::Json)] {
        let (one, two) = (index(&["alpha"], first), index(&["beta"], second));
        let text = format!(
            "--index-url {}\n--extra-index-url {}/\n{}{}",
            url(&one),
            url(&two),
            line("alpha==1.0"),
            line("beta[x]==2.0")
        );
        let mut sandbox = sandbox(&text);
        build(&sandbox).success();
        assert_eq!(wheels(&sandbox), CHOSEN);
        for index in [&one, &two] {
            assert_eq!(programs(index), ["zipwright"], "{:?}", requests(index));
            assert!(requests(index).values().all(|times| *times == 1), "{:?}", requests(index));
        }
        // For a platform, no Python is needed.
        sandbox.set("PATH", sandbox.beside("nothing").display());
        let away = text.replace(&url(&two), "http://127.0.0.1:1/simple");
        sandbox.write("requirements.txt", away);
        let run = build(&sandbox).failure().stderr_has("only pip can resolve these requirements");
        run.stderr_has("could not connect to 127.0.0.1:1").stderr_has("no interpreter `python3`");
        sandbox.write("requirements.txt", &text);
        sandbox.set("XDG_CACHE_HOME", sandbox.beside("other-cache").display());
        sandbox.remove("build").remove(".zipwright");
        build(&sandbox).success();
        assert_eq!(wheels(&sandbox), CHOSEN);
        // Another project with the same requirements sends no request.
        let before = requests(&one);
        sandbox.remove("build").remove(".zipwright");
        build(&sandbox).success();
        assert_eq!(wheels(&sandbox), CHOSEN);
        assert_eq!(requests(&one), before);
    }
}

#[test]
fn pinned_requirements_come_from_an_index_and_folders_on_this_disk() {
    let page = page("alpha", Form::Html).1;
    let folder =
        BUILDFILE.replace("requirements =", "pip-args = [\"-f\", \"links\"]\nrequirements =");
    let sandbox =
        sandbox(&format!("--index-url file:simple\n{}{}", line("alpha==1.0"), line("beta==2.0")));
    let sandbox_url = format!("file://{}", sandbox.path("simple").display());
    sandbox.write(
        "requirements.txt",
        sandbox.read("requirements.txt").replace("file:simple", &sandbox_url),
    );
    sandbox.write("Buildfile", folder);
    sandbox.write("simple/alpha/index.html", page);
    for file in FILES {
        sandbox.write(&format!("files/{}", file.0), content(file));
    }
    let chosen = CHOSEN[1];
    sandbox.write(&format!("links/{chosen}"), sandbox.bytes(&format!("files/{chosen}")));
    let built = build(&sandbox).success();
    assert_eq!(wheels(&sandbox), CHOSEN);
    assert!(!built.stderr.contains("Collecting"), "pip ran: {built}");
}

#[test]
fn other_requirements_than_pinned_ones_are_left_to_pip() {
    // A requirement of alpha is not in the file: only pip's error names it.
    let index_of_all = index(&["alpha", "beta"], Form::Json);
    let option = format!("--index-url {}\n", url(&index_of_all));
    let mut incomplete = sandbox(&format!("{option}{}", line("alpha==1.0")));
    build(&incomplete).failure().stderr_has("must have their versions pinned").stderr_has("beta");
    assert!(!incomplete.exists("build/wheels"));
    // Without Python, there is at least a reason.
    incomplete.set("PATH", incomplete.beside("nothing").display());
    build(&incomplete).failure().stderr_has("alpha requires beta, which is not pinned");
    for (line, reason) in [
        (line("alpha==1.0").replace("1.0", "7"), "no index has a file of `alpha 7` that fits"),
        (
            format!("alpha==1.0 --hash=sha256:{}\n", "0".repeat(64)),
            "no index has exactly one file of `alpha 1.0` with an allowed hash",
        ),
    ] {
        incomplete.write("requirements.txt", format!("{option}{line}"));
        build(&incomplete).failure().stderr_has(reason).stderr_has("no interpreter `python3`");
    }
    // A page without hashes does not identify the file.
    let bare = index(&["alpha", "beta"], Form::HtmlWithoutHashes);
    let text = format!("--index-url {}\nbeta==2.0 {}\n", url(&bare), hash(CHOSEN[1]));
    let text = text.replace("beta==2.0", "beta==2.0 --hash=sha256:");
    let text = text.replace("--hash=sha256: ", &format!("{} ", hash("beta-2.0-py3-none-any.whl")));
    let sandbox = sandbox(&text);
    let built = build(&sandbox);
    assert!(programs(&bare).contains(&"pip"), "{built}");
}

#[test]
fn credentials_of_an_index_in_requirements_are_used_and_not_shown() {
    let inner = index(&["beta"], Form::Json);
    let port = inner.port;
    let guarded = Index::new(move |head, _| {
        // `me:pa ss`
        if !head.to_ascii_lowercase().contains("authorization: basic bwu6cgegc3m=") {
            return response("401 Unauthorized", b"");
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        let location = format!("302 Found\r\nLocation: http://127.0.0.1:{port}{path}");
        match path.starts_with("/simple/") {
            true => {
                let (media_type, text) = page("beta", Form::Json);
                response(&format!("200 OK\r\nContent-Type: {media_type}"), text.as_bytes())
            }
            false => response(&location, b""),
        }
    });
    let index_url = format!("http://me:pa%20ss@127.0.0.1:{}/simple", guarded.port);
    let sandbox = sandbox(&format!("--index-url {index_url}\n{}", line("beta==2.0")));
    let built = build(&sandbox).success();
    assert_eq!(wheels(&sandbox), [CHOSEN[1]]);
    assert_eq!(programs(&guarded), ["zipwright"]);
    assert!(!built.stderr.contains("ss@") && !built.stderr.contains("pa%20ss"), "{built}");
}

#[test]
fn each_wheel_that_pip_chooses_is_downloaded_once() {
    for form in [Form::Json, Form::JsonWithMetadata] {
        let index = index(&["alpha", "beta"], form);
        let sandbox = sandbox(&format!("--index-url {}\nalpha<1.1\n", url(&index)));
        build(&sandbox).success();
        assert_eq!(wheels(&sandbox), CHOSEN);
        let of_wheels =
            requests(&index).into_iter().filter(|((name, _), _)| name.ends_with(".whl"));
        let of_wheels: BTreeMap<(String, &str), usize> = of_wheels.collect();
        assert!(of_wheels.values().all(|times| *times == 1), "{of_wheels:?}");
        let names: Vec<&str> = of_wheels.keys().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, CHOSEN);
    }
}

/// Validates lockfiles with `packaging`, and prints the names of the packages of each.
const VALIDATE: &str = "
import json, sys, tomllib
from packaging.pylock import Pylock
locks = [Pylock.from_dict(tomllib.loads(text)) for text in json.load(sys.stdin)]
print(json.dumps([sorted(package.name for package in lock.packages) for lock in locks]))
";

const LOCKED: &str = r#"
[target.wheels]
kind = "wheelhouse"
lock = "pylock.toml"
platform = { python = "3.13", arch = "arm64" }
"#;

#[test]
fn a_lock_has_the_wheels_of_the_resolution_in_use() {
    let index = index(&["alpha", "beta"], Form::Json);
    let sandbox = sandbox(&format!("--index-url {}\nalpha<1.1\n./greeting\n", url(&index)));
    sandbox.fixture("greeting");
    sandbox.sh("mkdir greeting && mv pyproject.toml backend src greeting/").success();
    let locked = sandbox.run(["lock"]).success();
    assert_eq!(locked.stdout, "pylock.toml\n");
    let locked = locked.stderr_has("3 packages; to use it, give `wheels` `lock = \"pylock.toml\"`");
    let before = wheels(&sandbox);
    assert_eq!(before.len(), 3, "{before:?} {locked}");
    let text = sandbox.read("pylock.toml");
    assert!(text.contains(&sha256(&sandbox.bytes(&format!("build/wheels/{}", CHOSEN[1])))));
    // Nothing is resolved again, and the file is the same.
    let requested = requests(&index);
    sandbox.run(["lock", "wheels"]).success();
    assert_eq!((sandbox.read("pylock.toml"), requests(&index)), (text, requested));
    // The lockfile gives the same wheels.
    sandbox.write("Buildfile", LOCKED);
    build(&sandbox).success();
    assert_eq!(wheels(&sandbox), before);
    let names = json!(["alpha", "beta", "greeting"]);
    compare_with(VALIDATE, &[json!(sandbox.read("pylock.toml"))], &[names]);
    sandbox.run(["lock"]).failure().stderr_has("there is no wheelhouse with `requirements`");
    let refused = sandbox.run(["lock", "wheels"]).failure();
    refused.stderr_has("the wheels of `wheels` are those of `pylock.toml`");
}

#[test]
fn a_lock_replaces_no_file_of_another_program() {
    let sandbox = sandbox("");
    sandbox.write("pylock.toml", "lock-version = \"1.0\"\ncreated-by = \"uv\"\npackages = []\n");
    let before = sandbox.read("pylock.toml");
    sandbox
        .run(["lock"])
        .failure()
        .stderr_has("`pylock.toml` was not written by `zipwright lock`: move it away")
        .stderr_has("--output pylock.NAME.toml");
    assert_eq!(sandbox.read("pylock.toml"), before);
    assert!(!sandbox.exists("build"));
    std::os::unix::fs::symlink("pylock.toml", sandbox.path("pylock.link.toml")).unwrap();
    let run = sandbox.run(["lock", "-o", "pylock.link.toml"]).failure();
    let _ = run.stderr_has("`pylock.link.toml` is a symbolic link: remove it");
    sandbox.remove("pylock.link.toml");
    for name in ["lock.toml", "sub/pylock.toml"] {
        sandbox.run(["lock", "-o", name]).failure().stderr_has("cannot be the lockfile");
    }
    sandbox.run(["lock", "--json", "-o", "pylock.empty.toml"]).success();
    sandbox.run(["lock", "-o", "pylock.empty.toml"]).success();
}

/// A program that acts as uv: it prints its version, its arguments and variables, and writes a lock.
const FAKE_UV: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo "uv 9.8.7 (test)"; exit; fi
echo "$@" >> uv.log
echo "$UV_DEFAULT_INDEX $UV_INDEX $UV_PRERELEASE" >> uv.log
while [ "$1" != --output-file ]; do shift; done
cp lock.toml "$2"
"#;

#[test]
fn uv_resolves_for_the_runtime_with_the_indexes_of_pip() {
    let index = index(&["alpha", "beta"], Form::Json);
    let mut sandbox = sandbox("alpha<1.1\n");
    let buildfile = BUILDFILE.replace("requirements =", "resolver = \"uv\"\nrequirements =");
    sandbox.write("Buildfile", buildfile);
    sandbox.set("UV", "missing-uv");
    build(&sandbox).failure().stderr_has("there is no program `missing-uv`, which `UV` names");
    let entry = |name: &str| {
        let file = FILES.iter().copied().find(|file| file.0 == name).unwrap();
        let (project, digest) = (name.split('-').next().unwrap(), sha256(&content(file)));
        format!(
            "[[packages]]\nname = \"{project}\"\nversion = \"1\"\nwheels = [{{ url = \
             \"http://127.0.0.1:{}/files/{name}\", hashes = {{ sha256 = \"{digest}\" }} }}]\n",
            index.port
        )
    };
    let lock = CHOSEN.map(entry).concat();
    sandbox.write("lock.toml", format!("lock-version = \"1.0\"\ncreated-by = \"uv\"\n{lock}"));
    sandbox.write("fake/uv", FAKE_UV).chmod("fake/uv", 0o755);
    sandbox.set("UV", sandbox.path("fake/uv").display());
    sandbox.set("UV_PRERELEASE", "allow");
    sandbox.set("PIP_INDEX_URL", "http://me:secret@127.0.0.1:1/one");
    sandbox.set("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:1/two");
    let built = build(&sandbox).success().stderr_lacks("secret");
    assert_eq!(wheels(&sandbox), CHOSEN, "{built}");
    let log = sandbox.read("uv.log");
    for text in [
        "--python-version 3.13 --python-platform aarch64-manylinux_2_34",
        "--only-binary :all:",
        "http://me:secret@127.0.0.1:1/one http://127.0.0.1:1/two \n",
    ] {
        assert!(log.contains(text), "no `{text}` in {log}");
    }
    // Another version of uv may resolve otherwise.
    sandbox.write("fake/uv", FAKE_UV.replace("9.8.7", "9.8.8"));
    let explained = sandbox.run(["explain", "wheels"]).success();
    assert!(explained.stdout.contains("resolver: uv 9.8.7 -> uv 9.8.8"), "{explained}");
    sandbox.set("PIP_PREFER_BINARY", "1");
    build(&sandbox).failure().stderr_has("uv is not given `pip prefer-binary`");
}

/// A lock that pip writes for this host gives exactly its wheels.
#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_lock_of_pip_gives_its_wheels() {
    let sandbox = sandbox("");
    sandbox.write("Buildfile", "[target.wheels]\nkind = \"wheelhouse\"\nlock = \"pylock.toml\"\n");
    sandbox.write("in.txt", "requests\nmarkupsafe\n");
    sandbox
        .sh("python3 -m venv pip && pip/bin/pip install -q pip==26.3 && pip/bin/pip lock -q -r in.txt")
        .success();
    build(&sandbox).success();
    let locked = sandbox.sh("grep -o '[^\"]*-[^\"]*\\.whl' pylock.toml | grep -v / | sort -u");
    let locked = locked.success().stdout;
    assert_eq!(wheels(&sandbox), locked.lines().collect::<Vec<_>>());
    assert!(locked.contains("requests-"), "{locked}");
}

/// uv itself gives the wheels that it installs.
#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn the_wheels_of_uv_are_those_that_it_installs() {
    let mut sandbox = sandbox("requests\nboto3\nnumpy\n");
    let buildfile = BUILDFILE.replace("requirements =", "resolver = \"uv\"\nrequirements =");
    sandbox.write("Buildfile", buildfile);
    sandbox.sh(&format!("python3 -m venv uv && uv/bin/pip install -q {UV}")).success();
    sandbox.set("UV", sandbox.path("uv/bin/uv").display());
    let built = build(&sandbox).success();
    assert!(!built.stderr.contains("Collecting"), "pip ran: {built}");
    let certificates = std::env::var("SSL_CERT_FILE").unwrap_or_default();
    sandbox
        .sh(&format!(
            "SSL_CERT_FILE='{certificates}' uv/bin/uv pip install -q --target theirs --python-version 3.13 \
             --only-binary :all: --python-platform aarch64-manylinux_2_34 -r requirements.txt"
        ))
        .success();
    let ours = sandbox.sh("ls build/wheels | cut -d- -f1,2 | tr A-Z a-z | sort").success().stdout;
    let theirs = sandbox
        .sh("ls -d theirs/*.dist-info | xargs -n1 basename -s .dist-info | tr A-Z a-z | sort");
    assert_eq!(ours, theirs.success().stdout);
    sandbox.run(["lock"]).success();
    sandbox.write("Buildfile", LOCKED);
    build(&sandbox).success();
    let again = sandbox.sh("ls build/wheels | cut -d- -f1,2 | tr A-Z a-z | sort").success().stdout;
    assert_eq!(again, ours);
}

/// Sets of requirements, each resolved and hashed by uv.
const SETS: [&str; 4] =
    ["requests boto3", "numpy pandas", "pydantic fastapi[standard]", "cryptography pillow lxml"];

/// The wheels for pinned requirements of the package index are those that pip downloads.
#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn pinned_requirements_of_the_package_index_give_the_wheels_of_pip() {
    let uv = Sandbox::new();
    uv.sh(&format!("python3 -m venv venv && venv/bin/pip install -q {UV}")).success();
    let certificates = std::env::var("SSL_CERT_FILE").unwrap_or_default();
    for set in SETS {
        let text = set.replace(' ', "\n");
        uv.write("in.txt", text);
        uv.sh(&format!(
            "SSL_CERT_FILE='{certificates}' venv/bin/uv pip compile -q --universal --python-version 3.12 \
             --generate-hashes --no-annotate in.txt -o out.txt"
        ))
        .success();
        for (arch, machine) in [("arm64", "aarch64"), ("x86_64", "x86_64")] {
            let sandbox = sandbox(&uv.read("out.txt"));
            sandbox.write("Buildfile", BUILDFILE.replace("arm64", arch).replace("3.13", "3.12"));
            let built = build(&sandbox).success();
            assert!(!built.stderr.contains("Collecting"), "pip ran: {built}");
            let platforms: String = (17..=34)
                .rev()
                .map(|minor| format!(" --platform manylinux_2_{minor}_{machine}"))
                .collect();
            sandbox
                .sh(&format!(
                    "python3 -m pip download -q --no-deps --require-hashes --only-binary :all: \
                     --python-version 3.12.99{platforms} --platform manylinux2014_{machine} \
                     -r requirements.txt -d theirs"
                ))
                .success();
            let theirs = fs::read_dir(sandbox.path("theirs")).unwrap();
            let mut theirs: Vec<String> =
                theirs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            theirs.sort();
            assert_eq!(wheels(&sandbox), theirs, "{set} for {arch}");
        }
    }
}
