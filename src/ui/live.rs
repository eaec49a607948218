//! A build on a terminal: permanent lines, and below them one line for each running target and a
//! count of finished ones. Permanent lines are those of the plain report.
//!
//! Owns the moving lines, and the terminal until the last event. Knows only the names of targets,
//! no other texts.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::narrator::{Announce, Narrator};
use super::wording::Wording;
use super::{Style, Writers};
use crate::base::Printable;
use crate::event::{Downloads, Event, Report};

/// Delay before anything is drawn, so that a short build does not flicker.
const PATIENCE: Duration = Duration::from_millis(100);

/// The line of a running target.
const STEP: &str = "{spinner} {prefix} {elapsed}  {wide_msg}";

/// The line of a target whose files arrive.
const DOWNLOAD: &str = "{spinner} {prefix} {elapsed}  [{bar:14}] {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {wide_msg}";

const DOWNLOAD_OF_UNKNOWN_SIZE: &str =
    "{spinner} {prefix} {elapsed}  {decimal_bytes}, {decimal_bytes_per_sec}, {wide_msg}";

const FRAME: Duration = Duration::from_millis(100);

pub(super) struct Live {
    narrator: Narrator,
    writers: Writers,
    moving: Moving,
    terminal: Terminal,
    /// After a round of a watch.
    last_round: Option<LastRound>,
}

/// The line of the last round. It stays below the lines that services write until the next round.
struct LastRound {
    line: Printable,
    bar: Option<ProgressBar>,
}

/// Returns the terminal to draw on.
type Terminal = Box<dyn Fn() -> ProgressDrawTarget + Send>;

impl Live {
    pub(super) fn new(style: Style, writers: Writers) -> Self {
        Self::on(Box::new(ProgressDrawTarget::stderr), PATIENCE, style, writers)
    }

    fn on(terminal: Terminal, wait: Duration, style: Style, writers: Writers) -> Self {
        Self {
            narrator: Narrator::new(style, Announce::AtEnd),
            writers,
            moving: Moving::new(terminal(), wait, style.wording()),
            terminal,
            last_round: None,
        }
    }
}

impl Report for Live {
    fn event(&mut self, event: &Event) {
        // Remove the moving line of the target before its permanent line is written.
        match event {
            Event::Planned { targets } => self.moving.expect(*targets),
            Event::Started { terminal: true, .. } => self.moving.pause(),
            Event::Started { target, .. } => self.moving.start(target),
            Event::Status { target, text } => self.moving.status(target, text),
            Event::Downloading { target, downloads } => self.moving.download(target, downloads),
            Event::Checking { target, guard } => {
                let line = guard_line(target, guard);
                self.moving.start(&line);
            }
            Event::Checked { target, guard, .. } => self.moving.end(&guard_line(target, guard)),
            Event::Waiting { target, .. } => self.moving.resume(target),
            Event::Finished(finished) => self.moving.finish(&finished.target),
            Event::Round(_) | Event::Summary(_) => self.moving.clear(),
            Event::Line { .. }
            | Event::Service { .. }
            | Event::Warning { .. }
            | Event::Note { .. }
            | Event::Found { .. } => {}
        }
        let Self { narrator, writers, moving, terminal, last_round } = self;
        let mut line = Printable::default();
        narrator.narrate(event, &mut |chunks| {
            if let Some(chunk) = chunks.last() {
                line = chunk.text.clone();
            }
            let write = || {
                for chunk in chunks {
                    writers.write(chunk.stream, &chunk.text);
                }
            };
            match last_round {
                Some(round) if matches!(event, Event::Service { .. }) => {
                    round.bar(terminal).suspend(write);
                }
                Some(LastRound { bar: Some(bar), .. }) => bar.suspend(write),
                _ => moving.bars.suspend(write),
            }
        });
        let is_end = matches!(event, Event::Round(_)) || last_round.is_some();
        if is_end && matches!(event, Event::Round(_) | Event::Summary(_)) {
            *last_round = Some(LastRound { line, bar: None });
        }
    }
}

impl LastRound {
    /// Returns the line that stays. It is drawn with the first line of a service.
    fn bar(&mut self, terminal: &Terminal) -> &ProgressBar {
        self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, terminal());
            bar.with_style(template("{wide_msg}"))
                .with_message(self.line.as_str().trim_end().to_owned())
        })
    }
}

impl Drop for LastRound {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The lines that are redrawn all the time.
struct Moving {
    bars: MultiProgress,
    running: Vec<(String, ProgressBar)>,
    counter: ProgressBar,
    curtain: Curtain,
    wording: Wording,
}

impl Moving {
    fn new(screen: ProgressDrawTarget, wait: Duration, wording: Wording) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let curtain = Curtain::new(bars.clone(), screen, wait);
        let counter = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        let counter = bars.add(counter.with_style(template("[{pos}/{len}]")));
        Self { bars, running: Vec::new(), counter, curtain, wording }
    }

    fn expect(&mut self, targets: usize) {
        self.counter.set_length(targets as u64);
        self.counter.enable_steady_tick(FRAME);
    }

    fn start(&mut self, target: &str) {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
            .with_style(template(STEP))
            .with_prefix(self.wording.target(target).to_string());
        let bar = self.bars.insert_before(&self.counter, bar);
        bar.enable_steady_tick(FRAME);
        self.running.push((target.to_owned(), bar));
    }

    /// Draws nothing until a target has finished.
    fn pause(&mut self) {
        self.counter.disable_steady_tick();
        // If a terminal cannot be cleared, it cannot be drawn on either.
        let _ = self.bars.clear();
    }

    /// Draws again, and shows a target that had the terminal.
    fn resume(&mut self, target: &str) {
        if !self.running.iter().any(|(name, _)| name == target) {
            self.start(target);
        }
        self.counter.enable_steady_tick(FRAME);
    }

    fn status(&mut self, target: &str, text: &str) {
        if let Some((_, bar)) = self.running.iter().find(|(name, _)| name == target) {
            bar.set_style(template(STEP));
            bar.set_message(Printable::line(text).to_string());
        }
    }

    fn download(&mut self, target: &str, downloads: &Downloads) {
        let Some((_, bar)) = self.running.iter().find(|(name, _)| name == target) else { return };
        let Downloads { files, done, bytes, size, slowest } = downloads;
        match size {
            Some(size) => {
                bar.set_style(template(DOWNLOAD).progress_chars("=> "));
                bar.set_length(*size);
            }
            None => {
                bar.set_style(template(DOWNLOAD_OF_UNKNOWN_SIZE));
                bar.unset_length();
            }
        }
        bar.set_position(*bytes);
        let slowest = slowest.as_ref().map_or_else(String::new, |name| format!(", {name}"));
        let text = format!("{done} of {files} done{slowest}");
        bar.set_message(Printable::line(&text).to_string());
    }

    fn finish(&mut self, target: &str) {
        self.end(target);
        self.counter.inc(1);
        self.counter.tick();
        self.counter.enable_steady_tick(FRAME);
    }

    /// Removes a line.
    fn end(&mut self, target: &str) {
        if let Some(index) = self.running.iter().position(|(name, _)| name == target) {
            let (_, bar) = self.running.remove(index);
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    /// Removes the moving lines.
    fn clear(&mut self) {
        self.curtain.keep_shut();
        for (_, bar) in self.running.drain(..) {
            bar.finish_and_clear();
        }
        self.counter.finish_and_clear();
        // A closed terminal needs no clearing.
        let _ = self.bars.clear();
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Hides the moving lines until the delay is over.
struct Curtain {
    /// Dropped to keep them hidden.
    shut: Option<Sender<()>>,
    opener: Option<JoinHandle<()>>,
}

impl Curtain {
    fn new(bars: MultiProgress, screen: ProgressDrawTarget, wait: Duration) -> Self {
        let (shut, told) = mpsc::channel();
        let opener = thread::spawn(move || {
            if told.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                bars.set_draw_target(screen);
            }
        });
        Self { shut: Some(shut), opener: Some(opener) }
    }

    /// Prevents any further change.
    fn keep_shut(&mut self) {
        self.shut = None;
        if let Some(opener) = self.opener.take() {
            opener.join().expect("BUG: opening the curtain cannot panic");
        }
    }
}

/// Returns the name of the moving line of a guard.
fn guard_line(target: &str, guard: &str) -> String {
    format!("{target}: require {}", Printable::line(guard))
}

fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).expect("BUG: the templates are constants")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::event::{Outcome, Round, RoundEnd};
    use crate::process::Stream;
    use crate::ui::Verbosity;
    use crate::ui::testing::{Screen, Transcript, ended, line, ran, started, summary};

    const LONG: Duration = Duration::from_secs(3600);

    fn live(wait: Duration) -> (Live, Screen, Transcript) {
        let (screen, transcript) = (Screen::default(), Transcript::default());
        let style = Style {
            color: false,
            live: true,
            verbosity: Verbosity::Normal,
            dry_run: false,
            hold: true,
        };
        let shown = screen.clone();
        let terminal = move || ProgressDrawTarget::term_like(Box::new(shown.clone()));
        let live = Live::on(Box::new(terminal), wait, style, transcript.writers());
        (live, screen, transcript)
    }

    fn wait_for(screen: &Screen, text: &str) {
        let start = Instant::now();
        while !screen.text().contains(text) {
            assert!(start.elapsed() < Duration::from_secs(20), "no {text:?}:\n{}", screen.text());
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_short_build_draws_nothing() {
        let (mut live, screen, transcript) = live(LONG);
        live.event(&Event::Planned { targets: 2 });
        live.event(&ended("wheels", Outcome::UpToDate));
        live.event(&started("zip", 1));
        live.event(&ran("zip", 1));
        live.event(&summary(&[Outcome::UpToDate, Outcome::Ran]));
        assert!(!screen.was_drawn_on());
        assert_eq!(
            transcript.text(),
            "err zip: ran, 0.25 s (file zip-1: aaaa -> bbbb)\n\
             err 1 ran (zip), 1 up to date, 0.42 s\n",
        );
    }

    #[test]
    fn running_targets_and_the_count_are_drawn_and_cleared() {
        let (mut live, screen, transcript) = live(Duration::ZERO);
        live.event(&Event::Planned { targets: 7 });
        wait_for(&screen, "[0/7]");
        live.event(&started("wheels", 2));
        let status = "Collecting\nnumpy".to_owned();
        live.event(&Event::Status { target: "wheels".into(), text: status });
        wait_for(&screen, "Collecting\\nnumpy");
        let drawn = screen.text();
        assert!(drawn.contains(" wheels 0s  Collecting\\nnumpy\n[0/7]\n"), "{drawn}");
        let downloads = Downloads {
            files: 3,
            done: 1,
            bytes: 1_500_000,
            size: Some(3_000_000),
            slowest: Some("numpy".into()),
        };
        live.event(&Event::Downloading { target: "wheels".into(), downloads });
        wait_for(&screen, "1 of 3 done");
        let drawn = screen.text();
        assert!(drawn.contains("[=======>      ] 1.50 MB of 3.00 MB, "), "{drawn}");
        assert!(drawn.contains("1 of 3 done, numpy"), "{drawn}");
        live.event(&line("wheels", "hello"));
        live.event(&ran("wheels", 2));
        wait_for(&screen, "[1/7]");
        assert!(!screen.text().contains("wheels"), "{}", screen.text());
        live.event(&summary(&[Outcome::Ran]));
        assert_eq!(screen.text(), "");
        assert_eq!(
            transcript.text(),
            "err wheels: running (file wheels-1: aaaa -> bbbb; 1 more)\n\
             out hello\n\
             err wheels: ran, 0.25 s\n\
             err 1 ran (wheels), 0.42 s\n",
        );
    }

    #[test]
    fn the_line_of_the_last_round_stays_below_those_of_services() {
        let (mut live, screen, transcript) = live(LONG);
        let service = |text: &str| {
            let (target, text) = ("server".to_owned(), Printable::from(text));
            Event::Service { target, stream: Stream::Stdout, text }
        };
        live.event(&service("early"));
        live.event(&started("zip", 1));
        live.event(&ran("zip", 1));
        let (changed, ran) = (vec!["app.py".to_owned()], vec!["zip".to_owned()]);
        let round = Round { number: 2, changed, end: RoundEnd::Built, ran, seconds: 0.4 };
        live.event(&Event::Round(round));
        live.event(&summary(&[Outcome::Ran]));
        assert_eq!(screen.text(), "", "it is a line of the log");
        for _ in 0..3 {
            live.event(&service("a request"));
            assert_eq!(screen.text(), "round 2 (app.py changed): 1 ran (zip), 0.42 s\n");
        }
        drop(live);
        assert_eq!(screen.text(), "", "the next round begins");
        assert_eq!(
            transcript.text(),
            "out server: early\n\
             err zip: ran, 0.25 s (file zip-1: aaaa -> bbbb)\n\
             err round 2 (app.py changed): 1 ran (zip), 0.42 s\n\
             out server: a request\nout server: a request\nout server: a request\n",
        );
    }

    #[test]
    fn a_build_that_stops_halfway_gives_the_terminal_back() {
        let (mut live, screen, _) = live(Duration::ZERO);
        live.event(&Event::Planned { targets: 1 });
        live.event(&started("wheels", 1));
        wait_for(&screen, "wheels");
        drop(live);
        assert_eq!(screen.text(), "");
    }
}
