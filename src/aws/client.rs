//! The Lambda client: one request each, and the wait between them. Each call blocks.

use std::error::Error as StdError;
use std::thread;
use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::http::HttpResponse;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::{Builder, StalledStreamProtectionConfig};
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{
    Architecture, InvocationType, LastUpdateStatus, LogType, PackageType, State,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::error::{Error, Problem, explain, is_about_credentials, redact};
use super::http::HttpClient;
use super::settings;
use crate::project::Project;

/// How often a function is looked at while it is being updated, a second apart. AWS's own
/// waiter, `FunctionUpdatedV2`, does the same.
const MOST_POLLS: u32 = 300;
const BETWEEN_POLLS: Duration = Duration::from_secs(1);

/// A connection to Lambda in one region, with one set of credentials.
pub struct Lambda<'a> {
    project: &'a Project,
    runtime: tokio::runtime::Runtime,
    client: Client,
    http: HttpClient,
    region: String,
}

/// A function as Lambda describes it.
#[derive(Clone, Debug)]
pub struct Function {
    pub name: String,
    pub code_sha256: String,
    pub update: Update,
    /// As Lambda words them: `x86_64`, `arm64`.
    pub architectures: Vec<String>,
    /// As Lambda words it: `python3.13`.
    pub runtime: Option<String>,
    /// `module.function`
    pub handler: Option<String>,
    /// Whether there is more in it than its own code.
    pub has_layers: bool,
    /// Changes whenever the function does. Not every service gives one.
    pub revision: Option<String>,
    /// A function made of a container image has no code to update.
    pub is_image: bool,
}

/// How the last update of a function went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    Successful,
    /// Until it ends, calls get the old code, and the function takes no other update.
    InProgress,
    /// The old code stays.
    Failed {
        reason: String,
    },
}

/// A function's code, in a form in which Lambda takes it.
#[derive(Clone, Debug)]
pub enum Code<'a> {
    /// A zip that travels in the request itself.
    Direct(&'a [u8]),
    /// A zip that lies in a bucket of the same region.
    S3 { bucket: String, key: String, version: Option<String> },
}

/// Which function is called, and how.
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
    /// The event is taken, and the function runs later.
    Event,
    /// Only permissions and parameters are looked at.
    DryRun,
}

/// What a function answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: i32,
    pub payload: Vec<u8>,
    /// Set when the function failed: `Unhandled` or `Handled`. The payload then says how.
    pub function_error: Option<String>,
    /// The last 4 KB of what the function logged.
    pub log_tail: String,
    pub executed_version: Option<String>,
}

impl<'a> Lambda<'a> {
    /// Makes the runtime and reads the configuration.
    pub fn connect(project: &'a Project) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::new(Problem::Other, format!("no runtime: {error}")))?;
        let (config, http) = runtime.block_on(settings::load(project))?;
        let region = config.region().map(ToString::to_string).unwrap_or_default();
        Ok(Self { project, client: Client::new(&config), runtime, http, region })
    }

    pub fn function(&self, name: &str) -> Result<Function, Error> {
        let request = self.client.get_function_configuration().function_name(name).send();
        self.runtime
            .block_on(request)
            .map(|output| Function::new(name, &output))
            .map_err(|error| self.explain(&format!("read function `{name}`"), &error))
    }

    /// Gives `function` this code and returns the digest that Lambda found. Guarded by the
    /// revision that was read: a function changed since is [`Problem::Changed`].
    pub fn update_code(&self, function: &Function, code: &Code) -> Result<String, Error> {
        // Lambda takes a missing architecture for x86_64, not for the one the function has.
        let architectures: Vec<Architecture> =
            function.architectures.iter().map(|name| Architecture::from(name.as_str())).collect();
        let request = self.client.update_function_code().function_name(&function.name);
        let request = match code {
            Code::Direct(zip) => request.zip_file(Blob::new(zip.to_vec())),
            Code::S3 { bucket, key, version } => {
                request.s3_bucket(bucket).s3_key(key).set_s3_object_version(version.clone())
            }
        };
        let request = request
            .set_architectures(Some(architectures).filter(|names| !names.is_empty()))
            .set_revision_id(function.revision.clone())
            .send();
        self.runtime.block_on(request).map(|output| output.code_sha256.unwrap_or_default()).map_err(
            |error| {
                self.explain(&format!("update the code of function `{}`", function.name), &error)
            },
        )
    }

    /// Waits while an update of `name` is in progress. `on_wait` gets the seconds waited so far.
    pub fn wait(&self, name: &str, on_wait: &dyn Fn(u32)) -> Result<Function, Error> {
        for polls in 0..MOST_POLLS {
            let function = self.function(name)?;
            if function.update != Update::InProgress {
                return Ok(function);
            }
            on_wait(polls);
            thread::sleep(BETWEEN_POLLS);
        }
        let place = self.place();
        Err(Error::new(
            Problem::Busy,
            format!(
                "function `{name}` {place} was still being updated after {MOST_POLLS} s: \
                 look at it in the AWS console, then run again"
            ),
        ))
    }

    /// Calls the function once and waits for its answer. Never tried again: a call whose answer
    /// was lost may have run.
    pub fn invoke(&self, call: &Invocation, payload: Vec<u8>) -> Result<Answer, Error> {
        let once = Builder::new()
            .retry_config(RetryConfig::disabled())
            // A function may think for 15 minutes before its first byte.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let Invocation { function: name, qualifier, way } = *call;
        let (way, log) = match way {
            // Only a call that is waited for has a log to show.
            Way::Request => (InvocationType::RequestResponse, Some(LogType::Tail)),
            Way::Event => (InvocationType::Event, None),
            Way::DryRun => (InvocationType::DryRun, None),
        };
        let request = self
            .client
            .invoke()
            .function_name(name)
            .set_qualifier(qualifier.map(str::to_owned))
            .invocation_type(way)
            .set_log_type(log)
            .payload(Blob::new(payload))
            .customize()
            .config_override(once)
            .send();
        let output = self
            .runtime
            .block_on(request)
            .map_err(|error| self.explain(&format!("invoke function `{name}`"), &error))?;
        let log_tail = BASE64_STANDARD.decode(output.log_result.unwrap_or_default());
        Ok(Answer {
            status: output.status_code,
            payload: output.payload.map(Blob::into_inner).unwrap_or_default(),
            function_error: output.function_error,
            log_tail: String::from_utf8_lossy(&log_tail.unwrap_or_default()).into_owned(),
            executed_version: output.executed_version,
        })
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

    fn explain<E>(&self, wanted: &str, error: &SdkError<E, HttpResponse>) -> Error
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

impl Function {
    fn new(name: &str, output: &GetFunctionConfigurationOutput) -> Self {
        let in_progress = output.state() == Some(&State::Pending)
            || output.last_update_status() == Some(&LastUpdateStatus::InProgress);
        let failed = |reason: Option<&str>| Update::Failed {
            reason: reason.unwrap_or("Lambda gives no reason").to_owned(),
        };
        let update = if in_progress {
            Update::InProgress
        } else if output.state() == Some(&State::Failed) {
            failed(output.state_reason())
        } else if output.last_update_status() == Some(&LastUpdateStatus::Failed) {
            failed(output.last_update_status_reason())
        } else {
            Update::Successful
        };
        Self {
            name: name.to_owned(),
            code_sha256: output.code_sha256().unwrap_or_default().to_owned(),
            update,
            architectures: output.architectures().iter().map(ToString::to_string).collect(),
            runtime: output.runtime().map(ToString::to_string),
            handler: output.handler().map(str::to_owned),
            has_layers: !output.layers().is_empty(),
            revision: output.revision_id().map(str::to_owned),
            is_image: output.package_type() == Some(&PackageType::Image),
        }
    }
}
