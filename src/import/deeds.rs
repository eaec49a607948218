//! The commands that Makefiles for bundles are made of, by their meaning. A command that is not among
//! them, or has an option that is not, has no deed.

use super::deed::{Deed, Members, NO_ENVIRONMENT, WorkingFolder};
use super::shell::{Bound, Joint, Simple, Word};
use super::{aws, pip};

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

const TIMES: &str = "times in the zip are a constant";
const FOLDERS: &str = "folders are made by themselves";

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
        "mkdir" => Some(Deed::Nothing(FOLDERS)),
        "chmod" | "date" if !simple.is_redirected => {
            Some(Deed::Nothing("modes in the zip are 644, or 755 for programs"))
                .filter(|_| program == "chmod")
        }
        "rm" | "rmdir" => {
            let (options, files): (Vec<&str>, Vec<&str>) =
                arguments.iter().partition(|word| word.starts_with('-'));
            let is_known =
                options.iter().all(|option| option[1..].chars().all(|c| "rfRv-".contains(c)));
            is_known.then(|| paths(&files).map(Deed::Remove))?
        }
        "touch" => match arguments {
            files if files.iter().all(|file| !file.starts_with('-')) => {
                paths(files).map(Deed::Touch)
            }
            _ => Some(Deed::Nothing(TIMES)),
        },
        "find" => find(arguments, place),
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

/// `find FOLDER -name NAME -delete`, or with `-exec rm -rf {} +`; and `-exec touch`.
fn find(arguments: &[&str], place: &WorkingFolder) -> Option<Deed> {
    let folder = place.path(arguments.first()?)?;
    if arguments.contains(&"-exec") && arguments.contains(&"touch") {
        return Some(Deed::Nothing(TIMES));
    }
    let tests = &arguments[1..];
    let (name, mut rest) = match tests {
        ["-type", "d" | "f", "-name" | "-iname", name, rest @ ..] => (name, rest),
        ["-name" | "-iname", name, "-type", "d" | "f", rest @ ..] => (name, rest),
        ["-name" | "-iname", name, rest @ ..] => (name, rest),
        _ => return None,
    };
    if let ["-prune" | "-depth", more @ ..] = rest {
        rest = more;
    }
    let removes =
        matches!(rest, ["-delete"] | ["-exec", "rm", "-rf" | "-r" | "-f" | "-fr", "{}", "+" | ";"]);
    (removes && !name.contains('/')).then(|| Deed::RemoveNamed { folder, name: (*name).to_owned() })
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
    let mut sources = Vec::new();
    for word in from {
        // `src/.` and `src/*` are the content of `src`.
        let text = word.text.as_str();
        let content = text.strip_suffix("/.").or_else(|| match word.is_pattern {
            true => text.strip_suffix("/*"),
            false => None,
        });
        match content {
            Some(folder) => sources.push(format!("{}/", place.path(folder)?)),
            None => sources.push(place.path(text)?),
        }
    }
    Some(Deed::Copy { from: sources, to: place.path(&to.text)?, is_folder })
}

fn zip(words: &[Word], place: &WorkingFolder) -> Option<Deed> {
    let mut files: Vec<&Word> = Vec::new();
    let mut exclude = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let text = word.text.as_str();
        match text {
            "-x" | "--exclude" => {
                while let Some(pattern) = words.next_if(|word| !word.text.starts_with('-')) {
                    exclude.push(excluded(&pattern.text)?);
                }
            }
            "--quiet" | "--recurse-paths" | "--no-extra" | "--no-dir-entries" | "--symlinks" => {}
            option if option.starts_with("--") => return None,
            option if option.starts_with('-') && option.len() > 1 => {
                let is_known = option[1..].chars().all(|c| "qrXgDyuoFS0123456789".contains(c));
                is_known.then_some(())?;
            }
            _ => files.push(word),
        }
    }
    let (output, members) = files.split_first()?;
    let mut output = place.path(&output.text)?;
    if !output.rsplit('/').next()?.contains('.') {
        output.push_str(".zip");
    }
    let is_all = matches!(members, [word] if [".", "*", "./*", "./"].contains(&word.text.as_str()));
    let members = match is_all {
        true => Members::Folder(place.folder.clone()),
        false => Members::Paths {
            folder: place.folder.clone(),
            paths: members.iter().map(|word| place.path(&word.text)).collect::<Option<_>>()?,
        },
    };
    Some(Deed::Zip { output, members, exclude })
}

/// A pattern of `zip -x`, whose `*` matches `/` too, as a pattern of `exclude`.
fn excluded(pattern: &str) -> Option<String> {
    let inner = pattern.trim_start_matches("*/").trim_end_matches("/*");
    let mut core = inner.strip_prefix('*').unwrap_or(inner);
    // Within one name, a final `*` means the same in both: a folder is left out with all its files.
    if !core.contains('/') {
        core = core.strip_suffix('*').unwrap_or(core);
    }
    if core.contains(['*', '?', '[', '\\']) || core.is_empty() {
        return None;
    }
    let is_anywhere = pattern.starts_with('*');
    Some(format!("{}{inner}", if is_anywhere { "**/" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_zip_become_globs() {
        for (pattern, expected) in [
            ("*__pycache__*", Some("**/*__pycache__*")),
            ("*/__pycache__/*", Some("**/__pycache__")),
            ("*.pyc", Some("**/*.pyc")),
            ("tests/*", Some("tests")),
            ("test*", Some("test*")),
            ("a/b*", None),
            ("*a*b*", None),
            ("*", None),
        ] {
            assert_eq!(excluded(pattern).as_deref(), expected, "{pattern}");
        }
    }
}
