//! What an operator asks of a database.

use std::collections::HashMap;

use durhai_core::RunId;
use durhai_world::{HostId, HostSeen, WorldError};
use serde::Serialize;

use crate::PgWorld;
use crate::text::number;

/// A database, its schema, and how much is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatabaseView {
    /// Without a password.
    pub address: String,
    pub schema: String,
    /// PostgreSQL's version.
    pub server: String,
    pub layout: i32,
    /// The oldest layout that a host must know to use it.
    pub least_host: i32,
    pub bytes: u64,
    pub hosts: u64,
    /// Runs that have not ended, and how many of them a host holds.
    pub live: u64,
    pub held: u64,
    /// Connections to the server at this moment, and how many it takes.
    pub connections: u64,
    pub max_connections: u64,
}

impl PgWorld {
    /// See [`World::hosts`](durhai_world::World::hosts).
    pub(crate) fn seen_hosts(&self, all: bool) -> Result<Vec<HostSeen>, WorldError> {
        let sql = "select h.id, h.name, h.label, (extract(epoch from h.since) * 1000)::int8, not h.dead, h.lease, \
                     (select count(*) from @.head x where x.host = h.id) \
                   from @.host h where h.lease is not null and ($1 or not h.dead) order by h.id";
        let rows = self.ask(|wire| wire.rows(sql, &[&all]))?;
        let seen = |row: &tokio_postgres::Row| HostSeen {
            host: host_id(row.get(0), row.get(1), row.get(2)),
            since: number(row.get(3)),
            alive: row.get(4),
            lease: number(row.get(5)),
            runs: number(row.get(6)),
        };
        Ok(rows.iter().map(seen).collect())
    }

    /// See [`World::living`](durhai_world::World::living).
    pub(crate) fn living_hosts(&self) -> Result<u64, WorldError> {
        let sql = "select count(*) from @.host where lease is not null and not dead";
        Ok(number(self.ask(|wire| wire.one(sql, &[]))?.get(0)))
    }

    /// See [`World::holders`](durhai_world::World::holders).
    pub(crate) fn holders_of(&self, runs: &[RunId]) -> Result<Vec<Option<HostId>>, WorldError> {
        let ids: Vec<&str> = runs.iter().map(RunId::as_str).collect();
        let sql = "select r.id, h.id, h.name, h.label from @.run r join @.head x on x.key = r.key join @.host h on h.id = x.host \
                   where r.id = any($1) and not h.dead";
        let rows = self.ask(|wire| wire.rows(sql, &[&ids]))?;
        let found: HashMap<&str, HostId> =
            rows.iter().map(|row| (row.get(0), host_id(row.get(1), row.get(2), row.get(3)))).collect();
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    pub fn database(&self) -> Result<DatabaseView, WorldError> {
        let sql = "select current_setting('server_version'), l.layout, l.least_host, \
                     (select coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8 from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                        where n.nspname = $1 and c.relkind = 'r'), \
                     (select count(*) from @.host where not dead and lease is not null), \
                     (select count(*) from @.head), (select count(*) from @.head where host is not null), \
                     (select count(*) from pg_stat_activity where backend_type = 'client backend'), current_setting('max_connections')::int8 \
                   from @.layout l";
        let schema = self.server.schema().to_owned();
        let row = self.ask(|wire| wire.one(sql, &[&schema]))?;
        Ok(DatabaseView {
            address: self.server.shown().to_owned(),
            server: row.get(0),
            layout: row.get(1),
            least_host: row.get(2),
            bytes: number(row.get(3)),
            hosts: number(row.get(4)),
            live: number(row.get(5)),
            held: number(row.get(6)),
            connections: number(row.get(7)),
            max_connections: number(row.get(8)),
            schema,
        })
    }
}

/// The name of a host begins with that of its holder, which the process that has it made unique.
fn host_id(id: i32, name: &str, label: String) -> HostId {
    let holder = name.rsplit_once('-').map_or(name, |(holder, _)| holder);
    HostId { number: u64::try_from(id).unwrap_or_default(), name: holder.into(), label }
}
