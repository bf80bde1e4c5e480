//! The specification keeps its own promises.

use std::cell::RefCell;
use std::sync::Arc;

use durhai_world::conformance::{Subject, run};
use durhai_world::{Forward, MemoryWorld, World, WorldError};

/// One of several ways to the same memory.
#[derive(Clone, Default)]
struct Way(Arc<MemoryWorld>);

impl Forward for Way {
    fn inner(&self) -> Result<&dyn World, WorldError> {
        Ok(&*self.0)
    }
}

#[test]
fn memory_world_conforms() {
    let last = RefCell::new(Way::default());
    let make = || {
        last.replace(Way::default());
        Box::new(last.borrow().clone()) as Box<dyn World>
    };
    let second = || Box::new(last.borrow().clone()) as Box<dyn World>;
    run(&Subject { make: &make, reopen: None, second: Some(&second), leases: true });
}
