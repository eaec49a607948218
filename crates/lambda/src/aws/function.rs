//! A function, or a version of it: its configuration, its code, and waiting for updates.

use std::time::Duration;

use aws_sdk_lambda::config::Builder;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{
    Architecture, LastUpdateStatus, PackageType, S3ObjectStorageMode, State,
};

use super::client::{sleep, timeouts};
use super::error::{Error, Problem};
use super::store::Bucket;
use super::{Lambda, word};

/// Largest number of polls while a function is being updated, one second apart, as in AWS's own
/// waiter `FunctionUpdatedV2`.
const MOST_POLLS: u32 = 300;
const BETWEEN_POLLS: Duration = Duration::from_secs(1);

/// Time limit for sending a bundle over a slow line, with its response. A stalled line is given up
/// earlier.
pub(super) const UPLOAD_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A well-formed revision id that no function has.
const NO_REVISION: &str = "00000000-0000-0000-0000-000000000000";

/// A function as Lambda describes it.
#[derive(Clone, Debug)]
pub struct Function {
    pub name: String,
    /// `None` if the service does not return it.
    pub arn: Option<String>,
    pub code_sha256: String,
    /// Size of the zip in bytes; 0 if the service does not return it.
    pub code_size: u64,
    pub update: Update,
    /// `$LATEST`, or a number.
    pub version: Option<String>,
    pub description: Option<String>,
    /// Lambda's names: `x86_64`, `arm64`.
    pub architectures: Vec<String>,
    /// Lambda's name: `python3.13`.
    pub runtime: Option<String>,
    /// `module.function`.
    pub handler: Option<String>,
    /// ARNs of its layer versions, in the order in which they are unpacked.
    pub layers: Vec<String>,
    /// Changes with every change of the function. Not every service returns one.
    pub revision: Option<String>,
    /// Whether it is made of a container image, so that its code cannot be updated.
    pub is_image: bool,
    pub is_being_deleted: bool,
    /// Whether it is a durable function: its executions are recorded and replayed, for up to a
    /// year.
    pub is_durable: bool,
    /// Whether it runs on Lambda Managed Instances, where only published code is called.
    pub is_on_instances: bool,
}

/// State of the last update of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    Successful,
    /// Until it ends, calls run the old code, and Lambda refuses other updates.
    InProgress,
    Failed {
        /// One line.
        reason: String,
        /// Whether calls still run the old code; else the function cannot be called.
        keeps_old: bool,
    },
}

/// A function's code, in a form that Lambda accepts.
#[derive(Clone, Debug)]
pub enum Code<'a> {
    /// A zip that is sent in the request itself.
    Direct(&'a [u8]),
    /// An object in a bucket of the same region. With `reference`, Lambda does not copy it, and
    /// reads it for as long as the code is in use.
    S3 { bucket: String, key: String, version: Option<String>, reference: bool },
}

/// How Lambda stores the code of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storage<'a> {
    /// The ARN of the KMS key that encrypts the zip; AWS's own key if `None`.
    pub kms_key: Option<&'a str>,
    /// The bucket of the object that Lambda refers to; `None` if Lambda copies the zip.
    pub reference: Option<Bucket<'a>>,
}

impl Lambda<'_> {
    pub fn function(&self, name: &str) -> Result<Function, Error> {
        self.function_at(name, None)
    }

    /// Returns the function under a version or an alias.
    pub fn function_at(&self, name: &str, qualifier: Option<&str>) -> Result<Function, Error> {
        let wanted = match qualifier {
            Some(qualifier) => format!("read `{qualifier}` of function `{name}`"),
            None => format!("read function `{name}`"),
        };
        let request = || {
            let request = self.client.get_function_configuration().function_name(name);
            request.set_qualifier(qualifier.map(str::to_owned)).send()
        };
        self.send(&wanted, request).map(|output| Function::new(name, &output))
    }

    /// Fails if the credentials do not allow an update of `function`. Sends a dry run without code,
    /// for a revision that no function has, so that a service that ignores one of the three still
    /// changes nothing. Every other error is ignored, because the update itself will report it.
    pub fn may_update(&self, function: &Function) -> Result<(), Error> {
        let wanted = format!("update the code of function `{}`", function.name);
        let request = self.client.update_function_code().function_name(&function.name);
        let request = request.dry_run(true).revision_id(NO_REVISION).send();
        match self.send_once(&wanted, request) {
            Err(error) if error.problem == Problem::Denied => Err(error),
            _ => Ok(()),
        }
    }

    /// Updates the code of `function`, and returns the digest that Lambda computed. Guarded by the
    /// revision that was read: if the function changed since, also by an earlier attempt whose
    /// response was lost, the error is [`Problem::Changed`].
    pub fn update_code(
        &self,
        function: &Function,
        code: &Code,
        kms_key: Option<&str>,
    ) -> Result<String, Error> {
        // Without an architecture, Lambda assumes x86_64 and not the function's own.
        let architectures: Vec<Architecture> =
            function.architectures.iter().map(|name| Architecture::from(name.as_str())).collect();
        let architectures = Some(architectures).filter(|names| !names.is_empty());
        let wanted = format!("update the code of function `{}`", function.name);
        let output = self.send(&wanted, || {
            let request = self.client.update_function_code().function_name(&function.name);
            let request = match code {
                Code::Direct(zip) => request.zip_file(Blob::new(zip.to_vec())),
                Code::S3 { bucket, key, version, reference } => request
                    .s3_bucket(bucket)
                    .s3_key(key)
                    .set_s3_object_version(version.clone())
                    .set_s3_object_storage_mode(storage_mode(*reference)),
            };
            request
                .set_source_kms_key_arn(kms_key.map(str::to_owned))
                .set_architectures(architectures.clone())
                .set_revision_id(function.revision.clone())
                .customize()
                .config_override(Builder::new().timeout_config(timeouts(UPLOAD_TIMEOUT)))
                .send()
        })?;
        Ok(output.code_sha256.unwrap_or_default())
    }

    /// Returns whether the code of a function is stored as wanted. If that may not be read, and the
    /// defaults are wanted, returns `true`.
    pub fn is_stored(&self, name: &str, wanted: &Storage) -> Result<bool, Error> {
        let what = format!("read how the code of function `{name}` is stored");
        let found = self.send(&what, || self.client.get_function().function_name(name).send());
        let found = match found {
            Err(error) if error.problem == Problem::Denied && *wanted == Storage::default() => {
                return Ok(true);
            }
            found => found?,
        };
        let Some(code) = found.code else { return Ok(*wanted == Storage::default()) };
        let has_place = match (&wanted.reference, code.resolved_s3_object()) {
            (None, None) => true,
            (Some(bucket), Some(object)) => bucket.has(object.s3_bucket(), object.s3_key()),
            _ => false,
        };
        Ok(has_place && code.source_kms_key_arn() == wanted.kms_key)
    }

    /// Waits while an update of `name` is in progress. `on_wait` receives the seconds waited so
    /// far.
    pub fn wait(&self, name: &str, on_wait: &dyn Fn(u32)) -> Result<Function, Error> {
        self.wait_at(name, None, on_wait)
    }

    /// Like [`Lambda::wait`], for a version.
    pub fn wait_at(
        &self,
        name: &str,
        qualifier: Option<&str>,
        on_wait: &dyn Fn(u32),
    ) -> Result<Function, Error> {
        for polls in 0..MOST_POLLS {
            let function = self.function_at(name, qualifier)?;
            if function.update != Update::InProgress {
                return Ok(function);
            }
            on_wait(polls);
            sleep(BETWEEN_POLLS);
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
}

/// Returns the SDK's value; `None` for a copy, which is Lambda's default.
pub(super) fn storage_mode(reference: bool) -> Option<S3ObjectStorageMode> {
    reference.then_some(S3ObjectStorageMode::Reference)
}

impl Function {
    fn new(name: &str, output: &GetFunctionConfigurationOutput) -> Self {
        let in_progress = output.state() == Some(&State::Pending)
            || output.last_update_status() == Some(&LastUpdateStatus::InProgress);
        let failed = |reason: Option<&str>, keeps_old| {
            let reason = word(reason.and_then(|text| text.trim().lines().next()));
            let reason = reason.unwrap_or_else(|| "Lambda gives no reason".into());
            Update::Failed { reason, keeps_old }
        };
        let update = if in_progress {
            Update::InProgress
        } else if output.state() == Some(&State::Failed) {
            failed(output.state_reason(), false)
        } else if output.last_update_status() == Some(&LastUpdateStatus::Failed) {
            failed(output.last_update_status_reason(), true)
        } else {
            Update::Successful
        };
        Self {
            name: name.to_owned(),
            arn: output.function_arn().map(str::to_owned),
            code_sha256: output.code_sha256().unwrap_or_default().to_owned(),
            code_size: u64::try_from(output.code_size()).unwrap_or_default(),
            update,
            version: output.version().map(str::to_owned),
            description: output.description().map(str::to_owned),
            architectures: output.architectures().iter().map(ToString::to_string).collect(),
            runtime: output.runtime().map(ToString::to_string),
            handler: output.handler().map(str::to_owned),
            layers: output
                .layers()
                .iter()
                .filter_map(|layer| layer.arn().map(str::to_owned))
                .collect(),
            revision: output.revision_id().map(str::to_owned),
            is_image: output.package_type() == Some(&PackageType::Image),
            is_being_deleted: output.state() == Some(&State::Deleting),
            is_durable: output.durable_config().is_some(),
            is_on_instances: output.capacity_provider_config().is_some(),
        }
    }
}
