//! Errors of requests, each in one sentence: the operation, the function, the place, the reason,
//! and a hint if there is one. Never a credential: only the first line of a service's response is
//! shown, and credentials of the environment are removed from it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use aws_sdk_lambda::config::http::HttpResponse;
use aws_sdk_lambda::error::{ErrorMetadata, ProvideErrorMetadata, SdkError};

use zipwright_store::project::Project;

/// Kinds of errors that a caller handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The function does not exist.
    NotFound,
    /// The credentials do not allow the request.
    Denied,
    /// Another operation on the function is in progress.
    Busy,
    /// The function changed since it was read.
    Changed,
    /// The function was not called, because it cannot return a log.
    LogRefused,
    /// The function was not called, because it is durable and no qualifier was given.
    Unqualified,
    Other,
}

/// Errors that may pass. The request may or may not have been carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Passing {
    /// Too many requests; with the pause that the service asks for, if any.
    Throttled { after: Option<Duration> },
    /// The service failed.
    Server,
    /// There was no connection, it broke off, or the response is not one of Lambda's.
    Connection,
}

#[derive(Clone, Debug)]
pub struct Error {
    pub problem: Problem,
    pub(super) passing: Option<Passing>,
    pub(super) text: String,
}

impl Error {
    pub(super) fn new(problem: Problem, text: impl Into<String>) -> Self {
        Self { problem, passing: None, text: text.into() }
    }

    /// Returns whether the request may have been carried out although it failed: its response was
    /// lost.
    pub fn leaves_open(&self) -> bool {
        self.passing.as_ref().is_some_and(|passing| !matches!(passing, Passing::Throttled { .. }))
    }

    /// Adds the number of attempts to the message, if there was more than one.
    pub(super) fn after(mut self, attempts: u32) -> Self {
        if attempts > 1 {
            self.text.push_str(&format!("; failed after {attempts} attempts"));
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Error {}

/// Returns the error of one request. `wanted` completes "could not …"; `place` is the region and
/// address.
pub(super) fn explain<E>(wanted: &str, place: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let not_lambdas = |status: u16| format!("the answer (HTTP {status}) is not one of Lambda's");
    let (problem, passing, reason) = match error {
        SdkError::ServiceError(answer) => {
            let (raw, meta) = (answer.raw(), answer.err().meta());
            let after = raw.headers().get("retry-after");
            return explain_refusal(wanted, place, (meta, raw.status().as_u16()), after);
        }
        SdkError::TimeoutError(_) => {
            (Problem::Other, Some(Passing::Connection), "no answer in time".into())
        }
        SdkError::ResponseError(answer) => {
            let reason = not_lambdas(answer.raw().status().as_u16());
            (Problem::Other, Some(Passing::Connection), reason)
        }
        SdkError::DispatchFailure(failure) if !failure.is_user() && !is_for_good(error) => {
            (Problem::Other, Some(Passing::Connection), local_reason(error))
        }
        other => (Problem::Other, None, local_reason(other)),
    };
    let text = format!("could not {wanted} {place}: {reason}");
    Error { passing, ..Error::new(problem, text) }
}

/// Returns the error for a response that is an error: its metadata and HTTP status, and the value of
/// its `retry-after`.
pub(super) fn explain_refusal(
    wanted: &str,
    place: &str,
    (meta, status): (&ErrorMetadata, u16),
    after: Option<&str>,
) -> Error {
    let passing = passing(meta, status, after);
    let text = format!("could not {wanted} {place}: {}", service_reason(meta, status));
    Error { passing, ..Error::new(problem(meta, status), text) }
}

/// Returns the error for a request without a response.
pub(super) fn explain_failure(
    wanted: &str,
    place: &str,
    error: &(dyn StdError + 'static),
) -> Error {
    let passing = (!is_for_good(error)).then_some(Passing::Connection);
    let text = format!("could not {wanted} {place}: {}", local_reason(error));
    Error { passing, ..Error::new(Problem::Other, text) }
}

fn problem(meta: &ErrorMetadata, status: u16) -> Problem {
    let about_the_log = || {
        let text = meta.message().unwrap_or_default().to_lowercase();
        text.contains("logtype") || text.contains("log type") || text.contains("log-type")
    };
    match meta.code() {
        Some("ResourceNotFoundException") => Problem::NotFound,
        Some("AccessDeniedException") => Problem::Denied,
        Some("ResourceConflictException") => Problem::Busy,
        Some("PreconditionFailedException") => Problem::Changed,
        Some("InvalidParameterValueException" | "ValidationException")
            if status == 400 && about_the_log() =>
        {
            Problem::LogRefused
        }
        Some("InvalidParameterValueException")
            if meta.message().is_some_and(|text| text.contains("unqualified ARN")) =>
        {
            Problem::Unqualified
        }
        _ => Problem::Other,
    }
}

fn passing(meta: &ErrorMetadata, status: u16, after: Option<&str>) -> Option<Passing> {
    match (meta.code(), status) {
        (Some("TooManyRequestsException" | "ThrottlingException" | "Throttling"), _) | (_, 429) => {
            let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            Some(Passing::Throttled { after })
        }
        (_, 500 | 502..=504) => Some(Passing::Server),
        // S3 waited in vain for the rest of a request.
        (Some("RequestTimeout"), _) => Some(Passing::Connection),
        // The page of a proxy or portal, or a truncated response.
        (None, 200..300) => Some(Passing::Connection),
        _ => None,
    }
}

/// Returns whether another attempt would fail in the same way.
fn is_for_good(error: &(dyn StdError + 'static)) -> bool {
    is_about_credentials(error) || causes(error).iter().any(|cause| cause.contains("certificate"))
}

/// Returns the service's message, with a hint for the usual refusals.
fn service_reason(meta: &ErrorMetadata, status: u16) -> String {
    let Some(code) = meta.code() else {
        return match status {
            // The SDK could not parse it. Proxies and portals often respond with a page of their
            // own.
            200..300 => format!("the answer (HTTP {status}) is not one of Lambda's"),
            _ => format!("HTTP {status}"),
        };
    };
    // A refused signature is reported with the signed request, token included, on further lines.
    let message = meta.message().and_then(|text| text.lines().next()).unwrap_or_default();
    let reason = if message.is_empty() { code.to_owned() } else { format!("{code}: {message}") };
    let is_clock = code == "RequestTimeTooSkewed"
        || ["Signature expired", "Signature not yet current"]
            .iter()
            .any(|beginning| message.starts_with(beginning));
    let way_out = match code {
        _ if is_clock => "the clock of this machine is wrong: correct it",
        "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => {
            "the credentials have expired: sign in again, e.g. with `aws sso login` or \
             `aws login`"
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignatureException" => {
            "the credentials are not valid here: check AWS_PROFILE and the AWS_ACCESS_KEY_ID group"
        }
        "AccessDeniedException" | "AccessDenied" => {
            "zipwright needs lambda:GetFunctionConfiguration, lambda:UpdateFunctionCode and \
             lambda:InvokeFunction; docs/AWS.md lists the other permissions"
        }
        "NoSuchBucket" => "`bucket` must name an existing bucket in the function's region",
        "TooManyRequestsException" | "ThrottlingException" => "try again in a moment",
        "CodeStorageExceededException" => "delete old versions or functions in this region",
        "CodeVerificationFailedException" | "InvalidCodeSignatureException" => {
            "the function takes only zips that a trusted profile of AWS Signer has signed: sign \
             this one, then deploy it with `zipwright promote` (docs/AWS.md, \"Code signing\")"
        }
        "CodeSigningConfigNotFoundException" => {
            "the function refers to a code signing configuration that was deleted: set another, \
             or remove it with `aws lambda delete-function-code-signing-config`"
        }
        "KMSAccessDeniedException"
        | "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSNotFoundException" => {
            "check the KMS key of the function or of its code: it must be enabled, in this \
             region, and the function's role must be allowed to decrypt with it"
        }
        "ModeNotSupportedException" => {
            "the function requires another type of call: `type = \"event\"` for one that runs \
             for more than 30 minutes"
        }
        "NoPublishedVersionException" => {
            "on Managed Instances only published code is called: set `publish` on the upload"
        }
        "CodeArtifactUserPendingException" => "try again in a moment",
        "CodeArtifactUserDeletedException" | "CodeArtifactUserFailedException" => {
            "Lambda cannot read the function's code: upload it again, with -B"
        }
        "RequestTooLargeException" | "RequestEntityTooLargeException" => {
            "the request exceeds Lambda's limit"
        }
        _ => return reason,
    };
    format!("{}; {way_out}", reason.trim_end_matches('.'))
}

/// Returns the reason why a request was not sent, or got no response.
fn local_reason(error: &(dyn StdError + 'static)) -> String {
    let causes = causes(error);
    let deepest = causes.last().map_or("", String::as_str);
    if is_about_credentials(error) {
        // A `credential_process` may print credentials.
        let shown = deepest.split(" Stderr:").next().unwrap_or_default();
        // Without any credentials, the SDK lists every place that it searched.
        let detail = if deepest.starts_with("no credentials found in chain") {
            String::new()
        } else {
            format!(" ({})", in_one_line(shown))
        };
        return format!(
            "no usable AWS credentials{detail}: set AWS_PROFILE, or sign in, e.g. with \
             `aws sso login` or `aws login`"
        );
    }
    if causes.iter().any(|cause| cause.contains("certificate")) {
        return format!(
            "{deepest}; if a proxy has its own certificates, set AWS_CA_BUNDLE to a file with \
             them"
        );
    }
    deepest.to_owned()
}

pub(super) fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns whether the request was not sent because there are no credentials.
pub(super) fn is_about_credentials(error: &(dyn StdError + 'static)) -> bool {
    causes(error).iter().any(|cause| cause.contains("credential"))
}

fn causes(error: &(dyn StdError + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect()
}

/// Removes the credentials of the environment from `error`.
pub(super) fn redact(mut error: Error, project: &Project) -> Error {
    for name in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID"] {
        // A short value is a placeholder of a test and not a secret; removing it would hide
        // ordinary words.
        if let Some(secret) = project.var(name).filter(|value| value.len() >= 16) {
            error.text = error.text.replace(secret, "***");
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(code: &str, message: &str) -> ErrorMetadata {
        ErrorMetadata::builder().code(code).message(message).build()
    }

    #[test]
    fn a_refused_signature_shows_nothing_of_the_signed_request() {
        let text =
            "The signature does not match.\n\nThe Canonical String was\nx-amz-security-token:S";
        let reason = service_reason(&meta("InvalidSignatureException", text), 403);
        assert!(reason.starts_with("InvalidSignatureException: The signature does not match; "));
        assert!(!reason.contains("token:S"), "{reason}");
    }

    #[test]
    fn a_signature_at_a_wrong_time_is_about_the_clock() {
        for (code, text) in [
            ("InvalidSignatureException", "Signature expired: 20200101T000000Z is now earlier"),
            ("InvalidSignatureException", "Signature not yet current: 20300101T000000Z is still"),
            ("RequestTimeTooSkewed", "The difference between the request time and"),
        ] {
            let reason = service_reason(&meta(code, text), 403);
            assert!(
                reason.ends_with("; the clock of this machine is wrong: correct it"),
                "{reason}"
            );
        }
    }

    #[test]
    fn an_answer_without_a_code_is_named_by_its_status() {
        assert_eq!(service_reason(&ErrorMetadata::builder().build(), 502), "HTTP 502");
    }

    #[test]
    fn credentials_of_the_environment_are_blanked_out() {
        let secret = "wJalrXUtnFEMI/K7MDENG";
        let env = [("AWS_SECRET_ACCESS_KEY".into(), secret.into())].into();
        let project = Project::new("/".into(), env);
        let error = redact(Error::new(Problem::Other, format!("bad {secret}!")), &project);
        assert_eq!(error.to_string(), "bad ***!");
    }
}
