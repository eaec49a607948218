//! `MAKEFLAGS`: reads those of an outer make, and writes those for children.
//!
//! Reading never fails: an unknown word is meant for another program or another version. Supported
//! flags that have no meaning here are kept and passed on. Knows nothing of zipwright's own command
//! line, whose options take precedence by name.

use std::fmt;

use super::words::{self, Variable};

/// The meaning of a `MAKEFLAGS`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flags {
    pub dry_run: bool,
    pub question: bool,
    pub touch: bool,
    pub keep_going: bool,
    pub ignore_errors: bool,
    pub always: bool,
    pub silent: bool,
    pub trace: bool,
    /// `-w` is `true`, `--no-print-directory` is `false`.
    pub print_directory: Option<bool>,
    pub jobs: Option<Jobs>,
    pub jobserver: Option<Auth>,
    pub load: Option<f64>,
    /// `target` if no mode is given.
    pub output_sync: Option<String>,
    /// `random` if no mode is given.
    pub shuffle: Option<String>,
    /// A later definition of a name replaces an earlier one.
    pub variables: Vec<Variable>,
    /// Letters that matter only to makes below.
    letters: Vec<char>,
    /// The same for whole words: `-Iinclude`, `--warn-undefined-variables`.
    words: Vec<String>,
}

/// The number of jobs that `-j` requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    /// `-j` without a number.
    Unlimited,
    Limit(usize),
}

/// The pipe of the job slots. Displayed as make's option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Numbers of inherited descriptors; negative if this process must not use the slots.
    Pipe { read: i32, write: i32 },
    /// The path of a named pipe, understood from make 4.4 on.
    Fifo(String),
    /// A form that this version does not support.
    Unknown(String),
}

impl Auth {
    fn parse(text: &str) -> Self {
        if let Some(path) = text.strip_prefix("fifo:") {
            return Self::Fifo(path.into());
        }
        let numbers = text.split_once(',').map(|(read, write)| (read.parse(), write.parse()));
        match numbers {
            Some((Ok(read), Ok(write))) => Self::Pipe { read, write },
            _ => Self::Unknown(text.into()),
        }
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Makes before 4.2 know the first name only; later ones take the last.
            Self::Pipe { read, write } => {
                write!(f, "--jobserver-fds={read},{write} --jobserver-auth={read},{write}")
            }
            Self::Fifo(path) => write!(f, "--jobserver-auth=fifo:{}", words::quote(path)),
            Self::Unknown(text) => write!(f, "--jobserver-auth={}", words::quote(text)),
        }
    }
}

/// How an option takes its argument.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
    None,
    /// In the same word, or without one.
    Attached,
    /// In the same word, or the next word if that is a number.
    Number,
    Required,
}

impl Flags {
    pub fn parse(text: &str) -> Self {
        let mut flags = Self::default();
        let mut words = words::split(text);
        if let Some(first) = words.first_mut()
            && !first.starts_with('-')
            && !first.contains('=')
        {
            first.insert(0, '-');
        }
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            if word == "--" {
                words.by_ref().for_each(|word| flags.define(&word));
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                let value = value.or_else(|| {
                    let separate = long_argument(name) == Argument::Required;
                    separate.then(|| words.next()).flatten()
                });
                flags.long(name, value);
            } else if let Some(letters) = word.strip_prefix('-') {
                flags.short(letters, &mut words);
            } else {
                flags.define(&word);
            }
        }
        flags
    }

    /// Returns `MAKEFLAGS` for children: the flags, the job slots that they may share, and the variables.
    /// Without shared slots a child gets one job, or no limit if this process has none.
    pub fn for_children(&self, auth: Option<&Auth>) -> String {
        let ours = [
            (self.always, 'B'),
            (self.ignore_errors, 'i'),
            (self.keep_going, 'k'),
            (self.dry_run, 'n'),
            (self.question, 'q'),
            (self.silent, 's'),
            (self.touch, 't'),
            (self.print_directory == Some(true), 'w'),
        ];
        let mut letters = self.letters.clone();
        letters.extend(ours.iter().filter(|(set, _)| *set).map(|(_, letter)| *letter));
        letters.sort_unstable();
        let mut text: String = letters.into_iter().collect();
        for word in self.long_words(auth) {
            text.push(' ');
            text.push_str(&word);
        }
        if !self.variables.is_empty() {
            text.push_str(" --");
        }
        for variable in &self.variables {
            text.push(' ');
            text.push_str(&words::quote(&variable.word()));
        }
        text
    }

    /// Sets a variable, replacing an earlier one of its name.
    pub fn set(&mut self, variable: Variable) {
        self.variables.retain(|old| old.name != variable.name);
        self.variables.push(variable);
    }

    fn long_words(&self, auth: Option<&Auth>) -> Vec<String> {
        let mut words: Vec<String> = self.words.iter().map(|word| words::quote(word)).collect();
        match (self.jobs, auth) {
            (None, None) => {}
            (Some(Jobs::Unlimited), _) | (None, Some(_)) => words.push("-j".into()),
            (Some(Jobs::Limit(jobs)), Some(_)) => words.push(format!("-j{jobs}")),
            (Some(Jobs::Limit(_)), None) => words.push("-j1".into()),
        }
        words.extend(self.load.map(|load| format!("-l{load}")));
        words.extend(self.output_sync.iter().map(|kind| words::quote(&format!("-O{kind}"))));
        words.extend(self.shuffle.iter().map(|seed| words::quote(&format!("--shuffle={seed}"))));
        if self.trace {
            words.push("--trace".into());
        }
        if self.print_directory == Some(false) {
            words.push("--no-print-directory".into());
        }
        words.extend(auth.map(ToString::to_string));
        words
    }

    fn define(&mut self, word: &str) {
        // Other words are goals, which are not handed down.
        if let Some(variable) = Variable::parse(word) {
            self.set(variable);
        }
    }

    /// Reads one word of single letters, in which a letter with an argument takes the rest.
    fn short(
        &mut self,
        letters: &str,
        words: &mut std::iter::Peekable<std::vec::IntoIter<String>>,
    ) {
        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            let argument = short_argument(letter);
            if argument == Argument::None {
                self.letter(letter);
                continue;
            }
            let attached = rest.as_str();
            let value = match argument {
                _ if !attached.is_empty() => Some(attached.to_owned()),
                Argument::Required => words.next(),
                Argument::Number => words.next_if(|word| is_number(word)),
                Argument::None | Argument::Attached => None,
            };
            match letter {
                'j' => self.long("jobs", value),
                'l' => self.long("load-average", value),
                'O' => self.long("output-sync", value),
                'I' => self.long("include-dir", value),
                'E' => self.long("eval", value),
                // `-C`, `-f`, `-o`, `-W`: never handed down.
                _ => {}
            }
            return;
        }
    }

    fn letter(&mut self, letter: char) {
        match letter {
            'n' => self.dry_run = true,
            'q' => self.question = true,
            't' => self.touch = true,
            'k' => self.keep_going = true,
            'S' => self.keep_going = false,
            'i' => self.ignore_errors = true,
            'B' => self.always = true,
            's' => self.silent = true,
            'w' => self.print_directory = Some(true),
            'd' | 'e' | 'L' | 'p' | 'r' | 'R' if !self.letters.contains(&letter) => {
                self.letters.push(letter);
            }
            _ => {}
        }
    }

    fn long(&mut self, name: &str, value: Option<String>) {
        if let Some(letter) = letter_of(name) {
            self.letter(letter);
            return;
        }
        match name {
            "no-silent" => self.silent = false,
            "trace" => self.trace = true,
            "no-print-directory" => self.print_directory = Some(false),
            "jobs" => match value.map(|value| value.parse()) {
                None => self.jobs = Some(Jobs::Unlimited),
                Some(Ok(jobs)) if jobs > 0 => self.jobs = Some(Jobs::Limit(jobs)),
                Some(_) => {}
            },
            "load-average" | "max-load" => {
                // Without a number it removes an earlier limit.
                self.load = value.and_then(|value| value.parse().ok()).filter(is_load);
            }
            "output-sync" => self.output_sync = Some(value.unwrap_or_else(|| "target".into())),
            "shuffle" => self.shuffle = Some(value.unwrap_or_else(|| "random".into())),
            "jobserver-auth" | "jobserver-fds" => {
                self.jobserver = value.map(|value| Auth::parse(&value));
            }
            "include-dir" => self.words.extend(value.map(|folder| format!("-I{folder}"))),
            "eval" => self.words.extend(value.map(|text| format!("--eval={text}"))),
            "debug" => self.words.push(match value {
                Some(kinds) => format!("--debug={kinds}"),
                None => "--debug".into(),
            }),
            "warn-undefined-variables" => self.words.push(format!("--{name}")),
            _ => {}
        }
    }
}

fn is_load(load: &f64) -> bool {
    load.is_finite() && *load >= 0.0
}

fn is_number(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_digit())
        && word.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
}

fn short_argument(letter: char) -> Argument {
    match letter {
        'j' | 'l' => Argument::Number,
        'O' => Argument::Attached,
        'C' | 'E' | 'f' | 'I' | 'o' | 'W' => Argument::Required,
        _ => Argument::None,
    }
}

fn long_argument(name: &str) -> Argument {
    match name {
        "assume-new" | "assume-old" | "directory" | "eval" | "file" | "include-dir"
        | "jobserver-auth" | "jobserver-fds" | "jobserver-style" | "makefile" | "new-file"
        | "old-file" | "sync-mutex" | "what-if" => Argument::Required,
        _ => Argument::None,
    }
}

/// Returns the letter of which a long option is another name.
fn letter_of(name: &str) -> Option<char> {
    Some(match name {
        "dry-run" | "just-print" | "recon" => 'n',
        "question" => 'q',
        "touch" => 't',
        "keep-going" => 'k',
        "stop" | "no-keep-going" => 'S',
        "ignore-errors" => 'i',
        "always-make" => 'B',
        "silent" | "quiet" => 's',
        "print-directory" => 'w',
        "environment-overrides" => 'e',
        "check-symlink-times" => 'L',
        "print-data-base" => 'p',
        "no-builtin-rules" => 'r',
        "no-builtin-variables" => 'R',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads_and_writes(text: &str, auth: Option<&Auth>) {
        assert_eq!(Flags::parse(text).for_children(auth), text);
    }

    #[test]
    fn flags_go_down_as_they_came() {
        reads_and_writes("", None);
        reads_and_writes("Bikn", None);
        reads_and_writes("LRdepqrstw", None);
        reads_and_writes("k -- A=1 B=x\\ y C=x$$$$y D=$$(A) E=", None);
        reads_and_writes(" -Iinc --eval=X=1\\ 2 -l2.5 -Oline --trace", None);
        reads_and_writes(" --warn-undefined-variables -j --no-print-directory", None);
        let fifo = Auth::Fifo("/tmp/a b".into());
        reads_and_writes(" -j4 --shuffle=7 --jobserver-auth=fifo:/tmp/a\\ b", Some(&fifo));
        let pipe = Auth::Pipe { read: 3, write: 4 };
        reads_and_writes("s -j4 --jobserver-fds=3,4 --jobserver-auth=3,4 -- A=1", Some(&pipe));
    }

    #[test]
    fn children_without_slots_do_not_multiply_the_jobs() {
        assert_eq!(Flags::parse("k -j8").for_children(None), "k -j1");
        assert_eq!(Flags::parse("k -j").for_children(None), "k -j");
    }

    #[test]
    fn the_first_word_needs_no_dash_and_only_the_first() {
        assert!(Flags::parse("kn").dry_run);
        assert!(Flags::parse("  -n").dry_run);
        assert!(!Flags::parse("k n").dry_run);
        assert!(!Flags::parse("--no-print-directory").dry_run);
        assert!(!Flags::parse(" -- n=1 -n").dry_run);
        assert_eq!(Flags::parse("A=5 k").variables, [Variable::literal("A", "5")]);
    }

    #[test]
    fn jobs_are_read_in_every_spelling() {
        for text in ["kj4", "j 4", "-j4", " -k -j 4", "--jobs=4", "-j2 -j4", "-j4 -j0 -jx"] {
            assert_eq!(Flags::parse(text).jobs, Some(Jobs::Limit(4)), "{text}");
        }
        for text in ["j", "j k", "-j4 -j", "-j -- 4=5"] {
            assert_eq!(Flags::parse(text).jobs, Some(Jobs::Unlimited), "{text}");
        }
        assert_eq!(Flags::parse("-l 2.5").load, Some(2.5));
        assert_eq!(Flags::parse("-l 2.5 -l").load, None);
    }

    #[test]
    fn the_last_word_wins() {
        let auth = |text| Flags::parse(text).jobserver;
        let pipe = |read, write| Some(Auth::Pipe { read, write });
        assert_eq!(auth("-j --jobserver-fds=3,4 --jobserver-auth=5,6"), pipe(5, 6));
        assert_eq!(auth("-j --jobserver-auth=3,4 --jobserver-auth=fifo:/x"), {
            Some(Auth::Fifo("/x".into()))
        });
        assert_eq!(auth("--jobserver-auth=-2,-2"), pipe(-2, -2));
        assert_eq!(auth("--jobserver-auth=later"), Some(Auth::Unknown("later".into())));
        assert!(!Flags::parse("k -S").keep_going);
        assert_eq!(Flags::parse("w --no-print-directory").print_directory, Some(false));
        assert_eq!(Flags::parse("-- A=1 B=2 A=3").variables, {
            [Variable::literal("B", "2"), Variable::literal("A", "3")]
        });
    }

    #[test]
    fn arguments_of_flags_that_do_not_concern_us_are_not_flags() {
        let flags = Flags::parse("-C kn -f kn -W kn -okn --file -n --new-file=-k -Ikn");
        assert!(!flags.dry_run && !flags.keep_going);
        assert_eq!(Flags::parse("z -? --later=1 --later -k"), Flags::parse("k"));
    }

    /// Any text can be read, and all supported flags survive writing and reading.
    #[test]
    fn no_text_is_too_strange() {
        const PIECES: [&str; 24] = [
            " ",
            "\t",
            "\\",
            "$",
            "$$",
            "-",
            "--",
            "=",
            ":",
            ",",
            "j",
            "4",
            "k",
            "n",
            "O",
            "I",
            "é",
            "\n",
            "jobserver-auth",
            "fifo:",
            " -- A",
            "eval",
            "shuffle",
            "\0",
        ];
        // A linear congruential generator: the same texts in every run.
        let mut seed: u64 = 1;
        let mut next = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).expect("31 bits")
        };
        for round in 0..50_000 {
            let length = next() % 24;
            let text = if round % 2 == 0 {
                (0..length).map(|_| PIECES[next() % PIECES.len()]).collect()
            } else {
                let bytes: Vec<u8> = (0..length).map(|_| next().to_le_bytes()[0]).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let flags = Flags::parse(&text);
            let written = flags.for_children(flags.jobserver.as_ref());
            let mut again = Flags::parse(&written);
            if flags.jobs.is_none() {
                again.jobs = None;
            }
            // Letters are written in order, and words in order of their kind.
            let sorted = |mut flags: Flags| {
                flags.letters.sort_unstable();
                flags
            };
            if flags.jobs.is_some_and(|_| flags.jobserver.is_none()) {
                again.jobs = flags.jobs;
            }
            assert_eq!(sorted(again), sorted(flags), "{text:?} became {written:?}");
        }
    }
}
