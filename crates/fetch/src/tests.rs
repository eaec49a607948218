//! Downloads from servers on this machine that break off, refuse, redirect, and stand behind proxies.

use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::server::{Server, response};
use super::*;

fn answer(status: &str, body: &str) -> Vec<u8> {
    response(status, body.as_bytes())
}

/// Returns a response with only `sent` bytes of its body, after which the connection is closed.
fn broken(status: &str, body: &str, sent: usize) -> Vec<u8> {
    let mut bytes = answer(status, body);
    bytes.truncate(bytes.len() - body.len() + sent);
    bytes
}

impl Server {
    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Returns the heads of all requests, in lower case.
    fn requests(&self) -> Vec<String> {
        self.heads.lock().unwrap().iter().map(|head| head.to_ascii_lowercase()).collect()
    }
}

#[derive(Default)]
struct Bytes(Vec<u8>);

impl Sink for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend(bytes);
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }
}

fn settings() -> Settings {
    let pause = Duration::from_millis(1);
    let timing = Timing { timeout: Duration::from_secs(5), attempts: 3, pause };
    Settings { timing, ..Settings::default() }
}

fn get_with(url: &str, size: Option<u64>, settings: &Settings) -> Result<String, String> {
    let mut files = [(Download { url, size, accept: None }, Bytes::default())];
    let results = fetch(&mut files, settings, &|_| true);
    match &results[0] {
        Ok(()) => Ok(String::from_utf8(files[0].1.0.clone()).unwrap()),
        Err(failure) => Err(failure.to_string()),
    }
}

fn get(url: &str) -> Result<String, String> {
    get_with(url, None, &settings())
}

#[test]
fn many_files_come_at_once_over_few_connections() {
    let server = Server::new(|head, _| answer("200 OK", head.split(' ').nth(1).unwrap()));
    let urls: Vec<String> = (0..100).map(|number| server.url(&format!("/file-{number}"))).collect();
    let mut files: Vec<(Download, Bytes)> = urls
        .iter()
        .map(|url| (Download { url, size: None, accept: None }, Bytes::default()))
        .collect();
    let last = Mutex::new(Progress::default());
    let results = fetch(&mut files, &settings(), &|progress| {
        *last.lock().unwrap() = *progress;
        true
    });
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    for (number, (_, bytes)) in files.iter().enumerate() {
        assert_eq!(String::from_utf8_lossy(&bytes.0), format!("/file-{number}"));
    }
    assert_eq!(last.lock().unwrap().files, 100);
}

#[test]
fn a_download_that_breaks_off_is_resumed() {
    let body = "0123456789";
    let server = Server::new(move |_, number| match number {
        1 => broken("200 OK\r\nETag: \"one\"", body, 4),
        2 => broken("206 Partial Content\r\nContent-Range: bytes 4-9/10", &body[4..], 2),
        _ => answer("206 Partial Content\r\nContent-Range: bytes 6-9/10", &body[6..]),
    });
    assert_eq!(get(&server.url("/a")).as_deref(), Ok(body));
    let requests = server.requests();
    assert!(!requests[0].contains("range:"), "{}", requests[0]);
    assert!(requests[1].contains("range: bytes=4-\r\nif-range: \"one\"\r\n"), "{}", requests[1]);
    assert!(requests[2].contains("range: bytes=6-\r\n"), "{}", requests[2]);
}

#[test]
fn a_file_that_changed_meanwhile_begins_again() {
    let server = Server::new(|_, number| match number {
        1 => broken("200 OK", "old old old", 4),
        // Servers that know no ranges send the whole file.
        2 => broken("200 OK", "new", 2),
        3 => answer("416 Range Not Satisfiable", ""),
        _ => answer("200 OK", "newer"),
    });
    let mut settings = settings();
    settings.timing.attempts = 4;
    assert_eq!(get_with(&server.url("/a"), None, &settings).as_deref(), Ok("newer"));
    assert!(!server.requests()[3].contains("range:"));
}

#[test]
fn failures_that_may_pass_are_retried_and_others_are_not() {
    let server = Server::new(|head, number| match (head.split(' ').nth(1).unwrap(), number) {
        ("/busy", 1) => answer("503 Service Unavailable\r\nRetry-After: 0", ""),
        ("/busy", 2) => answer("429 Too Many Requests", ""),
        ("/busy", _) => answer("200 OK", "done"),
        ("/gone", _) => answer("404 Not Found", ""),
        _ => answer("502 Bad Gateway", ""),
    });
    assert_eq!(get(&server.url("/busy")).as_deref(), Ok("done"));
    assert_eq!(get(&server.url("/gone")), Err(format!("{}: 404 Not Found", server.url("/gone"))));
    let down = get(&server.url("/down")).unwrap_err();
    assert_eq!(down, format!("{}: 502 Bad Gateway, 3 times in a row", server.url("/down")));
    assert_eq!(server.requests().len(), 3 + 1 + 3);
}

#[test]
fn a_file_has_the_size_that_it_should_have() {
    let server = Server::new(|_, _| answer("200 OK", "12345"));
    let url = server.url("/a");
    assert_eq!(get_with(&url, Some(5), &settings()).as_deref(), Ok("12345"));
    let error = get_with(&url, Some(4), &settings()).unwrap_err();
    assert!(error.ends_with("has more than the 4 bytes that it should have"), "{error}");
    let error = get_with(&url, Some(6), &settings()).unwrap_err();
    assert!(error.ends_with("has 5 bytes instead of 6"), "{error}");
}

#[test]
fn credentials_go_to_their_own_server_alone() {
    let other = Server::new(|_, _| answer("200 OK", "file"));
    let location = other.url("/file");
    let server = Server::new(move |head, _| {
        // `me:secret`
        match head.to_ascii_lowercase().contains("authorization: basic bwu6c2vjcmv0") {
            true => answer(&format!("302 Found\r\nLocation: {location}"), ""),
            false => answer("401 Unauthorized", ""),
        }
    });
    let error = get(&server.url("/a")).unwrap_err();
    assert!(error.ends_with("wants credentials (401 Unauthorized)"), "{error}");
    let mut settings = settings();
    settings.credentials.add_index(&format!("http://me:secret@127.0.0.1:{}/simple", server.port));
    assert_eq!(get_with(&server.url("/a"), None, &settings).as_deref(), Ok("file"));
    assert!(!other.requests()[0].contains("authorization"), "{:?}", other.requests());
    let in_url = format!("http://me:wrong@127.0.0.1:{}/a", server.port);
    let error = get_with(&in_url, None, &super::tests::settings()).unwrap_err();
    assert!(!error.contains("wrong"), "{error}");
}

#[test]
fn plain_http_goes_through_the_proxy() {
    let proxy = Server::new(|_, _| answer("200 OK", "by proxy"));
    let http = Some(format!("http://me:secret@127.0.0.1:{}", proxy.port));
    let proxies = Proxies { http, no_proxy: Some("127.0.0.1".into()), ..Proxies::default() };
    let settings = Settings { proxies, ..settings() };
    assert_eq!(get_with("http://files.example/a?b", None, &settings).as_deref(), Ok("by proxy"));
    let request = &proxy.requests()[0];
    assert!(request.starts_with("get http://files.example/a?b http/1.1\r\n"), "{request}");
    assert!(request.contains("proxy-authorization: basic bwu6c2vjcmv0"), "{request}");
    let direct = Server::new(|_, _| answer("200 OK", "direct"));
    assert_eq!(get_with(&direct.url("/"), None, &settings).as_deref(), Ok("direct"));
}

#[test]
fn https_goes_through_a_tunnel_of_the_proxy() {
    let proxy = Server::new(|head, _| match head.starts_with("CONNECT files.example:443 ") {
        true => answer("407 Proxy Authentication Required", ""),
        false => answer("400 Bad Request", ""),
    });
    let https = Some(format!("http://127.0.0.1:{}", proxy.port));
    let settings = Settings { proxies: Proxies { https, ..Proxies::default() }, ..settings() };
    let error = get_with("https://files.example/a", None, &settings).unwrap_err();
    assert!(error.ends_with("wants other credentials"), "{error}");
}

#[test]
fn downloads_stop_when_they_are_told_to() {
    let server = Server::new(|_, _| {
        thread::sleep(Duration::from_secs(60));
        answer("200 OK", "")
    });
    let url = server.url("/a");
    let mut files = [(Download { url: &url, size: None, accept: None }, Bytes::default())];
    let results = fetch(&mut files, &settings(), &|_| false);
    assert_eq!(results, [Err(Failure::Other("stopped".into()))]);
}

#[test]
fn other_schemes_and_hosts_that_do_not_answer_are_named() {
    assert_eq!(get("ftp://h/a"), Err("`ftp://h/a` is neither of `http` nor `https`".into()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = get(&format!("http://127.0.0.1:{port}/a")).unwrap_err();
    assert!(error.starts_with(&format!("could not connect to 127.0.0.1:{port}: ")), "{error}");
}

#[test]
fn pages_are_unpacked_and_their_links_are_joined() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"<a href=f>").unwrap();
    let packed = packed.finish().unwrap();
    let server = Server::new(move |head, _| match head.split(' ').nth(1) {
        Some("/simple/a") => answer("301 Moved\r\nLocation: /simple/a/", ""),
        Some("/simple/a/") => {
            let length = packed.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: Text/HTML; charset=utf-8\r\n\
                 Content-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
            );
            [head.as_bytes(), &packed].concat()
        }
        _ => answer("404 Not Found", ""),
    });
    let urls = ["/simple/a", "/simple/b"].map(|path| server.url(path));
    let got = pages(&urls, "text/html", &settings(), &|_| true);
    let page = got[0].as_ref().unwrap();
    assert_eq!((page.media_type.as_str(), page.body.as_slice()), ("text/html", &b"<a href=f>"[..]));
    assert_eq!(page.join(None, "../f?x").unwrap(), server.url("/simple/f?x"));
    assert_eq!(page.join(Some("https://me:pw@h/x/"), "f").unwrap(), "https://h/x/f");
    assert!(matches!(got[1], Err(Failure::Missing(_))), "{:?}", got[1]);
    assert!(server.requests()[0].contains("accept: text/html\r\naccept-encoding: gzip"));
}
