//! One download: its requests, redirects, retries and resumption.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HOST, IF_RANGE, LAST_MODIFIED, LOCATION, PROXY_AUTHORIZATION, RANGE, RETRY_AFTER, USER_AGENT,
};
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;

use crate::connect::{ConnectError, Connection, Connector, basic, proxy_authorization};
use crate::url::Url;
use crate::{Download, Failure, Opened, Settings, Sink};

/// Most redirects of one request.
const REDIRECTS_MAX: usize = 10;

/// Longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Transfer<'a, 'f, S> {
    pub(crate) file: &'a Download<'f>,
    pub(crate) sink: &'a mut S,
    pub(crate) settings: &'a Settings,
    pub(crate) connector: &'a Connector,
    /// Receives the number of bytes so far.
    pub(crate) progress: &'a dyn Fn(u64),
}

/// Why an attempt ended early.
enum Break {
    /// Worth another attempt, after a pause if the server names one.
    Passing(String, Option<Duration>),
    Final(Failure),
}

impl From<ConnectError> for Break {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Passing(text) => Self::Passing(text, None),
            ConnectError::Final(failure) => Self::Final(failure),
        }
    }
}

/// What of the file is there.
#[derive(Default)]
struct Received {
    bytes: u64,
    /// Identifies the content that the bytes are of, for `If-Range`.
    validator: Option<String>,
}

impl<S: Sink> Transfer<'_, '_, S> {
    pub(crate) async fn run(&mut self) -> Result<(), Failure> {
        let url =
            Url::parse(self.file.url).map_err(|error| Failure::Unsupported(error.to_string()))?;
        let timing = self.settings.timing;
        let mut received = Received::default();
        let (mut failed, mut most) = (0, 0);
        loop {
            let (reason, wanted) = match self.attempt(&url, &mut received).await {
                Ok(()) => return Ok(()),
                Err(Break::Final(failure)) => return Err(failure),
                Err(Break::Passing(reason, wanted)) => (reason, wanted),
            };
            failed = if received.bytes > most { 1 } else { failed + 1 };
            most = most.max(received.bytes);
            if failed >= timing.attempts {
                return Err(Failure::Passing(format!("{reason}, {failed} times in a row")));
            }
            let pause = timing.pause * 2u32.pow(failed - 1);
            // Many downloads that broke at once do not all come back at once.
            let pause = pause.mul_f64(0.5 + fastrand::f64());
            tokio::time::sleep(wanted.unwrap_or(pause).min(PAUSE_MAX)).await;
        }
    }

    async fn attempt(&mut self, url: &Url, received: &mut Received) -> Result<(), Break> {
        let mut url = url.clone();
        for _ in 0..REDIRECTS_MAX {
            let proxy = self.settings.proxies.find(&url).map_err(Break::Final)?;
            let (response, connection) = self.send(&url, proxy.as_ref(), received).await?;
            let status = response.status();
            if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
                url = redirected(&url, &response)?;
                continue;
            }
            self.check(&url, &response, received)?;
            self.sink.begin(opened(&url, &response));
            self.body(&url, response, received).await?;
            self.connector.put_back(&url, connection);
            return Ok(());
        }
        let text = format!("{url} is redirected more than {REDIRECTS_MAX} times");
        Err(Break::Final(Failure::Refused(text)))
    }

    async fn send(
        &self,
        url: &Url,
        proxy: Option<&Url>,
        received: &Received,
    ) -> Result<(Response<Incoming>, Connection), Break> {
        loop {
            let request = self.request(url, proxy, received)?;
            let (mut connection, was_used) = self.connector.get(url, proxy).await?;
            let timeout = self.settings.timing.timeout;
            match tokio::time::timeout(timeout, connection.send_request(request)).await {
                Ok(Ok(response)) => return Ok((response, connection)),
                // The server may have closed it meanwhile.
                Ok(Err(_)) if was_used => {}
                Ok(Err(error)) => {
                    return Err(passing(format!("the request of {url} failed: {}", cause(&error))));
                }
                Err(_) => {
                    return Err(passing(format!(
                        "{url} is not answered within {} s",
                        timeout.as_secs()
                    )));
                }
            }
        }
    }

    fn request(
        &self,
        url: &Url,
        proxy: Option<&Url>,
        received: &Received,
    ) -> Result<Request<Empty<Bytes>>, Break> {
        // A proxy of plain HTTP is given the whole URL.
        let plain_proxy = proxy.filter(|_| !url.is_https);
        let uri = match plain_proxy {
            Some(_) => format!("http://{}{}", url.host_header(), url.path),
            None => url.path.clone(),
        };
        let mut request = Request::builder()
            .uri(uri)
            .header(HOST, url.host_header())
            .header(USER_AGENT, concat!("zipwright/", env!("CARGO_PKG_VERSION")));
        request = match self.file.accept {
            Some(accept) => request.header(ACCEPT, accept).header(ACCEPT_ENCODING, "gzip"),
            // The digest is that of the bytes as they are stored.
            None => request.header(ACCEPT_ENCODING, "identity"),
        };
        if let Some((user, password)) = self.settings.credentials.find(url) {
            request = request.header(AUTHORIZATION, basic(user, password));
        }
        if let Some(value) = plain_proxy.and_then(proxy_authorization) {
            request = request.header(PROXY_AUTHORIZATION, value);
        }
        if received.bytes > 0 && self.file.accept.is_none() {
            request = request.header(RANGE, format!("bytes={}-", received.bytes));
            if let Some(validator) = &received.validator {
                request = request.header(IF_RANGE, validator);
            }
        }
        request.body(Empty::new()).map_err(|error| {
            Break::Final(Failure::Other(format!("{url} cannot be requested: {error}")))
        })
    }

    /// Judges the status. Drops the bytes so far if the response has the whole file.
    fn check(
        &mut self,
        url: &Url,
        response: &Response<Incoming>,
        received: &mut Received,
    ) -> Result<(), Break> {
        let status = response.status();
        match status {
            StatusCode::PARTIAL_CONTENT if starts_at(response) == Some(received.bytes) => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                self.restart(received)?;
                return Err(passing(format!("{url} has another length now")));
            }
            StatusCode::OK => self.restart(received)?,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let text = format!("{url} wants credentials ({status})");
                return Err(Break::Final(Failure::Unauthorized(text)));
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                let text = format!("the proxy for {url} wants other credentials");
                return Err(Break::Final(Failure::Unauthorized(text)));
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                return Err(Break::Passing(format!("{url}: {status}"), retry_after(response)));
            }
            status if status.is_server_error() => {
                return Err(Break::Passing(format!("{url}: {status}"), retry_after(response)));
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Err(Break::Final(Failure::Missing(format!("{url}: {status}"))));
            }
            status => {
                return Err(Break::Final(Failure::Refused(format!("{url}: {status}"))));
            }
        }
        let validator = header(response, &ETAG).filter(|tag| !tag.starts_with("W/"));
        received.validator = validator.or_else(|| header(response, &LAST_MODIFIED));
        Ok(())
    }

    fn restart(&mut self, received: &mut Received) -> Result<(), Break> {
        *received = Received::default();
        (self.progress)(0);
        self.sink.restart().map_err(|error| not_written(&error))
    }

    async fn body(
        &mut self,
        url: &Url,
        response: Response<Incoming>,
        received: &mut Received,
    ) -> Result<(), Break> {
        let mut body = response.into_body();
        let timeout = self.settings.timing.timeout;
        loop {
            let frame = match tokio::time::timeout(timeout, body.frame()).await {
                Ok(None) => break,
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    return Err(passing(format!("{url} broke off: {}", cause(&error))));
                }
                Err(_) => {
                    let seconds = timeout.as_secs();
                    return Err(passing(format!("{url} sent no byte for {seconds} s")));
                }
            };
            let Ok(bytes) = frame.into_data() else { continue };
            self.sink.write(&bytes).map_err(|error| not_written(&error))?;
            received.bytes += bytes.len() as u64;
            (self.progress)(received.bytes);
            if let Some(size) = self.file.size.filter(|size| received.bytes > *size) {
                let text = format!("{url} has more than the {size} bytes that it should have");
                return Err(Break::Final(Failure::OtherSize(text)));
            }
        }
        match self.file.size.filter(|size| received.bytes < *size) {
            None => Ok(()),
            Some(size) => {
                let text = format!("{url} has {} bytes instead of {size}", received.bytes);
                Err(Break::Final(Failure::OtherSize(text)))
            }
        }
    }
}

fn passing(text: String) -> Break {
    Break::Passing(text, None)
}

fn not_written(error: &std::io::Error) -> Break {
    Break::Final(Failure::Other(format!("could not write: {error}")))
}

/// Returns the innermost reason of an error of hyper.
fn cause(error: &hyper::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    reason.to_string()
}

fn header(response: &Response<Incoming>, name: &HeaderName) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

fn opened(url: &Url, response: &Response<Incoming>) -> Opened {
    let media_type = header(response, &CONTENT_TYPE).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    Opened {
        url: url.clone(),
        media_type: media_type.to_ascii_lowercase(),
        encoding: header(response, &CONTENT_ENCODING).map(|text| text.to_ascii_lowercase()),
    }
}

fn redirected(url: &Url, response: &Response<Incoming>) -> Result<Url, Break> {
    let location = header(response, &LOCATION);
    let next = location.and_then(|location| url.join(&location).ok());
    let Some(mut next) = next else {
        let text = format!("{url} is redirected to no URL");
        return Err(Break::Final(Failure::Refused(text)));
    };
    if url.is_https && !next.is_https {
        let text = format!("{url} is redirected to {next}, which is not encrypted");
        return Err(Break::Final(Failure::Refused(text)));
    }
    // The credentials of a URL are for its own server.
    if !next.is_same_origin(url) && next.credentials == url.credentials {
        next.credentials = None;
    }
    Ok(next)
}

/// Returns the first byte of a partial response: `bytes 100-199/1000`.
fn starts_at(response: &Response<Incoming>) -> Option<u64> {
    let range = header(response, &CONTENT_RANGE)?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// Returns the pause that the server asks for, in seconds; dates are not read.
fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    header(response, &RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
}
