//! Requirements files on disk, and the inputs found in them.

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
    let env = [("TOKEN", "s3cret"), ("VERSION", "3.7"), ("BASE", "base.txt")];
    let env: BTreeMap<_, _> = env.map(|(name, value)| (name.into(), value.into())).into();
    Folder { _temp: temp, project: Project::new(root, env) }
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

fn read(folder: &Folder) -> Result<Requirements> {
    let applies = |marker: &str| Some(!marker.contains("win32"));
    Requirements::read(&folder.project, &[path("requirements.txt")], &[], &applies)
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
    assert!(!found.hashed);
}

#[test]
fn a_missing_include_names_file_and_line() {
    let folder = folder(&[("requirements.txt", "idna\n\n-r gone.txt\n")]);
    let error = message(&read(&folder).unwrap_err());
    assert_eq!(error, "`requirements.txt` line 3: it includes `gone.txt`, which does not exist");
}

#[test]
fn a_circle_of_includes_is_refused_with_file_and_line() {
    let twice = "idna\n-r a.txt\n-c a.txt\n-r a.txt\n";
    let error_of = |a: &str| {
        read(&folder(&[("requirements.txt", twice), ("a.txt", a), ("b.txt", "-r ./a.txt\n")]))
    };
    assert_eq!(error_of("six\n").unwrap().files.len(), 3);
    assert_eq!(
        message(&error_of("six\n-r b.txt\n").unwrap_err()),
        "`requirements.txt` line 2: `a.txt` line 2: `b.txt` line 1: the includes are a circle, \
         `a.txt`, `b.txt`, `a.txt`: remove one of them"
    );
    assert_eq!(
        message(&error_of("-c a.txt\n").unwrap_err()),
        "`requirements.txt` line 2: `a.txt` line 1: it includes itself: remove this line"
    );
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
}

#[test]
fn a_path_that_leaves_the_project_is_refused_with_a_way_out() {
    for line in ["../lib", "-e ..", "x @ file:///elsewhere/x-1-py3-none-any.whl"] {
        let folder = folder(&[("requirements.txt", line)]);
        let error = message(&read(&folder).unwrap_err());
        assert!(error.contains("`requirements.txt` line 1"), "{error}");
        assert!(error.contains("is outside the project: copy it into"), "{error}");
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
    let replace = |local: &RelPath| {
        let url = "file:///w.whl".into();
        Some(Replacement { project: local.to_string(), url, hash: " --hash=sha256:0".into() })
    };
    found.write(&folder.project, out.path(), &replace).unwrap();
    let copy = found.copy_of(out.path(), &path("requirements.txt"), false);
    let more = found.copy_of(out.path(), &path("more.txt"), false);
    assert_eq!(
        std::fs::read_to_string(copy).unwrap(),
        format!(
            "\nlib[x] @ file:///w.whl --hash=sha256:0\n-r '{}'\nidna >=3\n\nattrs\n",
            more.display()
        )
    );
    assert_eq!(std::fs::read_to_string(more).unwrap(), "git+https://h/r@v1#egg=r\n");
}

#[test]
fn an_include_is_an_input_in_whatever_encoding_and_spelling() {
    let root = |folder: &Folder| folder.project.root.display().to_string();
    for line in [
        "\u{feff}-r base.txt",
        "# c\x0c-rbase.txt",
        "idna\u{2028}--requirem=base.txt",
        "--pre -r 'base.txt' -c other.txt",
        "-r ${BASE}",
        "-c \\\n base.txt",
    ] {
        let folder = folder(&[("requirements.txt", line), ("base.txt", "attrs\n")]);
        assert_eq!(read(&folder).unwrap().files.len(), 2, "{line:?}");
    }
    let folder = folder(&[("sub/a b.txt", "-r c%20d.txt\n"), ("sub/c d.txt", "attrs\n")]);
    let text = format!("-r file://{}/sub/a%20b.txt\n-r file:base.txt\n", root(&folder));
    std::fs::write(folder.project.root.join("requirements.txt"), text).unwrap();
    let found = read(&folder).unwrap();
    let files: Vec<_> = found.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, ["requirements.txt", "sub/a b.txt", "sub/c d.txt"]);
}

#[test]
fn a_file_in_utf_16_is_read_and_its_copy_is_utf_8() {
    let folder = folder(&[]);
    let text = "\u{feff}idna # \u{fc}\r\n./l\u{fc}b\r\n";
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(folder.project.root.join("requirements.txt"), bytes).unwrap();
    std::fs::create_dir(folder.project.root.join("l\u{fc}b")).unwrap();
    let found = read(&folder).unwrap();
    assert_eq!(found.folders, [path("l\u{fc}b")].into());
    let out = tempfile::tempdir().unwrap();
    found.write(&folder.project, out.path(), &|_| None).unwrap();
    let copy = found.copy_of(out.path(), &path("requirements.txt"), false);
    assert_eq!(std::fs::read_to_string(copy).unwrap(), "\u{feff}idna\n./l\u{fc}b\n");
}

#[test]
fn a_local_path_behind_a_marker_that_does_not_hold_is_passed_over() {
    let text = "./gone ; sys_platform == 'win32'\n../x; sys_platform == 'win32'\nidna\n";
    let folder = folder(&[("requirements.txt", text)]);
    let found = read(&folder).unwrap();
    assert!(found.folders.is_empty());
    let out = tempfile::tempdir().unwrap();
    found.write(&folder.project, out.path(), &|_| None).unwrap();
    let copy = found.copy_of(out.path(), &path("requirements.txt"), false);
    assert_eq!(std::fs::read_to_string(copy).unwrap(), "\n\nidna\n");
}

#[test]
fn a_subdirectory_is_the_folder_and_a_wrong_name_is_refused() {
    let folder = folder(&[("repo/packages/b/setup.py", ""), ("repo/setup.py", "")]);
    let root = folder.project.root.display().to_string();
    let text = format!(
        "b @ file://{root}/repo#subdirectory=packages/b\n-e file://{root}/repo#egg=A.b_c[x]\n"
    );
    std::fs::write(folder.project.root.join("requirements.txt"), text).unwrap();
    let found = read(&folder).unwrap();
    assert_eq!(found.folders, [path("repo"), path("repo/packages/b")].into());
    let out = tempfile::tempdir().unwrap();
    let write = |project: &'static str| {
        let replace = move |local: &RelPath| {
            let project = if *local == path("repo") { "a-b-c" } else { project };
            Some(Replacement { project: project.into(), url: "u".into(), hash: String::new() })
        };
        found.write(&folder.project, out.path(), &replace)
    };
    write("b").unwrap();
    let copy = found.copy_of(out.path(), &path("requirements.txt"), false);
    assert_eq!(std::fs::read_to_string(copy).unwrap(), "b @ u\na-b-c[x] @ u\n");
    let error = message(&write("wrong").unwrap_err());
    let expected = "`requirements.txt` line 1: it names `b`, and `repo/packages/b` builds `wrong`";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_project_that_is_entered_through_a_link_has_its_files_inside() {
    let mut folder = folder(&[("lib/setup.py", "")]);
    let beside = tempfile::tempdir().unwrap();
    let link = beside.path().join("link");
    std::os::unix::fs::symlink(&folder.project.root, &link).unwrap();
    let env = [("PWD".to_string(), link.display().to_string())].into();
    folder.project = Project::new(folder.project.root.clone(), env);
    let file = folder.project.root.join("requirements.txt");
    std::fs::write(file, "lib @ file://${PWD}/lib\n").unwrap();
    let found = read(&folder).unwrap();
    assert_eq!(found.folders, [path("lib")].into());
    assert_eq!(found.expanded[0].1, "lib @ file://./lib", "the same in every checkout");
}

#[test]
fn a_line_that_ends_in_a_backslash_swallows_no_other() {
    let folder = folder(&[("requirements.txt", "idna\\ # why\nattrs\n")]);
    let found = read(&folder).unwrap();
    let out = tempfile::tempdir().unwrap();
    found.write(&folder.project, out.path(), &|_| None).unwrap();
    let copy = found.copy_of(out.path(), &path("requirements.txt"), false);
    assert_eq!(std::fs::read_to_string(copy).unwrap(), "idna\\ #\nattrs\n");
}

#[test]
fn other_tools_files_are_refused_with_the_way_out() {
    let of = |line: &str, name: &str, text: &str| {
        message(&read(&folder(&[("requirements.txt", line), (name, text)])).unwrap_err())
    };
    let error = of("-r poetry.lock", "poetry.lock", "");
    assert!(error.contains("`poetry.lock` is not a requirements file"), "{error}");
    assert!(error.contains("poetry export"), "{error}");
    let line = "brotlipy @ file:///croot/brotlipy_1659616059936/work";
    let error = of(line, "x", "");
    assert!(error.contains("pip list --format=freeze"), "{error}");
    let error = of("./x --global-option=y", "x/setup.py", "");
    assert!(error.contains("are not passed to builds"), "{error}");
}
