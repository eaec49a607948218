//! What a build says, in a file of its own, so that builds side by side do not mix; and the error
//! that names it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};

use super::super::run::Pip;
use crate::base::{Printable, private};

/// How many lines of a failed build's log an error repeats.
const REPEATED_LINES: usize = 20;

/// Words in a log that mean that a build wanted something from the network and did not get it.
const NETWORK_FAILURES: [&str; 6] = [
    "Temporary failure in name resolution",
    "Could not resolve host",
    "Name or service not known",
    "Network is unreachable",
    "Connection refused",
    "urlopen error",
];

pub(super) struct Log {
    file: File,
    shown: String,
    end: Vec<String>,
    network: bool,
}

impl Log {
    pub(super) fn create(pip: &Pip, what: &str) -> Result<Self> {
        let letter = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let name: String = what.chars().map(letter).collect();
        let name = format!("build-{}.log", name.trim_matches('-'));
        let place = pip.project.state().join("logs").join(&name);
        private::create_dir_all(&pip.project.state().join("logs"))?;
        let mut options = File::options();
        options.create(true).write(true).truncate(true).mode(private::FILE_MODE);
        let file = options
            .open(&place)
            .with_context(|| format!("could not write `{}`", place.display()))?;
        let shown = format!("{}/logs/{name}", crate::project::STATE_FOLDER);
        Ok(Self { file, shown, end: Vec::new(), network: false })
    }

    pub(super) fn add(&mut self, line: &str) {
        // A log that cannot be written is no reason to lose the build.
        let _ = writeln!(self.file, "{}", Printable::from(line));
        self.network |= NETWORK_FAILURES.iter().any(|words| line.contains(words));
        if self.end.len() == REPEATED_LINES {
            self.end.remove(0);
        }
        self.end.push(line.to_string());
    }

    pub(super) fn error(&self, what: &str, status: &str) -> anyhow::Error {
        let way_out = if self.network {
            "The build seems to want something from the network. Take a ready wheel of it \
             (`--only-binary` in a requirements file), or bring what it downloads yourself"
        } else {
            "A ready wheel needs no build: `--only-binary` in a requirements file asks for one"
        };
        anyhow::anyhow!(
            "{what} could not be built from source ({status}); its log ends with\n{}\nThe whole \
             log is `{}`. {way_out}",
            self.end.join("\n"),
            self.shown
        )
    }
}
