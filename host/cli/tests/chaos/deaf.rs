//! The checker checked: hosts that are deaf, because the database does not refuse what they write when they are dead, are found out.

use std::process::Command;
use std::time::{Duration, Instant};

use durhai_world_postgres::cluster::Cluster;

use crate::hosts::{Host, durhai};
use crate::{LEASE, checker, scripts};

/// Steps of each child: it goes on for longer than a host is stopped.
const STEPS: usize = 60;

/// Stops of a host before the checker must have found something.
const STOPS: usize = 8;

/// Nobody hears of his death and all live again after it, no batch of the dead is refused, and no event is one too many.
const DEAF: &str = "
    create function deaf.live() returns trigger language plpgsql as $$ begin new.dead := false; return new; end $$;
    create trigger live before update on deaf.lane for each row execute function deaf.live();
    create or replace function deaf.renew_1(p_host int) returns jsonb language plpgsql as $$
    begin
      update deaf.host set beat = beat + 1, dead = false where id = p_host;
      return jsonb_build_object('alive', true, 'now', deaf.now_1(),
        'unfreed', exists (select 1 from deaf.host x where x.dead and exists (select 1 from deaf.head h where h.host = x.id)),
        'hosts', (select coalesce(jsonb_agg(jsonb_build_array(id, beat, lease)), '[]') from deaf.host where not dead and lease is not null));
    end $$;
    create or replace function deaf.held_1(p_id text, p_fence bigint, p_host int, out v_key bigint, out v_refusal jsonb) language plpgsql as $$
    begin
      select r.key into v_key from deaf.run r join deaf.head h using (key) where r.id = p_id for update of h;
      if not found then v_refusal := jsonb_build_object('fenced', p_id); end if;
    end $$;
    alter table deaf.chunk drop constraint chunk_pkey;
    create index on deaf.chunk (key, first);
";

#[test]
fn hosts_that_do_not_hear_of_their_death_are_found_out() {
    let Some(cluster) = Cluster::start(&["max_connections=200"]).expect("a server") else {
        eprintln!("skipped: there is no PostgreSQL here (apt-get install postgresql)");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("journal");
    scripts::write(folder.path(), &journal, STEPS);
    let url = cluster.url("deaf");
    // The first one lays the database out.
    durhai(folder.path(), &url, &["list"]);
    sql(&cluster, DEAF);
    let hosts = [0, 1].map(|number| Host::start(folder.path(), number, &url, cluster.port(), LEASE));
    for stop in 0..STOPS {
        durhai(folder.path(), &url, &["start", "parent", "--id", &format!("p{stop}"), "--input", "12"]);
        let (began, before) = (Instant::now(), checker::read(&journal).len());
        // The runs of the one that is stopped are under way.
        while checker::read(&journal).len() < before + 60 && began.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let marks = checker::read(&journal);
        let works = hosts.iter().position(|host| marks.last().is_some_and(|mark| mark.host == host.name()));
        hosts[works.unwrap_or(0)].stop_for(LEASE.mul_f64(2.5));
        std::thread::sleep(LEASE);
        let mut wrong = Vec::new();
        checker::fences(&checker::read(&journal), &mut wrong);
        if let Some(first) = wrong.first() {
            eprintln!("found after {} stops: {first}, and {} more", stop + 1, wrong.len() - 1);
            return;
        }
    }
    panic!("no host was found out in {STOPS} stops\n{}\n{}", hosts[0].said(), hosts[1].said());
}

fn sql(cluster: &Cluster, sql: &str) {
    let port = cluster.port().to_string();
    let args =
        ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port, "-U", "durhai", "postgres", "-c", sql];
    let done = Command::new(cluster.bin().join("psql")).args(args).output().expect("psql runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
