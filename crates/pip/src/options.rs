//! Options as pip reads them: words as `shlex` splits them, names and values as `optparse` reads
//! them, abbreviations included.

/// An option that pip takes in a requirements file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Requirement,
    Constraint,
    Editable,
    FindLinks,
    RequireHashes,
    Hash,
    ConfigSettings,
    /// A file of constraints for build requirements; accepted only by pip itself.
    BuildConstraint,
    /// Options for `setup.py`, which pip dropped in version 23.1 and 25.3.
    SetupOption,
    /// Any other, by its long name.
    Other(&'static str),
}

struct OptionSpec {
    name: Name,
    short: Option<char>,
    long: &'static str,
    has_value: bool,
}

const fn known(name: Name, short: Option<char>, long: &'static str) -> OptionSpec {
    OptionSpec { name, short, long, has_value: true }
}

const fn flag(long: &'static str) -> OptionSpec {
    OptionSpec { name: Name::Other(long), short: None, long, has_value: false }
}

const fn other(short: Option<char>, long: &'static str) -> OptionSpec {
    known(Name::Other(long), short, long)
}

/// All options of pip 22.2 to 26 in requirements files.
const KNOWN: [OptionSpec; 22] = [
    known(Name::Requirement, Some('r'), "--requirement"),
    known(Name::Constraint, Some('c'), "--constraint"),
    known(Name::Editable, Some('e'), "--editable"),
    known(Name::FindLinks, Some('f'), "--find-links"),
    OptionSpec {
        name: Name::RequireHashes,
        short: None,
        long: "--require-hashes",
        has_value: false,
    },
    known(Name::Hash, None, "--hash"),
    known(Name::ConfigSettings, Some('C'), "--config-settings"),
    known(Name::SetupOption, None, "--global-option"),
    known(Name::SetupOption, None, "--install-option"),
    flag("--no-index"),
    other(Some('i'), "--index-url"),
    OptionSpec {
        name: Name::Other("--index-url"),
        short: None,
        long: "--pypi-url",
        has_value: true,
    },
    other(None, "--extra-index-url"),
    other(None, "--no-binary"),
    other(None, "--only-binary"),
    flag("--prefer-binary"),
    flag("--no-require-hashes"),
    flag("--pre"),
    other(None, "--all-releases"),
    other(None, "--only-final"),
    other(None, "--trusted-host"),
    other(None, "--use-feature"),
];

/// One option and its value; empty if the option takes none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opt {
    pub name: Name,
    pub value: String,
}

/// Reads words as `optparse` does. Words that are not options are skipped; fails if `optparse`
/// fails.
pub(super) fn read(words: Vec<String>) -> Result<Vec<Opt>, String> {
    let mut found = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        let (known, value) = if word.starts_with("--") {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.as_str(), None),
            };
            (long(name)?, value)
        } else if let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            let mut characters = rest.chars();
            let short = characters.next();
            let known = KNOWN.iter().find(|known| known.short == short);
            let known = known.ok_or_else(|| format!("there is no option `{word}`"))?;
            // Every one-letter option has a value: it is the rest of the word.
            (known, Some(characters.as_str()).filter(|value| !value.is_empty()))
        } else {
            continue;
        };
        let value = match (known.has_value, value) {
            (true, Some(value)) => value.to_string(),
            (true, None) => {
                words.next().ok_or_else(|| format!("the option `{word}` lacks its value"))?
            }
            (false, None) => String::new(),
            (false, Some(_)) => {
                return Err(format!("the option `{}` does not take a value", known.long));
            }
        };
        found.push(Opt { name: known.name, value });
    }
    Ok(found)
}

/// Returns the option with this name, or the only one with this prefix.
fn long(name: &str) -> Result<&'static OptionSpec, String> {
    if let Some(exact) = KNOWN.iter().find(|known| known.long == name) {
        return Ok(exact);
    }
    let mut possible = KNOWN.iter().filter(|known| known.long.starts_with(name));
    match (possible.next(), possible.next()) {
        (Some(known), None) => Ok(known),
        (None, _) => Err(format!("there is no option `{name}`")),
        (Some(_), Some(_)) => Err(format!("`{name}` is ambiguous")),
    }
}

/// The words of one argument of pip, and the option if zipwright uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    pub words: Vec<String>,
    pub option: Option<Opt>,
}

/// Options of `pip install` and `pip wheel` that zipwright uses, and the shortest abbreviation that
/// is unambiguous in these commands.
const ARGUMENTS: [(Name, &str, &str); 9] = [
    (Name::Requirement, "--requirement", "--requirem"),
    (Name::Constraint, "--constraint", "--cons"),
    (Name::Editable, "--editable", "--ed"),
    (Name::FindLinks, "--find-links", "--fi"),
    (Name::RequireHashes, "--require-hashes", "--require-h"),
    (Name::ConfigSettings, "--config-settings", "--config"),
    (Name::BuildConstraint, "--build-constraint", "--build-c"),
    (Name::SetupOption, "--global-option", "--glo"),
    (Name::SetupOption, "--install-option", "--install-o"),
];

/// Options of pip of one letter that take no value, so that another may follow in the same word.
const FLAGS: &str = "hIqUvV";

/// Reads arguments for pip itself, which accepts many more options than a requirements file. An
/// unknown option is one argument, and a word that is not an option is another.
pub(super) fn arguments(words: &[String]) -> Vec<Argument> {
    let mut found = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut own = vec![word.clone()];
        let option = argument(word).map(|(name, value)| {
            let value = value.or_else(|| {
                let next = (name != Name::RequireHashes).then(|| words.next()).flatten()?;
                own.push(next.clone());
                Some(next.clone())
            });
            Opt { name, value: value.unwrap_or_default() }
        });
        found.push(Argument { words: own, option });
    }
    found
}

/// Returns the option at the start of a word, and its value if the word has one.
fn argument(word: &str) -> Option<(Name, Option<String>)> {
    if word.starts_with("--") {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (word, None),
        };
        let (name, ..) = ARGUMENTS
            .iter()
            .find(|(_, long, least)| long.starts_with(name) && name.starts_with(least))?;
        return Some((*name, value));
    }
    let letters = word.strip_prefix('-')?.trim_start_matches(|letter| FLAGS.contains(letter));
    let mut characters = letters.chars();
    let short = characters.next()?;
    let known = KNOWN.iter().find(|known| known.short == Some(short))?;
    let is_used = ARGUMENTS.iter().any(|(name, ..)| *name == known.name);
    let value = Some(characters.as_str().to_string()).filter(|value| !value.is_empty());
    is_used.then_some((known.name, value))
}

/// Splits text as `shlex.split` does; `None` if a quotation or an escape is incomplete.
pub(super) fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(characters.next()?),
            '\'' | '"' => quoted(character, &mut characters, word.get_or_insert_default())?,
            character => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    Some(words)
}

/// Reads to the end of a quotation. In double quotes a backslash escapes `"` and itself only.
fn quoted(quote: char, characters: &mut std::str::Chars, word: &mut String) -> Option<()> {
    loop {
        match characters.next()? {
            character if character == quote => return Some(()),
            '\\' if quote == '"' => {
                let next = characters.next()?;
                if !matches!(next, '"' | '\\') {
                    word.push('\\');
                }
                word.push(next);
            }
            character => word.push(character),
        }
    }
}

/// Quotes a word so that [`split`] returns it.
pub(super) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<Vec<(Name, String)>, String> {
        let found = read(split(text).ok_or("quotation")?)?;
        Ok(found.into_iter().map(|option| (option.name, option.value)).collect())
    }

    #[test]
    fn every_spelling_of_an_option_is_read() {
        for text in
            ["-ra b", "-r a", "--requirement a", "--requirement=a", "--requirem a", "b -r 'a'"]
        {
            assert_eq!(options(text).unwrap(), [(Name::Requirement, "a".into())], "{text}");
        }
        assert_eq!(options("-r=a").unwrap(), [(Name::Requirement, "=a".into())]);
        assert_eq!(options("-r -c").unwrap(), [(Name::Requirement, "-c".into())]);
        assert_eq!(options("-C a=b").unwrap(), [(Name::ConfigSettings, "a=b".into())]);
        assert_eq!(options("--pypi-url u").unwrap(), [(Name::Other("--index-url"), "u".into())]);
        assert_eq!(options("--ha x -- -r y").unwrap(), [(Name::Hash, "x".into())]);
    }

    #[test]
    fn what_pip_does_not_take_is_an_error() {
        for text in ["-r", "--require a", "--pre=1", "-x", "--no-such", "-r 'a", "-r a\\"] {
            assert!(options(text).is_err(), "{text}");
        }
    }

    #[test]
    fn arguments_of_pip_itself_are_found_among_others() {
        let words = ["-qrx", "--index-url", "u", "-C", "a=b", "--config-setting=c=d", "--report"];
        let found = arguments(&words.map(String::from));
        let options: Vec<_> = found.iter().flat_map(|argument| &argument.option).collect();
        let option = |name, value: &str| Opt { name, value: value.into() };
        assert_eq!(
            options,
            [
                &option(Name::Requirement, "x"),
                &option(Name::ConfigSettings, "a=b"),
                &option(Name::ConfigSettings, "c=d"),
            ]
        );
        assert_eq!(found.iter().map(|argument| argument.words.len()).sum::<usize>(), words.len());
    }

    #[test]
    fn words_are_split_as_shlex_does() {
        let words = split(r#"a\ b 'c\d' "e\"f\g\\" '' x"y"'z'"#).unwrap();
        assert_eq!(words, ["a b", r"c\d", r#"e"f\g\"#, "", "xyz"]);
        assert_eq!(split(&quote("it's \\ \"it\"")).unwrap(), ["it's \\ \"it\""]);
        // No-break spaces and line separators are parts of words.
        assert_eq!(split("a\u{a0}b\u{b}c d").unwrap(), ["a\u{a0}b\u{b}c", "d"]);
    }
}
