//! The certificates that connections to AWS trust if the user names a file with them: in
//! `AWS_CA_BUNDLE`, or as `ca_bundle` of the profile, as with AWS's own command line.

use std::path::Path;

use aws_config::SdkConfig;
use aws_smithy_http_client::tls::TrustStore;
use aws_types::service_config::ServiceConfigKey;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::error::{Error, Problem};
use zipwright_store::project::Project;
use zipwright_store::words;

const VARIABLE: &str = "AWS_CA_BUNDLE";

/// Returns the certificates of the user's file, which replace the system's; `None` if no file is
/// named. `warn` receives a line if some certificates are unusable.
pub(super) fn load(
    project: &Project,
    config: &SdkConfig,
    warn: &(dyn Fn(&str) + Sync),
) -> Result<Option<TrustStore>, Error> {
    let (origin, path) = match project.var(VARIABLE) {
        Some(path) => (VARIABLE, path.to_owned()),
        None => match of_profile(config) {
            Some(path) => ("`ca_bundle` of the AWS profile", path),
            None => return Ok(None),
        },
    };
    let named = format!("{origin} names `{path}`");
    let error = |reason: String| {
        let text = format!("{named}, {reason}: give it a file of certificates in PEM, or unset it");
        Error::new(Problem::Other, text)
    };
    let text = std::fs::read(Path::new(&path))
        .map_err(|problem| error(format!("which cannot be read ({problem})")))?;
    let (usable, others) = usable(&text).map_err(|problem| error(format!("which {problem}")))?;
    if others > 0 {
        let count = words::count(others, "certificate");
        warn(&format!("{named}: {count} in it cannot be used and do not count"));
    }
    Ok(Some(TrustStore::empty().with_pem_certificate(pem(&usable))))
}

fn of_profile(config: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id("lambda")
        .env(VARIABLE)
        .profile("ca_bundle")
        .build()
        .expect("BUG: all three are given");
    config.service_config()?.load_config(key).filter(|path| !path.is_empty())
}

/// Returns the certificates that TLS can use, and the number of the others, on which the SDK would
/// panic.
fn usable(text: &[u8]) -> Result<(Vec<CertificateDer<'static>>, usize), String> {
    let (mut usable, mut others) = (Vec::new(), 0);
    for certificate in CertificateDer::pem_slice_iter(text) {
        let certificate = certificate.map_err(|_| "is not valid PEM".to_owned())?;
        match RootCertStore::empty().add(certificate.clone()) {
            Ok(()) => usable.push(certificate),
            Err(_) => others += 1,
        }
    }
    match (usable.is_empty(), others) {
        (false, others) => Ok((usable, others)),
        (true, 0) => Err("holds no certificate in PEM".into()),
        (true, _) => Err("holds no certificate that can be used".into()),
    }
}

fn pem(certificates: &[CertificateDer]) -> Vec<u8> {
    let one = |certificate: &CertificateDer| {
        let text = BASE64_STANDARD.encode(certificate);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    certificates.iter().map(one).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_a_usable_certificate_are_refused() {
        let begin = "-----BEGIN CERTIFICATE-----\n";
        let end = "-----END CERTIFICATE-----\n";
        for (text, expected) in [
            (String::new(), "holds no certificate in PEM"),
            ("hello\n".into(), "holds no certificate in PEM"),
            (format!("{begin}AAAA\n{end}"), "holds no certificate that can be used"),
            (format!("{begin}???\n{end}"), "is not valid PEM"),
            (format!("{begin}AAAA\n"), "is not valid PEM"),
        ] {
            assert_eq!(usable(text.as_bytes()).unwrap_err(), expected, "{text}");
        }
    }
}
