//! Two emulators of AWS on loopback, MiniStack and moto, each installed below `target/` at its
//! first use.
//!
//! MiniStack runs functions and has Lambda's states. One server is started per run; each call of
//! [`Emulator::ministack`] returns another account of it, so that tests share nothing. Tests with
//! buckets, and those that invoke functions, start a server of their own. moto checks less, has
//! other faults, and has one account, so it is started for each test.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The region that tests deploy to.
pub(crate) const REGION: &str = "eu-west-1";

/// A Python package with a server, and the command that starts it.
struct Tool {
    name: &'static str,
    package: &'static str,
    program: &'static str,
    ready: &'static str,
}

const MINISTACK: Tool = Tool {
    name: "ministack",
    package: "ministack==1.5.33",
    program: "ministack",
    ready: "/_ministack/health",
};

const MOTO: Tool = Tool {
    name: "moto",
    package: "moto[server,awslambda,s3,iam,ec2]==5.2.5 awscli",
    program: "moto_server",
    ready: "/moto-api/data.json",
};

/// Runs a console script, and ends it with all its processes when our end of its standard input
/// closes, so that nothing outlives a test, however the test ends.
const LAUNCHER: &str = "
import os, runpy, signal, sys, threading
def watch():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
";

/// A running server. It ends when dropped, or with the test process.
struct Server {
    child: Child,
    port: u16,
    folder: TempDir,
}

/// One account of a server.
pub(crate) struct Emulator {
    server: Arc<Server>,
    /// The access key of this account on the server.
    key: String,
    role: String,
}

thread_local! {
    static KEY: RefCell<String> = RefCell::new("test".into());
}

/// Returns the access key of the account that this thread created last.
pub(crate) fn access_key() -> String {
    KEY.with_borrow(Clone::clone)
}

impl Emulator {
    fn new(server: Arc<Server>, key: String, role: String) -> Self {
        KEY.with_borrow_mut(|last| last.clone_from(&key));
        Self { server, key, role }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn ministack() -> Self {
        static SERVER: OnceLock<Arc<Server>> = OnceLock::new();
        static ACCOUNTS: AtomicU64 = AtomicU64::new(1);
        let server = SERVER.get_or_init(Self::start_ministack);
        // For MiniStack, a key of twelve digits is the number of an account.
        let account = format!("{:012}", ACCOUNTS.fetch_add(1, Ordering::Relaxed));
        let role = format!("arn:aws:iam::{account}:role/any");
        Self::new(Arc::clone(server), account, role)
    }

    /// Returns a server of its own: the name of a bucket is global, and accounts share the
    /// processes that run functions of one name.
    pub(crate) fn ministack_alone() -> Self {
        let role = "arn:aws:iam::000000000000:role/any";
        Self::new(Self::start_ministack(), "test".into(), role.into())
    }

    fn start_ministack() -> Arc<Server> {
        Server::start(&MINISTACK, |port| {
            (
                Vec::new(),
                vec![
                    // Its default is to listen on all addresses.
                    ("BIND_HOST", "127.0.0.1".into()),
                    ("MINISTACK_HOST", "127.0.0.1".into()),
                    ("GATEWAY_PORT", port.to_string()),
                    ("SERVICES", "lambda,s3,iam,sts,logs".into()),
                    // Further servers, on fixed ports.
                    ("IOT_MTLS_ENABLED", "0".into()),
                    ("SFTP_ENABLED", "0".into()),
                ],
            )
        })
    }

    pub(crate) fn moto() -> Self {
        let role = "arn:aws:iam::123456789012:role/zipwright";
        let server = Server::start(&MOTO, |port| {
            let args = ["-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
            (args.to_vec(), Vec::new())
        });
        let moto = Self::new(server, "test".into(), role.into());
        // moto requires that the role of a function exists.
        let form = "Action=CreateRole&Version=2010-05-08&RoleName=zipwright\
                    &AssumeRolePolicyDocument=%7B%7D";
        let (status, answer) = moto.request("iam", "POST", "/", form.as_bytes());
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        moto
    }

    /// Returns the folder with the AWS CLI, and a Python with boto3.
    pub(crate) fn clients() -> PathBuf {
        install_python(MOTO.name, MOTO.package).join("bin")
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// Creates a function whose code is `zip`, and waits until it is active.
    pub(crate) fn create_function(&self, name: &str, architecture: &str, zip: &[u8]) {
        let request = json!({
            "FunctionName": name,
            "Runtime": "python3.11",
            "Role": self.role,
            "Handler": "app.handler",
            "Timeout": 5,
            "Architectures": [architecture],
            "Code": {"ZipFile": BASE64_STANDARD.encode(zip)},
        });
        self.lambda("POST", "/2015-03-31/functions", &request);
        self.settle(name);
    }

    /// Returns the versions of a layer, oldest first.
    pub(crate) fn layer_versions(&self, name: &str) -> Vec<Value> {
        let listed =
            self.lambda("GET", &format!("/2018-10-31/layers/{name}/versions"), &Value::Null);
        let mut versions = listed["LayerVersions"].as_array().cloned().unwrap_or_default();
        versions.sort_by_key(|version| version["Version"].as_i64());
        versions
    }

    /// Returns a version of a layer, with the description of its content.
    pub(crate) fn layer_version(&self, name: &str, version: i64) -> Value {
        self.lambda("GET", &format!("/2018-10-31/layers/{name}/versions/{version}"), &Value::Null)
    }

    /// Publishes a layer without zipwright; returns its ARN.
    pub(crate) fn publish_layer(&self, name: &str, zip: &[u8]) -> String {
        let request = json!({"Content": {"ZipFile": BASE64_STANDARD.encode(zip)}});
        let path = format!("/2018-10-31/layers/{name}/versions");
        let published = self.lambda("POST", &path, &request);
        published["LayerVersionArn"].as_str().unwrap().to_owned()
    }

    /// Attaches layers without zipwright.
    pub(crate) fn set_layers(&self, function: &str, arns: &[&str]) {
        let path = format!("/2015-03-31/functions/{function}/configuration");
        self.lambda("PUT", &path, &json!({"Layers": arns}));
        self.settle(function);
    }

    /// Returns the ARNs of a function's layers.
    pub(crate) fn layers_of(&self, function: &str) -> Vec<String> {
        let function = self.function(function);
        let layers = function["Layers"].as_array().cloned().unwrap_or_default();
        layers.iter().map(|layer| layer["Arn"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn create_bucket(&self, name: &str) {
        let place = format!(
            "<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint>\
             </CreateBucketConfiguration>"
        );
        let (status, answer) = self.request("s3", "PUT", &format!("/{name}"), place.as_bytes());
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    }

    /// Makes moto verify the signatures of all further requests, with botocore's implementation.
    /// Returns the ID and secret of a key that may do everything.
    pub(crate) fn require_signatures(&self) -> (String, String) {
        let allow = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A\
                     %22Allow%22%2C%22Action%22%3A%22*%22%2C%22Resource%22%3A%22*%22%7D%5D%7D";
        let iam = |action: &str| {
            let form = format!("Action={action}&Version=2010-05-08&UserName=deployer");
            let (status, answer) = self.request("iam", "POST", "/", form.as_bytes());
            let text = String::from_utf8_lossy(&answer).into_owned();
            assert_eq!(status, 200, "{text}");
            text
        };
        iam("CreateUser");
        iam(&format!("PutUserPolicy&PolicyName=all&PolicyDocument={allow}"));
        let key = iam("CreateAccessKey");
        let element = |name: &str| {
            let rest = key.split(&format!("<{name}>")).nth(1).unwrap();
            rest.split('<').next().unwrap().to_owned()
        };
        let (status, _) = self.request("moto", "POST", "/moto-api/reset-auth", b"0");
        assert_eq!(status, 200);
        (element("AccessKeyId"), element("SecretAccessKey"))
    }

    /// Returns status and content of a path in S3.
    pub(crate) fn s3(&self, path: &str) -> (u16, Vec<u8>) {
        self.request("s3", "GET", path, b"")
    }

    /// Changes a function's code without zipwright.
    pub(crate) fn update_code(&self, name: &str, zip: &[u8]) {
        let request = json!({"ZipFile": BASE64_STANDARD.encode(zip)});
        self.lambda("PUT", &format!("/2015-03-31/functions/{name}/code"), &request);
        self.settle(name);
    }

    /// Publishes a version of a function, and creates an alias for it.
    pub(crate) fn publish(&self, name: &str, alias: &str) -> String {
        let path = format!("/2015-03-31/functions/{name}");
        let published = self.lambda("POST", &format!("{path}/versions"), &json!({}));
        let version = published["Version"].as_str().unwrap().to_owned();
        let request = json!({"Name": alias, "FunctionVersion": version});
        self.lambda("POST", &format!("{path}/aliases"), &request);
        version
    }

    /// Returns the numbers of a function's versions.
    pub(crate) fn versions(&self, name: &str) -> Vec<String> {
        let path = format!("/2015-03-31/functions/{name}/versions");
        let listed = self.lambda("GET", &path, &Value::Null);
        let all = listed["Versions"].as_array().unwrap().iter();
        let numbers = all.map(|version| version["Version"].as_str().unwrap().to_owned());
        numbers.filter(|number| number != "$LATEST").collect()
    }

    /// Returns the configuration of a version.
    pub(crate) fn version(&self, name: &str, number: &str) -> Value {
        let path = format!("/2015-03-31/functions/{name}/configuration?Qualifier={number}");
        self.lambda("GET", &path, &Value::Null)
    }

    /// Returns the version of an alias.
    pub(crate) fn alias(&self, name: &str, alias: &str) -> String {
        let path = format!("/2015-03-31/functions/{name}/aliases/{alias}");
        self.lambda("GET", &path, &Value::Null)["FunctionVersion"].as_str().unwrap().to_owned()
    }

    /// Changes the configuration of a function.
    pub(crate) fn configure(&self, name: &str, change: &Value) {
        let path = format!("/2015-03-31/functions/{name}/configuration");
        self.lambda("PUT", &path, change);
        self.settle(name);
    }

    /// Changes the target of an alias, or its other properties.
    pub(crate) fn move_alias(&self, name: &str, alias: &str, change: &Value) {
        let path = format!("/2015-03-31/functions/{name}/aliases/{alias}");
        self.lambda("PUT", &path, change);
    }

    /// Returns a function's configuration.
    pub(crate) fn function(&self, name: &str) -> Value {
        let path = format!("/2015-03-31/functions/{name}/configuration");
        self.lambda("GET", &path, &Value::Null)
    }

    fn settle(&self, name: &str) {
        eventually(|| {
            let function = self.function(name);
            function["State"] != "Pending" && function["LastUpdateStatus"] != "InProgress"
        });
    }

    fn lambda(&self, method: &str, path: &str, request: &Value) -> Value {
        let body = if request.is_null() { String::new() } else { request.to_string() };
        let (status, answer) = self.request("lambda", method, path, body.as_bytes());
        let text = String::from_utf8_lossy(&answer);
        assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
        serde_json::from_slice(&answer).unwrap_or_else(|_| panic!("{method} {path}: {text}"))
    }

    /// Sends a request whose signature only has the form: it gives the emulators service and
    /// region.
    fn request(&self, service: &str, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let content = if service == "iam" { "x-www-form-urlencoded" } else { "json" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential={}/20260101/{REGION}/{service}/\
             aws4_request, SignedHeaders=host, Signature=0\r\n\
             Content-Type: application/{content}\r\nContent-Length: {}\r\n\r\n",
            self.server.port,
            self.key,
            body.len()
        );
        exchange(self.server.port, &[head.as_bytes(), body].concat()).expect("an answer")
    }
}

impl Server {
    fn start(
        tool: &Tool,
        settings: impl Fn(u16) -> (Vec<String>, Vec<(&'static str, String)>),
    ) -> Arc<Self> {
        let venv = install_python(tool.name, tool.package);
        let mut logs = Vec::new();
        // The port was free when it was chosen, and may be taken meanwhile.
        for _ in 0..3 {
            let port = free_port();
            let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let log = File::create(folder.path().join("log")).unwrap();
            let (args, vars) = settings(port);
            let child = Command::new(venv.join("bin/python"))
                .args(["-c", LAUNCHER])
                .arg(venv.join("bin").join(tool.program))
                .args(args)
                .env("TMPDIR", folder.path())
                .env("HOME", folder.path())
                .envs(vars)
                .stdin(Stdio::piped())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .process_group(0)
                .spawn()
                .unwrap();
            let mut server = Self { child, port, folder };
            if server.becomes_ready(tool.ready) {
                return Arc::new(server);
            }
            let log = fs::read_to_string(server.folder.path().join("log"));
            logs.push(log.unwrap_or_default());
        }
        panic!("{} does not start:\n{}", tool.name, logs.join("\n"));
    }

    fn becomes_ready(&mut self, path: &str) -> bool {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            if exchange(self.port, request.as_bytes()).is_some_and(|(status, _)| status == 200) {
                // Another program may respond, unless ours has ended.
                return matches!(self.child.try_wait(), Ok(None));
            }
            thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Returns a zip with one stored file at its root.
pub(crate) fn bundle(name: &str, content: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    zip.start_file(name, options).unwrap();
    zip.write_all(content.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Returns `CodeSha256`, computed without zipwright.
pub(crate) fn code_sha256(zip: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha256::digest(zip))
}

/// Waits until a condition is true.
pub(crate) fn eventually(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "waited for a minute");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Installs packages, named with spaces between them, into a virtual environment of their own,
/// once; returns the folder.
pub(crate) fn install_python(name: &str, package: &str) -> PathBuf {
    let python = Command::new("python3").arg("-VV").output().expect("python3 on PATH").stdout;
    let wanted = format!("{package}\n{}", String::from_utf8_lossy(&python));
    install(name, &wanted, |venv| {
        run(Command::new("python3").args(["-m", "venv"]).arg(venv));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(venv.join("bin/python")).args(pip).args(package.split(' ')));
    })
}

/// Installs a tool into a folder of its own, once for each text in `wanted`; returns the folder. Test
/// processes that need the same one wait for each other.
pub(crate) fn install(name: &str, wanted: &str, put: impl FnOnce(&Path)) -> PathBuf {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("test-tools");
    fs::create_dir_all(&tools).unwrap();
    let lock = File::create(tools.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let folder = tools.join(name);
    // Written last, so that another version is installed again.
    let mark = folder.join("zipwright-installed");
    if fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        return folder;
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    put(&folder);
    fs::write(mark, wanted).unwrap();
    folder
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{text}");
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Sends a whole request and reads the whole response; `None` if no server listens.
fn exchange(port: u16, request: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    stream.write_all(request).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer[end + 4..].to_vec()))
}
