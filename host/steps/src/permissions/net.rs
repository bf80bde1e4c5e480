//! Which hosts may be spoken to.

/// What `--allow-net` grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NetGrant {
    #[default]
    Nothing,
    /// Every host but those that must be named: link-local addresses and those of cloud metadata services.
    Everything,
}
