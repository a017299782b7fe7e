//! The proxies of the environment, by the rules of Go's `httpproxy.FromEnvironment`. Read once per load.

use crate::model::{NoProxy, ProxyUrl, has_scheme};

/// What the environment says about proxies.
#[derive(Debug)]
pub(super) struct Environment {
    /// `HTTP_PROXY`, for http and ws.
    pub(super) plain: Option<ProxyUrl>,
    /// `HTTPS_PROXY`, for https, wss and tls.
    pub(super) encrypted: Option<ProxyUrl>,
    /// `NO_PROXY`; entries that cannot be read are left out, as in Go.
    pub(super) no_proxy: NoProxy,
}

impl Environment {
    /// Reads the variables, each in capitals first. `ALL_PROXY` is none of them.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let either = |name: &'static str| {
            let set = |name: &str| variable(name).filter(|value| !value.is_empty());
            set(name).or_else(|| set(&name.to_lowercase()))
        };
        let proxy = |name: &'static str| either(name).map(|text| proxy(name, &text)).transpose();
        let plain = proxy("HTTP_PROXY")?;
        // A CGI program gets the client's header `Proxy` in HTTP_PROXY.
        if plain.is_some() && variable("REQUEST_METHOD").is_some_and(|method| !method.is_empty()) {
            return Err("HTTP_PROXY is not believed where REQUEST_METHOD is set: a client may have sent it".into());
        }
        let list = either("NO_PROXY").unwrap_or_default();
        Ok(Self { plain, encrypted: proxy("HTTPS_PROXY")?, no_proxy: NoProxy::read(&list).0 })
    }
}

/// A variable's value, which may lack `http://`.
fn proxy(name: &str, text: &str) -> Result<ProxyUrl, String> {
    let url = if has_scheme(text) { text.parse() } else { format!("http://{text}").parse() };
    url.map_err(|problem| format!("{name}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<[Option<String>; 2], String> {
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let Environment { plain, encrypted, .. } = Environment::read(get)?;
        Ok([plain, encrypted].map(|url| url.map(|url| url.to_string())))
    }

    #[test]
    fn variables_are_read_as_go_reads_them() {
        let some = |text: &str| Some(text.to_owned());
        for (variables, expected) in [
            (&[][..], [None, None]),
            (&[("HTTP_PROXY", "a:1"), ("HTTPS_PROXY", "https://b")], [some("http://a:1"), some("https://b:443")]),
            (&[("HTTP_PROXY", "a"), ("http_proxy", "b")], [some("http://a:80"), None]),
            (&[("HTTP_PROXY", ""), ("http_proxy", "b")], [some("http://b:80"), None]),
            (&[("https_proxy", "socks5://b"), ("REQUEST_METHOD", "GET")], [None, some("socks5://b:1080")]),
            (&[("ALL_PROXY", "a"), ("all_proxy", "a")], [None, None]),
        ] {
            assert_eq!(read(variables).unwrap(), expected, "{variables:?}");
        }
    }

    #[test]
    fn faults_name_the_variable_and_no_password() {
        for (variables, part) in [
            (&[("HTTP_PROXY", "ftp://u:hunter2@a")][..], "HTTP_PROXY: `ftp`"),
            (&[("https_proxy", "u:hunter2@a:99999")], "HTTPS_PROXY: "),
            (&[("HTTP_PROXY", "a"), ("REQUEST_METHOD", "GET")], "REQUEST_METHOD"),
        ] {
            let error = read(variables).unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        }
    }
}
