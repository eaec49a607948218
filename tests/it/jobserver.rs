//! The jobserver in both directions, against the installed make: never more jobs at once than
//! slots, and every slot returned in the end, which GNU make itself checks when it exits.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use zipwright::make::{Auth, Flags, Jobs, Pool};

/// Variable that makes the test program a worker of a recipe; its value is the way to end.
const WORKER: &str = "ZIPWRIGHT_TEST_WORKER";
const LOG: &str = "ZIPWRIGHT_TEST_LOG";
const JOBS_OF_A_WORKER: usize = 6;

/// Acts as a client like the engine, if a recipe below runs this program.
#[test]
fn worker() {
    let Ok(ending) = std::env::var(WORKER) else { return };
    let flags = Flags::parse(&std::env::var("MAKEFLAGS").unwrap());
    let pool = match Pool::client(&flags.jobserver.unwrap()) {
        Ok(pool) => pool,
        Err(error) => panic!("refused: {error:#}"),
    };
    if ending == "kill" {
        let _own = pool.try_acquire();
        let (sender, receiver) = mpsc::channel();
        pool.request(move |token| sender.send(token).unwrap()).unwrap();
        let _shared = receiver.recv().unwrap();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
            .unwrap();
    }
    if ending == "close" {
        let tokens: Vec<_> = std::iter::from_fn(|| pool.try_acquire()).collect();
        assert!(!tokens.is_empty());
        pool.close();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
            .unwrap();
        thread::sleep(Duration::from_secs(20));
    }
    run_jobs(&pool);
    assert_ne!(ending, "fail", "a worker that fails on purpose");
}

/// Takes slots one after the other, as the engine does, and runs a job in each.
fn run_jobs(pool: &Pool) {
    let log = std::env::var(LOG).unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..JOBS_OF_A_WORKER {
            let sender = sender.clone();
            pool.request(move |token| drop(sender.send(token))).unwrap();
            let token = receiver.recv().unwrap();
            scope.spawn(|| {
                job(Path::new(&log));
                drop(token);
            });
        }
    });
}

fn job(log: &Path) {
    let mut file = OpenOptions::new().append(true).create(true).open(log).unwrap();
    file.write_all(b"+\n").unwrap();
    thread::sleep(Duration::from_millis(30));
    file.write_all(b"-\n").unwrap();
}

/// Returns the largest number of simultaneous jobs, and the number of all jobs.
fn count(log: &Path) -> (usize, usize) {
    let (mut running, mut most, mut all) = (0, 0, 0);
    for line in fs::read_to_string(log).unwrap_or_default().lines() {
        if line == "+" {
            running += 1;
            all += 1;
        } else {
            running -= 1;
        }
        most = running.max(most);
    }
    assert_eq!(running, 0);
    (most, all)
}

/// Runs `make ARGS` with three recipes that each run a worker; `prefix` comes before them.
fn make_with_workers(folder: &Path, args: &[&str], prefix: &str, ending: &str) -> Output {
    let program = std::env::current_exe().unwrap();
    let recipe = format!("{prefix}@'{}' --exact jobserver::worker", program.display());
    let makefile = format!("all: a b c\na b c:\n\t{recipe}\n");
    fs::write(folder.join("Makefile"), makefile).unwrap();
    Command::new("make")
        .args(args)
        .current_dir(folder)
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .env(WORKER, ending)
        .env(LOG, folder.join("log"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Returns whether slots were lost: GNU make counts them when it exits.
fn lost_slots(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stderr).contains("jobserver tokens available")
}

#[test]
fn three_clients_share_the_slots_of_an_outer_make() {
    let folder = tempfile::tempdir().unwrap();
    let output = make_with_workers(folder.path(), &["-j4"], "+", "end");
    assert!(output.status.success() && !lost_slots(&output), "{output:?}");
    let (most, all) = count(&folder.path().join("log"));
    assert!((2..=4).contains(&most), "{most} jobs at once");
    assert_eq!(all, 3 * JOBS_OF_A_WORKER);
}

#[test]
fn a_client_that_fails_gives_every_slot_back() {
    let folder = tempfile::tempdir().unwrap();
    let output = make_with_workers(folder.path(), &["-j4", "-k"], "+", "fail");
    assert_eq!(output.status.code(), Some(2));
    assert!(!lost_slots(&output), "{output:?}");
    assert_eq!(count(&folder.path().join("log")).1, 3 * JOBS_OF_A_WORKER);
}

#[test]
fn a_client_that_ends_by_a_signal_gives_every_slot_back() {
    let folder = tempfile::tempdir().unwrap();
    let output = make_with_workers(folder.path(), &["-j6", "-k"], "+", "close");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("Terminated") && !lost_slots(&output), "{output:?}");
}

/// A limit of the protocol: the slot is lost with the process. The build continues with fewer.
#[test]
fn a_client_that_is_killed_takes_its_slots_with_it_and_make_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let output = make_with_workers(folder.path(), &["-j8", "-k"], "+", "kill");
    assert_eq!(output.status.code(), Some(2));
    assert!(lost_slots(&output), "{output:?}");
}

#[test]
fn without_a_plus_the_client_says_that_one_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let output = make_with_workers(folder.path(), &["-j4"], "", "end");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("put `+` in front of its recipe line"), "{output:?}");
    assert!(!lost_slots(&output), "{output:?}");
}

#[test]
fn makes_below_us_share_our_slots() {
    const SLOTS: usize = 3;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let line = "echo + >> log; sleep 0.05; echo - >> log";
    let makefile = format!("all: a b c d e\na b c d e:\n\t@{line}\n");
    fs::write(folder.path().join("Makefile"), makefile).unwrap();
    let pool = Arc::new(Pool::server(SLOTS).unwrap());
    let mut flags = Flags::default();
    flags.jobs = Some(Jobs::Limit(SLOTS));
    let makeflags = flags.for_children(pool.auth());
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..4 {
            let sender = sender.clone();
            pool.request(move |token| drop(sender.send(token))).unwrap();
            let token = receiver.recv().unwrap();
            scope.spawn(|| {
                let mut make = Command::new("make");
                make.current_dir(folder.path()).env("MAKEFLAGS", &makeflags);
                let output = make.env("MAKELEVEL", "1").output().unwrap();
                assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
                drop(token);
            });
        }
    });
    let (most, all) = count(&log);
    assert!((2..=SLOTS).contains(&most), "{most} jobs at once");
    assert_eq!(all, 4 * 5);
    let back: Vec<_> = std::iter::from_fn(|| pool.try_acquire()).collect();
    assert_eq!(back.len(), SLOTS);
}

#[test]
fn programs_that_close_what_they_inherit_join_by_a_named_pipe() {
    const SLOTS: usize = 3;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let pool = Pool::fifo_server(&folder.path().join("slots"), SLOTS).unwrap();
    assert!(matches!(pool.auth(), Some(Auth::Fifo(_))));
    let makeflags = Flags::default().for_children(pool.auth());
    let mut children = Vec::new();
    for _ in 0..2 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "jobserver::worker"]).stdout(Stdio::null());
        child.env("MAKEFLAGS", &makeflags).env(WORKER, "end").env(LOG, &log);
        // Each child's own slot is one of ours.
        children.push((pool.try_acquire().unwrap(), child.spawn().unwrap()));
    }
    for (token, mut child) in children {
        assert!(child.wait().unwrap().success());
        drop(token);
    }
    let (most, all) = count(&log);
    assert!((2..=SLOTS).contains(&most), "{most} jobs at once");
    assert_eq!(all, 2 * JOBS_OF_A_WORKER);
    let back: Vec<_> = std::iter::from_fn(|| pool.try_acquire()).collect();
    assert_eq!(back.len(), SLOTS);
}
