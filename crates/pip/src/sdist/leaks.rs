//! Searches a built wheel for strings that only this build could contain: paths, names and times of
//! the machine, and random names. If one is found, the next build will write another.
//!
//! A string that the source contains is not a leak. One build cannot show mere differences between
//! two (uuids, an order, a clock in an unusual form): that is the task of `reproduce`.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use memchr::memmem;
use walkdir::WalkDir;

use super::normalize::Content;
use zipwright_store::platform;
use zipwright_store::project::Project;
use zipwright_store::words;

/// Largest number of leaks of one wheel that are reported.
const NAMED: usize = 8;

/// Largest number of characters shown of a string.
const SHOWN: usize = 100;

/// Names that many hosts and users have, and many files contain.
const COMMON: [&str; 14] = [
    "admin",
    "build",
    "builder",
    "debian",
    "docker",
    "jenkins",
    "localhost",
    "nobody",
    "python",
    "root",
    "runner",
    "ubuntu",
    "user",
    "vagrant",
];

/// Shortest name of a host or user that is searched for.
const SHORTEST_NAME: usize = 5;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    /// The path of the build, the same in every build in namespaces.
    FixedRoot,
    Root,
    Machine,
    Host,
    User,
    Random,
    Date,
    Clock,
}

impl Sort {
    fn describe(self) -> &'static str {
        match self {
            Self::FixedRoot => {
                "a path of the build: every build in namespaces has it, but a build without them \
                 has another, and it does not exist where the wheel runs"
            }
            Self::Root => "a path of the build: another user has another",
            Self::Machine => "a path of this machine: on another machine the wheel may differ",
            Self::Host => "the name of this host: on another host the wheel differs",
            Self::User => "the name of this user: for another user the wheel differs",
            Self::Random => "a random name: the next build has another",
            Self::Date => "the date of the build: tomorrow the wheel differs",
            Self::Clock => "the time of the build: the next build has another",
        }
    }
}

/// A string that only this build contains.
struct Needle {
    text: String,
    sort: Sort,
}

/// The strings of this build that its source does not contain.
pub(super) struct Needles {
    needles: Vec<Needle>,
    /// In seconds since 1970.
    started: i64,
}

impl Needles {
    /// Collects the strings before the build. `root` is the path that the build sees, `place` the
    /// real one.
    pub(super) fn at_start(
        project: &Project,
        (root, namespaces): (&Path, bool),
        place: &Path,
    ) -> Self {
        let mut needles = Vec::new();
        let mut add = |text: &str, sort| {
            needles.push(Needle { text: text.into(), sort });
        };
        add(&root.to_string_lossy(), if namespaces { Sort::FixedRoot } else { Sort::Root });
        let paths = ["HOME", "TMPDIR"].into_iter().filter_map(|name| project.var(name));
        let own = [project.root.as_path(), project.cache_path()]
            .map(|path| path.to_string_lossy().into_owned());
        for path in paths.map(String::from).chain(own) {
            let path = path.trim_end_matches('/');
            // `/tmp` is in many files that have nothing to do with this machine.
            if path.starts_with('/') && path != "/tmp" && path.len() > 2 {
                add(path, Sort::Machine);
            }
        }
        let workshop = place.parent().filter(|_| namespaces).and_then(Path::file_name);
        if let Some(name) = workshop.and_then(|name| name.to_str()) {
            add(name, Sort::Random);
        }
        let host = platform::host_name().unwrap_or_default();
        let users = ["USER", "LOGNAME"].into_iter().filter_map(|name| project.var(name));
        let names = users.map(|user| (user, Sort::User)).chain([(host.as_str(), Sort::Host)]);
        for (name, sort) in names {
            if name.len() >= SHORTEST_NAME && !COMMON.contains(&name) {
                add(name, sort);
            }
        }
        Self { needles, started: Timestamp::now().as_second() }
    }

    /// Returns the leaks in the members of a wheel just built from `source`, whose own files are no
    /// newer than `epoch`; `told` is the `SOURCE_DATE_EPOCH` of the build.
    pub(super) fn find(
        mut self,
        members: &BTreeMap<String, Content>,
        source: &Path,
        (epoch, told): (i64, i64),
    ) -> Vec<String> {
        let ended = Timestamp::now().as_second();
        self.add_dates(ended, told);
        let own = Source { folder: source, epoch };
        let mut leaks = Vec::new();
        for (name, content) in members {
            if name.ends_with(".dist-info/RECORD") {
                continue;
            }
            let mut found = self.in_bytes(name.as_bytes(), ended, &own);
            found.extend(self.in_bytes(&content.bytes, ended, &own));
            found.sort();
            found.dedup_by_key(|(sort, _)| *sort);
            leaks.extend(
                found
                    .into_iter()
                    .map(|(sort, text)| format!("`{name}` holds `{text}`, {}", sort.describe())),
            );
        }
        if leaks.len() > NAMED {
            let more = words::count(leaks.len() - NAMED, "string");
            leaks.truncate(NAMED);
            leaks.push(format!("and {more} more that only this build contains"));
        }
        leaks
    }

    /// Adds the days of the build in the usual forms, except the day of its `SOURCE_DATE_EPOCH`.
    fn add_dates(&mut self, ended: i64, told: i64) {
        let told = day(told);
        let mut days = vec![day(self.started), day(ended)];
        days.dedup();
        for date in days.into_iter().flatten().filter(|date| Some(*date) != told) {
            let forms = forms(date);
            let needles = forms.into_iter().map(|text| Needle { text, sort: Sort::Date });
            self.needles.extend(needles);
        }
    }

    fn in_bytes(&self, bytes: &[u8], ended: i64, own: &Source) -> Vec<(Sort, String)> {
        let mut found = Vec::new();
        let is_code = bytes.starts_with(b"\x7fELF") || bytes.starts_with(b"!<arch>\n");
        for Needle { text, sort } in &self.needles {
            // Compilers are configured to write this path in place of the real one.
            if *sort == Sort::FixedRoot && is_code {
                continue;
            }
            let mut places = memmem::find_iter(bytes, text.as_bytes());
            // `2026-11-18T10:00` is a date too.
            let is_time =
                |at: usize| *sort == Sort::Date && bytes.get(at + text.len()) == Some(&b'T');
            let place = places.find(|at| is_time(*at) || is_whole(bytes, *at, text.len()));
            if let Some(at) = place.filter(|_| !own.has(text)) {
                found.push((*sort, around(bytes, at, text.len())));
            }
        }
        let random = random_name(bytes);
        if let Some((at, text)) = random.filter(|(_, text)| !own.has(text)) {
            found.push((Sort::Random, around(bytes, at, text.len())));
        }
        if let Some(text) = clock(bytes, self.started, ended).filter(|text| !own.has(text)) {
            found.push((Sort::Clock, text));
        }
        found
    }
}

/// The files that existed before the build, which may leave newer ones among them.
struct Source<'a> {
    folder: &'a Path,
    epoch: i64,
}

impl Source<'_> {
    fn has(&self, text: &str) -> bool {
        let finder = memmem::Finder::new(text);
        let is_old = |entry: &walkdir::DirEntry| {
            let meta = entry.metadata().ok().filter(std::fs::Metadata::is_file);
            meta.is_some_and(|meta| std::os::unix::fs::MetadataExt::mtime(&meta) <= self.epoch)
        };
        let mut walk = WalkDir::new(self.folder).into_iter().flatten();
        walk.any(|entry| {
            is_old(&entry)
                && std::fs::read(entry.path()).is_ok_and(|bytes| finder.find(&bytes).is_some())
        })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Returns whether a match is not part of a longer word.
fn is_whole(bytes: &[u8], at: usize, length: usize) -> bool {
    let before = at.checked_sub(1).is_some_and(|before| is_word(bytes[before]));
    let after = bytes.get(at + length).is_some_and(|after| is_word(*after) || *after == b'-');
    !before && !after
}

/// Returns a match with the word around it.
fn around(bytes: &[u8], at: usize, length: usize) -> String {
    let goes_on = |byte: &u8| byte.is_ascii_graphic() && !b"\"'`<>()[]{},;|".contains(byte);
    let before = bytes[..at].iter().rev().take_while(|byte| goes_on(byte)).take(SHOWN).count();
    let after = bytes[at + length..].iter().take_while(|byte| goes_on(byte)).count();
    let end = at + length + after.min(SHOWN.saturating_sub(before + length));
    String::from_utf8_lossy(&bytes[at - before..end]).into_owned()
}

fn day(seconds: i64) -> Option<jiff::civil::Date> {
    let instant = Timestamp::from_second(seconds).ok()?;
    Some(instant.to_zoned(TimeZone::UTC).date())
}

/// Returns a date in the forms that people and C compilers write.
fn forms(date: jiff::civil::Date) -> Vec<String> {
    let (year, month, day) = (date.year(), date.month(), date.day());
    let name = MONTHS[usize::from(month.unsigned_abs()) - 1];
    let short = &name[..3];
    let mut forms = vec![
        format!("{year}-{month:02}-{day:02}"),
        format!("{year}/{month:02}/{day:02}"),
        format!("{year}.{month:02}.{day:02}"),
        format!("{year}{month:02}{day:02}"),
        format!("{day:02}.{month:02}.{year}"),
        format!("{day:02}/{month:02}/{year}"),
        format!("{month:02}/{day:02}/{year}"),
        format!("{short} {day:2} {year}"),
        format!("{short} {day:02} {year}"),
        format!("{short} {day}, {year}"),
        format!("{day:02} {short} {year}"),
        format!("{day} {short} {year}"),
        format!("{name} {day}, {year}"),
        format!("{day} {name} {year}"),
    ];
    forms.sort();
    forms.dedup();
    forms
}

/// Prefixes of names that tools generate, and the number of random letters or digits that follow.
/// For the first kinds, the prefix alone is distinctive enough.
const RANDOM: [(&str, usize); 10] = [
    ("pip-req-build-", 0),
    ("pip-build-env-", 0),
    ("pip-modern-metadata-", 0),
    ("pip-wheel-", 0),
    (".mesonpy-", 8),
    ("/tmp", 8),
    ("/tmp.", 10),
    ("/.tmp", 6),
    ("/cc", 6),
    ("/go-build", 8),
];

fn random_name(bytes: &[u8]) -> Option<(usize, String)> {
    RANDOM.iter().find_map(|(start, length)| {
        memmem::find_iter(bytes, start.as_bytes()).find_map(|at| {
            let begin = at + start.len();
            let rest = &bytes[begin..];
            let random = rest.iter().take_while(|byte| is_word(**byte)).count();
            let fits = if *length == 0 { random > 0 } else { random == *length };
            let name = &rest[..random];
            // `/tmp_counter` is not a random name: few random names lack a digit or a letter.
            let mixed = name.iter().any(u8::is_ascii_digit)
                && (name.iter().any(u8::is_ascii_alphabetic) || *start == "/go-build");
            // gcc's are files, recognised by their suffixes.
            let ends = *start != "/cc"
                || [".o", ".s", ".c", ".r", ".l"]
                    .iter()
                    .any(|end| rest[random..].starts_with(end.as_bytes()));
            let takes = fits && ends && (*length == 0 || mixed);
            takes.then(|| (at, String::from_utf8_lossy(&bytes[at..begin + random]).into_owned()))
        })
    })
}

/// Returns the first ten digits that are a Unix time within the build.
fn clock(bytes: &[u8], started: i64, ended: i64) -> Option<String> {
    const DIGITS: usize = 10;
    let (first, last) = (started.to_string(), ended.to_string());
    let same = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
    memmem::find_iter(bytes, &first.as_bytes()[..same]).find_map(|at| {
        let text = std::str::from_utf8(bytes.get(at..at + DIGITS)?).ok()?;
        let time: i64 = text.parse().ok()?;
        let takes = (started..=ended).contains(&time) && is_whole(bytes, at, DIGITS);
        takes.then(|| text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_795_000_000;

    fn known(needles: &[(&str, Sort)]) -> Needles {
        let needles =
            needles.iter().map(|(text, sort)| Needle { text: (*text).into(), sort: *sort });
        Needles { needles: needles.collect(), started: START }
    }

    fn found(known: &Needles, bytes: &[u8]) -> Vec<Sort> {
        let own = Source { folder: Path::new("/nowhere"), epoch: 0 };
        let mut found = known.in_bytes(bytes, START + 5, &own);
        found.sort();
        found.into_iter().map(|(sort, _)| sort).collect()
    }

    #[test]
    fn planted_strings_are_found() {
        let mut known = known(&[
            ("/zipwright", Sort::FixedRoot),
            ("/home/anna", Sort::Machine),
            ("annas-laptop", Sort::Host),
            ("annabel", Sort::User),
        ]);
        known.add_dates(START + 5, 0);
        for (text, sort) in [
            ("root = '/zipwright/src/p-1'", Sort::FixedRoot),
            ("rpath=/home/anna/.pyenv/lib", Sort::Machine),
            ("built on annas-laptop.", Sort::Host),
            ("by annabel <x>", Sort::User),
            ("/tmp/pip-req-build-ab12cd34/x.c", Sort::Random),
            ("\"/tmp/tmph2jwffra/build\"", Sort::Random),
            ("/src/.mesonpy-48zrdv1g/", Sort::Random),
            ("/tmp/ccA1b2C3.o", Sort::Random),
            ("/tmp/tmp.aB3dE6gH1j/x", Sort::Random),
            ("BUILD = '2026-11-18T10:00'", Sort::Date),
            ("\0Nov 18 2026\x0011:00:00\0", Sort::Date),
            ("time = 1795000003\n", Sort::Clock),
        ] {
            assert_eq!(found(&known, text.as_bytes()), [sort], "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_none() {
        let mut known = known(&[("/zipwright", Sort::FixedRoot), ("/home/anna", Sort::Machine)]);
        known.add_dates(START + 5, 0);
        for text in [
            "\x7fELF…/zipwright/src/p-1/native.c",
            "https://example.org/zipwright-1.0",
            "github.com/me/zipwright",
            "/home/annabel",
            "/tmp_counter",
            "/tmpfiles",
            "/cc12345x",
            "12026111899",
            "2026-11-19",
            "1795000009",
            "tmph2jwffra",
        ] {
            assert_eq!(found(&known, text.as_bytes()), [], "{text}");
        }
    }

    #[test]
    fn a_day_that_the_build_was_told_is_no_leak() {
        let mut known = known(&[]);
        known.add_dates(START + 5, START - 60);
        assert_eq!(found(&known, b"2026-11-18"), []);
    }

    #[test]
    fn what_the_source_has_is_no_leak_and_what_the_build_left_is() {
        let folder = tempfile::tempdir().unwrap();
        let known = known(&[("/home/anna", Sort::Machine)]);
        let file = folder.path().join("README");
        std::fs::write(&file, "see /home/anna/x").unwrap();
        let own = |epoch| Source { folder: folder.path(), epoch };
        let old = filetime::FileTime::from_unix_time(1000, 0);
        assert_eq!(known.in_bytes(b"/home/anna", START, &own(1000)).len(), 1, "left by the build");
        filetime::set_file_mtime(&file, old).unwrap();
        assert_eq!(known.in_bytes(b"/home/anna", START, &own(1000)), []);
    }
}
