//! The part of HTTP/1.1 that the client of Lambda's Runtime API uses: requests with a body of a
//! given length or in chunks, and reuse of connections. Knows nothing of the requests' meaning.

use std::io::{self, BufRead, Error, ErrorKind, Read, Write};

/// Largest size of the headers in bytes: they have paths, types and, for errors, a trace of up to 1
/// MB.
const HEAD_MAX: u64 = 2 << 20;
/// Far above Lambda's limit of a response, so that a response above that limit is still read and
/// reported.
const BODY_MAX: usize = 64 << 20;

#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

/// Reads the next request of a connection; `None` if the client closed it. `continued` receives
/// `100 Continue` for a client that expects it.
pub(super) fn read(
    reader: &mut impl BufRead,
    continued: &mut impl Write,
) -> io::Result<Option<Request>> {
    let mut head = reader.take(HEAD_MAX);
    let Some(first) = line(&mut head)? else { return Ok(None) };
    let mut words = first.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(invalid("request line", &first));
    };
    let request = |body| Request { method: method.into(), path: path.into(), body };
    let (mut length, mut chunked, mut asks_first) = (0, false, false);
    loop {
        let header = line(&mut head)?.ok_or(ErrorKind::UnexpectedEof)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or_else(|| invalid("header", &header))?;
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("content-length", value) => {
                length = value.parse().map_err(|_| invalid("Content-Length", value))?;
            }
            ("transfer-encoding", value) => chunked = value.eq_ignore_ascii_case("chunked"),
            ("expect", _) => asks_first = true,
            _ => {}
        }
    }
    if asks_first {
        continued.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let body = if chunked { chunks(reader)? } else { exactly(reader, length)? };
    Ok(Some(request(body)))
}

/// Writes a response in one write: two would wait for each other's acknowledgement.
pub(super) fn write(
    writer: &mut impl Write,
    status: &str,
    headers: &[(&str, String)],
    body: &[u8],
) -> io::Result<()> {
    let mut text = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    writer.write_all(&[text.as_bytes(), body].concat())
}

/// Reads a line without its end; `None` at the end of the stream.
fn line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&line);
    let text = text.strip_suffix('\n').ok_or(ErrorKind::UnexpectedEof)?;
    Ok(Some(text.trim_end_matches('\r').to_owned()))
}

fn exactly(reader: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    if length > BODY_MAX {
        return Err(invalid("Content-Length", &length.to_string()));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(reader)?.ok_or(ErrorKind::UnexpectedEof)?;
        let digits = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).map_err(|_| invalid("chunk size", digits))?;
        if size == 0 {
            break;
        }
        body.extend(exactly(reader, size)?);
        if body.len() > BODY_MAX {
            return Err(invalid("body length", &body.len().to_string()));
        }
        line(reader)?;
    }
    // Trailers, up to an empty line.
    while line(reader)?.is_some_and(|line| !line.is_empty()) {}
    Ok(body)
}

fn invalid(what: &str, text: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("invalid {what} `{}`", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(text: &str) -> (Vec<Request>, String) {
        let (mut reader, mut continued) = (text.as_bytes(), Vec::new());
        let mut found = Vec::new();
        while let Some(request) = read(&mut reader, &mut continued).unwrap() {
            found.push(request);
        }
        (found, String::from_utf8(continued).unwrap())
    }

    fn request(method: &str, path: &str, body: &str) -> Request {
        Request { method: method.into(), path: path.into(), body: body.into() }
    }

    #[test]
    fn requests_follow_each_other_on_one_connection() {
        let (found, _) = requests(
            "GET /next HTTP/1.1\r\nHost: x\r\n\r\n\
             POST /a HTTP/1.1\r\ncontent-LENGTH: 3\r\n\r\nabc\
             POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nde\r\n1;x=y\r\nf\r\n0\r\nTrailer: t\r\n\r\n\
             GET /end HTTP/1.1\r\n\r\n",
        );
        let expected = [
            request("GET", "/next", ""),
            request("POST", "/a", "abc"),
            request("POST", "/b", "def"),
            request("GET", "/end", ""),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_client_that_asks_first_is_told_to_go_on() {
        let text = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx";
        let (found, continued) = requests(text);
        assert_eq!(found, [request("POST", "/", "x")]);
        assert_eq!(continued, "HTTP/1.1 100 Continue\r\n\r\n");
    }

    #[test]
    fn half_a_request_and_nonsense_are_errors() {
        for text in [
            "GET",
            "GET / HTTP/1.1\r\nHost: x\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert!(read(&mut text.as_bytes(), &mut Vec::new()).is_err(), "{text:?}");
        }
    }
}
