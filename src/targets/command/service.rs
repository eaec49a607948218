//! Commands that are services: their keys, and their start under `watch`.

use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use toml::de::DeValue;

use super::{Command, invocation};
use crate::base::digest::FieldHasher;
use crate::buildfile::table::{Item, Reader, Table, boolean, entries, string, text};
use crate::buildfile::{mistakes, value};
use crate::key::{Key, Reason};
use crate::target::{Done, Job};
use crate::watch::{Hosts, Ready, Restart, Spec, Url};

/// Components of the fingerprint that are the command itself.
const OWN: [&str; 5] = ["run", "shell", "directory", "program", "env"];

/// Time to end before a service is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Keys that only a service has.
const KEYS: [&str; 4] = ["ready", "restart", "stop", "grace"];

#[derive(Clone, Debug)]
pub struct Service {
    pub ready: Ready,
    pub restart: Restart,
    /// The signal that asks it to end.
    pub stop: i32,
    pub grace: Duration,
}

/// Reads the keys of a service; `None` if the command is not one.
pub(super) fn read(table: &mut Table, reader: &mut Reader) -> Option<Service> {
    let is_service = table.optional("service", reader, boolean).unwrap_or(false);
    let owner = table.owner().to_owned();
    for key in KEYS {
        if let Some(item) = table.take(key).filter(|_| !is_service) {
            reader.report(mistakes::only_for_services(&item.span(), key, &owner));
        }
    }
    let ready = table.optional("ready", reader, ready);
    let restarts = [("on-change", Restart::OnChange), ("never", Restart::Never)];
    let restart = table.optional("restart", reader, |item, reader| {
        value::word(item, reader, "time to restart", &restarts)
    });
    let stops = [
        ("SIGTERM", SIGTERM),
        ("SIGINT", SIGINT),
        ("SIGHUP", SIGHUP),
        ("SIGQUIT", SIGQUIT),
        ("SIGUSR1", SIGUSR1),
        ("SIGUSR2", SIGUSR2),
        ("SIGKILL", SIGKILL),
    ];
    let stop =
        table.optional("stop", reader, |item, reader| value::word(item, reader, "signal", &stops));
    let grace = table.optional("grace", reader, value::duration);
    if !is_service {
        return None;
    }
    for key in ["outputs", "phony", "terminal", "timeout"] {
        if let Some(item) = table.take(key) {
            reader.report(mistakes::not_for_services(&item.span(), key, &owner));
        }
    }
    Some(Service {
        ready: ready.unwrap_or(Ready::AtOnce),
        restart: restart.unwrap_or(Restart::OnChange),
        stop: stop.unwrap_or(SIGTERM),
        grace: grace.unwrap_or(GRACE),
    })
}

fn ready(item: Item, reader: &mut Reader) -> Option<Ready> {
    let mut table = Table::new(entries(item, reader)?, "`ready`".into(), item.span());
    let tcp = table.optional("tcp", reader, port).map(Ready::Tcp);
    let http = table.optional("http", reader, url).map(Ready::Http);
    let seconds = table.optional("seconds", reader, seconds).map(Ready::After);
    let given = ["tcp", "http", "seconds"].into_iter().filter(|key| table.has(key)).count();
    table.done(reader);
    if given != 1 {
        reader.report(mistakes::one_way_to_be_ready(&item.span()));
        return None;
    }
    tcp.or(http).or(seconds)
}

fn port(item: Item, reader: &mut Reader) -> Option<u16> {
    let port = match item.value {
        DeValue::Integer(number) => number.to_string().parse().ok(),
        DeValue::String(_) => text(item, reader)?.parse().ok(),
        _ => None,
    };
    let port = port.filter(|port: &u16| *port > 0);
    if port.is_none() {
        item.wrong("the number of a port, from 1 to 65535", reader);
    }
    port
}

fn url(item: Item, reader: &mut Reader) -> Option<Url> {
    let text = string(item, reader)?;
    let url = Url::parse(&text.value);
    if url.is_none() {
        reader.report(mistakes::bad_url(&text.span, &text.value));
    }
    url
}

fn seconds(item: Item, reader: &mut Reader) -> Option<Duration> {
    let number = match item.value {
        DeValue::Integer(number) => number.to_string().parse().ok(),
        DeValue::Float(number) => number.to_string().parse().ok(),
        _ => None,
    };
    let time = number.and_then(|number: f64| Duration::try_from_secs_f64(number).ok());
    if time.is_none() {
        item.wrong("a number of seconds", reader);
    }
    time
}

/// Returns the reasons to start the service again, with the fingerprint `key`; `None` outside of a
/// watch.
pub(super) fn restarts(service: &Service, job: &Job, key: &Key) -> Option<Vec<Reason>> {
    let hosts = job.shared.find::<Hosts>()?;
    let name = &job.target.name.value;
    hosts.services.want(name, key);
    let Some(started) = hosts.services.key(name) else {
        return Some(vec![Reason::NotRunning]);
    };
    let mut reasons = key.differences(&started);
    if service.restart == Restart::Never {
        let is_own = |reason: &Reason| {
            let word = reason.component().and_then(|component| component.split(' ').next());
            word.is_some_and(|word| OWN.contains(&word))
        };
        reasons.retain(is_own);
    }
    Some(reasons)
}

pub(super) fn run(service: &Service, command: &Command, job: &Job) -> Result<Done> {
    let hosts = job.shared.find::<Hosts>();
    let hosts = hosts.context("it is a service, which only `zipwright watch` runs")?;
    job.messages.status(&format!("waiting until it is ready ({})", service.ready));
    let key = hosts.services.start(Spec {
        name: job.target.name.value.clone(),
        invocation: invocation(command, job)?,
        ready: service.ready.clone(),
        stop: service.stop,
        grace: service.grace,
    })?;
    let result = FieldHasher::new().field("service").field(key.as_bytes()).finish();
    Ok(Done { result: Some(result), ..Done::default() })
}
