//! Calls of a function.

use std::time::Duration;

use aws_sdk_lambda::config::{Builder, StalledStreamProtectionConfig};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{InvocationType, LogType};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::client::timeouts;
use super::error::{Error, Problem};
use super::{LATEST, Lambda};

/// Time limit for the first byte of a synchronous call, which may run for 30 minutes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(31 * 60);

/// The function to call, and how.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    pub function: &'a str,
    /// A version or an alias.
    pub qualifier: Option<&'a str>,
    pub way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Waits for the response.
    Request,
    /// Lambda accepts the event and runs the function later.
    Event,
    /// Checks only permissions and parameters.
    DryRun,
}

/// The response of a function.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: i32,
    pub payload: Vec<u8>,
    /// Set if the function failed: `Unhandled` or `Handled`. The payload then describes the
    /// failure.
    pub function_error: Option<String>,
    /// The last 4 KB of the function's log.
    pub log_tail: String,
    pub executed_version: Option<String>,
}

impl Lambda<'_> {
    /// Calls the function once and waits for its response. Never retried: a call whose response was
    /// lost may have run. If Lambda refuses the call because the function cannot return a log, it
    /// is repeated without one; if it is durable and has no qualifier, as `$LATEST`.
    pub fn invoke(&self, call: &Invocation, payload: &[u8]) -> Result<Answer, Error> {
        // Only a synchronous call returns a log.
        let with_log = call.way == Way::Request;
        match self.call(call, payload, with_log) {
            Err(error) if call.qualifier.is_none() && error.problem == Problem::Unqualified => {
                self.invoke(&Invocation { qualifier: Some(LATEST), ..*call }, payload)
            }
            Err(error) if with_log && error.problem == Problem::LogRefused => {
                self.call(call, payload, false)
            }
            answer => answer,
        }
    }

    fn call(&self, call: &Invocation, payload: &[u8], log: bool) -> Result<Answer, Error> {
        let patient = Builder::new()
            .timeout_config(timeouts(ANSWER_TIMEOUT))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let Invocation { function: name, qualifier, way } = *call;
        let way = match way {
            Way::Request => InvocationType::RequestResponse,
            Way::Event => InvocationType::Event,
            Way::DryRun => InvocationType::DryRun,
        };
        let request = self
            .client
            .invoke()
            .function_name(name)
            .set_qualifier(qualifier.map(str::to_owned))
            .invocation_type(way)
            .set_log_type(log.then_some(LogType::Tail))
            .payload(Blob::new(payload.to_vec()))
            .customize()
            .config_override(patient)
            .send();
        let output = self.send_once(&format!("invoke function `{name}`"), request)?;
        let log_tail = BASE64_STANDARD.decode(output.log_result.unwrap_or_default());
        Ok(Answer {
            status: output.status_code,
            payload: output.payload.map(Blob::into_inner).unwrap_or_default(),
            function_error: output.function_error,
            log_tail: String::from_utf8_lossy(&log_tail.unwrap_or_default()).into_owned(),
            executed_version: output.executed_version,
        })
    }
}
