//! `POST /payments` and `POST /refunds`, with a token. A payment without an `Idempotency-Key`, or with a new one, takes
//! the money again. The last digits of the card say what happens: 0002 is declined, of 0119 the answer gets lost after
//! the money was taken, with 0341 nobody is there at all.
//!
//! It is careless with secrets: the token comes back in its answers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Answer, Ask, Services, TOKEN};

#[derive(Default)]
pub struct Payments {
    /// What was answered, by key.
    answers: BTreeMap<String, Value>,
    /// The charges of an order, in cents.
    charges: BTreeMap<String, Vec<i64>>,
    /// Orders that were called off.
    refunded: BTreeSet<String>,
}

pub fn charge(services: &mut Services, ask: &Ask<'_>) -> Answer {
    if let Some(refused) = refused(ask) {
        return refused;
    }
    let (Some(order), Some(card), Some(cents)) =
        (ask.body["order"].as_str(), ask.body["card"].as_str(), ask.body["cents"].as_i64())
    else {
        return Answer::error(422, "a payment has order, card and cents");
    };
    if let Some(known) = ask.key.and_then(|key| services.payments.answers.get(key)) {
        return Answer::ok(known.clone()).did("charge repeated", order);
    }
    if card.ends_with("0341") {
        return Answer::error(503, "the bank does not answer");
    }
    if services.payments.refunded.contains(order) {
        return Answer::error(409, format!("{order} was called off"));
    }
    if card.ends_with("0002") {
        let body = json!({ "error": "the card was declined", "reason": "declined", "you_sent": sent(ask) });
        return Answer::new(402, &body);
    }
    let charges = services.payments.charges.entry(order.into()).or_default();
    charges.push(cents);
    let body = json!({ "payment": format!("pay-{order}-{}", charges.len()), "cents": cents, "you_sent": sent(ask) });
    if let Some(key) = ask.key {
        services.payments.answers.insert(key.into(), body.clone());
    }
    let answer = Answer::ok(body).did("charged", order);
    if card.ends_with("0119") { answer.lost() } else { answer }
}

/// Gives back all that was charged for an order; from now on nothing can be.
pub fn refund(services: &mut Services, ask: &Ask<'_>) -> Answer {
    if let Some(refused) = refused(ask) {
        return refused;
    }
    let Some(order) = ask.body["order"].as_str() else { return Answer::error(422, "a refund has an order") };
    if services.strikes(format!("refund {order}"), 1) {
        return services.busy(503);
    }
    let payments = &mut services.payments;
    let cents: i64 = payments.charges.get(order).into_iter().flatten().sum();
    match (payments.refunded.insert(order.into()), cents) {
        (false, _) => Answer::ok(json!({ "cents": cents })).did("refund repeated", order),
        (true, 0) => Answer::ok(json!({ "cents": 0 })),
        (true, _) => Answer::ok(json!({ "cents": cents })).did("refunded", order),
    }
}

fn refused(ask: &Ask<'_>) -> Option<Answer> {
    let known = ask.token == Some(TOKEN);
    (!known).then(|| Answer::new(401, &json!({ "error": "this key opens nothing", "you_sent": sent(ask) })))
}

fn sent(ask: &Ask<'_>) -> Value {
    json!({ "authorization": format!("Bearer {}", ask.token.unwrap_or_default()) })
}
