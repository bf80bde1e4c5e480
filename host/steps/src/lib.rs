//! Steps for durhai: the effects engine for Rhai steps, and permissions
