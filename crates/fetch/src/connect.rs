//! Connections: TCP, through a proxy if one is set, with TLS; kept open between downloads.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use http::header::{CONNECTION, HOST, PROXY_AUTHORIZATION};
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::url::Url;
use crate::{Failure, Settings};

pub(crate) type Connection = SendRequest<Empty<Bytes>>;

/// Why there is no connection.
pub(crate) enum ConnectError {
    /// May be another at the next attempt.
    Passing(String),
    Final(Failure),
}

pub(crate) struct Connector {
    /// A file of certificates that replaces those of the system.
    certificates: Option<PathBuf>,
    /// Made for the first URL of HTTPS: reading all certificates takes a while.
    tls: OnceCell<Result<TlsConnector, Failure>>,
    timeout: Duration,
    names: Names,
    /// Connections without a request, each with its origin.
    idle: RefCell<Vec<(Url, Connection)>>,
}

impl Connector {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            certificates: settings.certificates.clone(),
            tls: OnceCell::new(),
            timeout: settings.timing.timeout,
            names: Names::default(),
            idle: RefCell::default(),
        }
    }

    fn tls(&self) -> Result<&TlsConnector, ConnectError> {
        let made = self.tls.get_or_init(|| self.make_tls());
        made.as_ref().map_err(|failure| ConnectError::Final(failure.clone()))
    }

    fn make_tls(&self) -> Result<TlsConnector, Failure> {
        let roots = match &self.certificates {
            Some(path) => certificates(path).map_err(Failure::Other)?,
            None => NATIVE.get_or_init(native).clone(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("BUG: ring has the default versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// Returns an open connection, and whether it was used before.
    pub(crate) async fn get(
        &self,
        url: &Url,
        proxy: Option<&Url>,
    ) -> Result<(Connection, bool), ConnectError> {
        while let Some(connection) = self.take(url) {
            if !connection.is_closed() && connection.is_ready() {
                return Ok((connection, true));
            }
        }
        match tokio::time::timeout(self.timeout, self.open(url, proxy)).await {
            Ok(opened) => opened.map(|connection| (connection, false)),
            Err(_) => Err(ConnectError::Passing(format!(
                "{} does not answer within {} s",
                proxy.unwrap_or(url).host_header(),
                self.timeout.as_secs()
            ))),
        }
    }

    fn take(&self, url: &Url) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let at = idle.iter().position(|(own, _)| own.is_same_origin(url))?;
        Some(idle.swap_remove(at).1)
    }

    /// Keeps a connection for the next request to this origin.
    pub(crate) fn put_back(&self, url: &Url, connection: Connection) {
        self.idle.borrow_mut().push((url.clone(), connection));
    }

    async fn open(&self, url: &Url, proxy: Option<&Url>) -> Result<Connection, ConnectError> {
        let peer = proxy.unwrap_or(url);
        let address = peer.host_header();
        let failed =
            |error| ConnectError::Passing(format!("could not connect to {address}: {error}"));
        let found = self.names.find((peer.host.clone(), peer.port), look_up).await;
        let addresses = found.map_err(failed)?;
        let tcp = TcpStream::connect(addresses.as_slice()).await;
        let tcp = tcp.map_err(|error| failed(error.to_string()))?;
        let _ = tcp.set_nodelay(true);
        if !url.is_https {
            return handshake(tcp, &address).await;
        }
        let name = ServerName::try_from(url.host.clone()).map_err(|_| {
            let text = format!("`{}` is not the name of a host", url.host);
            ConnectError::Final(Failure::Other(text))
        })?;
        let failed = |error: io::Error| tls_error(url, &error);
        match proxy {
            None => {
                let stream = self.tls()?.connect(name, tcp).await.map_err(failed)?;
                handshake(stream, &address).await
            }
            Some(proxy) => {
                let tunnel = TokioIo::new(tunnel(tcp, url, proxy).await?);
                let stream = self.tls()?.connect(name, tunnel).await.map_err(failed)?;
                handshake(stream, &address).await
            }
        }
    }
}

/// The name of a host, and a port.
type Name = (String, u16);
type Found = Result<Vec<SocketAddr>, String>;

/// Addresses by names. Connections that are opened at the same time wait for one lookup: a burst of
/// equal queries may lose one, and a resolver asks again after 5 seconds (resolv.conf(5), `timeout`).
#[derive(Default)]
struct Names(RefCell<HashMap<Name, Shared<LocalBoxFuture<'static, Found>>>>);

impl Names {
    /// Returns the addresses of a name, looked up once. A failure is for those that wait for it; the
    /// next attempt looks up again.
    async fn find<F>(&self, name: Name, look_up: impl FnOnce(Name) -> F) -> Found
    where
        F: Future<Output = Found> + 'static,
    {
        let begin = || look_up(name.clone()).boxed_local().shared();
        let lookup = self.0.borrow_mut().entry(name.clone()).or_insert_with(begin).clone();
        let found = lookup.await;
        if found.is_err() {
            self.0.borrow_mut().remove(&name);
        }
        found
    }
}

async fn look_up((host, port): Name) -> Found {
    match tokio::net::lookup_host((host, port)).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether an error of TLS is about the server's certificate, which another attempt does not change.
fn tls_error(url: &Url, error: &io::Error) -> ConnectError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let address = url.host_header();
    match inner {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            let text = format!(
                "the certificate of {address} is not trusted ({reason:?}): name the file with the \
                 certificates that sign it in `SSL_CERT_FILE` or `PIP_CERT`"
            );
            ConnectError::Final(Failure::Other(text))
        }
        _ => ConnectError::Passing(format!("could not speak TLS with {address}: {error}")),
    }
}

async fn handshake<T>(stream: T, address: &str) -> Result<Connection, ConnectError>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let failed =
        |error| ConnectError::Passing(format!("could not speak HTTP with {address}: {error}"));
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // Its errors are those of the requests.
    tokio::spawn(connection);
    Ok(sender)
}

/// Has the proxy open a connection to the server of the URL.
async fn tunnel(
    tcp: TcpStream,
    url: &Url,
    proxy: &Url,
) -> Result<hyper::upgrade::Upgraded, ConnectError> {
    let address = proxy.host_header();
    let failed = |error| ConnectError::Passing(format!("the proxy {address} broke off: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.map_err(failed)?;
    tokio::spawn(connection.with_upgrades());
    let target = match url.host.contains(':') {
        true => format!("[{}]:{}", url.host, url.port),
        false => format!("{}:{}", url.host, url.port),
    };
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(&target)
        .header(HOST, &target)
        .header(CONNECTION, "keep-alive");
    if let Some(value) = proxy_authorization(proxy) {
        request = request.header(PROXY_AUTHORIZATION, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| {
        ConnectError::Final(Failure::Other(format!("`{target}` cannot be asked for: {error}")))
    })?;
    let response = sender.send_request(request).await.map_err(failed)?;
    match response.status() {
        status if status.is_success() => hyper::upgrade::on(response).await.map_err(failed),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            let text = format!("the proxy {address} wants other credentials");
            Err(ConnectError::Final(Failure::Unauthorized(text)))
        }
        status if status.is_server_error() => Err(ConnectError::Passing(format!(
            "the proxy {address} does not connect to {target} ({status})"
        ))),
        status => Err(ConnectError::Final(Failure::Other(format!(
            "the proxy {address} does not connect to {target} ({status})"
        )))),
    }
}

/// Returns the value of the header for the credentials in the URL of a proxy.
pub(crate) fn proxy_authorization(proxy: &Url) -> Option<String> {
    let (user, password) = proxy.credentials.as_ref()?;
    Some(basic(user, password))
}

/// Returns the value of a header for basic authentication.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// The certificates of the system, read once.
static NATIVE: OnceLock<RootCertStore> = OnceLock::new();

fn native() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn certificates(path: &Path) -> Result<RootCertStore, String> {
    let shown = path.display();
    let text = std::fs::read(path)
        .map_err(|error| format!("could not read the certificates in `{shown}`: {error}"))?;
    let parsed: Vec<CertificateDer> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| format!("`{shown}` is not a file of certificates in PEM"))?;
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(parsed);
    if usable == 0 {
        return Err(format!("`{shown}` has no certificate that can be used"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn connections_that_are_opened_together_wait_for_one_lookup() {
        let (names, count) = (Names::default(), Rc::new(Cell::new(0)));
        let find = |is_there: bool| {
            let count = Rc::clone(&count);
            names.find(("host".into(), 80), move |(_, port)| async move {
                tokio::task::yield_now().await;
                count.set(count.get() + 1);
                if is_there { Ok(vec![([127, 0, 0, 1], port).into()]) } else { Err("away".into()) }
            })
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (one, other) = futures_util::future::join(find(false), find(false)).await;
            assert_eq!((one, other), (Err("away".into()), Err("away".into())));
            assert_eq!(count.get(), 1);
            let (one, other) = futures_util::future::join(find(true), find(true)).await;
            assert_eq!((&one, one.as_ref().unwrap()[0].port()), (&other, 80));
            assert_eq!((find(true).await, count.get()), (other, 2));
        });
    }
}
