//! Destination and credentials of requests: the SDK's configuration, and the part of it that is set
//! in the environment, for keys.

use std::path::Path;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, SdkConfig};

use super::error::{Error, Problem};
use super::http::{HttpClient, without_userinfo};
use super::trust;
use zipwright_store::project::Project;

/// Environment variable: if set, no request leaves this machine.
const REQUIRE_LOOPBACK: &str = "ZIPWRIGHT_REQUIRE_LOOPBACK";

/// Variables with an endpoint; the first one set wins.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"];

/// Loads the SDK's configuration. The SDK reads the environment and the config files itself;
/// `project` has the same environment. An explicit `profile` wins over credentials in the
/// environment, as with AWS's own command line: they may belong to another account.
pub(super) async fn load(
    project: &Project,
    profile: Option<&str>,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(SdkConfig, HttpClient), Error> {
    // The HTTP client would continue without any certificate to trust.
    if let Some(path) = project.var("SSL_CERT_FILE").filter(|path| !Path::new(path).is_file()) {
        return Err(Error::new(
            Problem::Other,
            format!("SSL_CERT_FILE names `{path}`, which is not a file: correct it, or unset it"),
        ));
    }
    check_endpoints(project, &ENDPOINTS)?;
    let loopback_only = project.var(REQUIRE_LOOPBACK).is_some();
    let http = HttpClient::new(loopback_only);
    // A dated version, so that a newer SDK does not change a build.
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http.clone());
    if let Some(profile) = profile {
        let provider = ProviderConfig::default().with_http_client(http.clone());
        let credentials = ProfileFileCredentialsProvider::builder()
            .configure(&provider)
            .profile_name(profile)
            .build();
        loader = loader.profile_name(profile).credentials_provider(credentials);
    }
    let config = loader.load().await;
    if let Some(bundle) = trust::load(project, &config, say)? {
        http.trust(bundle);
    }
    if config.region().is_none() {
        return Err(Error::new(
            Problem::Other,
            "no AWS region is set: set AWS_REGION, or `region` for the profile in ~/.aws/config",
        ));
    }
    Ok((config, http))
}

/// Fails for endpoints that the SDK cannot use: it panics on an empty one, and its error for one
/// without a scheme lacks the variable.
pub(super) fn check_endpoints(project: &Project, names: &[&str]) -> Result<(), Error> {
    for name in names {
        let Some(url) = project.vars().get(*name) else { continue };
        if url.starts_with("http://") || url.starts_with("https://") {
            continue;
        }
        let problem = match url.is_empty() {
            true => format!("{name} is set, but empty: unset it, or give it a URL"),
            false => {
                let shown = without_userinfo(url);
                format!(
                    "{name} is `{shown}`, which is not a URL: it must start with http:// or \
                     https://"
                )
            }
        };
        return Err(Error::new(Problem::Other, problem));
    }
    Ok(())
}

/// Returns the settings of the environment that decide where requests go, for a fingerprint: another
/// region, profile or endpoint is another deployment. No credentials. `var` returns a variable of the
/// environment.
pub fn destination<'a>(var: impl Fn(&str) -> Option<&'a str>) -> Vec<(&'static str, String)> {
    let first = |names: &[&str]| names.iter().find_map(|name| var(name));
    let ignored = var("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let endpoint = first(&ENDPOINTS);
    let endpoint = endpoint.filter(|_| !ignored).map(without_userinfo);
    [
        ("region", first(&["AWS_REGION", "AWS_DEFAULT_REGION"]).map(str::to_owned)),
        ("profile", first(&["AWS_PROFILE"]).map(str::to_owned)),
        ("endpoint", endpoint),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination_with(vars: &[(&str, &str)]) -> Vec<(&'static str, String)> {
        let env = vars.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let project = Project::new("/".into(), env);
        destination(|name| project.var(name))
    }

    #[test]
    fn the_destination_is_what_the_user_set_without_credentials() {
        let vars = [
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL", "http://elsewhere"),
            ("AWS_ENDPOINT_URL_LAMBDA", "http://me:secret@127.0.0.1:9/x"),
        ];
        let expected = [("region", "eu-west-1"), ("endpoint", "http://127.0.0.1:9/x")];
        assert_eq!(destination_with(&vars), expected.map(|(name, value)| (name, value.into())));
        assert_eq!(destination_with(&[("AWS_REGION", "")]), []);
    }

    #[test]
    fn an_ignored_endpoint_is_no_destination() {
        let vars = [
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
            ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
        ];
        assert_eq!(destination_with(&vars), []);
    }

    #[test]
    fn userinfo_and_query_are_cut_off() {
        for (url, expected) in [
            ("https://host/path", "https://host/path"),
            ("https://a:b@host:1/p@q", "https://host:1/p@q"),
            ("https://a:b@c@host?token=x", "https://host"),
            ("a:b@host", "host"),
        ] {
            assert_eq!(without_userinfo(url), expected, "{url}");
        }
    }
}
