//! Downloads of many files at once over HTTP and HTTPS.
//!
//! Each file goes to a [`Sink`] as its bytes arrive. A download that breaks off is resumed, failures
//! that may pass are retried, redirects are followed, and proxies, certificates and credentials are
//! those of [`Settings`]. This crate knows neither wheels nor digests, and prints nothing.

mod connect;
mod credentials;
mod download;
mod page;
mod proxy;
#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;
mod url;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use connect::Connector;
use download::Transfer;

pub use credentials::Credentials;
pub use page::{Page, pages};
pub use proxy::Proxies;
pub use url::{Url, without_credentials};

/// Most downloads at a time.
const PARALLEL: usize = 16;

/// Shortest time between two reports of the progress.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// One file to download.
pub struct Download<'a> {
    pub url: &'a str,
    /// Bytes, if they are known beforehand: more than these are an error.
    pub size: Option<u64>,
    /// The `Accept` header of a document. With one, the bytes are as the server encodes them, and a
    /// download that breaks off begins again.
    pub accept: Option<&'a str>,
}

/// The head of a response whose body follows.
#[derive(Clone, Debug)]
pub struct Opened {
    /// After all redirects.
    url: Url,
    /// Without parameters, in lower case.
    media_type: String,
    encoding: Option<String>,
}

/// Takes the bytes of one download.
pub trait Sink {
    /// Takes the head of the response whose bytes follow.
    fn begin(&mut self, _opened: Opened) {}
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Drops all bytes that were written: the download begins again.
    fn restart(&mut self) -> io::Result<()>;
}

/// How files are downloaded.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub proxies: Proxies,
    pub credentials: Credentials,
    /// A file of certificates in PEM that replaces those of the system.
    pub certificates: Option<PathBuf>,
    pub timing: Timing,
}

#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Longest time without a byte, and to connect.
    pub timeout: Duration,
    /// Most attempts in a row without a new byte.
    pub attempts: u32,
    /// Pause after the first failed attempt; it doubles with each.
    pub pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let (timeout, pause) = (Duration::from_secs(30), Duration::from_millis(250));
        Self { timeout, attempts: 5, pause }
    }
}

/// Why a file was not downloaded. Its text has no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Something that this client cannot do, such as an unusual kind of proxy.
    Unsupported(String),
    /// The server wants credentials, or others.
    Unauthorized(String),
    /// The server has no such file.
    Missing(String),
    /// The server leads nowhere, or refuses, and no other attempt will change it.
    Refused(String),
    /// The file does not have the size that it should have.
    OtherSize(String),
    /// No attempt worked, each for a reason that may pass.
    Passing(String),
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unsupported(text)
        | Self::Unauthorized(text)
        | Self::Missing(text)
        | Self::Refused(text)
        | Self::OtherSize(text)
        | Self::Passing(text)
        | Self::Other(text)) = self;
        f.write_str(text)
    }
}

/// The state of all downloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub files: usize,
    pub done: usize,
    pub bytes: u64,
    /// `None` if the size of a file is not known beforehand.
    pub size: Option<u64>,
    /// Index of the running download that has most bytes left.
    pub slowest: Option<usize>,
}

/// Downloads all files, at most 16 at a time, the largest first. Returns one result for each, in
/// their order. `report` receives the progress about ten times a second, and stops all downloads if it
/// returns `false`.
pub fn fetch<S: Sink>(
    files: &mut [(Download, S)],
    settings: &Settings,
    report: &dyn Fn(&Progress) -> bool,
) -> Vec<Result<(), Failure>> {
    let count = files.len();
    let fail_all = |text: String| vec![Err(Failure::Other(text)); count];
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail_all(format!("could not start a runtime: {error}")),
    };
    let connector = Connector::new(settings);
    let board = Board::new(files.iter().map(|(file, _)| file.size).collect(), report);
    runtime.block_on(all(files, settings, &connector, &board))
}

async fn all<S: Sink>(
    files: &mut [(Download<'_>, S)],
    settings: &Settings,
    connector: &Connector,
    board: &Board<'_>,
) -> Vec<Result<(), Failure>> {
    let mut results = vec![Err(Failure::Other("stopped".into())); files.len()];
    let mut ordered: Vec<_> = files.iter_mut().enumerate().collect();
    ordered.sort_by_key(|(_, (file, _))| std::cmp::Reverse(file.size));
    let transfers = ordered.into_iter().map(|(at, (file, sink))| async move {
        let progress = |bytes| board.set(at, bytes);
        let mut transfer = Transfer { file, sink, settings, connector, progress: &progress };
        (at, transfer.run().await)
    });
    let mut running = futures_util::stream::iter(transfers).buffer_unordered(PARALLEL);
    loop {
        match tokio::time::timeout(REPORT_EVERY, running.next()).await {
            Ok(Some((at, result))) => {
                board.finish(at);
                results[at] = result;
            }
            Ok(None) => {
                board.report(true);
                return results;
            }
            Err(_) => {}
        }
        if !board.report(false) {
            return results;
        }
    }
}

/// The bytes of all downloads.
struct Board<'a> {
    state: RefCell<State>,
    report: &'a dyn Fn(&Progress) -> bool,
}

struct State {
    sizes: Vec<Option<u64>>,
    bytes: Vec<u64>,
    done: Vec<bool>,
    last: Option<Instant>,
}

impl<'a> Board<'a> {
    fn new(sizes: Vec<Option<u64>>, report: &'a dyn Fn(&Progress) -> bool) -> Self {
        let (bytes, done) = (vec![0; sizes.len()], vec![false; sizes.len()]);
        Self { state: RefCell::new(State { sizes, bytes, done, last: None }), report }
    }

    fn set(&self, at: usize, bytes: u64) {
        self.state.borrow_mut().bytes[at] = bytes;
    }

    fn finish(&self, at: usize) {
        self.state.borrow_mut().done[at] = true;
    }

    /// Reports, unless the last report is recent and there is another one to come. Returns `false` if
    /// the downloads are to stop.
    fn report(&self, is_last: bool) -> bool {
        let mut state = self.state.borrow_mut();
        if !is_last && state.last.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
            return true;
        }
        state.last = Some(Instant::now());
        let left = |at: usize| state.sizes[at].unwrap_or(0).saturating_sub(state.bytes[at]);
        let running = (0..state.done.len()).filter(|at| !state.done[*at] && state.bytes[*at] > 0);
        let progress = Progress {
            files: state.done.len(),
            done: state.done.iter().filter(|done| **done).count(),
            bytes: state.bytes.iter().sum(),
            size: state.sizes.iter().copied().sum(),
            slowest: running.max_by_key(|at| left(*at)),
        };
        drop(state);
        (self.report)(&progress)
    }
}
