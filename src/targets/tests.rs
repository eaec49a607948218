//! Sound Buildfiles: every key, every default, variables. The unsound ones are data, beside the
//! tests of the graph, which sees them whole.

use std::collections::BTreeMap;

use zipwright_python::Arch;

use super::check::Check;
use super::clamp::Clamp;
use super::command::Command;
use super::invoke::{Call, Invoke, Payload, Runner};
use super::load;
use super::staging::{Destination, Staging, Winner};
use super::upload::Upload;
use super::wheelhouse::{PythonVersion, Wheelhouse};
use super::zip::{Compression, Zip};
use crate::buildfile::Loaded;
use crate::deploy::Publish;
use crate::target::{Action, Kind, Model, Words};
use crate::timestamp::Timestamp;

#[track_caller]
fn sound(text: &str) -> Model {
    let Loaded { model, diagnostics } = load(text, &BTreeMap::new());
    let shown: Vec<String> =
        diagnostics.iter().map(|mistake| mistake.render("Buildfile", text, false)).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    model
}

/// The kind of the one target that is called `x`.
#[track_caller]
fn kind<T: Kind + Clone>(text: &str) -> T {
    sound(&format!("[target.x]\n{text}")).target("x").unwrap().kind.get::<T>().unwrap().clone()
}

fn shown<T: std::fmt::Display>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn wheelhouses_have_all_their_keys_and_defaults() {
    let x: Wheelhouse = kind("kind = 'wheelhouse'\nprojects = ['.']");
    assert_eq!((x.requirements.len(), x.constraints.len(), x.pip_args.len()), (0, 0, 0));
    assert_eq!(shown(x.projects.iter().map(|path| &path.value)), ".");
    assert_eq!((x.python.value.as_str(), x.output.value.as_str()), ("python3", "build/x"));
    assert!(x.platform.is_none());

    let x: Wheelhouse = kind(
        "kind = 'wheelhouse'\nrequirements = ['a.txt', './b.txt']\nconstraints = ['c.txt']\n\
         python = '/usr/bin/python3'\nplatform = { python = '3.10', arch = 'x86_64' }\n\
         pip-args = ['--pre']\noutput = 'wheels/'",
    );
    assert_eq!(shown(x.requirements.iter().map(|path| &path.value)), "a.txt b.txt");
    assert_eq!(shown(x.constraints.iter().map(|path| &path.value)), "c.txt");
    assert_eq!(x.pip_args, ["--pre"]);
    assert_eq!((x.python.value.as_str(), x.output.value.as_str()), ("/usr/bin/python3", "wheels"));
    let platform = x.platform.unwrap();
    assert_eq!(platform.python, PythonVersion { major: 3, minor: 10 });
    assert_eq!(platform.arch, Arch::X86_64);
}

#[test]
fn stagings_have_all_their_keys_and_defaults() {
    let x: Staging = kind("kind = 'staging'");
    assert_eq!((x.wheels.len(), x.sources.len(), x.exclude.len(), x.conflicts.len()), (0, 0, 0, 0));
    assert_eq!((x.clamp, x.write, x.output.value.as_str()), (None, false, "build/x"));

    let x: Staging = kind(
        "kind = 'staging'\nwheels = ['w']\n\
         sources = ['a.py', { from = 'b/*' }, { from = 'c', to = 'd/' }, { from = 'e', to = 'f' }]\n\
         exclude = ['**/tests/**']\nclamp = '1970-01-01T00:00:10.9+00:00'\nwrite = true\n\
         output = 'tree'\n\
         [[target.x.conflicts]]\npath = 'a/**'\nkeep = 'sources'\n\
         [[target.x.conflicts]]\npath = 'b'\nkeep = 'Foo_Bar'\n",
    );
    let to: Vec<Option<String>> = x
        .sources
        .iter()
        .map(|source| match source.to.as_ref().map(|to| &to.value) {
            Some(Destination::Folder(path)) => Some(format!("{path}/")),
            Some(Destination::Exactly(path)) => Some(path.to_string()),
            None => None,
        })
        .collect();
    assert_eq!(to, [None, None, Some("d/".into()), Some("f".into())]);
    assert_eq!(shown(x.sources.iter().map(|source| source.from.value.pattern())), "a.py b/* c e");
    assert_eq!(x.clamp.unwrap().value, Timestamp::At(10));
    assert!(x.write);
    let keep: Vec<&Winner> = x.conflicts.iter().map(|rule| &rule.keep.value).collect();
    assert_eq!(keep, [&Winner::Sources, &Winner::Wheel("foo-bar".into())]);
}

#[test]
fn instants_are_words_or_dates_with_an_offset() {
    for (text, expected) in [
        ("'git'", Timestamp::Git),
        ("'source-date-epoch'", Timestamp::SourceDateEpoch),
        ("'1980-02-01T00:00:00Z'", Timestamp::At(318_211_200)),
        ("1980-02-01T09:00:00+09:00", Timestamp::At(318_211_200)),
        ("'1960-01-01T00:00:00Z'", Timestamp::At(-315_619_200)),
    ] {
        let text = format!("kind = 'clamp'\ndirectory = 'a'\ninstant = {text}");
        let x: Clamp = kind(&text);
        assert_eq!(x.instant.value, expected, "{text}");
    }
}

#[test]
fn zips_have_all_their_keys_and_defaults() {
    let x: Zip = kind("kind = 'zip'\nstaging = 's'");
    assert_eq!((x.output.value.as_str(), x.compression), ("build/x.zip", Compression::Keep));
    assert_eq!((x.clamp, x.limits), (None, true));

    let x: Zip = kind(
        "kind = 'zip'\nstaging = 's'\noutput = 'a.zip'\ncompression = 'store'\nclamp = 'git'\n\
         limits = false",
    );
    assert_eq!((x.output.value.as_str(), x.compression), ("a.zip", Compression::Store));
    assert_eq!((x.clamp.unwrap().value, x.limits), (Timestamp::Git, false));
}

#[test]
fn payloads_are_files_or_json_in_the_order_of_the_file() {
    let payload = |text: &str| {
        let text = format!("kind = 'invoke'\nupload = 'u'\n{text}");
        let x: Invoke = kind(&text);
        match x.payloads.into_iter().next().unwrap() {
            Payload::File(path) => format!("file {}", path.value),
            Payload::Inline(json) => json,
        }
    };
    assert_eq!(payload(""), "{}");
    assert_eq!(payload("payload = './p.json'"), "file p.json");
    assert_eq!(
        payload(
            "[target.x.payload]\nz = 1\na = [1.5, true, 0x10, 1_000]\nm.n = '{ }'\n\
             d = 1979-05-27T07:32:00Z\n"
        ),
        r#"{"z":1,"a":[1.5,true,16,1000],"m":{"n":"{ }"},"d":"1979-05-27T07:32:00Z"}"#
    );
}

#[test]
fn invokes_have_all_their_keys_and_defaults() {
    let x: Invoke = kind("kind = 'invoke'\nupload = 'u'");
    assert!(matches!(x.runner, Runner::Aws { upload } if upload.value == "u"));
    assert_eq!((x.payloads.len(), x.repeat, x.remote.call), (1, 1, Call::Request));
    assert_eq!((x.remote.qualifier, x.local.handler, x.local.python), (None, None, None));
    assert_eq!((x.local.timeout, x.local.env.len(), x.local.boto3), (3, 0, false));

    let x: Invoke = kind(
        "kind = 'invoke'\nupload = 'u'\ntype = 'dry-run'\nqualifier = 'live'\n\
         payloads = ['a.json', { b = 1 }]",
    );
    assert_eq!((x.remote.call, x.payloads.len()), (Call::DryRun, 2));
    assert_eq!(x.remote.qualifier.as_deref(), Some("live"));

    let x: Invoke = kind(
        "kind = 'invoke'\nlocal = true\nzip = 'z'\nhandler = 'a/b.c'\ntimeout = 900\n\
         env = { A = 'x' }\npython = 'python3.13'\nwith-boto3 = true",
    );
    assert!(matches!(x.runner, Runner::Here { zip, .. } if zip.value == "z"));
    assert_eq!((x.local.handler.as_deref(), x.local.timeout), (Some("a/b.c"), 900));
    assert_eq!((x.local.env["A"].as_str(), x.local.boto3), ("x", true));
    assert_eq!(x.local.python.unwrap().value, "python3.13");
}

#[test]
fn commands_have_all_their_keys_and_defaults() {
    let x: Command = kind("kind = 'command'\nrun = ['a', '']");
    assert_eq!(x.action, Action::Run(["a", ""].iter().collect()));
    assert_eq!((x.inputs.len(), x.outputs.len(), x.env.len()), (0, 0, 0));
    assert!(x.directory.is_root() && !x.phony);

    let x: Command = kind(
        "kind = 'command'\nshell = 'true'\ninputs = ['a/*']\noutputs = ['b', 'c']\n\
         env = { A = 'x' }\ndirectory = 'd'\nphony = true",
    );
    assert_eq!(x.action, Action::Shell("true".into()));
    assert_eq!(x.env, BTreeMap::from([("A".into(), "x".into())]));
    assert_eq!((x.directory.as_str(), x.phony), ("d", true));
}

#[test]
fn targets_have_stamps_where_nothing_else_says_when_they_were_done() {
    let stamp = |text: &str| {
        let model = sound(&format!("[target.x]\n{text}"));
        model.targets[0].stamp.as_ref().map(|stamp| stamp.value.to_string())
    };
    let default = Some("build/x.stamp".to_owned());
    assert_eq!(stamp("kind = 'wheelhouse'\nprojects = ['.']"), default);
    assert_eq!(stamp("kind = 'staging'"), default);
    assert_eq!(stamp("kind = 'clamp'\ndirectory = 'a'\ninstant = 'git'"), default);
    assert_eq!(stamp("kind = 'upload'\nzip = 'z'\nfunction = 'f'"), default);
    assert_eq!(stamp("kind = 'command'\nshell = 'true'"), default);
    assert_eq!(stamp("kind = 'command'\nshell = 'true'\noutputs = ['a', 'b']"), default);
    assert_eq!(stamp("kind = 'staging'\nstamp = 's'"), Some("s".into()));
    assert_eq!(stamp("kind = 'command'\nshell = 'true'\noutputs = ['a']"), None);
    assert_eq!(stamp("kind = 'command'\nshell = 'true'\nphony = true"), None);
    assert_eq!(stamp("kind = 'zip'\nstaging = 's'"), None);
    assert_eq!(stamp("kind = 'invoke'\nupload = 'u'"), None);
    assert_eq!(stamp("kind = 'group'\ntargets = []"), None);
}

#[test]
fn targets_stand_in_the_order_of_the_file_and_the_first_is_the_default() {
    let group = |name: &str| format!("[target.{name}]\nkind = 'group'\ntargets = []\n");
    let text = ["z", "a", "\"m.n\"", "b"].map(group).concat();
    let model = sound(&text);
    assert_eq!(shown(model.targets.iter().map(|target| &target.name.value)), "z a m.n b");
    assert_eq!(shown(model.default.iter().map(|name| &name.value)), "z");
    let model = sound(&format!("default = ['b', 'a']\n{text}"));
    assert_eq!(shown(model.default.iter().map(|name| &name.value)), "b a");
    assert!(sound("").default.is_empty());
}

#[test]
fn variables_are_filled_in_everywhere() {
    let text = "default = ['{t}']\n[vars]\nt = 'x'\nv = 'file'\nlit = '{{v}}'\n\
                [target.x]\nkind = 'command'\nneeds = []\nrun = ['{v}', '{lit}', '${v}']\n\
                env = { A = '{v}' }\ninputs = ['{v}/{a,b}']\ndescription = 'the {v}'\n";
    let model = sound(text);
    assert_eq!(shown(model.default.iter().map(|name| &name.value)), "x");
    let target = model.target("x").unwrap();
    assert_eq!(target.description.as_deref(), Some("the file"));
    let command = target.kind.get::<Command>().unwrap();
    assert_eq!(command.action, Action::Run(["file", "{v}", "${v}"].iter().collect()));
    assert_eq!(command.env["A"], "file");
    assert_eq!(command.inputs[0].value.pattern(), "file/{a,b}");
}

#[test]
fn the_command_line_overrides_declared_variables_only() {
    let text = "[vars]\nfunction = 'a'\n";
    let set = |name: &str| BTreeMap::from([(name.to_owned(), "{b}".to_owned())]);
    let Loaded { model, diagnostics } = load(text, &set("function"));
    assert_eq!(diagnostics, []);
    assert_eq!(model.vars["function"], "{b}");

    let Loaded { diagnostics, .. } = load(text, &set("funtion"));
    assert_eq!(diagnostics.len(), 1);
    let shown = diagnostics[0].render("Buildfile", text, false);
    assert!(shown.contains("`funtion=` sets no variable"), "{shown}");
    assert!(shown.contains("did you mean `function`?"), "{shown}");
}

#[test]
fn no_text_makes_the_reader_panic() {
    // Many prefixes of a file that has everything, with and without something behind them.
    let text = include_str!("../../tests/buildfiles/invalid/many-mistakes.toml");
    for (end, _) in text.char_indices().step_by(5) {
        for tail in ["", "]", "\"", "= {"] {
            let text = format!("{}{tail}", &text[..end]);
            for mistake in load(&text, &BTreeMap::new()).diagnostics {
                mistake.render("Buildfile", &text, false);
            }
        }
    }
}

#[test]
fn checks_have_all_their_keys_and_defaults() {
    let x: Check = kind("kind = 'check'\nzip = 'z'\nruntime = 'python3.12'\narch = 'arm64'");
    assert_eq!((x.zip.value.as_str(), x.runtime.minor, x.arch), ("z", 12, Arch::Arm64));
    assert_eq!((x.handler, x.silence), (None, Vec::new()));
    let x: Upload = kind("kind = 'upload'\nzip = 'z'\nfunction = 'f'");
    assert_eq!((x.check, x.silence), (true, Vec::new()));
    let x: Upload =
        kind("kind = 'upload'\nzip = 'z'\nfunction = 'f'\ncheck = false\nsilence = ['case']");
    assert_eq!((x.check, x.silence), (false, vec!["case".to_owned()]));
}

#[test]
fn uploads_have_all_their_keys_and_defaults() {
    let upload = |text: &str| -> Upload { kind(&format!("kind = 'upload'\nzip = 'z'\n{text}")) };
    let names = |upload: &Upload| {
        upload.functions.iter().map(|name| name.value.clone()).collect::<Vec<_>>()
    };
    let one = upload("function = 'f'");
    assert_eq!(
        (names(&one), one.publish, one.alias, one.digest),
        (vec!["f".into()], None, None, None)
    );
    let several = upload("functions = ['f', 'g']\npublish = true");
    let version = Some(Publish::Version);
    assert_eq!((names(&several).len(), several.publish, several.alias), (2, version, None));
    let led = upload("function = 'f'\nalias = 'live'");
    assert_eq!((led.publish, led.alias.as_deref()), (version, Some("live")));
    let latest = upload("function = 'f'\npublish = 'latest-published'");
    assert_eq!((latest.publish, latest.alias), (Some(Publish::Latest), None));
    let key = "arn:aws:kms:eu-west-1:123456789012:key/1";
    let stored = upload(&format!(
        "function = 'f'\nkms-key = '{key}'\ns3 = {{ bucket = 'abc', storage = 'reference' }}"
    ));
    assert_eq!(stored.kms_key.as_deref(), Some(key));
    assert!(stored.s3.is_some_and(|s3| s3.reference));
}

#[test]
fn words_come_back_whatever_is_in_them() {
    for words in [&[][..], &[""], &["", ""], &["a"], &["1:a", "", "é:\0", "12:", " \n"]] {
        let kept: Words = words.iter().collect();
        assert_eq!(kept.iter().collect::<Vec<_>>(), words);
    }
}

#[test]
fn targets_are_found_by_name() {
    let model = sound(
        "[target.a]\nkind = 'group'\ntargets = []\n[target.b]\nkind = 'group'\ntargets = []\n",
    );
    let found = |name: &str| model.target(name).map(|target| target.name.value.as_str());
    assert_eq!((found("a"), found("b"), found("c")), (Some("a"), Some("b"), None));
}
