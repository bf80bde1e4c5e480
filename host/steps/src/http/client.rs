//! Connections: one pool a port, so that what resolves a name knows what port is meant.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use durhai::StepError;
use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, NoProxy, Proxy, redirect, retry};
use url::Url;

use super::failure::{NotAllowed, causes};
use super::options::{CONNECT_TIMEOUT, HttpOptions, Roots};
use super::resolver::Resolver;
use crate::environment::Environment;
use crate::permissions::NetGrant;

/// Pools that are kept; when there are more ports than that, all are closed and opened anew where needed.
const MAX_POOLS: usize = 64;

/// The open connections of one environment of steps. Those of trusted steps are kept apart: they were not checked.
#[derive(Debug, Default)]
pub struct Clients(Mutex<HashMap<(u16, bool), Client>>);

/// Checks the very addresses that are connected to.
struct Guard {
    resolver: Resolver,
    /// None where the step is trusted.
    grant: Option<NetGrant>,
    port: u16,
    /// Hosts of proxies: the settings name them, and they look up everything behind them.
    proxies: Vec<String>,
}

impl Clients {
    /// For requests to this port. `grant`: what may be connected to, `None` for trusted steps.
    pub fn get(
        &self,
        port: u16,
        grant: Option<&NetGrant>,
        options: &HttpOptions,
        environment: &Environment,
    ) -> Result<Client, StepError> {
        let trusted = grant.is_none();
        let mut clients = self.0.lock();
        if let Some(client) = clients.get(&(port, trusted)) {
            return Ok(client.clone());
        }
        if clients.len() >= MAX_POOLS {
            clients.clear();
        }
        let client = build(options, environment, grant.cloned(), port)?;
        clients.insert((port, trusted), client.clone());
        Ok(client)
    }
}

fn build(
    options: &HttpOptions,
    environment: &Environment,
    grant: Option<NetGrant>,
    port: u16,
) -> Result<Client, StepError> {
    let proxies = if options.proxy { proxies(environment)? } else { Vec::new() };
    let resolver = options.resolver.clone();
    let names = proxies.iter().filter_map(|(url, _)| Some(url.domain()?.to_owned())).collect();
    let guard = Guard { resolver, grant, port, proxies: names };
    let mut builder = Client::builder()
        .user_agent(concat!("durhai/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .dns_resolver(Arc::new(guard))
        // Each hop is checked and counted by us, and each attempt is the host's.
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .tls_built_in_native_certs(options.roots != Roots::Bundled)
        .tls_built_in_webpki_certs(options.roots != Roots::System);
    for (_, proxy) in proxies {
        builder = builder.proxy(proxy);
    }
    if let Some(file) = &options.ca_file {
        let wrong =
            |why: String| StepError::fatal(format!("the certificates in {} ([http] ca_file): {why}", file.display()));
        let pem = fs::read(file).map_err(|error| wrong(error.to_string()))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?;
        if certificates.is_empty() {
            return Err(wrong("there is none in PEM form".into()));
        }
        for certificate in certificates {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|error| StepError::fatal(format!("no HTTP client: {}", causes(&error))))
}

/// Those that the variables name, in both cases of letters; small letters win, as with other programs.
fn proxies(environment: &Environment) -> Result<Vec<(Url, Proxy)>, StepError> {
    let variable = |name: &str| {
        let value = environment.get(name).or_else(|| environment.get(&name.to_ascii_uppercase()));
        value.map(str::trim).filter(|value| !value.is_empty())
    };
    let except = variable("no_proxy").and_then(NoProxy::from_string);
    type Make = fn(Url) -> reqwest::Result<Proxy>;
    let kinds: [(&str, Make); 3] = [
        ("http_proxy", |url| Proxy::http(url)),
        ("https_proxy", |url| Proxy::https(url)),
        ("all_proxy", |url| Proxy::all(url)),
    ];
    let mut found = Vec::new();
    for (name, make) in kinds {
        let Some(value) = variable(name) else { continue };
        let wrong = |why: &str| {
            let name = name.to_ascii_uppercase();
            StepError::fatal(format!(
                "the variable {name} names no proxy: {why}; write it like http://proxy.example:3128"
            ))
        };
        let text = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        let url = Url::parse(&text).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(&format!("{}: is not supported", url.scheme())));
        }
        let proxy = make(url.clone()).map_err(|error| wrong(&causes(&error)))?;
        found.push((url, proxy.no_proxy(except.clone())));
    }
    Ok(found)
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, port) = (self.resolver.clone(), self.port);
        let grant = self.grant.clone().filter(|_| !self.proxies.iter().any(|proxy| proxy == name.as_str()));
        Box::pin(async move {
            let found = resolver.lookup(name.as_str()).await?;
            if found.is_empty() {
                return Err(format!("the name {} has no address", name.as_str()).into());
            }
            let mut refused = None;
            let mut allowed = Vec::new();
            for address in found {
                match grant.as_ref().map_or(Ok(()), |grant| grant.allow_address(name.as_str(), port, address)) {
                    Ok(()) => allowed.push(SocketAddr::new(address, 0)),
                    Err(why) => refused = refused.or(Some(why)),
                }
            }
            match refused {
                Some(why) if allowed.is_empty() => Err(NotAllowed(why).into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}
