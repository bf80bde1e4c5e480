//! Timeouts that an operator gave the role of the hosts, for its other programs.

use std::time::Duration;

use crate::common::*;
use durhai_world::{World, Write, Written};
use durhai_world_postgres::PgWorld;

const TIMEOUTS: &str = "
    alter role durhai set statement_timeout = '300ms'; alter role durhai set lock_timeout = '20ms';
    alter role durhai set idle_in_transaction_session_timeout = '200ms'; alter role durhai set idle_session_timeout = '300ms';
";

/// Each row of a log takes a while.
const SLOW: &str = "
    create function slow.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.1); return new; end $$;
    create trigger slow before insert on slow.chunk for each row execute function slow.slow();
";

fn turns(world: &dyn World, name: &str, seqs: std::ops::RangeInclusive<u64>, claims: &mut Vec<durhai_world::Claim>) {
    if claims.is_empty() {
        *claims = (0..8).map(|number| held(world, &format!("{name}{number}"), &holder("me"))).collect();
    }
    for seq in seqs {
        let batch: Vec<Write> = claims.iter().map(|claim| turn(claim, seq)).collect();
        for answer in world.write(batch).expect("it waits for what takes long") {
            assert!(matches!(answer, Ok(Written::Committed(_))));
        }
        claims.iter().for_each(|claim| assert_log(world, &claim.run, seq));
    }
}

#[test]
fn timeouts_of_the_role_end_nothing() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let world = PgWorld::open(&cluster.url("slow")).expect("opens");
    sql(&cluster, TIMEOUTS);
    sql(&cluster, SLOW);
    drop(world);
    let world = PgWorld::open(&cluster.url("slow")).expect("opens");
    let mut claims = Vec::new();
    turns(&world, "a", 2..=4, &mut claims);
    // Another one has a row that is needed, for longer than anybody may wait.
    std::thread::scope(|scope| {
        scope.spawn(|| sql(&cluster, "set lock_timeout = 0; set statement_timeout = 0; begin; update slow.lane set dead = dead; select pg_sleep(1); commit"));
        std::thread::sleep(Duration::from_millis(200));
        turns(&world, "a", 5..=5, &mut claims);
    });
    // All connections are idle for long, and a copy is taken by somebody slow.
    std::thread::sleep(Duration::from_millis(600));
    let mut records = 0;
    let copied = world.copy(&mut |_| {
        records += 1;
        if records % 16 == 0 {
            std::thread::sleep(Duration::from_millis(300));
        }
        Ok(())
    });
    copied.expect("a copy waits for who takes it");
    assert!(records > 8 * 6, "{records}");
    let backends = sql(&cluster, "select count(*) from pg_stat_activity where application_name = 'durhai'");
    turns(&world, "a", 6..=6, &mut claims);
    assert_ne!(backends, "0", "connections that are idle stay");
}
