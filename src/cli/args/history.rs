//! Options of `history`.

use clap::Args;

#[derive(Args, Debug)]
pub(in crate::cli) struct History {
    /// Files, folders, and zip targets [default: all files]; NAME=VALUE sets a variable of [vars]
    #[arg(value_name = "PATH | TARGET")]
    pub(in crate::cli) words: Vec<String>,

    /// The tags that count as releases, as `git tag -l` selects them [default: all that are versions]
    #[arg(long, value_name = "GLOB")]
    pub(in crate::cli) tags: Option<String>,

    /// List only what changed after this tag, or commit
    #[arg(long, value_name = "TAG")]
    pub(in crate::cli) since: Option<String>,

    /// List only what changed after the commit that the live version of an upload was published from
    #[arg(
        long,
        value_name = "UPLOAD",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with = "since"
    )]
    pub(in crate::cli) deployed: Option<String>,

    /// Also list files that are gone
    #[arg(long)]
    pub(in crate::cli) all: bool,

    /// Count a renamed file as a new one
    #[arg(long)]
    pub(in crate::cli) no_renames: bool,
}
