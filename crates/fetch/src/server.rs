//! An HTTP server on this machine, for tests: of this crate, and of the program.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Listens on a free port, with a thread for each connection; returns the port.
pub(crate) fn listen(serve: impl Fn(&TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(&stream));
        }
    });
    port
}

/// Reads the head of a request or response, with the empty line at its end; `None` if the connection
/// ends before.
pub(crate) fn read_head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).ok().filter(|length| *length > 0)?;
    }
    Some(head)
}

/// Returns the number of bytes that follow a head.
pub(crate) fn content_length(head: &str) -> usize {
    let lines = head.lines().map(str::to_ascii_lowercase);
    let mut values =
        lines.filter_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    values.next().unwrap_or(0)
}

/// A server whose responses follow from the requests; it lives as long as the test process.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// The heads of all requests so far.
    pub(crate) heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `reply` receives the head of a request and its number, from 1, and returns the bytes of the
    /// response. After a response that is not complete, the connection is closed.
    pub(crate) fn new(reply: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&heads);
        let port = listen(move |mut stream| {
            let mut reader = BufReader::new(stream);
            while let Some(head) = read_head(&mut reader) {
                let number = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(head.clone());
                    kept.len()
                };
                let bytes = reply(&head, number);
                if stream.write_all(&bytes).is_err() || !is_complete(&bytes) {
                    return;
                }
            }
        });
        Self { port, heads }
    }
}

pub(crate) fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn is_complete(response: &[u8]) -> bool {
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    response.len() - end == content_length(&String::from_utf8_lossy(&response[..end]))
}
