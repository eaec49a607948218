//! The connection to Lambda: one for a whole command, used by several threads at once. Sends each
//! request until it is answered, within bounds, and says when it has to try again. Each call
//! blocks; the requests themselves are the neighbouring files'.

use std::error::Error as StdError;
use std::future::Future;
use std::thread;
use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::Builder;
use aws_sdk_lambda::config::http::HttpResponse;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};

use super::error::{Error, Problem, explain, is_about_credentials, redact};
use super::http::HttpClient;
use super::{retry, settings};
use crate::project::Project;

/// Until a connection stands.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Until a question is answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection to Lambda in one region, with one set of credentials.
pub struct Lambda<'a> {
    pub(super) project: &'a Project,
    runtime: tokio::runtime::Runtime,
    /// What the clients of other services begin with.
    #[cfg(feature = "s3")]
    pub(super) config: aws_config::SdkConfig,
    pub(super) client: Client,
    pub(super) http: HttpClient,
    pub(super) region: String,
    pub(super) say: &'a (dyn Fn(&str) + Sync),
}

impl<'a> Lambda<'a> {
    /// Makes the runtime and reads the configuration: that of the environment, or of a profile
    /// that was asked for by name. `say` gets a word whenever something is tried again.
    pub fn connect(
        project: &'a Project,
        profile: Option<&str>,
        say: &'a (dyn Fn(&str) + Sync),
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::new(Problem::Other, format!("no runtime: {error}")))?;
        let (config, http) = runtime.block_on(settings::load(project, profile, say))?;
        let region = config.region().map(ToString::to_string).unwrap_or_default();
        let settings = Builder::from(&config)
            // Who waits is told why, which the SDK's own way of trying again does not do.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(ANSWER_TIMEOUT))
            .build();
        let client = Client::from_conf(settings);
        Ok(Self {
            project,
            runtime,
            #[cfg(feature = "s3")]
            config,
            client,
            http,
            region,
            say,
        })
    }

    /// Sends a request until it is answered, as far as trying again can help. `wanted` completes
    /// "could not …". For requests that may safely arrive twice.
    pub(super) fn send<T, E, F>(&self, wanted: &str, request: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let mut attempt = 1;
        loop {
            let error = match self.send_once(wanted, request()) {
                Ok(output) => return Ok(output),
                Err(error) => error,
            };
            if !self.pause(&error, attempt) {
                return Err(error.after(attempt));
            }
            attempt += 1;
        }
    }

    pub(super) fn send_once<T, E>(
        &self,
        wanted: &str,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Error>
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        self.block_on(request).map_err(|error| self.explain(wanted, &error))
    }

    /// Waits before another attempt after this error, and says so; whether there is to be one.
    pub fn pause(&self, error: &Error, attempt: u32) -> bool {
        let Some(pause) = retry::pause(error, attempt) else { return false };
        self.say(&format!("{error}; trying again in {:.1} s", pause.as_secs_f64()));
        thread::sleep(pause);
        true
    }

    /// Says why something is done again.
    pub fn say(&self, text: &str) {
        (self.say)(text);
    }

    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// `in eu-west-1`, and at which address when that is not AWS's own.
    pub fn place(&self) -> String {
        match self.http.last_origin() {
            Some(origin) if !origin.contains(".amazonaws.") => {
                format!("in {} at {origin}", self.region)
            }
            _ => format!("in {}", self.region),
        }
    }

    pub(super) fn explain<E>(&self, wanted: &str, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        // The last request was then one for credentials, and says nothing of the function.
        let unsent = matches!(error, SdkError::DispatchFailure(_));
        let place = if unsent && is_about_credentials(error) {
            format!("in {}", self.region)
        } else {
            self.place()
        };
        redact(explain(wanted, &place, error), self.project)
    }
}

/// For requests whose answer may take this long.
pub(super) fn timeouts(answer: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(answer).build()
}
