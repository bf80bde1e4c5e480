//! What every world promises.

mod common;

use std::cell::RefCell;

use durhai_world::World;
use durhai_world::conformance::{Subject, run};
use durhai_world_sled::{Options, SledWorld};

#[test]
fn sled_world_conforms() {
    conforms(Options::default());
}

/// What is written goes from memory into the tree all the time.
#[test]
fn sled_world_conforms_while_it_settles() {
    conforms(Options { window_bytes: 2_000, ..Options::default() });
}

fn conforms(options: Options) {
    // The folder of the world that was made last; the cases have one world at a time.
    let folder = RefCell::new(common::folder());
    let open = || Box::new(SledWorld::open_with(folder.borrow().path(), &options).expect("opens")) as Box<dyn World>;
    let make = || {
        folder.replace(common::folder());
        open()
    };
    let reopen = |world| {
        drop(world);
        open()
    };
    run(&Subject { make: &make, reopen: Some(&reopen), second: None, leases: false });
}
