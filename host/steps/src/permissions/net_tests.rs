//! What is granted, and what is refused.

use super::*;

#[test]
fn entries() {
    for (text, wanted) in [
        ("api.example.com", Ok("api.example.com")),
        ("API.Example.com.:443", Ok("api.example.com:443")),
        ("bücher.example", Ok("xn--bcher-kva.example")),
        ("*.example.com:8443", Ok("*.example.com:8443")),
        ("*", Ok("*")),
        ("*:443", Ok("*:443")),
        ("my_service:80", Ok("my_service:80")),
        ("10.1.2.3:8080", Ok("10.1.2.3/32:8080")),
        ("127.1", Ok("127.0.0.1/32")),
        ("::ffff:127.0.0.1", Ok("127.0.0.1/32")),
        ("10.0.0.0/8", Ok("10.0.0.0/8")),
        ("10.1.2.3/8:80", Ok("10.0.0.0/8:80")),
        ("fd00::/8", Ok("fd00::/8")),
        ("[fd00::/8]:80", Ok("fd00::/8:80")),
        ("::1", Ok("::1/128")),
        ("[::1]", Ok("::1/128")),
        ("[::1]:9000", Ok("::1/128:9000")),
        ("https://api.example.com", Err("it is a URL")),
        ("api.example.com/v1", Err("no range")),
        ("user@api.example.com", Err("'@'")),
        ("api example", Err("' '")),
        ("api.example.com:0", Err("\"0\" is no port")),
        ("api.example.com:+80", Err("\"+80\" is no port")),
        ("api.example.com:http", Err("\"http\" is no port")),
        ("api.example.com:65536", Err("no port")),
        ("api.example.com:", Err("\"\" is no port")),
        ("api.*.com", Err("a * stands")),
        ("*example.com", Err("a * stands")),
        ("*.10.0.0.1", Err("names only")),
        ("*.", Err("host")),
        ("[::1", Err("bracket")),
        ("[::1]9000", Err("bracket")),
        ("10.0.0.0/33", Err("no range")),
        ("256.1.1.1", Err("IPv4")),
        ("a^b", Err("domain")),
    ] {
        let found = text.parse::<HostGrant>();
        match (&found, wanted) {
            (Ok(grant), Ok(wanted)) => assert_eq!(show(grant), wanted, "{text}"),
            (Err(error), Err(wanted)) => {
                assert!(error.contains(wanted) && error.contains("api.example.com:443"), "{text}: {error}");
            }
            _ => panic!("{text}: {found:?}, wanted {wanted:?}"),
        }
    }
}

#[test]
fn flags() {
    let hosts = |list: &str| NetGrant::parse(Some(list)).unwrap();
    assert_eq!(NetGrant::parse(None), Ok(NetGrant::Everything));
    assert_eq!(hosts(" a.test , ,b.test"), hosts("a.test,b.test"));
    assert_eq!(hosts("a.test").and(hosts("b.test")), hosts("a.test,b.test"));
    assert_eq!(hosts("a.test").and(NetGrant::Nothing), hosts("a.test"));
    assert_eq!(hosts("a.test").and(NetGrant::Everything), NetGrant::Everything);
    let with_metadata = NetGrant::Everything.and(hosts("a.test,169.254.169.254"));
    assert_eq!(with_metadata, hosts("169.254.169.254,*"));
    assert!(NetGrant::parse(Some("a.test,b:x")).unwrap_err().contains("\"b:x\""));
}

fn show(grant: &HostGrant) -> String {
    let what = match &grant.what {
        What::Any => "*".into(),
        What::Name(name) => name.clone(),
        What::Below(parent) => format!("*.{parent}"),
        What::Addresses(range) => range.to_string(),
    };
    grant.port.map(|port| format!("{what}:{port}")).unwrap_or(what)
}

/// Grant, URL, address the name turns out to have, and a part of the refusal; "" is let through.
#[test]
// Over 80 lines: a table of cases.
fn what_is_refused_and_what_is_not() {
    let named = "must be named";
    for (grant, url, address, wanted) in [
        // Nothing, and the wrong thing.
        (
            "",
            "http://api.test",
            "8.8.8.8",
            "connecting to api.test:80 is not allowed: grant it with --allow-net=api.test:80",
        ),
        ("", "https://api.test/path?key=1", "8.8.8.8", "--allow-net=api.test:443"),
        ("", "http://[::1]:9000", "", "connecting to [::1]:9000 is not allowed: grant it with --allow-net=[::1]:9000"),
        ("api.test", "http://api.test:8080", "8.8.8.8", ""),
        ("api.test", "http://API.TEST.", "8.8.8.8", ""),
        ("API.test.", "http://api.test", "8.8.8.8", ""),
        ("api.test:443", "https://api.test", "8.8.8.8", ""),
        ("api.test:443", "http://api.test", "8.8.8.8", "--allow-net=api.test:80"),
        ("api.test:443", "https://api.test:8443", "8.8.8.8", "--allow-net=api.test:8443"),
        ("api.test", "http://apiXtest", "8.8.8.8", "not allowed"),
        ("api.test", "http://sub.api.test", "8.8.8.8", "--allow-net=sub.api.test:80"),
        ("api.test", "http://api.test.evil.test", "8.8.8.8", "not allowed"),
        ("api.test", "http://evil.test#@api.test", "8.8.8.8", "connecting to evil.test:80"),
        ("api.test", "http://api.test@evil.test", "8.8.8.8", "connecting to evil.test:80"),
        ("api.test", "http://evil.test\\@api.test", "8.8.8.8", "connecting to evil.test:80"),
        ("api.test", "http://evil.test?@api.test", "8.8.8.8", "connecting to evil.test:80"),
        ("bücher.example", "http://xn--bcher-kva.example", "8.8.8.8", ""),
        ("bücher.example", "http://BÜCHER.example", "8.8.8.8", ""),
        ("bücher.example", "http://bucher.example", "8.8.8.8", "not allowed"),
        // A fullwidth dot is a dot to the URL parser.
        ("api.test", "http://api。test", "8.8.8.8", ""),
        // Names below a name.
        ("*.api.test", "http://a.api.test", "8.8.8.8", ""),
        ("*.api.test", "http://a.b.api.test", "8.8.8.8", ""),
        ("*.api.test", "http://api.test", "8.8.8.8", "--allow-net=api.test:80"),
        ("*.api.test", "http://evilapi.test", "8.8.8.8", "not allowed"),
        ("*.api.test", "http://.api.test", "8.8.8.8", ""),
        ("*.api.test:443", "http://a.api.test", "8.8.8.8", "not allowed"),
        (
            "*.api.test",
            "http://a.api.test",
            "10.0.0.5",
            "it stands for 10.0.0.5, which is not on the internet: grant it with --allow-net=a.api.test:80",
        ),
        ("*.api.test", "http://a.api.test", "::ffff:10.0.0.5", "not on the internet"),
        ("*.api.test", "http://a.api.test", "fd12::1", "not on the internet"),
        ("*.api.test", "http://a.api.test", "127.0.0.1", "--allow-net=127.0.0.1:80"),
        ("*.api.test", "http://a.api.test", "169.254.169.254", named),
        ("*.api.test,10.0.0.0/8", "http://a.api.test", "10.0.0.5", ""),
        ("*.api.test,10.0.0.0/8:81", "http://a.api.test", "10.0.0.5", "not on the internet"),
        // An exact name may be in a network of one's own, but not lead to this machine.
        ("db.test", "http://db.test", "10.0.0.5", ""),
        ("db.test", "http://db.test", "192.168.7.1", ""),
        ("db.test", "http://db.test", "100.64.0.9", ""),
        ("db.test", "http://db.test", "fd12::1", ""),
        (
            "db.test",
            "http://db.test",
            "127.0.0.1",
            "it stands for 127.0.0.1, which leads to this machine: grant it with --allow-net=127.0.0.1:80",
        ),
        ("db.test", "http://db.test:9000", "::1", "--allow-net=[::1]:9000"),
        ("db.test", "http://db.test", "::ffff:127.0.0.1", "leads to this machine"),
        ("db.test", "http://db.test", "64:ff9b::7f00:1", "leads to this machine"),
        ("db.test", "http://db.test", "2002:7f00:1::", "leads to this machine"),
        ("db.test", "http://db.test", "0.0.0.0", "leads to this machine"),
        ("db.test", "http://db.test", "::", "leads to this machine"),
        ("db.test", "http://db.test", "169.254.169.254", "--allow-net=169.254.169.254:80"),
        ("db.test", "http://db.test", "::ffff:169.254.169.254", named),
        ("db.test", "http://db.test", "169.254.10.1", named),
        ("db.test", "http://db.test", "fe80::1", named),
        ("db.test", "http://db.test", "fd00:ec2::254", named),
        ("db.test", "http://db.test", "100.100.100.200", named),
        ("db.test", "http://db.test", "192.0.0.192", named),
        ("db.test", "http://db.test", "168.63.129.16", named),
        ("db.test", "http://db.test", "224.0.0.1", named),
        ("db.test", "http://db.test", "255.255.255.255", named),
        ("db.test,127.0.0.1", "http://db.test:90", "127.0.0.1", ""),
        ("db.test,127.0.0.1:90", "http://db.test:90", "127.0.0.1", ""),
        ("db.test,127.0.0.1:91", "http://db.test:90", "127.0.0.1", "leads to this machine"),
        ("db.test,169.254.169.254", "http://db.test", "169.254.169.254", ""),
        ("localhost", "http://localhost:9000", "127.0.0.1", ""),
        ("localhost", "http://localhost:9000", "::1", ""),
        ("localhost", "http://LOCALHOST.:9000", "::1", ""),
        ("localhost", "http://localhost:9000", "0.0.0.0", "leads to this machine"),
        ("localhost", "http://127.0.0.1:9000", "", "--allow-net=127.0.0.1:9000"),
        ("localhost", "http://a.localhost", "127.0.0.1", "--allow-net=a.localhost:80"),
        ("*.localhost", "http://a.localhost", "127.0.0.1", ""),
        ("localhost.test", "http://localhost.test", "127.0.0.1", "leads to this machine"),
        // Addresses, however they are written.
        ("10.0.0.0/8", "http://10.200.3.4:99", "", ""),
        ("10.0.0.0/8", "http://0xa.200.3.4", "", ""),
        ("10.0.0.0/8", "http://[::ffff:10.1.1.1]", "", ""),
        ("10.0.0.0/8", "http://11.0.0.1", "", "--allow-net=11.0.0.1:80"),
        ("10.0.0.0/8", "http://db.test", "10.0.0.1", "--allow-net=db.test:80"),
        ("10.1.2.3:8080", "http://10.1.2.3:8080", "", ""),
        ("10.1.2.3:8080", "http://10.1.2.3", "", "--allow-net=10.1.2.3:80"),
        ("[::1]:9000", "http://[::1]:9000", "", ""),
        ("[::1]:9000", "http://[0:0::0:1]:9000", "", ""),
        ("[::1]:9000", "http://127.0.0.1:9000", "", "not allowed"),
        ("fd00::/8", "http://[fd12::1]", "", ""),
        ("fd00::/8", "http://[fc12::1]", "", "--allow-net=[fc12::1]:80"),
        ("fd00::/8", "http://[fd00:ec2::254]", "", named),
        ("10.0.0.1", "http://127.1", "", "--allow-net=127.0.0.1:80"),
        ("10.0.0.1", "http://0x7f000001", "", "--allow-net=127.0.0.1:80"),
        ("10.0.0.1", "http://2130706433", "", "--allow-net=127.0.0.1:80"),
        ("10.0.0.1", "http://017700000001", "", "--allow-net=127.0.0.1:80"),
        ("10.0.0.1", "http://127.0.0.1.", "", "--allow-net=127.0.0.1:80"),
        ("10.0.0.1", "http://①②⑦.0.0.1", "", "--allow-net=127.0.0.1:80"),
        ("10.0.0.1", "http://%31%32%37.0.0.1", "", "--allow-net=127.0.0.1:80"),
        ("10.0.0.1", "http://0", "", "--allow-net=0.0.0.0:80"),
        ("127.0.0.1", "http://0.0.0.0", "", "not allowed"),
        ("127.0.0.1", "http://[::ffff:7f00:1]", "", ""),
        ("127.0.0.1", "http://[64:ff9b::127.0.0.1]", "", ""),
        ("10.0.0.1", "http://[::ffff:127.0.0.1]", "", "not allowed"),
        ("10.0.0.1", "http://[64:ff9b::127.0.0.1]", "", "not allowed"),
        ("0.0.0.0/0", "http://169.254.169.254", "", named),
        ("0.0.0.0/0", "http://127.0.0.1", "", ""),
        ("169.254.0.0/16", "http://169.254.169.254", "", ""),
        ("169.254.169.254:80", "http://169.254.169.254:81", "", named),
        // Everything, but what must be named.
        ("*", "http://api.test", "8.8.8.8", ""),
        ("*", "http://api.test", "10.0.0.1", ""),
        ("*", "http://api.test", "127.0.0.1", ""),
        ("*", "http://127.0.0.1:9000", "", ""),
        ("*", "http://0.0.0.0:9000", "", ""),
        ("*:443", "http://api.test", "8.8.8.8", "--allow-net=api.test:80"),
        (
            "*",
            "http://169.254.169.254/latest/meta-data",
            "",
            "connecting to 169.254.169.254:80 is not allowed: it is link-local",
        ),
        ("*", "http://0xa9fea9fe", "", "--allow-net=169.254.169.254:80"),
        ("*", "http://2852039166", "", named),
        ("*", "http://[::ffff:169.254.169.254]", "", named),
        ("*", "http://[64:ff9b::a9fe:a9fe]", "", named),
        ("*", "http://[2002:a9fe:a9fe::]", "", named),
        ("*", "http://[fe80::1]", "", named),
        ("*", "http://[fd00:ec2::254]", "", "metadata"),
        ("*", "http://100.100.100.200", "", "metadata"),
        ("*", "http://192.0.0.192", "", "metadata"),
        ("*", "http://api.test", "169.254.169.254", named),
        ("*", "http://api.test", "fe80::7", named),
        ("*", "http://metadata.google.internal", "8.8.8.8", "the name of a cloud's metadata service"),
        ("*", "http://Metadata.Google.Internal.", "8.8.8.8", "metadata service"),
        ("*.internal", "http://metadata.google.internal", "8.8.8.8", "metadata service"),
        (
            "metadata.google.internal",
            "http://metadata.google.internal",
            "169.254.169.254",
            "--allow-net=169.254.169.254:80",
        ),
        ("metadata.google.internal,169.254.169.254", "http://metadata.google.internal", "169.254.169.254", ""),
        ("*,169.254.169.254", "http://169.254.169.254", "", ""),
        ("*,169.254.169.254", "http://api.test", "169.254.169.254", ""),
    ] {
        let grants = [NetGrant::parse(Some(grant)).unwrap()];
        let without_list = (grant == "*").then_some(NetGrant::Everything);
        for grants in grants.into_iter().chain(without_list) {
            let url = Url::parse(url).unwrap();
            let port = url.port_or_known_default().unwrap();
            let allowed = grants.allow(&url).and_then(|()| match (url.domain(), address) {
                (None, "") => Ok(()),
                (Some(name), address) => grants.allow_address(name, port, address.parse().unwrap()),
                (None, _) => panic!("{url} is an address"),
            });
            match allowed {
                Ok(()) => assert_eq!(wanted, "", "{grant:?} lets {url} through ({address})"),
                Err(why) => assert!(!wanted.is_empty() && why.contains(wanted), "{grant:?} {url} {address}: {why}"),
            }
        }
    }
}
