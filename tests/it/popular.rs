//! Bundles of popular packages have no finding: real wheels for a runtime, each imported by a
//! handler. A lock of popular packages gives the files that uv installs from it.
//!
//! The ordinary run tests a few small packages. `ZIPWRIGHT_SOAK_POPULAR=1` tests all of them, for
//! both architectures: a few gigabytes of wheels.

use std::thread;

use serde_json::Value;

use crate::lock_tools::{UV, install, trust, uv};
use crate::sandbox::{Sandbox, text};

/// Requirement and module. `*` marks those of the ordinary run.
const PACKAGES: &str = "
*requests:requests *markupsafe:markupsafe *pyyaml:yaml *google-api-core:google.api_core
boto3:boto3 numpy:numpy pandas:pandas pydantic:pydantic fastapi:fastapi mangum:mangum
flask:flask django:django sqlalchemy:sqlalchemy psycopg2-binary:psycopg2 psycopg[binary]:psycopg
pymysql:pymysql pymongo:pymongo redis:redis cryptography:cryptography pyjwt:jwt pillow:PIL
lxml:lxml beautifulsoup4:bs4 aiohttp:aiohttp httpx:httpx urllib3:urllib3 certifi:certifi
jinja2:jinja2 click:click attrs:attr marshmallow:marshmallow orjson:orjson ujson:ujson
msgpack:msgpack protobuf:google.protobuf grpcio:grpc google-cloud-storage:google.cloud.storage
openai:openai anthropic:anthropic tiktoken:tiktoken scikit-learn:sklearn scipy:scipy
matplotlib:matplotlib opencv-python-headless:cv2 shapely:shapely pyproj:pyproj pyarrow:pyarrow
polars:polars openpyxl:openpyxl aws-lambda-powertools:aws_lambda_powertools
aws-xray-sdk:aws_xray_sdk sentry-sdk:sentry_sdk elasticsearch:elasticsearch paramiko:paramiko
bcrypt:bcrypt argon2-cffi:argon2 python-dateutil:dateutil pytz:pytz tenacity:tenacity
simplejson:simplejson jsonschema:jsonschema rich:rich typer:typer uvloop:uvloop gevent:gevent
regex:regex networkx:networkx nltk:nltk reportlab:reportlab weasyprint:weasyprint pypdf:pypdf
stripe:stripe twilio:twilio celery:celery graphene:graphene starlette:starlette
setuptools:setuptools pyzmq:zmq
";

/// Requirements that are locked together. `*` marks those of the ordinary run.
const SETS: [&str; 12] = [
    "requests boto3",
    "numpy pandas",
    "*pydantic fastapi",
    "cryptography pillow lxml",
    "sqlalchemy psycopg[binary]",
    "aiohttp orjson",
    "aws-lambda-powertools aws-xray-sdk",
    "*pyyaml jinja2 click",
    "redis httpx[http2]",
    "openai tiktoken",
    "django celery",
    "protobuf grpcio",
];

/// Rules with true findings about some of these: they are large.
const EXPECTED: [&str; 2] = ["zipped-size", "unzipped-size"];

/// Builds a bundle of one package for a runtime, and returns the findings of the check.
fn findings(requirement: &str, module: &str, minor: u8, arch: &str) -> Vec<Value> {
    let sandbox = Sandbox::with(&format!(
        r#"
[target.wheels]
kind = "wheelhouse"
requirements = ["requirements.txt"]
platform = {{ python = "3.{minor}", arch = "{arch}" }}

[target.staging]
kind = "staging"
wheels = ["wheels"]
sources = ["app.py"]

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
limits = false
"#
    ));
    sandbox.write("requirements.txt", format!("{requirement}\n"));
    let first = module.split('.').next().unwrap_or_default();
    let handler =
        format!("import {module}\n\n\ndef handler(event, context):\n    return {first}.__name__\n");
    sandbox.write("app.py", handler);
    let _ = sandbox.run(["package"]).success();
    let runtime = format!("python3.{minor}");
    let run = sandbox.run([
        "--json",
        "check",
        "build/lambda.zip",
        "--runtime",
        &runtime,
        "--arch",
        arch,
        "--handler",
        "app.handler",
    ]);
    let report = run.events().remove(0);
    let findings = report["findings"].as_array().unwrap().iter();
    findings.filter(|it| !EXPECTED.contains(&text(it, "rule").as_str())).cloned().collect()
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn bundles_of_popular_packages_have_no_finding() {
    let is_soak = std::env::var_os("ZIPWRIGHT_SOAK_POPULAR").is_some();
    let words = PACKAGES.split_whitespace();
    let chosen: Vec<&str> = match is_soak {
        true => words.map(|word| word.trim_start_matches('*')).collect(),
        false => words.filter_map(|word| word.strip_prefix('*')).collect(),
    };
    let runtimes: &[(u8, &str)] = match is_soak {
        true => &[(13, "x86_64"), (12, "arm64")],
        false => &[(13, "arm64")],
    };
    let jobs: Vec<(&str, u8, &str)> = runtimes
        .iter()
        .flat_map(|(minor, arch)| chosen.iter().map(|word| (*word, *minor, *arch)))
        .collect();
    let half = jobs.len().div_ceil(2);
    let found: Vec<String> = thread::scope(|scope| {
        let check = |jobs: &[(&str, u8, &str)]| {
            let checked = jobs.iter().flat_map(|(word, minor, arch)| {
                let (requirement, module) = word.split_once(':').unwrap();
                let found = findings(requirement, module, *minor, arch);
                found.into_iter().map(move |it| format!("{word} on 3.{minor}, {arch}: {it}"))
            });
            checked.collect::<Vec<_>>()
        };
        let threads: Vec<_> =
            jobs.chunks(half).map(|jobs| scope.spawn(move || check(jobs))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Prints the files of a tree but for those that describe the installation, for scripts, which each
/// installer writes in its own way, and for headers, which have no use in Lambda.
const FILES: &str = "find . -type f ! -path './bin/*' ! -path './include/*' ! -name .lock \
    ! -path './*.dist-info/RECORD' ! -path './*.dist-info/INSTALLER' ! -path './*.dist-info/REQUESTED' \
    ! -path './*.dist-info/direct_url.json' ! -path './*.dist-info/uv_cache.json' | LC_ALL=C sort";

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_lock_of_popular_packages_gives_the_files_that_uv_installs() {
    let is_soak = std::env::var_os("ZIPWRIGHT_SOAK_POPULAR").is_some();
    let mut sandbox = Sandbox::new();
    trust(&mut sandbox);
    install(&sandbox, UV);
    for set in SETS {
        let Some(set) = set.strip_prefix('*').or(is_soak.then_some(set)) else { continue };
        let requirements: Vec<&str> = set.split(' ').collect();
        sandbox.write(
            "pyproject.toml",
            format!(
                "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.11\"\n\
                 dependencies = {requirements:?}\n"
            ),
        );
        uv(&sandbox, "lock -q").success();
        uv(
            &sandbox,
            "export -q --frozen --no-emit-project --format requirements-txt -o locked.txt",
        )
        .success();
        for (arch, machine) in [("arm64", "aarch64"), ("x86_64", "x86_64")] {
            sandbox.write(
                "Buildfile",
                format!(
                    "[target.wheels]\nkind = \"wheelhouse\"\nlock = \"uv.lock\"\n\
                     platform = {{ python = \"3.13\", arch = \"{arch}\" }}\n\
                     [target.tree]\nkind = \"staging\"\nwheels = [\"wheels\"]\nsources = []\n\
                     write = true\n"
                ),
            );
            sandbox.run(["tree"]).success();
            sandbox.sh("rm -rf theirs").success();
            uv(
                &sandbox,
                &format!(
                    "pip install -q --target theirs --python-version 3.13 --only-binary :all: \
                     --python-platform {machine}-manylinux_2_34 -r locked.txt"
                ),
            )
            .success();
            let files =
                |folder: &str| sandbox.sh(&format!("cd {folder} && {FILES}")).success().stdout;
            let (ours, theirs) = (files("build/tree"), files("theirs"));
            assert!(ours.lines().count() > 20, "{ours}");
            assert_eq!(ours, theirs, "{set} for {arch}");
        }
    }
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn each_kind_of_lock_gives_the_same_zip_on_a_machine_that_has_nothing() {
    let mut sandbox = Sandbox::new();
    trust(&mut sandbox);
    install(&sandbox, UV);
    sandbox.write("app.py", "x = 1\n").write(
        "pyproject.toml",
        "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.11\"\n\
         dependencies = [\"requests\", \"markupsafe\"]\n",
    );
    uv(&sandbox, "lock -q").success();
    for (format, file) in [("pylock.toml", "pylock.toml"), ("requirements-txt", "locked.txt")] {
        let words = format!("export -q --frozen --no-emit-project --format {format} -o {file}");
        uv(&sandbox, &words).success();
    }
    // No Python, and no git.
    sandbox.set("PATH", sandbox.beside("nothing").display());
    for arch in ["arm64", "x86_64"] {
        let zips =
            ["lock = \"uv.lock\"", "lock = \"pylock.toml\"", "requirements = [\"locked.txt\"]"];
        let zips = zips.map(|wheels| {
            sandbox.write(
                "Buildfile",
                format!(
                    "[target.wheels]\nkind = \"wheelhouse\"\n{wheels}\n\
                     platform = {{ python = \"3.13\", arch = \"{arch}\" }}\n\
                     [target.tree]\nkind = \"staging\"\nwheels = [\"wheels\"]\nsources = [\"app.py\"]\n\
                     [target.package]\nkind = \"zip\"\nstaging = \"tree\"\noutput = \"lambda.zip\"\n"
                ),
            );
            sandbox.set("XDG_CACHE_HOME", sandbox.beside(&format!("{arch} {}", wheels.len())).display());
            sandbox.run(["package"]).success();
            let zip = sandbox.bytes("lambda.zip");
            sandbox.run(["clean"]).success();
            sandbox.remove(".zipwright");
            zip
        });
        assert!(zips[0].len() > 100_000, "{}", zips[0].len());
        assert!(zips.iter().all(|zip| *zip == zips[0]), "{arch}");
    }
}
