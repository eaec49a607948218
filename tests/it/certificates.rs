//! HTTPS to AWS with certificates of the user, against a server on loopback with a certificate of a
//! test CA. The guard for loopback accepts only plain HTTP, so it is off here; the endpoint and the
//! credentials' server are on loopback all the same.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::aws_project::{self, uploading};
use crate::sandbox::{Sandbox, python, text};

/// Responds to every request like a function with the code of `argv[1]`; prints its port first.
const SERVER: &str = r#"
import http.server, json, ssl, sys
class Lambda(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"CodeSha256": sys.argv[1]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lambda)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.pem", "server.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

const CERTIFICATES: &str = "
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca \
    -addext basicConstraints=critical,CA:TRUE
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost
printf 'subjectAltName=IP:127.0.0.1' > san
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem \
    -days 2 -extfile san
cat - ca.pem > mixed.pem <<END
-----BEGIN CERTIFICATE-----
AAAA
-----END CERTIFICATE-----
END
";

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn project() -> (Server, Sandbox) {
    let mut sandbox = aws_project::project(uploading!(), "");
    let _ = sandbox.run(["package"]).success();
    let _ = sandbox.sh(&format!("set -e\n{CERTIFICATES}")).success();
    let digest = aws_project::digest(&sandbox);
    let mut server = sandbox
        .program(python())
        .args(["-c", SERVER, &digest])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
    sandbox.set("AWS_ENDPOINT_URL", format!("https://127.0.0.1:{}", port.trim()));
    sandbox.set("NO_PROXY", "127.0.0.1");
    sandbox.unset("ZIPWRIGHT_REQUIRE_LOOPBACK");
    (Server(server), sandbox)
}

#[track_caller]
fn upload_error(sandbox: &Sandbox) -> String {
    text(&sandbox.run(["--json", "-B", "upload"]).failure().target("upload"), "error")
}

#[test]
fn aws_ca_bundle_says_whose_certificates_count() {
    let (_server, mut sandbox) = project();
    let error = upload_error(&sandbox);
    assert!(error.contains("certificate") && error.contains("set AWS_CA_BUNDLE"), "{error}");

    sandbox.set("AWS_CA_BUNDLE", "ca.pem");
    let _ = sandbox.run(["-B", "upload"]).success();
    // As with AWS's own tools, only the bundle counts.
    sandbox.set("AWS_CA_BUNDLE", "server.pem");
    sandbox.set("SSL_CERT_FILE", sandbox.path("ca.pem").display());
    assert!(upload_error(&sandbox).contains("certificate"));
    sandbox.unset("SSL_CERT_FILE");

    sandbox.set("AWS_CA_BUNDLE", "mixed.pem");
    let run = sandbox.run(["-B", "upload"]).success();
    run.stderr_has("AWS_CA_BUNDLE names `mixed.pem`: 1 certificate in it cannot be used");

    sandbox.unset("AWS_CA_BUNDLE");
    sandbox
        .write("config", format!("[default]\nca_bundle = {}\n", sandbox.path("ca.pem").display()));
    sandbox.set("AWS_CONFIG_FILE", sandbox.path("config").display());
    let _ = sandbox.run(["-B", "upload"]).success();
}

#[test]
fn a_bundle_of_certificates_that_is_none_is_one_error() {
    let (_server, mut sandbox) = project();
    sandbox.write("empty.pem", "").write("folder/x", "");
    let own = sandbox.path("server.key").display().to_string();
    for (file, expected) in [
        ("missing.pem", "names `missing.pem`, which cannot be read (No such file or directory"),
        ("folder", "names `folder`, which cannot be read (Is a directory"),
        ("empty.pem", "names `empty.pem`, which holds no certificate in PEM: give it a file"),
        (own.as_str(), "which holds no certificate in PEM"),
    ] {
        sandbox.set("AWS_CA_BUNDLE", file);
        let error = upload_error(&sandbox);
        assert!(error.contains(expected), "{error}");
        assert!(error.starts_with("AWS_CA_BUNDLE names"), "{error}");
    }
}
