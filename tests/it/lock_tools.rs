//! The tools that write lockfiles, each in a virtual environment of its own.

use std::path::PathBuf;

use crate::sandbox::{Run, Sandbox};

pub(crate) const UV: &str = "uv==0.13.9";

pub(crate) const PIP: &str = "pip==26.3";
/// PDM works with one release of its HTTP cache only, and does not require it.
pub(crate) const PDM: &str = "pdm==2.29.4 'hishel[httpx2]==1.4.0'";
pub(crate) const POETRY: &str = "poetry==2.5.1 poetry-plugin-export==1.10.1";
pub(crate) const PIPENV: &str = "pipenv==2026.10.3";

/// Installs packages beside the project; returns the folder of the programs of the first.
pub(crate) fn install(sandbox: &Sandbox, requirement: &str) -> PathBuf {
    let name = requirement.split("==").next().unwrap();
    let folder = sandbox.beside(&format!("tool-{name}"));
    let place = folder.display();
    sandbox
        .sh(&format!("python3 -m venv '{place}' && '{place}/bin/pip' install -q {requirement}"))
        .success();
    folder.join("bin")
}

/// Lets tools trust the certificates by which this machine reaches the package index.
pub(crate) fn trust(sandbox: &mut Sandbox) {
    for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] {
        if let Some(value) = std::env::var_os(name) {
            sandbox.set(name, value.to_string_lossy());
        }
    }
}

/// Runs uv in the project; its cache is beside the project.
pub(crate) fn uv(sandbox: &Sandbox, arguments: &str) -> Run {
    let program = sandbox.beside("tool-uv/bin/uv");
    sandbox.sh(&format!("'{}' {arguments}", program.display()))
}
