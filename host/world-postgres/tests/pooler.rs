//! PgBouncer before the server, in transaction mode: each transaction of a connection may have another session.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::*;
use durhai::Host;
use durhai_world::{World, Write, Written};
use durhai_world_postgres::PgWorld;
use durhai_world_postgres::cluster::Cluster;

const PATIENCE: Duration = Duration::from_secs(120);

const PROGRAM: &str = "/usr/sbin/pgbouncer";

pub struct Pooler {
    port: u16,
    process: Child,
}

impl Pooler {
    /// With so many sessions for all connections. `None`, said once, where PgBouncer is not installed.
    pub fn start(cluster: &Cluster, sessions: usize) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            eprintln!("skipped: there is no PgBouncer here (apt-get install pgbouncer)");
            return None;
        }
        let port = TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("an address").port();
        let file = cluster.dir().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\npostgres = host=127.0.0.1 port={} dbname=postgres user=durhai\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = {sessions}\nmax_client_conn = 500\nserver_round_robin = 1\n",
            cluster.port()
        );
        fs::write(&file, settings).expect("written");
        let log = fs::File::create(cluster.dir().join("pgbouncer.log")).expect("a log");
        let process = cluster.command(PROGRAM).arg(&file).stdin(Stdio::null()).stderr(log).spawn().expect("it starts");
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || fs::read_to_string(cluster.dir().join("pgbouncer.log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "PgBouncer does not listen:\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Pooler { port, process })
    }

    /// The address of a schema, by this way.
    pub fn url(&self, cluster: &Cluster, schema: &str) -> String {
        cluster.url(schema).replace(&format!(":{}/", cluster.port()), &format!(":{}/", self.port))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_work_behind_a_pooler() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let Some(pooler) = Pooler::start(&cluster, 3) else { return };
    let text = r#"
        let word = wait_for("go", #{ timeout: "1 hour" });
        let all = [];
        for i in 0..5 { all.push(|| use_step("add", i)); }
        sleep("20ms");
        parallel(all).reduce(|sum, x| sum + x, 0) + word
    "#;
    let mut hosts = Vec::new();
    for number in 0..2 {
        let url = pooler.url(&cluster, "hosts");
        let world = Arc::new(tokio::task::block_in_place(|| PgWorld::open(&url)).expect("opens"));
        let builder = Host::builder().shared_world(world).workflow("w", text).lease(Duration::from_millis(900));
        let builder = builder.step("add", |_, number: i64| async move { Ok::<_, durhai::StepError>(number + 1) });
        hosts.push(builder.start().await.unwrap_or_else(|error| panic!("host {number}: {error}")));
    }
    let mut runs = Vec::new();
    for number in 0..40 {
        runs.push(hosts[number % 2].run("w").id(format!("r{number}")).start().await.expect("it starts"));
    }
    for (number, run) in runs.iter().enumerate() {
        // By the host that has not started it.
        let there = hosts[(number + 1) % 2].get(run.id().as_str()).await.expect("it is there");
        there.signal("go", &100).await.expect("sent");
    }
    for run in runs {
        let output: i64 = tokio::time::timeout(PATIENCE, run.output()).await.expect("it ends").expect("and well");
        assert_eq!(output, 115);
    }
    for host in hosts {
        host.shutdown().await;
    }
    let url = cluster.url("hosts");
    let looked = tokio::task::spawn_blocking(move || {
        let world = PgWorld::open(&url).expect("opens");
        let mut damage = Vec::new();
        world.verify(&mut |line| damage.push(line)).expect("works");
        assert_eq!(damage, [""; 0]);
        world.list(&durhai_world::Query { limit: 100, ..Default::default() }).expect("works").rows.len()
    });
    assert_eq!(looked.await.expect("no panic"), 40);
}

/// There nothing can be set for a session: what takes too long for the role is done in smaller parts.
#[test]
fn a_batch_that_takes_too_long_behind_a_pooler_is_sent_in_parts() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let Some(pooler) = Pooler::start(&cluster, 3) else { return };
    drop(PgWorld::open(&cluster.url("slow")).expect("opens"));
    sql(&cluster, "alter role durhai set statement_timeout = '1s'");
    let world = PgWorld::open(&pooler.url(&cluster, "slow")).expect("opens");
    let claims: Vec<_> = (0..8).map(|number| held(&world, &format!("a{number}"), &holder("me"))).collect();
    sql(
        &cluster,
        "create function slow.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.2); return new; end $$;
         create trigger slow before insert on slow.chunk for each row execute function slow.slow();",
    );
    let batch: Vec<Write> = claims.iter().map(|claim| turn(claim, 2)).collect();
    for answer in world.write(batch).expect("it comes through") {
        assert!(matches!(answer, Ok(Written::Committed(_))));
    }
    claims.iter().for_each(|claim| assert_log(&world, &claim.run, 2));
    assert_eq!(sql(&cluster, "select count(*) from slow.host where not dead"), "1", "it is the same host");
}
