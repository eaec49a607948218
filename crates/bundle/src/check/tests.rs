//! Rules, each on bundles made for it.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{Arch, Finding, Python, RULES, Severity, Subject, check};
use crate::elf::testing::object;

type File<'a> = (&'a str, &'a [u8]);

fn bundle(files: &[File]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(if name.ends_with("hidden") { 0o600 } else { 0o644 });
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn subject(minor: u8) -> Subject {
    Subject { python: Some(Python { minor }), arch: Some(Arch::X86_64), ..Subject::default() }
}

fn findings(files: &[File], subject: &Subject) -> Vec<Finding> {
    check(Cursor::new(bundle(files)), Vec::new(), subject).unwrap()
}

/// Formats findings as rule, `!` for an error, and the first member.
fn short(findings: &[Finding]) -> Vec<String> {
    let mark = |severity| if severity == Severity::Error { "!" } else { "" };
    let line = |finding: &Finding| {
        let member = finding.locations.first().map_or("", |it| &it.member);
        format!("{}{} {member}", finding.rule, mark(finding.severity)).trim_end().to_owned()
    };
    findings.iter().map(line).collect()
}

#[track_caller]
fn expect(files: &[File], subject: &Subject, expected: &[&str]) -> Vec<Finding> {
    let found = findings(files, subject);
    assert_eq!(short(&found), expected, "{found:#?}");
    found
}

#[test]
fn a_right_bundle_has_no_finding() {
    let versions: [(&str, &[&str]); 1] = [("libc.so.6", &["GLIBC_2.34"])];
    let module = object(62, &["libc.so.6", "libfoo-1a2b.so.1", "libpython3.13.so.1.0"], &versions);
    let library = object(62, &["libstdc++.so.6"], &[("libstdc++.so.6", &["GLIBCXX_3.4.29"])]);
    let handler = Subject { handler: Some("app.main.handler".into()), ..subject(13) };
    let files: [File; 6] = [
        ("app/main.py", b"def handler(event, context): pass"),
        ("foo/_a.abi3.so", &module),
        ("foo/_b.cpython-313-x86_64-linux-gnu.so", &module),
        ("foo/plain.so", &module),
        ("foo.libs/libfoo-1a2b.so.1", &library),
        ("foo/data.bin", b"\x7fELV"),
    ];
    expect(&files, &handler, &[]);
}

#[test]
fn native_code_is_held_against_the_runtime() {
    let glibc: [(&str, &[&str]); 1] = [("libc.so.6", &["GLIBC_2.17", "GLIBC_2.28"])];
    let new = object(62, &["libc.so.6"], &glibc);
    expect(&[("a.so", &new)], &subject(12), &[]);
    let found = expect(&[("a.so", &new)], &subject(11), &["glibc! a.so"]);
    assert_eq!(found[0].text, "needs glibc 2.28, and python3.11 (Amazon Linux 2) has 2.26");

    let relr: [(&str, &[&str]); 1] = [("libc.so.6", &["GLIBC_ABI_DT_RELR"])];
    expect(&[("a.so", &object(62, &[], &relr))], &subject(13), &["glibc! a.so"]);

    let cxx = |version| object(62, &[], &[("libstdc++.so.6", &[version])]);
    let file = cxx("GLIBCXX_3.4.30");
    expect(&[("a.so", &file)], &subject(13), &["libstdcxx a.so"]);
    expect(&[("a.so", &file)], &subject(11), &["libstdcxx! a.so"]);
    expect(&[("a.so", &file), ("x.libs/libstdc++.so.6", &cxx("GLIBCXX_3.4"))], &subject(11), &[]);
    expect(&[("a.so", &cxx("GLIBCXX_3.4.34"))], &subject(13), &["libstdcxx! a.so"]);

    let arm = object(183, &["libnowhere.so"], &[]);
    expect(&[("bin/tool", &arm)], &subject(13), &["machine! bin/tool"]);
    let both = [("d/attach_arm.so", arm.as_slice()), ("d/attach_x86.so", &object(62, &[], &[]))];
    expect(&both, &subject(13), &["machine d/attach_arm.so"]);
}

#[test]
fn needed_libraries_are_somewhere() {
    let file = object(62, &["libGL.so.1", "libc.so.6"], &[]);
    let found = expect(&[("cv.so", &file)], &subject(13), &["library cv.so"]);
    assert!(found[0].text.contains("`libGL.so.1`"), "{found:?}");
    let musl = object(62, &["libc.musl-x86_64.so.1"], &[]);
    expect(&[("a.so", &musl)], &subject(13), &["library! a.so"]);
    let python = object(62, &["libpython3.12.so.1.0"], &[]);
    expect(&[("a.so", &python)], &subject(13), &["library! a.so"]);
}

#[test]
fn a_runtime_that_is_too_new_is_warned_of_and_judged_by_what_is_known() {
    let versions: [(&str, &[&str]); 1] = [("libc.so.6", &["GLIBC_2.99"])];
    let module = object(62, &["libc.so.6", "libssl.so.9"], &versions);
    let files: [File; 3] = [
        ("_a.cpython-315-x86_64-linux-gnu.so", &module),
        ("a.pyc", b"\x01\x02\r\n"),
        ("w-1.dist-info/WHEEL", b"Tag: cp315-cp315-manylinux_2_99_x86_64\n"),
    ];
    let found = expect(&files, &subject(15), &["new-runtime"]);
    assert!(found[0].text.starts_with("python3.15 is a preview in Lambda: "), "{found:?}");
    assert!(found[0].text.contains("skipped: `glibc`, `libstdcxx`, `library`, "), "{found:?}");
    assert!(found[0].text.ends_with("`import`, `relative-import`, `shadow` and `pyc-unused`"));
    let found = expect(
        &files,
        &subject(16),
        &[
            "extension! _a.cpython-315-x86_64-linux-gnu.so",
            "wheel-tags! w-1.dist-info/WHEEL",
            "new-runtime",
        ],
    );
    assert!(found[2].text.starts_with("python3.16 is newer than this zipwright: "), "{found:?}");
    let silent = Subject { silence: vec!["new-runtime".into()], ..subject(15) };
    expect(&files, &silent, &[]);
}

#[test]
fn extension_modules_are_for_one_python() {
    let elf = object(62, &[], &[]);
    let named = |name| expect(&[(name, &elf)], &subject(13), &[&format!("extension! {name}")]);
    let found = named("p/_a.cpython-312-x86_64-linux-gnu.so");
    assert!(found[0].text.contains("Python 3.12"), "{found:?}");
    named("p/_a.cpython-313t-x86_64-linux-gnu.so");
    named("p/_a.pypy310-pp73-x86_64-linux-gnu.so");
    named("p/_a.cpython-313-x86_64-linux-musl.so");
    expect(
        &[("_a.cpython-313-darwin.so", b"\xcf\xfa\xed\xfe")],
        &subject(13),
        &["extension! _a.cpython-313-darwin.so"],
    );
    expect(&[("_a.pyd", b"MZ\x90\0")], &subject(13), &["extension! _a.pyd"]);
    expect(&[("a.so", b"version https://git-lfs")], &subject(13), &["object a.so"]);
    // Beside one that fits, another is only superfluous.
    let both: [File; 2] = [("p/_a.abi3.so", &elf), ("p/_a.cpython-38-x86_64-linux-gnu.so", &elf)];
    expect(&both, &subject(13), &["extension p/_a.cpython-38-x86_64-linux-gnu.so"]);
}

#[test]
fn bytecode_is_for_one_python() {
    let of_312 = [b"\xcb\x0d\r\n".as_slice(), &[1, 0, 0, 0], &[0; 8]].concat();
    let of_313 = [b"\xf3\x0d\r\n".as_slice(), &[0; 12]].concat();
    expect(&[("a.pyc", &of_312)], &subject(13), &["pyc-python! a.pyc"]);
    expect(&[("a.pyc", &of_313)], &subject(13), &[]);
    expect(&[("a.py", b""), ("a.pyc", &of_312)], &subject(13), &["pyc-unused a.pyc"]);
    let files: [File; 3] = [
        ("a.py", b"x = 1"),
        ("__pycache__/a.cpython-312.pyc", &of_312),
        ("__pycache__/a.cpython-313.pyc", &of_313),
    ];
    let expected =
        ["pyc-unused __pycache__/a.cpython-312.pyc", "pyc-stale __pycache__/a.cpython-313.pyc"];
    expect(&files, &subject(13), &expected);
}

#[test]
fn the_handler_is_looked_for_where_python_would() {
    let with = |handler: &str| Subject { handler: Some(handler.into()), ..subject(13) };
    let file: File = ("app.py", b"def main(e, c): pass\nfrom os import *\n");
    expect(&[file], &with("app.main"), &[]);
    expect(&[file], &with("app.other"), &["handler-unsure app.py"]);
    expect(&[("app.py", b"x = 1")], &with("app.main"), &["handler-function! app.py"]);
    expect(&[("src/app.py", b"")], &with("handler"), &["handler-module!"]);
    let found = expect(&[("src/app.py", b"")], &with("app.main"), &["handler-module!"]);
    assert_eq!(found[0].hint, "there is `src/app.py`");
    expect(&[("src/app.py", b"main = print")], &with("src/app.main"), &[]);
    expect(&[("app/__init__.py", b"main = print"), file], &with("app.main"), &[]);
    let module = object(62, &[], &[]);
    expect(&[("app.abi3.so", &module)], &with("app.main"), &["handler-unsure app.abi3.so"]);
    let layered = Subject { has_layers: true, ..with("datadog_lambda.handler.handler") };
    expect(&[file], &layered, &["handler-unsure"]);
}

#[test]
fn layers_have_modules_libraries_and_bytes_for_the_bundle() {
    let own = object(62, &["libfoo.so.1"], &[]);
    let files: [File; 2] = [("a.abi3.so", &own), ("app.py", b"")];
    let with = |handler: &str| Subject { handler: Some(handler.into()), ..subject(13) };
    let look = |layer: &[File], subject: &Subject| {
        let layers = vec![Cursor::new(bundle(layer))];
        check(Cursor::new(bundle(&files)), layers, subject).unwrap()
    };
    let library = object(62, &["libnowhere.so"], &[]);
    let layer: [File; 4] = [
        ("lib/libfoo.so.1", &library),
        ("python/kit/run.py", b"def main(event, context): pass"),
        ("python/lib/python3.13/site-packages/deep.py", b"def main(event, context): pass"),
        ("python/lib/python3.12/site-packages/old.py", b"def main(event, context): pass"),
    ];
    assert_eq!(short(&look(&layer, &with("kit.run.main"))), [""; 0]);
    assert_eq!(short(&look(&layer, &with("deep.main"))), [""; 0]);
    let wrong = look(&layer, &with("kit.run.other"));
    assert_eq!(short(&wrong), ["handler-function! python/kit/run.py"]);
    let missing = look(&layer, &with("old.main"));
    assert_eq!(short(&missing), ["handler-module!"]);
    assert!(missing[0].text.starts_with("neither the bundle nor its layers have a module `old`"));
    let empty = look(&[], &with("app.main"));
    assert_eq!(short(&empty), ["handler-function! app.py", "library a.abi3.so"]);

    let zeros = vec![0; 140_000_000];
    let bytes: [File; 2] = [("python/kit/1", &zeros), ("python/tool/2", &zeros)];
    let found = look(&bytes, &subject(13));
    assert_eq!(found[0].rule, "unzipped-size");
    let expected = "unzipped, its 1 layer 280.0 MB, and Lambda takes 262.1 MB with all layers; the \
                    largest parts are kit (140.0 MB), tool (140.0 MB), a.abi3.so";
    assert!(found[0].text.contains(expected), "{}", found[0].text);
}

#[test]
fn secrets_are_the_projects_own() {
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n");
    let files: [File; 6] = [
        (".env", b"A=1"),
        (".git/config", b""),
        (".git/HEAD", b""),
        ("key.pem", pem.as_bytes()),
        ("pkg/test.key", pem.as_bytes()),
        ("pkg-1.dist-info/RECORD", b"pkg/test.key,sha256=x,1\npkg-1.dist-info/RECORD,,\n"),
    ];
    let expected = ["private-key! key.pem", "secret-file .env", "secret-file .git/HEAD"];
    let found = expect(&files, &subject(13), &expected);
    let members = found[2].locations.iter().map(|location| location.member.as_str());
    assert!(members.eq([".git/HEAD", ".git/config"]));
    assert!(!format!("{found:?}").contains(body));
}

#[test]
fn modes_letters_and_sizes_are_looked_at() {
    expect(&[("a/hidden", b"")], &subject(13), &["mode! a/hidden"]);
    let files: [File; 3] = [("A/x.py", b""), ("a/x.py", b""), ("a/y.py", b"")];
    expect(&files, &subject(13), &["case a"]);
    let zeros = vec![0; 140_000_000];
    let found = expect(&[("a/1", &zeros), ("b/2", &zeros)], &subject(13), &["unzipped-size!"]);
    assert!(found[0].text.contains("a (140.0 MB), b (140.0 MB)"), "{found:?}");
}

#[test]
fn what_is_silenced_is_not_found_and_what_is_not_known_is_not_judged() {
    let arm = object(183, &[], &[]);
    let silent = Subject { silence: vec!["machine".into()], ..subject(13) };
    expect(&[("a.so", &arm)], &silent, &[]);
    let file = [("_a.cpython-38-x86_64-linux-gnu.so", arm.as_slice())];
    expect(&file, &Subject::default(), &[]);
}

#[test]
fn one_finding_stands_for_all_that_say_the_same() {
    let arm = object(183, &[], &[]);
    let files: [File; 5] =
        [("a.so", &arm), ("b.so", &arm), ("c.so", &arm), ("d.so", &arm), ("e.so", &arm)];
    let found = expect(&files, &subject(13), &["machine! a.so"]);
    assert_eq!(found[0].locations.len(), 5);
    let expected = "error[machine] native code for arm64, and the function runs on x86_64\n    \
                    a.so\n    b.so\n    c.so\n    and 2 more places\n  hint: give the wheelhouse ";
    assert!(found[0].to_string().starts_with(expected), "{}", found[0]);
}

#[test]
fn every_rule_is_described() {
    let page = include_str!("../../../../docs/CHECK.md");
    for rule in RULES {
        assert!(page.contains(&format!("| `{rule}` |")), "no `{rule}` in docs/CHECK.md");
    }
    let rows =
        page.lines().filter(|line| line.starts_with("| `") && !line.contains("python3")).count();
    assert_eq!(rows, RULES.len(), "docs/CHECK.md has an unknown rule");
}

#[test]
fn what_is_no_zip_cannot_be_checked() {
    let error = check(Cursor::new(b"PK".to_vec()), Vec::new(), &subject(13)).unwrap_err();
    assert_eq!(error.to_string(), "it is not a complete zip file");
}

fn handled(minor: u8) -> Subject {
    Subject { handler: Some("app.main".into()), ..subject(minor) }
}

const MAIN: &str = "\ndef main(event, context): pass\n";

/// Returns the findings of a bundle whose handler's module begins with `text`.
#[track_caller]
fn expect_of(text: &str, others: &[File], minor: u8, expected: &[&str]) -> Vec<Finding> {
    let text = format!("{text}{MAIN}");
    let files: Vec<File> =
        [("app.py", text.as_bytes())].into_iter().chain(others.iter().copied()).collect();
    expect(&files, &handled(minor), expected)
}

#[test]
fn a_file_that_does_not_compile_is_found() {
    let found =
        expect(&[("app.py", b"x = 1\ndef main(e, c)\n  pass")], &handled(13), &["syntax! app.py"]);
    assert!(found[0].text.starts_with("python3.13 does not compile it: "), "{found:?}");
    assert_eq!(found[0].locations[0].to_string(), "app.py:2");
    expect_of("match 1:\n    case 1: pass", &[], 10, &[]);
    expect_of("match 1:\n    case 1: pass", &[], 9, &["syntax! app.py"]);
    let broken: File = ("lib.py", b"def f(:");
    expect_of("", &[broken], 13, &["syntax! lib.py"]);
    expect_of("", &[("pkg/tests/bad.py", b"def f(:")], 13, &["syntax pkg/tests/bad.py"]);
    expect_of("", &[("{{name}}/bad.py", b"def f(:")], 13, &["syntax {{name}}/bad.py"]);
    // Imports of a wheel's module are not checked.
    let record: File = ("lib-1.dist-info/RECORD", b"lib.py,sha256=x,1\n");
    expect_of("", &[broken, record], 13, &[]);
    let deep = "(".repeat(5000);
    expect_of(&format!("x = {deep}"), &[], 13, &["handler-unsure app.py", "syntax app.py"]);
}

#[test]
fn imports_that_find_nothing_are_found() {
    for (text, expected) in [
        ("import requests", &["import! app.py"][..]),
        ("import json, boto3, sys, botocore.config, xml.etree.ElementTree", &[]),
        ("from os import path\nimport six.moves.urllib", &[]),
        ("def f():\n    import requests", &["import app.py"]),
        ("try:\n    import ujson as json\nexcept ImportError:\n    import json", &[]),
        ("try:\n    import ujson\nexcept ImportError:\n    import rapidjson", &["import! app.py"]),
        ("try:\n    import json\nexcept ImportError:\n    import simplejson2", &[]),
        ("try:\n    import ujson\nexcept ImportError:\n    raise X", &["import! app.py"]),
        ("if TYPE_CHECKING:\n    import pandas", &[]),
        ("import distutils", &["import! app.py"]),
        ("import winreg", &["import! app.py"]),
        ("import lib.a, lib.b", &["import! app.py"]),
        ("from lib import a, x, VALUE, __doc__", &[]),
        ("from lib import nothing", &["import! app.py"]),
        ("from lib import *", &[]),
        ("from lib.a import more", &["import! app.py"]),
        ("from lib.open import more", &[]),
        ("import plain.deep.mod", &[]),
        ("from plain import deep", &[]),
        ("from plain import other", &["import! app.py"]),
        ("import compiled, native", &[]),
        ("import lib.broken", &["import! lib/broken.py"]),
        ("try:\n    import lib.broken\nexcept Exception:\n    pass", &[]),
        ("import vendored", &["import app.py"]),
        ("import sys\nsys.path.insert(0, 'vendor')\nimport vendored", &[]),
        ("import sys\nsys.path.insert(0, '/mnt/x')\nimport far", &["import app.py"]),
        ("from . import lib", &["relative-import! app.py"]),
        ("try:\n    from . import lib\nexcept ImportError:\n    import lib", &[]),
        ("import lib.up", &["relative-import! lib/up.py"]),
        ("import lib.circle", &[]),
    ] {
        let others: [File; 13] = [
            ("lib/__init__.py", b"from . import a\nfrom .a import VALUE as x, VALUE\n"),
            ("lib/a.py", b"VALUE = 1"),
            ("lib/open.py", b"def __getattr__(name): ..."),
            ("lib/broken.py", b"import numpy"),
            ("lib/up.py", b"from .. import app"),
            ("lib/circle.py", b"from . import circle_b\nX = 1"),
            ("lib/circle_b.py", b"from . import circle\nfrom .circle import X"),
            ("plain/deep/mod.py", b""),
            ("compiled.pyc", b"\xf3\x0d\r\n\0\0\0\0\0\0\0\0\0\0\0\0"),
            ("native.abi3.so", &object(62, &[], &[])),
            ("vendor/vendored/__init__.py", b""),
            ("unreached.py", b"import pandas"),
            ("tools/unreached.py", b"from . import nothing"),
        ];
        expect_of(text, &others, 13, expected);
    }
    let found = expect_of("import yaml", &[], 13, &["import! app.py"]);
    assert!(
        found[0].text.contains("imports `yaml`, which is neither in the bundle nor"),
        "{found:?}"
    );
    assert!(found[0].hint.contains("PyYAML"), "{found:?}");
    expect_of("import tomllib", &[], 11, &[]);
    let found = expect_of("import tomllib", &[], 10, &["import! app.py"]);
    assert!(found[0].text.contains("since Python 3.11"), "{found:?}");
    let layered = Subject { has_layers: true, ..handled(13) };
    expect(&[("app.py", format!("import kit{MAIN}").as_bytes())], &layered, &["import app.py"]);
    expect_of("import found", &[("x.pth", b"vendor\n"), ("vendor/found.py", b"")], 13, &[]);
    let deep = Subject { handler: Some("src/app.main".into()), ..subject(13) };
    let text = format!("from . import near\nfrom .near import A\nimport far{MAIN}");
    let files: [File; 3] =
        [("src/app.py", text.as_bytes()), ("src/near.py", b"A = 1"), ("src/far.py", b"")];
    let found = expect(&files, &deep, &["import src/app.py"]);
    assert!(found[0].hint.starts_with("there is `src/far.py`"), "{found:?}");
}

#[test]
fn a_layer_has_modules_for_imports() {
    let files: [File; 1] = [("app.py", b"import kit\nimport deep.mod\ndef main(e, c): pass")];
    let layer: [File; 2] = [
        ("python/kit.py", b"import nothing"),
        ("python/lib/python3.13/site-packages/deep/mod.py", b""),
    ];
    let layers = vec![Cursor::new(bundle(&layer))];
    let found = check(Cursor::new(bundle(&files)), layers, &handled(13)).unwrap();
    assert_eq!(short(&found), [""; 0], "{found:#?}");
}

#[test]
fn a_handler_takes_an_event_and_a_context() {
    for text in [
        "def main(event, context): pass",
        "def main(event, context=None, *more, **named): pass",
        "def main(*args): pass",
        "def main(event, context, extra=1, *, key=2): pass",
        "main = lambda e, c: 1",
        "main = App()",
        "from os import path as main",
        "@decorated\nasync def main(e): pass",
        "class main: pass",
        "if X:\n    def main(e, c): pass\nelse:\n    async def main(e, c): pass",
        "async def main(e, c): pass\nmain = asyncio_handler(main)",
    ] {
        expect(&[("app.py", text.as_bytes())], &handled(13), &[]);
    }
    for (text, part) in [
        ("def main(): pass", "takes 0 parameters"),
        ("def main(event): pass", "takes 1 parameter,"),
        ("def main(a, b, c): pass", "needs 3 parameters"),
        ("def main(a, b, *, c): pass", "must be given `c` by keyword"),
        ("async def main(e, c): pass", "is `async`"),
        ("def main(e, c):\n    yield 1", "is a generator"),
        ("main = lambda: 1", "takes 0 parameters"),
        ("main = None", "is `None`"),
        ("main = 'x'", "is a string"),
        ("def main(e, c): pass\nmain = 1", "is a number"),
    ] {
        let found = expect(&[("app.py", text.as_bytes())], &handled(13), &["handler-call! app.py"]);
        assert!(found[0].text.contains(part), "{found:?}");
    }
}

#[test]
fn modules_do_not_have_names_of_the_standard_library() {
    for name in ["json.py", "logging/__init__.py", "typing.pyc", "queue.abi3.so"] {
        let content = match name.split_once('.') {
            Some((_, "pyc")) => b"\xf3\x0d\r\n\x02\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
            Some((_, "abi3.so")) => object(62, &[], &[]),
            _ => Vec::new(),
        };
        let found = expect(&[(name, &content)], &subject(13), &[&format!("shadow {name}")]);
        assert!(found[0].text.contains("standard library"), "{found:?}");
    }
    let free: [File; 7] = [
        ("pkg/json.py", b""),
        ("email/template.html", b""),
        ("test/__init__.py", b""),
        ("distutils/__init__.py", b""),
        ("json.txt", b""),
        ("src/json/__init__.py", b""),
        ("boto3/__init__.py", b""),
    ];
    expect(&free, &subject(13), &[]);
    expect(&[("distutils/__init__.py", b"")], &subject(11), &["shadow distutils/__init__.py"]);
}

#[test]
fn names_are_those_that_lambda_unpacks() {
    for name in ["pkg\\mod.py", "../mod.py", "a/../../mod.py", "/mod.py", "C:/mod.py", "a/.."] {
        expect(&[(name, b"")], &subject(13), &[&format!("name! {name}")]);
    }
    let app: File = ("./app.py", b"import lib.a\ndef main(e, c): pass");
    let lib: File = (".//lib/./a.py", b"");
    expect(&[app, lib], &handled(13), &[]);
    expect(&[app, lib, ("app.py", b"")], &handled(13), &["double! app.py"]);
    expect(&[("a", b""), ("a/b.py", b"")], &subject(13), &["name! a"]);
    expect(&[("a/b.py", b""), ("./a", b"")], &subject(13), &["name! ./a"]);
}

/// Returns a bundle with links, each a name and its target.
fn linked(files: &[File], links: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().unix_permissions(0o644);
    for (name, content) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    for (name, target) in links {
        writer.add_symlink(*name, *target, options).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn links_are_followed_within_the_bundle() {
    let files: [File; 3] = [
        ("src/main.py", b"import lib.a\nfrom kit import b\ndef main(e, c): pass"),
        ("src/lib/a.py", b""),
        ("src/kit/b.py", b""),
    ];
    let links = [
        ("app.py", "src/main.py"),
        ("lib", "./src/lib"),
        ("kit", "/var/task/again"),
        ("again", "src/kit"),
        ("tool", "/usr/bin/python3"),
    ];
    let look = |links: &[(&str, &str)]| {
        let found = check(Cursor::new(linked(&files, links)), Vec::new(), &handled(13)).unwrap();
        short(&found)
    };
    assert_eq!(look(&links), [""; 0]);
    assert_eq!(look(&links[..3]), ["import! app.py", "link kit"]);
    for lost in ["nowhere", "../out", "/home/me/x", "self"] {
        let links: Vec<_> = links.into_iter().chain([("self", lost)]).collect();
        assert_eq!(look(&links), ["link self"], "{lost}");
    }
}

#[test]
fn packages_have_what_they_need() {
    let need = |head: &str| {
        format!(
            "Name: tool\nVersion: 1\nLicense: X\n        \n        Y\n{head}\n\nRequires-Dist: no-header\n"
        )
    };
    let with = |head: &str, minor: u8, expected: &[&str]| {
        let text = need(head);
        let files: [File; 3] = [
            ("tool-1.dist-info/METADATA", text.as_bytes()),
            ("Some_Kit-2.1.dist-info/METADATA", b"Name: Some_Kit\nVersion: 2.1\n"),
            (
                "tool/_vendor/inner-1.dist-info/METADATA",
                b"Name: inner\nVersion: 1\nRequires-Dist: x\n",
            ),
        ];
        expect(&files, &subject(minor), expected)
    };
    let unmet = ["requires tool-1.dist-info/METADATA"];
    for (head, expected) in [
        ("Requires-Dist: some.kit>=2", &[][..]),
        ("Requires-Dist: some-kit<2", &unmet),
        ("Requires-Dist: async-timeout<6,>=4; python_version < '3.11'", &[]),
        ("Requires-Dist: boto3>=1.20\nRequires-Dist: python-dateutil", &[]),
        ("Requires-Dist: numpy; extra == 'fast'", &[]),
        ("Requires-Dist: numpy; platform_machine == 'x86_64'", &unmet),
        ("Requires-Dist: numpy; sys_platform == 'win32'", &[]),
        ("Requires-Python: >=3.8,!=3.9.0", &[]),
        ("Requires-Python: >=3.14", &unmet),
    ] {
        with(head, 13, expected);
    }
    let found = with("Requires-Dist: async-timeout<6; python_version < '3.11'", 10, &unmet);
    let text = "`tool` needs `async-timeout` on python3.10, which is not in the bundle";
    assert_eq!(found[0].text, text);
}

#[test]
fn libraries_are_where_the_loader_looks() {
    let module = object(62, &["libfoo.so.1"], &[]);
    let library = object(62, &[], &[]);
    let look = |at: &str, expected: &[&str]| {
        expect(&[("pkg/_a.abi3.so", &module), (at, &library)], &subject(13), expected);
    };
    for at in ["libfoo.so.1", "lib/libfoo.so.1", "pkg/libfoo.so.1", "pkg.libs/libfoo.so.1"] {
        look(at, &[]);
    }
    look("native/libfoo.so.1", &["library-path pkg/_a.abi3.so"]);
    let record: File = ("n-1.dist-info/RECORD", b"native/libfoo.so.1,sha256=x,1\n");
    let files = [("pkg/_a.abi3.so", &*module), ("native/libfoo.so.1", &*library), record];
    expect(&files, &subject(13), &[]);
}

#[test]
fn a_library_of_a_desktop_has_a_way_out() {
    let file = object(62, &["libGL.so.1"], &[]);
    let name = "opencv_contrib_python-4.1.dist-info/RECORD";
    let files: [File; 2] = [("cv2/cv2.abi3.so", &file), (name, b"cv2/cv2.abi3.so,,\n")];
    let found = expect(&files, &subject(13), &["library! cv2/cv2.abi3.so"]);
    assert!(
        found[0].text.starts_with("`opencv-contrib-python` needs the system library `libGL.so.1`")
    );
    assert!(found[0].hint.contains("`opencv-contrib-python-headless`"), "{found:?}");
    let found = expect(&files[..1], &subject(13), &["library! cv2/cv2.abi3.so"]);
    assert!(found[0].hint.contains("`opencv-python-headless`"), "{found:?}");
}

#[test]
fn findings_about_sources_name_their_lines() {
    let files: [File; 3] = [
        ("app.py", b"import os\nimport helper, nowhere\nfrom helper import gone\n\nhandler = 1\n"),
        ("helper.py", b"\"\"\"Help.\"\"\"\n\nimport nowhere\n"),
        ("keys.txt", b"\nAKIA2E0A8F3B244C9986\n"),
    ];
    let subject = Subject { handler: Some("app.handler".into()), ..subject(13) };
    let shown: Vec<Vec<String>> = findings(&files, &subject)
        .iter()
        .map(|finding| finding.locations.iter().map(ToString::to_string).collect())
        .collect();
    let expected: [&[&str]; 4] =
        [&["app.py:5"], &["app.py:2", "helper.py:3"], &["app.py:3"], &["keys.txt:2"]];
    assert_eq!(shown, expected);
}
