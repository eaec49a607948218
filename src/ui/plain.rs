//! A build as plain lines, for pipes and logs, and for terminals without moving lines.
//!
//! Owns the two writers; the narrator chooses the lines and their time.

use super::narrator::{Announce, Narrator};
use super::{Style, Writers};
use crate::event::{Event, Report};

pub(super) struct Plain {
    narrator: Narrator,
    writers: Writers,
}

impl Plain {
    pub(super) fn new(style: Style, writers: Writers) -> Self {
        let narrator = Narrator::new(style, Announce::AtStart);
        Self { narrator, writers }
    }
}

impl Report for Plain {
    fn event(&mut self, event: &Event) {
        let Self { narrator, writers } = self;
        narrator.narrate(event, &mut |chunks| {
            for chunk in chunks {
                writers.write(chunk.stream, &chunk.text);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::event::{Finished, Outcome};
    use crate::ui::testing::{
        Broken, Transcript, ended, error_line, line, ran, reasons, started, stopped, summary, zip,
    };
    use crate::ui::{Verbosity, report};
    use Outcome::{Failed, Ran, Skipped, UpToDate, WouldRun};

    fn shown_as(verbosity: Verbosity, dry_run: bool, events: &[Event]) -> Transcript {
        let transcript = Transcript::default();
        let style = Style { color: false, live: false, verbosity, dry_run, hold: true };
        let mut report = report(style, transcript.writers());
        events.iter().for_each(|event| report.event(event));
        transcript
    }

    /// Compares the report of `events` at the given verbosity with `expected`.
    fn check(verbosity: Verbosity, events: &[Event], expected: &str) {
        assert_eq!(shown_as(verbosity, false, events).text(), expected);
    }

    #[test]
    fn nothing_to_do_is_one_line() {
        let events = [
            Event::Planned { targets: 3 },
            ended("wheels", UpToDate),
            ended("staging", UpToDate),
            Event::Finished(zip(UpToDate)),
            summary(&[UpToDate; 3]),
        ];
        check(
            Verbosity::Normal,
            &events,
            "err up to date: 3 targets, 0.42 s; \
             build/lambda.zip 1.2 MB (3.4 MB unzipped), CodeSha256 q83v=\n",
        );
        check(Verbosity::Silent, &events, "");
        check(Verbosity::Normal, &[summary(&[])], "err nothing to do, 0.42 s\n");
    }

    #[test]
    fn each_target_that_runs_has_a_line_with_its_first_reason() {
        let package = Finished { reasons: reasons("package", 1), ..zip(Ran) };
        check(
            Verbosity::Normal,
            &[
                Event::Planned { targets: 4 },
                ended("models", UpToDate),
                started("wheels", 3),
                line("wheels", "Collecting numpy"),
                error_line("wheels", "a notice"),
                ran("wheels", 3),
                started("staging", 1),
                ran("staging", 1),
                started("package", 1),
                Event::Finished(package),
                summary(&[UpToDate, Ran, Ran, Ran]),
            ],
            "err wheels: running (file wheels-1: aaaa -> bbbb; 2 more)\n\
             out Collecting numpy\n\
             err a notice\n\
             err staging: running (file staging-1: aaaa -> bbbb)\n\
             err package: running (file package-1: aaaa -> bbbb)\n\
             err 3 ran (wheels, staging, package), 1 up to date, 0.42 s; \
             build/lambda.zip 1.2 MB (3.4 MB unzipped), CodeSha256 q83v=\n",
        );
    }

    #[test]
    fn a_failure_names_what_it_stopped() {
        let events = [
            started("wheels", 0),
            line("wheels", "building"),
            stopped("wheels", Failed, "pip ended with exit status 1\nno matching version"),
            stopped("staging", Skipped, "wheels"),
            stopped("package", Skipped, "staging"),
            started("models", 1),
            ran("models", 1),
            summary(&[Failed, Skipped, Skipped, Ran]),
        ];
        check(
            Verbosity::Normal,
            &events,
            "err wheels: running\n\
             out building\n\
             err error: wheels: pip ended with exit status 1\n\
             err   no matching version\n\
             err staging: skipped, because wheels failed\n\
             err package: skipped, because staging was skipped\n\
             err models: running (file models-1: aaaa -> bbbb)\n\
             err failed: wheels; skipped: staging, package; 1 ran (models), 0.42 s\n",
        );
        check(
            Verbosity::Silent,
            &events,
            "out building\n\
             err error: wheels: pip ended with exit status 1\n\
             err   no matching version\n",
        );
    }

    #[test]
    fn the_output_of_parallel_targets_does_not_mix() {
        check(
            Verbosity::Normal,
            &[
                started("a", 0),
                line("a", "a1, alone"),
                started("b", 0),
                started("c", 0),
                line("a", "a2"),
                line("b", "b1"),
                line("c", "c1"),
                line("a", "a3"),
                ran("a", 0),
                error_line("b", "b2"),
                ran("c", 0),
                line("b", "b3, alone again"),
                ran("b", 0),
                summary(&[Ran; 3]),
            ],
            "err a: running\n\
             out a1, alone\n\
             err b: running\n\
             err c: running\n\
             err a: output\n\
             out a2\n\
             out a3\n\
             err c: output\n\
             out c1\n\
             err b: output\n\
             out b1\n\
             err b2\n\
             out b3, alone again\n\
             err 3 ran (a, c, b), 0.42 s\n",
        );
    }

    #[test]
    fn held_output_is_one_write_a_stream() {
        let events =
            [started("a", 0), started("b", 0), line("a", "1"), line("a", "2"), ran("a", 0)];
        let writes = shown_as(Verbosity::Silent, false, &events).writes();
        let texts: Vec<&str> = writes.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["1\n2\n"]);
    }

    #[test]
    fn a_dry_run_says_what_would_run() {
        let would = |target: &str, count| {
            Event::Finished(Finished {
                reasons: reasons(target, count),
                ..crate::ui::testing::finished(target, WouldRun)
            })
        };
        let events = [
            ended("models", UpToDate),
            would("wheels", 2),
            would("staging", 1),
            summary(&[UpToDate, WouldRun, WouldRun]),
        ];
        assert_eq!(
            shown_as(Verbosity::Normal, true, &events).text(),
            "out wheels: would run (file wheels-1: aaaa -> bbbb; 1 more)\n\
             out staging: would run (file staging-1: aaaa -> bbbb)\n\
             err 2 would run (wheels, staging), 1 up to date, 0.42 s\n",
        );
        assert_eq!(shown_as(Verbosity::Silent, true, &events).text(), "");
    }

    #[test]
    fn trace_says_every_reason_and_what_is_up_to_date() {
        check(
            Verbosity::Trace,
            &[
                ended("models", UpToDate),
                started("wheels", 2),
                ran("wheels", 2),
                summary(&[UpToDate, Ran]),
            ],
            "err models: up to date\n\
             err wheels: running\n\
             err   file wheels-1: aaaa -> bbbb\n\
             err   file wheels-2: aaaa -> bbbb\n\
             err wheels: ran, 0.25 s\n\
             err 1 ran (wheels), 1 up to date, 0.42 s\n",
        );
    }

    #[test]
    fn warnings_come_at_once_and_say_whose_they_are() {
        let warning = |target: Option<&str>, text: &str| Event::Warning {
            target: target.map(str::to_owned),
            text: text.into(),
        };
        check(
            Verbosity::Silent,
            &[
                warning(None, "state of another version discarded"),
                started("a", 0),
                started("b", 0),
                line("a", "held"),
                warning(Some("b"), "old pip\nupgrade it"),
            ],
            "err warning: state of another version discarded\n\
             err warning: b: old pip\n\
             err   upgrade it\n",
        );
    }

    #[test]
    fn a_broken_pipe_ends_the_stream_and_nothing_else() {
        let broken = |kind| {
            let transcript = Transcript::default();
            let mut writers = transcript.writers();
            writers.stdout = Some(Box::new(Broken(kind)));
            let style = Style {
                color: false,
                live: false,
                verbosity: Verbosity::Silent,
                dry_run: false,
                hold: true,
            };
            let mut report = report(style, writers);
            for event in [started("a", 0), line("a", "1"), line("a", "2"), error_line("a", "3")] {
                report.event(&event);
            }
            transcript.text()
        };
        assert_eq!(broken(io::ErrorKind::BrokenPipe), "err 3\n");
        assert_eq!(
            broken(io::ErrorKind::StorageFull),
            "err error: could not write to standard output: no storage space\nerr 3\n",
        );
    }
}
