//! Documents of web servers, such as the pages of a package index, read into memory.

use std::io::{self, Read};

use flate2::read::GzDecoder;

use crate::url::Url;
use crate::{Download, Failure, Opened, Progress, Settings, Sink, fetch};

/// Largest page in bytes, unpacked.
const SIZE_MAX: u64 = 256 << 20;

/// A document, and where it came from.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its URL after all redirects.
    url: Url,
    /// Without parameters, in lower case.
    pub media_type: String,
    pub body: Vec<u8>,
}

impl Page {
    /// Returns the absolute URL that a link on this page means, without credentials. `base` is the
    /// URL that the page names for that, if it does.
    pub fn join(&self, base: Option<&str>, link: &str) -> Option<String> {
        let base = match base {
            Some(base) => self.url.join(base).ok()?,
            None => self.url.clone(),
        };
        Some(base.join(link).ok()?.whole())
    }
}

#[derive(Default)]
struct Memory {
    opened: Option<Opened>,
    bytes: Vec<u8>,
}

impl Sink for Memory {
    fn begin(&mut self, opened: Opened) {
        self.opened = Some(opened);
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if (self.bytes.len() + bytes.len()) as u64 > SIZE_MAX {
            return Err(io::Error::other("the page is too large"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.bytes.clear();
        Ok(())
    }
}

/// Reads all documents at once, each with this `Accept` header. Returns one result for each, in their
/// order. `report` stops all of them if it returns `false`.
pub fn pages(
    urls: &[String],
    accept: &str,
    settings: &Settings,
    report: &dyn Fn(&Progress) -> bool,
) -> Vec<Result<Page, Failure>> {
    let download = |url| Download { url, size: None, accept: Some(accept) };
    let mut files: Vec<_> = urls.iter().map(|url| (download(url), Memory::default())).collect();
    let results = fetch(&mut files, settings, report);
    let memories = files.into_iter().map(|(_, memory)| memory);
    results
        .into_iter()
        .zip(memories)
        .map(|(result, memory)| result.and_then(|()| memory.page()))
        .collect()
}

impl Memory {
    fn page(self) -> Result<Page, Failure> {
        let Opened { url, media_type, encoding } =
            self.opened.expect("BUG: a download that succeeded began");
        let broken = |error| Failure::Other(format!("{url} is not readable: {error}"));
        let body = match encoding.as_deref() {
            None | Some("identity") => self.bytes,
            Some("gzip") => {
                let mut body = Vec::new();
                let packed = GzDecoder::new(self.bytes.as_slice());
                packed.take(SIZE_MAX).read_to_end(&mut body).map_err(broken)?;
                body
            }
            Some(other) => {
                let text = format!("{url} has the encoding `{other}`, which was not requested");
                return Err(Failure::Unsupported(text));
            }
        };
        Ok(Page { url, media_type, body })
    }
}
