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
use std::path::PathBuf;
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
#[derive(Debug)]
pub struct Setup {
    /// Name of the function.
    pub name: String,
    /// `module.function`.
    pub handler: String,
    pub tree: PathBuf,
    /// The folder with its unpacked layers; Lambda's is `/opt`.
    pub layers: Option<PathBuf>,
    pub client: Client,
    pub region: String,
    pub timeout: Duration,
    /// Variables in addition to Lambda's own.
    pub env: BTreeMap<String, String>,
}

/// Receives every line that a handler prints or logs.
pub type Log<'a> = &'a dyn Fn(&str);

impl Setup {
    fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:000000000000:function:{}", self.region, self.name)
    }
}

/// A function that may be called several times. The first call starts it, and so does a call after
/// its end; in between it stays warm.
pub struct Function {
    setup: Setup,
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

impl Function {
    pub fn new(setup: Setup) -> Self {
        Self { setup, worker: None }
    }

    /// Sets whether the function outlasts the build. Otherwise it is ended with it.
    pub fn set_lasting(&self, lasting: bool) {
        if let Some(worker) = &self.worker {
            worker.set_lasting(lasting);
        }
    }

    pub fn call(&mut self, payload: &[u8], log: Log) -> Result<Reply> {
        let started = Instant::now();
        let cold = self.worker.is_none();
        let mut worker = match self.worker.take() {
            Some(worker) => worker,
            None => Worker::start(&self.setup)?,
        };
        let id = Uuid::new_v4().to_string();
        let end = worker.call((&self.setup, log), &id, payload)?;
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
