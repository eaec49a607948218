//! The connection to Lambda: one for a whole command, used by several threads at once. Retries
//! requests within limits, and reports each retry. Each call blocks; the requests themselves are in
//! the neighbouring files.

use std::error::Error as StdError;
use std::future::Future;
use std::thread;
use std::time::{Duration, Instant};

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::Builder;
use aws_sdk_lambda::config::http::HttpResponse;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};

use super::error::{Error, Problem, explain, is_about_credentials, redact};
use super::http::{CONNECT_TIMEOUT, HttpClient};
use super::{retry, settings};
use zipwright_engine::signals;
use zipwright_store::project::Project;

/// Time limit for the first byte of a response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Interval in which signals are noticed during a pause.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// A connection to Lambda in one region, with one set of credentials.
pub struct Lambda<'a> {
    pub(super) project: &'a Project,
    runtime: tokio::runtime::Runtime,
    /// The configuration that clients of other services start from.
    pub(super) config: aws_config::SdkConfig,
    pub(super) client: Client,
    pub(super) http: HttpClient,
    pub(super) region: String,
    pub(super) say: &'a (dyn Fn(&str) + Sync),
}

impl<'a> Lambda<'a> {
    /// Creates the runtime and reads the configuration: that of the environment, or of the given
    /// profile. `say` receives a line for every retry.
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
            // The SDK's own retries would not be reported to the user.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(ANSWER_TIMEOUT))
            .build();
        let client = Client::from_conf(settings);
        Ok(Self { project, runtime, config, client, http, region, say })
    }

    /// Sends a request, and retries it as long as that can help. `wanted` completes "could not …".
    /// Only for requests that may arrive twice.
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

    /// Sends a request. Fails before that if the build is to end: a signal stops a deployment
    /// between two steps.
    pub(super) fn send_once<T, E>(
        &self,
        wanted: &str,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Error>
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        if signals::is_ending() {
            let text = format!("interrupted before a request to {wanted}; it was not sent");
            return Err(Error::new(Problem::Other, text));
        }
        self.block_on(request).map_err(|error| self.explain(wanted, &error))
    }

    /// Waits before another attempt after this error, and reports it. Returns `false` if there is
    /// no further attempt, or if the build is to end.
    pub fn pause(&self, error: &Error, attempt: u32) -> bool {
        let Some(pause) = retry::pause(error, attempt) else { return false };
        self.say(&format!("{error}; trying again in {:.1} s", pause.as_secs_f64()));
        sleep(pause);
        !signals::is_ending()
    }

    /// Reports the reason of a retry.
    pub fn say(&self, text: &str) {
        (self.say)(text);
    }

    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Returns `in eu-west-1`, with the address if it is not AWS's own.
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
        // The last request was then for credentials, not for the function.
        let unsent = matches!(error, SdkError::DispatchFailure(_));
        if unsent && is_about_credentials(error) {
            let place = format!("in {}", self.region);
            return redact(explain(wanted, &place, error), self.project);
        }
        let mut explained = explain(wanted, &self.place(), error);
        if (unsent || matches!(error, SdkError::TimeoutError(_)))
            && let Some(origin) = self.http.last_origin()
            && let Some(proxy) = settings::proxy_of(self.project, &origin)
        {
            explained.text.push_str(&proxy);
        }
        redact(explained, self.project)
    }
}

/// Returns after `time`, or when the build is to end.
pub(super) fn sleep(time: Duration) {
    let started = Instant::now();
    while !signals::is_ending() && started.elapsed() < time {
        thread::sleep(BETWEEN_LOOKS.min(time.saturating_sub(started.elapsed())));
    }
}

/// Returns the timeouts for requests whose response may take this long.
pub(super) fn timeouts(answer: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(answer).build()
}
