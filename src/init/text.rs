//! The text of a Buildfile for bundles, and the report on it.

use std::fmt::Write;

use super::bundle::{Bundle, Resolved, fact};
use super::packaging::Export;
use super::{Proposal, Taken};

/// Longer arrays have a line for each value.
const LINE: usize = 90;

pub(super) fn proposal(bundles: &[Bundle], notes: Vec<String>) -> Proposal {
    let mut taken: Vec<Taken> = Vec::new();
    let mut text = String::from(
        "# docs/BUILDFILE.md describes every key; `zipwright list` lists the targets.\n",
    );
    let is_one = bundles.len() == 1;
    let checks = bundles.iter().filter(|bundle| is_checked(bundle)).flat_map(check_names);
    let goals: Vec<String> =
        bundles.iter().map(|bundle| bundle.target("package")).chain(checks).collect();
    if is_one {
        let _ = writeln!(text, "default = {}", array(&goals));
    } else {
        text.push_str("default = [\"all\"]\n");
    }
    if let [Bundle { functions, .. }] = bundles
        && let [function] = functions.as_slice()
    {
        let remark =
            if function.is_guess { "  # a guess: the function's name in Lambda" } else { "" };
        let name = quote(&function.lambda_name);
        let _ = write!(text, "\n[vars]\nfunction = {name}{remark}\n");
    }
    if !is_one {
        let _ = write!(text, "\n[target.all]\nkind = \"group\"\ntargets = {}\n", array(&goals));
        let uploads: Vec<String> = bundles.iter().map(|bundle| bundle.target("upload")).collect();
        let _ =
            write!(text, "\n[target.upload]\nkind = \"group\"\ntargets = {}\n", array(&uploads));
    }
    let mut written: Vec<(String, &Bundle)> = Vec::new();
    for bundle in bundles {
        taken.extend(bundle.taken.clone());
        let wheels = wheels_target(bundle, &mut written, &mut text, &mut taken);
        staging(bundle, wheels.as_deref(), &mut text);
        package(bundle, &mut text);
        if is_checked(bundle) {
            check(bundle, &mut text);
        }
        upload(bundle, is_one, &mut text);
        bundle.functions.iter().for_each(|function| invoke(bundle, function, is_one, &mut text));
    }
    let mut next = vec![(String::new(), makes(bundles))];
    if let [Bundle { functions, .. }] = bundles
        && let [_] = functions.as_slice()
    {
        next.push(("invoke --local".into(), "runs the handler on this machine".into()));
    }
    next.push(("upload".into(), "deploys".into()));
    taken.dedup();
    Proposal { buildfile: text, taken, notes, next }
}

fn makes(bundles: &[Bundle]) -> String {
    match bundles {
        [only] => format!("makes {}", only.output()),
        bundles => format!("makes {} bundles", bundles.len()),
    }
}

impl Bundle {
    /// `package`, or `package-orders` if there are several bundles.
    fn target(&self, kind: &str) -> String {
        if self.label.is_empty() { kind.to_owned() } else { format!("{kind}-{}", self.label) }
    }

    fn output(&self) -> String {
        match self.label.as_str() {
            "" => "build/lambda.zip".into(),
            label => format!("build/{label}.zip"),
        }
    }
}

/// `check` needs to have both.
fn is_checked(bundle: &Bundle) -> bool {
    bundle.python.is_some() && bundle.arch.is_some()
}

/// A target of one function among several of a bundle has the function's name too.
fn of_function(bundle: &Bundle, kind: &str, function: &Resolved) -> String {
    match bundle.functions.as_slice() {
        [_] => bundle.target(kind),
        _ => format!("{kind}-{}", function.name),
    }
}

fn check_names(bundle: &Bundle) -> impl Iterator<Item = String> {
    bundle.functions.iter().map(move |function| of_function(bundle, "check", function))
}

/// Writes the wheelhouse of a bundle, unless another one has the same, and returns its name.
fn wheels_target<'a>(
    bundle: &'a Bundle,
    written: &mut Vec<(String, &'a Bundle)>,
    text: &mut String,
    taken: &mut Vec<Taken>,
) -> Option<String> {
    let wheels = &bundle.wheels;
    let is_empty = wheels.requirements.is_empty() && wheels.projects.is_empty();
    if is_empty && wheels.lock.is_none() && wheels.export.is_none() {
        return None;
    }
    let key = |it: &Bundle| (it.wheels.clone(), it.python.clone(), it.arch.clone());
    if let Some((name, _)) = written.iter().find(|(_, other)| key(other) == key(bundle)) {
        return Some(name.clone());
    }
    let name = bundle.target("wheels");
    written.push((name.clone(), bundle));
    let mut requirements = wheels.requirements.clone();
    for (what, files) in [
        ("requirements", &wheels.requirements),
        ("constraints", &wheels.constraints),
        ("project", &wheels.projects),
    ] {
        taken.extend(files.iter().map(|file| fact(what, file, "a file of this name")));
    }
    if let Some(export) = &wheels.export {
        requirements.push(export_target(bundle, export, text, taken));
    }
    let _ = write!(text, "\n[target.{name}]\nkind = \"wheelhouse\"\n");
    if let Some((lock, tool)) = &wheels.unread_lock {
        let _ = writeln!(
            text,
            "# `{lock}` is not read. `{}` prints it as a file for `requirements`.",
            tool.exports
        );
    }
    if let Some(lock) = &wheels.lock {
        taken.push(fact("lockfile", lock, "a file of this name"));
        let _ = writeln!(text, "lock = {}", quote(lock));
    }
    for (key, files) in [
        ("requirements", &requirements),
        ("constraints", &wheels.constraints),
        ("projects", &wheels.projects),
    ] {
        if !files.is_empty() {
            let _ = writeln!(text, "{key} = {}", array(files));
        }
    }
    if wheels.lock.is_none() && !requirements.is_empty() {
        text.push_str("# `zipwright lock` pins them: for `lock = \"pylock.toml\"` instead.\n");
    }
    match (&bundle.python, &bundle.arch) {
        (Some(python), Some(arch)) => {
            let _ = writeln!(
                text,
                "platform = {{ python = {}, arch = {} }}",
                quote(python),
                quote(arch)
            );
        }
        _ => text.push_str(
            "# Without the function's runtime, wheels are for this machine:\n\
             # platform = { python = \"3.13\", arch = \"arm64\" }\n",
        ),
    }
    Some(name)
}

/// Writes the command that makes a requirements file, and returns its path.
fn export_target(
    bundle: &Bundle,
    export: &Export,
    text: &mut String,
    taken: &mut Vec<Taken>,
) -> String {
    let name = bundle.target("requirements");
    let output = format!("build/{name}.txt");
    let folder = match export {
        Export::Dependencies(folder) => folder,
        Export::Tool { folder, tool, .. } => {
            let lock = super::described::join(folder, tool.lock);
            let exports = match folder.as_str() {
                "" => tool.exports.to_owned(),
                folder => format!("(cd '{folder}' && {})", tool.exports),
            };
            taken.push(fact("requirements", &lock, "a file of this name"));
            let _ = write!(
                text,
                "\n# The versions of the lock, by the tool that made it.\n[target.{name}]\n\
                 kind = \"command\"\ninputs = {}\noutputs = {}\nshell = {}\n",
                array(&[&lock]),
                array(&[&output]),
                quote(&format!("{exports} > {output}"))
            );
            return output;
        }
    };
    let manifest = super::described::join(folder, "pyproject.toml");
    let script = format!(
        "import tomllib; project = tomllib.load(open('{manifest}', 'rb'))['project']; \
         open('{output}', 'w').write('\\n'.join(project['dependencies']))"
    );
    taken.push(fact("requirements", &manifest, "a file of this name"));
    let _ = write!(
        text,
        "\n# The dependencies of pyproject.toml, which is not built itself.\n[target.{name}]\n\
         kind = \"command\"\ninputs = {}\noutputs = {}\nrun = {}\n",
        array(&[&manifest]),
        array(&[&output]),
        array(&["python3", "-c", &script])
    );
    output
}

fn staging(bundle: &Bundle, wheels: Option<&str>, text: &mut String) {
    let _ = write!(text, "\n[target.{}]\nkind = \"staging\"\n", bundle.target("staging"));
    if let Some(wheels) = wheels {
        let _ = writeln!(text, "wheels = {}", array(&[wheels]));
    }
    if let Some(folder) = &bundle.folder {
        let _ = writeln!(text, "sources = [{{ from = {}, to = \".\" }}]", quote(folder));
    } else if !bundle.modules.is_empty() {
        text.push_str("# The handler and the modules that it imports. Add files that it opens.\n");
        let _ = writeln!(text, "sources = {}", array(&bundle.modules));
    }
    if !bundle.exclude.is_empty() {
        let _ = writeln!(text, "exclude = {}", array(&bundle.exclude));
    }
}

fn package(bundle: &Bundle, text: &mut String) {
    let (name, staging) = (bundle.target("package"), bundle.target("staging"));
    let output = quote(&bundle.output());
    let _ = write!(
        text,
        "\n[target.{name}]\nkind = \"zip\"\nstaging = {}\noutput = {output}\n",
        quote(&staging)
    );
}

fn check(bundle: &Bundle, text: &mut String) {
    let (Some(python), Some(arch)) = (&bundle.python, &bundle.arch) else { return };
    for function in &bundle.functions {
        let name = of_function(bundle, "check", function);
        let _ = write!(
            text,
            "\n# Whether the bundle will run in Lambda.\n\
             [target.{name}]\nkind = \"check\"\nzip = {}\nruntime = {}\narch = {}\nhandler = {}\n",
            quote(&bundle.target("package")),
            quote(&format!("python{python}")),
            quote(arch),
            quote(&function.handler)
        );
    }
}

fn upload(bundle: &Bundle, is_one: bool, text: &mut String) {
    let _ = write!(
        text,
        "\n[target.{}]\nkind = \"upload\"\nzip = {}\n",
        bundle.target("upload"),
        quote(&bundle.target("package"))
    );
    match bundle.functions.as_slice() {
        [_] if is_one => text.push_str("function = \"{function}\"\n"),
        functions => {
            if functions.iter().any(|function| function.is_guess) {
                text.push_str("# A guess: the functions' names in Lambda.\n");
            }
            let names: Vec<&str> =
                functions.iter().map(|function| function.lambda_name.as_str()).collect();
            let _ = match names.as_slice() {
                [only] => writeln!(text, "function = {}", quote(only)),
                names => writeln!(text, "functions = {}", array(names)),
            };
        }
    }
}

fn invoke(bundle: &Bundle, function: &Resolved, is_one: bool, text: &mut String) {
    let name = of_function(bundle, "invoke", function);
    let _ = write!(
        text,
        "\n# `zipwright {name} --local` runs the handler on this machine.\n\
         [target.{name}]\nkind = \"invoke\"\nupload = {}\n",
        quote(&bundle.target("upload"))
    );
    if bundle.functions.len() > 1 {
        let _ = writeln!(text, "function = {}", quote(&function.lambda_name));
    }
    let _ = writeln!(text, "handler = {}", quote(&function.handler));
    if let Some(payload) = &function.payload {
        let _ = writeln!(text, "payload = {}", quote(payload));
    } else if is_one {
        text.push_str("# payload = \"event.json\"\n");
    }
    if let Some(seconds) = function.timeout {
        let _ = writeln!(text, "timeout = {seconds}");
    }
}

fn array<S: AsRef<str>>(values: &[S]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quote(value.as_ref())).collect();
    let line = format!("[{}]", quoted.join(", "));
    if line.len() <= LINE {
        return line;
    }
    format!("[\n{}]", quoted.iter().map(|value| format!("  {value},\n")).collect::<String>())
}

/// A TOML string. The texts here have no control characters.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
