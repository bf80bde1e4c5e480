//! From what the file says to what steps work with: paths, hosts, programs and variables as they are found now.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use super::databases;
use super::error::Wrong;
use super::form::{Form, Grant, Secret};
use super::steps::{secret_name, variable};
use super::{Settings, SettingsError};
use crate::declared::{Declared, ProgramStep};
use crate::environment::Environment;
use crate::http::HttpOptions;
use crate::permissions::{EnvGrant, ExecGrant, NetGrant, PathGrant, Permissions, SqlGrant, find, seal};
use crate::secrets::source::{SecretSource, SecretSources};
use crate::sql::StoreDatabase;
use crate::step_env::StepEnvConfig;

/// The name of settings where an operator names no other.
pub const NAME: &str = "durhai.toml";

/// What is given beside the file: on a command line, by an embedder. It adds to what the file says.
#[derive(Debug, Clone, Default)]
pub struct Given {
    pub permissions: Permissions,
    /// A `.env` file, which must be there. Where a variable is in several places the process comes first, then this
    /// file, then that of the settings.
    pub env_file: Option<PathBuf>,
    /// Files and folders out of the reach of steps, whatever was granted.
    pub sealed: Vec<PathBuf>,
    /// The database of the store, for `store = true` and for what is done exactly once.
    pub store: StoreDatabase,
}

/// What was found wrong, for who knows the text.
type Found<T> = Result<T, Wrong>;

impl Settings {
    /// What steps work with: paths resolved, variables and `.env` files read, programs looked up, as it all is now.
    ///
    /// The settings themselves, every file called `durhai.toml`, `.env` files, files of secrets and what is
    /// [`Given::sealed`] are out of reach for steps whatever was granted, also where they do not exist yet: who writes
    /// them decides what steps may do. The programs of declared steps, and files among their arguments, may be read but
    /// not written, also where they are not there yet, and so are the certificates of `ca_file`; what a program loads
    /// beside them should not lie where steps may write. Only where everything of every kind is granted (`-A`,
    /// `all = true`) nothing is kept from them: a program could do all of it anyway.
    pub fn step_env(&self, given: &Given) -> Result<StepEnvConfig, SettingsError> {
        let wrong = |wrong: Wrong| SettingsError::new(&self.file, &self.text, wrong);
        let environment = self.environment(given)?;
        let granted = self.granted(&environment).map_err(wrong)?;
        let open = everything(&granted) || everything(&given.permissions);
        let mut permissions = given.permissions.clone().and(granted);
        match open {
            true => (permissions.sealed, permissions.guarded) = (Vec::new(), Vec::new()),
            false => {
                permissions.sealed.extend(self.sealed(given));
                permissions.guarded.extend(self.guarded(environment.get("PATH").unwrap_or_default()));
            }
        }
        let http = &self.form.http;
        Ok(StepEnvConfig {
            permissions,
            environment,
            secrets: self.secrets(),
            http: HttpOptions {
                roots: http.roots,
                ca_file: http.ca_file.as_ref().map(|path| self.folder.join(path.get_ref())),
                proxy: http.proxy,
                ..HttpOptions::default()
            },
            declared: self.declared.clone(),
            databases: self.databases.clone(),
            store: given.store.clone(),
        })
    }

    /// Files beside the settings that count when they change.
    pub(super) fn files(&self, given: &Given) -> Vec<PathBuf> {
        let ca_file = self.form.http.ca_file.as_ref().map(|path| self.folder.join(path.get_ref()));
        self.env_file().into_iter().chain(given.env_file.clone()).chain(ca_file).collect()
    }

    fn env_file(&self) -> Option<PathBuf> {
        self.form.env_file.as_ref().map(|path| self.folder.join(path.get_ref()))
    }

    fn environment(&self, given: &Given) -> Result<Environment, SettingsError> {
        let mut environment = Environment::process();
        if let Some(path) = &given.env_file {
            environment = environment
                .with_file(path)
                .map_err(|why| SettingsError::whole(path, format!("the variables cannot be read: {why}")))?;
        }
        if let (Some(path), Some(written)) = (self.env_file(), &self.form.env_file) {
            let wrong =
                |why| Wrong::at(written.span(), format!("the variables of {} cannot be read: {why}", path.display()));
            let added = environment.with_file(&path).map_err(wrong);
            environment = added.map_err(|wrong| SettingsError::new(&self.file, &self.text, wrong))?;
        }
        Ok(environment)
    }

    fn granted(&self, environment: &Environment) -> Found<Permissions> {
        let granted = &self.form.permissions;
        if granted.all {
            return Ok(Permissions::all());
        }
        let search = environment.get("PATH").unwrap_or_default();
        let path = |text: &str| PathGrant::paths([self.folder.join(Path::new(text))]);
        let program = |text: &str| {
            // A program with a folder in its name is below that of the file, one without is looked for in PATH.
            let text = match text.contains(std::path::is_separator) {
                true => self.folder.join(Path::new(text)).display().to_string(),
                false => text.to_string(),
            };
            ExecGrant::parse(Some(&text), search)
        };
        Ok(Permissions {
            read: grant(&granted.read, PathGrant::Everything, path, PathGrant::and)?,
            write: grant(&granted.write, PathGrant::Everything, path, PathGrant::and)?,
            net: grant(&granted.net, NetGrant::Everything, |host| NetGrant::parse(Some(host)), NetGrant::and)?,
            exec: grant(&granted.exec, ExecGrant::Everything, program, ExecGrant::and)?,
            env: grant(&granted.env, EnvGrant::Everything, |name| EnvGrant::parse(Some(name)), EnvGrant::and)?,
            sql: grant(&granted.sql, SqlGrant::Everything, |name| SqlGrant::parse(Some(name)), SqlGrant::and)?,
            ..Permissions::none()
        })
    }

    fn secrets(&self) -> SecretSources {
        let source = |secret: &Secret| match (&secret.env, &secret.file) {
            (_, Some(path)) => SecretSource::File(self.folder.join(path.get_ref())),
            (env, None) => SecretSource::Env(env.as_ref().map(|name| name.get_ref().clone()).unwrap_or_default()),
        };
        let secrets = self.form.secrets.iter();
        secrets.map(|(name, secret)| (name.get_ref().clone(), source(secret.get_ref()))).collect()
    }

    fn sealed(&self, given: &Given) -> Vec<PathBuf> {
        let mut paths = given.sealed.clone();
        if !self.file.as_os_str().is_empty() {
            paths.extend([self.file.clone(), self.folder.join(".env")]);
        }
        paths.push(PathBuf::from(".env"));
        paths.extend(self.env_file().into_iter().chain(given.env_file.clone()));
        paths.extend(self.secrets().into_values().filter_map(|source| match source {
            SecretSource::File(path) => Some(path),
            SecretSource::Env(_) => None,
        }));
        // Anywhere, because a folder of scripts becomes one by having it.
        let mut sealed = vec![PathBuf::from(NAME)];
        sealed.extend(paths.iter().flat_map(|path| seal(path)));
        sealed
    }

    fn guarded(&self, search: &str) -> Vec<PathBuf> {
        let programs = self.declared.values().filter_map(|declared| match declared {
            Declared::Program(step) => Some(step),
            Declared::Service(_) => None,
        });
        let ca_file = self.form.http.ca_file.iter().map(|path| self.folder.join(path.get_ref()));
        let trusted = ca_file.chain(self.databases.values().filter_map(databases::trusted));
        programs.flat_map(|step| step.files(search)).chain(trusted).flat_map(|path| seal(&path)).collect()
    }
}

impl ProgramStep {
    /// Its program and the files among its arguments, those of options (`--rules=rules.json`) too. What is not there yet
    /// counts if it is written like a file, with an ending: a step that creates it decides what the program does.
    fn files(&self, search: &str) -> Vec<PathBuf> {
        let program = self.command.first().map(String::as_str).unwrap_or_default();
        let found = match program.contains(std::path::is_separator) {
            true => Some(self.cwd.join(program)),
            false => find(program, search).ok(),
        };
        let words = self.command.iter().skip(1).filter(|word| !word.is_empty());
        let values = words.clone().filter_map(|word| word.strip_prefix('-')?.split_once('=').map(|(_, value)| value));
        let arguments = words.map(String::as_str).chain(values).map(|word| self.cwd.join(word));
        let counts = |path: &PathBuf| path.is_file() || path.extension().is_some() && !path.exists();
        found.into_iter().chain(arguments.filter(counts)).collect()
    }
}

/// What can be found wrong without a look at the machine, beside steps.
pub fn check(form: &Form) -> Found<()> {
    for (name, secret) in &form.secrets {
        secret_name(name)?;
        match (&secret.get_ref().env, &secret.get_ref().file) {
            (Some(env), None) => variable(env.get_ref()).map_err(|why| Wrong::at(env.span(), why))?,
            (None, Some(file)) if file.get_ref().as_os_str().is_empty() => {
                return Err(Wrong::at(file.span(), "the path is empty"));
            }
            (None, Some(_)) => {}
            _ => {
                let message = "a secret has either `env`, a variable, or `file`, a path: { env = \"STRIPE_KEY\" }";
                return Err(Wrong::at(secret.span(), message));
            }
        }
    }
    let granted = &form.permissions;
    for list in [&granted.read, &granted.write, &granted.net, &granted.exec, &granted.env, &granted.sql] {
        let Grant::List(entries) = list else { continue };
        for entry in entries {
            if entry.get_ref().trim().is_empty() {
                return Err(Wrong::at(entry.span(), "this entry is empty; `true` grants everything"));
            }
            if entry.get_ref().starts_with("~/") {
                return Err(Wrong::at(entry.span(), "`~` is only known to shells: write the whole path"));
            }
        }
    }
    Ok(())
}

fn everything(permissions: &Permissions) -> bool {
    Permissions { sealed: Vec::new(), ..permissions.clone() } == Permissions::all()
}

fn grant<G: Default, E: Display>(
    given: &Grant,
    everything: G,
    entry: impl Fn(&str) -> Result<G, E>,
    and: impl Fn(G, G) -> G,
) -> Found<G> {
    match given {
        Grant::Nothing => Ok(G::default()),
        Grant::Everything => Ok(everything),
        Grant::List(entries) => entries.iter().try_fold(G::default(), |all, text| {
            let one = entry(text.get_ref()).map_err(|why| Wrong::at(text.span(), why))?;
            Ok(and(all, one))
        }),
    }
}
