//! Reading `MAKEFLAGS` as the installed make writes it, and writing it as make reads it.

use std::path::Path;
use std::process::{Command, Output};

use zipwright::make::{Auth, Flags, Jobs, Pool, Variable};

const MAKEFILE: &str = "all:\n\t+@printf '%s' \"$$MAKEFLAGS\"\n";

fn make(folder: &Path) -> Command {
    let mut command = Command::new("make");
    command.current_dir(folder).env_remove("MAKEFLAGS").env_remove("MAKELEVEL").arg("-f").arg("-");
    command
}

/// Runs make on [`MAKEFILE`] or another text on its standard input.
fn run(command: &mut Command, makefile: &str) -> Output {
    use std::io::Write;
    use std::process::Stdio;
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(makefile.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Returns the last `MAKEFLAGS` that a recipe of `make ARGS` gets.
fn makeflags(args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("inc")).unwrap();
    let output = run(make(folder.path()).arg("-s").args(args), MAKEFILE);
    let text = String::from_utf8(output.stdout).unwrap();
    // `-n`, `-w` and `--trace` print lines before it, and `-w` one after it.
    let text = text.trim_end_matches('\n');
    let leaving = text.rfind("make: Leaving").unwrap_or(text.len());
    text[..leaving].rsplit('\n').next().unwrap().to_owned()
}

fn read(args: &[&str]) -> Flags {
    Flags::parse(&makeflags(args))
}

#[test]
fn letters_that_make_hands_down_are_read() {
    let flags = read(&["-k", "-B", "-i"]);
    assert!(flags.keep_going && flags.always && flags.ignore_errors && flags.silent);
    assert!(!flags.dry_run && !flags.question && !flags.touch && !flags.trace);
    assert!(read(&["-n"]).dry_run);
    assert!(read(&["-q"]).question);
    assert!(read(&["-t"]).touch);
    assert!(!read(&["-k", "-S"]).keep_going);
    assert_eq!(read(&["-w"]).print_directory, Some(true));
    assert_eq!(read(&["--no-print-directory"]).print_directory, Some(false));
}

#[test]
fn words_that_make_hands_down_are_read() {
    let flags = read(&["--trace", "-Oline", "-l", "2.5", "-Iinc"]);
    assert!(flags.trace);
    assert_eq!((flags.output_sync.as_deref(), flags.load), (Some("line"), Some(2.5)));
    assert_eq!(read(&["-O"]).output_sync.as_deref(), Some("target"));
    let flags = read(&["-j3"]);
    assert_eq!(flags.jobs, Some(Jobs::Limit(3)));
    assert!(matches!(flags.jobserver, Some(Auth::Pipe { .. } | Auth::Fifo(_))));
    assert_eq!(read(&["-j"]).jobs, Some(Jobs::Unlimited));
    assert_eq!(read(&["-j1"]).jobserver, None);
    assert_eq!(read(&[]), Flags::parse("s"));
}

#[test]
fn variables_that_make_hands_down_are_read() {
    let value = |definition: &str| {
        let flags = read(&[definition, "OTHER=1"]);
        assert_eq!(flags.variables.len(), 2, "{definition}");
        let variable = flags.variables.into_iter().find(|variable| variable.name == "A");
        variable.unwrap().value()
    };
    for plain in ["x", "", "x y", "x\ty", "x\\y", "x\\ y", "a=b", "a#b", "é%", "-k", "--", "'q\""]
    {
        assert_eq!(value(&format!("A={plain}")), plain);
        assert_eq!(value(&format!("A:={plain}")), plain);
    }
    assert_eq!(value("A=x$$y"), "x$y");
    assert_eq!(value("A:=x$$y"), "x$y");
    assert_eq!(value("A=$(OTHER)"), "$(OTHER)");
}

/// A make with our `MAKEFLAGS` passes on the same flags as a make with its own.
#[test]
fn make_reads_what_we_write() {
    let folder = tempfile::tempdir().unwrap();
    for args in [
        vec!["-k"],
        vec!["-B", "-i", "-e", "-r", "-R", "A=x y", "B=$(A)", "C=a$$b\\c"],
        vec!["--trace", "-Oline", "-l2.5", "--warn-undefined-variables", "--no-print-directory"],
        vec!["--eval=X=1 2", "-j"],
        vec!["-j1", "A:=q r"],
    ] {
        let direct = makeflags(&args);
        let written = Flags::parse(&direct).for_children(None);
        let output = run(make(folder.path()).env("MAKEFLAGS", &written), MAKEFILE);
        let text = String::from_utf8(output.stdout).unwrap();
        let indirect = text.rsplit('\n').next().unwrap();
        let sorted = |text| {
            let mut flags = Flags::parse(text);
            flags.variables.sort_by(|a, b| a.name.cmp(&b.name));
            flags
        };
        assert_eq!(sorted(indirect), sorted(&direct), "{args:?} became {written:?}");
    }
}

#[test]
fn a_value_of_ours_arrives_to_the_letter_two_makes_down() {
    let folder = tempfile::tempdir().unwrap();
    let makefile =
        "export DOWN\nall:\n\t+@printf \"$$DOWN\" | $(MAKE) --no-print-directory -s -f -\n";
    for value in ["x y", "$HOME $$ ${A}", "back\\slash\\ ", "a=b#c", "tab\there", "-n"] {
        let mut flags = Flags::default();
        flags.set(Variable::literal("A", "replaced"));
        flags.set(Variable::literal("A", value));
        let output = run(
            make(folder.path())
                .env("MAKEFLAGS", flags.for_children(None))
                .env("DOWN", "all:\n\t@printf %%s \"$$A\"\n"),
            makefile,
        );
        assert_eq!(String::from_utf8_lossy(&output.stdout), value, "{output:?}");
    }
}

#[test]
fn make_joins_our_pool() {
    let folder = tempfile::tempdir().unwrap();
    let pool = Pool::server(3).unwrap();
    for jobs in [None, Some(Jobs::Limit(3))] {
        let mut flags = Flags::default();
        flags.jobs = jobs;
        let written = flags.for_children(pool.auth());
        let output = run(make(folder.path()).env("MAKEFLAGS", &written), MAKEFILE);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let seen = Flags::parse(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(seen.jobserver.as_ref(), pool.auth(), "{written}");
    }
}
