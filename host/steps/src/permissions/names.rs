//! Which variables of the environment may be read.

use durhai::StepError;

use super::Permissions;

/// What `--allow-env` grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EnvGrant {
    #[default]
    Nothing,
    /// All but what opens the host itself: `DURHAI_TOKEN` and `DURHAI_SECRET_…` must be named.
    Everything,
    /// These names, case as the system has it; `APP_*` is every name that begins so, with the same exceptions.
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
            (EnvGrant::Nothing, grant) | (grant, EnvGrant::Nothing) => grant,
            (EnvGrant::Everything, EnvGrant::Everything) => EnvGrant::Everything,
            (EnvGrant::Everything, EnvGrant::Names(mut names)) | (EnvGrant::Names(mut names), EnvGrant::Everything) => {
                // What must be named stays named.
                names.retain(|name| must_be_named(name));
                if names.is_empty() {
                    return EnvGrant::Everything;
                }
                names.push("*".into());
                EnvGrant::Names(names)
            }
            (EnvGrant::Names(mut names), EnvGrant::Names(more)) => {
                names.extend(more);
                EnvGrant::Names(names)
            }
        }
    }

    pub(crate) fn covers(&self, name: &str) -> bool {
        match self {
            EnvGrant::Nothing => false,
            EnvGrant::Everything => !must_be_named(name),
            EnvGrant::Names(names) => names.iter().any(|granted| match granted.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning) && !must_be_named(name),
                None => granted == name,
            }),
        }
    }
}

/// With the token a step could command its host; secrets have their own way into steps, on which they are hidden.
fn must_be_named(name: &str) -> bool {
    name == "DURHAI_TOKEN" || name.starts_with(crate::secrets::source::PREFIX)
}

impl Permissions {
    /// Whether a variable may be read; asked before it is looked up.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_grant_covers() {
        for (value, name, covered) in [
            (Some("A,B_*"), "A", true),
            (Some("A,B_*"), "AB", false),
            (Some("A,B_*"), "B_1", true),
            (Some("A,B_*"), "b_1", false),
            (None, "ANY", true),
            (None, "DURHAI_DATA", true),
            (None, "DURHAI_TOKEN", false),
            (None, "DURHAI_SECRET_STRIPE", false),
            (Some("*"), "DURHAI_TOKEN", false),
            (Some("DURHAI_*"), "DURHAI_SECRET_STRIPE", false),
            (Some("DURHAI_SECRET_*"), "DURHAI_SECRET_STRIPE", false),
            (Some("DURHAI_TOKEN"), "DURHAI_TOKEN", true),
            (Some("DURHAI_SECRET_STRIPE"), "DURHAI_SECRET_STRIPE", true),
        ] {
            let grant = EnvGrant::parse(value).unwrap();
            assert_eq!(grant.covers(name), covered, "{value:?} {name}");
        }
        let named = EnvGrant::parse(Some("DURHAI_TOKEN")).unwrap();
        assert!(named.clone().and(EnvGrant::Everything).covers("DURHAI_TOKEN"));
        assert!(EnvGrant::Everything.and(named).covers("ANY"));
    }
}
