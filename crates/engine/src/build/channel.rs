//! Sends the messages of a kind as events to the loop. The lines on the way are bounded, so that the
//! output of a command is never collected in memory.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex};

use super::Message;
use crate::event::Event;
use crate::event::{Downloads, Located, Reporter};
use crate::process::Stream;
use zipwright_store::Printable;

/// Most bytes of lines on their way to the loop.
const MOST: usize = 4 << 20;

/// Bytes of a line besides its text, approximately.
const LINE: usize = 200;

const LOCK: &str = "BUG: no holder of this lock panics";

/// Counts the bytes of lines on their way, and lets the threads that send them wait.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: usize,
    /// Whether the loop has ended: no line waits any more.
    open: bool,
}

impl Gate {
    /// Waits until there is room for a line. A line that is longer than the whole room waits until it is
    /// the only one.
    fn enter(&self, line: &Printable) {
        let state = self.state.lock().expect(LOCK);
        let is_full = |state: &mut State| !state.open && state.bytes > 0 && state.bytes >= MOST;
        let mut state = self.changed.wait_while(state, is_full).expect(LOCK);
        state.bytes += line.as_str().len() + LINE;
    }

    fn leave(&self, line: &Printable) {
        let mut state = self.state.lock().expect(LOCK);
        state.bytes = state.bytes.saturating_sub(line.as_str().len() + LINE);
        self.changed.notify_all();
    }

    /// Makes room for the next lines. Call it for every event that the loop has received.
    pub(super) fn taken(&self, event: &Event) {
        if let Event::Line { text, .. } = event {
            self.leave(text);
        }
    }

    /// Lets every line through from the moment the result is dropped.
    pub(super) fn opener(self: &Arc<Self>) -> Opener {
        Opener(Arc::clone(self))
    }
}

pub(super) struct Opener(Arc<Gate>);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.state.lock().expect(LOCK).open = true;
        self.0.changed.notify_all();
    }
}

/// Sends the messages of a target to the loop.
#[derive(Clone)]
pub(super) struct Channel {
    target: String,
    sender: Sender<Message>,
    /// `None` on the loop's own thread, which would wait for itself.
    gate: Option<Arc<Gate>>,
}

impl Channel {
    pub(super) fn new(target: &str, sender: Sender<Message>, gate: Option<&Arc<Gate>>) -> Self {
        let gate = gate.cloned();
        Self { target: target.to_owned(), sender, gate }
    }

    fn send(&self, event: Event) {
        // The loop outlives every channel.
        let _ = self.sender.send(Message::Event(event));
    }
}

impl Reporter for Channel {
    fn line(&self, stream: Stream, text: Printable) {
        if let Some(gate) = &self.gate {
            gate.enter(&text);
        }
        self.send(Event::Line { target: self.target.clone(), stream, text });
    }

    fn warn(&self, text: &str) {
        self.send(Event::Warning { target: Some(self.target.clone()), text: text.to_owned() });
    }

    fn found(&self, found: Located) {
        self.send(Event::Found { target: self.target.clone(), found });
    }

    fn status(&self, text: &str) {
        self.send(Event::Status { target: self.target.clone(), text: text.to_owned() });
    }

    fn downloading(&self, downloads: Downloads) {
        self.send(Event::Downloading { target: self.target.clone(), downloads });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn lines_wait_for_the_reader_and_no_longer_than_there_is_one() {
        let (sender, receiver) = mpsc::channel();
        let gate = Arc::new(Gate::default());
        let line = "x".repeat(1 << 20);
        let mut on_the_way = 0;
        thread::scope(|scope| {
            let opener = gate.opener();
            let channel = Channel::new("a", sender, Some(&gate));
            scope.spawn(move || {
                (0..64).for_each(|_| channel.line(Stream::Stdout, line.as_str().into()));
            });
            for _ in 0..32 {
                let Ok(Message::Event(event)) = receiver.recv() else { panic!("a line") };
                on_the_way = on_the_way.max(gate.state.lock().unwrap().bytes);
                gate.taken(&event);
            }
            drop(opener);
        });
        assert!(on_the_way <= MOST + (1 << 20) + LINE, "{on_the_way}");
        assert_eq!(receiver.try_iter().count(), 32, "nothing is lost when the loop has ended");
    }
}
