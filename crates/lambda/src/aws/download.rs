//! Downloads the code of a function from the address that Lambda returns. The address is signed and
//! gives access to the code, so it is not shown in messages or stored.

use std::error::Error as StdError;
use std::time::Duration;

use aws_sdk_lambda::primitives::ByteStream;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

use super::Lambda;
use super::client::CONNECT_TIMEOUT;
use super::error::{Error, Passing, Problem};

/// Time limit until the first byte, and between two parts.
const PATIENCE: Duration = Duration::from_secs(60);

impl Lambda<'_> {
    /// Returns the zip of a function, or of its version under a qualifier. Fails if it has more
    /// than `limit` bytes.
    pub fn download(
        &self,
        name: &str,
        qualifier: Option<&str>,
        limit: u64,
    ) -> Result<Vec<u8>, Error> {
        let wanted = format!("find the code of function `{name}`");
        let mut attempt = 1;
        loop {
            // The address is valid for a few minutes only, so each attempt requests a new one.
            let found = self.send(&wanted, || {
                let request = self.client.get_function().function_name(name);
                request.set_qualifier(qualifier.map(str::to_owned)).send()
            })?;
            let Some(url) = found.code.and_then(|code| code.location) else {
                return Err(Error::new(
                    Problem::Other,
                    format!("Lambda returned no address for the code of function `{name}`"),
                ));
            };
            let error = match self.block_on(self.fetch(&url, limit)) {
                Ok(zip) => return Ok(zip),
                Err((reason, passing)) => Error {
                    passing,
                    ..Error::new(
                        Problem::Other,
                        format!("could not fetch the code of function `{name}`: {reason}"),
                    )
                },
            };
            if !self.pause(&error, attempt) {
                return Err(error.after(attempt));
            }
            attempt += 1;
        }
    }

    async fn fetch(&self, url: &str, limit: u64) -> Result<Vec<u8>, (String, Option<Passing>)> {
        let broken = |reason: String| (reason, Some(Passing::Connection));
        let request = HttpRequest::get(url)
            .map_err(|_| ("the address that Lambda returned is not a URL".to_owned(), None))?;
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(PATIENCE)
            .build();
        let connector = self.http.connector(&settings);
        let answer = connector.call(request).await.map_err(|error| {
            let passing = (!error.is_user()).then_some(Passing::Connection);
            (deepest(&error), passing)
        })?;
        match answer.status().as_u16() {
            200 => {}
            status @ (429 | 500..) => {
                return Err((format!("HTTP {status}"), Some(Passing::Server)));
            }
            status => return Err((format!("HTTP {status}"), None)),
        }
        let mut body = ByteStream::new(answer.into_body());
        let mut zip = Vec::new();
        loop {
            let part = tokio::time::timeout(PATIENCE, body.try_next()).await;
            let part = part.map_err(|_| broken("nothing more came".into()))?;
            match part.map_err(|error| broken(deepest(&error)))? {
                None => return Ok(zip),
                Some(part) if (zip.len() + part.len()) as u64 > limit => {
                    return Err((format!("it has more than {limit} bytes"), None));
                }
                Some(part) => zip.extend_from_slice(&part),
            }
        }
    }
}

/// Returns the innermost cause; the outer ones may show the address.
fn deepest(error: &(dyn StdError + 'static)) -> String {
    let last = std::iter::successors(Some(error), |error| (*error).source()).last();
    last.unwrap_or(error).to_string()
}
