//! Where the server is, and how it is reached.

use std::fs;
use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use durhai_world::WorldError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::UnboundedSender;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Notification};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::addresses::{self, Address};
use crate::failure::Failure;
use crate::pooling::Pooling;

/// What drives a connection.
pub type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the URL does not say.
const SCHEMA: &str = "durhai";

pub struct Server {
    config: Config,
    /// One for each host that the address names.
    addresses: Vec<Address>,
    /// Which of them answered last.
    answered: AtomicUsize,
    /// With quotes, and a point behind.
    prefix: String,
    schema: String,
    tls: Option<MakeRustlsConnect>,
    root: Option<PathBuf>,
    /// For people: no password.
    shown: String,
    reached: AtomicBool,
    pub pooling: Pooling,
    told_timeouts: AtomicBool,
}

impl Server {
    /// Reads `postgres://user:password@host:port/database?schema=durhai&sslmode=…&sslrootcert=…`. What it does not say is taken from the
    /// environment, as `psql` does: `PGPASSWORD`, `PGUSER`.
    pub fn of(url: &str) -> Result<Self, WorldError> {
        let user = || std::env::var("PGUSER").or_else(|_| std::env::var("USER")).ok();
        Self::read(url, user, || std::env::var("PGPASSWORD").ok())
    }

    /// The same with this password, and nothing else that is not in the address.
    pub fn without_environment(url: &str, password: Option<&str>) -> Result<Self, WorldError> {
        Self::read(url, || None, || password.map(str::to_owned))
    }

    fn read(
        url: &str,
        user: impl FnOnce() -> Option<String>,
        password: impl FnOnce() -> Option<String>,
    ) -> Result<Self, WorldError> {
        let parts = Parts::of(url)?;
        let mut config = Config::from_str(&parts.url).map_err(|error| {
            let why = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
            WorldError::Invalid(format!("{} is no address of a PostgreSQL database ({why}): {EXPECTED}", parts.shown))
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(WorldError::Invalid(format!("{} names no host: {EXPECTED}", parts.shown)));
        }
        if config.get_user().is_none() {
            config.user(user().unwrap_or_else(|| "postgres".into()));
        }
        if config.get_password().is_none()
            && let Some(password) = password()
        {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name("durhai");
        }
        config.target_session_attrs(tokio_postgres::config::TargetSessionAttrs::ReadWrite);
        config.keepalives_idle(Duration::from_secs(10)).tcp_user_timeout(Duration::from_secs(20));
        let tls = parts.tls(&config)?;
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        let prefix = format!("\"{}\".", parts.schema.replace('"', "\"\""));
        let (reached, told_timeouts) = (AtomicBool::new(false), AtomicBool::new(false));
        let (pooling, schema, root, shown) = (Pooling::default(), parts.schema, parts.root, parts.shown);
        let addresses = addresses::of(&config);
        let answered = AtomicUsize::new(0);
        Ok(Server { config, addresses, answered, prefix, schema, tls, root, shown, reached, pooling, told_timeouts })
    }

    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The address without its password.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// A statement with the schema in its place.
    pub fn named(&self, sql: &str) -> String {
        sql.replace("@.", &self.prefix)
    }

    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// The file with the authorities that it trusts, where the address names one.
    pub fn trusted(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// How its connections are encrypted, if they are.
    pub fn tls(&self) -> Option<MakeRustlsConnect> {
        self.tls.clone()
    }

    /// Settings that end what takes longer, and cannot be changed behind a pooler. Once.
    pub fn tell_timeouts(&self, found: &[String]) {
        if !found.is_empty() && !self.told_timeouts.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "{}: the role has {}, and a pooler stands before the server, so that hosts cannot change it: what takes longer is tried \
                 again in smaller parts. Take it away: alter role … reset …",
                self.shown,
                found.join(", ")
            );
        }
    }

    /// Until all hosts of the address were tried.
    pub fn connect_timeout(&self) -> Duration {
        self.addresses.iter().map(|address| address.patience).sum()
    }

    /// A connection, and what drives it; with whom to tell what is heard on it.
    pub async fn connect(&self, news: Option<UnboundedSender<Notification>>) -> Result<(Client, Driver), Failure> {
        let place =
            |failure: Failure| match if self.reached.load(Ordering::Relaxed) { failure.for_now() } else { failure } {
                Failure::Lost(why) => Failure::Lost(format!("{}: {why}", self.shown)),
                Failure::Conflict(why) => Failure::Conflict(format!("{}: {why}", self.shown)),
                Failure::Ended(why) => Failure::Ended(format!("{}: {why}", self.shown)),
                Failure::Data(why) | Failure::Wrong(why) => Failure::Wrong(format!("{}: {why}", self.shown)),
            };
        let mut failures: Vec<Failure> = Vec::new();
        let news = &mut Some(news);
        // The one that answered last comes first: while another one is away, not every connection waits for that.
        let count = self.addresses.len();
        let first = self.answered.load(Ordering::Relaxed);
        for at in (0..count).map(|place| (first + place) % count) {
            let address = &self.addresses[at];
            let connecting = self.connect_to(&address.config, news);
            let connected = match tokio::time::timeout(address.patience, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(Failure::Lost(format!("no answer within {:?}", address.patience))),
            };
            match connected {
                Ok(connected) => {
                    self.reached.store(true, Ordering::Relaxed);
                    self.answered.store(at, Ordering::Relaxed);
                    return Ok(connected);
                }
                Err(failure) => failures.push(failure),
            }
        }
        // One that refuses says more than those that are silent.
        let told = failures.iter().position(|failure| matches!(failure, Failure::Wrong(_))).unwrap_or(0);
        let nobody = || Failure::Wrong("the address names no host".into());
        Err(place(if failures.is_empty() { nobody() } else { failures.swap_remove(told) }))
    }

    async fn connect_to(&self, config: &Config, news: &mut Option<News>) -> Result<(Client, Driver), Failure> {
        Ok(match &self.tls {
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(Failure::of)?;
                (client, Box::pin(drive(connection, news.take().flatten())))
            }
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await.map_err(Failure::of)?;
                (client, Box::pin(drive(connection, news.take().flatten())))
            }
        })
    }
}

/// Whom what is heard on a connection is told to, if anybody.
type News = Option<UnboundedSender<Notification>>;

/// Until the connection is over, which is heard of by what waits for an answer.
async fn drive<S, T>(mut connection: Connection<S, T>, news: Option<UnboundedSender<Notification>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let (AsyncMessage::Notification(heard), Some(news)) = (message, &news) {
            // The listener may be about to end.
            let _ = news.send(heard);
        }
    }
}

const EXPECTED: &str = "expected postgres://USER:PASSWORD@HOST:PORT/DATABASE, with ?schema=NAME, &sslmode=disable|verify-full and \
                        &sslrootcert=FILE as needed";

/// An address with what is ours taken out.
struct Parts {
    url: String,
    shown: String,
    schema: String,
    mode: Option<String>,
    root: Option<PathBuf>,
}

impl Parts {
    fn of(url: &str) -> Result<Self, WorldError> {
        // A password may have anything in it.
        let login = url.rfind('@').unwrap_or(0);
        let (base, query) = match url[login..].find('?') {
            Some(at) => (&url[..login + at], &url[login + at + 1..]),
            None => (url, ""),
        };
        let mut parts = Parts {
            url: base.to_owned(),
            shown: without_password(base),
            schema: SCHEMA.to_owned(),
            mode: None,
            root: None,
        };
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_encoding::percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| WorldError::Invalid(format!("{name} in {} is no UTF-8", parts.shown)))?;
            match name {
                "schema" if value.is_empty() || value.len() > 63 || value.contains(['\0', '@']) => {
                    let why = "expected 1 to 63 bytes without @";
                    return Err(WorldError::Invalid(format!("{value:?} is no name of a schema: {why}")));
                }
                "schema" => parts.schema = value.into_owned(),
                "sslmode" => parts.mode = Some(value.into_owned()),
                "sslrootcert" => parts.root = Some(value.into_owned().into()),
                _ => others.push(pair),
            }
        }
        if !others.is_empty() {
            parts.url = format!("{base}?{}", others.join("&"));
        }
        Ok(parts)
    }

    /// Encrypted and checked beyond this machine, unless the operator says otherwise.
    fn tls(&self, config: &Config) -> Result<Option<MakeRustlsConnect>, WorldError> {
        let near = config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
            && config.get_hosts().iter().all(|host| match host {
                Host::Unix(_) => true,
                Host::Tcp(name) => {
                    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
                }
            });
        match self.mode.as_deref() {
            Some("disable") => return Ok(None),
            None if near && self.root.is_none() => return Ok(None),
            // Stricter than what is asked for: a connection that anybody could have answered is none to write to.
            None | Some("require" | "verify-ca" | "verify-full") => {}
            Some(mode) => {
                return Err(WorldError::Invalid(format!(
                    "sslmode={mode} is not known: expected disable or verify-full (require and verify-ca count as verify-full)"
                )));
            }
        }
        let mut roots = rustls::RootCertStore::empty();
        match &self.root {
            Some(file) => {
                let wrong = |why: &dyn std::fmt::Display| {
                    WorldError::Invalid(format!(
                        "sslrootcert {}: {why}: expected a file with certificates as PEM",
                        file.display()
                    ))
                };
                let pem = fs::read(file).map_err(|error| wrong(&error))?;
                for certificate in CertificateDer::pem_slice_iter(&pem) {
                    let certificate = certificate.map_err(|error| wrong(&error))?;
                    roots.add(certificate).map_err(|error| wrong(&error))?;
                }
                if roots.is_empty() {
                    return Err(wrong(&"there is no certificate in it"));
                }
            }
            None => {
                for certificate in rustls_native_certs::load_native_certs().certs {
                    // Some systems keep certificates that nobody can use any more.
                    let _ = roots.add(certificate);
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| WorldError::Invalid(format!("TLS: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Some(MakeRustlsConnect::new(config)))
    }
}

/// An address as people may see it.
fn without_password(base: &str) -> String {
    let Some((scheme, rest)) = base.split_once("://") else { return "this".into() };
    let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
    match login.and_then(|login| login.split(':').next()) {
        Some(user) => format!("{scheme}://{user}@{place}"),
        None => format!("{scheme}://{place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let server = Server::of("postgres://me:se%40cret@localhost:5433/db?schema=a%20b").unwrap();
        assert_eq!(server.shown(), "postgres://me@localhost:5433/db");
        assert_eq!(server.named("select @.x, nextval('@.y')"), "select \"a b\".x, nextval('\"a b\".y')");
    }

    #[test]
    fn a_wrong_address_is_told_without_its_password() {
        for url in [
            "postgres://me:secret@host:port/db",
            "postgres://me:secr?et:secret@host:port/db",
            "postgres://me:secret/secret@host:port/db",
            "postgres:///db",
            "mysql://me:secret@host/db",
            "postgres://me:secret@host/db?schema=",
            "postgres://me:secret@host/db?sslmode=prefer",
            "postgres://me:secret@host/db?sslrootcert=/nowhere",
            "postgres://me:secret@host/db?no_such=1",
            "nonsense",
            "",
        ] {
            let Err(error) = Server::of(url) else { panic!("{url} is taken") };
            assert!(error.to_string().contains("expected") && !error.to_string().contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn beyond_this_machine_it_is_encrypted() {
        for (url, encrypted) in [
            ("postgres://me@localhost/db", false),
            ("postgres://me@127.0.0.1/db", false),
            ("postgres://me@%2Fvar%2Frun%2Fpostgresql/db", false),
            ("postgres://me@db.example.com/db", true),
            ("postgres://me@db.example.com/db?sslmode=disable", false),
            ("postgres://me@db.example.com/db?sslmode=require", true),
            ("postgres://me@localhost/db?sslmode=verify-full", true),
            ("postgres://me@localhost/db?hostaddr=10.0.0.5", true),
            ("postgres://me@localhost/db?hostaddr=127.0.0.1", false),
        ] {
            assert_eq!(Server::of(url).unwrap().tls.is_some(), encrypted, "{url}");
        }
    }
}
