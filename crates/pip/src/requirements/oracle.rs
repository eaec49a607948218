//! Compares this parser with pip's own on generated requirements files: both must read the same
//! files, and find the same requirements, options and paths in them.
//!
//! pip is that of `python3`; `TEST_PIP_PATH` names a folder with another pip.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::*;

/// Number of folders, each with four files.
const FOLDERS: usize = 500;

/// For each folder: the files that pip reads and the lines that it yields, or `null` if it refuses
/// one. `local` has path, extras, name and whether there is a marker, if pip takes the line for a
/// path on this disk.
const PIP: &str = r#"
import json, os, sys
from pip._internal.network.session import PipSession
from pip._internal.req import constructors, req_file
from pip._internal.models.link import Link

session = PipSession()
opened = []
content = req_file.get_file_content
def recorded(url, *rest, **more):
    opened.append(Link(url).file_path if url.startswith("file:") else os.path.abspath(url))
    return content(url, *rest, **more)
req_file.get_file_content = recorded

def local(words, editable):
    try:
        if editable:
            found = constructors.install_req_from_editable(words)
        else:
            found = constructors.install_req_from_line(words)
        link = found.link
        if link is None or link.scheme != "file":
            return None
        path = os.path.normpath(os.path.abspath(link.file_path))
        if os.path.isdir(path):
            path = os.path.join(path, link.subdirectory_fragment or "")
        if not os.path.exists(path):
            return "missing"
        name = found.req.name if found.req else None
        marker = found.markers is not None
        return [os.path.normpath(path), sorted(found.extras), name, marker]
    except Exception:
        return "refused"

def item(line):
    options = line.opts
    settings = {key: value if isinstance(value, list) else [value]
                for key, value in (getattr(options, "config_settings", None) or {}).items()}
    words = getattr(line, "requirement", None)
    if words is not None:
        # Newer ones take a requirement in front of `-e` for editable, which means the same here.
        editable = line.is_editable and not getattr(line, "args", "")
        return {"line": line.lineno, "constraint": line.constraint, "editable": editable,
                "words": words, "local": local(words, editable),
                "hashed": bool(options.hashes) and not editable, "settings": settings}
    return {"line": line.lineno, "links": (options.find_links or [])[:1],
            "index": options.index_url, "more": options.extra_index_urls or [],
            "pre": bool(options.pre), "no_index": bool(options.no_index),
            "require": bool(options.require_hashes)}

results = []
for folder in sys.argv[1:]:
    os.chdir(folder)
    del opened[:]
    try:
        parser = req_file.RequirementsFileParser(session, req_file.get_line_parser(None))
        lines = [item(line) for line in parser.parse("requirements.txt", False)]
        results.append({"files": sorted(set(opened)), "lines": lines})
    except Exception:
        results.append(None)
json.dump(results, sys.stdout)
"#;

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }
}

const LINES: [&str; 44] = [
    "six==1.16.0",
    "idna[x] >= 3 ; python_version > '3'",
    "./lib",
    "lib",
    "lib/p",
    "./lib[x,y] ; sys_platform == 'linux'",
    "./lib;os_name=='posix'",
    ".",
    "-e lib",
    "-e ./lib[x]",
    "-elib",
    "--editable=lib[x,Y]",
    "--edit lib ; x",
    "-e file://ROOT/lib#egg=zz[q]&subdirectory=p",
    "-e 'lib'",
    "zz @ file://ROOT/lib#subdirectory=p",
    "zz[x]@file://ROOT/lib ; os_name == 'posix'",
    "file://ROOT/lib#egg=zz[a]",
    "file://localhostROOT/lib",
    "file://ROOT/li%62",
    "w-1.tar.gz --hash=sha256:00",
    "./w-1.tar.gz --hash sha256:00 --hash=sha256:11",
    "zz @ file://ROOT/w-1.tar.gz",
    "git+https://h/r@v1#egg=r",
    "-e git+https://h/r@v1#egg=r",
    "https://h/n-1-py3-none-any.whl?key=a#sha256=0",
    "./lib --config-settings=\"--build-option=--x y\" -C a=b --config-settings a=c",
    "six\t--hash=sha256:0",
    "-f links",
    "--find-links=links -f other",
    "--index-url https://${TOKEN}@h/s --pre",
    "-i'https://h/a b'",
    "--extra-index-url https://h/e --index-url https://h/i",
    "--no-index",
    "--require-hashes",
    "--trusted-host h",
    "--no-such-option",
    "'",
    "${LIB}",
    "six==${VERSION}",
    "-r ${MISSING}",
    "--pre -- -r c.txt",
    "-e",
    "a -- b",
];

/// Spellings of an include of `FILE`.
const INCLUDES: [&str; 12] = [
    "-r FILE",
    "-rFILE",
    "--requirement FILE",
    "--requirement=FILE",
    "--requirem 'FILE'",
    "-c FILE",
    "--constraint=\"FILE\"",
    "--pre -r FILE",
    "-r FILE -c nowhere",
    "-r ${HERE}FILE",
    "-r file://ROOT/c.txt",
    "six -r FILE",
];

const BETWEEN: [&str; 13] = [
    "\n", "\n", "\n", "\r\n", "\r", "\n\n", "\x0b", "\x0c", "\x1c", "\x1e", "\u{85}", "\u{2028}",
    "\n \t\n",
];

const AFTER: [&str; 12] =
    ["", "", "", "", " # why", "#no comment", "\t# why", " ", "\x1f# why", "\\", " \\", "\u{a0}"];

/// Returns the text of a file; `includes` are the files that it may name.
fn text(dice: &mut Dice, includes: &[&str]) -> String {
    let mut text = String::new();
    for _ in 0..1 + dice.below(6) {
        let mut line = match dice.below(8) {
            0..=1 if !includes.is_empty() => {
                dice.pick(&INCLUDES).replace("FILE", dice.pick(includes))
            }
            2 => "# comment \\".into(),
            _ => dice.pick(&LINES).to_string(),
        };
        if dice.below(12) == 0 {
            let noise =
                [" ", "\t", "'", "\\", "#", " #", "-", "$", "\\\n", "[", "\u{e9}", "\u{3000}"];
            let at = dice.below(line.len() + 1);
            line.insert_str(at, dice.pick(&noise));
        }
        text.push_str(&line);
        text.push_str(dice.pick(&AFTER));
        text.push_str(dice.pick(&BETWEEN));
    }
    text
}

fn encoded(dice: &mut Dice, text: &str) -> Vec<u8> {
    let marked = || std::iter::once('\u{feff}').chain(text.chars());
    let utf_16 = |bytes: fn(u16) -> [u8; 2]| {
        let text: String = marked().collect();
        text.encode_utf16().flat_map(bytes).collect()
    };
    match dice.below(8) {
        0 => marked().collect::<String>().into(),
        1 => utf_16(u16::to_le_bytes),
        2 => utf_16(u16::to_be_bytes),
        3 if text.chars().all(|c| u32::from(c) < 256) => {
            let latin = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap());
            b"# -*- coding: latin-1 -*-\n".iter().copied().chain(latin).collect()
        }
        4 => format!("# coding=utf-8\n{text}").into(),
        5 => marked().flat_map(|c| u32::from(c).to_be_bytes()).collect(),
        _ => text.into(),
    }
}

fn make(root: &Path, dice: &mut Dice) {
    for folder in ["lib/p", "sub", "links"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    for file in ["setup.py", "lib/setup.py", "lib/p/setup.py", "w-1.tar.gz"] {
        std::fs::write(root.join(file), "").unwrap();
    }
    for (file, includes) in [
        ("requirements.txt", &["sub/a.txt", "c.txt", "./c.txt"][..]),
        ("sub/a.txt", &["b.txt", "../c.txt"]),
        ("sub/b.txt", &[]),
        ("c.txt", &[]),
    ] {
        let mut text = text(dice, includes).replace("ROOT", &root.display().to_string());
        if file == "c.txt" {
            // pip reads it as ISO 8859-1 if it is included by a URL.
            text.retain(|c| c.is_ascii());
        }
        let bytes = if file == "c.txt" { text.into_bytes() } else { encoded(dice, &text) };
        std::fs::write(root.join(file), bytes).unwrap();
    }
}

/// Collects the lines of a file and of the files that it includes, in the form of [`PIP`].
fn lines_of(root: &Path, found: &Requirements, index: usize, all: &mut Vec<Value>) {
    let file = &found.files[index];
    for read in &file.lines {
        match &read.meaning {
            Meaning::Include { constraint, .. } => {
                let included = found.position(read.local.as_ref().unwrap(), *constraint).unwrap();
                lines_of(root, found, included, all);
            }
            Meaning::Requirement(requirement) => {
                let mut settings = serde_json::Map::new();
                for (key, value) in &requirement.settings {
                    let values = settings.entry(key).or_insert_with(|| json!([]));
                    values.as_array_mut().unwrap().push(value.as_str().into());
                }
                let local = read.local.as_ref().map(|local| {
                    let extras = requirement.extras.trim_matches(['[', ']']).to_lowercase();
                    let mut extras: Vec<&str> = extras.split(',').map(str::trim).collect();
                    extras.retain(|extra| !extra.is_empty());
                    extras.sort_unstable();
                    let place = local.under(root);
                    json!([place, extras, requirement.name, !requirement.marker.is_empty()])
                });
                all.push(json!({
                    "line": read.line.number, "constraint": file.constraint,
                    "editable": requirement.editable, "words": requirement.words, "local": local,
                    "hashed": requirement.hashed, "settings": settings,
                }));
            }
            Meaning::Options(words) => all.push(options_of(read.line.number, words)),
            Meaning::Nothing => {}
            Meaning::Invalid => all.push("invalid".into()),
        }
    }
}

fn options_of(line: usize, words: &[Word]) -> Value {
    let others: Vec<Vec<String>> = words
        .iter()
        .filter_map(|word| match word {
            Word::Other(text) => super::super::options::split(text),
            _ => None,
        })
        .collect();
    let values = |name: &str| -> Vec<&String> {
        others
            .iter()
            .filter(|option| option[0] == name)
            .filter_map(|option| option.get(1))
            .collect()
    };
    let has = |name: &str| others.iter().any(|option| option[0] == name);
    let links = words.iter().filter_map(|word| match word {
        Word::FindLinks(place) => Some(place),
        _ => None,
    });
    json!({
        "line": line, "links": links.collect::<Vec<_>>(), "index": values("--index-url").last(),
        "more": values("--extra-index-url"), "pre": has("--pre"), "no_index": has("--no-index"),
        "require": words.contains(&Word::RequireHashes),
    })
}

fn run_pip(folders: &[PathBuf], env: &[(&str, &str)]) -> Vec<Value> {
    let mut pip = Command::new("python3");
    pip.args(["-c", PIP]).args(folders).envs(env.iter().copied()).stderr(Stdio::null());
    if let Ok(path) = std::env::var("TEST_PIP_PATH") {
        pip.env("PYTHONPATH", path);
    }
    let output = pip.output().expect("these tests need python3 on PATH");
    serde_json::from_slice(&output.stdout).expect("the oracle writes JSON")
}

#[test]
fn generated_files_are_read_as_pip_reads_them() {
    let env = [("TOKEN", "s3cret"), ("VERSION", "1"), ("LIB", "./lib"), ("HERE", "./")];
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    let seed = std::env::var("TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut dice = Dice(seed);
    let folders: Vec<PathBuf> =
        (0..FOLDERS).map(|number| top.join(format!("{number:04}"))).collect();
    folders.iter().for_each(|folder| make(folder, &mut dice));
    let oracle = run_pip(&folders, &env);
    let (mut agreed, mut refused) = (0, 0);
    for (root, theirs) in folders.iter().zip(oracle) {
        let env = env.map(|(name, value)| (name.into(), value.into())).into();
        let project = Project::new(root.clone(), env);
        let given = RelPath::parse("requirements.txt").unwrap();
        let ours = Requirements::read(&project, &[given], &[], &|_| None);
        if theirs.is_null() {
            refused += 1;
            continue;
        }
        let shown = std::fs::read(root.join("requirements.txt")).unwrap();
        let shown = String::from_utf8_lossy(&shown);
        let mut theirs = theirs;
        let has = |words: &str, theirs: &Value| {
            theirs["lines"].as_array().unwrap().iter().any(|line| line["local"] == words)
        };
        let ours = match ours {
            Ok(ours) => ours,
            // pip reports these later.
            Err(_) if has("missing", &theirs) || has("refused", &theirs) => continue,
            Err(error) => panic!("{}: {error:#}\n{shown:?}", root.display()),
        };
        let mut files: Vec<PathBuf> = ours.files.iter().map(|file| file.path.under(root)).collect();
        files.sort();
        files.dedup();
        assert_eq!(json!(files), theirs["files"], "{}: {shown:?}", root.display());
        let mut lines = Vec::new();
        lines_of(root, &ours, 0, &mut lines);
        let theirs = theirs["lines"].as_array_mut().unwrap();
        assert_eq!(lines.len(), theirs.len(), "{}: {shown:?}", root.display());
        for (ours, theirs) in lines.iter().zip(theirs) {
            if ["missing", "refused"].iter().any(|words| theirs["local"] == *words) {
                theirs["local"] = ours["local"].clone();
            }
            assert_eq!(ours, theirs, "{}: {shown:?}", root.display());
        }
        agreed += 1;
    }
    let compared = format!("{agreed} folders were compared, pip refused {refused}");
    assert!(agreed > FOLDERS / 4, "{compared}");
}
