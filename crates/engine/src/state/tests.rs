//! The state file: read back, cut, damaged, foreign, grown, and made shorter.

use super::*;
use crate::key::Value;

/// All that is read back of the state below `folder`.
fn content(folder: &Path) -> impl PartialEq + std::fmt::Debug {
    let (state, notice) = State::load(folder);
    assert_eq!(notice, None);
    let names: std::collections::BTreeSet<_> = state.targets.keys().cloned().collect();
    let targets: Vec<_> = names.into_iter().map(|name| (state.target(&name), name)).collect();
    (targets, state.left("three").unwrap(), state.live)
}

fn record(text: &str) -> Record {
    let mut key = Key::new();
    key.text("run", text);
    key.push("file a", Value::File { digest: Digest::of(b"a"), executable: true });
    key.push("file b", Value::Missing);
    Record {
        key,
        result: Digest::of(text.as_bytes()),
        outputs: vec![RecordedOutput {
            path: RelPath::parse("build/out").unwrap(),
            digest: Digest::of(b"out"),
            mode: Some(0o644),
        }],
        seconds: 1.5,
        facts: vec![("size".into(), "12".into())],
    }
}

fn filled(folder: &Path) -> State {
    let (mut state, notice) = State::load(folder);
    assert_eq!(notice, None);
    state.record("one", &record("first")).unwrap();
    state.record("two", &record("second")).unwrap();
    state.record("one", &record("again")).unwrap();
    let outputs = record("third").outputs;
    state.begin("three", &Left { outputs, ..Left::default() }).unwrap();
    state
}

#[test]
fn a_wait_keeps_the_record_of_its_run_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (mut state, _) = State::load(folder.path());
    let again = || State::load(folder.path()).0;
    state.begin("a", &Left::default()).unwrap();
    state.wait("a", &record("x")).unwrap();
    assert_eq!(again().waiting("a"), Some(record("x")));
    assert!(again().waits("a") && !again().has("a") && again().target("a").is_none());
    let left = again().left("a").unwrap();
    assert_eq!((left.outputs, left.has_run, left.interrupted), (record("x").outputs, true, false));
    state.compact().unwrap();
    assert_eq!((state.waiting("a"), again().waiting("a")), (Some(record("x")), Some(record("x"))));
    state.stop("a", None).unwrap();
    assert!(!again().waits("a") && again().left("a").unwrap().has_run);
    state.wait("a", &record("x")).unwrap();
    state.record("a", &record("x")).unwrap();
    assert_eq!((again().waiting("a"), again().target("a")), (None, Some(record("x"))));
}

#[test]
fn what_was_recorded_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let state = filled(folder.path());
    let (again, notice) = State::load(folder.path());
    assert_eq!(notice, None);
    for state in [&state, &again] {
        assert_eq!(state.target("one"), Some(record("again")));
        assert_eq!(state.target("two"), Some(record("second")));
        assert_eq!((state.seconds("one"), state.seconds("three")), (Some(1.5), None));
        assert_eq!((state.has("two"), state.has("three")), (true, false));
    }
    let left = Left { outputs: record("third").outputs, has_run: true, interrupted: true };
    assert_eq!(again.left("three").unwrap(), left);
    assert_eq!((again.live, again.length), (state.live, state.length));
}

#[test]
fn a_forgotten_target_stays_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).forget("one").unwrap();
    let (state, _) = State::load(folder.path());
    assert_eq!(state.target("one"), None);
    assert_eq!(state.target("two"), Some(record("second")));
}

#[test]
fn a_file_cut_at_any_length_loads_and_takes_new_records() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let path = folder.path().join(FILE_NAME);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let (mut state, _) = State::load(folder.path());
        state.record("three", &record("third")).unwrap();
        let (state, notice) = State::load(folder.path());
        assert_eq!(notice, None, "cut at {length}");
        assert_eq!(state.target("three"), Some(record("third")), "cut at {length}");
    }
}

#[test]
fn a_flipped_byte_never_gives_a_wrong_record() {
    let folder = tempfile::tempdir().unwrap();
    let good = filled(folder.path());
    let good: HashMap<Box<str>, Record> =
        good.targets.keys().map(|name| (name.clone(), good.target(name).unwrap())).collect();
    let path = folder.path().join(FILE_NAME);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        let (state, notice) = State::load(folder.path());
        assert!(notice.is_some(), "flipped at {at}");
        for name in state.targets.keys() {
            let found = state.target(name).unwrap();
            let earlier = (&**name == "one").then(|| record("first"));
            assert!(good[name] == found || earlier.as_ref() == Some(&found), "flipped at {at}");
        }
    }
}

#[test]
fn a_foreign_file_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE_NAME), "zipwright state 99\nmore").unwrap();
    let (mut state, notice) = State::load(folder.path());
    assert!(notice.unwrap().contains("another version"));
    state.record("one", &record("first")).unwrap();
    let aside = folder.path().join("state.set-aside");
    assert_eq!(fs::read(aside).unwrap(), b"zipwright state 99\nmore");
    assert_eq!(State::load(folder.path()).0.target("one"), Some(record("first")));
}

#[test]
fn a_file_that_is_mostly_of_no_use_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = filled(folder.path());
    let mut longest = 0;
    for number in 0..20 {
        // Few records, but long ones.
        let long = record(&format!("{number} {}", "x".repeat(400_000)));
        state.record("one", &long).unwrap();
        state.tidy().unwrap();
        longest = longest.max(fs::metadata(state.path()).unwrap().len());
        let (again, notice) = State::load(folder.path());
        assert_eq!(notice, None);
        for state in [&again, &state] {
            assert_eq!(state.target("one"), Some(long.clone()));
            assert_eq!(state.target("two"), Some(record("second")));
        }
        assert_eq!((again.live, again.length), (state.live, state.length));
    }
    assert!(longest < 5 * 410_000, "{longest}");
}

#[test]
fn many_records_are_read_by_several_threads_up_to_the_first_that_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = filled(folder.path());
    let name = |number: usize| format!("target-{number:05}");
    let last = format::target(Kind::Target, &name(0), &record("x")).len();
    let count = PIECE / last + ALONE + 7;
    (0..count).for_each(|number| state.record(&name(number), &record("x")).unwrap());
    let (again, notice) = State::load(folder.path());
    assert_eq!((notice, again.targets.len()), (None, 2 + count));
    assert_eq!((again.live, again.length), (state.live, state.length));
    let mut bytes = fs::read(state.path()).unwrap();
    let at = bytes.len() - 5 * last - 1;
    bytes[at] ^= 1;
    fs::write(state.path(), bytes).unwrap();
    let (again, notice) = State::load(folder.path());
    assert!(notice.unwrap().contains("were not written whole"));
    assert_eq!(again.targets.len(), 2 + count - 6);
}

#[test]
fn compaction_keeps_what_is_live() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = filled(folder.path());
    for number in 0..50 {
        state.record("one", &record(&number.to_string())).unwrap();
    }
    let long = fs::metadata(state.path()).unwrap().len();
    let before = content(folder.path());
    state.compact().unwrap();
    assert!(fs::metadata(state.path()).unwrap().len() < long / 4);
    assert_eq!(content(folder.path()), before);
    state.record("three", &record("third")).unwrap();
    for state in [&State::load(folder.path()).0, &state] {
        assert_eq!(state.target("one"), Some(record("49")));
        assert_eq!(state.target("three"), Some(record("third")));
    }
}

#[test]
fn what_a_target_left_outlives_a_run_that_is_not_recorded_and_ends_with_forgetting() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = filled(folder.path());
    let again = || State::load(folder.path()).0;
    let old = state.left("two").unwrap();
    assert_eq!((old.has_run, old.interrupted, old.outputs.len()), (true, false, 1));
    state.begin("two", &old).unwrap();
    assert!(!again().has("two") && again().left("two").unwrap().interrupted);
    state.stop("two", None).unwrap();
    assert_eq!(again().left("two").unwrap(), old);
    let moved = [RecordedOutput { mode: None, ..old.outputs[0].clone() }];
    state.stop("two", Some(&moved)).unwrap();
    assert_eq!(again().left("two").unwrap().outputs, moved);
    state.record("two", &record("new")).unwrap();
    assert!(again().has("two") && again().begun.len() == 1);
    state.forget("two").unwrap();
    state.forget("three").unwrap();
    assert_eq!(
        (again().left("two").unwrap(), again().left("three").unwrap()),
        (Left::default(), Left::default())
    );
    state.stop("three", None).unwrap();
    assert_eq!((again().live, again().begun.len()), (state.live, 0));
}
