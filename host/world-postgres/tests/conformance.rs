//! What every world promises, on a server of one's own.

use std::cell::Cell;

use durhai_world::World;
use durhai_world::conformance::{Subject, cases, run};
use durhai_world_postgres::{LeaseClock, Options, PgWorld};

use crate::common::cluster;
use crate::pooler::Pooler;

/// Without a disk's syncs: nothing dies here but connections.
const SETTINGS: [&str; 2] = ["fsync=off", "max_connections=50"];

/// Leases, in the time that the cases say. The same world is not opened again: hosts are known by the process that opened it.
#[test]
fn postgres_world_conforms_with_leases() {
    let Some(cluster) = cluster(&SETTINGS) else { return };
    let made = Cell::new(0);
    let options = Options { lease_clock: LeaseClock::Caller, ..Options::default() };
    let open = || {
        let url = cluster.url(&format!("leases{}", made.get()));
        Box::new(PgWorld::open_with(&url, &options).expect("opens")) as Box<dyn World>
    };
    let make = || {
        made.set(made.get() + 1);
        open()
    };
    run(&Subject { make: &make, reopen: None, second: Some(&open), leases: true });
}

/// The same, where each transaction has another session.
#[test]
fn postgres_world_conforms_behind_a_pooler() {
    let Some(cluster) = cluster(&SETTINGS) else { return };
    let Some(pooler) = Pooler::start(&cluster, 4) else { return };
    let made = Cell::new(0);
    let options = Options { lease_clock: LeaseClock::Caller, ..Options::default() };
    let open = || {
        let url = pooler.url(&cluster, &format!("pooled{}", made.get()));
        Box::new(PgWorld::open_with(&url, &options).expect("opens")) as Box<dyn World>
    };
    let make = || {
        made.set(made.get() + 1);
        open()
    };
    let subject = Subject { make: &make, reopen: None, second: Some(&open), leases: true };
    // All are held to by the tests beside this one; here it is about the sessions.
    for case in cases().into_iter().step_by(3) {
        println!("{}", case.name);
        (case.run)(&subject);
    }
}

/// Claims that last as long as the process.
#[test]
fn postgres_world_conforms_over_processes() {
    let Some(cluster) = cluster(&SETTINGS) else { return };
    let made = Cell::new(0);
    let open = || {
        let url = cluster.url(&format!("processes{}", made.get()));
        Box::new(PgWorld::open(&url).expect("opens"))
    };
    let make = || {
        made.set(made.get() + 1);
        open() as Box<dyn World>
    };
    let reopen = |world: Box<dyn World>| {
        drop(world);
        let world = open();
        world.bury_all().expect("works");
        world as Box<dyn World>
    };
    run(&Subject { make: &make, reopen: Some(&reopen), second: Some(&|| open() as Box<dyn World>), leases: false });
}
