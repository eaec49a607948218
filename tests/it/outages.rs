//! Failures between here and Lambda, by a proxy in front of MiniStack. After each failure: the live
//! code, the stamps, and that another run finishes the job without repeating steps.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::aws_project::{self, OLD, STAMP, create, digest, uploading};
use crate::emulators::{Emulator, bundle, code_sha256};
use crate::proxy::{Fault, Proxy, Rule};
use crate::sandbox::{Run, Sandbox, side_by_side, text};
use crate::wait;

const BUILDFILE: &str = uploading!("alias = 'live'\n");

const THEIRS: &str = "def handler(event, context):\n    return 'theirs'\n";

const SECRET: &str = "wJalrXUtnFEMI-K7MDENG-bPxRfiCY";

const LOOK: &str = "GET /2015-03-31/functions/hello/configuration";
const SEND: &str = "PUT /2015-03-31/functions/hello/code";
const VERSIONS: &str = "GET /2015-03-31/functions/hello/versions";
const VERSION: &str = "POST /2015-03-31/functions/hello/versions";
const ALIAS: &str = "PUT /2015-03-31/functions/hello/aliases/live";

/// A function with old code, version 1, and an alias that points to it; and a project with new code
/// and its bundle.
struct Scene {
    aws: Arc<Emulator>,
    project: Sandbox,
    old: String,
    new: String,
}

impl Scene {
    fn new() -> Self {
        let aws = Arc::new(Emulator::ministack());
        create(&aws);
        aws.publish("hello", "live");
        let mut project = aws_project::project(BUILDFILE, &aws.endpoint());
        project.set("AWS_SECRET_ACCESS_KEY", SECRET);
        project.set("AWS_SESSION_TOKEN", SECRET);
        let _ = project.run(["package"]).success();
        let new = digest(&project);
        Self { aws, project, old: code_sha256(&bundle("app.py", OLD)), new }
    }

    /// Uploads through a proxy with these faults, all of which must happen.
    #[track_caller]
    fn upload(&mut self, rules: Vec<Rule>) -> (Run, Proxy) {
        let proxy = Proxy::new(&self.aws.endpoint(), rules);
        // The same address for all proxies: another would be another deployment.
        self.project.set("AWS_ENDPOINT_URL", proxy.endpoint());
        let run = self.project.run(["--json", "upload"]);
        assert!(proxy.is_through(), "{run}\n{}", proxy.heads().concat());
        assert!(!run.to_string().contains(SECRET), "{run}");
        let _ = self.project.sh(&format!("grep -r {SECRET} .zipwright build")).status(1);
        (run, proxy)
    }

    /// Asserts that an upload fails and leaves this live: digest, number of versions, and target of
    /// the alias. Returns the error.
    #[track_caller]
    fn fails(&mut self, rules: Vec<Rule>, live: (&str, usize, &str)) -> String {
        let (run, _) = self.upload(rules);
        let run = run.failure();
        assert_eq!(self.live(), (live.0.to_owned(), live.1, live.2.to_owned()), "{run}");
        assert!(!self.project.exists(STAMP), "{run}");
        text(&run.target("upload"), "error")
    }

    fn live(&self) -> (String, usize, String) {
        let digest = text(&self.aws.function("hello"), "CodeSha256");
        (digest, self.aws.versions("hello").len(), self.aws.alias("hello", "live"))
    }

    /// Asserts that a run without faults makes the new code live as the only version with it.
    /// Returns whether the code had to be sent.
    #[track_caller]
    fn another_run_finishes(&mut self, versions: usize) -> bool {
        let (run, proxy) = self.upload(Vec::new());
        let run = run.success();
        let version = versions.to_string();
        assert_eq!(self.live(), (self.new.clone(), versions, version), "{run}");
        assert!(self.project.exists(STAMP));
        let sent = run.target("upload")["sent"] == true;
        assert_eq!(proxy.count(SEND), usize::from(sent));
        // Afterwards, no further request is sent.
        let run = self.project.run(["--json", "upload"]).success();
        assert_eq!(run.target("upload")["outcome"], "up-to-date", "{run}");
        sent
    }

    /// Returns a deployment by another client, past the proxy.
    fn theirs(&self) -> Fault {
        let aws = Arc::clone(&self.aws);
        Fault::First(Box::new(move || aws.update_code("hello", &bundle("app.py", THEIRS))))
    }
}

/// Returns no fault, for a request before the relevant one.
fn well() -> Fault {
    Fault::First(Box::new(|| {}))
}

const THROTTLED: Fault = Fault::Refuse(429, "TooManyRequestsException", "Retry-After: 1\r\n");

#[test]
fn what_passes_is_waited_for_and_said() {
    let server = |status| Fault::Refuse(status, "ServiceException", "");
    let cases: [(Rule, &str); 13] = [
        ((LOOK, THROTTLED), "TooManyRequestsException: the test says TooManyRequestsException"),
        ((SEND, THROTTLED), "; try again in a moment; trying again in 1.0 s"),
        ((SEND, server(500)), "ServiceException"),
        ((SEND, server(503)), "ServiceException"),
        ((LOOK, Fault::LoseAnswer), "could not read function `hello` in eu-west-1 at http://"),
        ((LOOK, Fault::CutAnswer), "could not read function `hello`"),
        ((SEND, Fault::ResetMidRequest), "could not update the code of function `hello`"),
        ((SEND, Fault::LoseAnswer), "could not update the code of function `hello`"),
        ((SEND, Fault::CutAnswer), "could not update the code of function `hello`"),
        ((VERSION, server(502)), "could not publish a version of function `hello`"),
        ((VERSION, Fault::LoseAnswer), "could not publish a version of function `hello`"),
        ((ALIAS, Fault::LoseAnswer), "could not move alias `live` of function `hello`"),
        ((ALIAS, THROTTLED), "could not move alias `live` of function `hello`"),
    ];
    side_by_side(cases, |(rule, says)| {
        let mut scene = Scene::new();
        let (run, _) = scene.upload(vec![rule]);
        let run = run.success().stderr_has(says).stderr_has("trying again in ");
        assert_eq!(scene.live(), (scene.new.clone(), 2, "2".into()), "{run}");
        assert!(scene.project.exists(STAMP), "{run}");
    });
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_function_that_is_busy_is_waited_for_and_that_is_said() {
    let mut scene = Scene::new();
    let (run, proxy) =
        scene.upload(vec![(SEND, Fault::Refuse(409, "ResourceConflictException", ""))]);
    let _ = run.success().stderr_has("waiting for it, then checking again");
    assert_eq!(proxy.count(SEND), 2);
    assert_eq!(scene.live(), (scene.new.clone(), 2, "2".into()));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn what_does_not_pass_ends_the_upload_and_nothing_is_recorded() {
    let mut scene = Scene::new();
    let old = scene.old.clone();
    let rules = (0..5).map(|_| (SEND, Fault::Refuse(503, "ServiceException", ""))).collect();
    let error = scene.fails(rules, (&old, 1, "1"));
    assert!(error.contains("; failed after 5 attempts; the code may have arrived"), "{error}");
    assert!(error.contains("alias `live` points to version 1, as before"), "{error}");
    let rules = (0..3).map(|_| (SEND, Fault::ResetMidRequest)).collect();
    let error = scene.fails(rules, (&old, 1, "1"));
    assert!(error.contains("; failed after 3 attempts"), "{error}");
    assert!(scene.another_run_finishes(2));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_slow_answer_is_waited_for_and_one_that_does_not_come_is_asked_for_again() {
    let mut scene = Scene::new();
    let (run, proxy) = scene.upload(vec![
        (LOOK, Fault::Slow(Duration::from_secs(22))),
        (SEND, Fault::Slow(Duration::from_secs(3))),
    ]);
    let run = run.success().stderr_has("trying again in ");
    assert_eq!(run.stderr.matches("trying again in ").count(), 1, "{run}");
    assert_eq!(proxy.count(SEND), 1);
    assert_eq!(scene.live(), (scene.new.clone(), 2, "2".into()));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn an_update_that_takes_its_time_is_waited_for_and_one_that_fails_is_named() {
    let mut scene = Scene::new();
    let busy = || {
        Fault::Rewrite(|function| {
            function["LastUpdateStatus"] = json!("InProgress");
        })
    };
    let failed = Fault::Rewrite(|function| {
        function["LastUpdateStatus"] = json!("Failed");
        function["LastUpdateStatusReason"] = json!("the disk is full");
    });
    let new = scene.new.clone();
    let rules = vec![(LOOK, well()), (LOOK, busy()), (LOOK, busy()), (LOOK, failed)];
    // The emulator itself has accepted the code: only the proxy reports a failure.
    let error = scene.fails(rules, (&new, 1, "1"));
    assert!(error.contains("could not use it: the disk is full; the code from before"), "{error}");
    assert!(
        error.contains(
            "no version was published; alias `live` points to version \
                            1"
        ),
        "{error}"
    );
    assert!(!scene.another_run_finishes(2));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn another_deployment_is_never_overwritten_unseen() {
    let mut scene = Scene::new();
    let theirs = code_sha256(&bundle("app.py", THEIRS));
    let between = vec![(SEND, scene.theirs())];
    let error = scene.fails(between, (&theirs, 1, "1"));
    assert!(error.contains("changed by another client during this upload"), "{error}");

    let after = vec![(LOOK, well()), (LOOK, scene.theirs())];
    let error = scene.fails(after, (&theirs, 1, "1"));
    assert!(error.contains("another client deployed after this upload"), "{error}");

    let changed = Fault::Refuse(412, "PreconditionFailedException", "");
    let before_the_version = vec![(VERSIONS, scene.theirs()), (VERSION, changed)];
    let error = scene.fails(before_the_version, (&theirs, 1, "1"));
    assert!(error.contains("got other code from another client before the version"), "{error}");
    assert!(
        error.contains("; no version with this code was published; alias `live` points"),
        "{error}"
    );

    // MiniStack ignores the guards of a version, so one of their code is published.
    let unguarded = vec![(VERSION, scene.theirs())];
    let error = scene.fails(unguarded, (&theirs, 2, "1"));
    assert!(error.contains("another client deployed in between"), "{error}");
    assert!(scene.another_run_finishes(3));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn an_alias_that_somebody_moved_stays_where_it_is() {
    let mut scene = Scene::new();
    let aws = Arc::clone(&scene.aws);
    let moved = Fault::First(Box::new(move || {
        let change = json!({"FunctionVersion": "2", "Description": "by hand"});
        aws.move_alias("hello", "live", &change);
        aws.move_alias("hello", "live", &json!({"FunctionVersion": "1"}));
    }));
    // Moved back by another client: that may be intended, so it is not overwritten.
    let new = scene.new.clone();
    let error = scene.fails(vec![(ALIAS, moved)], (&new, 2, "1"));
    assert!(error.contains("could not move alias `live`"), "{error}");
    assert!(error.contains("function `hello` has the code as version 2"), "{error}");
    assert!(!scene.another_run_finishes(2));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn another_digest_than_ours_is_no_success() {
    let mut scene = Scene::new();
    let new = scene.new.clone();
    let other = || {
        Fault::Rewrite(|answer| {
            answer["CodeSha256"] = json!("other");
        })
    };
    let error = scene.fails(vec![(SEND, other())], (&new, 1, "1"));
    assert!(error.contains("received other data than was sent"), "{error}");
    let error = scene.fails(vec![(VERSION, other())], (&new, 2, "1"));
    assert!(error.contains("version 2 of function `hello` in eu-west-1"), "{error}");
    assert!(error.contains("has CodeSha256 other instead of"), "{error}");
    assert!(!scene.another_run_finishes(2));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_step_that_is_refused_says_what_is_live_and_is_all_that_is_left_to_do() {
    let refused = || Fault::Refuse(403, "AccessDeniedException", "");
    let mut scene = Scene::new();
    let (old, new) = (scene.old.clone(), scene.new.clone());
    let error = scene.fails(vec![(SEND, refused())], (&old, 1, "1"));
    assert!(
        error.contains(&format!("`hello` still has the code with CodeSha256 {old}")),
        "{error}"
    );
    let error = scene.fails(vec![(VERSION, refused())], (&new, 1, "1"));
    assert!(error.contains("has the code as $LATEST; no version with this code was"), "{error}");
    assert!(error.contains("alias `live` points to version 1, as before"), "{error}");
    assert!(error.ends_with("another run continues from there"), "{error}");
    let error = scene.fails(vec![(ALIAS, refused())], (&new, 2, "1"));
    assert!(error.contains("function `hello` has the code as version 2"), "{error}");
    assert!(!scene.another_run_finishes(2));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_kill_in_the_middle_leaves_nothing_that_counts_as_done() {
    let cases =
        [(SEND, Signal::KILL), (VERSION, Signal::KILL), (ALIAS, Signal::KILL), (SEND, Signal::INT)];
    for (at, signal) in cases {
        let mut scene = Scene::new();
        let proxy =
            Proxy::new(&scene.aws.endpoint(), vec![(at, Fault::Slow(Duration::from_secs(60)))]);
        scene.project.set("AWS_ENDPOINT_URL", proxy.endpoint());
        let mut command = scene.project.zipwright();
        let mut child =
            command.arg("upload").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait::until(at, || (proxy.count(at) > 0).then_some(()));
        thread::sleep(Duration::from_millis(500));
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal.as_raw()), "{at}");
        assert!(!scene.project.exists(STAMP), "{at}");
        // Completed steps are found, and not repeated.
        assert!(!scene.another_run_finishes(2), "{at}");
    }
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn of_several_functions_only_the_one_that_failed_is_done_again() {
    let mut scene = Scene::new();
    scene.aws.create_function("other", "x86_64", &bundle("app.py", OLD));
    let several = BUILDFILE.replace("function = \"hello\"", "functions = ['hello', 'other']");
    scene.project.write("Buildfile", several);
    let (run, _) = scene.upload(vec![(SEND, Fault::Refuse(403, "AccessDeniedException", ""))]);
    let run = run.failure();
    let error = text(&run.target("upload"), "error");
    assert!(error.starts_with("1 of 2 functions failed:\n`hello`: could not update"), "{error}");
    assert!(error.ends_with("done, and not done again: `other`"), "{error}");
    assert_eq!(scene.live(), (scene.old.clone(), 1, "1".into()));
    let (run, proxy) = scene.upload(Vec::new());
    let _ = run.success();
    assert_eq!((proxy.count(SEND), proxy.count("/functions/other/code")), (1, 0));
    assert_eq!(scene.live(), (scene.new.clone(), 2, "2".into()));
    assert_eq!(scene.aws.versions("other"), ["1"]);
}
