//! Which variables of the environment may be read.

use durhai::StepError;

use super::Permissions;

/// What `--allow-env` grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EnvGrant {
    #[default]
    Nothing,
    Everything,
    /// These names, case as the system has it; `APP_*` is every name that begins so.
    Names(Vec<String>),
}

impl EnvGrant {
    /// From the value of a flag: none is everything, else names separated by commas.
    pub fn parse(value: Option<&str>) -> Result<Self, String> {
        let Some(list) = value else { return Ok(EnvGrant::Everything) };
        let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        let checked = names.map(|name| {
            let plain = name.strip_suffix('*').unwrap_or(name);
            if plain.contains(['*', '=', '\0']) {
                return Err(format!("{name:?} is no name of a variable, and no beginning of one as APP_* is"));
            }
            Ok(name.to_owned())
        });
        checked.collect::<Result<_, _>>().map(EnvGrant::Names)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: EnvGrant) -> Self {
        match (self, other) {
            (EnvGrant::Everything, _) | (_, EnvGrant::Everything) => EnvGrant::Everything,
            (EnvGrant::Nothing, grant) | (grant, EnvGrant::Nothing) => grant,
            (EnvGrant::Names(mut names), EnvGrant::Names(more)) => {
                names.extend(more);
                EnvGrant::Names(names)
            }
        }
    }

    pub(crate) fn covers(&self, name: &str) -> bool {
        match self {
            EnvGrant::Nothing => false,
            EnvGrant::Everything => true,
            EnvGrant::Names(names) => names.iter().any(|granted| match granted.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => granted == name,
            }),
        }
    }
}

impl Permissions {
    /// Whether a variable may be read; asked before anybody looks whether it is set.
    pub(crate) fn variable(&self, name: &str) -> Result<(), StepError> {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(StepError::fatal(format!("{name:?} is no name of a variable")));
        }
        if self.env.covers(name) {
            return Ok(());
        }
        Err(StepError::fatal(format!("reading the variable {name} is not allowed: grant it with --allow-env={name}")))
    }
}
