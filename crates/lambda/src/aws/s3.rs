//! Puts a zip into a bucket in parts, several at a time, each with its SHA-256, which S3 checks. An
//! upload that fails half-way is aborted.

mod endpoint;
mod request;

use std::time::Duration;

use aws_smithy_xml::encode::XmlWriter;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use self::endpoint::{endpoint, in_query, url};
use self::request::{Failure, Request, Response, Signer};
use super::client::Lambda;
use super::error::{Error, Problem, explain_failure, explain_refusal, redact};
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

/// The header with the SHA-256 of a part, or of an object's parts.
const CHECKSUM: &str = "x-amz-checksum-sha256";

const PERMISSIONS: &str = "s3:GetObject, s3:PutObject and s3:AbortMultipartUpload";

/// An object, existing or new.
struct Object<'a> {
    bucket: &'a str,
    key: &'a str,
    url: String,
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
        check_endpoints(self.project, &["AWS_ENDPOINT_URL_S3"])?;
        let signer = Signer::new(self);
        let digest = Sha256::of(zip);
        let key = bucket.key(&digest);
        let parts = zip.chunks(PART);
        let count = parts.len();
        let checksums: Vec<u8> = parts.flat_map(Sha256::of).collect();
        let object = Object {
            bucket: bucket.name,
            key: &key,
            url: url(&endpoint(&self.config, &self.region), bucket.name, &key),
            zip,
            composite: base64(&Sha256::of(&checksums)),
            parts: count,
            whole: base64(&digest),
        };
        status(&format!("looking at {}", object.name()));
        let there = self.look(&signer, &object).map_err(|refusal| refusal.error)?;
        if let Some(version) = there {
            return Ok(Stored { key, version });
        }
        let version = self.send_in_parts(&signer, &object, status)?;
        Ok(Stored { key, version })
    }

    /// Returns the version of the object, if it exists with this content.
    fn look(&self, signer: &Signer, object: &Object) -> Result<Option<Option<String>>, Refusal> {
        let found = self.ask("look at", object, signer, || Request {
            method: "HEAD",
            url: object.url.clone(),
            headers: &[("x-amz-checksum-mode", "ENABLED")],
            body: Vec::new(),
        });
        match found {
            Ok(found) => {
                let size = found.header("content-length").and_then(|size| size.parse().ok());
                let same = size == Some(object.zip.len()) && object.is_in(found.header(CHECKSUM));
                Ok(same.then(|| version(&found)))
            }
            // Without permission to list a bucket, a missing object is reported as forbidden.
            Err(refusal) if matches!(refusal.status, Some(403 | 404)) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Sends the object. Returns its version.
    fn send_in_parts(
        &self,
        signer: &Signer,
        object: &Object,
        status: &(dyn Fn(&str) + Sync),
    ) -> Result<Option<String>, Error> {
        let begun = self.ask("begin the upload of", object, signer, || Request {
            method: "POST",
            url: format!("{}?uploads", object.url),
            headers: &[("content-type", "application/zip"), ("x-amz-checksum-algorithm", "SHA256")],
            body: Vec::new(),
        });
        let begun = begun.map_err(|refusal| refusal.error)?;
        let Some(id) = begun.element("UploadId") else {
            let text = format!("S3 gives no upload for {}", object.name());
            return Err(Error::new(Problem::Other, text));
        };
        let id = in_query(id);
        let sent = self.block_on(self.parts(signer, object, &id, status));
        let ended = sent.and_then(|parts| self.complete(signer, object, &id, &parts));
        ended.map_err(|error| self.take_back(signer, object, &id, &error))
    }

    /// Sends all parts, some of them in parallel.
    async fn parts(
        &self,
        signer: &Signer<'_>,
        object: &Object<'_>,
        id: &str,
        status: &(dyn Fn(&str) + Sync),
    ) -> Result<Vec<Sent>, Error> {
        let mut waiting = object.zip.chunks(PART).zip(1..);
        let mut running = FuturesUnordered::new();
        let (mut done, mut bytes) = (Vec::new(), 0);
        loop {
            while running.len() < PARTS_AT_ONCE
                && let Some((data, number)) = waiting.next()
            {
                let part = Part { number, data, checksum: base64(&Sha256::of(data)), attempt: 1 };
                running.push(part.send(signer, object, id, Duration::ZERO));
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
                if let Ok(ended) = tokio::time::timeout(BETWEEN_LOOKS, running.next()).await {
                    break ended;
                }
            };
            match ended {
                None => break,
                Some((part, Ok(answer))) => {
                    bytes += part.data.len() as u64;
                    let tag = answer.header("etag").map(str::to_owned);
                    done.push(Sent { number: part.number, checksum: part.checksum, tag });
                }
                Some((part, Err(failure))) => {
                    let error = self.failed("send", object, &failure).error;
                    let Some(pause) = retry::pause(&error, part.attempt) else {
                        return Err(error.after(part.attempt));
                    };
                    (self.say)(&format!("{error}; trying again in {:.1} s", pause.as_secs_f64()));
                    let part = Part { attempt: part.attempt + 1, ..part };
                    running.push(part.send(signer, object, id, pause));
                }
            }
        }
        done.sort_by_key(|sent| sent.number);
        Ok(done)
    }

    fn complete(
        &self,
        signer: &Signer,
        object: &Object,
        id: &str,
        parts: &[Sent],
    ) -> Result<Option<String>, Error> {
        let ended = self.ask("end the upload of", object, signer, || Request {
            method: "POST",
            url: format!("{}?uploadId={id}", object.url),
            headers: &[("content-type", "application/xml")],
            body: list(parts).into_bytes(),
        });
        match ended {
            Ok(ended) if object.is_in(ended.element("ChecksumSHA256")) => Ok(version(&ended)),
            Ok(ended) => {
                let checksum = ended.element("ChecksumSHA256").unwrap_or_default();
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
            Err(refusal) => match self.look(signer, object) {
                Ok(Some(version)) => Ok(version),
                _ => Err(refusal.error),
            },
        }
    }

    /// Discards the parts that were sent, because the owner of the bucket would pay for them.
    fn take_back(&self, signer: &Signer, object: &Object, id: &str, error: &Error) -> Error {
        let taken = self.ask("take back", object, signer, || Request {
            method: "DELETE",
            url: format!("{}?uploadId={id}", object.url),
            headers: &[],
            body: Vec::new(),
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
    fn ask<'r>(
        &self,
        deed: &str,
        object: &Object,
        signer: &Signer,
        request: impl Fn() -> Request<'r>,
    ) -> Result<Response, Refusal> {
        let mut attempt = 1;
        loop {
            let failure = match self.block_on(signer.send(request())) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let Refusal { status, error } = self.failed(deed, object, &failure);
            if !self.pause(&error, attempt) {
                return Err(Refusal { status, error: error.after(attempt) });
            }
            attempt += 1;
        }
    }

    fn failed(&self, deed: &str, object: &Object, failure: &Failure) -> Refusal {
        let wanted = format!("{deed} {}", object.name());
        let place = self.place();
        let (status, error) = match failure {
            Failure::Unanswered(cause) => (None, explain_failure(&wanted, &place, &**cause)),
            Failure::Refused { status: 301, .. } => {
                let text = format!(
                    "could not {wanted}: the bucket is in another region than {}, and Lambda takes \
                     code from buckets of its own region only: name another bucket, or set \
                     AWS_REGION",
                    self.region
                );
                (Some(301), Error::new(Problem::Other, text))
            }
            Failure::Refused { status, meta, .. } if meta.code() == Some("AccessDenied") => {
                let text = format!(
                    "could not {wanted} {place}: AccessDenied; zipwright needs {PERMISSIONS} for \
                     the objects of this bucket"
                );
                (Some(*status), Error::new(Problem::Other, text))
            }
            Failure::Refused { status, meta, retry_after } => {
                let after = retry_after.as_deref();
                (Some(*status), explain_refusal(&wanted, &place, (meta, *status), after))
            }
        };
        Refusal { status, error: redact(error, self.project) }
    }
}

/// A failed request: the HTTP status, if there was a response, and the message.
struct Refusal {
    status: Option<u16>,
    error: Error,
}

/// A part being sent.
struct Part<'a> {
    number: usize,
    data: &'a [u8],
    checksum: String,
    attempt: u32,
}

/// A part that S3 has.
struct Sent {
    number: usize,
    checksum: String,
    tag: Option<String>,
}

impl Part<'_> {
    async fn send(
        self,
        signer: &Signer<'_>,
        object: &Object<'_>,
        id: &str,
        after: Duration,
    ) -> (Self, Result<Response, Failure>) {
        tokio::time::sleep(after).await;
        let request = Request {
            method: "PUT",
            url: format!("{}?partNumber={}&uploadId={id}", object.url, self.number),
            headers: &[(CHECKSUM, &self.checksum)],
            body: self.data.to_vec(),
        };
        let sent = signer.send(request).await;
        (self, sent)
    }
}

/// Returns the body of the request that ends an upload.
fn list(parts: &[Sent]) -> String {
    let mut text = String::new();
    let mut writer = XmlWriter::new(&mut text);
    let root = writer.start_el("CompleteMultipartUpload");
    let mut root = root.write_ns("http://s3.amazonaws.com/doc/2006-03-01/", None).finish();
    for part in parts {
        let mut element = root.start_el("Part").finish();
        let number = part.number.to_string();
        let tag = part.tag.as_deref().map(|tag| ("ETag", tag));
        let rest = [("ChecksumSHA256", &*part.checksum), ("PartNumber", &*number)];
        for (name, value) in tag.into_iter().chain(rest) {
            let mut child = element.start_el(name).finish();
            child.data(value);
            child.finish();
        }
        element.finish();
    }
    root.finish();
    text
}

impl Object<'_> {
    fn name(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.key)
    }

    /// Returns whether a checksum, if there is one, is this object's: of the whole, or of its parts.
    /// An object that was sent in other parts can be compared only by size and key.
    fn is_in(&self, checksum: Option<&str>) -> bool {
        let Some(checksum) = checksum else { return true };
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
fn version(answer: &Response) -> Option<String> {
    let id = answer.header("x-amz-version-id");
    id.filter(|id| *id != "null" && !id.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_of_the_whole_or_of_our_parts() {
        let object = Object {
            bucket: "b",
            key: "k",
            url: String::new(),
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
            assert_eq!(object.is_in(Some(checksum)), expected, "{checksum}");
        }
    }

    #[test]
    fn a_list_of_parts_is_escaped() {
        let sent = |number, tag: Option<&str>| Sent {
            number,
            checksum: "c=".into(),
            tag: tag.map(str::to_owned),
        };
        let expected = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Part><ETag>&quot;a&amp;b&quot;</ETag><ChecksumSHA256>c=</ChecksumSHA256>\
             <PartNumber>1</PartNumber></Part><Part><ChecksumSHA256>c=</ChecksumSHA256>\
             <PartNumber>2</PartNumber></Part></CompleteMultipartUpload>";
        assert_eq!(list(&[sent(1, Some("\"a&b\"")), sent(2, None)]), expected);
    }
}
