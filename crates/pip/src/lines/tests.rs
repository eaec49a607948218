//! Single lines of requirements files.

use super::*;

fn joined(text: &str) -> Vec<(usize, usize, String)> {
    split(text).into_iter().map(|line| (line.number, line.height, line.text)).collect()
}

/// Returns the kind of a path on a disk where `lib`, `lib/p` and `.` are folders and `w.whl` is a
/// file.
fn look(path: &str) -> PathKind {
    match path {
        "." | "lib" | "./lib" | "lib/p" | "/a b" => PathKind::Folder,
        "w.whl" | "./w.whl" => PathKind::File,
        _ => PathKind::Missing,
    }
}

fn requirement_of(text: &str) -> Requirement {
    match meaning(text, &look) {
        Meaning::Requirement(found) => found,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn lines_are_joined_and_comments_dropped_as_pip_does() {
    assert_eq!(
        joined("a==1 \\\n  --hash=x\n# c \\\nb # why\nc#frag\n\\\n"),
        [
            (1, 2, "a==1   --hash=x".into()),
            (3, 1, String::new()),
            (4, 1, "b".into()),
            (5, 1, "c#frag".into()),
            (6, 1, String::new()),
        ]
    );
    assert_eq!(joined("a \\\n# end\nb"), [(1, 2, "a".into()), (3, 1, "b".into())]);
    assert_eq!(joined("\\\\a\\\\\nb"), [(1, 2, "ab".into())]);
    assert_eq!(joined("a\x1f# c\x0cb"), [(1, 1, "a".into()), (2, 1, "b".into())]);
}

#[test]
fn variables_are_filled_in_where_they_are_set() {
    let var = |name: &str| match name {
        "TOKEN_1" => Some("t"),
        "OUTER" => Some("${TOKEN_1}"),
        _ => None,
    };
    assert_eq!(
        expand("https://${TOKEN_1}@h ${unset} ${OTHER} $TOKEN_1 ${ ${${TOKEN_1}}", var),
        "https://t@h ${unset} ${OTHER} $TOKEN_1 ${ ${t}"
    );
    // In turn: a value may contain a name that is filled in later.
    assert_eq!(expand("${OUTER} ${TOKEN_1}", var), "t t");
    assert_eq!(expand("${TOKEN_1} ${OUTER}", var), "t ${TOKEN_1}");
}

#[test]
fn includes_are_seen_in_every_spelling() {
    for text in ["-r a.txt", "-ra.txt", "--requirement a.txt", "--requirem=a.txt", "--pre -r a.txt"]
    {
        let expected = Meaning::Include { path: "a.txt".into(), constraint: false };
        assert_eq!(meaning(text, &look), expected, "{text}");
    }
    let expected = Meaning::Include { path: "a b".into(), constraint: true };
    assert_eq!(meaning("-c 'a b' -c other", &look), expected);
    assert_eq!(meaning("-r 'a", &look), Meaning::Invalid);
}

#[test]
fn options_keep_their_values_and_an_index_comes_first() {
    let text = "--pre -f wheels -f more --index-url https://h/s --no-binary=:all: --require-hashes";
    assert_eq!(
        meaning(text, &look),
        Meaning::Options(vec![
            Word::Other("--index-url 'https://h/s'".into()),
            Word::Other("--pre".into()),
            Word::FindLinks("wheels".into()),
            Word::Other("--no-binary ':all:'".into()),
            Word::RequireHashes,
        ])
    );
}

#[test]
fn local_paths_are_distinguished_from_names_and_urls() {
    let parsed = |text: &str| {
        let found = requirement_of(text);
        (found.path, found.extras, found.marker)
    };
    let local = |path: &str, extras: &str, marker: &str| {
        (Some(path.to_string()), extras.to_string(), marker.to_string())
    };
    assert_eq!(parsed("."), local(".", "", ""));
    assert_eq!(parsed("./lib[a,b] ; x < '3'"), local("./lib", "[a,b]", "x < '3'"));
    assert_eq!(parsed("w.whl --hash=sha256:0"), local("w.whl", "", ""));
    assert_eq!(parsed("./gone"), local("./gone", "", ""));
    assert_eq!(parsed("name[z] @ file:///a%20b/c#sha256=0"), local("/a b/c", "[z]", ""));
    assert_eq!(parsed("name@file:///a;x<'3'"), local("/a", "", "x<'3'"));
    assert_eq!(parsed("file:lib#egg=n[q]"), local("lib", "[q]", ""));
    assert_eq!(parsed("file://localhost/a;b ; x"), local("/a;b", "", "x"));
    for text in [
        "idna",
        "lib",
        "idna==3; python_version > '3'",
        "n @ https://h/n.whl",
        "https://h/n.whl",
        "file://host/n.whl",
        "-e git+https://h/r@v#egg=n",
    ] {
        assert_eq!(parsed(text).0, None, "{text}");
    }
}

#[test]
fn an_editable_name_is_a_folder_if_there_is_one() {
    for text in ["-e lib", "-elib", "--editable=lib", "--edit lib", "-e 'lib'", "-e lib ; x < '3'"]
    {
        let found = requirement_of(text);
        assert_eq!(found.path.as_deref(), Some("lib"), "{text}");
        assert!(found.editable && found.marker.is_empty(), "pip passes over the rest of the line");
    }
    let found = requirement_of("-e lib[x,y]");
    assert_eq!((found.path.as_deref(), found.extras.as_str()), (Some("lib"), "[x,y]"));
    let found = requirement_of("-e file:///a#egg=n[z]&subdirectory=s");
    assert_eq!(found.path.as_deref(), Some("/a"));
    assert_eq!(found.subdirectory.as_deref(), Some("s"));
    assert_eq!((found.name.as_deref(), found.extras.as_str()), (Some("n"), "[z]"));
    assert_eq!(requirement_of("-e gone").path.as_deref(), Some("gone"), "it names nothing else");
    let found = requirement_of("-e 'n[z] @ file:///a ; x'");
    assert_eq!((found.path.as_deref(), found.marker.as_str()), (Some("/a"), "x"));
}

#[test]
fn settings_and_hashes_belong_to_their_requirement() {
    let found = requirement_of("./lib -C a=b --config-settings='--build-option=--x y' --hash h");
    let setting = |key: &str, value: &str| (key.to_string(), value.to_string());
    assert_eq!(found.settings, [setting("a", "b"), setting("--build-option", "--x y")]);
    assert!(found.hashed && !found.has_setup_options);
    assert!(requirement_of("./lib --global-option=x").has_setup_options);
    // A tab does not end the words in front of the options.
    assert!(!requirement_of("lib\t--hash=h").hashed);
}
