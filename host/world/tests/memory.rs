//! The specification keeps its own promises.

use durhai_world::conformance::{Subject, run};
use durhai_world::{MemoryWorld, World};

#[test]
fn memory_world_conforms() {
    run(&Subject { make: &|| Box::new(MemoryWorld::new()) as Box<dyn World>, reopen: None, leases: true });
}
