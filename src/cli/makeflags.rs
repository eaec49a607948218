//! Options of a build below another make and above others: `MAKEFLAGS` supplies defaults for the
//! command line, and the programs of this build get a `MAKEFLAGS` of their own.

use std::collections::BTreeMap;

use anyhow::Result;

use super::args::{Build, OutputSync};
use crate::base::parallel;
use crate::make::{self, Flags, Jobs, Pool, Variable};
use crate::project::Project;

/// A build's options, from the command line and from the make above, if there is one.
pub(super) struct BuildOptions {
    pub(super) build: Build,
    flags: Flags,
    level: u32,
}

impl BuildOptions {
    pub(super) fn new(typed: &Build, project: &Project) -> Self {
        let mut flags = Flags::parse(project.var("MAKEFLAGS").unwrap_or_default());
        let mut build = typed.clone();
        build.dry_run |= flags.dry_run;
        build.question |= flags.question;
        build.touch |= flags.touch;
        build.always_make |= flags.always;
        build.ignore_errors |= flags.ignore_errors;
        build.trace |= flags.trace || typed.debug.is_some();
        build.keep_going |= flags.keep_going && !typed.no_keep_going;
        build.silent |= flags.silent && !typed.no_silent;
        build.print_directory |= flags.print_directory == Some(true) && !typed.no_print_directory;
        build.no_print_directory |= flags.print_directory == Some(false) && !typed.print_directory;
        build.load_average = typed.load_average.or(flags.load);
        build.shuffle = typed.shuffle.clone().or_else(|| flags.shuffle.clone());
        if typed.output_sync.is_none() {
            build.output_sync = match flags.output_sync.as_deref() {
                Some("none") => Some(OutputSync::None),
                Some("line") => Some(OutputSync::Line),
                _ => None,
            };
        }
        flags.keep_going = build.keep_going;
        flags.silent = build.silent;
        flags.ignore_errors = build.ignore_errors;
        flags.always = build.always_make;
        flags.load = build.load_average;
        for (name, value) in build.words.iter().filter_map(|word| word.split_once('=')) {
            flags.set(Variable::literal(name, value));
        }
        let level = make::level(project.var("MAKELEVEL"));
        Self { build, flags, level }
    }

    /// Returns the variables of the make above, and with `-e` those of the environment. They have
    /// an effect only if the Buildfile declares them.
    pub(super) fn inherited(&self, project: &Project) -> BTreeMap<String, String> {
        let mut inherited = BTreeMap::new();
        if self.build.environment_overrides {
            inherited.extend(project.vars().clone());
        }
        for variable in &self.flags.variables {
            // make exports the expanded definition; its text may contain references.
            let value = project.var(&variable.name).map(str::to_owned);
            inherited.insert(variable.name.clone(), value.unwrap_or_else(|| variable.value()));
        }
        inherited
    }

    /// Returns whether another make started this build.
    pub(super) fn is_nested(&self) -> bool {
        self.level > 0
    }

    /// Returns the job slots of this build: those of the make above, unless `-j` is given.
    pub(super) fn pool(&mut self, cores: usize, warn: impl Fn(&str)) -> Result<Pool> {
        let outer = self.flags.jobserver.take();
        match (self.build.jobs, outer) {
            (None, Some(auth)) => match Pool::client(&auth) {
                Ok(pool) => Ok(pool),
                Err(error) => {
                    warn(&format!("{error:#}; one target at a time"));
                    self.flags.jobs = Some(Jobs::Limit(1));
                    parallel::limit(1);
                    Pool::private(1)
                }
            },
            (Some(typed), outer) => {
                if outer.is_some() {
                    warn("-j was given here, so job slots are not shared with the make above");
                }
                self.own_pool(typed)
            }
            (None, None) => self.own_pool(match self.flags.jobs {
                Some(Jobs::Limit(jobs)) => jobs,
                Some(Jobs::Unlimited) => 0,
                // As in make below a make without -j.
                None if self.is_nested() => 1,
                None => cores,
            }),
        }
    }

    /// Creates a pool; 0 means no limit.
    fn own_pool(&mut self, jobs: usize) -> Result<Pool> {
        if jobs == 0 {
            self.flags.jobs = Some(Jobs::Unlimited);
            return Pool::private(usize::MAX);
        }
        self.flags.jobs = Some(Jobs::Limit(jobs));
        Pool::server(jobs)
    }

    /// Returns whether targets run one at a time. Valid after the pool is created.
    pub(super) fn is_serial(&self) -> bool {
        self.flags.jobs == Some(Jobs::Limit(1))
    }

    /// Returns the number of targets that may run at once, as far as it is certain: a make above
    /// may lend more slots or fewer.
    pub(super) fn slots(&self) -> usize {
        match self.flags.jobs {
            Some(Jobs::Limit(jobs)) => jobs,
            Some(Jobs::Unlimited) | None => usize::MAX,
        }
    }

    /// Returns the largest number of threads for reading, hashing, unpacking and deflating. Call it
    /// before the pool is created.
    pub(super) fn threads(&self) -> usize {
        match (self.build.jobs, self.flags.jobs) {
            (Some(0), _) | (None, Some(Jobs::Unlimited)) => usize::MAX,
            (Some(jobs), _) | (None, Some(Jobs::Limit(jobs))) => jobs,
            // As in make below a make without -j.
            (None, None) if self.is_nested() && self.flags.jobserver.is_none() => 1,
            (None, None) => usize::MAX,
        }
    }

    /// Returns the variables that make-aware commands of this build get.
    pub(super) fn for_children(&self, pool: &Pool) -> Vec<(String, String)> {
        vec![
            ("MAKEFLAGS".into(), self.flags.for_children(pool.auth())),
            ("MAKELEVEL".into(), make::level_for_children(self.level)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_as_many_as_jobs_typed_here_or_handed_down() {
        const ALL: usize = usize::MAX;
        for (makeflags, level, typed, expected) in [
            ("", "0", None, ALL),
            ("", "0", Some(1), 1),
            ("", "0", Some(0), ALL),
            ("", "1", None, 1),
            ("", "1", Some(3), 3),
            (" -j2 --jobserver-auth=fifo:/x", "1", None, 2),
            (" -j --jobserver-auth=fifo:/x", "1", None, ALL),
            (" --jobserver-auth=fifo:/x", "1", None, ALL),
            (" -j2 --jobserver-auth=fifo:/x", "1", Some(1), 1),
        ] {
            let env = [("MAKEFLAGS", makeflags), ("MAKELEVEL", level)];
            let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let project = Project::new("/nowhere".into(), env.into());
            let resolved = BuildOptions::new(&Build { jobs: typed, ..Build::default() }, &project);
            assert_eq!(resolved.threads(), expected, "{makeflags:?} {level} {typed:?}");
        }
    }
}
