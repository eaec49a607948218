//! A mistake in zipwright: a panic, in any thread.

use std::panic;
use std::process::exit;

use signal_hook::consts::SIGKILL;

use super::{FAILURE, tell};
use crate::process::{self, Reach};

/// Makes a panic of any thread end this process and the programs that it started, with the exit status
/// of an error. No thread is unwound: others may wait for the result of this one, and to the next
/// build, it is as if this one was killed.
#[expect(clippy::exit, reason = "to return, the thread would have to be unwound")]
pub(super) fn end_at_a_panic() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        print(panic);
        tell("error: this is a mistake in zipwright, not in your project; please report it");
        process::signal_all(SIGKILL, Reach::All);
        exit(FAILURE.into());
    }));
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::Command;
    use std::thread;

    use super::*;

    /// Set in the process that panics.
    const CHILD: &str = "ZIPWRIGHT_TEST_PANICS";

    #[test]
    fn a_panic_of_any_thread_ends_the_process() {
        if env::var_os(CHILD).is_some() {
            end_at_a_panic();
            let _ = thread::spawn(|| panic!("BUG: {}", 7)).join();
            return;
        }
        let own = env::current_exe().unwrap();
        let name = "cli::bug::tests::a_panic_of_any_thread_ends_the_process";
        let mut child = Command::new(own);
        let run = child.args(["--exact", "--nocapture", name]).env(CHILD, "1").output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(2), "{said}");
        assert!(said.contains("BUG: 7") && said.contains("mistake in zipwright"), "{said}");
    }
}
