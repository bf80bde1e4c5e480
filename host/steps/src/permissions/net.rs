//! Which hosts may be spoken to.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::addresses::{Reach, canonical_range, covers, reach, special};

/// What `--allow-net` grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NetGrant {
    #[default]
    Nothing,
    /// Every host but those that must be named: link-local addresses and those of cloud metadata services.
    Everything,
    Hosts(Vec<HostGrant>),
}

/// One entry of the list: a name, a wildcard, an address or a range, with a port or for every port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostGrant {
    what: What,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// `*`: what no list at all grants.
    Any,
    Name(String),
    /// `*.example.com`: every name below this one, however deep; not the name itself.
    Below(String),
    Addresses(IpNet),
}

/// Names of metadata services, for when a proxy finds the address: granted only where the very name is.
const METADATA_NAMES: [&str; 5] =
    ["metadata.google.internal", "metadata.goog", "metadata", "instance-data", "instance-data.ec2.internal"];

impl NetGrant {
    /// From the value of a flag: none is everything, else entries separated by commas. The error says what is wrong
    /// with which entry, and how it is written.
    pub fn parse(value: Option<&str>) -> Result<Self, String> {
        let Some(list) = value else { return Ok(NetGrant::Everything) };
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(str::parse).collect::<Result<_, _>>().map(NetGrant::Hosts)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: NetGrant) -> Self {
        match (self, other) {
            (NetGrant::Nothing, grant) | (grant, NetGrant::Nothing) => grant,
            (NetGrant::Everything, NetGrant::Everything) => NetGrant::Everything,
            (NetGrant::Hosts(mut hosts), NetGrant::Hosts(more)) => {
                hosts.extend(more);
                NetGrant::Hosts(hosts)
            }
            (NetGrant::Everything, NetGrant::Hosts(mut hosts)) | (NetGrant::Hosts(mut hosts), NetGrant::Everything) => {
                // What must be named stays named.
                hosts.retain(HostGrant::adds_to_everything);
                if hosts.is_empty() {
                    return NetGrant::Everything;
                }
                hosts.push(HostGrant { what: What::Any, port: None });
                NetGrant::Hosts(hosts)
            }
        }
    }

    /// Whether a connection to the host of this URL may be tried. A name is not resolved here: every address it turns
    /// out to stand for needs [`allow_address`](Self::allow_address) too. The error is the refusal.
    pub(crate) fn allow(&self, url: &Url) -> Result<(), String> {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err("the URL names no host".into());
        };
        match host {
            Host::Domain(name) => self.allow_name(&plain(name), port),
            Host::Ipv4(address) => self.allow_literal(address.into(), port),
            Host::Ipv6(address) => self.allow_literal(address.into(), port),
        }
    }

    /// Whether a name that was let through may stand for this address.
    pub(crate) fn allow_address(&self, name: &str, port: u16, address: IpAddr) -> Result<(), String> {
        let name = plain(name);
        self.allow_name(&name, port)?;
        if self.grants_address(address, port) {
            return Ok(());
        }
        let reach = reach(address);
        let local = name == "localhost" || name.ends_with(".localhost");
        let exact = self.any(port, |what| matches!(what, What::Name(granted) if *granted == name));
        match reach {
            Reach::Public => return Ok(()),
            Reach::Private if exact => return Ok(()),
            Reach::Loopback if local => return Ok(()),
            _ => {}
        }
        let at = Place(&address.to_string(), port).to_string();
        let (what, flag) = match reach {
            Reach::Loopback | Reach::Unspecified => ("which leads to this machine".into(), at),
            Reach::Special => (named_only(address), at),
            _ => ("which is not on the internet".into(), Place(&name, port).to_string()),
        };
        let place = Place(&name, port);
        Err(format!(
            "connecting to {place} is not allowed: it stands for {address}, {what}: grant it with --allow-net={flag}"
        ))
    }

    fn allow_name(&self, name: &str, port: u16) -> Result<(), String> {
        let metadata = METADATA_NAMES.contains(&name);
        let granted = self.any(port, |what| match what {
            What::Any => !metadata,
            What::Name(granted) => granted == name,
            What::Below(parent) => {
                !metadata && name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            What::Addresses(_) => false,
        });
        if granted {
            return Ok(());
        }
        let place = Place(name, port);
        Err(match metadata {
            true => format!(
                "connecting to {place} is not allowed: it is the name {METADATA_IS}: \
                 grant it with --allow-net={place} and with its address"
            ),
            false => format!("connecting to {place} is not allowed: grant it with --allow-net={place}"),
        })
    }

    fn allow_literal(&self, address: IpAddr, port: u16) -> Result<(), String> {
        if self.grants_address(address, port) {
            return Ok(());
        }
        let place = Place(&address.to_string(), port).to_string();
        let why = match reach(address) {
            Reach::Special => format!(": it is {}", named_only(address).trim_start_matches("which is ")),
            _ => String::new(),
        };
        Err(format!("connecting to {place} is not allowed{why}: grant it with --allow-net={place}"))
    }

    fn grants_address(&self, address: IpAddr, port: u16) -> bool {
        self.any(port, |what| match what {
            What::Any => reach(address) != Reach::Special,
            What::Addresses(range) => covers(range, address),
            What::Name(_) | What::Below(_) => false,
        })
    }

    /// Whether an entry for this port says so.
    fn any(&self, port: u16, says: impl Fn(&What) -> bool) -> bool {
        match self {
            NetGrant::Nothing => false,
            NetGrant::Everything => says(&What::Any),
            NetGrant::Hosts(hosts) => {
                hosts.iter().any(|host| host.port.is_none_or(|granted| granted == port) && says(&host.what))
            }
        }
    }
}

impl HostGrant {
    fn adds_to_everything(&self) -> bool {
        match &self.what {
            What::Any | What::Below(_) => false,
            What::Name(name) => METADATA_NAMES.contains(&name.as_str()),
            What::Addresses(range) => special(range.addr()).any(|(special, _)| special.contains(range)),
        }
    }
}

impl std::str::FromStr for HostGrant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "{text:?} is no host to grant: {why}; write a name (api.example.com, *.example.com), an address \
                 (10.1.2.3, fd00::1) or a range (10.0.0.0/8), with a port or without one (api.example.com:443, \
                 [::1]:9000)"
            )
        };
        if text.contains("://") {
            return Err(wrong("it is a URL"));
        }
        if let Some(sign) = text.chars().find(|c| c.is_whitespace() || "@?#\\".contains(*c)) {
            return Err(wrong(&format!("there is no place for {sign:?} in it")));
        }
        let (host, port) = split(text).ok_or_else(|| wrong("a bracket has no partner"))?;
        let port = match port {
            None => None,
            Some(port) => match port.parse::<u16>() {
                Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Some(number),
                _ => return Err(wrong(&format!("{port:?} is no port, ports go from 1 to 65535"))),
            },
        };
        let name = |host: &str| match Host::parse(host) {
            Ok(Host::Domain(name)) if !name.contains('*') => Ok(plain(&name)),
            Ok(Host::Domain(_)) => Err(wrong("a * stands alone or before the first dot")),
            Ok(_) => Err(wrong("* goes before names only, ranges of addresses are written like 10.0.0.0/8")),
            Err(error) => Err(wrong(&error.to_string())),
        };
        let what = match host {
            "*" => What::Any,
            _ if host.contains('/') => match host.parse::<IpNet>() {
                Ok(range) => What::Addresses(canonical_range(range.trunc())),
                Err(_) => return Err(wrong("what stands before and after the / is no range")),
            },
            _ => match (host.strip_prefix("*."), host.parse::<IpAddr>()) {
                (Some(parent), _) => What::Below(name(parent)?),
                (None, Ok(address)) => What::Addresses(canonical_range(address.into())),
                (None, Err(_)) => match Host::parse(host) {
                    Ok(Host::Ipv4(address)) => What::Addresses(IpAddr::from(address).into()),
                    _ => What::Name(name(host)?),
                },
            },
        };
        Ok(HostGrant { what, port })
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`, `v6`; ranges in the place of addresses.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest {
            "" => Some((host, None)),
            _ => rest.strip_prefix(':').map(|port| (host, Some(port))),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Some((text, None)),
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

const METADATA_IS: &str = "of a cloud's metadata service, which must be named";

fn named_only(address: IpAddr) -> String {
    let what = special(address).map(|(_, what)| what).next().unwrap_or("special");
    format!("which is {what}, and must be named itself")
}

/// A name as it is compared: the URL parser has made it lower case and punycode, a dot at the end changes nothing.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// `host:port`, with brackets where the host has colons.
struct Place<'a>(&'a str, u16);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.contains(':') {
            true => write!(f, "[{}]:{}", self.0, self.1),
            false => write!(f, "{}:{}", self.0, self.1),
        }
    }
}

#[cfg(test)]
#[path = "net_tests.rs"]
mod tests;
