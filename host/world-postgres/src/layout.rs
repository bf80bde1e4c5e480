//! The tables and functions in the database, and which versions of durhai they are for.

use std::sync::Arc;
use std::time::Duration;

use durhai_world::WorldError;

use crate::failure::{Failure, NOT_TRUSTED};
use crate::server::Server;
use crate::wire::Wire;

/// The layout of this version.
pub const LAYOUT: i32 = 1;

const TABLES: &str = include_str!("../sql/0001_tables.sql");
const FUNCTIONS: &str = include_str!("../sql/0001_functions.sql");

/// The oldest server whose features are used.
const SERVER: i32 = 14;

/// What is in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub layout: i32,
    /// The oldest layout that a host must know to use it.
    pub least_host: i32,
}

/// What lays out an empty database, as SQL for an operator.
pub fn statements(url: &str) -> Result<String, WorldError> {
    Ok(all(&Server::of(url)?))
}

fn all(server: &Server) -> String {
    let schema = server.named("@.").trim_end_matches('.').to_owned();
    format!("create schema if not exists {schema};\n{}\n{}", server.named(TABLES), server.named(FUNCTIONS))
}

/// Lays out what is empty, and refuses what is not for this version.
pub fn open(server: &Arc<Server>) -> Result<(), WorldError> {
    let mut wire = Wire::connect(server, Duration::from_secs(30)).map_err(|failure| unreachable(server, failure))?;
    let found = look(&mut wire, server)?;
    let found = match found {
        Some(found) => found,
        None => lay_out(&mut wire, server)?,
    };
    if found.least_host > LAYOUT {
        return Err(WorldError::Invalid(format!(
            "{} has layout {} in schema {:?}, for versions of durhai that know layout {}; this one knows {LAYOUT}: use a newer version",
            server.shown(),
            found.layout,
            server.schema(),
            found.least_host
        )));
    }
    if found.layout < LAYOUT {
        return Err(WorldError::Invalid(format!(
            "{} has layout {} in schema {:?}, this version needs {LAYOUT}: run `durhai store migrate` once, with no host of an older \
             version than the one before this",
            server.shown(),
            found.layout,
            server.schema()
        )));
    }
    Ok(())
}

/// What is there; `None` where nothing is.
fn look(wire: &mut Wire, server: &Server) -> Result<Option<Layout>, WorldError> {
    let version: i32 = wire
        .one("select current_setting('server_version_num')::int / 10000", &[])
        .map_err(|failure| unreachable(server, failure))?
        .get(0);
    if version < SERVER {
        return Err(WorldError::Invalid(format!(
            "{} is PostgreSQL {version}, expected {SERVER} or later",
            server.shown()
        )));
    }
    let tables = wire
        .rows(
            "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relkind in ('r', 'p')",
            &[&server.schema()],
        )
        .map_err(|failure| unreachable(server, failure))?;
    let tables: Vec<String> = tables.iter().map(|row| row.get(0)).collect();
    if tables.is_empty() {
        return Ok(None);
    }
    if !tables.iter().any(|table| table == "layout") || !tables.iter().any(|table| table == "head") {
        return Err(WorldError::Invalid(format!(
            "the schema {:?} of {} has tables of another program ({}): choose another with ?schema=NAME",
            server.schema(),
            server.shown(),
            tables[..tables.len().min(3)].join(", ")
        )));
    }
    let row =
        wire.one("select layout, least_host from @.layout", &[]).map_err(|failure| unreachable(server, failure))?;
    Ok(Some(Layout { layout: row.get(0), least_host: row.get(1) }))
}

/// In one transaction. Two hosts that start at once do it one after the other, and the second finds it done.
fn lay_out(wire: &mut Wire, server: &Server) -> Result<Layout, WorldError> {
    let lock = "begin; select pg_advisory_xact_lock(hashtextextended('@.layout', 0))";
    wire.batch(lock).map_err(|failure| unreachable(server, failure))?;
    if let Some(found) = look(wire, server)? {
        wire.batch("commit").map_err(|failure| unreachable(server, failure))?;
        return Ok(found);
    }
    match wire.batch(&format!("{}; commit", all(server))) {
        Ok(()) => Ok(Layout { layout: LAYOUT, least_host: LAYOUT }),
        Err(Failure::Wrong(why)) => Err(WorldError::Invalid(format!(
            "the schema {:?} of {} cannot be made: {why}. Let its owner run what `durhai store migrate --print` prints, or give this \
             user the right to (grant create on database …)",
            server.schema(),
            server.shown()
        ))),
        Err(failure) => Err(unreachable(server, failure)),
    }
}

fn unreachable(server: &Server, failure: Failure) -> WorldError {
    let place = server.shown();
    let why = failure.why();
    let why = if why.starts_with(place) { why.to_owned() } else { format!("{place}: {why}") };
    match failure {
        Failure::Lost(_) | Failure::Conflict(_) | Failure::Ended(_) => {
            WorldError::Unavailable(format!("{why}: is the server up, and is this its address?"))
        }
        // That says what to do.
        Failure::Wrong(_) if why.contains(NOT_TRUSTED) => WorldError::Invalid(why),
        Failure::Data(_) | Failure::Wrong(_) => {
            WorldError::Invalid(format!("{why}: look at the user, the password, the database and its rights"))
        }
    }
}
