//! The keys of an `invoke`: where the function runs, its payloads, and the keys for a call on AWS
//! or on this machine only.

use toml::de::DeValue;

use super::{Call, Invoke, Local, Payload, Remote, Runner};
use crate::buildfile::table::{Item, Reader, Table, boolean, members, string};
use crate::buildfile::{mistakes, payload, value};
use crate::diagnostic::Rule;
use crate::targets::command::env;
use crate::targets::upload;

/// Lambda's own default, in seconds.
const DEFAULT_TIMEOUT: u16 = 3;
/// The timeouts that Lambda takes, in seconds.
const TIMEOUTS: std::ops::RangeInclusive<u16> = 1..=5400;

pub(in crate::targets) fn read(table: &mut Table, reader: &mut Reader) -> Option<Invoke> {
    let here = table.optional("local", reader, boolean).unwrap_or(false);
    let runner = runner(here, table, reader);
    let payloads = payloads(table, reader);
    let call = table.take("type");
    let function = table.take("function");
    let qualifier = table.take("qualifier");
    if here {
        for (key, item) in [("type", call), ("function", function), ("qualifier", qualifier)] {
            if let Some(item) = item {
                reader.report(mistakes::only_on_aws(&item.span(), key, table.owner()));
            }
        }
    }
    let words = [("request", Call::Request), ("event", Call::Event), ("dry-run", Call::DryRun)];
    let remote = Remote {
        call: call
            .and_then(|item| value::word(item, reader, "type", &words))
            .unwrap_or(Call::Request),
        function: function.and_then(|item| upload::function(item, reader)),
        qualifier: qualifier.and_then(|item| self::qualifier(item, reader)),
    };
    let local = local(here, table, reader);
    Some(Invoke { runner: runner?, payloads, repeat: 1, remote, local: local? })
}

fn qualifier(item: Item, reader: &mut Reader) -> Option<String> {
    let known = reader.mistakes.len();
    let name = value::filled(item, reader, "a version such as `7`, or an alias")?;
    if reader.mistakes.len() == known && !upload::is_qualifier(&name.value) {
        reader.report(mistakes::bad_qualifier(&name.span, &name.value));
        return None;
    }
    Some(name.value)
}

fn runner(here: bool, table: &mut Table, reader: &mut Reader) -> Option<Runner> {
    let (upload, zip, layers) = (table.take("upload"), table.take("zip"), table.take("layers"));
    if let Some(layers) = layers.filter(|_| !here) {
        reader.report(mistakes::layers_for_aws(&layers.span(), table.owner()));
    }
    let layers = layers.and_then(|item| members(item, reader, string)).unwrap_or_default();
    match (upload, zip) {
        (None, None) => {
            let key = if here { "zip" } else { "upload" };
            let mistake = mistakes::missing_key(table.span(), key, table.owner(), "\"…\"");
            let places = ["upload", "zip"].map(str::to_owned).to_vec();
            reader.report(mistake.breaks(Rule::AnyOf(places)));
            None
        }
        (Some(upload), Some(zip)) => {
            let (first, second) =
                if upload.start < zip.start { (upload, zip) } else { (zip, upload) };
            let keys = ["upload", "zip"];
            let (first, second) = (first.span(), second.span());
            reader.report(mistakes::only_one_of(&second, &first, keys, table.owner()));
            None
        }
        (Some(upload), None) => {
            if here {
                reader.report(mistakes::upload_for_local(&upload.span(), table.owner()));
            }
            Some(Runner::Aws { upload: string(upload, reader)? })
        }
        (None, Some(zip)) => {
            if !here {
                reader.report(mistakes::zip_for_aws(&zip.span(), table.owner()));
            }
            Some(Runner::Here { zip: string(zip, reader)?, layers })
        }
    }
}

fn payloads(table: &mut Table, reader: &mut Reader) -> Vec<Payload> {
    let (one, many) = (table.take("payload"), table.take("payloads"));
    if let (Some(one), Some(many)) = (one, many) {
        let (first, second) = if one.start < many.start { (one, many) } else { (many, one) };
        let keys = ["payload", "payloads"];
        let (first, second) = (first.span(), second.span());
        reader.report(mistakes::only_one_of(&second, &first, keys, table.owner()));
    }
    let mut payloads = Vec::new();
    if let Some(item) = many {
        if matches!(item.value, DeValue::Array(array) if array.is_empty()) {
            let hint = "leave it out to send `{}`";
            reader.report(mistakes::empty(&item.span(), "`payloads`", hint));
        }
        payloads = members(item, reader, payload).unwrap_or_default();
    }
    payloads.extend(one.and_then(|item| payload(item, reader)));
    if payloads.is_empty() {
        payloads.push(Payload::Inline("{}".into()));
    }
    payloads
}

fn payload(item: Item, reader: &mut Reader) -> Option<Payload> {
    match item.value {
        DeValue::String(_) => value::path(item, reader).map(Payload::File),
        DeValue::Table(_) => {
            payload::json(item, reader).map(|json| Payload::Inline(json.to_string()))
        }
        _ => {
            item.wrong("a string (a file), or a table that is sent as JSON", reader);
            None
        }
    }
}

fn local(here: bool, table: &mut Table, reader: &mut Reader) -> Option<Local> {
    let example = "\"module.function\"";
    let given = table.has("handler");
    let handler = table.optional("handler", reader, handler);
    let timeout = table.optional("timeout", reader, timeout);
    let env = table.optional("env", reader, env).unwrap_or_default();
    let python = table.optional("python", reader, |item, reader| {
        value::filled(item, reader, "a program such as `python3.13`, or a path to one")
    });
    let boto3 = table.optional("with-boto3", reader, boolean).unwrap_or(false);
    if here && !given {
        reader.report(mistakes::missing_key(table.span(), "handler", table.owner(), example));
        return None;
    }
    Some(Local { handler, timeout: timeout.unwrap_or(DEFAULT_TIMEOUT), env, python, boto3 })
}

/// Returns whether a text is the name of a handler.
pub fn is_handler(text: &str) -> bool {
    let is_plain = !text.starts_with('-') && !text.contains(char::is_whitespace);
    let parts = text.rsplit_once('.').filter(|_| is_plain);
    parts.is_some_and(|(module, function)| !module.is_empty() && !function.is_empty())
}

/// `module.function`; the module may be in packages, written with `.` or `/`.
fn handler(item: Item, reader: &mut Reader) -> Option<String> {
    let text = string(item, reader)?;
    if !is_handler(&text.value) {
        reader.report(mistakes::bad_handler(&text.span, &text.value));
        return None;
    }
    Some(text.value)
}

fn timeout(item: Item, reader: &mut Reader) -> Option<u16> {
    let DeValue::Integer(number) = item.value else {
        item.wrong("an integer, in seconds", reader);
        return None;
    };
    let seconds = u16::from_str_radix(number.as_str(), number.radix()).ok();
    let seconds = seconds.filter(|seconds| TIMEOUTS.contains(seconds));
    if seconds.is_none() {
        reader.report(mistakes::bad_timeout(&item.span()));
    }
    seconds
}
