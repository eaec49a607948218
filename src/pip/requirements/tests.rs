//! Requirements files on disk, and what is found in them.

use std::collections::BTreeMap;

use super::*;

struct Folder {
    _temp: tempfile::TempDir,
    project: Project,
}

fn folder(files: &[(&str, &str)]) -> Folder {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().canonicalize().unwrap();
    for (path, text) in files {
        let place = root.join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, text).unwrap();
    }
    let env = [("TOKEN", "s3cret"), ("VERSION", "3.7")];
    let env: BTreeMap<_, _> = env.map(|(name, value)| (name.into(), value.into())).into();
    Folder { _temp: temp, project: Project::new(root, env) }
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

fn read(folder: &Folder) -> Result<Requirements> {
    Requirements::read(&folder.project, &[path("requirements.txt")], &[])
}

fn message(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}

#[test]
fn included_files_are_found_beside_the_including_one() {
    let folder = folder(&[
        ("requirements.txt", "-r more/a.txt\nidna\n-c limits.txt\n"),
        ("more/a.txt", "-r b.txt\n"),
        ("more/b.txt", "attrs\n"),
        ("limits.txt", "idna<4\n"),
    ]);
    let found = read(&folder).unwrap();
    let files: Vec<_> = found.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, ["requirements.txt", "more/a.txt", "more/b.txt", "limits.txt"]);
    assert!(!found.hashed && !found.rewritten);
}

#[test]
fn a_missing_include_names_file_and_line() {
    let folder = folder(&[("requirements.txt", "idna\n\n-r gone.txt\n")]);
    let error = message(&read(&folder).unwrap_err());
    assert_eq!(error, "`requirements.txt` line 3: it includes `gone.txt`, which is not there");
}

#[test]
fn a_file_that_includes_itself_is_read_once() {
    let folder = folder(&[("requirements.txt", "-r requirements.txt\nidna\n")]);
    assert_eq!(read(&folder).unwrap().files.len(), 1);
}

#[test]
fn local_folders_archives_and_find_links_are_inputs() {
    let folder = folder(&[
        ("requirements.txt", "./lib[x]\n-e libs/other\nw/a-1-py3-none-any.whl\n-f w\n"),
        ("lib/setup.py", ""),
        ("libs/other/setup.py", ""),
        ("w/a-1-py3-none-any.whl", ""),
    ]);
    let found = read(&folder).unwrap();
    assert_eq!(found.folders, [path("lib"), path("libs/other")].into());
    assert_eq!(found.archives, [path("w/a-1-py3-none-any.whl")].into());
    assert_eq!(found.find_links, [path("w")].into());
    assert!(found.rewritten);
}

#[test]
fn a_path_that_leaves_the_project_is_refused_with_a_way_out() {
    for line in ["../lib", "-e ..", "x @ file:///elsewhere/x-1-py3-none-any.whl"] {
        let folder = folder(&[("requirements.txt", line)]);
        let error = message(&read(&folder).unwrap_err());
        assert!(error.contains("`requirements.txt` line 1"), "{error}");
        assert!(error.contains("lies outside the project: copy it into"), "{error}");
    }
}

#[test]
fn find_links_may_lie_anywhere() {
    let folder =
        folder(&[("requirements.txt", "--find-links /elsewhere/wheels\n-f https://h/l\n")]);
    let found = read(&folder).unwrap();
    assert!(found.find_links.is_empty());
    assert_eq!(found.options, ["--find-links '/elsewhere/wheels'", "--find-links 'https://h/l'"]);
}

#[test]
fn variables_count_by_their_values_but_for_credentials() {
    let text = "--index-url https://me:${TOKEN}@host/simple\nidna==${VERSION}\n";
    let found = read(&folder(&[("requirements.txt", text)])).unwrap();
    assert_eq!(
        found.expanded,
        [
            ("requirements.txt line 1".into(), "--index-url https://host/simple".into()),
            ("requirements.txt line 2".into(), "idna==3.7".into()),
        ]
    );
    assert_eq!(found.secrets.redact("no s3cret here"), "no **** here");
}

#[test]
fn a_password_in_a_file_is_not_part_of_what_is_recorded() {
    let text = "-i https://me:hunter2@host/simple\n";
    let found = read(&folder(&[("requirements.txt", text)])).unwrap();
    assert_eq!(found.files[0].text, "-i https://host/simple\n");
}

#[test]
fn one_hash_switches_hash_mode_on() {
    for text in
        ["idna==3.7 --hash=sha256:00\n", "--require-hashes\n", "idna==3.7 \\\n  --hash sha256:0"]
    {
        assert!(read(&folder(&[("requirements.txt", text)])).unwrap().hashed, "{text}");
    }
}

#[test]
fn copies_keep_line_numbers_and_name_wheels_for_folders() {
    let folder = folder(&[
        (
            "requirements.txt",
            "# why\n./lib[x] ; python_version > '3'\n-r more.txt\nidna \\\n>=3\nattrs",
        ),
        ("more.txt", "-e git+https://h/r@v1#egg=r\n"),
        ("lib/setup.py", ""),
    ]);
    let found = read(&folder).unwrap();
    let out = tempfile::tempdir().unwrap();
    let replace = |local: &RelPath, extras: &str| {
        Some((format!("{local}{extras} @ file:///w.whl"), " --hash=sha256:0".into()))
    };
    found.write(&folder.project, out.path(), &replace).unwrap();
    let copy = found.copy_of(out.path(), &path("requirements.txt"), false).unwrap();
    let more = found.copy_of(out.path(), &path("more.txt"), false).unwrap();
    assert_eq!(
        std::fs::read_to_string(copy).unwrap(),
        format!(
            "\nlib[x] @ file:///w.whl ; python_version > '3' --hash=sha256:0\n-r '{}'\nidna >=3\n\nattrs\n",
            more.display()
        )
    );
    assert_eq!(std::fs::read_to_string(more).unwrap(), "git+https://h/r@v1#egg=r\n");
}
