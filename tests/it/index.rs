//! A package index on this machine, for tests.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

/// A package index on this machine.
pub(crate) struct Index {
    pub(crate) port: u16,
    pub(crate) heads: Arc<Mutex<Vec<String>>>,
}

/// The bytes of a response, head included.
type Reply = dyn Fn(&str, usize) -> Vec<u8> + Send + Sync;

impl Index {
    /// `reply` receives the head of a request and its number, from 1.
    pub(crate) fn new(reply: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (reply, kept): (Arc<Reply>, _) = (Arc::new(reply), heads.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (reply, kept) = (reply.clone(), kept.clone());
                thread::spawn(move || answer(&stream.unwrap(), &*reply, &kept));
            }
        });
        Self { port, heads }
    }

    /// Serves the files of a folder.
    pub(crate) fn of(folder: &Path) -> Self {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files: BTreeMap<String, Vec<u8>> = files
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read(&path).unwrap())
            })
            .collect();
        Self::new(move |head, _| match files.get(file_of(head)) {
            Some(bytes) => response("200 OK", bytes),
            None => response("404 Not Found", b""),
        })
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/files/{name}", self.port)
    }

    /// Returns the names of the files that were requested, sorted.
    pub(crate) fn requested(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let mut names: Vec<String> = heads.iter().map(|head| file_of(head).to_owned()).collect();
        names.sort();
        names
    }
}

pub(crate) fn file_of(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default().rsplit('/').next().unwrap_or_default()
}

pub(crate) fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Answers the requests of one connection; closes it after a response that is not complete.
fn answer(mut stream: &TcpStream, reply: &Reply, heads: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let number = {
            let mut heads = heads.lock().unwrap();
            heads.push(head.clone());
            heads.len()
        };
        let bytes = reply(&head, number);
        if stream.write_all(&bytes).is_err() || !is_complete(&bytes) {
            return;
        }
    }
}

fn is_complete(response: &[u8]) -> bool {
    let at = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&response[..at]).into_owned();
    let length = head.split("Content-Length: ").nth(1).unwrap().split('\r').next().unwrap();
    response.len() - at - 4 == length.parse::<usize>().unwrap()
}
