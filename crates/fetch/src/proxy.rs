//! Proxies: which one a URL is fetched through.

use crate::Failure;
use crate::url::{Url, without_credentials};

/// The proxies of the environment, as text.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For `http`.
    pub http: Option<String>,
    /// For `https`.
    pub https: Option<String>,
    /// Hosts without a proxy, separated by commas.
    pub no_proxy: Option<String>,
}

impl Proxies {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; names in lower case win.
    pub fn from_vars(var: &dyn Fn(&str) -> Option<String>) -> Self {
        let find = |name: &str| {
            let lower = var(&name.to_ascii_lowercase()).filter(|value| !value.is_empty());
            lower.or_else(|| var(name)).filter(|value| !value.is_empty())
        };
        let all = find("ALL_PROXY");
        Self {
            http: find("HTTP_PROXY").or_else(|| all.clone()),
            https: find("HTTPS_PROXY").or(all),
            no_proxy: find("NO_PROXY"),
        }
    }

    /// Returns the proxy for a URL. Fails if it is of a kind that this client does not know.
    pub(crate) fn find(&self, url: &Url) -> Result<Option<Url>, Failure> {
        let proxy = if url.is_https { &self.https } else { &self.http };
        let Some(proxy) = proxy.as_ref().filter(|_| !self.is_exempt(url)) else { return Ok(None) };
        let text = if proxy.contains("://") { proxy.clone() } else { format!("http://{proxy}") };
        match Url::parse(&text) {
            Ok(proxy) if !proxy.is_https => Ok(Some(proxy)),
            _ => {
                let shown = without_credentials(&text);
                Err(Failure::Unsupported(format!("the proxy `{shown}` is not one of HTTP")))
            }
        }
    }

    fn is_exempt(&self, url: &Url) -> bool {
        let Some(list) = &self.no_proxy else { return false };
        list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
            let entry = entry.to_ascii_lowercase();
            let (host, port) = match entry.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') => (host, port.parse().ok()),
                _ => (entry.as_str(), None),
            };
            if port.is_some_and(|port: u16| port != url.port) {
                return false;
            }
            let host = host.trim_start_matches("*.").trim_start_matches('.');
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host == "*"
                || url.host == host
                || url.host.strip_suffix(host).is_some_and(|rest| rest.ends_with('.'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_which_proxy() {
        let vars = [
            ("HTTP_PROXY", "http://upper:1"),
            ("http_proxy", "me:pw@lower:2"),
            ("ALL_PROXY", "http://all:3"),
            ("NO_PROXY", "localhost, .internal.example,[::1],other:81"),
        ];
        let var = |name: &str| {
            vars.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned())
        };
        let proxies = Proxies::from_vars(&var);
        let find = |url: &str| {
            let proxy = proxies.find(&Url::parse(url).unwrap()).unwrap();
            proxy.map(|proxy| proxy.host_header())
        };
        assert_eq!(find("http://h/").as_deref(), Some("lower:2"));
        assert_eq!(find("https://h/").as_deref(), Some("all:3"));
        assert_eq!(find("http://other/").as_deref(), Some("lower:2"));
        for exempt in [
            "http://localhost:8080/",
            "https://a.internal.example/",
            "http://[::1]/",
            "http://other:81/",
        ] {
            assert_eq!(find(exempt), None, "{exempt}");
        }
        let socks = Proxies { https: Some("socks5://u:secret@h:1".into()), ..Proxies::default() };
        let failure = socks.find(&Url::parse("https://h/").unwrap()).unwrap_err();
        assert_eq!(failure.to_string(), "the proxy `socks5://h:1` is not one of HTTP");
    }
}
