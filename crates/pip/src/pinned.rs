//! Requirements that are all pinned by version and hash: the files that pip would choose, found on
//! the pages of the package indexes without running pip.
//!
//! Only the usual case is handled. For anything else there is no result, and pip resolves.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;
use zipwright_fetch::{Failure, Page, pages};
use zipwright_python::{Choice, Metadata, Offer, Pin, Requirement, SimplePage, Target, lack};
use zipwright_store::Cache;

use super::config::Config;
use super::lines::{Meaning, is_archive, url_path};
use super::options::{self, Name};
use super::requirements::{Applies, Requirements, has_scheme};
use super::resolve::{Origin, Pick, file_url};
use super::secrets::percent_decode;
use super::sources::Sources;
use super::wheels::{Wheel, sha256_of};
use zipwright_engine::event::Reporter;
use zipwright_engine::signals;
use zipwright_store::project::Project;

/// What pages of an index may be, the preferred one first, as pip requests them.
const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, \
     application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01";

/// The inputs of a search for pinned files.
pub(super) struct Search<'a> {
    pub project: &'a Project,
    pub requirements: &'a Requirements,
    pub config: &'a Config,
    /// pip's further arguments.
    pub arguments: &'a [String],
    pub target: Target,
    pub applies: Applies<'a>,
    pub reporter: &'a dyn Reporter,
    /// Gets the reason if all are pinned and there is no result.
    pub failure: &'a OnceCell<String>,
}

/// The files of pinned requirements.
pub(super) struct Pinned {
    pub picks: Vec<Pick>,
    /// Extras by the name of the project.
    extras: BTreeMap<String, Vec<String>>,
    target: Target,
}

/// The files that one source offers for each pin, with absolute URLs.
type Offers = Vec<Vec<Offer>>;

impl Pinned {
    /// Returns the files for the requirements; `None` if pip must resolve them.
    pub(super) fn find(search: Search) -> Result<Option<Self>> {
        let Some(pins) = pins(search.requirements, search.applies) else { return Ok(None) };
        if pins.is_empty() || search.config.other_setting().is_some() {
            return Ok(None);
        }
        let options = &search.requirements.options;
        let Some(sources) = Sources::read(&search.config.network, search.arguments, options) else {
            return Ok(None);
        };
        let Some(local) = local_offers(search.project, &sources, &pins)? else { return Ok(None) };
        let Some(listed) = listed_offers(&search, &sources, &pins)? else { return Ok(None) };
        let mut picks = Vec::new();
        for ((pin, listed), local) in pins.iter().zip(&listed).zip(&local) {
            let chosen = match pin.choose(listed, &search.target) {
                // pip takes a file without a hash on its page, as in a folder, only if no page has
                // an allowed one.
                Choice::Nothing => pin.choose(local, &search.target),
                choice => choice,
            };
            let what = format!("`{} {}`", pin.name, pin.version);
            let reason = match chosen {
                Choice::File(offer) => {
                    picks.push(pick(pin, offer));
                    continue;
                }
                Choice::Nothing => format!("no index has a file of {what} that fits"),
                Choice::Unclear => {
                    format!("no index has exactly one file of {what} with an allowed hash")
                }
            };
            let _ = search.failure.set(reason);
            return Ok(None);
        }
        let extras = pins.into_iter().map(|pin| (pin.name, pin.extras)).collect();
        Ok(Some(Self { picks, extras, target: search.target }))
    }

    /// Returns what the wheels, which are in the cache, require and is not pinned; `None` if they
    /// require nothing else. pip fails if they do.
    pub(super) fn lack(&self, cache: &Cache, wheels: &[Wheel]) -> Option<String> {
        let metadata = |wheel: &Wheel| metadata(&wheel.place_in(cache));
        let members: Result<Vec<Metadata>> = wheels.par_iter().map(metadata).collect();
        match members.and_then(|members| lack(&members, &self.extras, &self.target)) {
            Ok(lack) => Some(format!("{}, which is not pinned", lack?)),
            // pip has a better error for metadata that is not readable.
            Err(error) => Some(format!("{error:#}")),
        }
    }
}

/// Returns the pins of all requirements that apply; `None` if a line is anything else.
fn pins(requirements: &Requirements, applies: Applies) -> Option<Vec<Pin>> {
    let mut pins: Vec<Pin> = Vec::new();
    for (meaning, is_included, is_constraint) in requirements.lines() {
        let found = match meaning {
            Meaning::Nothing | Meaning::Options(_) => continue,
            Meaning::Include { .. } if is_included => continue,
            Meaning::Include { .. } | Meaning::Invalid => return None,
            Meaning::Requirement(found) => found,
        };
        let is_plain = found.path.is_none() && !found.editable && found.settings.is_empty();
        if is_constraint || !is_plain || found.has_setup_options {
            return None;
        }
        if !found.marker.is_empty() && !applies(&found.marker)? {
            continue;
        }
        let mut hashes = BTreeSet::new();
        for option in options::read(options::split(&found.options)?).ok()? {
            let sha256 = option.value.strip_prefix("sha256:");
            let sha256 = sha256.filter(|_| option.name == Name::Hash)?;
            hashes.insert(sha256.to_ascii_lowercase());
        }
        let pin = Pin::new(&Requirement::parse(&found.words).ok()?, hashes)?;
        if pins.iter().any(|other| other.name == pin.name) {
            return None;
        }
        pins.push(pin);
    }
    Some(pins)
}

/// Returns the files in folders of find-links; `None` if there is a page among these.
fn local_offers(project: &Project, sources: &Sources, pins: &[Pin]) -> Result<Option<Offers>> {
    let mut offers = vec![Vec::new(); pins.len()];
    for place in &sources.find_links {
        let Some(folder) = local_place(project, place) else { return Ok(None) };
        if folder.is_file() {
            return Ok(None);
        }
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            for (pin, offers) in pins.iter().zip(&mut offers) {
                if is_archive(&name) && pin.has_name(&name) {
                    let (url, name) = (file_url(&entry.path()), name.clone());
                    let sha256 = Some(sha256_of(&entry.path())?);
                    offers.push(Offer { name, url, sha256, ..Offer::default() });
                }
            }
        }
    }
    Ok(Some(offers))
}

/// Returns the files that the indexes list; `None` if a page cannot be read.
fn listed_offers(search: &Search, sources: &Sources, pins: &[Pin]) -> Result<Option<Offers>> {
    let mut offers = vec![Vec::new(); pins.len()];
    let (mut urls, mut owners) = (Vec::new(), Vec::new());
    let network = &search.config.network;
    for index in &sources.indexes {
        for (at, pin) in pins.iter().enumerate() {
            if has_scheme(index) && !index.starts_with("file:") {
                urls.push(format!("{}/{}/", index.trim_end_matches('/'), pin.name));
                owners.push(at);
                continue;
            }
            let Some(folder) = local_place(search.project, index) else { return Ok(None) };
            let Some(mut found) = of_folder(&folder.join(&pin.name)) else { return Ok(None) };
            offers[at].append(&mut found);
        }
    }
    if urls.iter().any(|url| network.only_pip(url).is_some()) {
        return Ok(None);
    }
    if urls.is_empty() {
        return Ok(Some(offers));
    }
    search.reporter.status("reading the pages of the package index");
    let mut settings = network.settings(search.project, &[]);
    // pip tries again.
    settings.timing.attempts = 2;
    let found = pages(&urls, ACCEPT, &settings, &|_| !signals::is_ending());
    for (at, result) in owners.into_iter().zip(found) {
        match result {
            Ok(page) => match of_page(&page) {
                Some(mut found) => offers[at].append(&mut found),
                None => return Ok(None),
            },
            Err(Failure::Missing(_)) => {}
            Err(failure) => {
                let _ = search.failure.set(failure.to_string());
                return Ok(None);
            }
        }
    }
    Ok(Some(offers))
}

/// Returns the files on a page; `None` if it is not a page of an index.
fn of_page(page: &Page) -> Option<Vec<Offer>> {
    let SimplePage { base, offers } = match page.media_type.as_str() {
        "application/vnd.pypi.simple.v1+json" => SimplePage::from_json(&page.body).ok()?,
        "application/vnd.pypi.simple.v1+html" | "text/html" => {
            SimplePage::from_html(&String::from_utf8_lossy(&page.body))
        }
        _ => return None,
    };
    let base = base.as_deref();
    // pip skips a link that is not a URL, too.
    let whole = |offer: Offer| Some(Offer { url: page.join(base, &offer.url)?, ..offer });
    Some(offers.into_iter().filter_map(whole).collect())
}

/// Returns the files on the page of a project in an index on this disk.
fn of_folder(folder: &Path) -> Option<Vec<Offer>> {
    let Ok(text) = fs::read(folder.join("index.html")) else { return Some(Vec::new()) };
    let SimplePage { base, offers } = SimplePage::from_html(&String::from_utf8_lossy(&text));
    let whole = |offer: Offer| match has_scheme(&offer.url) {
        true => offer,
        false => {
            let path = percent_decode(offer.url.split('?').next().unwrap_or_default());
            Offer { url: file_url(&folder.join(path)), ..offer }
        }
    };
    base.is_none().then(|| offers.into_iter().map(whole).collect())
}

/// Returns the path that a source on this disk has; `None` for a URL of another host, and for paths
/// that only pip expands.
fn local_place(project: &Project, place: &str) -> Option<PathBuf> {
    match url_path(place) {
        Some(path) => Some(path.into()),
        None if has_scheme(place) || place.starts_with(['~', '$']) => None,
        None => Some(project.root.join(place)),
    }
}

fn pick(pin: &Pin, offer: &Offer) -> Pick {
    let (name, sha256) = (offer.name.clone(), offer.sha256.clone());
    let origin = match name.ends_with(".whl") {
        true => Origin::Wheel { name, sha256 },
        false => Origin::Archive { sha256 },
    };
    Pick {
        project: pin.name.clone(),
        version: pin.version.clone(),
        url: offer.url.clone(),
        origin,
        subdirectory: None,
        size: offer.size,
        fetched: None,
    }
}

fn metadata(place: &Path) -> Result<Metadata> {
    let mut archive = zip::ZipArchive::new(zipwright_store::fs::open(place)?)?;
    let is_wanted = |name: &str| {
        let folder = name.strip_suffix(".dist-info/METADATA");
        folder.is_some_and(|folder| !folder.contains('/'))
    };
    let names: Vec<String> = archive.file_names().flatten().map(Into::into).collect();
    let name = names.into_iter().find(|name| is_wanted(name)).context("it has no METADATA")?;
    let mut text = Vec::new();
    archive.by_name(&name)?.read_to_end(&mut text)?;
    Metadata::parse(&String::from_utf8_lossy(&text))
}
