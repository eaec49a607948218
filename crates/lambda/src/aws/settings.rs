//! Destination and credentials of requests: the SDK's configuration, and the part of it that is set
//! in the environment, for keys.

use std::path::Path;

use aws_config::profile::{self, ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_sdk_lambda::config::Region;
use aws_types::os_shim_internal::{Env, Fs};

use super::error::{Error, Problem, in_one_line};
use super::http::{HttpClient, host, without_userinfo};
use super::trust;
use zipwright_store::project::Project;
use zipwright_store::words;

/// Environment variable: if set, no request leaves this machine.
const REQUIRE_LOOPBACK: &str = "ZIPWRIGHT_REQUIRE_LOOPBACK";

/// Variables with an endpoint; the first one set wins.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"];

/// Variables with a region; the first one set wins.
const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

const PROFILE: &str = "AWS_PROFILE";

/// Variables with a proxy. The HTTP client ignores a value that it cannot use.
const PROXIES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

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
    check_proxies(project)?;
    check_profile(project, profile).await?;
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
    let config = with_empty_as_unset(loader, project, profile).load().await;
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

/// Returns the loader with the region and the profile of the environment. To the SDK, an empty
/// variable names an empty region or profile.
fn with_empty_as_unset(
    mut loader: ConfigLoader,
    project: &Project,
    profile: Option<&str>,
) -> ConfigLoader {
    let is_empty = |name: &str| project.vars().get(name).is_some_and(String::is_empty);
    let profile = profile.or(project.var(PROFILE)).unwrap_or("default");
    if is_empty(PROFILE) {
        loader = loader.profile_name(profile);
    }
    match REGIONS.iter().find_map(|name| project.var(name)) {
        Some(region) => loader.region(Region::new(region.to_owned())),
        None if REGIONS.into_iter().any(is_empty) => {
            let provider = ProfileFileRegionProvider::builder().profile_name(profile).build();
            loader.region(provider)
        }
        None => loader,
    }
}

/// Fails if the named profile is in neither file, or if the files cannot be read and are needed.
async fn check_profile(project: &Project, profile: Option<&str>) -> Result<(), Error> {
    let named = match profile {
        Some(name) => Some((name, "`--profile`")),
        None => project.var(PROFILE).map(|name| (name, PROFILE)),
    };
    let error = |text: String| Error::new(Problem::Other, text);
    let files = profile::load(&Fs::real(), &Env::real(), &Default::default(), None).await;
    let files = match files {
        Ok(files) => files,
        // With credentials and a region of the environment, the files are not needed.
        Err(_) if named.is_none() && project.var("AWS_ACCESS_KEY_ID").is_some() => return Ok(()),
        Err(problem) => {
            let cause = std::error::Error::source(&problem).map(|cause| format!(": {cause}"));
            let text = format!("{problem}{}", cause.unwrap_or_default());
            return Err(error(format!("AWS profiles: {}: correct the file", in_one_line(&text))));
        }
    };
    let Some((name, origin)) = named else { return Ok(()) };
    if name == "default" || files.profiles().any(|found| found == name) {
        return Ok(());
    }
    let file = |variable, usual| project.var(variable).unwrap_or(usual).to_owned();
    let config = file("AWS_CONFIG_FILE", "~/.aws/config");
    let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials");
    let mut names: Vec<&str> = files.profiles().collect();
    names.sort_unstable();
    let there = match names.is_empty() {
        true => "there are no profiles".to_owned(),
        false => format!("there are {}", words::list(&names)),
    };
    Err(error(format!(
        "{origin} names the AWS profile `{name}`, which is neither in `{config}` nor in \
         `{credentials}`: {there}"
    )))
}

/// Fails for proxies that the HTTP client would ignore, so that connections would be direct.
fn check_proxies(project: &Project) -> Result<(), Error> {
    const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];
    for name in PROXIES {
        let Some(proxy) = project.var(name) else { continue };
        let url = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
        let scheme = url.split("://").next().unwrap_or_default().to_lowercase();
        if !SCHEMES.contains(&scheme.as_str()) || !has_host(&url) {
            let shown = without_userinfo(proxy);
            return Err(Error::new(
                Problem::Other,
                format!(
                    "{name} is `{shown}`, which is not the URL of a proxy: write \
                     `http://HOST:PORT`, or unset it"
                ),
            ));
        }
    }
    Ok(())
}

/// Returns the proxy that the environment names for an address, as the end of an error.
pub(super) fn proxy_of(project: &Project, origin: &str) -> Option<String> {
    let names = match origin.starts_with("https://") {
        true => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        false => ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    };
    let set = |name: &&str| project.vars().contains_key(*name);
    let name = names.into_iter().find(set).filter(|_| project.var(REQUIRE_LOOPBACK).is_none())?;
    let proxy = without_userinfo(project.var(name)?);
    Some(format!("; {name} names the proxy `{proxy}`"))
}

/// Returns whether a URL names a host, with a port that is a number if there is one, and has no
/// blanks.
fn has_host(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let host = host(authority);
    let is_plain = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    !host.is_empty() && is_plain && url.chars().all(|c| c.is_ascii_graphic())
}

/// Fails for endpoints that the SDK cannot use: it panics on an empty one, and its other errors lack
/// the variable.
pub(super) fn check_endpoints(project: &Project, names: &[&str]) -> Result<(), Error> {
    for name in names {
        let Some(url) = project.vars().get(*name) else { continue };
        let has_scheme = url.starts_with("http://") || url.starts_with("https://");
        if has_scheme && has_host(url) {
            continue;
        }
        let problem = match url.is_empty() {
            true => format!("{name} is set, but empty: unset it, or give it a URL"),
            false => {
                let shown = without_userinfo(url);
                format!(
                    "{name} is `{shown}`, which is not a URL: it must start with http:// or \
                     https://, then a host, without blanks"
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
        ("region", first(&REGIONS).map(str::to_owned)),
        ("profile", first(&[PROFILE]).map(str::to_owned)),
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
    fn a_url_names_a_host() {
        for url in ["http://h", "http://a:b@127.0.0.1:9/x", "https://[::1]:80", "http://h?x"] {
            assert!(has_host(url), "{url}");
        }
        for url in ["http://", "http://h:1 ", "http:// h", "http://:80", "http://h:x", "http://a@"]
        {
            assert!(!has_host(url), "{url}");
        }
    }

    #[test]
    fn proxies_that_cannot_be_used_are_refused_without_their_password() {
        let project =
            |value: &str| Project::new("/".into(), [("HTTPS_PROXY".into(), value.into())].into());
        let check = |value: &str| check_proxies(&project(value)).map_err(|error| error.to_string());
        for value in ["", "proxy:3128", "http://me:secret@proxy:3128/", "socks5://proxy"] {
            assert_eq!(check(value), Ok(()), "{value}");
        }
        let named = project("http://me:secret@proxy:3128");
        let expected = "; HTTPS_PROXY names the proxy `http://proxy:3128`";
        assert_eq!(proxy_of(&named, "https://h").as_deref(), Some(expected));
        assert_eq!(proxy_of(&named, "http://h"), None);
        for value in ["http://me:secret@proxy:port", "ftp://me:secret@proxy", "http://"] {
            let error = check(value).unwrap_err();
            assert!(error.starts_with("HTTPS_PROXY is `") && !error.contains("secret"), "{error}");
        }
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
