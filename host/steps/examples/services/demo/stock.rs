//! `PUT` and `DELETE /stock/reservations/ORDER`. Of a `piano` there is none.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Answer;

#[derive(Default)]
pub struct Stock {
    /// By order: its items, none once they were released.
    reservations: BTreeMap<String, Option<Value>>,
}

impl Stock {
    pub fn reserve(&mut self, order: &str, body: &Value) -> Answer {
        let items = &body["items"];
        if items.as_array().is_none_or(Vec::is_empty) {
            return Answer::error(422, "an order has items");
        }
        if items.as_array().is_some_and(|items| items.iter().any(|item| item["sku"] == "piano")) {
            return Answer::error(409, "there is no piano left");
        }
        match self.reservations.get(order) {
            // It was asked for before and comes late.
            Some(None) => Answer::error(409, format!("{order} was called off")),
            Some(Some(_)) => Answer::ok(json!({ "order": order })).did("reserve repeated", order),
            None => {
                self.reservations.insert(order.into(), Some(items.clone()));
                Answer::ok(json!({ "order": order })).did("reserved", order)
            }
        }
    }

    /// From now on nothing can be reserved for this order, so that a request that is still on its way cannot either.
    pub fn release(&mut self, order: &str) -> Answer {
        match self.reservations.insert(order.into(), None) {
            Some(Some(_)) => Answer::ok(json!({ "released": true })).did("released", order),
            Some(None) => Answer::ok(json!({ "released": false })).did("release repeated", order),
            None => Answer::error(404, format!("nothing is reserved for {order}")),
        }
    }
}
