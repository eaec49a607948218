//! A stand-in for Lambda that sends scripted responses in order, and records the requests: for
//! features that no emulator has on demand.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::server::{content_length, listen, read_head};

/// One response: status, header lines, body.
#[derive(Clone)]
pub(crate) struct Answer(u16, String, Vec<u8>);

impl Answer {
    fn is_about_storage(&self) -> bool {
        self.1.contains("AccessDenied") || String::from_utf8_lossy(&self.2).contains("\"Code\"")
    }
}

pub(crate) fn answer(body: &Value) -> Answer {
    Answer(200, String::new(), body.to_string().into())
}

/// Returns a function's response, with the end of its log.
pub(crate) fn invoked(status: u16, version: &str, body: &Value, log: &str) -> Answer {
    let log = BASE64_STANDARD.encode(log);
    let headers = format!("X-Amz-Executed-Version: {version}\r\nX-Amz-Log-Result: {log}\r\n");
    Answer(status, headers, body.to_string().into())
}

pub(crate) fn failure(status: u16, kind: &'static str, message: &str) -> Answer {
    let body = json!({"Message": message}).to_string();
    Answer(status, format!("x-amzn-errortype: {kind}\r\n"), body.into())
}

/// Returns a response that is not from Lambda.
pub(crate) fn plain(status: u16, text: &str) -> Answer {
    Answer(status, String::new(), text.into())
}

/// Returns the same response with one more line in its head.
pub(crate) fn with_header(line: &str, Answer(status, headers, body): &Answer) -> Answer {
    Answer(*status, format!("{headers}{line}\r\n"), body.clone())
}

pub(crate) fn bytes(status: u16, body: &[u8]) -> Answer {
    Answer(status, String::new(), body.to_vec())
}

/// A running server. It lives as long as the test process.
pub(crate) struct Script {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A client's request.
struct Asked {
    /// Method and path.
    what: String,
    /// All lines of the head.
    head: String,
    body: String,
}

impl Script {
    pub(crate) fn new(answers: Vec<Answer>) -> Self {
        Self::watching(answers, |_, _| {})
    }

    /// Starts a server that calls `watch` with each request and its connection before the response.
    pub(crate) fn watching(
        answers: Vec<Answer>,
        watch: impl Fn(&str, &TcpStream) + Send + 'static,
    ) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        // One request after the other, in the order of the responses.
        let script = Mutex::new((answers.into_iter().peekable(), watch));
        let port = listen(move |stream| {
            let Some(request) = read(stream) else { return };
            // The response to a permission check: the function changed meanwhile.
            if request.body.contains("\"DryRun\":true") {
                return say(stream, &failure(412, "PreconditionFailedException", "as asked"));
            }
            let (answers, watch) = &mut *script.lock().unwrap();
            // The response to the question of how code is stored: as usual, if the script has none.
            let looks = request.what.starts_with("GET /2015-03-31/functions/")
                && request.what.split('/').count() == 4;
            if looks && !answers.peek().is_some_and(Answer::is_about_storage) {
                return say(stream, &answer(&json!({"Code": {}})));
            }
            watch(&request.what, stream);
            seen.lock().unwrap().push(request);
            // No client sends this request again.
            let spent = failure(400, "InvalidRequestException", "the script is at its end");
            say(stream, &answers.next().unwrap_or(spent));
        });
        Self { port, asked }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns method and path of all requests.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.what.clone()).collect()
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.head.clone()).collect()
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.body.clone()).collect()
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let head = read_head(&mut reader)?;
    let what = head.lines().next()?.rsplit_once(' ')?.0.to_owned();
    let mut body = vec![0; content_length(&head)];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { what, head, body: String::from_utf8_lossy(&body).into_owned() })
}

fn say(mut stream: &TcpStream, Answer(status, headers, body): &Answer) {
    let head = format!(
        "HTTP/1.1 {status} Said\r\n{headers}Content-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    // A client that disconnected already has its response.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}
