//! Everything that can be wrong with a Buildfile, each as one constructor, so that the words of
//! all messages stand side by side.

use super::vars::is_name;
use crate::base::path::PathProblem;
use crate::base::words::{count, list, nearest};
use crate::diagnostic::{Diagnostic, Rule, Span};
use crate::glob::GlobProblem;

// The text itself.

pub(crate) fn syntax(span: &Span, message: &str) -> Diagnostic {
    Diagnostic::at(span, format!("not TOML: {message}"))
}

/// The construct `what` begins at `span` and is not closed.
pub(crate) fn unclosed(span: &Span, what: &str, closing: &str) -> Diagnostic {
    Diagnostic::at(span, format!("not TOML: this {what} has no end, expected `{closing}`"))
        .label(format!("all that follows counts as part of this {what}"))
        .hint(format!("write `{closing}` where it is to end"))
}

pub(crate) fn given_twice(span: &Span, written: &str, first: Option<&Span>) -> Diagnostic {
    let mistake = Diagnostic::at(span, format!("`{written}` is given twice"))
        .hint("keep one of them, or put both into one");
    match first {
        Some(first) => mistake.also(first, "first given here"),
        None => mistake,
    }
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(crate) fn wrong_type(span: &Span, what: &str, expected: &str, found: &str) -> Diagnostic {
    Diagnostic::at(span, format!("{what} is {found}, expected {expected}"))
        .label(format!("expected {expected}"))
        .breaks(Rule::Type)
}

pub(crate) fn unknown_key(span: &Span, key: &str, owner: &str, valid: &[&str]) -> Diagnostic {
    Diagnostic::at(span, format!("unknown key `{key}` in {owner}"))
        .hint(meant(key, valid, "the keys are"))
        .misplaced()
        .breaks(Rule::Keys(texts(valid)))
}

/// An unknown key that opens a table: most likely a target whose header is not quite right.
pub(crate) fn unknown_table(span: &Span, key: &str, owner: &str, valid: &[&str]) -> Diagnostic {
    let header = match key.contains('.') {
        true => format!("[target.\"{key}\"]"),
        false => format!("[target.{key}]"),
    };
    match nearest(key, valid.iter().copied()) {
        Some(_) => unknown_key(span, key, owner, valid),
        None => unknown_key(span, key, owner, valid).hint(format!("a target is `{header}`")),
    }
}

pub(crate) fn dotted_name(span: &Span, target: &str, key: &str) -> Diagnostic {
    Diagnostic::at(span, format!("unknown table `{key}` in target `{target}`"))
        .hint(format!("a name with a `.` is quoted: `[target.\"{target}.{key}\"]`"))
        .misplaced()
}

pub(crate) fn missing_key(span: &Span, key: &str, owner: &str, example: &str) -> Diagnostic {
    Diagnostic::at(span, format!("{owner} has no `{key}`"))
        .hint(format!("add `{key} = {example}`"))
        .absence()
        .breaks(Rule::AnyOf(texts(&[key])))
}

pub(crate) fn missing_kind(span: &Span, name: &str, kinds: &[&str]) -> Diagnostic {
    Diagnostic::at(span, format!("target `{name}` has no `kind`"))
        .hint(format!("the kinds are {}", list(kinds)))
        .absence()
}

pub(crate) fn missing_either(span: &Span, keys: [&str; 2], owner: &str) -> Diagnostic {
    let [a, b] = keys;
    Diagnostic::at(span, format!("{owner} has neither `{a}` nor `{b}`"))
        .hint(format!("add `{a}` or `{b}`"))
        .absence()
        .breaks(Rule::AnyOf(texts(&keys)))
}

pub(crate) fn missing_all(span: &Span, keys: &[&str], owner: &str) -> Diagnostic {
    Diagnostic::at(span, format!("{owner} has none of {}", list(keys)))
        .hint(format!("add one of {}", list(keys)))
        .absence()
        .breaks(Rule::AnyOf(texts(keys)))
}

/// `key` has a meaning only beside `other`.
pub(crate) fn only_with(span: &Span, key: &str, other: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{key}` goes with `{other}`, which is not given"))
        .hint(format!("add `{other}`, or remove `{key}`"))
        .breaks(Rule::With(key.to_owned(), other.to_owned()))
}

pub(crate) fn only_one_of(second: &Span, first: &Span, keys: [&str; 2], owner: &str) -> Diagnostic {
    let [a, b] = keys;
    Diagnostic::at(second, format!("{owner} has both `{a}` and `{b}`"))
        .also(first, "the other one")
        .hint(format!("keep `{a}` or `{b}`"))
        .breaks(Rule::NotBoth(keys.map(str::to_owned)))
}

pub(crate) fn empty(span: &Span, what: &str, hint: &str) -> Diagnostic {
    Diagnostic::at(span, format!("{what} is empty")).hint(hint).breaks(Rule::NotEmpty)
}

// Services.

pub(crate) fn only_for_services(span: &Span, key: &str, owner: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{key}` is for services, and {owner} is not one"))
        .hint("add `service = true`, or remove it")
}

pub(crate) fn not_for_services(span: &Span, key: &str, owner: &str) -> Diagnostic {
    Diagnostic::at(span, format!("{owner} is a service, which cannot have `{key}`"))
        .hint("let another command make the files, and name it in `needs`")
}

pub(crate) fn one_way_to_be_ready(span: &Span) -> Diagnostic {
    Diagnostic::at(span, "`ready` has one of `tcp`, `http` and `seconds`")
        .hint("as in `ready = { tcp = 4000 }`")
}

pub(crate) fn bad_url(span: &Span, text: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{text}` is not an address"))
        .hint("write `http://HOST:PORT/PATH`, as in `\"http://127.0.0.1:4000/\"`")
}

// Names.

pub(crate) fn bad_target_name(span: &Span, name: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{name}` cannot be the name of a target")).hint(
        "a name has ASCII letters, digits, `_`, `-` and `.`, and does not start with `-` or `.`",
    )
    .breaks(Rule::Pattern("[A-Za-z0-9_][A-Za-z0-9_.-]*"))
}

pub(crate) fn bad_variable_name(span: &Span, name: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{name}` cannot be the name of a variable"))
        .hint("a name has ASCII letters, digits, `_` and `-`, and starts with a letter or `_`")
        .breaks(Rule::Pattern("[A-Za-z_][A-Za-z0-9_-]*"))
}

pub(crate) fn bad_environment_name(span: &Span, name: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{name}` cannot be the name of an environment variable"))
        .hint("it may not be empty or contain `=` or a control character")
}

pub(crate) fn own_build_variable(span: &Span, name: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{name}` cannot be set for builds"))
        .hint("zipwright sets it, so that builds are the same everywhere; options of pip go into `pip-args`")
}

pub(crate) fn unknown_kind(span: &Span, kind: &str, kinds: &[&str]) -> Diagnostic {
    Diagnostic::at(span, format!("unknown kind `{kind}`")).hint(meant(kind, kinds, "the kinds are"))
}

pub(crate) fn unknown_variable(span: &Span, name: &str, known: &[&str]) -> Diagnostic {
    Diagnostic::at(span, format!("unknown variable `{name}`"))
        .hint(match nearest(name, known.iter().copied()) {
            Some(nearest) => format!("did you mean `{{{nearest}}}`?"),
            None => format!("declare it: `{name} = \"…\"` in `[vars]`"),
        })
        .hint(format!("the text itself is written `{{{{{name}}}}}`"))
        .absence()
}

pub(crate) fn reference_in_variable(span: &Span, name: &str) -> Diagnostic {
    Diagnostic::at(span, "a variable cannot refer to another")
        .hint("write the value out, or put both references where they are used")
        .hint(format!("the text itself is written `{{{{{name}}}}}`"))
}

pub(crate) fn undeclared_override(name: &str, known: &[&str]) -> Diagnostic {
    if !is_name(name) {
        return Diagnostic::nowhere(format!("`{name}=` names no variable"))
            .hint("a goal has no `=`; a variable is set by `NAME=VALUE`");
    }
    Diagnostic::nowhere(format!("`{name}=` sets no variable: `[vars]` does not declare `{name}`"))
        .hint(match nearest(name, known.iter().copied()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("declare it: `{name} = \"…\"` in `[vars]`"),
        })
        .absence()
}

// Values.

pub(crate) fn bad_path(span: &Span, path: &str, problem: PathProblem) -> Diagnostic {
    let at = |message: String, hint: &str| Diagnostic::at(span, message).hint(hint);
    match problem {
        PathProblem::Empty => {
            at("the path is empty".into(), "the project itself is `.`").breaks(Rule::NotEmpty)
        }
        PathProblem::Absolute => at(
            format!("`{path}` is an absolute path"),
            "paths are relative to the project, so that it builds the same anywhere",
        )
        .breaks(Rule::Pattern("[^/].*")),
        PathProblem::LeavesProject => at(
            format!("`{path}` leaves the project"),
            "paths stay in the project; `-C` can start zipwright in a folder further up",
        ),
        PathProblem::ControlCharacter => {
            at(format!("`{path}` contains a control character"), "name the file differently")
        }
    }
}

/// Returns the mistake if no lockfile that can be read has this name.
pub(crate) fn not_a_lockfile(span: &Span, name: &str) -> Option<Diagnostic> {
    if name == "uv.lock" || zipwright_python::lock::is_pylock(name) {
        return None;
    }
    let export = match name {
        "poetry.lock" => Some("poetry export -f pylock.toml -o pylock.toml"),
        "pdm.lock" => Some("pdm export -f pylock -o pylock.toml"),
        "Pipfile.lock" => Some("pipenv pylock --generate"),
        _ => None,
    };
    let mistake = Diagnostic::at(span, format!("`{name}` is not a lockfile that can be read"));
    Some(match export {
        Some(command) => mistake.hint(format!("export it: `{command}`, and name `pylock.toml`")),
        None if name.ends_with(".txt") || name.ends_with(".in") => {
            mistake.hint("a file of requirements goes into `requirements`")
        }
        None => mistake.hint("name a `pylock.toml`, a `pylock.NAME.toml` or a `uv.lock`"),
    })
}

pub(crate) fn root_as_output(span: &Span) -> Diagnostic {
    Diagnostic::at(span, "the project itself cannot be an output")
        .hint("name a file or folder in it, such as `build/…`")
}

pub(crate) fn output_in_state(span: &Span, path: &str, state: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{path}` cannot be an output"))
        .hint(format!("`{state}` is where the engine keeps its records; use `build/…`"))
}

pub(crate) fn bad_glob(span: &Span, glob: &str, problem: &GlobProblem) -> Diagnostic {
    match problem {
        GlobProblem::Path(problem) => bad_path(span, glob, *problem),
        GlobProblem::ClimbsAfterWildcard => {
            Diagnostic::at(span, format!("`{glob}` has a `..` after a wildcard"))
                .hint("put `..` in front of the first wildcard, or leave it out")
        }
        GlobProblem::Syntax(problem) => {
            Diagnostic::at(span, format!("`{glob}` is not a glob: {problem}"))
                .hint("a `\\` before a character of `*?[]{}` makes it mean itself")
        }
    }
}

pub(crate) fn wildcards_to_one_path(to: &Span, from: &Span, path: &str) -> Diagnostic {
    Diagnostic::at(to, "many files cannot go to one path")
        .also(from, "a pattern")
        .hint(format!("for a folder, end it with a slash: `{path}/`"))
}

pub(crate) fn bad_instant(span: &Span, text: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{text}` is not an instant")).hint(
        "`git`, `source-date-epoch`, or a date and time with offset like `1980-02-01T00:00:00Z`",
    )
    .breaks(Rule::Known(texts(&["git", "source-date-epoch"])))
}

pub(crate) fn instant_not_in_zip(span: &Span) -> Diagnostic {
    Diagnostic::at(span, "a zip cannot hold this time")
        .hint("its times go from 1980-01-01T00:00:00Z to 2107-12-31T23:59:59Z")
}

/// A guard that is given as a string.
pub(crate) fn guard_as_string(span: &Span, key: &str, written: &str) -> Diagnostic {
    Diagnostic::at(span, format!("a guard of `{key}` is a string, expected a table"))
        .label("expected a table")
        .hint(format!("a script for the shell is written `{{ shell = {written} }}`"))
        .breaks(Rule::Type)
}

/// `written` is the value as it stands in the Buildfile.
pub(crate) fn bad_duration(span: &Span, written: &str) -> Diagnostic {
    let mistake = Diagnostic::at(span, format!("`{written}` is not a length of time"))
        .breaks(Rule::Pattern("[0-9]+(ms|s|m|h)"));
    match written.parse::<f64>() {
        Ok(_) => mistake.hint(format!("give the unit: `\"{written}s\"` is {written} seconds")),
        Err(_) => mistake.hint("write a whole number and `ms`, `s`, `m` or `h`, as in `\"30s\"`"),
    }
}

pub(crate) fn no_duration(span: &Span, key: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{key}` is no time at all"))
        .hint("give at least a millisecond: `\"1ms\"`")
}

/// `every` of a wait leaves no time for a second attempt.
pub(crate) fn too_rare(span: &Span) -> Diagnostic {
    Diagnostic::at(span, "`every` is not shorter than `timeout`, so there is one attempt only")
        .hint("make `every` shorter, or `timeout` longer")
}

pub(crate) fn bad_version(span: &Span, text: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{text}` is not a version of Python"))
        .hint("write major and minor number, as in `3.13`")
        .breaks(Rule::Pattern("[0-9]+[.][0-9]+"))
}

pub(crate) fn unknown_word(span: &Span, word: &str, what: &str, words: &[&str]) -> Diagnostic {
    let synonym = match word.to_ascii_lowercase().as_str() {
        "aarch64" | "arm" => Some("arm64"),
        "amd64" | "x86-64" | "x64" => Some("x86_64"),
        _ => None,
    };
    Diagnostic::at(span, format!("unknown {what} `{word}`"))
        .hint(match synonym.filter(|synonym| words.contains(synonym)) {
            Some(synonym) => format!("Lambda calls it `{synonym}`"),
            None => meant(word, words, "known are"),
        })
        .breaks(Rule::Words(texts(words)))
}

/// A runtime may be newer than all of `runtimes`.
pub(crate) fn unknown_runtime(span: &Span, word: &str, runtimes: &[&str]) -> Diagnostic {
    unknown_word(span, word, "runtime", runtimes).breaks(Rule::Known(texts(runtimes)))
}

pub(crate) fn bad_project_name(span: &Span, name: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{name}` is not the name of a project"))
        .hint("`sources`, or the name of a wheel's project, such as `boto3`")
        .breaks(Rule::Pattern("[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"))
}

pub(crate) fn bad_layer_name(span: &Span, name: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{name}` cannot be the name of a layer"))
        .hint("a name has ASCII letters, digits, `-` and `_`, 140 at most, and no version")
        .breaks(Rule::Pattern("[A-Za-z0-9_-]{1,140}"))
}

pub(crate) fn bad_bucket(span: &Span, name: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{name}` cannot be the name of a bucket"))
        .hint("a name has from 3 to 63 lowercase letters, digits, `-` and `.`; no URL or ARN")
        .breaks(Rule::Pattern("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"))
}

pub(crate) fn no_stamp(span: &Span, owner: &str, why: &str) -> Diagnostic {
    Diagnostic::at(span, format!("{owner} has no stamp")).hint(why).breaks(Rule::NoStamp)
}

pub(crate) fn not_json(span: &Span, found: &str) -> Diagnostic {
    Diagnostic::at(span, format!("{found} has no form in JSON"))
        .hint("put the payload in a file, or write it as a string")
}

pub(crate) fn only_on_aws(span: &Span, key: &str, owner: &str) -> Diagnostic {
    Diagnostic::at(span, format!("{owner} is local and has a `{key}`"))
        .hint("leave it out: it is for calls of a function on AWS")
}

pub(crate) fn upload_for_local(span: &Span, owner: &str) -> Diagnostic {
    Diagnostic::at(span, format!("{owner} is local and names an `upload`"))
        .hint("name the bundle that it runs: `zip = \"…\"`")
        .hint("to run the function of an upload locally, use the option `--local`")
}

pub(crate) fn zip_for_aws(span: &Span, owner: &str) -> Diagnostic {
    Diagnostic::at(span, format!("{owner} names a `zip` and is not local"))
        .hint("add `local = true` to run the bundle on this machine, or name an `upload` instead")
}

pub(crate) fn layers_for_aws(span: &Span, owner: &str) -> Diagnostic {
    Diagnostic::at(span, format!("{owner} has `layers` and is not local"))
        .hint("leave it out: its `upload` names the layers of the function")
}

pub(crate) fn bad_handler(span: &Span, text: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{text}` is not a handler"))
        .hint("write module and function, as in `app.handler`")
        .breaks(Rule::Pattern("[^-\\s]\\S*[.][^.\\s]+"))
}

pub(crate) fn bad_timeout(span: &Span) -> Diagnostic {
    Diagnostic::at(span, "a function has from 1 to 5400 seconds")
        .hint("more than 1800 only for asynchronous calls on Managed Instances")
        .breaks(Rule::Range(1, 5400))
}

pub(crate) fn bad_function(span: &Span, name: &str, hint: &str) -> Diagnostic {
    const PATTERN: &str =
        "([^:]*:function:|arn:[^:]*:lambda:[^:]*:[^:]*:function:)?[A-Za-z0-9_-]{1,64}";
    Diagnostic::at(span, format!("`{name}` cannot be the name of a function"))
        .hint(hint)
        .breaks(Rule::Pattern(PATTERN))
}

pub(crate) fn bad_alias(span: &Span, name: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{name}` cannot be the name of an alias"))
        .hint("a name has up to 128 ASCII letters, digits, `-` and `_`, and not digits alone")
        .breaks(Rule::Pattern("[0-9]*[A-Za-z_-][A-Za-z0-9_-]*"))
}

pub(crate) fn bad_qualifier(span: &Span, name: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{name}` is neither a version nor the name of an alias"))
        .hint("write a number, an alias, or `$LATEST`")
        .breaks(Rule::Pattern("[A-Za-z0-9_-]+|\\$LATEST(\\.PUBLISHED)?"))
}

pub(crate) fn bad_kms_key(span: &Span, name: &str) -> Diagnostic {
    Diagnostic::at(span, format!("`{name}` is not the ARN of a KMS key"))
        .hint("write it whole, as in `arn:aws:kms:eu-west-1:123456789012:key/…`")
        .breaks(Rule::Pattern("arn:[^:]+:kms:[^:]+:[^:]+:(key|alias)/.*"))
}

pub(crate) fn alias_of_nothing(alias: &Span, publish: &Span, owner: &str) -> Diagnostic {
    Diagnostic::at(alias, format!("{owner} has an `alias` and publishes no version"))
        .also(publish, "an alias points to a published version")
        .hint("leave out `publish`, or the alias")
}

pub(crate) fn twice(second: &Span, first: &Span, name: &str) -> Diagnostic {
    Diagnostic::at(second, format!("`{name}` is named twice"))
        .also(first, "the first one")
        .hint("keep one of them")
}

// What the targets are to each other.

pub(crate) fn which_function(span: &Span, upload: &str, functions: &[&str]) -> Diagnostic {
    Diagnostic::at(span, format!("`{upload}` uploads to {}", count(functions.len(), "function")))
        .hint(format!("name the one to call: `function = \"…\"`, one of {}", list(functions)))
}

pub(crate) fn no_such_function(
    span: &Span,
    name: &str,
    upload: &str,
    functions: &[&str],
) -> Diagnostic {
    Diagnostic::at(span, format!("`{upload}` does not upload to function `{name}`")).hint(meant(
        name,
        functions,
        "it uploads to",
    ))
}

/// Returns a hint with the nearest name; without one, with all valid names.
fn meant(name: &str, valid: &[&str], listed: &str) -> String {
    match nearest(name, valid.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("{listed} {}", list(valid)),
    }
}
