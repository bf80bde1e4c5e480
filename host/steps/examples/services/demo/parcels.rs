//! `POST /parcels` is engaged at the first call for an order. `GET /parcels/NUMBER`: each look finds the parcel further on
//! its way; one to `Nowhere` comes back. If an order names a `callback`, it is told of the end of the way at once, except
//! for orders that end in `-quiet`. `POST /recalls` stops a parcel, `POST /mails` sends a letter.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Answer, Ask, Services};

const WAY: [&str; 4] = ["accepted", "packed", "on the road", "delivered"];

#[derive(Default)]
pub struct Parcels {
    /// By order.
    parcels: BTreeMap<String, Parcel>,
    recalled: BTreeSet<String>,
    mails: BTreeSet<String>,
}

struct Parcel {
    looks: usize,
    to_nowhere: bool,
}

pub fn send(services: &mut Services, ask: &Ask<'_>) -> Answer {
    let (Some(order), Some(address)) = (ask.body["order"].as_str(), ask.body["address"].as_str()) else {
        return Answer::error(422, "a parcel has order and address");
    };
    if services.strikes(format!("parcel {order}"), 1) {
        return services.busy(503);
    }
    let parcels = &mut services.parcels;
    if parcels.recalled.contains(order) {
        return Answer::error(409, format!("{order} was called off"));
    }
    let body = json!({ "number": format!("parcel-{order}") });
    if parcels.parcels.contains_key(order) {
        return Answer::ok(body).did("send repeated", order);
    }
    let to_nowhere = address.contains("Nowhere");
    parcels.parcels.insert(order.into(), Parcel { looks: 0, to_nowhere });
    let mut answer = Answer::ok(body).did("sent", order);
    if let Some(url) = ask.body["callback"].as_str().filter(|url| url.starts_with("http://127.0.0.1:"))
        && !order.ends_with("-quiet")
    {
        let state = if to_nowhere { "returned" } else { "delivered" };
        answer.call = Some((url.into(), json!({ "number": format!("parcel-{order}"), "state": state })));
    }
    answer
}

impl Parcels {
    pub fn look(&mut self, number: &str) -> Answer {
        let parcel = number.strip_prefix("parcel-").and_then(|order| self.parcels.get_mut(order));
        let Some(parcel) = parcel else { return Answer::error(404, format!("there is no {number}")) };
        let state = match WAY[parcel.looks.min(WAY.len() - 1)] {
            "delivered" if parcel.to_nowhere => "returned",
            state => state,
        };
        parcel.looks += 1;
        Answer::ok(json!({ "number": number, "state": state }))
    }

    /// A parcel that is not there yet cannot be sent any more.
    pub fn recall(&mut self, ask: &Ask<'_>) -> Answer {
        let Some(order) = ask.body["order"].as_str() else { return Answer::error(422, "a recall has an order") };
        match (self.recalled.insert(order.into()), self.parcels.contains_key(order)) {
            (true, true) => Answer::ok(json!({ "stopped": true })).did("recalled", order),
            (true, false) => Answer::ok(json!({ "stopped": false })),
            (false, _) => Answer::ok(json!({ "stopped": false })).did("recall repeated", order),
        }
    }

    pub fn mail(&mut self, ask: &Ask<'_>) -> Answer {
        let Some(to) = ask.body["to"].as_str().filter(|to| to.contains('@')) else {
            return Answer::error(422, format!("{} is no address", Value::clone(&ask.body["to"])));
        };
        let key = ask.key.unwrap_or_default();
        match key.is_empty() || self.mails.insert(key.into()) {
            true => Answer::ok(json!({ "sent": true })).did("mailed", to),
            false => Answer::ok(json!({ "sent": false })).did("mail repeated", to),
        }
    }
}
