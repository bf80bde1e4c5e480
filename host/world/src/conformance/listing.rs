//! Lists: every filter, their combinations, and pages.

use durhai_core::{Status, Version};

use super::tools::*;
use super::{Cases, Subject};
use crate::{Commit, Count, Query, Row, World, WorldError};

pub const CASES: Cases = &[
    ("list: newest first", newest_first),
    ("list: each filter, and all together", filters),
    ("list: what changes moves", changes),
    ("list: pages are stable while runs come and go", pages),
    ("list: long and similar names", similar),
    ("list: a cursor that is none", bad_cursor),
    ("list: by times that jump", times),
    ("counts: follows whatever happens to runs", follows),
    ("counts: the same after a restart", counts_reopened),
];

fn names(world: &dyn World, query: &Query) -> Vec<String> {
    let page = world.list(query).expect("the world works");
    page.rows.iter().map(|row| row.run.to_string()).collect()
}

fn newest_first(subject: &Subject<'_>) {
    let world = (subject.make)();
    assert_eq!(names(&*world, &Query::default()), [""; 0]);
    for (name, created_at) in [("m", 5), ("a", 9), ("z", 1)] {
        write_all(&*world, vec![new(Row { created_at, ..row(name) }, None)]);
    }
    assert_eq!(names(&*world, &Query::default()), ["z", "a", "m"]);
    assert_eq!(world.list(&Query::default()).expect("works").next, None);
    assert_eq!(world.list(&Query::default()).expect("works").rows[1], Row { created_at: 9, ..row("a") });
    for at in 0..150 {
        write_all(&*world, vec![new(row(&format!("r{at}")), None)]);
    }
    let page = world.list(&Query::default()).expect("works");
    assert_eq!((page.rows.len(), page.rows[0].run.as_str(), page.next.is_some()), (100, "r149", true));
}

fn filters(subject: &Subject<'_>) {
    let world = (subject.make)();
    let mut rows = Vec::new();
    for at in 0..120_usize {
        let mut one = row(&format!("r{at}"));
        one.status = Status::ALL[at % 9];
        one.wake_at = one.wake_at.filter(|_| !one.status.is_terminal());
        one.workflow = ["flow", "flow/sub", "other"][at % 3].into();
        one.created_at = 1000 + (at as u64 * 7) % 60;
        if at % 2 == 0 {
            one.tags.insert("color".into(), ["red", "blue"][at / 2 % 2].into());
        }
        if at % 5 == 0 {
            one.tags.insert("tenant".into(), format!("t{}", at % 4));
        }
        one.version = Version::of([("flow", ["1", "2"][at / 7 % 2])]);
        one.ended_at = one.status.is_terminal().then_some(2000 + at as u64);
        one.parent = (at % 4 == 1).then(|| id(["r0", "gone"][at / 4 % 2]));
        rows.push(one);
    }
    write_all(&*world, rows.iter().map(|row| new(row.clone(), None)).collect());
    let statuses = [vec![], vec![Status::Failed], vec![Status::Waiting, Status::Pending, Status::Waiting]];
    let workflows = [None, Some("flow"), Some("flow/sub"), Some("fl")];
    let tags = [vec![], vec![("color", "red")], vec![("color", "blue"), ("tenant", "t2")], vec![("color", "green")]];
    let parents = [None, Some("r0"), Some("nobody")];
    let times = [(None, None), (Some(1020), None), (None, Some(1020)), (Some(1010), Some(1050))];
    let versions = [None, Some("2"), Some("3")].map(|text| text.map(|text| Version::of([("flow", text)])));
    for (version, ended_before) in versions.iter().flat_map(|version| [None, Some(2050)].map(|end| (version, end))) {
        for workflow in workflows {
            let (version, workflow) = (version.clone(), workflow.map(Into::into));
            let query = Query { version, ended_before, workflow, limit: 1000, ..Query::default() };
            let wanted: Vec<String> =
                rows.iter().rev().filter(|row| query.matches(row)).map(|row| row.run.to_string()).collect();
            assert_eq!(names(&*world, &query), wanted, "{query:?}");
        }
    }
    for status in &statuses {
        for workflow in workflows {
            for tags in &tags {
                for parent in parents {
                    for (since, until) in times {
                        let query = Query {
                            status: status.clone(),
                            workflow: workflow.map(Into::into),
                            tags: tags.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
                            parent: parent.map(id),
                            since,
                            until,
                            limit: 1000,
                            ..Query::default()
                        };
                        let wanted: Vec<String> =
                            rows.iter().rev().filter(|row| query.matches(row)).map(|row| row.run.to_string()).collect();
                        assert_eq!(names(&*world, &query), wanted, "{query:?}");
                    }
                }
            }
        }
    }
}

fn changes(subject: &Subject<'_>) {
    let world = (subject.make)();
    let of = |status: &[Status]| Query { status: status.to_vec(), ..Query::default() };
    let tagged = |value: &str| Query { tags: [("k".into(), value.into())].into(), ..Query::default() };
    let a = held(&*world, row("a"), &holder("h"));
    let b = held(&*world, row("b"), &holder("h"));
    write_all(&*world, vec![becomes(&a, |row| row.status = Status::Running)]);
    assert_eq!(names(&*world, &of(&[Status::Pending])), ["b"]);
    assert_eq!(names(&*world, &of(&[Status::Running])), ["a"]);
    assert_eq!(names(&*world, &of(&[Status::Running, Status::Pending])), ["b", "a"]);
    let tag = |value: &'static str| {
        move |row: &mut Row| {
            row.tags.insert("k".into(), value.into());
        }
    };
    write_all(&*world, vec![becomes(&b, tag("1"))]);
    assert_eq!(names(&*world, &tagged("1")), ["b"]);
    write_all(&*world, vec![becomes(&b, tag("2"))]);
    assert_eq!((names(&*world, &tagged("1")), names(&*world, &tagged("2"))), (vec![], vec!["b".to_owned()]));
    let version = |text: &str| Query { version: Some(Version::of([("flow", text)])), ..Query::default() };
    write_all(&*world, vec![becomes(&b, |row| row.version = Version::of([("flow", "2")]))]);
    assert_eq!((names(&*world, &version("1")), names(&*world, &version("2"))), (vec!["a".into()], vec!["b".into()]));
    write_all(&*world, vec![ends(&b), delete(&id("b"))]);
    assert_eq!(names(&*world, &tagged("2")), [""; 0]);
    assert_eq!(names(&*world, &of(&Status::ALL)), ["a"]);
    undamaged(&*world);
}

fn pages(subject: &Subject<'_>) {
    let world = (subject.make)();
    let claims: Vec<_> = (0..25).map(|at| held(&*world, row(&format!("r{at}")), &holder("h"))).collect();
    for query in
        [Query { limit: 4, ..Query::default() }, Query { limit: 4, workflow: Some("flow".into()), ..Query::default() }]
    {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = world.list(&Query { cursor, ..query.clone() }).expect("works");
            assert!(page.rows.len() <= 4);
            seen.extend(page.rows.iter().map(|row| row.run.to_string()));
            // New ones come before all pages.
            let more = row(&format!("new{}{}", query.workflow.is_some(), seen.len()));
            write_all(&*world, vec![new(Row { workflow: "new".into(), ..more }, None)]);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let old: Vec<_> = seen.iter().filter(|name| name.starts_with('r')).cloned().collect();
        assert_eq!(old, (0..25).rev().map(|at| format!("r{at}")).collect::<Vec<_>>());
    }
    // The run at which a page ended may go.
    let query = Query { limit: 4, workflow: Some("flow".into()), ..Query::default() };
    let page = world.list(&query).expect("works");
    assert_eq!(page.rows[3].run.as_str(), "r21");
    write_all(&*world, vec![ends(&claims[21]), delete(&id("r21")), ends(&claims[20]), delete(&id("r20"))]);
    assert_eq!(names(&*world, &Query { cursor: page.next, ..query }), ["r19", "r18", "r17", "r16"]);
}

fn similar(subject: &Subject<'_>) {
    let world = (subject.make)();
    let long = "n".repeat(500);
    let texts = ["", "a", "ab", "a\0", "\0", "ä", &long, &format!("{long}x"), &format!("{long}y")].map(String::from);
    for (at, text) in texts.iter().enumerate() {
        let mut one = row(&format!("r{at}"));
        one.workflow.clone_from(text);
        one.tags.insert(text.clone(), text.clone());
        write_all(&*world, vec![new(one, None)]);
    }
    for (at, text) in texts.iter().enumerate() {
        let by_workflow = Query { workflow: Some(text.clone()), ..Query::default() };
        assert_eq!(names(&*world, &by_workflow), [format!("r{at}")], "{text:?}");
        let by_tag = Query { tags: [(text.clone(), text.clone())].into(), ..Query::default() };
        assert_eq!(names(&*world, &by_tag), [format!("r{at}")], "{text:?}");
    }
    undamaged(&*world);
}

fn bad_cursor(subject: &Subject<'_>) {
    let world = (subject.make)();
    for cursor in ["", "no cursor", "-1", "99999999999999999999999999"] {
        let query = Query { cursor: Some(cursor.into()), ..Query::default() };
        assert!(matches!(world.list(&query), Err(WorldError::Invalid(_))), "{cursor:?}");
    }
}

/// Thousands of runs whose clock goes back, stands and jumps: what is skipped must not be what is asked for.
fn times(subject: &Subject<'_>) {
    let world = (subject.make)();
    let at = |number: u64| match number {
        0..1500 => 1_000_000 + number * 10,
        // Imported, from long before.
        1500..1520 => number,
        1520..2500 => 900_000 + number * 10,
        _ => 2_000_000,
    };
    let rows: Vec<Row> = (0..2600).map(|number| Row { created_at: at(number), ..row(&format!("r{number}")) }).collect();
    for batch in rows.chunks(200) {
        write_all(&*world, batch.iter().map(|row| new(row.clone(), None)).collect());
    }
    let times = [0, 1510, 1600, 914_000, 915_200, 1_000_005, 1_014_980, 1_020_000, 2_000_000, 2_000_001];
    for since in times.iter().map(|at| Some(*at)).chain([None]) {
        for until in times.iter().map(|at| Some(*at)).chain([None]) {
            let query = Query { since, until, limit: 700, ..Query::default() };
            let wanted: Vec<String> =
                rows.iter().rev().filter(|row| query.matches(row)).map(|row| row.run.to_string()).collect();
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let page = world.list(&Query { cursor, ..query.clone() }).expect("works");
                found.extend(page.rows.iter().map(|row| row.run.to_string()));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, wanted, "since {since:?} until {until:?}");
        }
    }
    undamaged(&*world);
}

/// As `flow/1 pending 2`.
fn counts(world: &dyn World) -> Vec<String> {
    let text = |Count { workflow, version, status, runs }: Count| {
        let version = (0..9).find(|number| of_text(*number) == version).expect("one of these");
        format!("{workflow}/{version} {status} {runs}")
    };
    world.run_counts().expect("works").into_iter().map(text).collect()
}

fn of_text(number: u64) -> Version {
    Version::of([("flow", number.to_string().as_str())])
}

fn follows(subject: &Subject<'_>) {
    let world = (subject.make)();
    let world = &*world;
    assert_eq!(counts(world), [""; 0]);
    let a = held(world, row("a"), &holder("h"));
    let b = held(world, row("b"), &holder("h"));
    write_all(world, vec![new(Row { workflow: "else".into(), ..row("c") }, None)]);
    assert_eq!(counts(world), ["else/1 pending 1", "flow/1 pending 2"]);
    // One that is there already counts once, and what is refused not at all.
    let written = world.write(vec![new(row("a"), None), becomes(&a, |row| row.status = Status::Running)]);
    assert!(written.expect("works")[0].is_err());
    assert!(write(world, delete(&id("a"))).is_err() && write(world, delete(&id("nobody"))).is_err());
    assert_eq!(counts(world), ["else/1 pending 1", "flow/1 pending 1", "flow/1 running 1"]);
    // Moved to another version, and back; a row that is written again counts the same.
    write_all(world, vec![becomes(&b, |row| row.version = of_text(2)), becomes(&b, |row| row.version = of_text(2))]);
    assert_eq!(counts(world), ["else/1 pending 1", "flow/1 running 1", "flow/2 pending 1"]);
    // With children, one of them twice, and a successor.
    let create = |name: &str| crate::Create {
        row: row(name),
        events: chunk(1, 1),
        claim: None,
        hooks: Vec::new(),
        messages: Vec::new(),
    };
    write_all(world, vec![commit(Commit { create: vec![create("d"), create("d"), create("a")], ..turn(&a) })]);
    assert_eq!(counts(world), ["else/1 pending 1", "flow/1 pending 1", "flow/1 running 1", "flow/2 pending 1"]);
    let continued = Row { status: Status::Continued, ..a.row.clone() };
    write_all(world, vec![commit(Commit { row: Some(continued), create: vec![create("e")], ..turn(&a) })]);
    write_all(world, vec![becomes(&b, |row| row.status = Status::Failed), delete(&id("b"))]);
    assert_eq!(counts(world), ["else/1 pending 1", "flow/1 pending 2", "flow/1 continued 1"]);
    // Created and gone in one batch, many of them, and the name again.
    let over = |at: u64| Row { status: Status::Completed, version: of_text(at % 3), ..row(&format!("o{at}")) };
    write_all(world, (0..60).map(|at| new(over(at), None)).collect());
    write_all(world, (0..59).map(|at| delete(&over(at).run)).chain([new(over(0), None)]).collect());
    let wanted =
        ["else/1 pending 1", "flow/0 completed 1", "flow/1 pending 2", "flow/1 continued 1", "flow/2 completed 1"];
    let mut found = counts(world);
    found.sort();
    let mut wanted = wanted.map(String::from);
    wanted.sort();
    assert_eq!(found, wanted);
    undamaged(world);
}

fn counts_reopened(subject: &Subject<'_>) {
    let Some(reopen) = subject.reopen else { return };
    let mut world = (subject.make)();
    let claim = held(&*world, row("a"), &holder("h"));
    write_all(&*world, vec![becomes(&claim, |row| row.status = Status::Suspended), new(row("b"), None)]);
    let long = "w".repeat(300);
    write_all(&*world, vec![new(Row { workflow: long.clone(), ..row("c") }, None)]);
    for _ in 0..2 {
        let wanted = ["flow/1 pending 1".to_owned(), "flow/1 suspended 1".to_owned(), format!("{long}/1 pending 1")];
        assert_eq!(counts(&*world), wanted);
        undamaged(&*world);
        world = reopen(world);
    }
}
