//! The words of `zipwright cache`.

use clap::{Args, Subcommand};

#[derive(Args, Debug)]
#[command(disable_help_subcommand = true)]
pub(in crate::cli) struct Cache {
    #[command(subcommand)]
    pub(in crate::cli) action: CacheAction,
}

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum CacheAction {
    /// Print the folder of the cache
    Dir,
    /// Print the number and the size of entries
    Size,
    /// Remove entries that have not been used for long, and leftovers of killed builds
    Prune(Removing),
    /// Remove all entries
    Clean(Removing),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Removing {
    /// If a build uses the cache, end with an error instead of waiting for it
    #[arg(long)]
    pub(in crate::cli) no_wait: bool,
}
