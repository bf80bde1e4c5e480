//! `harvest.rhai`: no row is lost, none is loaded twice.

use std::collections::BTreeSet;
use std::fs;

use durhai::{Status, Value};
use durhai_testkit::Fault;
use serde_json::json;

use crate::place::{Act, Ended, Place};
use crate::services::{Options, is_bad};

const PRODUCTS: usize = 500;
const PAGE: usize = 50;
const BATCH: usize = 20;

fn input(place: &Place) -> Value {
    json!({ "service": place.url, "out": place.path("out/harvest") })
}

fn bad(products: usize) -> BTreeSet<String> {
    (0..products).filter(|number| is_bad(*number)).map(|number| format!("P-{number:05}")).collect()
}

/// The report, after a look at everything the harvest has left.
async fn look(place: &Place, ended: &Ended, products: usize) -> String {
    let view = &ended.view;
    assert_eq!(view.status, Status::Completed, "{:?}", view.error);
    let bad = bad(products);
    let pages = products.div_ceil(PAGE);
    let path = place.path("out/harvest/report.md");
    let wanted = json!({ "pages": pages, "loaded": products - bad.len(), "rejected": bad.len(), "report": path });
    assert_eq!(view.output, wanted);

    let stored = place.ask("/warehouse/products").await;
    assert_eq!(stored["count"], products - bad.len());
    for (sku, entry) in stored["rows"].as_object().unwrap() {
        assert_eq!(entry["times"], 1, "{sku} was loaded more than once");
        assert!(!bad.contains(sku), "{sku} makes no sense");
    }
    // One key for each load, and each key once.
    let loads: Vec<_> = place.effects().await.into_iter().filter(|(effect, _)| effect == "loaded").collect();
    let keys: BTreeSet<_> = loads.iter().map(|(_, key)| key).collect();
    let wanted: usize = (0..products)
        .step_by(PAGE)
        .map(|start| (start..(start + PAGE).min(products)).filter(|number| !is_bad(*number)).count().div_ceil(BATCH))
        .sum();
    assert_eq!((loads.len(), keys.len()), (wanted, wanted));

    let mut rejected = BTreeSet::new();
    for entry in fs::read_dir(place.path("out/harvest")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let page: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            for row in page["rejected"].as_array().unwrap() {
                assert!(!row["faults"].as_array().unwrap().is_empty());
                assert!(rejected.insert(row["row"]["sku"].as_str().unwrap().to_owned()), "{row} is there twice");
            }
        }
    }
    assert_eq!(rejected, bad);
    place.read("out/harvest/report.md").replace(&place.url, "URL")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_tidied_loaded_or_set_aside() {
    let place = Place::with(Options { retry_after: 1, ..Options::default() }).await;
    let ended = place.run("harvest", "h", &input(&place), Act::Nothing).await;
    let report = look(&place, &ended, PRODUCTS).await;
    assert!(report.contains("10 pages of URL: 478 products loaded, 22 set aside."), "{report}");
    assert_eq!(ended.view.state["totals"]["pages"], 10);
    assert_eq!(ended.view.status_text.as_deref(), Some("page 10: 478 of 500 loaded"));

    let stored = place.ask("/warehouse/products").await;
    let row = json!({
        "sku": "P-00001", "name": "Green Basket", "cents": 236, "stock": 7, "changed": "2026-02-01T23:30:00Z",
        "tags": ["basket", "green", "sale"],
    });
    assert_eq!(stored["rows"]["P-00001"]["row"], {
        let mut row = row;
        row["changed"] = json!("2026-02-02T00:30:00Z");
        row
    });

    // The services were as bad as they are meant to be, and those who asked for time were given it.
    let journal = place.ask("/journal").await;
    let journal = journal.as_array().unwrap();
    for (path, status) in [("/catalogue", 429), ("/catalogue", 503), ("/warehouse", 429), ("/warehouse", 503)] {
        let refused = journal
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry["status"] == status && entry["path"].as_str().unwrap().starts_with(path));
        let refused: Vec<_> = refused.collect();
        assert!(!refused.is_empty(), "{path} never answered {status}");
        for (at, entry) in refused {
            let again =
                journal[at + 1..].iter().find(|later| later["path"] == entry["path"] && later["key"] == entry["key"]);
            let waited = again.unwrap()["at"].as_u64().unwrap() - entry["at"].as_u64().unwrap();
            assert!(status != 429 || waited >= 1_000, "{path} was asked again after {waited} ms");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_a_host_dies_the_next_one_goes_on() {
    let calm = Place::new().await;
    let ended = calm.run("harvest", "h", &input(&calm), Act::Nothing).await;
    let report = look(&calm, &ended, PRODUCTS).await;
    let writes = ended.writes;
    assert!(writes > 20, "{writes}");

    // One death each, at moments spread over the run.
    let mut crashes = 0;
    for (i, write) in (1..=writes).step_by((writes / 8) as usize).enumerate() {
        let place = Place::new().await;
        let fault = if i % 2 == 0 { Fault::After(write) } else { Fault::Before(write) };
        let ended = place.run_with(&[fault], "harvest", "h", &input(&place), Act::Nothing).await;
        assert_eq!(look(&place, &ended, PRODUCTS).await, report, "{fault:?}");
        crashes += ended.crashes;
    }
    assert!(crashes >= 6, "{crashes}");

    // And one host after the other.
    let place = Place::new().await;
    let faults: Vec<_> = (0..8).map(|i| if i % 2 == 0 { Fault::After(6 + i) } else { Fault::Before(6 + i) }).collect();
    let ended = place.run_with(&faults, "harvest", "h", &input(&place), Act::Nothing).await;
    assert_eq!(look(&place, &ended, PRODUCTS).await, report);
    assert!(ended.crashes >= 4, "{}", ended.crashes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_catalogue_is_a_chain_of_runs_and_its_supplier_is_not_hurried() {
    let products = 1_230;
    let place = Place::with(Options { products, retry_after: 0, ..Options::default() }).await;
    let mut input = input(&place);
    input["pages_per_run"] = 7.into();
    let ended = place.run_with(&[Fault::After(30)], "harvest", "h", &input, Act::Nothing).await;
    look(&place, &ended, products).await;
    assert_ne!(ended.view.id.as_str(), "h", "the last of the chain is another run");
    assert_eq!(ended.crashes, 1);

    let journal = place.ask("/journal").await;
    let pages =
        journal.as_array().unwrap().iter().filter(|entry| entry["path"].as_str().unwrap().starts_with("/catalogue"));
    let at: Vec<u64> = pages.map(|entry| entry["at"].as_u64().unwrap()).collect();
    assert!(at.len() > 30, "{}", at.len());
    // Twenty a second; a new host begins to count anew.
    let most = at.iter().map(|start| at.iter().filter(|at| (*start..start + 900).contains(at)).count()).max();
    assert!(most <= Some(2 * 20), "{most:?} requests in a second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_stays_broken_fails_the_run_and_a_retry_goes_on_from_there() {
    let place = Place::with(Options { retry_after: 0, cuts: 8, ..Options::default() }).await;
    let ended = place.run("harvest", "h", &input(&place), Act::Nothing).await;
    let error = ended.view.error.unwrap();
    assert_eq!((ended.view.status, error.attempts), (Status::Failed, 8));
    assert_eq!(error.message, "the page from 46 on is no JSON");
    assert_eq!(ended.view.state["totals"]["pages"], 3);

    let ended = place.retry("h").await;
    look(&place, &ended, PRODUCTS).await;
}
