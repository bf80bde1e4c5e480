//! Which programs may be run.

/// What `--allow-exec` grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ExecGrant {
    #[default]
    Nothing,
    Everything,
}
