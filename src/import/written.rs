//! Whether a recipe writes the file that its rule is called after. A name in a recipe may also be an
//! argument, as in `docker: ; docker run`.

use super::make::Rule;

/// Options whose value is a file that a program writes.
const OUTPUTS: [&str; 6] = ["-o", "--output", "--out", "--output-file", "-O", "--outfile"];

/// Programs that write files among their arguments, and those that write the last one.
const WRITERS: [&str; 5] = ["touch", "tee", "zip", "tar", "mkdir"];
const COPIERS: [&str; 4] = ["cp", "mv", "ln", "install"];

/// `texts` are the lines of the recipe; `is_it` is whether a word is the path of the file.
pub(super) fn is_written<'a>(
    rule: &Rule,
    texts: impl Iterator<Item = &'a str>,
    is_it: impl Fn(&str) -> bool,
) -> bool {
    let is_message = |line: &str| {
        let line = line.trim_start_matches([' ', '\t', '@', '-', '+']);
        line.starts_with("echo ") || line.starts_with("printf ")
    };
    let is_named = |line: &String| ["$@", "${@}", "$(@)"].iter().any(|name| line.contains(name));
    // A name without a dot or a folder may stand for anything.
    rule.name.contains(['.', '/'])
        && rule.written.iter().any(|line| is_named(line) && !is_message(line))
        || texts.into_iter().any(|text| is_written_by(text, &is_it))
}

fn is_written_by(text: &str, is_it: &impl Fn(&str) -> bool) -> bool {
    let spaced = text.replace('>', " > ");
    spaced.split([';', '&', '|', '(', ')', '\n']).any(|command| {
        let words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
        let words: Vec<&str> = words.collect();
        let program = words.first().map_or("", |word| word.trim_start_matches(['@', '-', '+']));
        let is_last = words.last().is_some_and(|word| is_it(word));
        let is_value =
            |pair: &[&str]| (pair[0] == ">" || OUTPUTS.contains(&pair[0])) && is_it(pair[1]);
        let is_joined = |word: &&str| {
            let value = word.split_once('=').filter(|(option, _)| OUTPUTS.contains(option));
            value.map(|(_, value)| value).or(word.strip_prefix("-o")).is_some_and(is_it)
        };
        words.windows(2).any(is_value)
            || words.iter().any(is_joined)
            || COPIERS.contains(&program) && is_last
            || WRITERS.contains(&program) && words.iter().skip(1).any(|word| is_it(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_a_recipe_writes_are_found() {
        for (name, recipe, expected) in [
            ("docker", "docker run --name x docker", false),
            ("format", "printf 'ruff %s\n' format | sort", false),
            ("test", "python3 -m unittest discover -s test", false),
            ("app.py", "ruff check app.py", false),
            ("bootstrap", "go build -o bootstrap main.go", true),
            ("words.txt", "tr a-z A-Z < words.in > words.txt", true),
            ("stamp", "true && touch stamp", true),
            ("b", "cp a b", true),
            ("a", "cp a b", false),
            ("x.json", "jq . --output=x.json", true),
        ] {
            let rule = Rule { name: name.into(), ..Rule::default() };
            let found = is_written(&rule, std::iter::once(recipe), |word| word == name);
            assert_eq!(found, expected, "{name}: {recipe}");
        }
        let named = |name: &str, line: &str| Rule {
            name: name.into(),
            written: vec![line.into()],
            ..Rule::default()
        };
        let is_written = |rule: Rule| is_written(&rule, std::iter::empty(), |_| false);
        assert!(is_written(named("build/x.bin", "python3 make.py $@")));
        assert!(!is_written(named("build/x.bin", "@echo making $@")));
        assert!(!is_written(named("image", "docker build -t $@ .")));
    }
}
