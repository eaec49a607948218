//! Runs a handler from a bundle on this machine as Lambda would: AWS's own client, in a Python of
//! the bundle's version, requests calls from this module over Lambda's own protocol.
//!
//! A handler can import only the bundle, the standard library and the client, so a dependency that
//! is missing in the bundle is missing here. Not modelled: the memory limit, another architecture,
//! Amazon Linux's own libraries, a read-only file system. Knows nothing of targets and Buildfiles.

mod api;
mod client;
mod http;
mod peer;
mod tree;
mod worker;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use uuid::Uuid;

pub use client::Client;
pub use tree::Tree;
use worker::{End, Worker};

use crate::process::describe;

/// Time limit for loading a handler; a handler with a longer call timeout has that time.
pub const INIT_LIMIT: Duration = Duration::from_secs(10);
/// Largest size of a response in bytes.
const RESPONSE_LIMIT: usize = 6_291_556;
/// The memory size in MB that the handler reads: Lambda's default. It is not enforced.
const MEMORY: &str = "128";

/// A handler and its environment.
pub struct Setup<'a> {
    /// Name of the function.
    pub name: &'a str,
    /// `module.function`.
    pub handler: &'a str,
    pub tree: &'a Path,
    /// The folder with its unpacked layers; Lambda's is `/opt`.
    pub layers: Option<&'a Path>,
    pub client: &'a Client,
    pub region: &'a str,
    pub timeout: Duration,
    /// Variables in addition to Lambda's own.
    pub env: &'a BTreeMap<String, String>,
    /// Receives every line that the handler prints or logs.
    pub log: &'a dyn Fn(&str),
}

impl Setup<'_> {
    fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:000000000000:function:{}", self.region, self.name)
    }
}

/// A function that may be called several times. The first call starts it, and so does a call after
/// its end; in between it stays warm.
pub struct Function<'a> {
    setup: Setup<'a>,
    worker: Option<Worker>,
}

/// The result of a call.
#[derive(Clone, Debug)]
pub struct Reply {
    pub outcome: Outcome,
    /// Whether the function had to be started.
    pub cold: bool,
    pub seconds: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Response(Vec<u8>),
    /// The JSON of Lambda's error response: `errorType`, `errorMessage`, `stackTrace`.
    Failure(Vec<u8>),
}

impl<'a> Function<'a> {
    pub fn new(setup: Setup<'a>) -> Self {
        Self { setup, worker: None }
    }

    pub fn call(&mut self, payload: &[u8]) -> Result<Reply> {
        let started = Instant::now();
        let cold = self.worker.is_none();
        let mut worker = match self.worker.take() {
            Some(worker) => worker,
            None => Worker::start(&self.setup)?,
        };
        let id = Uuid::new_v4().to_string();
        let end = worker.call(&self.setup, &id, payload)?;
        let seconds = started.elapsed().as_secs_f64();
        // In all other cases the process has ended.
        if matches!(end, End::Answered(_) | End::Failed(_)) {
            self.worker = Some(worker);
        }
        Ok(Reply { outcome: outcome(end, &id, self.setup.timeout), cold, seconds })
    }
}

/// Returns the result of a call with Lambda's error types.
fn outcome(end: End, id: &str, timeout: Duration) -> Outcome {
    let (kind, message) = match end {
        End::Answered(body) if body.len() <= RESPONSE_LIMIT => return Outcome::Response(body),
        End::Answered(_) => (
            "Function.ResponseSizeTooLarge",
            format!(
                "Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes)."
            ),
        ),
        End::Failed(body) | End::InitFailed(body) => return Outcome::Failure(body),
        End::TimedOut => (
            "Sandbox.Timedout",
            format!(
                "RequestId: {id} Error: Task timed out after {:.2} seconds",
                timeout.as_secs_f64()
            ),
        ),
        End::InitTimedOut => (
            "Sandbox.Timedout",
            format!(
                "RequestId: {id} Error: the handler was not loaded after {:.2} seconds",
                INIT_LIMIT.max(timeout).as_secs_f64()
            ),
        ),
        End::Exited(status) => {
            ("Runtime.ExitError", format!("RequestId: {id} Error: {}", exit(status)))
        }
    };
    Outcome::Failure(json!({"errorType": kind, "errorMessage": message}).to_string().into_bytes())
}

fn exit(status: ExitStatus) -> String {
    match status.code() {
        Some(0) => "Runtime exited without providing a reason".into(),
        _ => format!("Runtime exited with error: {}", describe(status)),
    }
}
