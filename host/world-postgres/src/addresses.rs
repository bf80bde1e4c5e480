//! The addresses of a server, one by one. A machine that is gone, or that takes connections and says nothing, is no reason not to come to the next.

use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// How long one address may take to take a connection, unless the URL says it.
const ANSWER: Duration = Duration::from_secs(3);

/// How long one that has taken it may need to let a client in. A name may stand for several addresses, of which the first is gone.
const LET_IN: Duration = Duration::from_secs(7);

/// One host of an address, and how long it may take until a client is in.
pub struct Address {
    pub config: Config,
    pub patience: Duration,
}

/// As many as the URL names.
pub fn of(config: &Config) -> Vec<Address> {
    let (hosts, numbers, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(numbers.len());
    let port = |at: usize| ports.get(at).or(ports.first()).copied();
    let one = |at: usize| {
        let mut one = alike(config);
        match hosts.get(at) {
            Some(Host::Tcp(name)) => drop(one.host(name)),
            #[cfg(unix)]
            Some(Host::Unix(path)) => drop(one.host_path(path)),
            #[cfg(not(unix))]
            Some(Host::Unix(_)) => {}
            None => {}
        }
        if let Some(number) = numbers.get(at) {
            one.hostaddr(*number);
        }
        if let Some(port) = port(at) {
            one.port(port);
        }
        let answer = config.get_connect_timeout().copied().unwrap_or(ANSWER);
        one.connect_timeout(answer);
        Address { config: one, patience: answer + LET_IN }
    };
    (0..count).map(one).collect()
}

/// All but the hosts.
fn alike(config: &Config) -> Config {
    let mut one = Config::new();
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(database) = config.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(name) = config.get_application_name() {
        one.application_name(name);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        one.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    one
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    #[test]
    fn each_host_has_what_the_address_says() {
        let url = "postgres://me:secret@a:1,b:2/db?application_name=x&connect_timeout=2&options=-c%20a%3Db";
        let all = of(&Config::from_str(url).unwrap());
        let hosts: Vec<_> =
            all.iter().map(|one| (one.config.get_hosts().to_vec(), one.config.get_ports().to_vec())).collect();
        assert_eq!(hosts, [(vec![Host::Tcp("a".into())], vec![1]), (vec![Host::Tcp("b".into())], vec![2])]);
        for one in &all {
            let Address { config, patience } = one;
            assert_eq!((config.get_user(), config.get_password()), (Some("me"), Some(&b"secret"[..])));
            assert_eq!((config.get_dbname(), config.get_application_name()), (Some("db"), Some("x")));
            assert_eq!((config.get_options(), *patience), (Some("-c a=b"), Duration::from_secs(9)));
        }
        let same_port = of(&Config::from_str("postgres://a,b:7/db").unwrap());
        assert_eq!(same_port.len(), 2);
        assert_eq!(of(&Config::from_str("postgres://me@%2Ftmp/db").unwrap())[0].config.get_hosts().len(), 1);
    }
}
