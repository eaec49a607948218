//! The HTTP client of every request, those for credentials included: rustls on ring, proxies of the
//! environment, and the guard that keeps requests on this machine.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use aws_sdk_lambda::primitives::{ByteStream, SdkBody};
use aws_smithy_http_client::pool;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpClient as Client, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// Time limit for opening a connection.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time after which the kernel probes a silent connection. Routers drop silent connections, some
/// within minutes, and the response of a function may take half an hour.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(super) struct HttpClient(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    loopback_only: bool,
    /// The certificates of `AWS_CA_BUNDLE`, if it is set.
    bundle: OnceLock<TrustStore>,
    /// Address of the last request, for messages.
    last: Mutex<Option<String>>,
    /// All connections, shared by all requests.
    pool: OnceLock<pool::Client>,
    /// The components of the SDK's last request, for requests that the SDK does not make.
    components: Mutex<Option<RuntimeComponents>>,
}

impl HttpClient {
    pub(super) fn new(loopback_only: bool) -> Self {
        Self(Arc::new(Shared {
            loopback_only,
            bundle: OnceLock::new(),
            last: Mutex::new(None),
            pool: OnceLock::new(),
            components: Mutex::new(None),
        }))
    }

    /// Trusts only these certificates, from the first connection on.
    pub(super) fn trust(&self, bundle: TrustStore) {
        self.0.bundle.set(bundle).expect("BUG: a client gets its certificates once");
    }

    /// Returns scheme, host and port of the last request.
    pub(super) fn last_origin(&self) -> Option<String> {
        self.0.last.lock().expect(LOCK).clone()
    }

    /// Returns a connector for requests that the SDK does not make, which waits this long for the
    /// first byte of a response. The SDK must have sent a request before.
    pub(super) fn connector(&self, patience: Duration) -> SharedHttpConnector {
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(patience)
            .build();
        let components = self.0.components.lock().expect(LOCK).clone();
        self.http_connector(&settings, &components.expect("BUG: the SDK has sent no request yet"))
    }

    fn pool(&self) -> &pool::Client {
        self.0.pool.get_or_init(|| {
            let loopback_only = self.0.loopback_only;
            let (proxies, roots) = if loopback_only {
                // The guard accepts only plain http, so no certificate is ever verified.
                (ProxyConfig::disabled(), TrustStore::empty())
            } else {
                (ProxyConfig::from_env(), self.0.bundle.get().cloned().unwrap_or_default())
            };
            let tls = TlsContext::builder().with_trust_store(roots).build();
            let pool = pool::ConnectionPool::builder()
                .tcp_keepalive(KEEP_ALIVE)
                .proxy_config(proxies)
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .tls_context(tls.expect("BUG: a list of certificates is all there is to it"))
                .build_https()
                .expect("BUG: a pool without partitions can be built");
            pool::Client::new(&pool).expect("BUG: the pool has no partitions")
        })
    }
}

const LOCK: &str = "BUG: no holder of this lock panics";

impl Client for HttpClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        *self.0.components.lock().expect(LOCK) = Some(components.clone());
        let inner = self.pool().http_connector(settings, components);
        SharedHttpConnector::new(Guarded { client: self.clone(), inner })
    }
}

/// Checks every request before it is sent.
#[derive(Debug)]
struct Guarded {
    client: HttpClient,
    inner: SharedHttpConnector,
}

impl HttpConnector for Guarded {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let shared = &self.client.0;
        let origin = origin(request.uri());
        *shared.last.lock().expect(LOCK) = Some(origin.clone());
        if shared.loopback_only && !is_loopback(request.uri()) {
            let error = ConnectorError::user(Box::new(NotLoopback { origin }));
            return HttpConnectorFuture::ready(Err(error));
        }
        self.inner.call(request)
    }
}

#[derive(Debug)]
pub(super) struct NotLoopback {
    origin: String,
}

impl fmt::Display for NotLoopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not an http address on loopback, and ZIPWRIGHT_REQUIRE_LOOPBACK is set: \
             nothing was sent",
            self.origin
        )
    }
}

impl std::error::Error for NotLoopback {}

/// A reason why the body of a response was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// It broke off, or no further byte came in time.
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// It has more bytes than the limit.
    TooLong,
}

/// Returns the body of a response that the SDK does not read. `patience` is the time limit for each
/// part of it.
pub(super) async fn read_body(
    body: SdkBody,
    limit: u64,
    patience: Duration,
) -> Result<Vec<u8>, Unread> {
    let (mut body, mut bytes) = (ByteStream::new(body), Vec::new());
    loop {
        let part = tokio::time::timeout(patience, body.try_next()).await;
        let part = part.map_err(|_| Unread::Broken("nothing more came".into()))?;
        match part.map_err(|error| Unread::Broken(error.into()))? {
            None => return Ok(bytes),
            Some(part) if (bytes.len() + part.len()) as u64 > limit => return Err(Unread::TooLong),
            Some(part) => bytes.extend_from_slice(&part),
        }
    }
}

/// Returns the host of `host:port`.
pub(super) fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Returns scheme, host and port of a URL.
fn origin(url: &str) -> String {
    let url = without_userinfo(url);
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    url[..end].to_owned()
}

/// Returns whether a URL is plain `http` to 127.0.0.0/8, `[::1]` or `localhost`, without anything
/// unusual.
pub(super) fn is_loopback(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host(authority);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback()),
        None => {
            host == "localhost"
                || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

/// Returns a URL without `user:password@` and without its query.
pub(super) fn without_userinfo(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.rsplit('@').next().unwrap_or_default().to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_from_what_looks_like_it() {
        for url in [
            "http://127.0.0.1:4566/x",
            "http://127.8.9.1",
            "http://localhost:1/",
            "http://[::1]:80/",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "https://127.0.0.1/",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com",
            "http://127.0.0.1@example.com/",
            "http://127.0.0.1:80@example.com/",
            "http://example.com/http://127.0.0.1",
            "http://example.com?127.0.0.1",
            "http://[::2]/",
            "http://0.0.0.0/",
            "http://169.254.169.254/latest",
            "127.0.0.1",
            "",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn an_origin_has_no_path_and_no_password() {
        assert_eq!(origin("http://a:b@127.0.0.1:9/2015/functions?x=y"), "http://127.0.0.1:9");
        assert_eq!(
            origin("https://lambda.eu-west-1.amazonaws.com"),
            "https://lambda.eu-west-1.amazonaws.com"
        );
    }
}
