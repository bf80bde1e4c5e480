//! Which databases may be used.

use durhai::StepError;

use super::Permissions;

/// What `--allow-sql` grants. The settings say where a database is and by which login it is used; what that login may do there is the
/// database's business.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SqlGrant {
    #[default]
    Nothing,
    /// Every database that the settings name.
    Everything,
    /// Those with these names in the settings.
    Names(Vec<String>),
}

impl SqlGrant {
    /// From the value of a flag: none is everything, else names separated by commas.
    pub fn parse(value: Option<&str>) -> Result<Self, String> {
        let Some(list) = value else { return Ok(SqlGrant::Everything) };
        let names: Vec<String> =
            list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        match names.iter().find(|name| !is_name(name)) {
            Some(name) => Err(format!(
                "{name:?} is no name of a database in durhai.toml: expected one like main, of letters, digits, `-` and `_`"
            )),
            None => Ok(SqlGrant::Names(names)),
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: SqlGrant) -> Self {
        match (self, other) {
            (SqlGrant::Nothing, grant) | (grant, SqlGrant::Nothing) => grant,
            (SqlGrant::Names(mut names), SqlGrant::Names(more)) => {
                names.extend(more);
                SqlGrant::Names(names)
            }
            _ => SqlGrant::Everything,
        }
    }

    fn covers(&self, name: &str) -> bool {
        match self {
            SqlGrant::Nothing => false,
            SqlGrant::Everything => true,
            SqlGrant::Names(names) => names.iter().any(|granted| granted == name),
        }
    }
}

/// Whether a database can have this name.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c))
}

impl Permissions {
    /// Whether a database may be used; asked before it is looked up.
    pub(crate) fn database(&self, name: &str) -> Result<(), StepError> {
        match self.sql.covers(name) {
            true => Ok(()),
            false => Err(StepError::fatal(format!(
                "using the database {name:?} is not allowed: grant it with --allow-sql={name}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_grant_covers() {
        for (value, name, covered) in [
            (None, "main", true),
            (Some("main,shop"), "shop", true),
            (Some("main"), "mai", false),
            (Some("main"), "", false),
            (Some(""), "main", false),
        ] {
            let grant = SqlGrant::parse(value).unwrap();
            assert_eq!(grant.covers(name), covered, "{value:?} {name}");
        }
        assert!(SqlGrant::parse(Some("a.b")).unwrap_err().contains("expected"));
        let both = SqlGrant::parse(Some("a")).unwrap().and(SqlGrant::parse(Some("b")).unwrap());
        assert!(both.covers("a") && both.covers("b") && !both.covers("c"));
        assert!(both.and(SqlGrant::Everything).covers("c"));
        let refused = Permissions::none().database("main").unwrap_err();
        assert_eq!(refused.message(), "using the database \"main\" is not allowed: grant it with --allow-sql=main");
    }
}
