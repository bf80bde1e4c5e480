//! The databases that steps may work in, by the names that the settings give them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use durhai::StepError;
use durhai::postgres::{Database, PgWorld, Records};
use parking_lot::Mutex;

use crate::step_env::StepEnv;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabasePlace {
    /// `postgres://USER@HOST:PORT/DATABASE?…` without a password; `password` is the name of a secret.
    At { url: String, password: Option<String> },
    /// The one that the host keeps its runs in, by the host's own login.
    Store,
}

/// The world of the host where it is in PostgreSQL, for the steps that work in its database. It is handed over once the host has opened it.
#[derive(Clone, Default)]
pub struct StoreDatabase(Arc<OnceLock<Arc<PgWorld>>>);

impl StoreDatabase {
    /// Said once; what is said after that does not count.
    pub fn set(&self, world: Arc<PgWorld>) {
        let _ = self.0.set(world);
    }

    pub(crate) fn world(&self) -> Option<&Arc<PgWorld>> {
        self.0.get()
    }
}

impl fmt::Debug for StoreDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreDatabase({})", if self.world().is_some() { "open" } else { "none" })
    }
}

/// Connections to databases, with the password that each was opened with.
#[derive(Default)]
pub struct Connections(Mutex<HashMap<String, Opened>>);

/// The password, and what was opened with it.
type Opened = (Option<String>, Arc<Login>);

/// An answer that an operator may have changed meanwhile counts for so long.
const ASKED_AGAIN: Duration = Duration::from_secs(30);

/// A database as it is reached from here.
pub struct Login {
    pub database: Database,
    /// Whether the world keeps records of what is done in it, and when it said so.
    records: Mutex<Option<(Records, Instant)>>,
}

/// A database for one attempt.
pub enum Reached {
    Own(Arc<PgWorld>),
    Login(Arc<Login>),
}

impl Login {
    /// The statement that is missing goes to `missing`, whenever it was asked anew.
    pub async fn is_recorded(&self, world: &PgWorld, missing: impl FnOnce(&str)) -> Result<bool, StepError> {
        let known = self.records.lock().clone();
        if let Some((records, at)) = known
            && (records == Records::Kept || at.elapsed() < ASKED_AGAIN)
        {
            return Ok(records == Records::Kept);
        }
        let asked = world.keeps_records_of(&self.database).await;
        let records = asked.map_err(|error| StepError::retry(error.to_string()))?;
        if let Records::NeedRights(statement) = &records {
            missing(statement);
        }
        let kept = records == Records::Kept;
        *self.records.lock() = Some((records, Instant::now()));
        Ok(kept)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.lock().keys()).finish()
    }
}

impl StepEnv {
    /// A database that the settings name, as far as it was granted. Asked in this order, so that a script cannot find out what there is.
    pub fn database(&self, name: &str) -> Result<Reached, StepError> {
        self.permissions.database(name)?;
        let place = self.databases.get(name).ok_or_else(|| StepError::fatal(unknown(name, &self.databases)))?;
        let DatabasePlace::At { url, password } = place else {
            let own = self.store.world().cloned();
            return own.map(Reached::Own).ok_or_else(|| {
                StepError::fatal(format!(
                    "[databases.{name}] is the database of the store (`store = true`), but this host keeps its runs elsewhere: expected \
                     --store postgres://…, or a `url` in place of `store`"
                ))
            });
        };
        // Read for each attempt, so that a password can be changed while the host runs.
        let password = password.as_ref().map(|secret| self.secret(secret)).transpose()?;
        let mut all = self.connections.0.lock();
        if let Some((with, login)) = all.get(name)
            && *with == password
        {
            return Ok(Reached::Login(login.clone()));
        }
        let database = Database::at(url, password.as_deref()).map_err(|error| StepError::fatal(error.to_string()))?;
        let login = Arc::new(Login { database, records: Mutex::default() });
        all.insert(name.to_owned(), (password, login.clone()));
        Ok(Reached::Login(login))
    }
}

fn unknown(name: &str, all: &BTreeMap<String, DatabasePlace>) -> String {
    let known: Vec<_> = all.keys().map(|name| format!("{name:?}")).collect();
    let known = if known.is_empty() { "none".into() } else { known.join(", ") };
    format!("there is no database {name:?} in durhai.toml (known: {known}): expected [databases.{name}] with a `url`")
}
