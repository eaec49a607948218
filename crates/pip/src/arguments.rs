//! pip's further arguments (`pip-args`), split by use.

use anyhow::{Result, bail};

use super::options::{self, Argument, Name, Opt};
use super::requirements::{find_links_inside, index_inside};
use zipwright_store::RelPath;
use zipwright_store::project::Project;

/// pip's further arguments, split by use.
#[derive(Default)]
pub(super) struct Arguments {
    /// Folders of find-links inside the project.
    pub(super) find_links: Vec<RelPath>,
    /// `KEY=VALUE` of each `--config-settings`.
    pub(super) settings: Vec<String>,
    /// The other arguments.
    pub(super) plain: Vec<String>,
    /// Files of constraints for build requirements.
    pub(super) files: Vec<String>,
    /// Whether pip is to check everything against hashes.
    pub(super) hashed: bool,
}

impl Arguments {
    /// Reads pip's further arguments. Fails for options that have a Buildfile key of their own: files
    /// that pip reads would be inputs whose changes are not noticed.
    pub(super) fn read(project: &Project, arguments: &[String]) -> Result<Self> {
        let mut found = Self::default();
        for Argument { words, option } in options::arguments(arguments) {
            let Some(Opt { name, value }) = option else {
                found.plain.extend(words);
                continue;
            };
            let key = match name {
                Name::Requirement => "requirements",
                Name::Constraint => "constraints",
                Name::Editable => "projects",
                Name::SetupOption => bail!(
                    "`pip-args` has `{}`, which is not passed to builds: use `--config-settings`",
                    words.join(" ")
                ),
                Name::ConfigSettings => {
                    found.settings.push(value);
                    continue;
                }
                Name::FindLinks => {
                    found.find_links.extend(find_links_inside(project, &value));
                    found.plain.extend(words);
                    continue;
                }
                Name::Other("--index-url" | "--extra-index-url") => {
                    found.find_links.extend(index_inside(project, &value));
                    found.plain.extend(words);
                    continue;
                }
                Name::BuildConstraint => {
                    found.files.push(value);
                    found.plain.extend(words);
                    continue;
                }
                Name::RequireHashes | Name::Hash | Name::Other(_) => {
                    found.hashed |= name == Name::RequireHashes;
                    found.plain.extend(words);
                    continue;
                }
            };
            bail!("`pip-args` has `{}`: use the key `{key}` instead", words.join(" "));
        }
        Ok(found)
    }
}
