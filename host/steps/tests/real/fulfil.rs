//! `fulfil.rhai`: what was done is undone, once, and the key of the shop is nowhere.

use durhai::{Status, Value};
use durhai_testkit::Fault;
use serde_json::json;

use crate::place::{Act, Place, contains};
use crate::services::TOKEN;

fn order(place: &Place, card: &str, sku: &str, address: &str) -> Value {
    json!({
        "service": place.url,
        "order": "A-1",
        "items": [{ "sku": sku, "count": 2, "cents": 1_250 }, { "sku": "rug", "count": 1, "cents": 4_000 }],
        "card": card,
        "address": address,
        "mail": "ann@example.org",
        "look_every": "5ms",
    })
}

fn good(place: &Place) -> Value {
    order(place, "card-4242", "mug", "Main Street 1")
}

/// No part of the key is in the store, in whatever form; where it was sent back, its name is.
async fn look_for_the_key(place: &Place) {
    let stored = place.stored().await;
    for form in [TOKEN, "ZGVtby1rZXktNDcxM", "64656d6f2d6b65792d34373131"] {
        assert!(!contains(&stored, form), "{form} is in the store");
    }
    assert!(contains(&stored, "Bearer [secret shop]"), "the echo of the key is not in the store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_has_its_end() {
    let delivered = json!({ "status": "delivered", "order": "A-1", "cents": 6_500, "parcel": "parcel-A-1" });
    let declined = json!({ "status": "declined", "order": "A-1", "cents": 6_500 });
    let table = [
        ("card-4242", "mug", "Main Street 1", Ok(delivered.clone()), &["reserved", "charged", "sent", "mailed"][..]),
        // The answer is lost: asked again with the same key, the money is not taken again.
        (
            "card-0119",
            "mug",
            "Main Street 1",
            Ok(delivered),
            &["reserved", "charged", "charge repeated", "sent", "mailed"],
        ),
        ("card-0002", "mug", "Main Street 1", Ok(declined), &["reserved", "released", "mailed"]),
        ("card-0341", "mug", "Main Street 1", Err("the bank does not answer"), &["reserved", "released", "mailed"]),
        ("card-4242", "piano", "Main Street 1", Err("no piano left"), &["mailed"]),
        (
            "card-4242",
            "mug",
            "Nowhere 7",
            Err("could not be delivered"),
            &["reserved", "charged", "sent", "recalled", "refunded", "released", "mailed"],
        ),
    ];
    for (card, sku, address, wanted, effects) in table {
        let what = format!("{card} {sku} {address}");
        let place = Place::new().await;
        let ended = place.run("fulfil", "f", &order(&place, card, sku, address), Act::Nothing).await;
        match wanted {
            Ok(output) => assert_eq!(ended.view.output, output, "{what}: {:?}", ended.view.error),
            Err(part) => {
                assert_eq!(ended.view.status, Status::Failed, "{what}");
                let error = ended.view.error.unwrap();
                assert!(error.to_string().contains(part), "{what}: {error}");
            }
        }
        let done: Vec<_> = place.effects().await.into_iter().map(|(effect, _)| effect).collect();
        assert_eq!(done, effects, "{what}");
        if !effects.is_empty() && sku != "piano" && card != "card-0341" {
            look_for_the_key(&place).await;
        }
    }
}

/// Without keys the money would be taken twice: it is the key that makes the difference.
#[tokio::test]
async fn the_payment_service_takes_the_money_for_every_new_key() {
    let place = Place::new().await;
    for (key, charged) in [(None, 1), (None, 2), (Some("a"), 3), (Some("a"), 3), (Some("b"), 4)] {
        let payment = json!({ "order": "A-1", "card": "card-4242", "cents": 100 });
        let mut request =
            reqwest::Client::new().post(format!("{}/payments", place.url)).bearer_auth(TOKEN).json(&payment);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        assert!(request.send().await.unwrap().status().is_success());
        assert_eq!(place.counts().await["charged"], charged, "{key:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_anywhere_it_is_undone() {
    for status in ["reserving", "charging", "shipping", "on its way"] {
        let place = Place::new().await;
        let mut input = good(&place);
        // Nobody gets round to a second look.
        input["look_every"] = "1h".into();
        let ended = place.run("fulfil", "f", &input, Act::CancelAt(status)).await;
        assert_eq!(ended.view.status, Status::Cancelled, "{status}: {:?}", ended.view.error);
        let counts = place.counts().await;
        let count = |effect: &str| counts.get(effect).copied().unwrap_or_default();
        for (done, undone) in [("reserved", "released"), ("charged", "refunded"), ("sent", "recalled")] {
            assert_eq!(count(done), count(undone), "{status}: {counts:?}");
            assert!(count(done) <= 1, "{status}: {counts:?}");
        }
        if status == "on its way" {
            assert_eq!((count("reserved"), count("charged"), count("sent")), (1, 1, 1), "{counts:?}");
        }
        assert_eq!(count("mailed"), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_a_host_dies_nothing_is_done_twice() {
    for (address, effects) in [
        ("Main Street 1", &["reserved", "charged", "sent", "mailed"][..]),
        ("Nowhere 7", &["reserved", "charged", "sent", "recalled", "refunded", "released", "mailed"]),
    ] {
        let calm = Place::new().await;
        let calm = calm.run("fulfil", "f", &order(&calm, "card-0119", "mug", address), Act::Nothing).await;
        let mut crashes = 0;
        for write in 1..=calm.writes {
            let fault = if write % 2 == 0 { Fault::After(write) } else { Fault::Before(write) };
            let place = Place::new().await;
            let input = order(&place, "card-0119", "mug", address);
            let ended = place.run_with(&[fault], "fulfil", "f", &input, Act::Nothing).await;
            assert_eq!(ended.view.status, calm.view.status, "{fault:?}: {:?}", ended.view.error);
            assert_eq!(ended.view.output, calm.view.output, "{fault:?}");
            // Requests may have been repeated, what they do may not.
            let done = place.effects().await.into_iter().map(|(effect, _)| effect);
            let done: Vec<_> = done.filter(|effect| !effect.ends_with("repeated")).collect();
            assert_eq!(done, effects, "{fault:?}");
            look_for_the_key(&place).await;
            crashes += ended.crashes;
        }
        assert!(crashes >= 10, "{crashes}");
    }
}
