//! A kind of target that zipwright does not have: one type with the trait `Kind`, and one entry in a
//! list. CONTRIBUTING.md ("Add a kind") walks through this file.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use anyhow::Result;
use zipwright::base::{RelPath, fs as base_fs};
use zipwright::build::{self, Mode, Options, World};
use zipwright::buildfile::table::{Reader, Table};
use zipwright::buildfile::{KindKeys, default_path, load, value};
use zipwright::diagnostic::{Diagnostic, Spanned};
use zipwright::event::{Event, Report, Summary};
use zipwright::files::{Files, Memory};
use zipwright::graph::Graph;
use zipwright::key::Key;
use zipwright::make::Pool;
use zipwright::project::Project;
use zipwright::state::State;
use zipwright::target::{Declared, Done, Findings, Fingerprint, Input, Job, Kind, Shared};

/// The `lines` kind: writes the number of lines of a file.
#[derive(Debug)]
struct Lines {
    input: Spanned<RelPath>,
    output: Spanned<RelPath>,
}

static KINDS: [KindKeys; 1] = [KindKeys { name: "lines", read }];

/// Reads the keys. A missing key is reported by the reader.
fn read(stem: &str, table: &mut Table, reader: &mut Reader) -> Option<Arc<dyn Kind>> {
    let input = table.required("input", "\"…\"", reader, value::path);
    let output = table.optional("output", reader, value::output);
    let output = output.unwrap_or_else(|| default_path(stem, ".txt", table.span()));
    Some(Arc::new(Lines { input: input?, output }))
}

impl Kind for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn inputs(&self) -> Vec<Input<'_>> {
        vec![Input::Path(&self.input)]
    }

    fn outputs(&self) -> Vec<Declared<'_>> {
        vec![Declared::file(&self.output)]
    }

    fn fingerprint(&self, job: &Job) -> Result<Fingerprint> {
        let mut key = Key::new();
        key.text("output", &self.output.value);
        job.add_file(&mut key, &self.input.value)?;
        Ok(key.into())
    }

    fn run(&self, job: &Job, _findings: Findings) -> Result<Done> {
        let text = base_fs::read_to_string(&job.project.place(&self.input.value))?;
        let count = text.lines().count();
        let place = job.files.to_write(&self.output.value)?;
        base_fs::write(&place, count.to_string().as_bytes(), base_fs::FILE_MODE)?;
        Ok(Done { facts: vec![("lines".into(), count.into())], ..Done::default() })
    }
}

/// A project with one target, which counts the lines of `input`.
const BUILDFILE: &str = "[target.count]\nkind = \"lines\"\ninput = \"input\"\n";

struct Silent;

impl Report for Silent {
    fn event(&mut self, _: &Event) {}
}

fn build(project: &Project) -> Summary {
    let model = load(BUILDFILE, &BTreeMap::new(), &KINDS).model;
    let (graph, mistakes) = Graph::new(&model);
    assert_eq!(mistakes, []);
    let options = Options::new(graph.ids().collect(), Mode::Build);
    let files = Files::new(&project.root, Graph::hidden_outputs(&model), Memory::default());
    let shared = Shared::default();
    let world = World { project, model: &model, graph: &graph, files: &files, shared: &shared };
    let (mut state, _) = State::load(&project.state());
    let pool = Pool::private(1).unwrap();
    let built = build::build(world, (&mut state, None), &options, &pool, &mut Silent).unwrap();
    built.summary
}

#[test]
fn a_kind_is_one_type_and_one_entry() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = folder.path().canonicalize().unwrap();
    let project = Project::new(root.clone(), BTreeMap::new());
    project.claim_state().unwrap();
    let count = || fs::read_to_string(root.join("build/count.txt")).unwrap();
    for text in ["one\ntwo\n", "one\ntwo\nthree\n"] {
        fs::write(root.join("input"), text).unwrap();
        assert_eq!(build(&project).ran, 1);
        assert_eq!(count(), text.lines().count().to_string());
        let again = build(&project);
        assert_eq!((again.ran, again.up_to_date), (0, 1));
    }
}

#[test]
fn its_keys_are_diagnosed_like_all_others() {
    let text = "[target.count]\nkind = \"lines\"\ninptu = \"input\"\n";
    let shown = |mistake: &Diagnostic| mistake.render("Buildfile", text, false);
    let mistakes: Vec<String> =
        load(text, &BTreeMap::new(), &KINDS).diagnostics.iter().map(shown).collect();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(mistakes.iter().any(|mistake| mistake.contains("has no `input`")), "{mistakes:?}");
    assert!(
        mistakes.iter().any(|mistake| mistake.contains("did you mean `input`?")),
        "{mistakes:?}"
    );
}
