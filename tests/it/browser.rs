//! The site of a service in a real browser: edit, reload, new text.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use rustix::process::Signal;

use crate::emulators::{install, run};
use crate::sandbox::{Sandbox, python};
use crate::services::free_port;
use crate::watching::{Watching, edit};

/// A Chromium that needs no libraries of the system, as an npm package: for Linux on x86_64.
const CHROMIUM: &str = "@sparticuz/chromium@147.0.0";

/// Unpacks the program and its libraries.
const UNPACK: &str = r#"
const fs = require("fs"), zlib = require("zlib");
const from = "node_modules/@sparticuz/chromium/bin/";
for (const name of fs.readdirSync(from))
  fs.writeFileSync(name.replace(/\.br$/, ""), zlib.brotliDecompressSync(fs.readFileSync(from + name)));
fs.chmodSync("chromium", 0o755);
"#;

/// Returns the folder of the browser, which is installed at its first use.
fn chromium(sandbox: &Sandbox) -> PathBuf {
    install("chromium", CHROMIUM, |folder| {
        fs::create_dir_all(folder).unwrap();
        let shell = |script: &str| {
            let mut command = sandbox.program("/bin/sh");
            run(command.args(["-ec", script]).current_dir(folder));
        };
        shell(&format!("npm install --silent --no-audit --no-fund --ignore-scripts {CHROMIUM}"));
        run(sandbox.program("node").args(["-e", UNPACK]).current_dir(folder));
        shell("for file in *.tar; do tar xf \"$file\"; rm \"$file\"; done; rm -r node_modules");
    })
}

/// A page in a browser.
struct Page {
    browser: Child,
    /// Its end ends the browser.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Page {
    fn open(sandbox: &Sandbox, browser: &Path, url: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser/pages.py");
        let mut command = sandbox.program(python());
        command.arg(script).arg(browser).arg(url).current_dir(sandbox.beside("home"));
        let mut browser = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = browser.stdin.take();
        let output = BufReader::new(browser.stdout.take().unwrap());
        Self { browser, input, output }
    }

    fn text(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no text of a page: `{line}`"))
    }

    fn reload(&mut self) -> String {
        writeln!(self.input.as_mut().unwrap(), "reload").unwrap();
        self.text()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.browser.wait();
    }
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_browser_shows_the_new_text_after_an_edit_and_a_reload() {
    let sandbox = Sandbox::new();
    let has_node = sandbox.sh("command -v node && command -v npm").code == Some(0);
    if !has_node || !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        eprintln!("skipped: it needs npm, and Linux on x86_64");
        return;
    }
    sandbox.fixture("site");
    let port = free_port();
    let mut command = sandbox.zipwright();
    let mut watch = Watching::start(command.args(["watch", &format!("port={port}")]));
    watch.expect("round 1: 2 ran (site, serve)");
    let browser = chromium(&sandbox);
    let mut page = Page::open(&sandbox, &browser, &format!("http://127.0.0.1:{port}/"));
    assert_eq!(page.text().trim(), "Hello from the first version.");
    edit(&sandbox, "pages/index.txt", "The second <version>.");
    watch.expect("round 2 (pages/index.txt changed): 2 ran (site, serve)");
    assert_eq!(page.reload().trim(), "The second <version>.");
    drop(page);
    watch.end(Signal::INT);
}
