//! A proxy on loopback in front of an emulator, with failures at given requests. All other requests
//! are passed on unchanged, so the emulator's state is real.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server;

/// Method of a request that only checks the permission to update a function: it is not in the list
/// of requests, and rules for updates do not apply to it.
pub(crate) const DRY_RUN: &str = "DRY RUN";

/// A failure of one request.
pub(crate) enum Fault {
    /// The proxy responds instead: status, kind of error, further header lines.
    Refuse(u16, &'static str, &'static str),
    /// The connection is reset after a part of the request.
    ResetMidRequest,
    /// The request arrives, and the response is lost.
    LoseAnswer,
    /// The request arrives, and the connection breaks off in the middle of the response.
    CutAnswer,
    /// The response takes this long.
    Slow(Duration),
    /// The response is changed.
    Rewrite(fn(&mut Value)),
    /// A callback runs before the request is passed on.
    First(Box<dyn FnOnce() + Send>),
}

/// A fault and its request: the first whose method and path contain this text.
pub(crate) type Rule = (&'static str, Fault);

pub(crate) struct Proxy {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    rules: Arc<Mutex<Vec<Rule>>>,
}

struct Request {
    /// Method and path.
    what: String,
    head: String,
    length: usize,
    body: Vec<u8>,
}

impl Proxy {
    /// Starts a proxy in front of `endpoint`. Each rule applies once; if several match a request,
    /// the first.
    pub(crate) fn new(endpoint: &str, rules: Vec<Rule>) -> Self {
        let upstream: u16 = endpoint.rsplit_once(':').unwrap().1.parse().unwrap();
        let (seen, rules) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(rules)));
        let (all, waiting) = (Arc::clone(&seen), Arc::clone(&rules));
        let port = server::listen(move |stream| _ = serve(stream, upstream, &all, &waiting));
        Self { port, seen, rules }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the heads of all received requests, in order.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns how many requests had this in method and path.
    pub(crate) fn count(&self, what: &str) -> usize {
        let first_line = |head: &String| head.lines().next().unwrap_or_default().to_owned();
        self.heads().iter().filter(|head| first_line(head).contains(what)).count()
    }

    /// Returns whether every fault has happened.
    pub(crate) fn is_through(&self) -> bool {
        self.rules.lock().unwrap().is_empty()
    }
}

fn serve(
    stream: &TcpStream,
    upstream: u16,
    seen: &Mutex<Vec<String>>,
    rules: &Mutex<Vec<Rule>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut request = read_head(&mut reader)?;
    if is_dry_run(&mut request, &mut reader)? {
        request.what = request.what.replace("PUT", DRY_RUN);
    } else {
        seen.lock().unwrap().push(request.head.clone());
    }
    let fault = {
        let mut rules = rules.lock().unwrap();
        let at = rules.iter().position(|(what, _)| request.what.contains(what));
        at.map(|at| rules.remove(at).1)
    };
    if matches!(fault, Some(Fault::ResetMidRequest)) {
        // Closing a socket with unread data resets the connection.
        let mut part = vec![0; request.length / 3];
        return reader.read_exact(&mut part).ok();
    }
    read_body(&mut request, &mut reader)?;
    match fault {
        None => say(stream, &ask(upstream, &request)?),
        Some(Fault::Refuse(status, kind, headers)) => {
            let body = json!({"Message": format!("the test says {kind}")}).to_string();
            let head = format!(
                "HTTP/1.1 {status} Said\r\nx-amzn-errortype: {kind}\r\n{headers}Content-Length: \
                 {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            say(stream, format!("{head}{body}").as_bytes())
        }
        Some(Fault::LoseAnswer) => ask(upstream, &request).map(drop),
        Some(Fault::CutAnswer) => {
            let answer = ask(upstream, &request)?;
            say(stream, &answer[..answer.len() - 20])
        }
        Some(Fault::Slow(time)) => {
            let answer = ask(upstream, &request)?;
            thread::sleep(time);
            say(stream, &answer)
        }
        Some(Fault::Rewrite(change)) => {
            let answer = ask(upstream, &request)?;
            say(stream, &rewritten(&answer, change)?)
        }
        Some(Fault::First(happen)) => {
            happen();
            say(stream, &ask(upstream, &request)?)
        }
        Some(Fault::ResetMidRequest) => unreachable!("it was dealt with"),
    }
}

/// Returns whether a request only checks the permission to update a function. Such a request has no
/// code, so it is short.
fn is_dry_run(request: &mut Request, reader: &mut impl Read) -> Option<bool> {
    if !request.what.ends_with("/code") || request.length > 200 {
        return Some(false);
    }
    read_body(request, reader)?;
    Some(String::from_utf8_lossy(&request.body).contains("\"DryRun\":true"))
}

fn read_body(request: &mut Request, reader: &mut impl Read) -> Option<()> {
    if request.body.is_empty() {
        request.body = vec![0; request.length];
        reader.read_exact(&mut request.body).ok()?;
    }
    Some(())
}

fn read_head(reader: &mut impl BufRead) -> Option<Request> {
    let head = server::read_head(reader)?;
    let what = head.lines().next()?.rsplit_once(' ')?.0.to_owned();
    Some(Request { what, length: server::content_length(&head), head, body: Vec::new() })
}

/// Returns the emulator's response, with its head.
fn ask(upstream: u16, request: &Request) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let kept = request.head.lines().filter(|line| {
        let line = line.to_ascii_lowercase();
        !line.is_empty() && !line.starts_with("connection:") && !line.starts_with("expect:")
    });
    let head: Vec<&str> = kept.collect();
    let head = format!("{}\r\nConnection: close\r\n\r\n", head.join("\r\n"));
    stream.write_all(&[head.as_bytes(), &request.body].concat()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(answer)
}

fn rewritten(answer: &[u8], change: fn(&mut Value)) -> Option<Vec<u8>> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let mut body: Value = serde_json::from_slice(&answer[end + 4..]).ok()?;
    change(&mut body);
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    Some(format!("{head}{body}").into_bytes())
}

fn say(mut stream: &TcpStream, answer: &[u8]) -> Option<()> {
    stream.write_all(answer).ok()
}
