//! What every world promises.

use std::cell::RefCell;

use durhai_world::World;
use durhai_world::conformance::{Subject, run};
use durhai_world_sled::{Options, SledWorld};
use tempfile::TempDir;

#[test]
fn sled_world_conforms() {
    conforms(Options::default());
}

/// What is written goes from memory into the tree all the time.
#[test]
fn sled_world_conforms_while_it_settles() {
    for window_bytes in [2_000, 20_000] {
        conforms(Options { window_bytes, ..Options::default() });
    }
}

fn conforms(options: Options) {
    // The folder of the world that was made last; the cases have one world at a time.
    let folder = RefCell::new(TempDir::new().expect("a folder"));
    let open = || Box::new(SledWorld::open_with(folder.borrow().path(), &options).expect("opens")) as Box<dyn World>;
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
