//! Whether a `uv.lock` is behind its project, against `uv lock --check`: projects of many kinds are
//! locked by uv, edited, and judged by both.

use std::fs;

use zipwright_python::lock::{Checkout, UvLock, Wanted};
use zipwright_python::{Arch, Runtime, Target};

use crate::lock_tools::{UV, install, trust, uv};
use crate::sandbox::Sandbox;

/// An edit of a file: the text that is replaced, and the text in its place.
type Edit = (&'static str, &'static str, &'static str);

struct Case {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    edits: &'static [Edit],
}

const P: &str = "pyproject.toml";

const CASES: &[Case] = &[
    Case {
        name: "versions",
        files: &[(
            P,
            "[project]\nname = 'App.One'\nversion = '1'\nrequires-python = '>=3.10'\n\
             dependencies = ['idna>=3,!=3.5', 'Typing.Extensions ~= 4.0', 'six (==1.*)']\n",
        )],
        edits: &[
            (P, "idna>=3,!=3.5", "idna != 3.5.0, >= 3.0"),
            (P, "Typing.Extensions", "typing_extensions"),
            (P, "idna>=3", "idna>=3.1"),
            (P, "~= 4.0", ">= 4.0"),
            (P, "(==1.*)", "==1.*"),
            (P, "(==1.*)", "(==1.17)"),
            (P, ", 'six (==1.*)'", ""),
            (P, "'six", "'attrs', 'six"),
            (P, "'App.One'", "'app-one'"),
            (P, "'App.One'", "'other'"),
            (P, "[project]", "[tool.other]\nx = 1\n[project]\ndescription = 'x'"),
        ],
    },
    Case {
        name: "markers",
        files: &[(
            P,
            "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.10,<3.15'\ndependencies = [\n\
             \"tomli; python_version < '3.11'\",\n\
             \"six; python_version < '3.9'\",\n\
             \"colorama; sys_platform == 'win32' or (python_version >= '3.12' and platform_machine=='aarch64')\",\n\
             \"idna; platform_system != 'Windows' and os_name == 'posix'\",\n\
             \"attrs; python_full_version >= '3.11.4'\",\n\
             \"click; implementation_name == 'cpython'\",\n\
             \"certifi; 'linux' in sys_platform\",\n\
             \"iniconfig; python_version in '3.10 3.11'\",\n\
             \"h11; python_version not in '3.10,3.11' and sys_platform != 'darwin'\",\n\
             \"anyio; python_version >= '3.11.3' or python_version == '3.10'\",\n\
             \"zipp; python_version ~= '3.11' and platform_machine in 'x86_64 aarch64'\",\n\
             \"sniffio; os_name > 'nt' and platform_python_implementation != 'PyPy'\",\n\
             ]\n",
        )],
        edits: &[
            (P, "python_version < '3.11'", "python_full_version<'3.11.0'"),
            (P, "python_version < '3.11'", "python_version <= '3.10'"),
            (P, "python_version < '3.11'", "python_version < '3.12'"),
            (P, "\"tomli; python_version < '3.11'\"", "\"tomli\""),
            (P, "python_version < '3.9'", "python_version < '3.8'"),
            (P, "python_version < '3.9'", "python_version < '3.13'"),
            (P, "== 'win32' or (", "== 'win32' and ("),
            (P, "platform_machine=='aarch64'", "platform_machine == 'x86_64'"),
            (P, "platform_machine=='aarch64'", "platform_machine == 'ppc64le'"),
            (P, "os_name == 'posix'", "sys_platform == 'linux'"),
            (P, "'3.11.4'", "'3.11.5'"),
            (P, "'cpython'", "'pypy'"),
            (P, "'linux' in", "'darwin' in"),
            (P, "'3.10 3.11'", "'3.10 3.12'"),
            (P, "in '3.10 3.11'", "<= '3.11'"),
            (P, "sys_platform != 'darwin'", "platform_system != 'Darwin'"),
            (P, "'3.11.3'", "'3.12.3'"),
            (P, "~= '3.11'", "== '3.11.*'"),
            (P, "'x86_64 aarch64'", "'x86_64'"),
        ],
    },
    Case {
        name: "extras",
        files: &[(
            P,
            "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.11'\n\
             dependencies = ['idna', 'httpx[http2]']\n[project.optional-dependencies]\n\
             Test_All = ['iniconfig==2.*', \"six; sys_platform == 'linux'\"]\n\
             all = ['app[test-all]', 'click']\nempty = []\n",
        )],
        edits: &[
            (P, "Test_All", "test-all"),
            (P, "iniconfig==2.*", "iniconfig==2.0"),
            (P, "empty = []", "empty = ['attrs']"),
            (P, "empty = []", "empty = []\nnew = []"),
            (P, "empty = []", ""),
            (P, "sys_platform == 'linux'", "sys_platform != 'win32'"),
            (P, "'app[test-all]', ", ""),
            (P, "httpx[http2]", "httpx[http2,socks]"),
            (P, "httpx[http2]", "httpx"),
            (P, ", 'click'", ""),
            (P, "['idna', 'httpx[http2]']", "['idna', 'httpx[http2]', 'click']"),
        ],
    },
    Case {
        name: "groups",
        files: &[(
            P,
            "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.11'\n\
             dependencies = ['idna']\n[dependency-groups]\n\
             dev = ['six>=1', {include-group = 'Lint.X'}]\n\
             'Lint.X' = [\"attrs; python_version >= '3.12'\"]\n\
             none = []\n[tool.uv]\ndefault-groups = []\n[tool.uv.dependency-groups]\n\
             dev = {requires-python = '>=3.12'}\nlint-x = {requires-python = '>=3.13'}\n",
        )],
        edits: &[
            (P, "'six>=1'", "'six >= 1.0'"),
            (P, "'six>=1'", "'six>=1.1'"),
            (P, ", {include-group = 'Lint.X'}", ""),
            (P, "'Lint.X' =", "lint-x ="),
            (P, ">= '3.12'\"", ">= '3.11'\""),
            (P, ">= '3.12'\"", ">= '3.14'\""),
            (P, "none = []", "none = ['click']"),
            (P, "none = []", "none = []\nnew = ['click']"),
            (P, "'>=3.12'}", "'>=3.13'}"),
            (P, "default-groups = []", "default-groups = ['none']"),
            (P, "default-groups = []", "default-groups = []\ndev-dependencies = ['click']"),
        ],
    },
    Case {
        name: "old-groups",
        files: &[(
            P,
            "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.11'\n\
             [tool.uv]\ndev-dependencies = ['six', 'idna<4']\n",
        )],
        edits: &[
            (P, "'six', ", ""),
            (P, "'idna<4'", "'idna<5'"),
            (P, "'six', 'idna<4'", "'idna<4', 'six'"),
        ],
    },
    Case {
        name: "sources",
        files: &[
            (
                P,
                "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.11'\n\
                 dependencies = ['lib-a>=1', 'lib_b', 'LIB.C', 'certifi', 'idna', 'typing-extensions', 'click', 'six']\n\
                 [project.optional-dependencies]\nx = ['h11']\n\
                 [tool.uv.sources]\nlib-a = {path = 'libs/a'}\nlib-b = {path = './libs/b', editable = true}\n\
                 lib-c = {git = 'REPO', tag = 'v1'}\ncertifi = {index = 'p'}\n\
                 typing_extensions = [{index = 'p', marker = \"sys_platform == 'linux'\"}]\n\
                 h11 = [{index = 'p', extra = 'x'}]\n\
                 click = {url = 'CLICK'}\nsix = {path = 'SIX'}\n\
                 [[tool.uv.index]]\nname = 'p'\nurl = 'https://pypi.org/simple/'\nexplicit = true\n\
                 [[tool.uv.index]]\nname = 'q'\nurl = 'https://user:word@pypi.org/simple'\nexplicit = true\n",
            ),
            (
                "libs/a/pyproject.toml",
                "[project]\nname = 'lib-a'\nversion = '1'\ndependencies = ['attrs']\n",
            ),
            ("libs/b/pyproject.toml", "[project]\nname = 'lib-b'\nversion = '1'\n"),
        ],
        edits: &[
            (P, "'libs/a'", "'libs/../libs/a/'"),
            (
                P,
                "lib-b = {path = './libs/b', editable = true}",
                "LIB_B = {path = 'libs/b', editable = true}",
            ),
            (P, "{path = 'libs/a'}", "{path = 'libs/b'}"),
            (P, "tag = 'v1'", "branch = 'main'"),
            (P, "tag = 'v1'", "rev = 'v1'"),
            (P, "lib-c = {git = 'REPO', tag = 'v1'}", "lib-c = {path = 'libs/a'}"),
            (P, "certifi = {index = 'p'}\n", ""),
            (P, "'idna'", "'idna @ CLICK'"),
            (P, "[tool.uv.sources]", "[tool.uv.sources]\nidna = {index = 'p'}"),
            (P, "== 'linux'\"}", "!= 'linux'\"}"),
            (P, "extra = 'x'", "marker = \"sys_platform == 'linux'\""),
            (P, "click = {url = 'CLICK'}\n", ""),
            (P, "six = {path = 'SIX'}\n", ""),
            ("libs/a/pyproject.toml", "['attrs']", "['attrs>1']"),
            ("libs/a/pyproject.toml", "['attrs']", "['iniconfig']"),
        ],
    },
    Case {
        name: "direct",
        files: &[
            (
                P,
                "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.11'\n\
                 dependencies = ['click @ CLICK', 'lib-c @ git+REPO@v1', 'lib-d @ git+REPO@v1#subdirectory=sub',\n\
                 'lib-a @ file://HERE/libs/a', \"six @ file://HERE/SIX ; python_version > '3.11'\"]\n",
            ),
            ("libs/a/pyproject.toml", "[project]\nname = 'lib-a'\nversion = '1'\n"),
        ],
        edits: &[
            (P, "'click @ CLICK'", "'click@CLICK'"),
            (P, "'click @ CLICK'", "'click'"),
            (P, "REPO@v1'", "REPO@main'"),
            (P, "#subdirectory=sub", ""),
            (P, "> '3.11'", "> '3.12'"),
            (P, "> '3.11'", ">= '3.12'"),
        ],
    },
    Case {
        name: "workspace",
        files: &[
            (
                P,
                "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.10'\n\
                 dependencies = ['lib-a', 'idna']\n[tool.uv.workspace]\nmembers = ['libs/*']\n\
                 [tool.uv.sources]\nlib-a = {workspace = true}\nlib-b = {workspace = true}\n\
                 attrs = {index = 'p'}\n\
                 [[tool.uv.index]]\nname = 'p'\nurl = 'https://pypi.org/simple'\nexplicit = true\n",
            ),
            (
                "libs/a/pyproject.toml",
                "[project]\nname = 'lib-a'\nversion = '1'\nrequires-python = '>=3.11,<3.15'\n\
                 dependencies = ['lib-b[x]', 'attrs', 'lib-e']\n\
                 [dependency-groups]\ndev = ['click']\n\
                 [tool.uv.sources]\nlib-e = {path = '../../others/e'}\n",
            ),
            (
                "libs/b/pyproject.toml",
                "[project]\nname = 'lib-b'\nversion = '1'\nrequires-python = '>=3.9'\n\
                 [project.optional-dependencies]\nx = ['six']\n",
            ),
            (
                "others/e/pyproject.toml",
                "[project]\nname = 'lib-e'\nversion = '1'\nrequires-python = '>=3.8'\n\
                 dependencies = ['iniconfig']\n[build-system]\nrequires = ['setuptools']\n",
            ),
        ],
        edits: &[
            (P, "'idna'", "'idna', 'lib-b'"),
            (P, ">=3.10", ">=3.12"),
            (P, ">=3.10", ">=3.9"),
            (P, ">=3.10", ">=3.10,<4"),
            (P, "\nattrs = {index = 'p'}", ""),
            ("libs/a/pyproject.toml", ">=3.11,<3.15", ">=3.11,<3.16"),
            ("libs/a/pyproject.toml", ">=3.11,<3.15", "==3.11.*"),
            ("libs/a/pyproject.toml", "lib-b[x]", "lib-b"),
            ("libs/a/pyproject.toml", "'click'", "'click', 'h11'"),
            ("libs/a/pyproject.toml", "'lib-a'", "'lib-aa'"),
            ("libs/b/pyproject.toml", ">=3.9", ">=3.13"),
            ("libs/b/pyproject.toml", "['six']", "['six<2']"),
            ("others/e/pyproject.toml", "'iniconfig'", "'iniconfig>=1'"),
            ("others/e/pyproject.toml", ">=3.8", ">=3.7"),
        ],
    },
    Case {
        name: "virtual-workspace",
        files: &[
            (
                P,
                "[tool.uv.workspace]\nmembers = ['libs/a']\n[tool.uv]\nconstraint-dependencies = ['idna<4']\n",
            ),
            (
                "libs/a/pyproject.toml",
                "[project]\nname = 'lib-a'\nversion = '1'\nrequires-python = '>=3.11'\n\
                 dependencies = ['idna']\n[build-system]\nrequires = ['setuptools']\n",
            ),
        ],
        edits: &[
            (P, "idna<4", "idna<3.9"),
            ("libs/a/pyproject.toml", "['idna']", "['idna', 'six']"),
            ("libs/a/pyproject.toml", "'setuptools'", "'setuptools', 'wheel'"),
        ],
    },
    Case {
        name: "overrides",
        files: &[(
            P,
            "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.11'\n\
             dependencies = ['httpx', 'click']\n[tool.uv]\n\
             override-dependencies = [\"idna==3.10; python_version >= '3.12'\", 'h11']\n\
             constraint-dependencies = ['anyio<5', 'click']\nexclude-dependencies = ['certifi']\n\
             build-constraint-dependencies = ['setuptools>=60']\n\
             [tool.uv.sources]\nh11 = {index = 'p'}\n\
             [[tool.uv.index]]\nname = 'p'\nurl = 'https://pypi.org/simple/'\nexplicit = true\n",
        )],
        edits: &[
            (P, "idna==3.10", "idna==3.9"),
            (P, ">= '3.12'\"", "> '3.11'\""),
            (P, ">= '3.12'\"", ">= '3.13'\""),
            (P, "anyio<5", "anyio < 5.0"),
            (P, "anyio<5", "anyio<4"),
            (P, "'anyio<5', ", ""),
            (P, "['certifi']", "['Certifi']"),
            (P, "['certifi']", "[]"),
            (P, "setuptools>=60", "setuptools>=61"),
            (P, "h11 = {index = 'p'}", ""),
        ],
    },
    Case {
        name: "dynamic",
        files: &[
            (
                P,
                "[project]\nname = 'app'\ndynamic = ['version', 'dependencies']\nrequires-python = '>=3.11'\n\
                 [build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n\
                 [tool.setuptools]\npy-modules = []\n[tool.setuptools.dynamic]\n\
                 version = {attr = 'v.V'}\ndependencies = {file = ['req.txt']}\n\
                 [dependency-groups]\ndev = ['click']\n",
            ),
            ("req.txt", "idna\nsix\n"),
            ("v.py", "V = '1'\n"),
        ],
        edits: &[(P, "'click'", "'attrs'"), (P, ">=3.11", ">=3.12"), ("v.py", "'1'", "'2'")],
    },
    Case {
        name: "dynamic-version",
        files: &[
            (
                P,
                "[project]\nname = 'app'\ndynamic = ['version']\nrequires-python = '>=3.11'\ndependencies = ['idna']\n\
                 [build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n\
                 [tool.setuptools]\npy-modules = []\n[tool.setuptools.dynamic]\nversion = {attr = 'v.V'}\n",
            ),
            ("v.py", "V = '1'\n"),
        ],
        edits: &[(P, "'idna'", "'idna<4'"), (P, "'idna'", "'six'")],
    },
    Case {
        name: "poetry",
        files: &[(
            P,
            "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.11,<4'\ndependencies = ['idna (>=3,<4)']\n\
             [tool.poetry]\npackages = []\n[tool.poetry.dependencies]\nidna = {optional = false}\n\
             [build-system]\nrequires = ['poetry-core>=2']\nbuild-backend = 'poetry.core.masonry.api'\n",
        )],
        edits: &[
            (P, "(>=3,<4)", "<4,>=3"),
            (P, "(>=3,<4)", "(>=3,<5)"),
            (P, ">=3.11,<4'", ">=3.11,<3.14'"),
        ],
    },
    Case {
        name: "pythons",
        files: &[(
            P,
            "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.11,!=3.12.1,<4'\ndependencies = ['idna']\n",
        )],
        edits: &[
            (P, ">=3.11,!=3.12.1,<4", "<4, != 3.12.1, >= 3.11"),
            (P, "!=3.12.1", "!=3.12.2"),
            (P, ">=3.11,!=3.12.1,<4", "~=3.11,!=3.12.1"),
            (P, ">=3.11", ">=3.11.2"),
            (P, ">=3.11", ">3.11"),
            (P, "<4", "<3.15"),
        ],
    },
    Case {
        name: "without-pythons",
        files: &[(
            P,
            "[project]\nname = 'app'\nversion = '1'\ndependencies = [\"idna; python_version >= '3'\"]\n",
        )],
        edits: &[
            (P, "; python_version >= '3'", ""),
            (P, "version = '1'", "version = '1'\nkeywords = []"),
        ],
    },
    Case {
        name: "settings",
        files: &[(
            P,
            "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.11'\n\
             dependencies = ['idna', \"colorama; sys_platform == 'win32'\", \"six; sys_platform == 'linux'\"]\n\
             [tool.uv]\nenvironments = [\"sys_platform == 'linux'\"]\nprerelease = 'allow'\npackage = false\n",
        )],
        edits: &[
            (P, "\"six; sys_platform == 'linux'\"", "'six'"),
            (P, "'idna'", "'idna>1'"),
            (P, "package = false", "package = false\nmanaged = true"),
        ],
    },
    Case {
        name: "empty",
        files: &[(P, "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.11'\n")],
        edits: &[
            (P, "'>=3.11'", "'>=3.11'\ndependencies = []"),
            (P, "'>=3.11'", "'>=3.11'\ndependencies = ['six']"),
            (P, "'>=3.11'", "'>=3.11'\n[dependency-groups]\ndev = ['six']"),
        ],
    },
    Case {
        name: "conflicts",
        files: &[(
            P,
            "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.11'\ndependencies = ['attrs']\n\
             [project.optional-dependencies]\na = ['idna==3.7']\nb = ['idna==3.8']\n\
             [tool.uv]\nconflicts = [[{extra = 'a'}, {extra = 'b'}]]\n\
             [tool.uv.sources]\nidna = [{index = 'p', extra = 'a'}, {index = 'q', extra = 'b'}]\n\
             [[tool.uv.index]]\nname = 'p'\nurl = 'https://pypi.org/simple/'\nexplicit = true\n\
             [[tool.uv.index]]\nname = 'q'\nurl = 'https://user:word@pypi.org/simple'\nexplicit = true\n",
        )],
        edits: &[
            (P, "idna==3.8", "idna==3.9"),
            (P, "{index = 'p', extra = 'a'}, ", ""),
            (P, "b = ['idna==3.8']", "b = ['idna==3.8', 'six']"),
        ],
    },
];

/// Edits that uv takes for a change although no other wheel could be needed.
const MISSED: [(&str, &str); 2] = [("groups", "default-groups = ['none']"), ("settings", "'six'")];

/// Writes the projects that others refer to; returns what stands for them in the cases.
fn places(sandbox: &Sandbox) -> Vec<(&'static str, String)> {
    let script = "set -e; mkdir -p ../repo/sub ../files\n\
        printf \"[project]\\nname = 'lib-c'\\nversion = '1'\\n\" > ../repo/pyproject.toml\n\
        printf \"[project]\\nname = 'lib-d'\\nversion = '1'\\n\" > ../repo/sub/pyproject.toml\n\
        cd ../repo; git init -q -b main; git add -A\n\
        git -c user.name=a -c user.email=a@b.c commit -q -m x; git tag v1; cd -\n\
        python3 -m pip download -q --no-deps -d ../files six==1.17.0\n";
    sandbox.sh(script).success();
    let page = "import json, urllib.request as r\n\
        q = r.Request('https://pypi.org/simple/click/', headers={'Accept': 'application/vnd.pypi.simple.v1+json'})\n\
        print([f['url'] for f in json.load(r.urlopen(q))['files'] if f['filename'] == 'click-8.1.7-py3-none-any.whl'][0])";
    let click = sandbox.sh(&format!("python3 -c \"{page}\"")).success().stdout;
    vec![
        ("REPO", format!("file://{}", sandbox.beside("repo").display())),
        ("CLICK", click.trim().to_owned()),
        ("SIX", "../files/six-1.17.0-py2.py3-none-any.whl".into()),
        ("HERE", sandbox.path("").display().to_string().trim_end_matches('/').to_owned()),
    ]
}

/// Returns our own judgement: the first difference on any of the targets.
fn judge(sandbox: &Sandbox) -> Option<String> {
    let lock = UvLock::parse(&sandbox.read("uv.lock")).unwrap();
    let folder = sandbox.path("").display().to_string();
    let read = |member: &str| {
        fs::read_to_string(sandbox.path("").join(member).join("pyproject.toml")).ok()
    };
    let checkout = Checkout { folder: &folder, read: &read };
    let has_project = sandbox.read("pyproject.toml").contains("[project]");
    let package = (!has_project).then_some("lib-a");
    let wanted = Wanted { package, ..Wanted::default() };
    Arch::ALL.iter().find_map(|arch| {
        let target = Target::of_runtime(Runtime { major: 3, minor: 13, arch: *arch });
        let behind = lock.behind(&target, &wanted, &checkout).unwrap();
        behind.map(|behind| format!("{} {}", behind.pyproject, behind.difference))
    })
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_lock_is_behind_its_project_if_uv_finds_it_so() {
    let mut sandbox = Sandbox::new();
    trust(&mut sandbox);
    install(&sandbox, UV);
    let places = places(&sandbox);
    let fill = |text: &str| {
        places.iter().fold(text.to_owned(), |text, (name, place)| text.replace(name, place))
    };
    let mut wrong = Vec::new();
    let mut edits = 0;
    for case in CASES {
        sandbox.sh("rm -rf ..?* .[!.]* *").success();
        for (path, text) in case.files {
            sandbox.write(path, fill(text));
        }
        uv(&sandbox, "lock -q").success();
        if let Some(difference) = judge(&sandbox) {
            wrong.push(format!("{}: a fresh lock is behind: {difference}", case.name));
        }
        for (path, from, to) in case.edits {
            let text = sandbox.read(path);
            assert!(text.contains(&fill(from)), "{}: no `{from}` in {text}", case.name);
            sandbox.write(path, text.replacen(&fill(from), &fill(to), 1));
            let check = uv(&sandbox, "lock --check");
            let (theirs, ours) = (check.code != Some(0), judge(&sandbox));
            let is_missed = MISSED.contains(&(case.name, to));
            if theirs != ours.is_some() && !(is_missed && theirs) {
                wrong.push(format!(
                    "{}: `{from}` -> `{to}`: ours {ours:?}, uv {theirs}: {}",
                    case.name,
                    check.stderr.lines().next().unwrap_or_default()
                ));
            }
            sandbox.write(path, text);
            edits += 1;
        }
    }
    assert!(CASES.len() >= 15 && edits >= 100, "{edits}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
