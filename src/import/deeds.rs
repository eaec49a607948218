//! The commands that Makefiles for bundles are made of, by their meaning. A command that is not among
//! them, or has an option that is not, has no deed.

use std::path::Path;

use super::deed::{Deed, FOLDERS, Members, NO_ENVIRONMENT, Origin, WorkingFolder};
use super::shell::{Bound, Joint, Simple, Word};
use super::{aws, pattern, pip};

/// Returns the deeds of a line, which changes the folder of the following ones by `cd`. `None` if a
/// command has no deed.
pub(super) fn of_line(simples: &[Simple], place: &mut WorkingFolder) -> Option<Vec<Deed>> {
    let mut deeds = Vec::new();
    let mut outer = Vec::new();
    let mut at = 0;
    while let Some(simple) = simples.get(at) {
        if let Some(bound) = simple.bound {
            match bound {
                Bound::Open if [Joint::Or, Joint::Pipe].contains(&simple.joint) => return None,
                Bound::Open => outer.push(place.clone()),
                Bound::Close if simples.get(at + 1).is_some_and(|it| it.joint == Joint::Pipe) => {
                    return None;
                }
                Bound::Close => *place = outer.pop()?,
            }
            at += 1;
            continue;
        }
        let pipe = simples[at + 1..].iter().take_while(|next| next.joint == Joint::Pipe).count();
        // `|| true` does not change the effect of a command.
        let is_excuse = simple.joint == Joint::Or
            && simple.words.len() == 1
            && ["true", ":"].contains(&simple.words[0].text.as_str());
        if pipe > 0 {
            deeds.push(pipeline(&simples[at..=at + pipe], place)?);
        } else if simple.joint == Joint::Or && !is_excuse {
            return None;
        } else if simple.words[0].text == "cd" {
            let [_, folder] = simple.words.as_slice() else { return None };
            place.folder = place.path(&folder.text)?;
        } else if let Some(environment) = activated(simple) {
            place.environment = Some(place.path(environment)?);
            deeds.push(Deed::Nothing(NO_ENVIRONMENT));
        } else if !is_excuse {
            deeds.push(of_command(simple, place)?);
        }
        at += 1 + pipe;
    }
    Some(deeds)
}

/// The environment that `. FOLDER/bin/activate` activates.
fn activated(simple: &Simple) -> Option<&str> {
    let [dot, script] = simple.words.as_slice() else { return None };
    let is_dot = [".", "source"].contains(&dot.text.as_str());
    script.text.strip_suffix("/bin/activate").filter(|_| is_dot)
}

/// `find TREE … -print0 | xargs -0r touch …`
fn pipeline(simples: &[Simple], place: &WorkingFolder) -> Option<Deed> {
    let [find, xargs] = simples else { return None };
    let text =
        |simple: &Simple| simple.words.iter().map(|word| word.text.clone()).collect::<Vec<_>>();
    let (find, xargs) = (text(find), text(xargs));
    if find.first()? != "find" || xargs.first()? != "xargs" {
        return None;
    }
    place.path(find.get(1)?)?;
    let mut rest = xargs[1..].iter().skip_while(|word| word.starts_with('-'));
    (rest.next()? == "touch").then_some(Deed::Nothing(TIMES))
}

/// Options of `set` for errors and traces.
const SHELL_OPTIONS: [&str; 14] = [
    "-e", "-u", "-x", "-o", "-eu", "-ex", "-ux", "-eux", "-eo", "-euo", "-euxo", "pipefail",
    "errexit", "nounset",
];

const TIMES: &str = "times in the zip are a constant";

fn of_command(simple: &Simple, place: &WorkingFolder) -> Option<Deed> {
    let words: Vec<&str> = simple.words.iter().map(|word| word.text.as_str()).collect();
    let (program, arguments) = words.split_first()?;
    let (mut program, mut place) = (*program, place.clone());
    // `.venv/bin/pip`
    if let Some((environment, name)) = program.split_once("/bin/")
        && ["pip", "python"].iter().any(|tool| name.starts_with(tool))
    {
        place.environment = Some(place.path(environment)?);
        program = &words[0][environment.len() + "/bin/".len()..];
    }
    let place = &place;
    if let Some(export) = export(simple, place) {
        return Some(export);
    }
    let paths =
        |words: &[&str]| words.iter().map(|word| place.path(word)).collect::<Option<Vec<String>>>();
    match program {
        "echo" | "printf" if !simple.is_redirected => Some(Deed::Nothing("a message")),
        "true" | ":" => Some(Deed::Nothing("it does nothing")),
        "set" if arguments.iter().all(|word| SHELL_OPTIONS.contains(word)) => {
            Some(Deed::Nothing("an error ends every command"))
        }
        "mkdir" => {
            let folders: Vec<&str> =
                arguments.iter().copied().filter(|word| !word.starts_with('-')).collect();
            paths(&folders).map(Deed::Folders)
        }
        "rmdir" => Some(Deed::Nothing(FOLDERS)),
        "chmod" | "date" if !simple.is_redirected => {
            Some(Deed::Nothing("modes in the zip are 644, or 755 for programs"))
                .filter(|_| program == "chmod")
        }
        "rm" => remove(&simple.words[1..], place),
        "touch" => match arguments {
            files if files.iter().all(|file| !file.starts_with('-')) => {
                paths(files).map(Deed::Touch)
            }
            _ => Some(Deed::Nothing(TIMES)),
        },
        "find" => find(&simple.words[1..], place),
        "deactivate" => Some(Deed::Nothing(NO_ENVIRONMENT)),
        "virtualenv" => environment(arguments, place),
        "uv" if arguments.first() == Some(&"venv") => environment(&arguments[1..], place),
        python if python.starts_with("python") && arguments.starts_with(&["-m", "venv"]) => {
            environment(&arguments[2..], place)
        }
        "pip" | "pip3" => pip::deed(arguments, place),
        "uv" if arguments.first() == Some(&"pip") => pip::deed(&arguments[1..], place),
        "unzip" => unzip(arguments, place),
        "cp" => copy(&simple.words[1..], place),
        "zip" => zip(&simple.words[1..], place),
        "aws" => aws::deed(arguments, place),
        python if python.starts_with("python") && arguments.starts_with(&["-m", "pip"]) => {
            pip::deed(&arguments[2..], place)
        }
        _ => None,
    }
}

/// `python -m venv [OPTION]… FOLDER`
fn environment(arguments: &[&str], place: &WorkingFolder) -> Option<Deed> {
    let mut folders = arguments.iter().filter(|word| !word.starts_with('-'));
    let folder = place.path(folders.next().unwrap_or(&".venv"))?;
    folders.next().is_none().then_some(Deed::Environment(folder))
}

/// `poetry export -o FILE` and its like, which print the packages of a lock or write them to a file.
fn export(simple: &Simple, place: &WorkingFolder) -> Option<Deed> {
    let words: Vec<&str> = simple.words.iter().map(|word| word.text.as_str()).collect();
    let lock = match words.as_slice() {
        ["poetry", "export", ..] => "poetry.lock",
        ["pdm", "export", ..] => "pdm.lock",
        ["pipenv", "requirements", ..] => "Pipfile.lock",
        ["uv", "export", ..] => "uv.lock",
        _ => return None,
    };
    let names = ["-o", "--output", "--output-file"];
    let option = words.windows(2).find(|pair| names.contains(&pair[0])).map(|pair| pair[1]);
    let joined = words.iter().find_map(|word| word.strip_prefix("--output=")).or(option);
    let output = joined.or_else(|| simple.output.as_ref().map(|word| word.text.as_str()))?;
    let mut script = simple.script();
    if let Some(output) = &simple.output {
        script += &format!(" > {}", output.text);
    }
    if !place.folder.is_empty() {
        script = format!("cd '{}' && {script}", place.folder);
    }
    Some(Deed::Export { script, lock: place.path(lock)?, output: place.path(output)? })
}

fn remove(words: &[Word], place: &WorkingFolder) -> Option<Deed> {
    let (options, files): (Vec<&Word>, Vec<&Word>) =
        words.iter().partition(|word| word.text.starts_with('-'));
    let mut letters = options.iter().flat_map(|option| option.text[1..].chars());
    letters.clone().all(|c| "rfRv-".contains(c)).then_some(())?;
    let globs = files.iter().map(|word| place.glob(word)).collect::<Option<_>>()?;
    Some(Deed::Remove { globs, is_recursive: letters.any(|c| "rR".contains(c)) })
}

/// `find FOLDER -name NAME -delete`, or with `-exec rm -rf {} +`; and `-exec touch`.
fn find(words: &[Word], place: &WorkingFolder) -> Option<Deed> {
    let arguments: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let folder = place.path(arguments.first()?)?;
    if arguments.contains(&"-exec") && arguments.contains(&"touch") {
        return Some(Deed::Nothing(TIMES));
    }
    let (kind, name, mut rest) = match &arguments[1..] {
        ["-type", kind, "-name" | "-iname", _, rest @ ..] => (*kind, &words[4], rest),
        ["-name" | "-iname", _, "-type", kind, rest @ ..] => (*kind, &words[2], rest),
        ["-name" | "-iname", _, rest @ ..] => ("", &words[2], rest),
        _ => return None,
    };
    if let ["-prune" | "-depth", more @ ..] = rest {
        rest = more;
    }
    let is_recursive = match rest {
        ["-delete"] | ["-exec", "rm", "{}", "+" | ";"] => false,
        ["-exec", "rm", "-f", "{}", "+" | ";"] => false,
        ["-exec", "rm", "-rf" | "-r" | "-fr", "{}", "+" | ";"] => true,
        _ => return None,
    };
    let glob = pattern::of_find(&name.text, arguments.contains(&"-iname"))?;
    if words[0].is_pattern || place.is_expanded(name) {
        return None;
    }
    let is_of_files = pattern::is_file_name(&name.text);
    let glob = match (kind, is_recursive) {
        // A folder that is not empty stays, with an error.
        ("f", _) | ("", false) => is_of_files.then_some(glob)?,
        ("d", true) => format!("{glob}/**"),
        ("", true) => glob,
        _ => return None,
    };
    Some(Deed::RemoveBelow { folder, glob })
}

/// `unzip -q 'wheels/*.whl' -d folder`
fn unzip(arguments: &[&str], place: &WorkingFolder) -> Option<Deed> {
    let mut folder = place.folder.clone();
    let mut wheels = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "-d" => folder = place.path(arguments.next()?)?,
            option if option.starts_with("-d") => folder = place.path(&option[2..])?,
            option if option.starts_with('-') => {
                option[1..].chars().all(|c| "qon".contains(c)).then_some(())?;
            }
            file => wheels = Some(place.path(file.strip_suffix("/*.whl")?)?),
        }
    }
    Some(Deed::Unzip { wheels: wheels?, folder })
}

fn copy(words: &[Word], place: &WorkingFolder) -> Option<Deed> {
    let (options, files): (Vec<&Word>, Vec<&Word>) =
        words.iter().partition(|word| word.text.starts_with('-'));
    let is_known =
        options.iter().all(|option| option.text[1..].chars().all(|c| "rRpafvuLP".contains(c)));
    let (to, from) = files.split_last().filter(|_| is_known)?;
    let is_folder =
        to.text.ends_with('/') || from.len() > 1 || from.iter().any(|word| word.is_pattern);
    let is_recursive = options.iter().any(|option| option.text.chars().any(|c| "rRa".contains(c)));
    let from = from.iter().map(|word| place.origin(word)).collect::<Option<_>>()?;
    Some(Deed::Copy { from, to: place.path(&to.text)?, is_folder, is_recursive })
}

fn zip(words: &[Word], place: &WorkingFolder) -> Option<Deed> {
    let mut files: Vec<&Word> = Vec::new();
    let (mut exclude, mut is_recursive) = (Vec::new(), false);
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let text = word.text.as_str();
        match text {
            "-x" | "--exclude" => {
                while let Some(pattern) = words.next_if(|word| !word.text.starts_with('-')) {
                    exclude.push(excluded(pattern, place)?);
                }
            }
            "--recurse-paths" => is_recursive = true,
            "--quiet" | "--no-extra" | "--no-dir-entries" | "--symlinks" => {}
            option if option.starts_with("--") => return None,
            option if option.starts_with('-') && option.len() > 1 => {
                let is_known = option[1..].chars().all(|c| "qrXgDyuoFS0123456789".contains(c));
                is_known.then_some(())?;
                is_recursive |= option.contains('r');
            }
            _ => files.push(word),
        }
    }
    let (output, members) = files.split_first()?;
    let mut output = place.path(&output.text)?;
    if !output.rsplit('/').next()?.contains('.') {
        output.push_str(".zip");
    }
    let has = |names: &[&str]| members.iter().any(|word| names.contains(&word.text.as_str()));
    let is_shown = members.len() == 1 && members[0].is_pattern && has(&["*", "./*"]);
    if is_recursive && (has(&[".", "./"]) || is_shown) {
        if is_shown {
            exclude.push(".*".into());
        }
        return Some(Deed::Zip { output, members: Members::Folder(place.folder.clone()), exclude });
    }
    let paths: Option<Vec<Origin>> = members.iter().map(|word| place.origin(word)).collect();
    let folder = place.folder.clone();
    Some(Deed::Zip {
        output,
        members: Members::Paths { folder, paths: paths?, is_recursive },
        exclude,
    })
}

/// A pattern of `zip -x` as one of `exclude`.
fn excluded(word: &Word, place: &WorkingFolder) -> Option<String> {
    let is_file = |name: &str| {
        let path = place.path(name);
        path.is_some_and(|path| Path::new(&place.root).join(path).is_file())
    };
    if place.is_expanded(word) { None } else { pattern::of_zip(&word.text, is_file) }
}
