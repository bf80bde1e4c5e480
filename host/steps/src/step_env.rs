//! What steps that are no Rust of the embedder work with: one for all step sources of a host.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use durhai::StepError;
use parking_lot::RwLock;

use crate::declared::definition::Declared;
use crate::environment::Environment;
use crate::http::client::Clients;
use crate::http::options::HttpOptions;
use crate::permissions::Permissions;
use crate::secrets::known::Known;
use crate::secrets::source::{self, SecretSources};
use crate::sql::{Connections, DatabasePlace, StoreDatabase};

/// What steps may touch, the environment, secrets, declared steps, shared by all step sources of a host. Cheap to clone; can
/// be replaced while the host runs, an attempt keeps what it began with.
#[derive(Debug, Clone)]
pub struct StepEnvHandle(Arc<RwLock<Arc<StepEnv>>>);

/// What a [`StepEnvHandle`] is made from.
#[derive(Debug, Clone, Default)]
pub struct StepEnvConfig {
    pub permissions: Permissions,
    pub environment: Environment,
    pub secrets: SecretSources,
    pub http: HttpOptions,
    /// By the name of the step.
    pub declared: BTreeMap<String, Declared>,
    /// By name.
    pub databases: BTreeMap<String, DatabasePlace>,
    /// The database of the store, if it is in one.
    pub store: StoreDatabase,
}

/// What one attempt works with.
#[derive(Debug)]
pub(crate) struct StepEnv {
    pub permissions: Permissions,
    pub environment: Environment,
    pub secrets: SecretSources,
    pub http: HttpOptions,
    pub clients: Clients,
    pub declared: BTreeMap<String, Declared>,
    pub databases: BTreeMap<String, DatabasePlace>,
    pub store: StoreDatabase,
    pub connections: Connections,
    /// Secrets that were read, through this or an earlier environment of the same handle.
    pub known: Arc<Known>,
    /// Where the newest environment is found.
    newest: Weak<RwLock<Arc<StepEnv>>>,
}

impl StepEnvHandle {
    pub fn new(config: StepEnvConfig) -> Self {
        let make = |newest: &Weak<_>| RwLock::new(Arc::new(StepEnv::new(config, Arc::default(), newest.clone())));
        StepEnvHandle(Arc::new_cyclic(make))
    }

    /// From the next attempt on.
    pub fn replace(&self, config: StepEnvConfig) {
        let step_env = Arc::new(StepEnv::new(config, self.known(), Arc::downgrade(&self.0)));
        *self.0.write() = step_env;
    }

    /// What hides every known secret in a text, for [`durhai::HostBuilder::mask`]: `[secret NAME]` instead of its value
    /// and of its value in base64, hexadecimal, percent encoding and JSON. `None` where there is nothing to hide.
    /// Known are those that the settings name or that the environment holds as `DURHAI_SECRET_…`, as soon as they can be
    /// read, and each value that a step was given.
    pub fn mask(&self) -> impl Fn(&str) -> Option<String> + Send + Sync + 'static + use<> {
        let known = self.known();
        move |text| known.hide(text)
    }

    pub(crate) fn current(&self) -> Arc<StepEnv> {
        self.0.read().clone()
    }

    fn known(&self) -> Arc<Known> {
        self.current().known.clone()
    }
}

/// Only what steps may touch; the environment is that of this process.
impl From<Permissions> for StepEnvHandle {
    fn from(permissions: Permissions) -> Self {
        StepEnvHandle::new(StepEnvConfig {
            permissions,
            environment: Environment::process(),
            ..StepEnvConfig::default()
        })
    }
}

impl StepEnv {
    fn new(config: StepEnvConfig, known: Arc<Known>, newest: Weak<RwLock<Arc<StepEnv>>>) -> Self {
        let StepEnvConfig { permissions, environment, secrets, http, declared, databases, store } = config;
        source::learn_all(&secrets, &environment, &known);
        let (clients, connections) = (Clients::default(), Connections::default());
        StepEnv {
            permissions,
            environment,
            secrets,
            http,
            clients,
            declared,
            databases,
            store,
            connections,
            known,
            newest,
        }
    }

    /// The value of a secret, read now, so that it can be rotated while the host runs. Where it cannot be had an operator has to
    /// do something: the attempt waits until it can. No error contains a value.
    pub fn secret(&self, name: &str) -> Result<String, StepError> {
        self.read_secret(name).map_err(|why| {
            let name = name.to_owned();
            self.misconfigured(why, move |step_env| step_env.read_secret(&name).is_ok())
        })
    }

    /// An error about what an operator has set: the attempt waits until `good` says of the newest environment that it is mended.
    pub fn misconfigured(&self, message: String, good: impl Fn(&StepEnv) -> bool + Send + Sync + 'static) -> StepError {
        let newest = self.newest.clone();
        StepError::misconfigured(message, move || {
            // When the handle is gone the host is too, and no attempt waits.
            let Some(newest) = newest.upgrade() else { return true };
            let step_env = newest.read().clone();
            good(&step_env)
        })
    }

    /// The error says why it cannot be had, and what to do about it.
    pub fn read_secret(&self, name: &str) -> Result<String, String> {
        source::read(&self.secrets, &self.environment, &self.known, name)
    }
}
