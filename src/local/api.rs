//! Lambda's Runtime API on loopback, for one client, which requests the next call, waits for it,
//! and posts its result. Connections of other users are closed unread. Every connection has its own
//! thread; events are sent to one channel. Knows nothing of programs and time limits.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::io::{self, BufReader, PipeReader, PipeWriter, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

use super::http::{self, Request};
use super::peer;

const ROOT: &str = "/2018-06-01/runtime/";
/// Capacity of the channel of events. A full channel blocks the senders.
const WAITING: usize = 256;
const LOCK: &str = "BUG: no holder of this lock panics";

/// An event of a client or its program.
#[derive(Debug)]
pub(super) enum Event {
    /// The client is ready for a call.
    Ready,
    Response {
        id: String,
        body: Vec<u8>,
    },
    Failed {
        id: String,
        body: Vec<u8>,
    },
    /// The handler could not be loaded.
    InitFailed(Vec<u8>),
    Ended,
}

/// Sends events. Their receiver waits for output of the program too, so a byte in a pipe wakes it.
#[derive(Clone)]
pub(super) struct Sender {
    events: SyncSender<Event>,
    wake: Arc<PipeWriter>,
}

impl Sender {
    /// Returns a sender, the receiver, and the pipe with at least a byte for each event.
    pub(super) fn new() -> io::Result<(Self, Receiver<Event>, PipeReader)> {
        let (events, receiver) = mpsc::sync_channel(WAITING);
        let (woken, wake) = io::pipe()?;
        Ok((Self { events, wake: Arc::new(wake) }, receiver, woken))
    }

    /// Returns whether there is still a receiver.
    pub(super) fn send(&self, event: Event) -> bool {
        self.events.send(event).is_ok() && (&*self.wake).write_all(&[0]).is_ok()
    }
}

/// One call for the client.
pub(super) struct Call {
    pub(super) id: String,
    pub(super) arn: String,
    /// Milliseconds since 1970.
    pub(super) deadline: u128,
    pub(super) payload: Vec<u8>,
}

/// A running server. Dropping it ends all its threads.
pub(super) struct Server {
    address: SocketAddr,
    calls: Option<mpsc::Sender<Call>>,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    calls: Mutex<Receiver<Call>>,
    events: Sender,
    stopping: AtomicBool,
    connections: Mutex<Vec<(TcpStream, JoinHandle<()>)>>,
}

impl Server {
    pub(super) fn start(events: Sender) -> Result<Self> {
        peer::check()?;
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not listen on 127.0.0.1")?;
        let address = listener.local_addr().context("could not listen on 127.0.0.1")?;
        let (calls, waiting) = mpsc::channel();
        let shared = Arc::new(Shared {
            calls: Mutex::new(waiting),
            events,
            stopping: AtomicBool::new(false),
            connections: Mutex::new(Vec::new()),
        });
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Ok(Self { address, calls: Some(calls), shared, accepting: Some(accepting) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends the client a call. The client must have requested one.
    pub(super) fn hand(&self, call: Call) {
        // If it is not received, the client is gone, which is an event of its own.
        let _ = self.calls.as_ref().map(|calls| calls.send(call));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Ends the thread that waits for a call.
        drop(self.calls.take());
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        let connections = std::mem::take(&mut *self.shared.connections.lock().expect(LOCK));
        for (stream, thread) in connections {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().flatten() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(ours) = stream.try_clone() else { continue };
        let thread = thread::spawn({
            let shared = Arc::clone(shared);
            move || {
                // A broken connection means that the client ended, which is noticed elsewhere.
                let _ = serve(&stream, &shared);
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        shared.connections.lock().expect(LOCK).push((ours, thread));
    }
}

fn serve(mut stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if !peer::is_own_user(stream.peer_addr()?, stream.local_addr()?)? {
        return Ok(());
    }
    let mut reader = BufReader::new(stream);
    while let Some(request) = http::read(&mut reader, &mut stream)? {
        let tell = |event| shared.events.send(event);
        let Request { method, path, body } = request;
        let parts: Vec<&str> = path.strip_prefix(ROOT).unwrap_or_default().split('/').collect();
        let heard = match (method.as_str(), parts.as_slice()) {
            ("GET", ["invocation", "next"]) => {
                if !tell(Event::Ready) {
                    return Ok(());
                }
                let Ok(call) = shared.calls.lock().expect(LOCK).recv() else { return Ok(()) };
                answer(&mut stream, &call)?;
                continue;
            }
            ("POST", ["invocation", id, "response"]) => {
                tell(Event::Response { id: (*id).into(), body })
            }
            ("POST", ["invocation", id, "error"]) => tell(Event::Failed { id: (*id).into(), body }),
            ("POST", ["init", "error"]) => tell(Event::InitFailed(body)),
            _ => {
                http::write(&mut stream, "404 Not Found", &[], b"{}")?;
                continue;
            }
        };
        if !heard {
            return Ok(());
        }
        http::write(&mut stream, "202 Accepted", &[], br#"{"status":"OK"}"#)?;
    }
    Ok(())
}

fn answer(stream: &mut &TcpStream, call: &Call) -> io::Result<()> {
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", call.id.clone()),
        ("Lambda-Runtime-Invoked-Function-Arn", call.arn.clone()),
        ("Lambda-Runtime-Deadline-Ms", call.deadline.to_string()),
    ];
    http::write(stream, "200 OK", &headers, &call.payload)
}
