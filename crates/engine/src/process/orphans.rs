//! Ends the programs that a killed zipwright left running: they may still write to outputs of the
//! next build.
//!
//! A process number alone does not identify a process, because numbers are reused. So the journal
//! describes a program by number, group, session and start time, within one boot and one process
//! namespace. Before it is started, the journal also has the numbers of the pipes for its output,
//! because a zipwright may be killed before it can write the first line. On systems without a
//! list of processes, nothing is ended.
//!
//! Processes are ended one by one, never by the number of a group: a program on the terminal shares
//! the group of the shell that started zipwright. This process, its ancestors, and a program with
//! one of them below it are never ended.

use std::collections::{HashMap, HashSet};
use std::io::PipeWriter;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process_group};
use zipwright_store::platform::{self, Process};

/// Time limit for the kernel to end the killed processes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns the journal's line for a program that was just started.
pub(super) fn describe(id: i32) -> String {
    match platform::process(id) {
        Some(Process { group, session, started, .. }) => {
            format!("{id} {group} {session} {started}")
        }
        None => String::new(),
    }
}

/// Returns the journal's line for a pipe that will be the output of a program.
pub(super) fn describe_pipe(pipe: &PipeWriter) -> String {
    let number = rustix::fs::fstat(pipe).map(|stat| stat.st_ino);
    number.map_or(String::new(), |number| format!("pipe {number}\n"))
}

/// Ends the programs in the lines of a journal that still run, and the processes that they started.
pub fn end_orphans(journal: &str) {
    let mut programs: Vec<Process> = journal.lines().filter_map(parse).collect();
    let pipes = journal.lines().filter_map(|line| line.strip_prefix("pipe "));
    programs.extend(writers_of(&pipes.collect()));
    let own = std::process::id().cast_signed();
    let started = Instant::now();
    // Kept between rounds: a process whose parent has ended no longer shows its origin.
    let mut orphans = HashSet::new();
    while !programs.is_empty() && started.elapsed() < PATIENCE {
        let running = Running::read();
        let protected = running.with_ancestors(own);
        for program in &programs {
            let found = running.left_by(program, &orphans);
            if found.is_disjoint(&protected) {
                orphans.extend(found);
            }
        }
        orphans.retain(|orphan| running.has(*orphan));
        if orphans.is_empty() {
            return;
        }
        for (id, _) in &orphans {
            if let Some(id) = Pid::from_raw(*id) {
                // It may have ended meanwhile.
                let _ = kill_process(id, Signal::KILL);
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns whether a process of this group runs. One that has ended and was not collected yet does
/// not, as far as the system reports that.
pub(super) fn group_runs(group: i32) -> bool {
    let Some(id) = Pid::from_raw(group) else { return false };
    if test_kill_process_group(id).is_err() {
        return false;
    }
    let processes = Running::read().0;
    processes.is_empty() || processes.values().any(|process| process.group == group)
}

/// Returns the processes that have one of the pipes with these numbers as an output.
fn writers_of(pipes: &HashSet<&str>) -> Vec<Process> {
    if pipes.is_empty() {
        return Vec::new();
    }
    let has_one = |process: &Process| {
        platform::output_pipes(process.id).iter().any(|pipe| pipes.contains(pipe.as_str()))
    };
    Running::read().0.into_values().filter(has_one).collect()
}

/// Parses a line of [`describe`], which does not have the parent.
fn parse(line: &str) -> Option<Process> {
    let mut words = line.split(' ');
    let id = words.next()?.parse().ok()?;
    let group = words.next()?.parse().ok()?;
    let session = words.next()?.parse().ok()?;
    let started = words.next()?.parse().ok()?;
    Some(Process { id, parent: 0, group, session, started })
}

/// Number and start time of a process: the pair is never reused.
type Identity = (i32, u64);

fn identity(process: &Process) -> Identity {
    (process.id, process.started)
}

/// The processes of the system, by number.
struct Running(HashMap<i32, Process>);

impl Running {
    fn read() -> Self {
        let processes = platform::processes().into_iter();
        Self(processes.map(|process| (process.id, process)).collect())
    }

    fn has(&self, (id, started): Identity) -> bool {
        self.0.get(&id).is_some_and(|process| process.started == started)
    }

    fn with_ancestors(&self, id: i32) -> HashSet<Identity> {
        let mut found = HashSet::new();
        let mut next = self.0.get(&id);
        while let Some(process) = next
            && found.insert(identity(process))
        {
            next = self.0.get(&process.parent);
        }
        found
    }

    /// Returns the program itself, the members of its group if it leads one, and all descendants of
    /// these and of `known`, in any group.
    fn left_by(&self, program: &Process, known: &HashSet<Identity>) -> HashSet<Identity> {
        let leader = self.0.get(&program.id);
        let is_other = leader.is_some_and(|leader| leader.started != program.started);
        // If the number was reused by another process, so was the number of the group.
        let leads = program.id == program.group && !is_other;
        let is_own = |process: &Process| {
            identity(process) == identity(program)
                || (leads
                    && (process.group, process.session) == (program.group, program.session)
                    && process.started >= program.started)
        };
        let members = self.0.values().filter(|process| is_own(process));
        let mut found: HashSet<Identity> = members.map(identity).collect();
        found.extend(known.iter().filter(|orphan| self.has(**orphan)));
        loop {
            let is_child = |process: &&Process| {
                let parent = self.0.get(&process.parent).map(identity);
                parent.is_some_and(|parent| found.contains(&parent))
            };
            let children = self.0.values().filter(is_child).map(identity);
            let new: Vec<Identity> = children.filter(|child| !found.contains(child)).collect();
            if new.is_empty() {
                return found;
            }
            found.extend(new);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    /// Returns processes from `(id, parent, group, started)`, all of session 1.
    fn running(processes: &[(i32, i32, i32, u64)]) -> Running {
        let process = |&(id, parent, group, started): &(i32, i32, i32, u64)| {
            (id, Process { id, parent, group, session: 1, started })
        };
        Running(processes.iter().map(process).collect())
    }

    fn left_by(line: &str, processes: &[(i32, i32, i32, u64)]) -> Vec<i32> {
        let program = parse(line).unwrap();
        let found = running(processes).left_by(&program, &HashSet::new());
        let mut ids: Vec<i32> = found.into_iter().map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_group_of_its_own_is_found_whole_with_the_descendants_outside_of_it() {
        let processes = [(5, 1, 5, 10), (6, 5, 5, 11), (7, 5, 7, 12), (8, 7, 7, 13), (9, 1, 9, 14)];
        assert_eq!(left_by("5 5 1 10", &processes), [5, 6, 7, 8]);
        // The leader has ended; a member still runs.
        assert_eq!(left_by("5 5 1 10", &processes[1..]), [6]);
    }

    #[test]
    fn of_a_group_that_is_shared_only_the_program_and_its_descendants_are_found() {
        let shell = [(3, 1, 3, 5), (4, 3, 3, 6), (5, 1, 3, 10), (6, 5, 3, 11), (7, 3, 3, 12)];
        assert_eq!(left_by("5 3 1 10", &shell), [5, 6]);
    }

    #[test]
    fn a_program_is_found_by_its_pipe_without_a_line_of_its_own() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let journal = describe_pipe(&writer);
        let mut command = std::process::Command::new("/bin/sh");
        // In a group of its own, so that no signal for the group of the tests ends it.
        command.process_group(0).args(["-c", "sleep 60 & wait; exit 1"]).stdout(writer);
        let mut child = command.spawn().unwrap();
        drop(command);
        end_orphans("pipe 1\n");
        assert_eq!(child.try_wait().unwrap(), None, "no other program is ended");
        end_orphans(&journal);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_number_that_was_given_to_another_process_stands_for_nothing() {
        assert_eq!(left_by("5 5 1 10", &[(5, 1, 5, 20), (6, 5, 5, 21)]), [0; 0]);
        assert_eq!(left_by("5 3 1 10", &[(5, 1, 3, 20), (6, 5, 3, 21)]), [0; 0]);
    }

    #[test]
    fn ancestors_go_up_to_the_first_process() {
        let running = running(&[(1, 0, 1, 0), (3, 1, 3, 5), (4, 3, 3, 6), (9, 1, 9, 7)]);
        let mut found: Vec<Identity> = running.with_ancestors(4).into_iter().collect();
        found.sort_unstable();
        assert_eq!(found, [(1, 0), (3, 5), (4, 6)]);
    }
}
