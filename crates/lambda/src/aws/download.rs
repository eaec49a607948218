//! Downloads the code of a function from the address that Lambda returns. The address is signed and
//! gives access to the code, so it is not shown in messages or stored.

use std::error::Error as StdError;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

use super::Lambda;
use super::error::{Error, Passing, Problem};
use super::http::{Unread, read_body};

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
        let request = HttpRequest::get(url)
            .map_err(|_| ("the address that Lambda returned is not a URL".to_owned(), None))?;
        let answer = self.http.connector(PATIENCE).call(request).await.map_err(|error| {
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
        read_body(answer.into_body(), limit, PATIENCE).await.map_err(|unread| match unread {
            Unread::Broken(error) => (deepest(&*error), Some(Passing::Connection)),
            Unread::TooLong => (format!("it has more than {limit} bytes"), None),
        })
    }
}

/// Returns the innermost cause; the outer ones may show the address.
fn deepest(error: &(dyn StdError + 'static)) -> String {
    let last = std::iter::successors(Some(error), |error| (*error).source()).last();
    last.unwrap_or(error).to_string()
}
