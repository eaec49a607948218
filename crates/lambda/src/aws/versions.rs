//! Versions of a function, which never change, and aliases, which point to one of them.

use aws_sdk_lambda::types::{FunctionConfiguration, FunctionVersionLatestPublished};

use super::error::{Error, Problem};
use super::{Function, Lambda};

/// The qualifier of the function's unpublished state.
pub const LATEST: &str = "$LATEST";
/// The published code of a function on Managed Instances without numbered versions.
pub const LATEST_PUBLISHED: &str = "$LATEST.PUBLISHED";

/// A published version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub number: String,
    pub code_sha256: String,
}

/// A name that points to a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    pub name: String,
    pub version: String,
    /// Changes with every change of the alias.
    revision: Option<String>,
    /// Other versions that receive a part of the calls.
    pub shared_with: Vec<String>,
}

impl Lambda<'_> {
    /// Returns the newest version with this code and with the function's current configuration.
    pub fn version_with(&self, name: &str, code_sha256: &str) -> Result<Option<String>, Error> {
        let wanted = format!("list the versions of function `{name}`");
        let (mut all, mut marker) = (Vec::new(), None);
        loop {
            let page = self.send(&wanted, || {
                let request = self.client.list_versions_by_function().function_name(name);
                request.set_marker(marker.clone()).send()
            })?;
            all.extend(page.versions.unwrap_or_default());
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                break;
            }
        }
        let (latest, versions): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|version| version.version() == Some(LATEST));
        let Some(now) = latest.first().map(setup) else { return Ok(None) };
        let same = versions
            .iter()
            .filter(|version| version.code_sha256() == Some(code_sha256) && setup(version) == now);
        let number = |version: &FunctionConfiguration| version.version()?.parse::<u64>().ok();
        Ok(same.filter_map(number).max().map(|number| number.to_string()))
    }

    /// Publishes a version of `function` as it was read. Not retried: if the response is lost, the
    /// version may exist, so the caller checks before it repeats the request. With `latest`,
    /// republishes [`LATEST_PUBLISHED`] instead of a version with a number. Without a `description`,
    /// the version has that of the function.
    pub fn publish(
        &self,
        function: &Function,
        latest: bool,
        description: Option<String>,
    ) -> Result<Version, Error> {
        let request = self
            .client
            .publish_version()
            .function_name(&function.name)
            .code_sha256(&function.code_sha256)
            .set_revision_id(function.revision.clone())
            .set_description(description)
            .set_publish_to(latest.then_some(FunctionVersionLatestPublished::LatestPublished))
            .send();
        let wanted = format!("publish a version of function `{}`", function.name);
        let output = self.send_once(&wanted, request)?;
        Ok(Version {
            number: match latest {
                true => LATEST_PUBLISHED.to_owned(),
                false => output.version.unwrap_or_default(),
            },
            code_sha256: output.code_sha256.unwrap_or_default(),
        })
    }

    /// Returns the alias; `None` if it does not exist.
    pub fn alias(&self, function: &str, alias: &str) -> Result<Option<Alias>, Error> {
        let wanted = format!("read alias `{alias}` of function `{function}`");
        let request = || self.client.get_alias().function_name(function).name(alias).send();
        match self.send(&wanted, request) {
            Err(error) if error.problem == Problem::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(output) => {
                let weights = output.routing_config.and_then(|all| all.additional_version_weights);
                let mut shared_with: Vec<String> =
                    weights.unwrap_or_default().into_keys().collect();
                shared_with.sort();
                Ok(Some(Alias {
                    name: alias.to_owned(),
                    version: output.function_version.unwrap_or_default(),
                    revision: output.revision_id,
                    shared_with,
                }))
            }
        }
    }

    /// Points `alias` to a version. If it was moved since it was read, the error is
    /// [`Problem::Changed`].
    pub fn move_alias(&self, function: &str, alias: &Alias, version: &str) -> Result<(), Error> {
        let wanted = format!("move alias `{}` of function `{function}`", alias.name);
        self.send(&wanted, || {
            let request = self.client.update_alias().function_name(function).name(&alias.name);
            request.function_version(version).set_revision_id(alias.revision.clone()).send()
        })
        .map(drop)
    }

    /// Creates an alias. If it exists already, the error is [`Problem::Busy`].
    pub fn create_alias(&self, function: &str, alias: &str, version: &str) -> Result<(), Error> {
        let wanted = format!("create alias `{alias}` of function `{function}`");
        self.send(&wanted, || {
            let request = self.client.create_alias().function_name(function).name(alias);
            request.function_version(version).send()
        })
        .map(drop)
    }
}

/// Returns the configuration that a version shares with the function that it was published from, if
/// neither changed since.
fn setup(of: &FunctionConfiguration) -> FunctionConfiguration {
    let mut setup = of.clone();
    for own in [
        &mut setup.function_arn,
        &mut setup.version,
        &mut setup.description,
        &mut setup.revision_id,
        &mut setup.last_modified,
        &mut setup.master_arn,
        &mut setup.config_sha256,
        &mut setup.code_sha256,
        &mut setup.state_reason,
        &mut setup.last_update_status_reason,
    ] {
        *own = None;
    }
    setup.state = None;
    setup.state_reason_code = None;
    setup.last_update_status = None;
    setup.last_update_status_reason_code = None;
    setup.snap_start = None;
    setup.runtime_version_config = None;
    setup
}
