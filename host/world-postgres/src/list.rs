//! Lists of runs.

use std::fmt::Write;

use durhai_world::{Page, Query, WorldError};
use tokio_postgres::Row;

use crate::param::Param;
use crate::read::row_of;
use crate::rows::{status_column, term};
use crate::text::{column, escaped, number};
use crate::wire::Params;

/// Rows that are looked at for one page, as a multiple of what it holds, where a tag has to be looked at again.
const ROUNDS: usize = 1_000;

/// Rows by index, newest first. A statement is made of what is asked for, so that the server sees which index serves.
pub fn page(query: &Query, ask: impl Fn(&str, Params<'_>) -> Result<Vec<Row>, WorldError>) -> Result<Page, WorldError> {
    let mut before = match &query.cursor {
        None => i64::MAX,
        Some(cursor) => cursor.parse::<u64>().map(column).map_err(|_| {
            WorldError::Invalid(format!("{cursor:?} is no cursor of this world: take the one a page came with"))
        })?,
    };
    let size = query.page_size();
    let mut page = Page::default();
    for _ in 0..ROUNDS {
        let rows = some(query, before, size.saturating_add(1), &ask)?;
        let full = rows.len() == size.saturating_add(1);
        for row in rows {
            let key: i64 = row.get(0);
            let found = row_of(row.get(1))?;
            // Two tags may have the same short digest.
            if !query.matches(&found) {
                before = key;
                continue;
            }
            if page.rows.len() == size {
                page.next = Some(number(before).to_string());
                return Ok(page);
            }
            page.rows.push(found);
            before = key;
        }
        if !full {
            return Ok(page);
        }
    }
    page.next = Some(number(before).to_string());
    Ok(page)
}

fn some(
    query: &Query,
    before: i64,
    limit: usize,
    ask: impl Fn(&str, Params<'_>) -> Result<Vec<Row>, WorldError>,
) -> Result<Vec<Row>, WorldError> {
    let mut made =
        Made { sql: String::from("select r.key, @.row_1(r.key)::text from @.run r where true"), params: Vec::new() };
    made.and("r.key <", Box::new(before));
    if !query.status.is_empty() {
        let status: Vec<i16> = query.status.iter().map(|status| status_column(*status)).collect();
        made.and_any("r.status", Box::new(status));
    }
    for (column, name) in
        [("workflow", query.workflow.as_deref()), ("version", query.version.as_ref().map(|of| of.as_str()))]
    {
        if let Some(name) = name {
            made.params.push(Box::new(escaped(name)));
            let _ = write!(made.sql, " and r.{column} = (select id from @.name where text = ${})", made.params.len());
        }
    }
    if let Some(parent) = &query.parent {
        made.and("r.parent =", Box::new(parent.as_str().to_owned()));
    }
    for (compared, moment) in
        [("created_at >=", query.since), ("created_at <", query.until), ("ended_at <", query.ended_before)]
    {
        if let Some(moment) = moment {
            made.and(&format!("r.{compared}"), Box::new(column(moment)));
        }
    }
    for (key, value) in &query.tags {
        made.params.push(Box::new(term(key, value)));
        let _ = write!(
            made.sql,
            " and exists (select 1 from @.tag t where t.term = ${} and t.key = r.key)",
            made.params.len()
        );
    }
    made.params.push(Box::new(column(limit as u64)));
    let _ = write!(made.sql, " order by r.key desc limit ${}", made.params.len());
    let params: Vec<&dyn Param> = made.params.iter().map(|param| &**param).collect();
    ask(&made.sql, &params)
}

struct Made {
    sql: String,
    params: Vec<Box<dyn Param>>,
}

impl Made {
    fn and(&mut self, compared: &str, param: Box<dyn Param>) {
        self.params.push(param);
        let _ = write!(self.sql, " and {compared} ${}", self.params.len());
    }

    fn and_any(&mut self, column: &str, param: Box<dyn Param>) {
        self.params.push(param);
        let _ = write!(self.sql, " and {column} = any(${})", self.params.len());
    }
}
