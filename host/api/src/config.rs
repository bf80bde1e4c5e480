//! What a server is told before it starts.

use std::net::SocketAddr;

use crate::authority::Authority;
use crate::token::Token;
use crate::{Closing, Limits};

/// How the API is served. The default fits loopback: no token, and only requests that name this machine as loopback.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whatever is not for everybody (the page's files, hooks, `/healthz`, `/readyz`) needs it as `Authorization: Bearer`.
    pub token: Option<Token>,
    /// Where it listens; [`serve`](crate::serve) fills it in. It is one of the hosts a request may name.
    pub listen: Option<SocketAddr>,
    /// Other hosts a request may name in its `Host` header, without port: what a reverse proxy passes on, say.
    pub allowed_hosts: Vec<String>,
    /// Hosts that requests below `/hooks` may name as well: that of the public URL. What else there is stays closed to
    /// them.
    pub hook_hosts: Vec<String>,
    /// Origins whose pages may use the API from a browser, written as browsers do: `https://dash.example.org:8443`, in
    /// lower case, without a path and without the port of the scheme. Each must bring the token like everybody else.
    pub allowed_origins: Vec<String>,
    /// Shown by `/healthz`, so that a client can tell whether it found the server it looked for.
    pub instance: Option<String>,
    /// Runs that are started are recorded, and left to the host that serves the world next: for a process that will not stay.
    pub leave_starts: bool,
    /// Whether the page is served beside the API, at `/` and below `/page`.
    pub page: bool,
    /// Whether `/healthz`, `/readyz` and `/metrics` are served: an app with its own has no use for them.
    pub probes: bool,
    /// Whether messages name the options of `durhai serve`, as is right for its users, and not the fields of this struct.
    pub command_line: bool,
    /// Ends live streams, for a server of one's own that ends gracefully. [`serve`](crate::serve) closes it itself.
    pub closing: Closing,
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            token: None,
            listen: None,
            allowed_hosts: Vec::new(),
            hook_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            instance: None,
            leave_starts: false,
            page: true,
            probes: true,
            command_line: false,
            closing: Closing::new(),
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// Whether this names the server.
    pub(crate) fn names_us(&self, named: &Authority) -> bool {
        named.host == "localhost" || self.allows_host(named) || named.ip().is_some_and(|ip| self.is_ours(ip))
    }

    /// The same, for a request to a hook.
    pub(crate) fn names_our_hooks(&self, named: &Authority) -> bool {
        self.names_us(named) || self.hook_hosts.iter().any(|allowed| names(allowed, named))
    }

    /// Whether it is one of the names that were allowed beside its own.
    pub(crate) fn allows_host(&self, named: &Authority) -> bool {
        self.allowed_hosts.iter().any(|allowed| names(allowed, named))
    }

    /// Beyond loopback a token is required, and machines have names that only their owner knows: there the token alone
    /// decides. A page that was bound to this address by DNS does not have it.
    pub(crate) fn checks_host(&self) -> bool {
        self.token.is_none() || self.listen.is_none_or(|listen| listen.ip().to_canonical().is_loopback())
    }

    fn is_ours(&self, ip: std::net::IpAddr) -> bool {
        ip.is_loopback() || self.listen.is_some_and(|listen| listen.ip().to_canonical() == ip)
    }
}

fn names(allowed: &str, named: &Authority) -> bool {
    allowed.trim_start_matches('[').trim_end_matches(']').eq_ignore_ascii_case(&named.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_name_us_and_those_that_do_not() {
        let config = Config {
            listen: Some("192.168.7.9:80".parse().expect("an address")),
            allowed_hosts: vec!["Flows.example.org".into(), "[fe80::7]".into()],
            ..Config::default()
        };
        for (host, ours) in [
            ("localhost", true),
            ("LOCALHOST:7788", true),
            ("127.0.0.1:1", true),
            ("127.8.8.8", true),
            ("[::1]:7788", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]:7788", true),
            ("192.168.7.9:80", true),
            ("flows.example.org:443", true),
            ("[fe80::7]:80", true),
            ("192.168.7.8", false),
            ("0.0.0.0", false),
            ("[::]", false),
            ("2130706433", false),
            ("127.1", false),
            ("0x7f.0.0.1", false),
            ("evil.example", false),
            ("localhost.evil.example:7788", false),
            ("127.0.0.1.evil.example", false),
            ("xflows.example.org", false),
        ] {
            let named = Authority::parse(host).expect(host);
            assert_eq!(config.names_us(&named), ours, "{host:?}");
        }
    }
}
