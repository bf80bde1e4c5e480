//! How long lists take in a store of many runs: `cargo run --release -p durhai-world-sled --example lists [RUNS]`.

use std::time::Instant;

use durhai_core::{RunId, Status, Version};
use durhai_world::{Chunk, Create, Query, Row, World, Write};
use durhai_world_sled::SledWorld;

fn main() {
    let runs: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let folder = tempfile::TempDir::new().expect("a folder");
    let world = SledWorld::open(folder.path()).expect("opens");
    let began = Instant::now();
    for first in (0..runs).step_by(1000) {
        world.write((first..(first + 1000).min(runs)).map(|at| new(at, runs)).collect()).expect("written");
    }
    println!("{runs} runs created in {:.1?}", began.elapsed());
    let half = 1_700_000_000_000 + runs / 2 * 10;
    let tag = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    let workflow = |name: &str| Some(name.to_owned());
    let status = |status| vec![status];
    let mut queries = vec![("no filter".to_owned(), Query::default())];
    queries.extend(Status::ALL.map(|one| (one.to_string(), Query { status: status(one), ..Query::default() })));
    let mut more = |what: &str, query| queries.push((what.to_owned(), query));
    more(
        "live",
        Query { status: Status::ALL.into_iter().filter(|one| !one.is_terminal()).collect(), ..Query::default() },
    );
    more("order", Query { workflow: workflow("order"), ..Query::default() });
    more("rare", Query { workflow: workflow("rare"), ..Query::default() });
    more(
        "order completed",
        Query { workflow: workflow("order"), status: status(Status::Completed), ..Query::default() },
    );
    more("order failed", Query { workflow: workflow("order"), status: status(Status::Failed), ..Query::default() });
    more(
        "mail failed (none)",
        Query { workflow: workflow("mail"), status: status(Status::Failed), ..Query::default() },
    );
    more("mail parked (old)", Query { workflow: workflow("mail"), status: status(Status::Parked), ..Query::default() });
    more("tag of many", Query { tags: tag("tenant", "t1"), ..Query::default() });
    more("tag of one", Query { tags: tag("customer", "c77"), ..Query::default() });
    more(
        "tag, workflow, status",
        Query {
            tags: tag("tenant", "t2"),
            workflow: workflow("mail"),
            status: status(Status::Completed),
            ..Query::default()
        },
    );
    more("since half", Query { since: Some(half), ..Query::default() });
    more("since the last 50", Query { since: Some(half + runs / 2 * 10 - 500), ..Query::default() });
    more("until half", Query { until: Some(half), ..Query::default() });
    more("until the first 50", Query { until: Some(1_700_000_000_500), ..Query::default() });
    more("between", Query { since: Some(half), until: Some(half + 200), ..Query::default() });
    more("order until half", Query { workflow: workflow("order"), until: Some(half), ..Query::default() });
    more(
        "completed until the first 50",
        Query { status: status(Status::Completed), until: Some(1_700_000_000_500), ..Query::default() },
    );
    more("last page", Query { cursor: Some("64".into()), ..Query::default() });
    for (what, query) in queries {
        let began = Instant::now();
        let page = world.list(&query).expect("works");
        println!(
            "{what:30} {:4} rows {:9.2?}{}",
            page.rows.len(),
            began.elapsed(),
            if page.next.is_some() { " …" } else { "" }
        );
    }
    let began = Instant::now();
    let counts = world.run_counts().expect("works");
    println!("counts of {} in {:.2?}", counts.len(), began.elapsed());
}

fn new(at: u64, runs: u64) -> Write {
    let workflow = if at == 7 { "rare" } else { ["order", "mail"][(at % 2) as usize] };
    let status = match at % 20 {
        0..4 if at.is_multiple_of(2) => Status::Failed,
        4 | 5 if at > runs - runs / 100 => Status::Running,
        7 if at < 1000 => Status::Parked,
        8 => Status::Cancelled,
        10 if at > runs / 2 => Status::Waiting,
        14 => Status::Suspended,
        _ => Status::Completed,
    };
    let row = Row {
        run: RunId::new(format!("run-{at:08}")).expect("legal"),
        workflow: workflow.into(),
        version: Version::of([("flow", "1")]),
        status,
        tags: [("tenant".to_owned(), format!("t{}", at % 3)), ("customer".to_owned(), format!("c{}", at / 5))].into(),
        parent: None,
        created_at: 1_700_000_000_000 + at * 10,
        started_at: Some(1_700_000_000_000 + at * 10),
        ended_at: None,
        wake_at: None,
        note: serde_json::Value::Null,
        purge_at: None,
        concurrency: None,
    };
    let events = Chunk { first: 1, count: 2, bytes: vec![b'x'; 300] };
    Write::Create(Box::new(Create { row, events, claim: None, hooks: Vec::new(), messages: Vec::new() }))
}
