//! Puts a zip into a bucket in parts, several at a time, each with its SHA-256, which S3 checks. An
//! upload that fails half-way is aborted.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::upload_part::UploadPartError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart};
use aws_types::service_config::ServiceConfigKey;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::task::JoinSet;

use super::client::{Lambda, timeouts};
use super::error::{Error, Problem};
use super::function::UPLOAD_TIMEOUT;
use super::http::is_loopback;
use super::retry;
use super::settings::check_endpoints;
use super::store::{Bucket, Stored};
use zipwright_engine::signals;
use zipwright_store::{Sha256, words};

/// S3 requires 5 MiB at least, except for the last part.
const PART: usize = 8 << 20;
const PARTS_AT_ONCE: usize = 4;

/// Interval in which signals are noticed while parts are being sent.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

const PERMISSIONS: &str = "s3:GetObject, s3:PutObject and s3:AbortMultipartUpload";

/// An object, existing or new.
struct Object<'a> {
    bucket: &'a str,
    key: &'a str,
    zip: &'a [u8],
    /// The SHA-256 of all parts' SHA-256; S3 appends the number of parts.
    composite: String,
    parts: usize,
    whole: String,
}

impl Lambda<'_> {
    /// Stores `zip` in the bucket, under its digest, unless it is there already.
    pub fn store(
        &self,
        bucket: &Bucket,
        zip: &[u8],
        status: &(dyn Fn(&str) + Sync),
    ) -> Result<Stored, Error> {
        let client = self.s3()?;
        let digest = Sha256::of(zip);
        let key = bucket.key(&digest);
        let parts = zip.chunks(PART);
        let count = parts.len();
        let checksums: Vec<u8> = parts.flat_map(Sha256::of).collect();
        let object = Object {
            bucket: bucket.name,
            key: &key,
            zip,
            composite: base64(&Sha256::of(&checksums)),
            parts: count,
            whole: base64(&digest),
        };
        status(&format!("looking at {}", object.name()));
        let there = self.look(&client, &object).map_err(|refusal| refusal.error)?;
        if let Some(version) = there {
            return Ok(Stored { key, version });
        }
        let version = self.send_in_parts(&client, &object, status)?;
        Ok(Stored { key, version })
    }

    fn s3(&self) -> Result<Client, Error> {
        check_endpoints(self.project, &["AWS_ENDPOINT_URL_S3"])?;
        // As the SDK itself determines the endpoint of S3.
        let wanted = ServiceConfigKey::builder()
            .service_id("s3")
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build()
            .expect("BUG: all three are given");
        let own = self.config.service_config().and_then(|config| config.load_config(wanted));
        let endpoint = own.or_else(|| self.config.endpoint_url().map(str::to_owned));
        // `bucket.localhost` is not a host name.
        let here = endpoint.is_some_and(|url| is_loopback(&url));
        let config = Builder::from(&self.config)
            .force_path_style(here)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(UPLOAD_TIMEOUT));
        Ok(Client::from_conf(config.build()))
    }

    /// Returns the version of the object, if it exists with this content.
    fn look(&self, client: &Client, object: &Object) -> Result<Option<Option<String>>, Refusal> {
        let found = self.ask("look at", object, || {
            let request = client.head_object().bucket(object.bucket).key(object.key);
            request.checksum_mode(ChecksumMode::Enabled).send()
        });
        match found {
            Ok(found) => {
                let size = found.content_length().and_then(|size| usize::try_from(size).ok());
                let same = size == Some(object.zip.len())
                    && found.checksum_sha256().is_none_or(|checksum| object.has(checksum));
                Ok(same.then(|| version(found.version_id())))
            }
            // Without permission to list a bucket, a missing object is reported as forbidden.
            Err(refusal) if matches!(refusal.status, Some(403 | 404)) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Sends the object. Returns its version.
    fn send_in_parts(
        &self,
        client: &Client,
        object: &Object,
        status: &(dyn Fn(&str) + Sync),
    ) -> Result<Option<String>, Error> {
        let begun = self.ask("begin the upload of", object, || {
            let request = client.create_multipart_upload().bucket(object.bucket).key(object.key);
            let request = request.content_type("application/zip");
            request.checksum_algorithm(ChecksumAlgorithm::Sha256).send()
        });
        let begun = begun.map_err(|refusal| refusal.error)?;
        let Some(id) = begun.upload_id() else {
            let text = format!("S3 gives no upload for {}", object.name());
            return Err(Error::new(Problem::Other, text));
        };
        let sent = self.block_on(self.parts(client, object, id, status));
        let ended = sent.and_then(|parts| self.complete(client, object, id, &parts));
        ended.map_err(|error| self.take_back(client, object, id, &error))
    }

    /// Sends all parts, some of them in parallel.
    async fn parts(
        &self,
        client: &Client,
        object: &Object<'_>,
        id: &str,
        status: &(dyn Fn(&str) + Sync),
    ) -> Result<Vec<CompletedPart>, Error> {
        let mut waiting = object.zip.chunks(PART).zip(1..);
        let (mut running, mut done, mut bytes) = (JoinSet::new(), Vec::new(), 0);
        loop {
            while running.len() < PARTS_AT_ONCE
                && let Some((data, number)) = waiting.next()
            {
                let part = Part::new(client, object, id, (data, number));
                running.spawn(part.send(Duration::ZERO));
            }
            status(&format!(
                "uploading {} of {} to {}",
                words::size(bytes),
                words::size(object.zip.len() as u64),
                object.name()
            ));
            let ended = loop {
                if signals::is_ending() {
                    let text = format!("the upload of {} was interrupted", object.name());
                    return Err(Error::new(Problem::Other, text));
                }
                if let Ok(ended) = tokio::time::timeout(BETWEEN_LOOKS, running.join_next()).await {
                    break ended;
                }
            };
            let Some(ended) = ended else { break };
            match ended.expect("BUG: no part of an upload panics") {
                (part, Ok(sent)) => {
                    bytes += part.size;
                    done.push(sent);
                }
                (part, Err(error)) => {
                    let error = self.failed("send", object, &error);
                    let Some(pause) = retry::pause(&error, part.attempt) else {
                        return Err(error.after(part.attempt));
                    };
                    (self.say)(&format!("{error}; trying again in {:.1} s", pause.as_secs_f64()));
                    running.spawn(part.again().send(pause));
                }
            }
        }
        done.sort_by_key(CompletedPart::part_number);
        Ok(done)
    }

    fn complete(
        &self,
        client: &Client,
        object: &Object,
        id: &str,
        parts: &[CompletedPart],
    ) -> Result<Option<String>, Error> {
        let ended = self.ask("end the upload of", object, || {
            let all = CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build();
            let request = client.complete_multipart_upload().bucket(object.bucket).key(object.key);
            request.upload_id(id).multipart_upload(all).send()
        });
        match ended {
            Ok(ended) if ended.checksum_sha256().is_none_or(|checksum| object.has(checksum)) => {
                Ok(version(ended.version_id()))
            }
            Ok(ended) => {
                let checksum = ended.checksum_sha256().unwrap_or_default();
                let text = format!(
                    "S3 received other data than was sent for {}: its checksum is {checksum} \
                     instead of {}-{}; run again",
                    object.name(),
                    object.composite,
                    object.parts
                );
                Err(Error::new(Problem::Other, text))
            }
            // The answer to an earlier attempt may have been lost although the object exists.
            Err(refusal) => match self.look(client, object) {
                Ok(Some(version)) => Ok(version),
                _ => Err(refusal.error),
            },
        }
    }

    /// Discards the parts that were sent, because the owner of the bucket would pay for them.
    fn take_back(&self, client: &Client, object: &Object, id: &str, error: &Error) -> Error {
        let taken = self.ask("take back", object, || {
            let request = client.abort_multipart_upload().bucket(object.bucket).key(object.key);
            request.upload_id(id).send()
        });
        let what_is_left = match taken.map_err(|refusal| refusal.status) {
            Ok(_) => "the parts sent so far were discarded",
            // The upload does not exist any more.
            Err(Some(404)) => "nothing is left of it",
            Err(_) => {
                "its parts could not be discarded and stay in the bucket, until a lifecycle rule \
                 for incomplete multipart uploads removes them"
            }
        };
        Error::new(error.problem, format!("{error}; {what_is_left}, and nothing was deployed"))
    }

    /// Sends a request, and retries it as long as that can help.
    fn ask<T, E, F>(
        &self,
        deed: &str,
        object: &Object,
        request: impl Fn() -> F,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let mut attempt = 1;
        loop {
            let error = match self.block_on(request()) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let status = status_of(&error);
            let error = self.failed(deed, object, &error);
            if !self.pause(&error, attempt) {
                return Err(Refusal { status, error: error.after(attempt) });
            }
            attempt += 1;
        }
    }

    fn failed<E>(&self, deed: &str, object: &Object, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let wanted = format!("{deed} {}", object.name());
        if status_of(error) == Some(301) {
            return Error::new(
                Problem::Other,
                format!(
                    "could not {wanted}: the bucket is in another region than {}, and Lambda takes \
                     code from buckets of its own region only: name another bucket, or set \
                     AWS_REGION",
                    self.region
                ),
            );
        }
        if error.code() == Some("AccessDenied") {
            let place = self.place();
            let text = format!(
                "could not {wanted} {place}: AccessDenied; zipwright needs {PERMISSIONS} for the \
                 objects of this bucket"
            );
            return Error::new(Problem::Other, text);
        }
        self.explain(&wanted, error)
    }
}

/// A failed request: the HTTP status, if there was a response, and the message.
struct Refusal {
    status: Option<u16>,
    error: Error,
}

/// A part being sent.
struct Part {
    client: Client,
    bucket: String,
    key: String,
    upload: String,
    number: i32,
    data: Vec<u8>,
    size: u64,
    checksum: String,
    attempt: u32,
}

impl Part {
    fn new(client: &Client, object: &Object, upload: &str, (data, number): (&[u8], i32)) -> Self {
        Self {
            client: client.clone(),
            bucket: object.bucket.to_owned(),
            key: object.key.to_owned(),
            upload: upload.to_owned(),
            number,
            data: data.to_vec(),
            size: data.len() as u64,
            checksum: base64(&Sha256::of(data)),
            attempt: 1,
        }
    }

    fn again(mut self) -> Self {
        self.attempt += 1;
        self
    }

    async fn send(
        self,
        after: Duration,
    ) -> (Self, Result<CompletedPart, SdkError<UploadPartError, HttpResponse>>) {
        tokio::time::sleep(after).await;
        let request = self.client.upload_part().bucket(&self.bucket).key(&self.key);
        let request = request.upload_id(&self.upload).part_number(self.number);
        let request = request.checksum_sha256(&self.checksum);
        let sent = request.body(ByteStream::from(self.data.clone())).send().await;
        let part = CompletedPart::builder().part_number(self.number);
        let part = part.checksum_sha256(&self.checksum);
        let sent = sent.map(|sent| part.set_e_tag(sent.e_tag).build());
        (self, sent)
    }
}

impl Object<'_> {
    fn name(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.key)
    }

    /// Returns whether a checksum is this object's: of the whole, or of its parts. An object that
    /// was sent in other parts can be compared only by size and key.
    fn has(&self, checksum: &str) -> bool {
        match checksum.split_once('-') {
            None => checksum == self.whole || checksum == self.composite,
            Some((value, parts)) => {
                value == self.composite
                    || parts.parse().is_ok_and(|parts: usize| parts != self.parts)
            }
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Returns the version; `None` for `null`, the version of every object in a bucket without
/// versioning.
fn version(id: Option<&str>) -> Option<String> {
    id.filter(|id| *id != "null" && !id.is_empty()).map(str::to_owned)
}

fn status_of<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_of_the_whole_or_of_our_parts() {
        let object = Object {
            bucket: "b",
            key: "k",
            zip: b"",
            composite: "abc=".into(),
            parts: 7,
            whole: "whole=".into(),
        };
        for (checksum, expected) in [
            ("abc=-7", true),
            ("xyz=-7", false),
            ("whole=", true),
            ("other=", false),
            ("abc=", true),
            ("xyz=-3", true),
        ] {
            assert_eq!(object.has(checksum), expected, "{checksum}");
        }
    }

    #[test]
    fn a_bucket_without_versions_has_none() {
        assert_eq!(
            [version(None), version(Some("null")), version(Some("v1"))],
            [None, None, Some("v1".into())]
        );
    }
}
