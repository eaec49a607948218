//! Layers: the latest version of a layer, publishing a new one, and the layers of a function.

use aws_sdk_lambda::config::Builder;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Architecture, LayerVersionContentInput, Runtime};

use super::client::timeouts;
use super::error::{Error, Problem};
use super::function::{UPLOAD_TIMEOUT, storage_mode};
use super::{Code, Function, Lambda};

/// A version of a layer. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerVersion {
    pub arn: String,
    pub version: i64,
    pub code_sha256: String,
    /// Lambda's names, sorted; empty if the layer does not declare them.
    pub runtimes: Vec<String>,
    pub architectures: Vec<String>,
}

/// The content and properties of a new layer version.
#[derive(Clone, Copy, Debug)]
pub struct NewLayer<'a> {
    pub name: &'a str,
    pub code_sha256: &'a str,
    /// Sorted.
    pub runtimes: &'a [String],
    pub architectures: &'a [String],
}

impl NewLayer<'_> {
    /// Returns whether this version has the same content and properties.
    pub fn is(&self, version: &LayerVersion) -> bool {
        version.code_sha256 == self.code_sha256
            && version.runtimes == self.runtimes
            && version.architectures == self.architectures
    }
}

impl Lambda<'_> {
    /// Returns the newest version of a layer; `None` if it has no version yet.
    pub fn latest_layer(&self, name: &str) -> Result<Option<LayerVersion>, Error> {
        let wanted = format!("read layer `{name}`");
        // The newest come first, so it is on the first page.
        let listed =
            self.send(&wanted, || self.client.list_layer_versions().layer_name(name).send());
        let listed = match listed {
            Err(error) if error.problem == Problem::NotFound => return Ok(None),
            listed => listed?,
        };
        let newest = listed.layer_versions().iter().map(|version| version.version).max();
        newest.map_or(Ok(None), |newest| self.layer_version(name, newest))
    }

    /// Returns this version of a layer; `None` if it does not exist.
    pub fn layer_version(&self, name: &str, version: i64) -> Result<Option<LayerVersion>, Error> {
        let wanted = format!("read version {version} of layer `{name}`");
        let read = self.send(&wanted, || {
            self.client.get_layer_version().layer_name(name).version_number(version).send()
        });
        let read = match read {
            Err(error) if error.problem == Problem::NotFound => return Ok(None),
            read => read?,
        };
        Ok(Some(LayerVersion {
            runtimes: sorted(read.compatible_runtimes()),
            architectures: sorted(read.compatible_architectures()),
            arn: read.layer_version_arn.unwrap_or_default(),
            version,
            code_sha256: read.content.and_then(|content| content.code_sha256).unwrap_or_default(),
        }))
    }

    /// Publishes a version of a layer. Not retried: if the response is lost, the version may exist,
    /// so the caller checks before it repeats the request.
    pub fn publish_layer(&self, layer: &NewLayer, code: &Code) -> Result<LayerVersion, Error> {
        let content = LayerVersionContentInput::builder();
        let content = match code {
            Code::Direct(zip) => content.zip_file(Blob::new(zip.to_vec())),
            Code::S3 { bucket, key, version, reference } => content
                .s3_bucket(bucket)
                .s3_key(key)
                .set_s3_object_version(version.clone())
                .set_s3_object_storage_mode(storage_mode(*reference)),
        };
        let runtimes: Vec<Runtime> =
            layer.runtimes.iter().map(|name| Runtime::from(name.as_str())).collect();
        let architectures: Vec<Architecture> =
            layer.architectures.iter().map(|name| Architecture::from(name.as_str())).collect();
        let request = self
            .client
            .publish_layer_version()
            .layer_name(layer.name)
            .content(content.build())
            .set_compatible_runtimes(Some(runtimes).filter(|names| !names.is_empty()))
            .set_compatible_architectures(Some(architectures).filter(|names| !names.is_empty()))
            .customize()
            .config_override(Builder::new().timeout_config(timeouts(UPLOAD_TIMEOUT)))
            .send();
        let output = self.send_once(&format!("publish layer `{}`", layer.name), request)?;
        Ok(LayerVersion {
            arn: output.layer_version_arn.unwrap_or_default(),
            version: output.version,
            code_sha256: output.content.and_then(|content| content.code_sha256).unwrap_or_default(),
            runtimes: layer.runtimes.to_vec(),
            architectures: layer.architectures.to_vec(),
        })
    }

    /// Replaces the layers of `function`. Guarded by the revision that was read: if the function
    /// changed since, the error is [`Problem::Changed`].
    pub fn set_layers(&self, function: &Function, layers: &[String]) -> Result<(), Error> {
        let wanted = format!("attach layers to function `{}`", function.name);
        self.send(&wanted, || {
            let request = self.client.update_function_configuration().function_name(&function.name);
            let request = request.set_layers(Some(layers.to_vec()));
            request.set_revision_id(function.revision.clone()).send()
        })
        .map(drop)
    }
}

fn sorted<T: ToString>(names: &[T]) -> Vec<String> {
    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.sort();
    names
}
