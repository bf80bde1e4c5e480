//! What steps work with that are no Rust of the embedder: one for all sources of a host.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use durhai::StepError;
use parking_lot::RwLock;

use crate::declared::Declared;
use crate::environment::Environment;
use crate::http::{Clients, HttpOptions};
use crate::permissions::Permissions;
use crate::secrets::{Known, SecretSources};

/// What the outside is to steps: what they may touch, the environment, secrets, declared steps. Cheap to clone; can be
/// replaced while the host runs, an attempt keeps what it began with.
#[derive(Debug, Clone)]
pub struct Outside(Arc<RwLock<Arc<Kit>>>);

/// All of it together.
#[derive(Debug, Clone, Default)]
pub struct Provisions {
    pub permissions: Permissions,
    pub environment: Environment,
    pub secrets: SecretSources,
    pub http: HttpOptions,
    /// By the name of the step.
    pub declared: BTreeMap<String, Declared>,
}

/// What one attempt works with.
#[derive(Debug)]
pub(crate) struct Kit {
    pub permissions: Permissions,
    pub environment: Environment,
    pub secrets: SecretSources,
    pub http: HttpOptions,
    pub clients: Clients,
    pub declared: BTreeMap<String, Declared>,
    /// Secrets that were read, by whatever kit of this outside.
    pub known: Arc<Known>,
    /// Where the kit that counts by then is found.
    outside: Weak<RwLock<Arc<Kit>>>,
}

impl Outside {
    pub fn new(provisions: Provisions) -> Self {
        let make = |outside: &Weak<_>| RwLock::new(Arc::new(Kit::new(provisions, Arc::default(), outside.clone())));
        Outside(Arc::new_cyclic(make))
    }

    /// From the next attempt on.
    pub fn replace(&self, provisions: Provisions) {
        let kit = Arc::new(Kit::new(provisions, self.known(), Arc::downgrade(&self.0)));
        *self.0.write() = kit;
    }

    pub(crate) fn kit(&self) -> Arc<Kit> {
        self.0.read().clone()
    }

    pub(crate) fn known(&self) -> Arc<Known> {
        self.kit().known.clone()
    }
}

/// Only what steps may touch; the environment is that of this process.
impl From<Permissions> for Outside {
    fn from(permissions: Permissions) -> Self {
        Outside::new(Provisions { permissions, environment: Environment::process(), ..Provisions::default() })
    }
}

impl Kit {
    fn new(provisions: Provisions, known: Arc<Known>, outside: Weak<RwLock<Arc<Kit>>>) -> Self {
        let Provisions { permissions, environment, secrets, http, declared } = provisions;
        let kit =
            Kit { permissions, environment, secrets, http, clients: Clients::default(), declared, known, outside };
        kit.learn_secrets();
        kit
    }

    /// An error about what an operator has set: an attempt waits until `good` says of the kit that counts by then that it is
    /// mended.
    pub fn misconfigured(&self, message: String, good: impl Fn(&Kit) -> bool + Send + Sync + 'static) -> StepError {
        let outside = self.outside.clone();
        StepError::misconfigured(message, move || {
            // Without an outside the host is gone, and nobody waits.
            let Some(outside) = outside.upgrade() else { return true };
            let kit = outside.read().clone();
            good(&kit)
        })
    }
}
