//! One request to S3: signed with Signature Version 4, sent by the HTTP client of all requests, and
//! its response in plain words. Neither retries nor explains anything.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_lambda::config::{Credentials, ProvideCredentials};
use aws_sdk_lambda::error::ErrorMetadata;
use aws_sdk_lambda::primitives::SdkBody;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_xml::decode::{Document, XmlDecodeError, try_data};

use crate::aws::Lambda;
use crate::aws::function::UPLOAD_TIMEOUT;
use crate::aws::http::{Unread, read_body};
use zipwright_store::{Sha256, sha256};

/// Credentials that expire within this time are renewed first.
const RENEWED_BEFORE: Duration = Duration::from_secs(5 * 60);
/// Most bytes of a response. S3's are a few hundred bytes of XML.
const MOST: u64 = 1 << 20;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A reason why there is no usable response.
pub(super) enum Failure {
    /// The request was not sent, or its response did not arrive.
    Unanswered(Cause),
    /// S3 responded with an error.
    Refused { status: u16, meta: ErrorMetadata, retry_after: Option<String> },
}

/// A response without an error.
#[derive(Debug, Default)]
pub(super) struct Response {
    /// Lower-case names, with values.
    headers: Vec<(String, String)>,
    /// The texts of the elements directly below the root.
    elements: Vec<(String, String)>,
}

impl Response {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn element(&self, name: &str) -> Option<&str> {
        self.elements.iter().find(|(found, _)| found == name).map(|(_, text)| text.as_str())
    }
}

/// A request before it is signed.
pub(super) struct Request<'a> {
    pub method: &'static str,
    pub url: String,
    pub headers: &'a [(&'static str, &'a str)],
    pub body: Vec<u8>,
}

/// Signs and sends requests.
pub(super) struct Signer<'a> {
    config: &'a SdkConfig,
    region: &'a str,
    connector: SharedHttpConnector,
    credentials: RefCell<Option<Credentials>>,
}

impl<'a> Signer<'a> {
    /// Creates it. `lambda` must have sent a request before.
    pub(super) fn new(lambda: &'a Lambda) -> Self {
        Self {
            config: &lambda.config,
            region: &lambda.region,
            connector: lambda.http.connector(UPLOAD_TIMEOUT),
            credentials: RefCell::new(None),
        }
    }

    pub(super) async fn send(&self, request: Request<'_>) -> Result<Response, Failure> {
        let answer = self.connector.call(self.sign(request).await?).await;
        let answer = answer.map_err(|error| Failure::Unanswered(error.into()))?;
        let status = answer.status().as_u16();
        let headers: Vec<_> = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let body = read_body(answer.into_body(), MOST, UPLOAD_TIMEOUT).await;
        let body = body.map_err(|unread| match unread {
            Unread::Broken(cause) => Failure::Unanswered(cause),
            Unread::TooLong => {
                Failure::Unanswered(format!("the response has more than {MOST} bytes").into())
            }
        });
        read(status, headers, &body?)
    }

    /// Returns the request with a signature, which is valid for some minutes.
    async fn sign(&self, request: Request<'_>) -> Result<HttpRequest, Failure> {
        let identity = self.credentials().await.map_err(Failure::Unanswered)?.into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .expect("BUG: all parameters are given")
            .into();
        let Request { method, url, headers, body } = request;
        let digest = sha256::hex(&Sha256::of(&body));
        let signable = SignableRequest::new(
            method,
            url.as_str(),
            headers.iter().copied(),
            SignableBody::Precomputed(digest),
        );
        let signable = signable.map_err(|error| Failure::Unanswered(error.into()))?;
        let signed = sign(signable, &params);
        let (added, _) = signed.map_err(|error| Failure::Unanswered(error.into()))?.into_parts();

        let mut signed = HttpRequest::new(SdkBody::from(body));
        signed.set_method(method).expect("BUG: the method is one of HTTP's");
        signed.set_uri(url).map_err(|error| Failure::Unanswered(error.into()))?;
        let all = headers.iter().copied().chain(added.headers());
        for (name, value) in all.chain([("user-agent", USER_AGENT)]) {
            signed.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        Ok(signed)
    }

    /// Returns the credentials of the configuration, renewed if they expire soon.
    async fn credentials(&self) -> Result<Credentials, Cause> {
        let lasts = |found: &Credentials| {
            found.expiry().is_none_or(|end| end > SystemTime::now() + RENEWED_BEFORE)
        };
        if let Some(found) = self.credentials.borrow().clone().filter(lasts) {
            return Ok(found);
        }
        let provider = self.config.credentials_provider();
        let provider = provider.ok_or("no credentials are configured")?;
        let found = provider.provide_credentials().await?;
        *self.credentials.borrow_mut() = Some(found.clone());
        Ok(found)
    }
}

const USER_AGENT: &str = concat!("zipwright/", env!("CARGO_PKG_VERSION"));

/// Reads a response. The end of an upload may fail although its status is 200.
fn read(status: u16, headers: Vec<(String, String)>, body: &[u8]) -> Result<Response, Failure> {
    // S3 sends spaces while it assembles an object.
    let (root, elements) = elements(body.trim_ascii_start()).unwrap_or_default();
    let response = Response { headers, elements };
    if (200..300).contains(&status) && root != "Error" {
        return Ok(response);
    }
    let mut meta = ErrorMetadata::builder();
    if let Some(code) = response.element("Code") {
        meta = meta.code(code);
    }
    if let Some(message) = response.element("Message") {
        meta = meta.message(message);
    }
    let retry_after = response.header("retry-after").map(str::to_owned);
    // An error in a response of status 200 is one of the server.
    let status = if (200..300).contains(&status) { 500 } else { status };
    Err(Failure::Refused { status, meta: meta.build(), retry_after })
}

/// Returns the name of the root element, and the texts of the elements directly below it.
fn elements(body: &[u8]) -> Result<(String, Vec<(String, String)>), XmlDecodeError> {
    let mut document = Document::try_from(body)?;
    let mut root = document.root_element()?;
    let name = root.start_el().local().to_owned();
    let mut elements = Vec::new();
    while let Some(mut element) = root.next_tag() {
        let name = element.start_el().local().to_owned();
        // Elements with elements in them have no text of their own.
        if let Ok(text) = try_data(&mut element) {
            elements.push((name, text.into_owned()));
        }
    }
    Ok((name, elements))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_after_spaces_and_below_a_namespace() {
        let text =
            b"\n  <?xml version=\"1.0\"?>\n<R xmlns=\"http://s3\"><UploadId>a&amp;b</UploadId>\
                     <Part><ETag>x</ETag></Part><Key/></R>";
        let response = read(200, Vec::new(), text).ok().unwrap();
        assert_eq!(response.element("UploadId"), Some("a&b"));
        assert_eq!(response.element("ETag"), None);
    }

    #[test]
    fn a_success_may_carry_an_error() {
        let text = b"<Error><Code>InternalError</Code><Message>again</Message></Error>";
        let Err(Failure::Refused { status, meta, .. }) = read(200, Vec::new(), text) else {
            panic!("no error");
        };
        assert_eq!(
            (status, meta.code(), meta.message()),
            (500, Some("InternalError"), Some("again"))
        );
    }

    #[test]
    fn an_error_may_be_of_a_proxy_and_have_no_code() {
        let Err(Failure::Refused { status, meta, .. }) =
            read(502, Vec::new(), b"<html>no<br></html>")
        else {
            panic!("no error");
        };
        assert_eq!((status, meta.code()), (502, None));
    }
}
