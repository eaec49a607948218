//! Programs that outlived a zipwright that was killed. They may still write to outputs that the
//! next build makes, so it ends them first.
//!
//! A number alone does not say which process is meant: numbers come round again. So a program
//! is described by group, session and start, within one boot and one namespace of numbers. Where
//! the system does not tell these (it has no `/proc`), nothing is ended.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::signal_group;

/// How long the kernel may take to end what was killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Within what numbers of processes mean something.
pub fn namespace() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let numbers = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim(), numbers.display())
}

/// A line for the journal on a program that was just started as the leader of `group`.
pub(super) fn describe(group: i32) -> String {
    match Process::read(group) {
        Some(Process { group, session, started, .. }) => format!("{group} {session} {started}"),
        None => String::new(),
    }
}

/// Ends what still runs of the programs in the lines of a journal.
pub fn end_orphans(journal: &str) {
    let known: Vec<(i32, i32, u64)> = journal.lines().filter_map(parse).collect();
    let started = Instant::now();
    while !known.is_empty() && started.elapsed() < PATIENCE {
        let mut orphans: Vec<i32> = all()
            .into_iter()
            .filter(|process| {
                known.iter().any(|(group, session, started)| {
                    (*group, *session) == (process.group, process.session)
                        && *started <= process.started
                        // A leader's number is the group's, so it is this very program or none.
                        && (process.id != *group || *started == process.started)
                })
            })
            .map(|process| process.group)
            .collect();
        orphans.sort_unstable();
        orphans.dedup();
        if orphans.is_empty() {
            return;
        }
        for group in orphans {
            signal_group(group, rustix::process::Signal::KILL.as_raw());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn parse(line: &str) -> Option<(i32, i32, u64)> {
    let mut words = line.split(' ');
    let mut next = || words.next();
    Some((next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?))
}

struct Process {
    id: i32,
    group: i32,
    session: i32,
    /// In clock ticks since the system started.
    started: u64,
}

impl Process {
    /// `None` also for one that has ended and only waits to be collected.
    fn read(id: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name in parentheses may hold spaces and parentheses of its own.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        Some(Self {
            id,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Process::read)
        .collect()
}
