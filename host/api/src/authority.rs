//! Which machine a request, or the page behind it, names.

use std::net::IpAddr;

/// A host with its port, as in `Host: localhost:7788`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    /// In lower case, addresses of version 6 without their brackets.
    pub host: String,
    pub port: Option<u16>,
}

/// The origin of a page, as browsers write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    pub authority: Authority,
}

impl Authority {
    /// Strict: what is not written plainly (user names, dots at the end, ports that are none) names no host.
    pub fn parse(text: &str) -> Option<Authority> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                let IpAddr::V6(ip) = host.parse().ok()? else { return None };
                (
                    ip.to_string(),
                    rest.strip_prefix(':').map_or(rest.is_empty().then_some(None), |port| Some(Some(port)))?,
                )
            }
            None => {
                let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                let labels = host.split('.').all(|label| !label.is_empty());
                (host.bytes().all(plain) && labels).then(|| (host.to_ascii_lowercase(), port))?
            }
        };
        let port = match port {
            None => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
        };
        Some(Authority { host, port })
    }

    /// The address, if it is one. One of version 4 may be written as one of version 6.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok().map(|ip: IpAddr| ip.to_canonical())
    }
}

impl Origin {
    /// `null`, which a page without an origin sends, is none.
    pub fn parse(text: &str) -> Option<Origin> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(&*scheme, "http" | "https") {
            return None;
        }
        Some(Origin { scheme, authority: Authority::parse(authority)? })
    }

    /// Whether a page from there was served by this host. Behind a proxy that speaks TLS, the port is that of its scheme.
    pub fn is_of(&self, host: &Authority) -> bool {
        let default = if self.scheme == "https" { 443 } else { 80 };
        let port = |authority: &Authority| authority.port.unwrap_or(default);
        self.authority.host == host.host && port(&self.authority) == port(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for (text, host, port) in [
            ("localhost", "localhost", None),
            ("LocalHost:7788", "localhost", Some(7788)),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("[::1]", "::1", None),
            ("[0:0:0:0:0:0:0:1]:80", "::1", Some(80)),
            ("flows.example-2.org", "flows.example-2.org", None),
        ] {
            assert_eq!(Authority::parse(text), Some(Authority { host: host.into(), port }), "{text}");
        }
        for text in [
            "",
            ":80",
            "a:",
            "a:b",
            "a:+1",
            "a:65536",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]80",
            "[[::1]]",
            "[127.0.0.1]",
            "[localhost]",
            "[::1%25lo]",
            "localhost.",
            ".localhost",
            "a..b",
            "u@localhost",
            "u:p@localhost",
            "localhost/",
            "localhost ",
            " localhost",
            "local\thost",
            "localhost,evil",
            "l\u{f6}calhost",
            "localhost\0",
        ] {
            assert_eq!(Authority::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn origins_of_pages() {
        for (origin, host, same) in [
            ("http://localhost:7788", "localhost:7788", true),
            ("HTTP://LOCALHOST:7788", "localhost:7788", true),
            ("http://localhost:3000", "localhost:7788", false),
            ("http://127.0.0.1:7788", "localhost:7788", false),
            ("https://flows.example", "flows.example", true),
            ("https://flows.example", "flows.example:443", true),
            ("https://flows.example:8443", "flows.example", false),
            ("http://flows.example", "flows.example:443", false),
            ("http://[::1]:7788", "[::1]:7788", true),
        ] {
            let found = Origin::parse(origin).expect(origin).is_of(&Authority::parse(host).expect(host));
            assert_eq!(found, same, "{origin} {host}");
        }
        for none in
            ["null", "", "localhost", "file://", "chrome-extension://abc", "http://", "http://a/b", "http://a@b"]
        {
            assert_eq!(Origin::parse(none), None, "{none:?}");
        }
    }
}
