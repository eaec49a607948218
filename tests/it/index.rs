//! A package index on this machine, for tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub(crate) use crate::server::{Server as Index, response};

impl Index {
    /// Serves the files of a folder.
    pub(crate) fn of(folder: &Path) -> Self {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files: BTreeMap<String, Vec<u8>> = files
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read(&path).unwrap())
            })
            .collect();
        Self::new(move |head, _| match files.get(file_of(head)) {
            Some(bytes) => response("200 OK", bytes),
            None => response("404 Not Found", b""),
        })
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/files/{name}", self.port)
    }

    /// Returns the names of the files that were requested, sorted.
    pub(crate) fn requested(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let mut names: Vec<String> = heads.iter().map(|head| file_of(head).to_owned()).collect();
        names.sort();
        names
    }
}

pub(crate) fn file_of(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default().rsplit('/').next().unwrap_or_default()
}
