//! The work that is measured: `durhai bench` tells what the whole does on a machine, the benches in `benches/` time its parts.
//! Both stand on this, so that they measure the same.

pub mod child;
pub mod commits;
pub mod compat;
pub mod figures;
pub mod floor;
pub mod hosts;
pub mod live;
pub mod logs;
pub mod memory;
pub mod recovery;
pub mod replay;
