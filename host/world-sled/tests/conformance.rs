//! What every world promises.

use std::cell::RefCell;

use durhai_world::World;
use durhai_world::conformance::{Subject, run};
use durhai_world_sled::SledWorld;
use tempfile::TempDir;

#[test]
fn sled_world_conforms() {
    // The folder of the world that was made last; the cases have one world at a time.
    let folder = RefCell::new(TempDir::new().expect("a folder"));
    let open = || Box::new(SledWorld::open(folder.borrow().path()).expect("opens")) as Box<dyn World>;
    let make = || {
        folder.replace(TempDir::new().expect("a folder"));
        open()
    };
    let reopen = |world| {
        drop(world);
        open()
    };
    run(&Subject { make: &make, reopen: Some(&reopen), leases: false });
}
