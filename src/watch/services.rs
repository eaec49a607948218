//! Services: programs that run as long as the watch, and are started again when their inputs change.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::Ready;
use crate::base::Digest;
use crate::key::Key;
use crate::process::{Invocation, Lasting, Stream, describe};
use crate::signals;

/// When a running service is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    OnChange,
    /// Only if its command changes: it notices other changes by itself.
    Never,
}

/// A service to run.
pub struct Spec {
    pub name: String,
    pub invocation: Invocation,
    pub ready: Ready,
    /// The signal that asks it to end.
    pub stop: i32,
    /// Time to end before it is killed.
    pub grace: Duration,
}

/// Receives events of services, from any thread.
pub trait Listener: Send + Sync {
    fn line(&self, service: &str, stream: Stream, text: &str);
    /// The service ended although it was not stopped.
    fn ended(&self, service: &str, how: &str);
}

pub struct Services {
    running: Mutex<BTreeMap<String, Running>>,
    /// The present fingerprints.
    wanted: Mutex<BTreeMap<String, Key>>,
    listener: Arc<dyn Listener>,
}

struct Running {
    program: Lasting,
    key: Key,
    stop: i32,
    grace: Duration,
    /// Whether an end of the program is not reported.
    expected: Arc<AtomicBool>,
}

impl Running {
    fn stop(self) {
        self.expected.store(true, Ordering::Relaxed);
        self.program.stop(self.stop, self.grace);
    }
}

impl Services {
    pub fn new(listener: Arc<dyn Listener>) -> Self {
        Self { running: Mutex::default(), wanted: Mutex::default(), listener }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the fingerprint with which the service was started; `None` if it does not run.
    pub fn key(&self, name: &str) -> Option<Key> {
        let running = self.lock();
        let found = running.get(name).filter(|service| service.program.end().status().is_none());
        found.map(|service| service.key.clone())
    }

    /// Sets the fingerprint with which the service is started next.
    pub fn want(&self, name: &str, key: &Key) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.insert(name.to_owned(), key.clone());
    }

    /// Stops the service if it runs, starts it, and waits until it is ready. Returns the digest of its
    /// fingerprint.
    pub fn start(&self, spec: Spec) -> Result<Digest> {
        let Spec { name, invocation, ready, stop, grace } = spec;
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let key = wanted.get(&name).cloned().unwrap_or_default();
        drop(wanted);
        let digest = key.digest();
        let old = self.lock().remove(&name);
        if let Some(old) = old {
            old.stop();
        }
        ready.check_free()?;
        signals::grant(grace);
        let expected = Arc::new(AtomicBool::new(false));
        let on_line = {
            let (listener, name) = (Arc::clone(&self.listener), name.clone());
            move |stream, text: &str| listener.line(&name, stream, text)
        };
        let on_end = {
            let (listener, name, expected) =
                (Arc::clone(&self.listener), name.clone(), Arc::clone(&expected));
            move |end: &crate::process::End| {
                if !expected.load(Ordering::Relaxed) {
                    let status = end.status().flatten();
                    let how = status.map_or_else(|| "an unknown status".into(), describe);
                    listener.ended(&name, &how);
                }
            }
        };
        // Until it is ready, its end is the error of its start.
        expected.store(true, Ordering::Relaxed);
        let program = invocation.start_lasting(on_line, on_end)?;
        let running = Running { program, key, stop, grace, expected };
        if let Err(error) = ready.wait(running.program.end()) {
            running.stop();
            return Err(error);
        }
        running.expected.store(false, Ordering::Relaxed);
        self.lock().insert(name, running);
        Ok(digest)
    }

    /// Stops all services but those with these names.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        let mut stopped = Vec::new();
        let mut running = self.lock();
        for (name, service) in std::mem::take(&mut *running) {
            match keep(&name) {
                true => _ = running.insert(name, service),
                false => stopped.push(service),
            }
        }
        drop(running);
        thread::scope(|scope| {
            for service in stopped {
                scope.spawn(|| service.stop());
            }
        });
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.retain(|_| false);
    }
}
