//! Commands of the AWS CLI that deploy and call functions.

use std::collections::BTreeMap;

use super::deed::{Code, Deed, WorkingFolder};

/// Options that affect the place and the output of the CLI, but not its effect.
const SETTINGS: [&str; 8] = [
    "--region",
    "--profile",
    "--output",
    "--query",
    "--cli-binary-format",
    "--log-type",
    "--endpoint-url",
    "--cli-read-timeout",
];

/// Options without a value.
const FLAGS: [&str; 6] = [
    "--publish",
    "--no-cli-pager",
    "--no-publish",
    "--quiet",
    "--only-show-errors",
    "--no-progress",
];

pub(super) fn deed(arguments: &[&str], place: &WorkingFolder) -> Option<Deed> {
    let (options, words) = split(arguments)?;
    let option = |name: &str| options.get(name).copied();
    let takes = |known: &[&str]| {
        options
            .keys()
            .all(|name| known.contains(name) || SETTINGS.contains(name) || FLAGS.contains(name))
    };
    let function = || option("--function-name").map(str::to_owned);
    match words.as_slice() {
        ["lambda", "update-function-code"] => {
            takes(&["--function-name", "--zip-file", "--s3-bucket", "--s3-key"]).then_some(())?;
            let code = match (option("--zip-file"), option("--s3-bucket"), option("--s3-key")) {
                (Some(file), None, None) => Code::Zip(place.path(local(file))?),
                (None, Some(bucket), Some(key)) => {
                    Code::Bucket { bucket: bucket.into(), key: key.into() }
                }
                _ => return None,
            };
            let publish = options.contains_key("--publish");
            Some(Deed::Update { function: function()?, code, publish })
        }
        ["lambda", "invoke", ..] => {
            takes(&["--function-name", "--payload", "--invocation-type"]).then_some(())?;
            let payload = match option("--payload") {
                // An inline payload is not a path.
                Some(payload) if local(payload) == payload => return None,
                Some(payload) => Some(place.path(local(payload))?),
                None => None,
            };
            let is_event = match option("--invocation-type") {
                None | Some("RequestResponse") => false,
                Some("Event") => true,
                _ => return None,
            };
            Some(Deed::Invoke { function: function()?, payload, is_event })
        }
        ["lambda", "publish-version"] => {
            takes(&["--function-name"]).then_some(())?;
            Some(Deed::Publish { function: function()? })
        }
        ["lambda", "publish-layer-version", more @ ..] => {
            let (runtimes, archs) = ("--compatible-runtimes", "--compatible-architectures");
            takes(&["--layer-name", "--zip-file", "--description", runtimes, archs])
                .then_some(())?;
            // Both take several values.
            let values = || {
                [option(runtimes), option(archs)].into_iter().flatten().chain(more.iter().copied())
            };
            let is_runtime = |value: &&str| value.starts_with("python");
            let of = |values: &mut dyn Iterator<Item = &str>| values.map(str::to_owned).collect();
            Some(Deed::PublishLayer {
                name: option("--layer-name")?.to_owned(),
                file: place.path(local(option("--zip-file")?))?,
                runtimes: of(&mut values().filter(is_runtime)),
                archs: of(&mut values().filter(|value| !is_runtime(value))),
            })
        }
        ["lambda", "wait", ..] => Some(Deed::Nothing("an upload waits until it is live")),
        ["lambda", "update-alias" | "create-alias"] => {
            takes(&["--function-name", "--name", "--function-version"]).then_some(())?;
            Some(Deed::Alias { function: function()?, name: option("--name")?.to_owned() })
        }
        ["s3", "cp", file, to] => {
            takes(&[]).then_some(())?;
            let (bucket, key) = to.strip_prefix("s3://")?.split_once('/')?;
            Some(Deed::Send { file: place.path(file)?, bucket: bucket.into(), key: key.into() })
        }
        _ => None,
    }
}

/// The options with their values, and all other words.
fn split<'a>(arguments: &[&'a str]) -> Option<(BTreeMap<&'a str, &'a str>, Vec<&'a str>)> {
    let (mut options, mut words) = (BTreeMap::new(), Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if !argument.starts_with("--") {
            words.push(*argument);
        } else if let Some((name, value)) = argument.split_once('=') {
            options.insert(name, value);
        } else if FLAGS.contains(argument) {
            options.insert(*argument, "");
        } else {
            options.insert(*argument, *arguments.next()?);
        }
    }
    Some((options, words))
}

/// The path of a `file://` or `fileb://` URL.
fn local(text: &str) -> &str {
    text.strip_prefix("fileb://").or_else(|| text.strip_prefix("file://")).unwrap_or(text)
}
