//! What an operator asks of a database.

use durhai_world::WorldError;
use serde::Serialize;

use crate::PgWorld;
use crate::text::number;

/// A host as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostView {
    pub id: i32,
    /// What it says of itself.
    pub label: String,
    /// Since when, in milliseconds since 1970, by the database's clock.
    pub since: u64,
    /// `false`: it ended, or was not heard of for its lease.
    pub alive: bool,
    /// Milliseconds.
    pub lease: u64,
    /// Runs that it holds.
    pub runs: u64,
}

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
    /// The hosts that live, and with `all` those that do not.
    pub fn hosts(&self, all: bool) -> Result<Vec<HostView>, WorldError> {
        let sql = "select h.id, h.label, (extract(epoch from h.since) * 1000)::int8, not h.dead, h.lease, \
                     (select count(*) from @.head x where x.host = h.id) \
                   from @.host h where h.lease is not null and ($1 or not h.dead) order by h.id";
        let rows = self.ask(|wire| wire.rows(sql, &[&all]))?;
        let view = |row: &tokio_postgres::Row| HostView {
            id: row.get(0),
            label: row.get(1),
            since: number(row.get(2)),
            alive: row.get(3),
            lease: number(row.get(4)),
            runs: number(row.get(5)),
        };
        Ok(rows.iter().map(view).collect())
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
