//! The overview of `zipwright --help`, and the examples of each command.

/// Fits a screen. All options of a build are in `zipwright help build`.
pub(in crate::cli) const OVERVIEW: &str = "\
Builds AWS Lambda bundles for Python: the same lambda.zip on every machine

Usage: zipwright [OPTIONS] [GOAL | NAME=VALUE]...
       zipwright [OPTIONS] COMMAND ...

  zipwright                  bring the default goals up to date
  zipwright upload           build what changed, then deploy it
  zipwright invoke --local   run the handler here, straight from the bundle
  zipwright -n --trace       what would run, and why

Build:
  build, clean        bring goals up to date, of any name; remove their outputs
  watch               build again whenever an input changes; run services
  list, graph         list the targets; draw their graph
  explain             print the reasons why a target is out of date
  lock                pin the wheels of a wheelhouse in a pylock.toml
Look:
  check, digest       check whether a bundle will run; print its CodeSha256
  diff                explain why two bundles, wheels or folders differ
Deploy:
  verify              compare the deployed code with this project's build
  promote             deploy an existing zip, identified by digest
  unpack              put the files of a bundle into a folder, for SAM or Docker
  terraform           build a zip for a Terraform `data \"external\"`
Prove:
  reproduce           build zips twice, and explain differences
  sbom, provenance    print what is in a zip; where its parts come from
  history             print in which release files were added and last changed
Set up:
  init, import        write a Buildfile: for this project; from a Makefile
  lint, schema        report the mistakes of a Buildfile; print its JSON Schema
  completions, man    print completions for a shell; a manual page
  cache, cache-key    show or prune the per-user cache; print a key for CI
  help                help on a command or a kind of target, with examples

Options, more with `zipwright help build`:
  -f FILE  -C DIR    read FILE; change to DIR first
  -j N  -k  -B       N targets at once; go on after a failure; run every target
  -n  -q             only print what would run; only the exit status
  -s  --trace        print less; print why targets run
  --json             one JSON object a line on standard output
  -v  --version      print the version

Exit status: 0 if all is up to date; 1 with -q if not; 2 after an error.
";

/// Examples of each command.
pub(super) const EXAMPLES: [(&str, &str); 27] = [
    (
        "build",
        "  zipwright build                        bring the default goals up to date
  zipwright build upload                 build what changed, then deploy it
  zipwright build invoke function=Other  with the variable `function` set to `Other`
  zipwright build -j4 -k package tests   four targets at a time, go on after a failure
  zipwright build build/lambda.zip       a goal may be a path that a target makes",
    ),
    (
        "watch",
        "  zipwright watch                  the default goals, again after each change
  zipwright watch site             a service: start it, and start it again after changes
  zipwright watch invoke --local   call the handler after each change, warm
  zipwright watch --poll=2s        for a file system without events",
    ),
    ("list", "  zipwright list\n  zipwright list --json | jq -r .target"),
    ("explain", "  zipwright explain staging"),
    (
        "graph",
        "  zipwright graph package | dot -Tsvg > graph.svg\n  zipwright graph --format mermaid",
    ),
    ("clean", "  zipwright clean          all that targets made\n  zipwright clean package"),
    ("cache", "  zipwright cache size\n  zipwright cache prune"),
    ("lock", "  zipwright lock\n  zipwright lock wheels --output pylock.arm64.toml"),
    ("cache-key", "  zipwright cache-key\n  zipwright cache-key package"),
    (
        "schema",
        "  zipwright schema > buildfile.schema.json\n  \
         zipwright schema --write   for the line `#:schema` of a Buildfile of `init`",
    ),
    (
        "unpack",
        "  zipwright unpack package \"$ARTIFACTS_DIR\"   in the Makefile of a SAM project\n  \
         zipwright unpack build/lambda.zip context/",
    ),
    (
        "terraform",
        "  data \"external\" \"bundle\" {\n    program = [\"zipwright\", \"terraform\"]\n    \
         query   = { directory = \"../lambda\", target = \"package\" }\n  }\n\n  \
         echo '{}' | zipwright terraform",
    ),
    ("lint", "  zipwright lint\n  zipwright lint services/*/Buildfile"),
    ("digest", "  zipwright digest package\n  zipwright digest build/lambda.zip"),
    (
        "check",
        "  zipwright check build/lambda.zip --runtime python3.13 --arch arm64\n  \
         zipwright check bundle-check   a check target, which has the rest itself",
    ),
    ("diff", "  zipwright diff old.zip build/lambda.zip\n  zipwright diff a.whl b.whl"),
    ("verify", "  zipwright verify\n  zipwright verify upload --diff"),
    (
        "promote",
        "  zipwright promote build/lambda.zip --digest \"$(zipwright digest package)\" \\\n    \
         --function orders --profile production --alias live",
    ),
    ("sbom", "  zipwright sbom package > sbom.json"),
    ("provenance", "  zipwright provenance build/lambda.zip"),
    ("reproduce", "  zipwright reproduce package"),
    (
        "init",
        "  zipwright init\n  zipwright init --print\n  \
         zipwright init --handler app.handler --runtime python3.13 --arch arm64",
    ),
    (
        "import",
        "  zipwright import\n  zipwright import lambda.mk --print\n  zipwright import --compare",
    ),
    (
        "history",
        "  zipwright history app                          the files below app/
  zipwright history package --since v1.2         for release notes: the bundle's files and wheels
  zipwright history --tags 'api/v*' --all --json",
    ),
    (
        "completions",
        "  zipwright completions bash > ~/.local/share/bash-completion/completions/zipwright\n  \
         zipwright completions zsh > \"${fpath[1]}/_zipwright\"\n  \
         zipwright completions fish > ~/.config/fish/completions/zipwright.fish",
    ),
    ("man", "  zipwright man | man -l -\n  zipwright man build > zipwright-build.1"),
    ("help", "  zipwright help upload\n  zipwright help wheelhouse"),
];
