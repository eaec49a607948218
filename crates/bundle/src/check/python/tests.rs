//! Files that Python compiles and files that it does not, by version; names; imports.

use super::*;

fn source(text: &str, minor: u8) -> Source {
    read(text.as_bytes(), Python { minor }, false).unwrap()
}

#[track_caller]
fn compiles(text: &str, minor: u8, expected: bool) {
    let source = source(text, minor);
    assert!(!source.unread, "unread on 3.{minor}:\n{text}");
    assert_eq!(source.faults.is_empty(), expected, "on 3.{minor}:\n{text}\n{:?}", source.faults);
}

#[test]
fn what_no_python_compiles_is_a_fault() {
    for text in [
        "def f(:\n    pass",
        "def handler(event, context)\n    return 1",
        "print 'x'",
        "if x:\npass",
        "def f():\n\tif x:\n        pass\n",
        "x = (",
        "x = '''",
        "return 1",
        "class A:\n    return 1",
        "def f(a, a): pass",
        "nonlocal x",
        "def f():\n    nonlocal x",
        "def f():\n    x = 1\n    global x",
        "def f(x):\n    global x",
        "break",
        "def f():\n    for x in y:\n        def g(): break",
        "yield 1",
        "def f(): await x",
        "f(a=1, a=2)",
        "x = 1\nfrom __future__ import annotations",
        "from __future__ import nothing",
        "def f():\n    from x import *",
        "*a = 1",
        "f() = 1",
        "raise X, 'y'",
        "exec 'x'",
        "lambda a, a: 1",
        "x = 0777",
        "async def f():\n    yield from x",
    ] {
        for minor in [8, 11, 14] {
            compiles(text, minor, false);
        }
    }
}

#[test]
fn newer_syntax_is_a_fault_for_older_pythons() {
    for (text, since) in [
        ("match x:\n    case {'a': 1}: pass", 10),
        ("type X = int", 12),
        ("def f[T](x: T): pass", 12),
        ("class A[T]: pass", 12),
        ("try: pass\nexcept* A: pass", 11),
        ("x = f'{a['b']}'", 12),
        ("with (open(a) as b, open(c) as d): pass", 9),
        ("try: pass\nexcept A, B: pass", 14),
        ("x = t'{a}'", 14),
        ("class A[T = int]: pass", 13),
        ("@a[0].b\ndef f(): pass", 9),
        ("x[*a]", 11),
    ] {
        compiles(text, since - 1, false);
        compiles(text, since, true);
    }
    let found = source("x = 1\nmatch x:\n    case 1: pass", 9).faults;
    assert_eq!(found[0].line, 2);
    assert!(found[0].text.contains("match"), "{found:?}");
}

#[test]
fn what_every_python_compiles_is_no_fault() {
    for text in [
        "",
        "\u{feff}x = 1",
        "#!/usr/bin/python\n# -*- coding: utf-8 -*-\nx = 'ä'",
        "x = 1\r\ny = 2\r",
        "match = 1\ntype = 2\ncase = 3\nprint(match, type)",
        "def f():\n    x = 1\n    def g():\n        nonlocal x\n        x = 2",
        "def f():\n    for i in j: pass\n    def g():\n        nonlocal i",
        "def f():\n    global x\n    x = 1",
        "global x\nx = 1",
        "async def f():\n    return [x async for x in y]",
        "async def f():\n    async with a as b: await c",
        "def f():\n    return (await x for x in y)",
        "for x in y:\n    if x: continue\nelse:\n    pass",
        "def f(a, /, b, *, c): pass",
        "f(a, *b, **c)",
        "x = f'{a!r:>{width}}'",
        "class A:\n    x: int\n    def f(self): return super().f()",
        "\x0cx = 1",
        "class A:\n    def f(self):\n        nonlocal __class__\n        __class__ = 1",
        "def f():\n\tif x:\n\t        pass\n\treturn 1",
        "def f():\n    x = [\n\t1]\n    return x",
    ] {
        for minor in [8, 11, 14] {
            compiles(text, minor, true);
        }
    }
}

#[test]
fn encodings_are_those_that_a_file_declares() {
    let faults = |bytes: &[u8]| read(bytes, Python { minor: 13 }, false).unwrap().faults;
    assert_eq!(faults(b"# coding: latin-1\nx = '\xe4'"), []);
    assert_eq!(faults(b"#!x\n# vim: set fileencoding=cp1252 :\nx = '\xe4'"), []);
    assert_eq!(faults(b"x = 1\ny = '\xe4'")[0].line, 2);
    assert_eq!(faults(b"x = 1\n\0")[0].line, 2);
    assert!(read(b"# coding: gbk\nx = '\xe4\x5c'", Python { minor: 13 }, false).unwrap().unread);
}

/// Memory is proportional to the size of the file, however deep the nesting.
#[test]
fn nesting_has_bounds() {
    let many = |part: &str| part.repeat(20_000);
    for text in [
        many("("),
        format!("x{}", many(".a")),
        format!("x{}", many("()")),
        format!("1{}", many("+1")),
        format!("x = {}1", many("-")),
        format!("x = {}1", many("not ")),
        format!("x = {}1", many("lambda: ")),
        format!("x = {}1", many("1 if 1 else ")),
        format!("x = {}", many("[")),
        format!("match {}", many("a.")),
        format!("x = {}1", many("2**")),
    ] {
        let _ = source(&text, 13);
    }
}

#[track_caller]
fn check(expected: &str, texts: &[&str]) {
    for text in texts {
        let names = source(text, 13).names;
        let answer = match (names.get("handler"), names.is_open) {
            (Some(_), _) => "defined",
            (None, true) => "open",
            (None, false) => "not defined",
        };
        assert_eq!(answer, expected, "in:\n{text}");
    }
}

#[test]
fn every_way_to_define_a_name_counts() {
    check(
        "defined",
        &[
            "def handler(event, context):\n    return 1\n",
            "async def handler(e, c): pass",
            "@decorated(\n  'x',\n)\ndef handler(e, c): ...",
            "class handler: pass",
            "handler = app.handler",
            "handler: Callable = make()",
            "other = handler = make()",
            "(other, handler) = make()",
            "other, handler = make()",
            "import app as handler",
            "import handler.sub",
            "import os, handler",
            "from app import handler",
            "from app import other as handler, more",
            "from app import (\n    other,  # the other one\n    handler,\n)",
            "try:\n    from fast import handler\nexcept ImportError:\n    pass",
            "if True: handler = 1",
            "if x:\n\tdef handler(e, c):\n\t\tpass",
            "x = 1; handler = 2",
            "\u{feff}def handler(): pass",
            "x = '''\ndef f(\n'''\ndef handler(): pass",
            "x = \\\n  1\r\nhandler = 2",
            "with make() as handler:\n    pass",
            "for handler in handlers: pass",
            "if (handler := make()): pass",
            "x = f\"{y['a']}\"\nhandler = 1",
            "x = r'\\''\nhandler = 1",
            "x = 'a\\\nb'\nhandler = 1",
            "from app import *\ndef handler(): pass",
            "match x:\n    case {'a': handler}: pass",
        ],
    );
}

#[test]
fn what_is_not_at_the_top_level_does_not_count() {
    check(
        "not defined",
        &[
            "",
            "# def handler(): pass",
            "'''\ndef handler(): pass\n'''",
            "class App:\n    def handler(self): pass\n",
            "def make():\n    handler = 1\n    return handler\n",
            "async def make():\n    def handler(): pass\nx = 1",
            "def handler_of(x): pass",
            "app.handler = 1",
            "handlers['x'] = handler()",
            "x = call(handler=1)",
            "x == handler",
            "print(handler)",
            "handler: Callable",
            "from handler import other",
            "import app.handler",
            "x = {\n  'handler': 1,\n}",
            "x = [handler for handler in y]",
            "x = lambda handler: handler",
            "if x:\n    pass\nclass A:\n  if y:\n    handler = 1",
        ],
    );
}

#[test]
fn what_cannot_be_followed_is_open() {
    check(
        "open",
        &[
            "from app import *",
            "globals()['handler'] = 1",
            "def __getattr__(name): ...",
            "exec(code)",
            "setattr(sys.modules[__name__], 'handler', 1)",
            "def make():\n    global handler\n    handler = 1",
        ],
    );
}

/// Formats steps: `?` before conditional imports, `[a|b]` around caught ones.
fn shown(steps: &[Step]) -> String {
    let shown: Vec<String> = steps
        .iter()
        .map(|step| match step {
            Step::Import(import) => {
                let dots = ".".repeat(import.level);
                let names: String = import.names.iter().map(|name| format!(":{name}")).collect();
                format!("{dots}{}{names}", import.module)
            }
            Step::Perhaps(steps) => format!("?({})", shown(steps)),
            Step::Try { body, caught, saves, otherwise } => {
                let mark = if *saves { "" } else { "!" };
                format!("[{}|{}{mark}|{}]", shown(body), shown(caught), shown(otherwise))
            }
        })
        .collect();
    shown.join(" ")
}

#[test]
fn imports_are_told_by_when_they_run() {
    for (text, expected) in [
        ("import a.b, c as d\nfrom e.f import g, h as i\nfrom j import *", "a.b c e.f:g:h j"),
        ("from . import a\nfrom ..b import c", ".:a ..b:c"),
        ("def f():\n    import a", "?(a)"),
        ("class A:\n    import a", "a"),
        ("try:\n    import a\nexcept ImportError:\n    import b", "[a|b|]"),
        ("try:\n    import a\nexcept (KeyError, ModuleNotFoundError):\n    a = None", "[a||]"),
        ("try:\n    import a\nexcept:\n    pass\nelse:\n    import b", "[a||b]"),
        ("try:\n    import a\nexcept KeyError:\n    import b", "?(b) a"),
        ("try:\n    import a\nexcept ImportError as e:\n    raise X from e", "[a|!|]"),
        ("try:\n    import a\nexcept ImportError:\n    sys.exit(1)", "[a|!|]"),
        ("with contextlib.suppress(ImportError):\n    import a", "[a||]"),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", "b"),
        ("if typing.TYPE_CHECKING or False:\n    import a", ""),
        ("if not TYPE_CHECKING:\n    import a", "a"),
        ("if __name__ == '__main__':\n    import a", ""),
        ("if DEBUG:\n    import a\nelse:\n    import b", "?(a) ?(b)"),
        ("if sys.version_info >= (3, 11):\n    import a\nelse:\n    import b", "a"),
        ("if sys.version_info < (3, 13):\n    import a\nelse:\n    import b", "b"),
        ("if sys.version_info > (3, 13):\n    import a", "a"),
        ("if sys.version_info[:2] > (3, 13):\n    import a", ""),
        ("if sys.version_info >= (3, 13, 1):\n    import a", "?(a)"),
        ("if sys.version_info[0] == 2:\n    import a\nelif x:\n    import b", "?(b)"),
        ("if sys.version_info.minor > 8:\n    import a", "a"),
        ("if sys.platform == 'win32':\n    import a", ""),
        ("if sys.platform.startswith('linux'):\n    import a", "a"),
        ("if os.name in ('nt', 'ce'):\n    import a\nelse:\n    import b", "b"),
        ("if platform.system() != 'Windows':\n    import a", "a"),
        ("while False:\n    import a", ""),
        ("for x in y:\n    import a", "?(a)"),
    ] {
        assert_eq!(shown(&source(text, 13).steps), expected, "in:\n{text}");
    }
}

#[test]
fn a_changed_search_path_is_seen() {
    for text in [
        "import sys\nsys.path.insert(0, 'vendor')",
        "def f():\n    sys.path += ['x']",
        "import site\nsite.addsitedir('x')",
        "from sys import path",
        "__path__ = []",
    ] {
        assert!(source(text, 13).changes_path, "{text}");
    }
    assert!(!source("import os\nos.path.join('a', 'b')", 13).changes_path);
}
