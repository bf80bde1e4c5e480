//! What a server is told before it starts.

use std::net::SocketAddr;

use sha2::{Digest, Sha256};

/// How the API is served. The default fits loopback: no token, and only requests that name this machine as loopback.
#[derive(Debug, Clone)]
pub struct Config {
    /// Every call below `/api` must bring it as `Authorization: Bearer`.
    pub token: Option<Token>,
    /// Where it listens; [`serve`](crate::serve) fills it in. It is one of the hosts a request may name.
    pub listen: Option<SocketAddr>,
    /// Other hosts a request may name in its `Host` header, without port: what a reverse proxy passes on, say.
    pub allowed_hosts: Vec<String>,
    /// Hosts that requests below `/hooks` may name as well: that of the public URL. What else there is stays closed to
    /// them.
    pub hook_hosts: Vec<String>,
    /// Shown by `/healthz`, so that a client can tell whether it found the server it looked for.
    pub instance: Option<String>,
    /// Runs that are started are recorded, and left to whoever serves the world next: for a process that will not stay.
    pub leave_starts: bool,
    /// Whether the page is served beside the API, at `/` and below `/page`.
    pub page: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            token: None,
            listen: None,
            allowed_hosts: Vec::new(),
            hook_hosts: Vec::new(),
            instance: None,
            leave_starts: false,
            page: true,
        }
    }
}

/// A secret, kept as its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// Takes the text as it is; an empty one is refused, because it would let everybody in.
    pub fn new(secret: &str) -> Result<Self, String> {
        match secret.trim() {
            "" => Err("the token is empty: put at least one character into it, better 32 random ones".into()),
            secret => Ok(Token(digest(secret))),
        }
    }

    /// Compares in a time that depends on neither text.
    pub fn matches(&self, offered: &str) -> bool {
        let offered = digest(offered);
        self.0.iter().zip(offered).fold(0, |differs, (ours, theirs)| differs | (ours ^ theirs)) == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Config {
    /// Whether this `Host` header, or the host of a URL, names this server.
    pub(crate) fn names_us(&self, host: &str) -> bool {
        let name = without_port(host);
        let lower = name.to_ascii_lowercase();
        let bare = lower.trim_start_matches('[').trim_end_matches(']');
        if lower == "localhost" || self.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&lower)) {
            return true;
        }
        match bare.parse::<std::net::IpAddr>() {
            Ok(ip) => ip.is_loopback() || self.listen.is_some_and(|listen| listen.ip() == ip),
            Err(_) => false,
        }
    }

    /// The same, for a request to a hook.
    pub(crate) fn names_our_hooks(&self, host: &str) -> bool {
        let name = without_port(host);
        self.names_us(host) || self.hook_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }

    /// Beyond loopback a token is required, and machines have names that only their owner knows: there the token alone
    /// decides. A page that was bound to this address by DNS does not have it.
    pub(crate) fn checks_host(&self) -> bool {
        self.token.is_none() || self.listen.is_none_or(|listen| listen.ip().is_loopback())
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// `localhost:7788` and `[::1]:7788` without their port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (name.ends_with(']') || !name.contains(':')) =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_name_us_and_those_that_do_not() {
        let config = Config {
            listen: Some("192.168.7.9:80".parse().expect("an address")),
            allowed_hosts: vec!["flows.example.org".into()],
            ..Config::default()
        };
        for (host, ours) in [
            ("localhost", true),
            ("LOCALHOST:7788", true),
            ("127.0.0.1:1", true),
            ("127.8.8.8", true),
            ("[::1]:7788", true),
            ("[::1]", true),
            ("192.168.7.9:80", true),
            ("flows.example.org:443", true),
            ("192.168.7.8", false),
            ("evil.example", false),
            ("localhost.evil.example:7788", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(config.names_us(host), ours, "{host:?}");
        }
    }

    #[test]
    fn tokens_match_only_themselves() {
        let token = Token::new(" s3cret\n").expect("a token");
        assert!(token.matches("s3cret"));
        for other in ["", "s3cre", "s3crett", "S3cret"] {
            assert!(!token.matches(other), "{other:?}");
        }
        assert!(Token::new(" \n").is_err());
        assert!(!format!("{token:?}").contains("s3cret"));
    }
}
