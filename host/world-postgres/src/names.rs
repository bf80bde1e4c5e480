//! Names of workflows and versions, which rows have as numbers.

use std::collections::HashMap;

use durhai_world::WorldError;
use parking_lot::Mutex;

use crate::failure::Failure;
use crate::text::escaped;
use crate::wire::Wire;

/// A name keeps its number for ever, so it needs to be asked for once.
#[derive(Default)]
pub struct Names(Mutex<HashMap<String, i32>>);

impl Names {
    /// The number of a name that was [made known](Names::know).
    pub fn of(&self, name: &str) -> Result<i32, WorldError> {
        let known = self.0.lock().get(name).copied();
        known.ok_or_else(|| WorldError::Invalid(format!("the name {name:?} was not made known")))
    }

    /// Those of these that have no number in memory.
    pub fn unknown<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<String> {
        let known = self.0.lock();
        let mut unknown: Vec<_> = names.filter(|name| !known.contains_key(*name)).map(ToOwned::to_owned).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// Gives numbers to names that have none.
    pub fn know(&self, wire: &mut Wire, names: &[String]) -> Result<(), Failure> {
        let columns: Vec<String> = names.iter().map(|name| escaped(name)).collect();
        wire.rows("insert into @.name (text) select unnest($1::text[]) on conflict do nothing", &[&columns])?;
        let rows = wire.rows("select id, text from @.name where text = any($1::text[])", &[&columns])?;
        let mut known = self.0.lock();
        for row in rows {
            let text: String = row.get(1);
            if let Some(at) = columns.iter().position(|column| *column == text) {
                known.insert(names[at].clone(), row.get(0));
            }
        }
        Ok(())
    }

    /// The server may be another one now, or an older state of it.
    pub fn forget(&self) {
        self.0.lock().clear();
    }
}
