//! The wheelhouse with a real pip: the reasons for its runs, its use of the cache, and its errors.
//! Where a test needs a package index, it is pip's configured one; all others build the fixture,
//! whose back end has no requirements.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use zipwright::base::{Printable, RelPath};
use zipwright::diagnostic::Spanned;
use zipwright::event::Reporter;
use zipwright::files::{Files, Memory, View};
use zipwright::key::Key;
use zipwright::ownership::Owned;
use zipwright::process::Stream;
use zipwright::project::Project;
use zipwright::target::{Job, Model, Shared, Surroundings, Target};
use zipwright::targets::wheelhouse::{Platform, PythonVersion, Wheelhouse};
use zipwright_python::Arch;

/// A project folder with a wheelhouse target, and a cache that may be shared.
struct House {
    temp: tempfile::TempDir,
    cache: PathBuf,
    env: BTreeMap<String, String>,
    wheelhouse: Wheelhouse,
    said: Said,
}

#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl Reporter for Said {
    fn line(&self, _: Stream, text: Printable) {
        self.0.lock().unwrap().push(text.to_string());
    }
    fn warn(&self, text: &str) {
        self.0.lock().unwrap().push(text.into());
    }
    fn status(&self, text: &str) {
        self.0.lock().unwrap().push(format!("status: {text}"));
    }
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned { value, span: 0..0 }
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

impl House {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let cache = temp.path().join("cache");
        let wheelhouse = Wheelhouse {
            requirements: Vec::new(),
            lock: None,
            resolver: zipwright::pip::Resolver::Pip,
            constraints: Vec::new(),
            projects: Vec::new(),
            // Another interpreter, to run the whole file with another pip.
            python: spanned(std::env::var("TEST_PYTHON").unwrap_or("python3".into())),
            platform: None,
            pip_args: Vec::new(),
            build_env: BTreeMap::new(),
            output: spanned(path("build/wheels")),
        };
        let mut env: BTreeMap<String, String> =
            std::env::vars().filter(|(name, _)| name != "PIP_FIND_LINKS").collect();
        // Scripts of version managers do more after `pip install`, which fails side by side.
        let python = crate::sandbox::python().parent().unwrap().display();
        let search = format!("{python}:{}", env["PATH"]);
        env.insert("PATH".into(), search);
        let house = Self { temp, cache, env, wheelhouse, said: Said::default() };
        fs::create_dir_all(house.root()).unwrap();
        house
    }

    /// Writes the fixture as the project `folder`.
    fn with_project(mut self, folder: &str) -> Self {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/greeting");
        for name in ["pyproject.toml", "backend/backend.py", "src/greeting/__init__.py"] {
            let text = fs::read_to_string(fixture.join(name)).unwrap();
            self.write(&format!("{folder}/{name}"), &text);
        }
        self.wheelhouse.projects.push(spanned(path(folder)));
        self
    }

    fn with_requirements(mut self, text: &str) -> Self {
        self.write("requirements.txt", text);
        self.wheelhouse.requirements = vec![spanned(path("requirements.txt"))];
        self
    }

    fn root(&self) -> PathBuf {
        self.temp.path().join("project")
    }

    fn write(&self, path: &str, text: &str) {
        let place = self.root().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }

    fn with<T>(&self, work: impl FnOnce(&Job) -> T) -> T {
        let mut env = self.env.clone();
        env.insert("XDG_CACHE_HOME".into(), self.cache.display().to_string());
        let project = Project::new(self.root().canonicalize().unwrap(), env);
        let target = Target {
            name: spanned("wheels".into()),
            description: None,
            needs: Box::default(),
            after: Box::default(),
            stamp: None,
            guards: None,
            kind: Arc::new(self.wheelhouse.clone()),
        };
        let model = Model { targets: vec![target.clone()], ..Model::default() };
        let files = Files::new(&project.root, Vec::new(), Memory::default());
        work(&Job {
            model: &model,
            target: &target,
            project: &project,
            files: &View::unlogged(&files, &project),
            shared: &Shared::default(),
            results: &BTreeMap::new(),
            facts: &BTreeMap::new(),
            write_tree: false,
            owned: &Owned::new(true),
            surroundings: &Surroundings::default(),
            pool: None,
            messages: &self.said,
        })
    }

    fn key(&self) -> Key {
        self.with(|job| job.target.kind.fingerprint(job)).unwrap().key
    }

    fn run(&self) -> Vec<String> {
        self.try_run().unwrap()
    }

    /// Runs like the engine, key first. Returns the names of the wheels.
    fn try_run(&self) -> Result<Vec<String>> {
        self.said.0.lock().unwrap().clear();
        self.with(|job| job.target.kind.fingerprint(job))?;
        self.with(|job| job.target.kind.run(job, None))?;
        let folder = self.root().join("build/wheels");
        let entries = fs::read_dir(folder)?.map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        Ok(names)
    }

    fn statuses(&self) -> Vec<String> {
        let said = self.said.0.lock().unwrap();
        let lines = said.iter().filter_map(|line| line.strip_prefix("status: "));
        // The progress of a download follows a colon.
        let mut texts: Vec<String> =
            lines.map(|line| line.split(": ").next().unwrap().into()).collect();
        texts.dedup();
        texts
    }

    fn error(&self) -> String {
        format!("{:#}", self.try_run().unwrap_err())
    }
}

const GREETING: &str = "greeting-1.0-py3-none-any.whl";
const BUILDING: &str = "building local project `.`";
const ASKING: &str = "resolving the requirements";

#[test]
fn an_edit_of_a_file_that_no_build_reads_changes_nothing() {
    let house = House::new().with_project(".");
    house.write("lambda_handler.py", "x = 1\n");
    let first = house.key();
    assert_eq!(house.run(), [GREETING]);
    assert_eq!(house.key(), first, "a run does not change its own key");
    house.write("lambda_handler.py", "x = 2\n");
    assert_eq!(house.key(), first);
    house.write("src/greeting/__init__.py", "edited = True\n");
    // In a state that was never built, every file counts, the handler too.
    let reasons = house.key().differences(&first);
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    house.run();
    assert_eq!(house.statuses(), [BUILDING, ASKING]);
    assert_eq!(house.key().differences(&first), reasons, "a run does not change its own key");
    assert!(reasons[1].to_string().starts_with("project . file src/greeting/__init__.py: "));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn files_that_another_branch_does_not_read_count_where_they_are_read() {
    let house = House::new().with_project(".");
    house.write("lambda_handler.py", "x = 1\n");
    let wheel = || fs::read(house.root().join("build/wheels").join(GREETING)).unwrap();
    for modules in ["lambda_handler.py\n", "", "lambda_handler.py\n"] {
        house.write("modules.txt", modules);
        house.run();
    }
    assert_eq!(house.statuses(), [ASKING], "this state was built before");
    let (key, before) = (house.key(), wheel());
    house.write("lambda_handler.py", "x = 2\n");
    assert_ne!(house.key(), key);
    house.run();
    assert_ne!(wheel(), before);
    // In another checkout with the same cache, on the other branch, the file is not read.
    let mut other = House::new().with_project(".");
    other.cache = house.cache.clone();
    other.write("modules.txt", "");
    other.write("lambda_handler.py", "x = 2\n");
    other.run();
    let (key, before) = (house.key(), wheel());
    house.write("lambda_handler.py", "x = 3\n");
    assert_ne!(house.key(), key);
    house.run();
    assert_ne!(wheel(), before);
}

/// Returns a wheel of the fixture's back end that writes `mark` into each wheel that it builds.
fn back_end(mark: &str) -> Vec<u8> {
    let house = House::new().with_project(".");
    let root = house.root();
    let pyproject = fs::read_to_string(root.join("pyproject.toml")).unwrap();
    house.write("pyproject.toml", &pyproject.replace("name = \"greeting\"", "name = \"tool\""));
    let backend = fs::read_to_string(root.join("backend/backend.py")).unwrap();
    let marked = backend.replace("members = {}", &format!("members = {{'mark': b'{mark}'}}"));
    house.write("src/tool.py", &marked);
    assert_eq!(house.run(), ["tool-1.0-py3-none-any.whl"]);
    fs::read(root.join("build/wheels/tool-1.0-py3-none-any.whl")).unwrap()
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn back_ends_of_one_name_are_told_apart_by_what_is_in_them() {
    let (one, two) = (back_end("one"), back_end("two"));
    let put = |house: &House, wheel: &[u8]| {
        fs::create_dir_all(house.root().join("links")).unwrap();
        fs::write(house.root().join("links/tool-1.0-py3-none-any.whl"), wheel).unwrap();
    };
    let house = || {
        let house = House::new().with_project("lib");
        let house = house.with_requirements("--no-index\n--find-links links\n");
        let text = "[build-system]\nrequires = [\"tool\"]\nbuild-backend = \"tool\"\n\
                    [project]\nname = \"greeting\"\nversion = \"1.0\"\n";
        house.write("lib/pyproject.toml", text);
        house
    };
    let has = |house: &House, mark: &[u8]| {
        let wheel = fs::File::open(house.root().join("build/wheels").join(GREETING)).unwrap();
        let mut archive = zip::ZipArchive::new(wheel).unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut archive.by_name("mark").unwrap(), &mut content).unwrap();
        content == mark
    };
    let first = house();
    put(&first, &one);
    first.run();
    assert!(has(&first, b"one"));
    let mut second = house();
    second.cache = first.cache.clone();
    put(&second, &two);
    second.run();
    assert!(has(&second, b"two"));
    let before = first.key();
    put(&first, &two);
    assert_ne!(first.key(), before);
    first.run();
    assert!(has(&first, b"two"));
    // A change that does not affect the back end is not a reason to build.
    first.write("links/other-1-py3-none-any.whl", "?");
    first.run();
    let built = "building local project `lib`".to_string();
    assert!(!first.statuses().contains(&built), "{:?}", first.statuses());
}

#[test]
fn a_handler_that_is_a_module_of_the_project_is_an_input() {
    let house = House::new().with_project(".");
    house.write("lambda_handler.py", "x = 1\n");
    house.write("modules.txt", "lambda_handler.py\n");
    house.run();
    let before = house.key();
    house.write("lambda_handler.py", "x = 2\n");
    assert_ne!(house.key(), before);
}

#[test]
fn a_new_file_is_seen_and_a_build_that_is_known_is_not_repeated() {
    let house = House::new().with_project(".");
    house.run();
    let before = house.key();
    house.write("src/greeting/more.py", "y = 1\n");
    assert_ne!(house.key(), before);
    house.run();
    fs::remove_file(house.root().join("src/greeting/more.py")).unwrap();
    assert_eq!(house.key(), before);
    house.run();
    assert_eq!(house.statuses(), [ASKING]);
}

#[test]
fn nothing_left_by_an_earlier_build_gets_in() {
    let house = House::new().with_project(".");
    house.run();
    let clean = fs::read(house.root().join("build/wheels").join(GREETING)).unwrap();
    house.write("src/greeting/__pycache__/old.pyc", "old");
    house.write("src/greeting.egg-info/PKG-INFO", "old");
    house.write("build/lib/greeting/old.py", "old");
    fs::remove_dir_all(&house.cache).unwrap();
    house.run();
    assert_eq!(house.statuses(), [BUILDING, ASKING]);
    assert_eq!(fs::read(house.root().join("build/wheels").join(GREETING)).unwrap(), clean);
}

#[test]
fn two_checkouts_have_equal_keys_and_share_wheels() {
    let one = House::new().with_project("lib");
    one.run();
    let mut two = House::new().with_project("lib");
    two.cache = one.cache.clone();
    assert_eq!(one.key(), two.key());
    assert_eq!(two.run(), [GREETING]);
    assert_eq!(two.statuses(), [ASKING]);
}

#[test]
fn a_folder_named_in_requirements_is_a_local_project() {
    let mut house = House::new().with_project("lib");
    house.wheelhouse.projects.clear();
    let house = house.with_requirements("# ours\n-e ./lib ; python_version > '3'\n");
    assert_eq!(house.run(), [GREETING]);
    let before = house.key();
    house.write("lib/src/greeting/__init__.py", "edited = True\n");
    assert_ne!(house.key(), before);
}

#[test]
fn wheels_that_are_no_longer_wanted_leave_the_folder() {
    let house = House::new().with_project(".");
    house.write("build/wheels/old-1-py3-none-any.whl", "old");
    house.write("build/wheels/notes", "old");
    assert_eq!(house.run(), [GREETING]);
}

#[test]
fn a_damaged_wheel_in_the_cache_is_made_anew() {
    let house = House::new().with_project(".");
    house.run();
    let kept = walkdir::WalkDir::new(house.cache.join("zipwright/wheels-v1"));
    for file in kept.into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
        fs::write(file.path(), "damaged").unwrap();
    }
    let before = house.key();
    fs::remove_dir_all(house.root().join("build")).unwrap();
    assert_eq!(house.run(), [GREETING]);
    assert_eq!(house.statuses(), [BUILDING, ASKING]);
    assert_eq!(house.key(), before);
}

#[test]
fn a_source_archive_is_built_once() {
    let mut house = House::new().with_project("lib");
    let (archive, lib) = (house.root().join("greeting-1.0.tar.gz"), house.root().join("lib"));
    let mut tar = Command::new("tar");
    tar.arg("czf").arg(&archive).arg("--transform=s,^lib,greeting-1.0,");
    assert!(tar.arg("-C").arg(house.root()).arg("lib").status().unwrap().success());
    fs::remove_dir_all(lib).unwrap();
    house.wheelhouse.projects.clear();
    let house = house.with_requirements("./greeting-1.0.tar.gz\n");
    assert_eq!(house.run(), [GREETING]);
    assert_eq!(house.statuses(), ["building `greeting 1.0` from source", ASKING]);
    fs::remove_dir_all(house.root().join("build")).unwrap();
    assert_eq!(house.run(), [GREETING]);
    assert_eq!(house.statuses(), [ASKING]);
}

#[test]
fn find_links_of_the_project_are_inputs_and_need_no_second_run_of_pip() {
    let maker = House::new().with_project(".");
    maker.run();
    let house = House::new().with_requirements("--no-index\n-f wheels\ngreeting\n");
    let wheel = fs::read(maker.root().join("build/wheels").join(GREETING)).unwrap();
    fs::create_dir_all(house.root().join("wheels")).unwrap();
    fs::write(house.root().join("wheels").join(GREETING), &wheel).unwrap();
    assert_eq!(house.run(), [GREETING]);
    assert_eq!(house.statuses(), [ASKING]);
    let before = house.key();
    house.write("wheels/other-1-py3-none-any.whl", "new");
    assert_ne!(house.key(), before);
}

fn sha256(place: &Path) -> String {
    let sum = Command::new("sha256sum").arg(place).output().unwrap().stdout;
    String::from_utf8(sum).unwrap().split(' ').next().unwrap().to_string()
}

#[test]
fn pinned_by_hashes_and_in_the_store_means_that_pip_does_not_run() {
    let maker = House::new().with_project(".");
    maker.run();
    let wheel = maker.root().join("build/wheels").join(GREETING);
    let sum = sha256(&wheel);
    let text = format!("--no-index\n-f wheels\ngreeting==1.0 --hash=sha256:{sum}\n");
    let house = House::new().with_requirements(&text);
    fs::create_dir_all(house.root().join("wheels")).unwrap();
    fs::copy(&wheel, house.root().join("wheels").join(GREETING)).unwrap();
    assert_eq!(house.run(), [GREETING]);
    fs::remove_dir_all(house.root().join("build")).unwrap();
    assert_eq!(house.run(), [GREETING]);
    assert_eq!(house.statuses(), [""; 0]);
    house.write("requirements.txt", &text.replace(&sum[..8], "00000000"));
    assert!(house.error().contains("HASHES"), "{}", house.error());
}

#[test]
fn a_better_wheel_in_find_links_is_taken_though_all_is_pinned() {
    let wheel = |text: &str| {
        let maker = House::new().with_project(".");
        maker.write("src/greeting/__init__.py", text);
        maker.run();
        let place = maker.root().join("build/wheels").join(GREETING);
        (fs::read(&place).unwrap(), sha256(&place))
    };
    let ((old, old_hash), (new, new_hash)) = (wheel("old = 1\n"), wheel("new = 1\n"));
    let spellings: [(&str, &[&str]); 3] = [
        ("--find-links links\n", &[]),
        ("", &["--find-links=file://ROOT/links"]),
        ("", &["-f", "links"]),
    ];
    for (option, pip_args) in spellings {
        let mut house = House::new().with_requirements(&format!(
            "--no-index\n{option}greeting==1.0 --hash=sha256:{old_hash} --hash=sha256:{new_hash}\n"
        ));
        let root = house.root().display().to_string();
        let pip_args = pip_args.iter().map(|word| word.replace("ROOT", &root));
        house.wheelhouse.pip_args = pip_args.collect();
        let put = |name: &str, bytes: &[u8]| {
            fs::create_dir_all(house.root().join("links")).unwrap();
            fs::write(house.root().join("links").join(name), bytes).unwrap();
        };
        put(GREETING, &old);
        assert_eq!(house.run(), [GREETING]);
        let before = house.key();
        // pip prefers a wheel with a build number.
        put("greeting-1.0-1-py3-none-any.whl", &new);
        assert_ne!(house.key(), before, "{option}");
        assert_eq!(house.run(), ["greeting-1.0-1-py3-none-any.whl"], "{option}");
    }
}

#[test]
fn a_project_that_fits_this_host_only_is_refused_for_another() {
    let mut house = House::new().with_project(".");
    let python = PythonVersion { major: 3, minor: 13 };
    house.wheelhouse.platform = Some(Platform { span: 0..0, python, arch: Arch::Arm64 });
    assert_eq!(house.run(), [GREETING]);
    let pyproject = fs::read_to_string(house.root().join("pyproject.toml")).unwrap();
    house.write(
        "pyproject.toml",
        &format!("{pyproject}\n[tool.x]\ntag = \"py3-none-linux_x86_64\"\n"),
    );
    let error = house.error();
    assert!(error.contains("fits this host and not python3.13 on arm64"), "{error}");
}

#[test]
fn a_failed_build_names_the_project_and_repeats_the_end_of_its_log() {
    let house = House::new().with_project(".");
    house.write("backend/backend.py", "raise SystemExit('the back end is broken')\n");
    let error = house.error();
    assert!(
        error.starts_with("the local project `.` could not be built from source (exit status 1)"),
        "{error}"
    );
    assert!(error.contains("the back end is broken"), "{error}");
    assert!(!house.root().join("build").exists());
}

#[test]
fn a_token_never_shows() {
    let index =
        |token| format!("--index-url https://me:{token}@127.0.0.1:9/simple\nnothing-at-all\n");
    let mut house = House::new().with_requirements(&index("t0p-s3cret"));
    house.wheelhouse.pip_args =
        ["--retries", "0", "--extra-index-url", "https://0ther-t0ken@127.0.0.1:9/s"]
            .map(String::from)
            .into();
    house.env.insert("PIP_TRUSTED_HOST".into(), "127.0.0.1".into());
    let before = house.key();
    let error = house.error();
    let said = house.said.0.lock().unwrap().join("\n");
    for secret in ["t0p-s3cret", "0ther-t0ken"] {
        assert!(!said.contains(secret) && !error.contains(secret), "{said}\n{error}");
        assert!(!format!("{before:?}").contains(secret));
        for file in walkdir::WalkDir::new(house.temp.path().join("cache")).into_iter().flatten() {
            let text = fs::read(file.path()).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&text).contains(secret), "{}", file.path().display());
        }
    }
    house.write("requirements.txt", &index("r0tated"));
    assert_eq!(house.key(), before);
}

#[test]
fn a_hidden_value_of_a_query_counts_and_is_not_shown() {
    let line = |value: &str| format!("demo @ https://h/demo-1-py3-none-any.whl?key={value}\n");
    let house = House::new().with_requirements(&line("s3cret-one"));
    let first = house.key();
    house.write("requirements.txt", &line("s3cret-two"));
    assert_ne!(house.key(), first);
    let mut house = House::new().with_requirements("idna\n");
    let keys = ["one", "two"].map(|value| {
        house.wheelhouse.pip_args = vec![format!("--find-links=https://h/l?token=s3cret-{value}")];
        house.key()
    });
    assert_ne!(keys[0], keys[1]);
    assert!(!format!("{first:?}{keys:?}").contains("s3cret"));
}

#[test]
fn one_more_requirement_fetches_only_that() {
    let house = House::new().with_requirements("idna==3.7\n");
    // pip itself downloads a wheel whose metadata the index does not have.
    let resolved = |statuses: &[String]| match statuses {
        [asking] => asking == ASKING,
        [asking, fetching] => asking == ASKING && fetching == "fetching 1 file",
        _ => false,
    };
    assert_eq!(house.run(), ["idna-3.7-py3-none-any.whl"]);
    assert!(resolved(&house.statuses()), "{:?}", house.statuses());
    house.write("requirements.txt", "idna==3.7\ntomlkit==0.13.2\n");
    assert_eq!(house.run(), ["idna-3.7-py3-none-any.whl", "tomlkit-0.13.2-py3-none-any.whl"]);
    assert!(resolved(&house.statuses()), "{:?}", house.statuses());
    house.write("requirements.txt", "tomlkit==0.13.2\n");
    assert_eq!(house.run(), ["tomlkit-0.13.2-py3-none-any.whl"]);
    assert_eq!(house.statuses(), [ASKING]);
}

#[test]
fn wheels_are_chosen_for_the_runtime() {
    let mut house = House::new().with_requirements("markupsafe==3.0.2\n");
    let python = PythonVersion { major: 3, minor: 13 };
    house.wheelhouse.platform = Some(Platform { span: 0..0, python, arch: Arch::Arm64 });
    assert_eq!(
        house.run(),
        ["MarkupSafe-3.0.2-cp313-cp313-manylinux_2_17_aarch64.manylinux2014_aarch64.whl"]
    );
    // It has only wheels for Windows.
    house.write("requirements.txt", "pywin32==308\n");
    let error = house.error();
    assert!(error.contains("no wheel of `pywin32==308` fits python3.13 on arm64"), "{error}");
}
