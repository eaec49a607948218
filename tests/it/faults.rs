//! Failures of the system: folders that cannot be written, a full disk, no more descriptors, and
//! every single system call of a small build in turn. One clear error, nothing wrong recorded, and
//! the next build is right.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dice::{number, say};
use crate::sandbox::{Run, Sandbox};

const BUILDFILE: &str = r#"
default = ["last", "package", "tree"]
[target.first]
kind = "command"
inputs = ["in"]
outputs = ["made/mid"]
shell = "tr a-z A-Z < in > made/mid"
[target.last]
kind = "command"
inputs = ["made/mid", "src/*"]
outputs = ["made/out", "made/more"]
shell = "cat made/mid src/* > made/out && cat made/out > made/more"
[target.staging]
kind = "staging"
sources = ["src/*", "made/out"]
[target.tree]
kind = "staging"
write = true
sources = ["src/*", "made/out"]
[target.package]
kind = "zip"
staging = "staging"
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(BUILDFILE);
    sandbox.write("in", "one\n").write("src/a", "a\n").write("src/b", "b\n".repeat(2000));
    sandbox
}

/// Asserts that a run after a fault ended with the status of an error and one clear text, or with
/// success if the fault was harmless.
#[track_caller]
fn ended_in_order(run: &Run, what: &str) {
    assert!(matches!(run.code, Some(0 | 2)), "{what}\n{run}");
    for word in ["panicked", "BUG", "RUST_BACKTRACE"] {
        assert!(!run.stderr.contains(word), "{what}\n{run}");
    }
    let errors = run.stderr.lines().filter(|line| line.contains("error: ")).count();
    assert!(errors > 0 || run.code == Some(0), "{what}: no error is reported\n{run}");
}

/// Asserts that the next build is right, and that the one after it runs nothing.
#[track_caller]
fn is_right_afterwards(sandbox: &Sandbox, what: &str) {
    let run = sandbox.run(["-s"]);
    assert_eq!(run.code, Some(0), "{what}: the next build\n{run}");
    let out = format!("{}a\n{}", sandbox.read("in").to_uppercase(), "b\n".repeat(2000));
    for path in ["made/out", "made/more", "build/tree/made/out"] {
        assert_eq!(sandbox.read(path), out, "{what}: {path}");
    }
    let zip = fs::File::open(sandbox.path("build/package.zip")).unwrap();
    let mut archive = zip::ZipArchive::new(zip).unwrap();
    let member = std::io::read_to_string(archive.by_name("made/out").unwrap()).unwrap();
    assert_eq!(member, out, "{what}: in the bundle");
    assert_eq!(sandbox.ran([]), [""; 0], "{what}");
    for entry in walkdir::WalkDir::new(sandbox.path("")) {
        let entry = entry.unwrap();
        let half_made = entry.file_name().to_string_lossy().starts_with(".zipwright-tmp-");
        assert!(!half_made, "{what}: left behind {}", entry.path().display());
    }
}

/// Makes calls fail on paths below a folder, the k-th of them in a process and its threads.
/// Programs that it starts are not affected.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;
static long failing;
static int error;
static const char *below;

__attribute__((constructor)) static void begin(void) {
    const char *number = getenv("FAULT_AT");
    failing = number ? atol(number) : 0;
    number = getenv("FAULT_ERRNO");
    error = number ? atoi(number) : EIO;
    below = getenv("FAULT_BELOW");
    unsetenv("LD_PRELOAD");
}

static int fails(void) {
    if (!failing || atomic_fetch_add(&calls, 1) + 1 != failing) return 0;
    errno = error;
    return 1;
}

static int hit(const char *path) {
    return below && path && !strncmp(path, below, strlen(below)) && fails();
}

static int hit_fd(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return hit(path);
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

int open64(const char *path, int flags, ...) {
    va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest);
    REAL(open64); return hit(path) ? -1 : real(path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
    va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest);
    REAL(openat64); return hit(path) ? -1 : real(folder, path, flags, mode);
}
int open(const char *path, int flags, ...) {
    va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest);
    REAL(open); return hit(path) ? -1 : real(path, flags, mode);
}
ssize_t read(int fd, void *bytes, size_t count) { REAL(read); return hit_fd(fd) ? -1 : real(fd, bytes, count); }
ssize_t pread64(int fd, void *bytes, size_t count, off64_t at) { REAL(pread64); return hit_fd(fd) ? -1 : real(fd, bytes, count, at); }
ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(write);
    if (!hit_fd(fd)) return real(fd, bytes, count);
    /* Half of it gets there, and then there is no room. */
    if (count > 1) real(fd, bytes, count / 2);
    errno = error;
    return -1;
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REAL(pwrite64);
    if (!hit_fd(fd)) return real(fd, bytes, count, at);
    if (count > 1) real(fd, bytes, count / 2, at);
    errno = error;
    return -1;
}
ssize_t writev(int fd, const struct iovec *parts, int count) { REAL(writev); return hit_fd(fd) ? -1 : real(fd, parts, count); }
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t count, unsigned flags) { REAL(copy_file_range); return hit_fd(out) ? -1 : real(in, from, out, to, count, flags); }
int rename(const char *from, const char *to) { REAL(rename); return hit(to) ? -1 : real(from, to); }
int renameat(int a, const char *from, int b, const char *to) { REAL(renameat); return hit(to) ? -1 : real(a, from, b, to); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { REAL(renameat2); return hit(to) ? -1 : real(a, from, b, to, flags); }
int ftruncate64(int fd, off64_t length) { REAL(ftruncate64); return hit_fd(fd) ? -1 : real(fd, length); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); return hit(path) ? -1 : real(path, mode); }
int fchmod(int fd, mode_t mode) { REAL(fchmod); return hit_fd(fd) ? -1 : real(fd, mode); }
"#;

/// Compiles the shim; without a compiler, prints a note and returns `None`.
fn shim() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = tempfile::Builder::new().suffix(".c").tempfile_in(folder).unwrap();
    fs::write(source.path(), SHIM).unwrap();
    let built = source.path().with_extension("so");
    let compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-w", "-o"])
        .args([&built, source.path()])
        .arg("-ldl")
        .status();
    if !compiler.is_ok_and(|status| status.success()) {
        say("skipped: no C compiler for the shim");
        return None;
    }
    Some(built)
}

/// Makes the k-th call of a build fail, for every k until none is left. Without
/// `ZIPWRIGHT_SOAK_FAULTS=1`, for every `step`-th k.
fn every_call_fails(errno: i32, step: usize, prepare: impl Fn(&Sandbox)) {
    let Some(shim) = shim() else { return };
    let mut harmless = 0;
    let mut failed = 0;
    let step = if number("ZIPWRIGHT_SOAK_FAULTS").is_some() { 1 } else { step };
    for at in (1..).step_by(step) {
        assert!(at < 2000, "it never ends");
        let sandbox = sandbox();
        prepare(&sandbox);
        let run = Run::of(
            sandbox
                .zipwright()
                .args(["-j1", "-s"])
                .env("LD_PRELOAD", &shim)
                .env("FAULT_AT", at.to_string())
                .env("FAULT_ERRNO", errno.to_string())
                .env("FAULT_BELOW", sandbox.path("").canonicalize().unwrap()),
        );
        let what = format!("call {at} fails with {errno}");
        ended_in_order(&run, &what);
        if run.stderr.contains("everything is checked anew") {
            // Without the state, the outputs count as files of others.
            sandbox.run(["-s", "--force"]).success();
        }
        is_right_afterwards(&sandbox, &what);
        match run.code {
            Some(0) => harmless += 1,
            _ => (harmless, failed) = (0, failed + 1),
        }
        // Some faults are harmless; so many in a row are beyond the last call.
        if harmless > 25 / step {
            let tried = at / step + 1 - harmless;
            say(&format!("{tried} calls failed with errno {errno}, and {failed} builds"));
            break;
        }
    }
    assert!(failed > 30 / step, "only {failed} calls failed: does the shim work?");
    fs::remove_file(shim).unwrap();
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[test]
fn every_call_of_a_first_build_fails_once() {
    every_call_fails(EIO, 4, |_| {});
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn every_call_of_a_build_after_an_edit_fails_once() {
    every_call_fails(ENOSPC, 2, |sandbox| {
        sandbox.run(["-s"]).success();
        sandbox.write("in", "two\n").write("src/a", "a\n");
    });
}

/// Runs zipwright from a shell, after `before`.
fn after(sandbox: &Sandbox, before: &str) -> Run {
    sandbox.sh(&format!("{before}; exec {} -s", env!("CARGO_BIN_EXE_zipwright")))
}

#[test]
fn folders_that_cannot_be_written() {
    let sandbox = sandbox();
    if sandbox.sh("setpriv --bounding-set -all true").code != Some(0) {
        say("skipped: no `setpriv`, or not root");
        return;
    }
    for folder in ["made", "build", "build/tree", ".zipwright", ".zipwright/manifests", "src", ""] {
        sandbox.run(["-s"]).success();
        sandbox.write("in", format!("for {folder}\n")).write("made/more", "ruined");
        sandbox.chmod(folder, 0o555);
        let program = env!("CARGO_BIN_EXE_zipwright");
        let run =
            Run::of(sandbox.program("setpriv").args(["--bounding-set", "-all", program, "-s"]));
        sandbox.chmod(folder, 0o755);
        ended_in_order(&run, folder);
        // A damaged file counts as a file of others.
        sandbox.run(["-s", "--force"]).success();
        is_right_afterwards(&sandbox, folder);
    }
}

#[test]
fn a_limit_on_the_size_of_files() {
    for blocks in [0, 1, 2, 4, 8] {
        let sandbox = sandbox();
        let run = after(&sandbox, &format!("trap '' XFSZ; ulimit -f {blocks}"));
        ended_in_order(&run, &format!("{blocks} blocks"));
        assert!(run.code == Some(2) || blocks > 4, "{run}");
        is_right_afterwards(&sandbox, &format!("{blocks} blocks"));
    }
}

#[test]
fn no_descriptors_left() {
    for limit in 4..24 {
        let sandbox = sandbox();
        let run = after(&sandbox, &format!("ulimit -n {limit}"));
        // With too few descriptors, the shared libraries are not found.
        if run.code != Some(127) {
            ended_in_order(&run, &format!("{limit} descriptors"));
        }
        is_right_afterwards(&sandbox, &format!("{limit} descriptors"));
    }
}

/// A small file system in a namespace of its own.
#[test]
fn a_full_disk() {
    let sandbox = sandbox();
    let can = sandbox.sh("unshare -Urm mount -t tmpfs -o size=64k none made 2>&1 || exit 9");
    if sandbox.exists("made") && can.code != Some(0) || {
        fs::create_dir_all(sandbox.path("small")).unwrap();
        sandbox.sh("unshare -Urm mount -t tmpfs -o size=64k none small").code != Some(0)
    } {
        say("skipped: no namespaces here");
        return;
    }
    let program = env!("CARGO_BIN_EXE_zipwright");
    let mut failed = 0;
    for fill in (100..=260).step_by(8) {
        let script = format!(
            "mount -t tmpfs -o size=256k none small && cp -r Buildfile in src small && cd small && \
             head -c {fill}k /dev/zero > fill 2> ../full; {program} -s; code=$?; \
             rm fill; {program} -s || exit 99; cat made/out > ../out; cat made/more > ../more; \
             {program} --json > ../again; exit $code"
        );
        let run = Run::of(sandbox.program("unshare").args(["-Urm", "sh", "-c", &script]));
        failed += usize::from(run.code == Some(2));
        ended_in_order(&run, &format!("{fill} KiB taken"));
        let out = format!("ONE\na\n{}", "b\n".repeat(2000));
        assert_eq!((sandbox.read("out"), sandbox.read("more")), (out.clone(), out), "{run}");
        assert!(!sandbox.read("again").contains("\"outcome\":\"ran\""), "{fill}");
    }
    assert!(failed > 5, "only {failed} builds met a full disk");
}

#[test]
fn a_source_that_vanishes_while_it_is_read() {
    let sandbox = sandbox();
    sandbox.write(
        "Buildfile",
        format!(
            "{BUILDFILE}\n[target.thief]\nkind = \"command\"\nshell = \"rm -f src/c\"\n\
             [target.victim]\nkind = \"staging\"\nafter = [\"thief\"]\nsources = [\"src/c\"]\n"
        ),
    );
    sandbox.write("src/c", "c");
    let run = sandbox.run(["-s", "victim"]).failure();
    run.stderr_has("src/c");
    is_right_afterwards(&sandbox, "vanished");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn sources_that_come_and_go_during_builds() {
    let sandbox = sandbox();
    for _ in 0..20 {
        // Adds and removes files all the time.
        let mut meddler = sandbox
            .program("sh")
            .args(["-c", "i=0; while test $i -lt 200; do echo $i > src/z$i; rm -f src/z$((i-3)); i=$((i+1)); done; rm -f src/z*"])
            .spawn()
            .unwrap();
        let run = sandbox.run(["-s", "-B"]);
        ended_in_order(&run, "a busy folder");
        meddler.wait().unwrap();
        is_right_afterwards(&sandbox, "a busy folder");
    }
}
