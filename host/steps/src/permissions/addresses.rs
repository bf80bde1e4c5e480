//! Kinds of IP addresses, as far as permissions tell them apart.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::IpNet;

/// What an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The internet.
    Public,
    /// A network of one's own, or one that is reserved.
    Private,
    /// This machine.
    Loopback,
    /// `0.0.0.0` and `::`, which also lead to this machine.
    Unspecified,
    /// Only for those who name it: see [`special`].
    Special,
}

/// What the tables below hold, read once.
struct Ranges {
    special: Vec<(IpNet, &'static str)>,
    private: Vec<IpNet>,
}

static RANGES: LazyLock<Ranges> = LazyLock::new(|| Ranges {
    special: SPECIAL.iter().map(|(range, what)| (parsed(range), *what)).collect(),
    private: PRIVATE.iter().map(|range| parsed(range)).collect(),
});

/// Ranges that no name, no wildcard and no `--allow-net` without a list leads to: link-local, multicast and broadcast
/// addresses, and where clouds answer their machines with credentials.
const SPECIAL: [(&str, &str); 13] = [
    ("169.254.0.0/16", "link-local: cloud metadata services answer there"),
    ("fe80::/10", "link-local"),
    ("224.0.0.0/4", "for multicast"),
    ("ff00::/8", "for multicast"),
    ("255.255.255.255/32", "for broadcast"),
    ("100.100.100.200/32", METADATA),
    ("168.63.129.16/32", METADATA),
    ("192.0.0.192/32", METADATA),
    ("fd00:ec2::254/128", METADATA),
    ("fd00:ec2::23/128", METADATA),
    ("fd00:c1::a9fe:a9fe/128", METADATA),
    ("fd00:42::42/128", METADATA),
    ("fd20:ce::254/128", METADATA),
];

const METADATA: &str = "that of a cloud's metadata service";

/// Further ranges that are not the internet.
const PRIVATE: [&str; 18] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fec0::/10",
];

/// An IPv6 address that stands for an IPv4 address (mapped, compatible, NAT64, 6to4) as that IPv4 address.
pub fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let parts = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        // ::a.b.c.d, ::ffff:a.b.c.d, ::ffff:0:a.b.c.d and the two prefixes of NAT64.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

/// The same for a range; one that holds more than addresses of one such form stays as it is.
pub fn canonical_range(range: IpNet) -> IpNet {
    let IpNet::V6(v6) = range else { return range };
    let address = v6.network();
    match canonical(IpAddr::V6(address)) {
        IpAddr::V4(v4) if is_tail(address) && v6.prefix_len() >= 96 => net(v4.into(), v6.prefix_len() - 96),
        IpAddr::V4(v4) if !is_tail(address) && v6.prefix_len() >= 48 => net(v4.into(), 32),
        _ => range,
    }
}

pub fn reach(address: IpAddr) -> Reach {
    let address = canonical(address);
    let this_network = matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 0);
    match address {
        _ if special(address).next().is_some() => Reach::Special,
        _ if this_network || address.is_unspecified() => Reach::Unspecified,
        _ if address.is_loopback() => Reach::Loopback,
        _ if RANGES.private.iter().any(|range| range.contains(&address)) => Reach::Private,
        _ => Reach::Public,
    }
}

/// The special ranges an address lies in, each with what it is. Such an address is granted only by an entry that lies
/// within the range itself: who grants `0.0.0.0/0` has not thought of credentials.
pub fn special(address: IpAddr) -> impl Iterator<Item = (IpNet, &'static str)> {
    let address = canonical(address);
    RANGES.special.iter().copied().filter(move |(range, _)| range.contains(&address))
}

/// Whether a range that was granted counts for an address.
pub fn covers(range: &IpNet, address: IpAddr) -> bool {
    let address = canonical(address);
    range.contains(&address) && special(address).all(|(special, _)| special.contains(range))
}

/// Whether the IPv4 address stands at the end.
fn is_tail(address: Ipv6Addr) -> bool {
    address.segments()[0] != 0x2002
}

fn net(address: IpAddr, prefix: u8) -> IpNet {
    IpNet::new_assert(address, prefix).trunc()
}

fn parsed(range: &str) -> IpNet {
    range.parse().expect("the tables hold ranges")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_has_the_same_reach() {
        use Reach::*;
        for (text, wanted) in [
            ("8.8.8.8", Public),
            ("2606:4700::1111", Public),
            ("::ffff:8.8.8.8", Public),
            ("10.0.0.1", Private),
            ("172.31.255.255", Private),
            ("172.32.0.0", Public),
            ("100.64.0.1", Private),
            ("100.128.0.1", Public),
            ("192.168.1.1", Private),
            ("240.0.0.1", Private),
            ("fd12::1", Private),
            ("64:ff9b::10.0.0.1", Private),
            ("2002:a00:1::1", Private),
            ("127.0.0.1", Loopback),
            ("127.255.0.9", Loopback),
            ("::1", Loopback),
            ("::127.0.0.1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("64:ff9b::127.0.0.1", Loopback),
            ("64:ff9b:1:2::127.0.0.1", Loopback),
            ("2002:7f00:1::", Loopback),
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Unspecified),
            ("::", Unspecified),
            ("::ffff:0.0.0.0", Unspecified),
            ("169.254.169.254", Special),
            ("169.254.1.1", Special),
            ("::ffff:169.254.169.254", Special),
            ("64:ff9b::a9fe:a9fe", Special),
            ("2002:a9fe:a9fe::1", Special),
            ("fe80::1", Special),
            ("fd00:ec2::254", Special),
            ("100.100.100.200", Special),
            ("192.0.0.192", Special),
            ("168.63.129.16", Special),
            ("224.0.0.1", Special),
            ("255.255.255.255", Special),
            ("ff02::1", Special),
        ] {
            assert_eq!(reach(text.parse().unwrap()), wanted, "{text}");
        }
    }

    #[test]
    fn a_range_counts_for_special_addresses_only_if_it_names_them() {
        for (range, address, wanted) in [
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "127.0.0.1", true),
            ("0.0.0.0/0", "169.254.169.254", false),
            ("168.0.0.0/6", "169.254.169.254", false),
            ("169.254.0.0/16", "169.254.169.254", true),
            ("169.254.169.254/32", "::ffff:169.254.169.254", true),
            ("100.64.0.0/10", "100.64.0.1", true),
            ("100.64.0.0/10", "100.100.100.200", false),
            ("100.100.100.200/32", "100.100.100.200", true),
            ("::/0", "::1", true),
            ("::/0", "::ffff:127.0.0.1", false),
            ("::/0", "fe80::1", false),
            ("fd00::/8", "fd00:ec2::254", false),
            ("fd00::/8", "fd00:ec2::253", true),
        ] {
            assert_eq!(covers(&range.parse().unwrap(), address.parse().unwrap()), wanted, "{range} {address}");
        }
        for (range, wanted) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("64:ff9b::7f00:1/128", "127.0.0.1/32"),
            ("2002:a00:1::/48", "10.0.0.1/32"),
            ("2002::/16", "2002::/16"),
            ("::/0", "::/0"),
            ("::1/128", "::1/128"),
        ] {
            assert_eq!(canonical_range(range.parse().unwrap()).to_string(), wanted, "{range}");
        }
    }
}
