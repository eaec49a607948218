//! Shared libraries that native code needs: whether the bundle, a layer or the runtime has them,
//! and whether the dynamic linker searches their folders.

use std::collections::HashMap;

use super::findings::{Finding, Severity};
use super::runtime::Python;
use crate::elf::Elf;

/// Folders of the bundle in the `LD_LIBRARY_PATH` of Lambda's runtimes.
const SEARCHED: [&str; 2] = ["", "lib"];

/// Libraries of a desktop, missing on Lambda's systems: OpenGL, X11, GLib.
const GRAPHICAL: [&str; 11] = [
    "libEGL.so.1",
    "libGL.so.1",
    "libGLX.so.0",
    "libICE.so.6",
    "libOpenGL.so.0",
    "libSM.so.6",
    "libX11.so.6",
    "libXext.so.6",
    "libXrender.so.1",
    "libglib-2.0.so.0",
    "libgthread-2.0.so.0",
];

/// The hint for a missing library, by the prefix of its name.
const WAYS_OUT: [(&str, &str); 4] = [
    ("libpq.so", "take `psycopg2-binary` or `psycopg[binary]`, which bring it"),
    ("libmysqlclient.so", "take `PyMySQL`, which needs no native code, or put it into a layer"),
    ("libodbc.so", "put unixODBC and the driver into a layer"),
    ("libgomp.so", "put it into `lib/` of the bundle, for example from a system of the runtime's"),
];

/// The object that is checked.
pub(super) struct Of<'a> {
    pub(super) path: &'a str,
    pub(super) origin: Option<&'a String>,
}

/// All libraries available to the linker, by file name and by soname.
#[derive(Default)]
pub(super) struct Libraries {
    named: HashMap<String, Vec<Provider>>,
    /// For each object with a run path: the libraries that it needs, and the folders.
    searches: Vec<(Vec<String>, Vec<String>)>,
}

struct Provider {
    path: String,
    /// Whether it is from a wheel or a layer: then its package is assumed to load its own
    /// libraries.
    is_foreign: bool,
}

impl Libraries {
    /// Adds an object of the bundle; `is_foreign` if it is from a wheel.
    pub(super) fn add(&mut self, path: &str, elf: &Elf, is_foreign: bool) {
        self.insert(path, elf, is_foreign);
        let folder = folder_of(path);
        let folders = elf.run_path.iter().filter_map(|entry| expand(entry, folder)).collect();
        self.searches.push((elf.needed.iter().map(|name| file_name(name)).collect(), folders));
    }

    /// Adds an object of a layer.
    pub(super) fn lend(&mut self, path: &str, elf: &Elf) {
        self.insert(path, elf, true);
    }

    fn insert(&mut self, path: &str, elf: &Elf, is_foreign: bool) {
        for name in [Some(file_name(path)), elf.soname.clone()].into_iter().flatten() {
            let places = self.named.entry(name).or_default();
            places.push(Provider { path: path.to_owned(), is_foreign });
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// Returns whether the linker finds a library for an object. Packages load their own libraries
    /// before the linker searches for them, so libraries of wheels and beside the object count.
    fn is_within_reach(&self, name: &str, of: &Of) -> bool {
        let Some(places) = self.named.get(name) else { return false };
        let package = package_of(of.path);
        places.iter().any(|place| {
            let folder = folder_of(&place.path);
            place.is_foreign
                || SEARCHED.contains(&folder)
                || !package.is_empty() && package_of(&place.path) == package
                || self.searches.iter().any(|(needed, folders)| {
                    needed.iter().any(|needed| needed == name)
                        && folders.iter().any(|searched| searched == folder)
                })
        })
    }
}

pub(super) fn check(of: &Of, elf: &Elf, python: Python, bundled: &Libraries) -> Vec<Finding> {
    let mut found = Vec::new();
    for name in elf.needed.iter().map(|path| file_name(path)) {
        if python.has_library(&name) || bundled.is_within_reach(&name, of) {
            continue;
        }
        found.push(match bundled.named.get(&name).and_then(|places| places.first()) {
            Some(place) => Finding::new(
                "library-path",
                Severity::Warning,
                format!("needs `{name}`; `{}` is not where the loader looks", place.path),
                "put it into `lib/` of the bundle, beside the library that needs it, or set an \
                 rpath \
                 (`patchelf --set-rpath '$ORIGIN'`)",
            ),
            None => match missing(of, &name, python) {
                Some(finding) => finding,
                None => continue,
            },
        });
    }
    found
}

/// Returns the finding for a missing library; `None` if the runtime's libraries are unknown.
fn missing(of: &Of, name: &str, python: Python) -> Option<Finding> {
    if name.starts_with("libc.musl-") || name.starts_with("ld-musl-") {
        let text = "built for musl (Alpine Linux), and Lambda has glibc";
        return Some(Finding::new("library", Severity::Error, text, "take the `manylinux` wheel"));
    }
    if name.starts_with("libpython") {
        let text = format!("needs `{name}`, the library of another Python than {python}");
        let hint = "take the wheel for the runtime's Python";
        return Some(Finding::new("library", Severity::Error, text, hint));
    }
    if !python.has_facts() {
        return None;
    }
    if GRAPHICAL.contains(&name) {
        return Some(graphical(of, name));
    }
    let text = format!("needs `{name}`, which the bundle does not have, nor surely {python}");
    let way_out = WAYS_OUT.iter().find(|(start, _)| name.starts_with(start)).map(|(_, way)| *way);
    let hint =
        way_out.unwrap_or("put it into the bundle (`auditwheel repair` does), or into a layer");
    Some(Finding::new("library", Severity::Warning, text, hint))
}

fn graphical(of: &Of, name: &str) -> Finding {
    let package = distribution(of);
    let is_opencv = package.starts_with("opencv") || of.path.starts_with("cv2/");
    let text = format!(
        "`{package}` needs the system library `{name}`, which is for desktops: Lambda does not \
         have it"
    );
    match is_opencv {
        true => {
            let headless = match package.contains("contrib") {
                true => "opencv-contrib-python-headless",
                false => "opencv-python-headless",
            };
            let hint = format!("take `{headless}` instead, which needs no display");
            Finding::new("library", Severity::Error, text, hint)
        }
        false => {
            let hint = "take a variant of the package without a display, or put the library \
                        and what it needs into `lib/` of the bundle or of a layer";
            Finding::new("library", Severity::Warning, text, hint)
        }
    }
}

/// Returns the distribution of an object, or else its folder.
fn distribution(of: &Of) -> String {
    match of.origin.and_then(|origin| origin.split('-').next()) {
        Some(name) => name.replace('_', "-").to_lowercase(),
        None => package_of(of.path).to_owned(),
    }
}

/// Returns the first folder of a path, `x` for `x.libs/` as well.
fn package_of(path: &str) -> &str {
    let first = path.split_once('/').map_or("", |(first, _)| first);
    first.strip_suffix(".libs").unwrap_or(first)
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Returns a folder of a run path as a path in the bundle; `None` if it is outside.
fn expand(entry: &str, folder: &str) -> Option<String> {
    let origin = format!("/var/task/{folder}");
    let path = entry.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin);
    let mut parts: Vec<&str> = Vec::new();
    for part in path.strip_prefix("/var/task")?.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_paths_lead_to_folders_of_the_bundle() {
        let expand = |entry| expand(entry, "numpy/core");
        assert_eq!(expand("$ORIGIN/../../numpy.libs").as_deref(), Some("numpy.libs"));
        assert_eq!(expand("${ORIGIN}").as_deref(), Some("numpy/core"));
        assert_eq!(expand("/var/task/lib").as_deref(), Some("lib"));
        assert_eq!(expand("$ORIGIN/../../../x"), None);
        assert_eq!(expand("/usr/lib"), None);
    }
}
