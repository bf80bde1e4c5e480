//! What the server gives without durhai, on one connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use durhai_world::WorldError;

use crate::failure::Failure;
use crate::server::Server;
use crate::text::number;
use crate::wire::Wire;

/// Bytes of the row that is inserted.
const ROW: usize = 300;

/// Measured on one connection, each as often as was asked.
pub struct Floor {
    wire: Wire,
}

impl Floor {
    /// Makes a table of its own in the schema of the URL, which [`end`](Floor::end) removes.
    pub fn begin(url: &str) -> Result<Self, WorldError> {
        let server = Arc::new(Server::of(url)?);
        let connect = || Wire::connect(&server, Duration::from_secs(30)).map_err(Failure::into_world);
        // From the second connection on statements are prepared, as those of hosts are.
        let (_first, mut wire) = (connect()?, connect()?);
        wire.batch("create table if not exists @.bench_floor (id bigserial primary key, bytes bytea not null)")
            .map_err(Failure::into_world)?;
        Ok(Floor { wire })
    }

    /// A question without a table.
    pub fn round_trips(&mut self, count: usize) -> Result<Vec<Duration>, WorldError> {
        self.times(count, |wire| wire.one("select 1", &[]).map(drop))
    }

    /// One row, committed.
    pub fn inserts(&mut self, count: usize) -> Result<Vec<Duration>, WorldError> {
        let row = vec![7_u8; ROW];
        self.times(count, |wire| wire.rows("insert into @.bench_floor (bytes) values ($1)", &[&row]).map(drop))
    }

    /// How many the database has seen so far, as far as its sessions have told: each does so now and then.
    pub fn transactions(&mut self) -> Result<u64, WorldError> {
        let sql = "select xact_commit from pg_stat_database where datname = current_database()";
        let row = self.wire.one(sql, &[]).map_err(Failure::into_world)?;
        Ok(number(row.get(0)))
    }

    pub fn end(mut self) -> Result<(), WorldError> {
        self.wire.batch("drop table @.bench_floor").map_err(Failure::into_world)
    }

    fn times(
        &mut self,
        count: usize,
        mut each: impl FnMut(&mut Wire) -> Result<(), Failure>,
    ) -> Result<Vec<Duration>, WorldError> {
        let mut times = Vec::new();
        for _ in 0..count {
            let began = Instant::now();
            each(&mut self.wire).map_err(Failure::into_world)?;
            times.push(began.elapsed());
        }
        Ok(times)
    }
}
