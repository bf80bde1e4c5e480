//! Which variables of the environment may be read.

/// What `--allow-env` grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EnvGrant {
    #[default]
    Nothing,
    Everything,
    /// These names, case as the system has it.
    Names(Vec<String>),
}
