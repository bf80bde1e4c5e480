//! `PUT /warehouse/products` with `{ "rows": [{ "sku": … }] }` stores rows by their `sku`; an `Idempotency-Key` that it
//! has seen changes nothing again. Of every fifth load the answer gets lost, before every seventh it is busy.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Answer, Ask, Services};

#[derive(Default)]
pub struct Warehouse {
    /// By `sku`: the row, and how often it was stored.
    rows: BTreeMap<String, (Value, u32)>,
    keys: BTreeSet<String>,
}

pub fn load(services: &mut Services, ask: &Ask<'_>) -> Answer {
    let Some(rows) = ask.body["rows"].as_array().filter(|rows| rows.len() <= 100) else {
        return Answer::error(422, "rows must be an array of at most 100");
    };
    if let Some(key) = ask.key
        && services.warehouse.keys.contains(key)
    {
        return Answer::ok(json!({ "rows": rows.len(), "repeated": true })).did("load repeated", key);
    }
    let loads = services.warehouse.keys.len();
    if loads % 7 == 6 && services.strikes(format!("load {loads}"), 1) {
        return services.busy(429);
    }
    for row in rows {
        let Some(sku) = row["sku"].as_str() else { return Answer::error(422, "a row has no sku") };
        let times = services.warehouse.rows.get(sku).map_or(0, |(_, times)| *times);
        services.warehouse.rows.insert(sku.into(), (row.clone(), times + 1));
    }
    let key = ask.key.map_or_else(|| format!("load {}", services.journal.len()), str::to_owned);
    services.warehouse.keys.insert(key.clone());
    let answer = Answer::ok(json!({ "rows": rows.len(), "repeated": false })).did("loaded", key);
    if loads % 5 == 3 { answer.lost() } else { answer }
}

impl Warehouse {
    pub fn all(&self) -> Answer {
        let rows = self.rows.iter().map(|(sku, (row, times))| (sku.clone(), json!({ "row": row, "times": times })));
        Answer::ok(json!({ "count": self.rows.len(), "rows": Value::Object(rows.collect()) }))
    }
}
