//! Helpers for the tests of this folder: events, writers that record the order of both streams, and
//! a readable terminal.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use indicatif::TermLike;

use super::Writers;
use crate::event::{Event, Finished, Outcome, Summary};
use crate::key::Reason;
use crate::process::Stream;

/// Returns `count` reasons that contain the name of the target.
pub(super) fn reasons(target: &str, count: usize) -> Vec<Reason> {
    let reason = |n| Reason::Changed {
        component: format!("file {target}-{n}"),
        old: "aaaa".into(),
        new: "bbbb".into(),
    };
    (1..=count).map(reason).collect()
}

pub(super) fn started(target: &str, count: usize) -> Event {
    Event::Started {
        target: target.into(),
        kind: "command",
        reasons: reasons(target, count),
        terminal: false,
    }
}

pub(super) fn line(target: &str, text: &str) -> Event {
    Event::Line { target: target.into(), stream: Stream::Stdout, text: text.into() }
}

pub(super) fn error_line(target: &str, text: &str) -> Event {
    Event::Line { target: target.into(), stream: Stream::Stderr, text: text.into() }
}

pub(super) fn finished(target: &str, outcome: Outcome) -> Finished {
    Finished {
        target: target.into(),
        kind: "command",
        outcome,
        reasons: Vec::new(),
        seconds: 0.25,
        outputs: Vec::new(),
        facts: Vec::new(),
        error: None,
    }
}

pub(super) fn ended(target: &str, outcome: Outcome) -> Event {
    Event::Finished(finished(target, outcome))
}

pub(super) fn ran(target: &str, count: usize) -> Event {
    let reasons = reasons(target, count);
    Event::Finished(Finished { reasons, ..finished(target, Outcome::Ran) })
}

pub(super) fn stopped(target: &str, outcome: Outcome, error: &str) -> Event {
    Event::Finished(Finished { error: Some(error.into()), ..finished(target, outcome) })
}

pub(super) fn zip(outcome: Outcome) -> Finished {
    Finished {
        kind: "zip",
        outputs: vec!["build/lambda.zip".into()],
        facts: vec![
            ("code_sha256".into(), "q83v=".into()),
            ("size".into(), 1_234_567.into()),
            ("unzipped_size".into(), 3_400_000.into()),
        ],
        ..finished("package", outcome)
    }
}

pub(super) fn summary(outcomes: &[Outcome]) -> Event {
    let mut summary = Summary { seconds: 0.42, ..Summary::default() };
    for outcome in outcomes {
        summary.add(*outcome);
    }
    Event::Summary(summary)
}

/// Everything written to either stream, one entry per write.
#[derive(Clone, Default)]
pub(super) struct Transcript(Arc<Mutex<Vec<(Stream, String)>>>);

impl Transcript {
    pub(super) fn writers(&self) -> Writers {
        let writer = |stream| Box::new(Recorder { stream, transcript: self.clone() });
        Writers::new(writer(Stream::Stdout), writer(Stream::Stderr))
    }

    pub(super) fn writes(&self) -> Vec<(Stream, String)> {
        self.0.lock().unwrap().clone()
    }

    /// Returns the lines with `out` or `err` before each. Every write must consist of whole lines.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (stream, written) in self.writes() {
            assert!(written.ends_with('\n'), "not whole lines: {written:?}");
            let label = if stream == Stream::Stdout { "out" } else { "err" };
            for line in written.lines() {
                text += &format!("{label} {line}\n");
            }
        }
        text
    }

    /// Returns the text written to standard output.
    pub(super) fn stdout(&self) -> String {
        let writes = self.writes().into_iter();
        writes.filter(|(stream, _)| *stream == Stream::Stdout).map(|(_, text)| text).collect()
    }
}

struct Recorder {
    stream: Stream,
    transcript: Transcript,
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        self.transcript.0.lock().unwrap().push((self.stream, text));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer that always fails.
pub(super) struct Broken(pub(super) io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A terminal of 80 columns, with the features that the moving lines use.
#[derive(Clone, Debug, Default)]
pub(super) struct Screen(Arc<Mutex<Cells>>);

#[derive(Debug, Default)]
struct Cells {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    touched: bool,
}

const WIDTH: usize = 80;

impl Screen {
    /// Returns the visible text, without blank space at the ends of lines and of the screen.
    pub(super) fn text(&self) -> String {
        let cells = self.0.lock().unwrap();
        let rows = cells.rows.iter().map(|row| row.iter().collect::<String>());
        let text: String = rows.map(|row| format!("{}\n", row.trim_end())).collect();
        match text.trim_end() {
            "" => String::new(),
            seen => format!("{seen}\n"),
        }
    }

    pub(super) fn was_drawn_on(&self) -> bool {
        self.0.lock().unwrap().touched
    }

    fn change(&self, change: impl FnOnce(&mut Cells)) -> io::Result<()> {
        change(&mut self.0.lock().unwrap());
        Ok(())
    }
}

impl Cells {
    fn put(&mut self, c: char) {
        self.touched = true;
        match c {
            '\r' => self.column = 0,
            '\n' => (self.row, self.column) = (self.row + 1, 0),
            _ => {
                if self.column == WIDTH {
                    (self.row, self.column) = (self.row + 1, 0);
                }
                let rows = self.rows.len().max(self.row + 1);
                self.rows.resize(rows, vec![' '; WIDTH]);
                self.rows[self.row][self.column] = c;
                self.column += 1;
            }
        }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        80
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.change(|cells| cells.row = cells.row.saturating_sub(n))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.change(|cells| cells.row += n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.change(|cells| cells.column += n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.change(|cells| cells.column = cells.column.saturating_sub(n))
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.write_str("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.change(|cells| text.chars().for_each(|c| cells.put(c)))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.change(|cells| {
            cells.column = 0;
            let row = cells.row;
            if let Some(row) = cells.rows.get_mut(row) {
                row.fill(' ');
            }
        })
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
