//! The address of an object: that of AWS for a region, or below the configured endpoint.

use std::net::IpAddr;

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::aws::http::{host, is_loopback};

/// Characters that a key keeps in a path: those that Signature Version 4 does not encode, and `/`.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Prefixes of regions whose host names do not end in `amazonaws.com`, from the SDK's list of
/// partitions.
const SUFFIXES: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
];

/// Returns the endpoint of S3: that of the environment or profile, else that of AWS in the region.
pub(super) fn endpoint(config: &SdkConfig, region: &str) -> String {
    // As the SDK itself determines the endpoint of a service.
    let wanted = ServiceConfigKey::builder()
        .service_id("s3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .expect("BUG: all three are given");
    let own = config.service_config().and_then(|config| config.load_config(wanted));
    own.or_else(|| config.endpoint_url().map(str::to_owned)).unwrap_or_else(|| {
        let fips = config.use_fips().unwrap_or(false);
        let dual_stack = config.use_dual_stack().unwrap_or(false);
        of_region(region, fips, dual_stack)
    })
}

fn of_region(region: &str, fips: bool, dual_stack: bool) -> String {
    let found = SUFFIXES.iter().find(|(prefix, _)| region.starts_with(prefix));
    let suffix = found.map_or("amazonaws.com", |(_, suffix)| suffix);
    let service = if fips { "s3-fips" } else { "s3" };
    let stack = if dual_stack { "dualstack." } else { "" };
    format!("https://{service}.{stack}{region}.{suffix}")
}

/// Returns the URL of an object: with the bucket in the host name, or in the path if the endpoint
/// is an address or this machine, or if no certificate is valid for the host name.
pub(super) fn url(endpoint: &str, bucket: &str, key: &str) -> String {
    let base = endpoint.trim_end_matches('/');
    let (scheme, rest) = base.split_once("://").unwrap_or(("https", base));
    let host = host(rest.split('/').next().unwrap_or_default());
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let is_label = bucket
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let key = utf8_percent_encode(key, PATH);
    if is_address || is_loopback(base) || !is_label {
        format!("{base}/{}/{key}", utf8_percent_encode(bucket, PATH))
    } else {
        format!("{scheme}://{bucket}.{rest}/{key}")
    }
}

/// Returns a value in a form for a query.
pub(super) fn in_query(value: &str) -> String {
    const QUERY: &AsciiSet = &PATH.add(b'/');
    utf8_percent_encode(value, QUERY).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_the_host_name_of_its_partition() {
        for (region, fips, dual_stack, expected) in [
            ("eu-west-1", false, false, "https://s3.eu-west-1.amazonaws.com"),
            ("us-gov-west-1", true, false, "https://s3-fips.us-gov-west-1.amazonaws.com"),
            ("us-east-1", true, true, "https://s3-fips.dualstack.us-east-1.amazonaws.com"),
            ("cn-north-1", false, true, "https://s3.dualstack.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", false, false, "https://s3.eusc-de-east-1.amazonaws.eu"),
            ("us-isob-east-1", false, false, "https://s3.us-isob-east-1.sc2s.sgov.gov"),
        ] {
            assert_eq!(of_region(region, fips, dual_stack), expected);
        }
    }

    #[test]
    fn a_bucket_is_in_the_host_name_where_that_is_possible() {
        let aws = "https://s3.eu-west-1.amazonaws.com";
        for (endpoint, bucket, key, expected) in [
            (
                aws,
                "b-1",
                "a/b c+é.zip",
                "https://b-1.s3.eu-west-1.amazonaws.com/a/b%20c%2B%C3%A9.zip",
            ),
            (aws, "b.com", "k", "https://s3.eu-west-1.amazonaws.com/b.com/k"),
            ("http://127.0.0.1:9/", "b", "k", "http://127.0.0.1:9/b/k"),
            ("http://localhost:9", "b", "k", "http://localhost:9/b/k"),
            ("http://10.0.0.7:9000", "b", "k", "http://10.0.0.7:9000/b/k"),
            ("https://[fd00::1]:9000", "b", "k", "https://[fd00::1]:9000/b/k"),
            ("https://minio.corp:9000/s3", "b", "k", "https://b.minio.corp:9000/s3/k"),
        ] {
            assert_eq!(url(endpoint, bucket, key), expected);
        }
    }

    #[test]
    fn a_value_of_a_query_has_no_separator() {
        assert_eq!(in_query("a/b+c=d&e~"), "a%2Fb%2Bc%3Dd%26e~");
    }
}
