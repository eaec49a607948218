//! Wheels for tests, made by the zip crate's own writer, whole or damaged in a chosen way.

use std::io::{Cursor, Write};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A wheel, of the project `demo` by default.
pub(crate) struct Fixture {
    pub(crate) project: String,
    pub(crate) members: Vec<(String, Vec<u8>, u32)>,
    pub(crate) record: String,
}

impl Fixture {
    pub(crate) fn new(members: &[(&str, &str)]) -> Self {
        let mut fixture =
            Self { project: "demo".into(), members: Vec::new(), record: String::new() };
        for (name, content) in members {
            fixture.add(name, content.as_bytes(), 0o644);
        }
        fixture
    }

    pub(crate) fn add(&mut self, name: &str, content: &[u8], mode: u32) {
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(content));
        self.record.push_str(&format!("{name},sha256={hash},{}\n", content.len()));
        self.members.push((name.into(), content.to_vec(), mode));
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content, mode) in &self.members {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Deflated)
                .unix_permissions(*mode);
            writer.start_file(name.as_str(), options).unwrap();
            writer.write_all(content).unwrap();
        }
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let name = format!("{}-1.dist-info/RECORD", self.project);
        writer.start_file(name.as_str(), stored).unwrap();
        let record = format!("{}{name},,\n", self.record);
        writer.write_all(record.as_bytes()).unwrap();
        writer.finish().unwrap().into_inner()
    }
}
