//! When a service is ready for the targets that come after it.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::{End, describe};
use crate::signals;

/// Time limit for a service to become ready.
const LIMIT: Duration = Duration::from_secs(60);

/// Time limit of one connection.
const CONNECTION: Duration = Duration::from_secs(2);

/// Interval between two attempts.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[derive(Clone, Debug, PartialEq)]
pub enum Ready {
    /// As soon as it was started.
    AtOnce,
    /// A program listens on this port of this machine.
    Tcp(u16),
    /// A request is answered with a status below 400.
    Http(Url),
    /// It has run for so long.
    After(Duration),
}

/// An address of the form `http://HOST[:PORT][/PATH]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Url {
    text: String,
    host: String,
    port: u16,
    path: String,
}

impl Url {
    /// Returns `None` if the text is not of that form.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let (place, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
            None => (place, 80),
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '@';
        if host.is_empty() || text.contains(odd) {
            return None;
        }
        let (host, path) = (host.to_owned(), path.to_owned());
        Some(Self { text: text.to_owned(), host, port, path })
    }

    fn answers(&self) -> bool {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}:{}\r\nConnection: close\r\n\r\n",
            self.path, self.host, self.port
        );
        let host = self.host.trim_matches(['[', ']']);
        let Ok(addresses) = (host, self.port).to_socket_addrs() else { return false };
        let mut streams = addresses.filter_map(connect);
        let Some(mut stream) = streams.next() else { return false };
        let mut line = String::new();
        let answered = stream
            .set_read_timeout(Some(CONNECTION))
            .and_then(|()| stream.write_all(request.as_bytes()))
            .and_then(|()| BufReader::new(stream).read_line(&mut line));
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
        let status = status.and_then(|status| status.trim().parse::<u16>().ok());
        answered.is_ok() && status.is_some_and(|status| (200..400).contains(&status))
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtOnce => f.write_str("at once"),
            Self::Tcp(port) => write!(f, "tcp {port}"),
            Self::Http(url) => f.write_str(&url.text),
            Self::After(time) => write!(f, "after {} s", time.as_secs_f64()),
        }
    }
}

impl Ready {
    /// Fails if another program listens on the service's port: it would be taken for the service.
    pub(super) fn check_free(&self) -> Result<()> {
        let port = match self {
            Self::Tcp(port) => *port,
            Self::Http(url) if ["127.0.0.1", "localhost", "[::1]"].contains(&&*url.host) => {
                url.port
            }
            Self::Http(_) | Self::AtOnce | Self::After(_) => return Ok(()),
        };
        if listens(port) {
            bail!(
                "port {port} is in use by another program: end that program, or give the service \
                 another port"
            );
        }
        Ok(())
    }

    /// Waits until the service is ready. Fails if it ends before, and after the time limit.
    pub(super) fn wait(&self, end: &End) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = end.status() {
                let how = status.map_or_else(|| "an unknown status".into(), describe);
                bail!("the service ended with {how} before it was ready");
            }
            let is_ready = match self {
                Self::AtOnce => true,
                Self::Tcp(port) => listens(*port),
                Self::Http(url) => url.answers(),
                Self::After(time) => started.elapsed() >= *time,
            };
            if is_ready {
                return Ok(());
            }
            if signals::is_ending() {
                bail!("interrupted before the service was ready");
            }
            if started.elapsed() > LIMIT && !matches!(self, Self::After(_)) {
                let limit = LIMIT.as_secs();
                bail!("the service is not ready after {limit} s: it does not answer on {self}");
            }
            end.wait(LOOK_AGAIN);
        }
    }
}

fn listens(port: u16) -> bool {
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    [v4, v6].into_iter().any(|address| connect(address).is_some())
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    TcpStream::connect_timeout(&address, CONNECTION).ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn urls_have_a_host_and_perhaps_a_port_and_a_path() {
        let parts = |text: &str| Url::parse(text).map(|url| (url.host, url.port, url.path));
        let url = |host: &str, port, path: &str| Some((host.to_owned(), port, path.to_owned()));
        assert_eq!(parts("http://127.0.0.1:4000/a?b"), url("127.0.0.1", 4000, "/a?b"));
        assert_eq!(parts("http://localhost"), url("localhost", 80, "/"));
        for text in ["https://a/", "http://", "http://:1/", "http://a:x/", "http://a b/", "a:80"] {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn a_request_has_to_be_answered_well() {
        for (status, expected) in [("200 OK", true), ("302 Found", true), ("503 Busy", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                write!(stream, "HTTP/1.1 {status}\r\n\r\n").unwrap();
            });
            let url = Url::parse(&format!("http://{address}/")).unwrap();
            assert_eq!(url.answers(), expected, "{status}");
            server.join().unwrap();
            assert!(!url.answers(), "nothing listens there any more");
        }
    }
}
