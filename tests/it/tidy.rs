//! Checks that a reviewer would otherwise have to make: layers, sizes, module docs, links.

use std::fs;
use std::path::{Path, PathBuf};

/// Largest number of lines in a source file, with its tests.
const FILE_LINES_MAX: usize = 600;
/// Largest number of lines in a function: it fits a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Words that leave a sentence without its subject, and their largest number in 1,000 words.
const WORDS_MAX: [(&[&str], f64); 4] = [
    (&["what"], 3.0),
    (&["somebody", "nobody", "whoever", "whatever", "anybody", "everybody"], 0.2),
    (&["told", "said", "asked", "known"], 1.0),
    (&["lie", "lies", "lay"], 0.0),
];
/// Words for results and conditions, and their least number in 1,000 words of comment.
const WORDS_MIN: [(&[&str], f64); 2] = [(&["return", "returns"], 2.0), (&["if"], 5.0)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    walkdir::WalkDir::new(root().join(folder))
        .sort_by_file_name()
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "rs"))
        .map(|entry| {
            let text = fs::read_to_string(entry.path()).unwrap();
            (entry.path().strip_prefix(root()).unwrap().to_path_buf(), text)
        })
        .collect()
}

/// Returns the modules of the crate in `folder` in the order of their layers.
fn layers(folder: &str) -> Vec<String> {
    let lib = fs::read_to_string(root().join(folder).join("lib.rs")).unwrap();
    lib.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(String::from)
        .collect()
}

/// Between crates, Cargo checks this.
#[test]
fn imports_go_downwards_only() {
    let mut wrong = Vec::new();
    for folder in ["src", "crates/engine/src", "crates/lambda/src"] {
        let layers = layers(folder);
        let layer = |name: &str| layers.iter().position(|module| module == name);
        for (path, text) in sources(folder) {
            let own = path.strip_prefix(folder).unwrap().components().next().unwrap();
            let own = own.as_os_str().to_str().unwrap();
            let Some(own) = layer(own.trim_end_matches(".rs")) else { continue };
            // Tests may use the list of kinds.
            let is_test = path.ends_with("tests.rs");
            let text =
                if is_test { "" } else { text.split("#[cfg(test)]\nmod tests").next().unwrap() };
            for rest in text.split("crate::").skip(1) {
                let name: String =
                    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                if layer(&name).is_some_and(|imported| imported > own) {
                    wrong.push(format!("{}: crate::{name}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that point upwards:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<String> = sources("src")
        .into_iter()
        .chain(sources("crates"))
        .chain(sources("tests/it"))
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "modules without `//!`: {silent:?}");
}

#[test]
fn files_and_functions_fit() {
    let mut long = Vec::new();
    for (path, text) in ["src", "crates", "tests/it"].into_iter().flat_map(sources) {
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            long.push(format!("{}: {} lines", path.display(), lines.len()));
        }
        for (start, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_function = line.trim_start().split("fn ").next().is_some_and(|before| {
                before.len() < line.trim_start().len()
                    && before.split_whitespace().all(|word| {
                        word.starts_with("pub") || ["async", "const", "super)"].contains(&word)
                    })
            });
            if !is_function {
                continue;
            }
            let end = format!("{}}}", " ".repeat(indent));
            let length = lines[start..].iter().position(|line| *line == end).unwrap_or(0);
            if length > FUNCTION_LINES_MAX {
                long.push(format!("{}:{}: {length} lines", path.display(), start + 1));
            }
        }
    }
    assert!(long.is_empty(), "too long:\n{}", long.join("\n"));
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let mut broken = Vec::new();
    let documents = walkdir::WalkDir::new(root().join("docs"))
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .chain([root().join("README.md"), root().join("CONTRIBUTING.md")])
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    for path in documents {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            if !path.parent().unwrap().join(file).exists() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links to nothing:\n{}", broken.join("\n"));
}

#[test]
fn every_option_and_command_is_described() {
    let help = |arguments: &[&str]| {
        let help =
            std::process::Command::new(env!("CARGO_BIN_EXE_zipwright")).args(arguments).output();
        String::from_utf8(help.unwrap().stdout).unwrap()
    };
    let page = fs::read_to_string(root().join("docs/COMMANDS.md")).unwrap();
    let options = help(&["build", "--help"]);
    let options = options.lines().filter(|line| line.trim_start().starts_with('-'));
    let mut names: Vec<&str> = options
        .flat_map(|line| line.split([' ', ',', '[', '=']))
        .filter(|word| word.starts_with("--"))
        .collect();
    let overview = help(&["--help"]);
    let commands = overview.split("\nOptions").next().unwrap().lines();
    let commands = commands.filter_map(|line| line.strip_prefix("  "));
    let commands = commands.filter(|line| !line.starts_with("zipwright"));
    let commands = commands.filter_map(|line| line.split("  ").next());
    names.extend(commands.flat_map(|names| names.split(", ")));
    assert!(names.len() > 50, "{names:?}");
    names.retain(|name| !page.contains(&format!("`{name}")));
    assert!(names.is_empty(), "not in docs/COMMANDS.md: {names:?}");
}

/// The lock file is the dependency tree; it grows only on purpose.
#[test]
fn the_dependency_tree_stays_small() {
    const PACKAGES_MAX: usize = 322;
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    // The crates of this workspace come from no registry.
    let packages = lock.matches("\nsource = ").count();
    assert!(packages <= PACKAGES_MAX, "{packages} packages; say why in docs/ARCHITECTURE.md");
}

/// A file's path, and its words outside of code, in lower case.
type Words = (PathBuf, Vec<String>);

fn words(path: PathBuf, text: &str) -> Words {
    // Every second part is between backticks: inline code, or a block of it.
    let prose =
        text.split('`').step_by(2).flat_map(|part| part.split(|c: char| !c.is_alphabetic()));
    let words = prose.filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    (path, words)
}

/// Returns the words of all comments, by file.
fn comments() -> Vec<Words> {
    let files = ["src", "tests", "crates"].into_iter().flat_map(sources);
    files
        .map(|(path, text)| {
            let lines = text.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
            let text: Vec<&str> = lines.collect();
            words(path, &text.join("\n"))
        })
        .collect()
}

/// Returns the words of all documents.
fn documents() -> Vec<Words> {
    let docs = walkdir::WalkDir::new(root().join("docs")).sort_by_file_name().into_iter();
    let top = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(|name| root().join(name));
    docs.map(|entry| entry.unwrap().into_path())
        .chain(top)
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| (path.strip_prefix(root()).unwrap().to_path_buf(), path))
        .map(|(path, place)| words(path, &fs::read_to_string(place).unwrap()))
        .collect()
}

/// Returns how often words occur in 1,000 words of all files, and the files with most of them.
fn rate(files: &[Words], counted: &[&str]) -> (f64, String) {
    let count = |words: &[String]| words.iter().filter(|it| counted.contains(&it.as_str())).count();
    let mut hits: Vec<(usize, &Path)> =
        files.iter().map(|(path, words)| (count(words), path.as_path())).collect();
    hits.sort_by(|a, b| b.cmp(a));
    let all: usize = files.iter().map(|(_, words)| words.len()).sum();
    let found: usize = hits.iter().map(|(count, _)| count).sum();
    let worst: Vec<String> = hits
        .iter()
        .take_while(|(count, _)| *count > 0)
        .take(10)
        .map(|(count, path)| format!("  {count} in {}", path.display()))
        .collect();
    (1000.0 * found as f64 / all.max(1) as f64, worst.join("\n"))
}

/// The rules behind the numbers are in CONTRIBUTING.md.
#[test]
fn comments_and_documents_have_plain_words() {
    let (comments, documents) = (comments(), documents());
    assert!(comments.len() > 200 && documents.len() > 10);
    let mut wrong = Vec::new();
    for (what, files) in [("comments", &comments), ("documents", &documents)] {
        for (counted, most) in WORDS_MAX {
            let (rate, worst) = rate(files, counted);
            if rate > most {
                wrong.push(format!("{what}: {rate:.2} of {counted:?}, at most {most}:\n{worst}"));
            }
        }
    }
    for (counted, least) in WORDS_MIN {
        let (rate, _) = rate(&comments, counted);
        if rate < least {
            wrong.push(format!("comments: {rate:.2} of {counted:?}, at least {least}"));
        }
    }
    assert!(wrong.is_empty(), "in 1,000 words:\n{}", wrong.join("\n"));
}
