//! AWS's own client of the Runtime API, which also runs handlers on Lambda: pinned, and installed
//! once per user and Python. The same for boto3, if a bundle uses it.

use anyhow::{Result, bail};
use zipwright_store::Bucket;

use crate::base::digest::FieldHasher;
use crate::event::Reporter;
use crate::pip::{self, Interpreter};
use crate::project::Project;

/// `awslambdaric` and its requirements, with the hashes of all their wheels.
const CLIENT: &str = include_str!("client.txt");
/// `boto3` and its requirements. Lambda's own may be some versions older or newer.
const BOTO3: &str = include_str!("boto3.txt");

/// The oldest Python that the pinned client supports.
const OLDEST: (u8, u8) = (3, 10);

/// An interpreter, and the folders with the client and boto3 for its handlers.
#[derive(Clone, Debug)]
pub struct Client {
    pub interpreter: Interpreter,
    pub(super) folders: Vec<String>,
}

impl Client {
    /// Installs the missing parts. No other part of a local run may need the network.
    pub fn prepare(
        project: &Project,
        interpreter: Interpreter,
        with_boto3: bool,
        reporter: &dyn Reporter,
    ) -> Result<Self> {
        let (major, minor) = interpreter.identity.minor;
        if (major, minor) < OLDEST {
            bail!(
                "handlers run locally in Python 3.10 or later, but this is {major}.{minor}: set \
                 `python`"
            );
        }
        let wanted = [("awslambdaric", CLIENT), ("boto3", BOTO3)];
        let mut folders = Vec::new();
        for (name, requirements) in wanted.into_iter().take(if with_boto3 { 2 } else { 1 }) {
            let mut hasher = FieldHasher::new();
            hasher.field(requirements).field(&interpreter.identity.python);
            let key = hasher.finish();
            let cache = project.cache()?;
            let folder = cache.place(Bucket::Tools, &format!("{name}-{key:.32}"));
            let say = || {
                reporter.status(&format!("installing {name} for Python {major}.{minor}, once"));
            };
            pip::install(project, &interpreter, (requirements, &folder), (reporter, &say))?;
            cache.mark_used(&folder);
            let Some(folder) = folder.to_str().filter(|folder| !folder.contains(':')) else {
                bail!("`{}` cannot be in PYTHONPATH: set XDG_CACHE_HOME", folder.display());
            };
            folders.push(folder.to_owned());
        }
        Ok(Self { interpreter, folders })
    }
}
