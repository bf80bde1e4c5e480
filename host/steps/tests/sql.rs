//! `sql.query` and `sql.execute` against a real server.

use std::collections::BTreeMap;
use std::sync::Arc;

use durhai::postgres::PgWorld;
use durhai::{Host, MemoryWorld, StepContext, StepHandler, StepInfo, StepSource, Value, World};
use durhai_steps::{
    BuiltinSteps, DatabasePlace, Permissions, SecretSource, SqlGrant, StepEnvConfig, StepEnvHandle, StoreDatabase,
};
use durhai_world_postgres::cluster::Cluster;
use serde_json::json;

use crate::place::*;

fn cluster() -> Option<Cluster> {
    let cluster = Cluster::start(&["fsync=off"]).expect("a server starts");
    if cluster.is_none() {
        println!("skipped: PostgreSQL is not installed; `cargo xtask install` brings it");
    }
    cluster
}

fn at(url: String) -> DatabasePlace {
    DatabasePlace::At { url, password: None }
}

/// Steps that may use these databases.
fn using(databases: impl IntoIterator<Item = (&'static str, DatabasePlace)>, store: &StoreDatabase) -> StepEnvConfig {
    StepEnvConfig {
        permissions: Permissions { sql: SqlGrant::Everything, ..Permissions::none() },
        databases: databases.into_iter().map(|(name, place)| (name.to_owned(), place)).collect(),
        store: store.clone(),
        environment: environment(&[]),
        ..StepEnvConfig::default()
    }
}

async fn query(host: &Host, sql: &str) -> Value {
    call(host, "sql.query", &json!(sql)).await.unwrap_or_else(|failure| panic!("{sql}: {failure:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_columns_and_parameters_are() {
    let Some(cluster) = cluster() else { return };
    let place = Place::new();
    let host = place.host(using([("main", at(cluster.url("unused")))], &StoreDatabase::default())).await;
    let more = "create type mood as enum ('fine', 'bad'); create type pair as (a int, b text); create domain whole as int check (value > 0)";
    for one in more.split(';') {
        call(&host, "sql.execute", &json!(one)).await.unwrap();
    }
    // What is written with `::type` in SQL, and what a script gets of it.
    for (sql, value) in [
        ("null", json!(null)),
        ("true", json!(true)),
        ("7::int2", json!(7)),
        ("-7::int4", json!(-7)),
        ("9007199254740993::int8", json!(9_007_199_254_740_993_i64)),
        ("0.1::float4", json!(0.1)),
        ("1e300::float8", json!(1e300)),
        ("'NaN'::float8", json!("NaN")),
        ("'-Infinity'::float8", json!("-Infinity")),
        ("12::numeric", json!(12)),
        ("12.50::numeric(10,2)", json!(12.5)),
        ("0.00::numeric(10,2)", json!(0.0)),
        ("-0.00012::numeric", json!(-0.00012)),
        ("100000000.0001::numeric", json!(100_000_000.000_1)),
        ("12345678901234567.89::numeric", json!("12345678901234567.89")),
        ("123456789012345678901234567890::numeric", json!("123456789012345678901234567890")),
        ("'NaN'::numeric", json!("NaN")),
        ("'ä ''x'''::text", json!("ä 'x'")),
        ("'a'::char(3)", json!("a  ")),
        ("'{\"a\": [1, 2.5, null]}'::jsonb", json!({ "a": [1, 2.5, null] })),
        ("'[1]'::json", json!([1])),
        ("'0b5ce4f1-2c1c-4c5d-9d4e-9a3c1f6f7a10'::uuid", json!("0b5ce4f1-2c1c-4c5d-9d4e-9a3c1f6f7a10")),
        ("'\\x00ff'::bytea", json!("\\x00ff")),
        ("'2026-11-30 12:00:00.25+02'::timestamptz", json!("2026-11-30T10:00:00.25Z")),
        ("'2026-11-30 12:00'::timestamp", json!("2026-11-30T12:00:00")),
        ("'infinity'::timestamptz", json!("infinity")),
        ("'1999-12-31'::date", json!("1999-12-31")),
        ("'23:59:59.5'::time", json!("23:59:59.5")),
        ("'12:00:00+05:30'::timetz", json!("12:00:00+05:30")),
        ("'1 year 2 months 3 days 04:05:06.5'::interval", json!("P1Y2M3DT4H5M6.5S")),
        ("'-1 day +02:03'::interval", json!("P-1DT2H3M")),
        ("'0'::interval", json!("PT0S")),
        ("'-0.5 second'::interval", json!("PT-0.5S")),
        ("'10.0.0.1'::inet", json!("10.0.0.1")),
        ("'10.0.0.0/8'::cidr", json!("10.0.0.0/8")),
        ("'::1'::inet", json!("::1")),
        ("'08:00:2b:01:02:03'::macaddr", json!("08:00:2b:01:02:03")),
        ("array[1, null, 3]", json!([1, null, 3])),
        ("array[[1, 2], [3, 4]]", json!([[1, 2], [3, 4]])),
        ("'{}'::text[]", json!([])),
        ("'fine'::mood", json!("fine")),
        ("row(1, 'x')::pair", json!({ "a": 1, "b": "x" })),
        ("row(1, 'x'::text)", json!({ "f1": 1, "f2": "x" })),
        ("5::whole", json!(5)),
        ("array['fine', 'bad']::mood[]", json!(["fine", "bad"])),
    ] {
        assert_eq!(query(&host, &format!("select {sql} as it")).await, json!([{ "it": value }]), "{sql}");
    }
    // What a script gives and gets back, through the type of the column.
    for (ty, value) in [
        ("int8", json!(-9_007_199_254_740_993_i64)),
        ("numeric", json!("12345678901234567.89")),
        ("float8", json!(0.1)),
        ("text", json!("a\\b\"c'd\n")),
        ("jsonb", json!({ "a": [{ "b": null }] })),
        ("jsonb", json!("text")),
        ("timestamptz", json!("2026-11-30T10:00:00.25Z")),
        ("interval", json!("P1Y2M3DT4H5M6.5S")),
        ("bytea", json!("\\x00ff")),
        ("text[]", json!(["a\"b", "c\\d", "", "NULL", null])),
        ("int[]", json!([[1, 2], [3, 4]])),
        ("jsonb[]", json!([{ "a": 1 }, [2]])),
        ("mood", json!("bad")),
        ("bool", json!(false)),
        ("text", json!(null)),
    ] {
        let input = json!({ "sql": format!("select $1::{ty} as it"), "params": [value] });
        assert_eq!(call(&host, "sql.query", &input).await.unwrap(), json!([{ "it": value }]), "{ty}");
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said() {
    let Some(cluster) = cluster() else { return };
    let place = Place::new();
    let nowhere = at("postgres://durhai@127.0.0.1:1/x".into());
    let host = place
        .host(using(
            [("main", at(cluster.url("unused"))), ("away", nowhere), ("own", DatabasePlace::Store)],
            &StoreDatabase::default(),
        ))
        .await;
    let execute = async |input: Value| call(&host, "sql.execute", &input).await;
    execute(json!("create table item (id int primary key, name text not null)")).await.unwrap();
    let added =
        execute(json!({ "sql": "insert into item values ($1, $2), (2, 'b') returning id, name", "params": [1, "a"] }))
            .await;
    assert_eq!(added.unwrap(), json!({ "count": 2, "rows": [{ "id": 1, "name": "a" }, { "id": 2, "name": "b" }] }));
    // All or nothing.
    let several = json!({ "statements": [{ "sql": "delete from item where id = $1", "params": [1] }, "insert into item values (2, 'c')"] });
    let failure = execute(several).await.unwrap_err();
    assert!(failure.message.contains("item_pkey"), "{failure:?}");
    assert_eq!(
        failure.data,
        json!({ "code": "23505", "constraint": "item_pkey", "table": "item", "detail": "Key (id)=(2) already exists." })
    );
    assert_eq!(query(&host, "select count(*)::int as count from item").await, json!([{ "count": 2 }]));
    let both = json!({ "statements": ["delete from item where id = 1", "update item set name = 'z'"] });
    assert_eq!(execute(both).await.unwrap(), json!([{ "count": 1, "rows": [] }, { "count": 1, "rows": [] }]));

    for (step, input, why) in [
        ("sql.query", json!("select * form item"), "at 1:10 of the SQL\n  select * form item\n           ^"),
        ("sql.query", json!("delete from item"), "sql.query only reads"),
        ("sql.query", json!("select nextval('s')"), "relation \"s\" does not exist"),
        ("sql.query", json!("select 1 as a, 2 as a"), "two columns of the SQL are called \"a\""),
        ("sql.query", json!("select '(1,2)'::point as p"), "p::text"),
        ("sql.query", json!("select 1; select 2"), "multiple commands"),
        ("sql.query", json!({ "sql": "select $1::int", "params": [] }), "1 parameter"),
        ("sql.query", json!({ "sql": "select 1", "params": [1] }), "0 parameters"),
        ("sql.query", json!({ "sql": "select $1::int as it", "params": [[1]] }), "$1 of the SQL: found a list"),
        (
            "sql.query",
            json!({ "sql": "select $1::int as it", "params": ["x"] }),
            "invalid input syntax for type integer",
        ),
        ("sql.query", json!({ "sql": "select $1::int as it", "params": [3_000_000_000_i64] }), "out of range"),
        ("sql.query", json!("select repeat('x', 3000000) as it"), "LIMIT"),
        (
            "sql.query",
            json!("select 18446744073709551616::numeric as a, '18446744073709551616'::jsonb as b"),
            "does not fit into 64 bits",
        ),
        ("sql.query", json!({ "database": "shop", "sql": "select 1" }), "known: \"away\", \"main\", \"own\""),
        ("sql.query", json!({ "database": "own", "sql": "select 1" }), "--store postgres://"),
        ("sql.query", json!({ "database": "away", "sql": "select 1" }), "postgres://durhai@127.0.0.1:1/x"),
        ("sql.execute", json!("commit"), "one transaction"),
        ("sql.execute", json!("insert into item values (9, null)"), "null value in column"),
        ("sql.execute", json!("vacuum"), "transaction block"),
        ("sql.execute", json!(1), "expected #{ database"),
    ] {
        let failure = call(&host, step, &input).await.unwrap_err();
        assert!(failure.message.contains(why), "{input}: {}", failure.message);
    }
    // What one step has set in its session, another one does not find.
    for setting in [
        "set search_path = nowhere",
        "create temp table left_behind (a int)",
        "set role pg_monitor",
        "select pg_advisory_lock(7)",
    ] {
        execute(json!(setting)).await.unwrap();
    }
    assert_eq!(query(&host, "select count(*)::int as count from item").await, json!([{ "count": 1 }]));
    let left = "select to_regclass('left_behind') is null as gone, current_user::text as login, \
                (select count(*)::int from pg_locks where locktype = 'advisory') as locks";
    assert_eq!(query(&host, left).await, json!([{ "gone": true, "login": "durhai", "locks": 0 }]));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_step_leaves_open_stands_in_no_other_ones_way() {
    let Some(cluster) = cluster() else { return };
    let place = Place::new();
    let databases = || [("main", at(cluster.url("unused")))];
    let host = place.host(using(databases(), &StoreDatabase::default())).await;
    let other = place.host(using(databases(), &StoreDatabase::default())).await;
    call(&host, "sql.execute", &json!("select pg_advisory_lock(7)")).await.unwrap();
    call(&other, "sql.execute", &json!("select pg_advisory_lock(7)")).await.unwrap();
    // Rows without an end are told to stop, and the place of the step is free again for the next.
    for _ in 0..9 {
        let endless = json!("select generate_series(1, 1000000000000) as it");
        let failure = call(&host, "sql.query", &endless).await.unwrap_err();
        assert!(failure.message.contains("LIMIT"), "{failure:?}");
    }
    assert_eq!(query(&host, "select 1 as it").await, json!([{ "it": 1 }]));
    // A constraint that is looked at when the transaction commits.
    let tables = "create table part (id int primary key, whole int references part deferrable initially deferred)";
    call(&host, "sql.execute", &json!(tables)).await.unwrap();
    let failure = call(&host, "sql.execute", &json!("insert into part values (1, 2)")).await.unwrap_err();
    assert_eq!((failure.data["code"].as_str(), failure.attempts), (Some("23503"), 1), "{failure:?}");
    // What would be refused for its size when it is done is refused before.
    call(&host, "sql.execute", &json!("create table long (body text)")).await.unwrap();
    for sql in [
        "insert into long values (repeat(chr(10), 1200000)) returning body",
        "insert into long values ('x') returning array_fill(1.5::float8, array[600000])",
    ] {
        let failure = call(&host, "sql.execute", &json!(sql)).await.unwrap_err();
        assert!(failure.message.contains("as JSON"), "{failure:?}");
    }
    let deep = format!("insert into long values ('x') returning '{}{}'::jsonb as it", "[".repeat(62), "]".repeat(62));
    assert!(call(&host, "sql.execute", &json!(deep)).await.unwrap_err().message.contains("levels"));
    assert_eq!(query(&host, "select count(*)::int as count from long").await, json!([{ "count": 0 }]));
    host.shutdown().await;
    other.shutdown().await;
}

/// What does an attempt a second time, as a host does that died before it had recorded the first.
struct Twice(BuiltinSteps);

struct Again(Arc<dyn StepHandler>);

impl StepSource for Twice {
    fn find(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        (name == "twice")
            .then(|| self.0.find("sql.execute"))
            .flatten()
            .map(|step| Arc::new(Again(step)) as Arc<dyn StepHandler>)
    }

    fn list(&self) -> Vec<StepInfo> {
        Vec::new()
    }
}

impl StepHandler for Again {
    fn call(
        &self,
        context: StepContext,
        input: Value,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Value, durhai::StepError>> + Send>> {
        let step = self.0.clone();
        Box::pin(async move {
            let first = step.call(context.clone(), input.clone()).await?;
            Ok(json!([first, step.call(context, input).await?]))
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_once_in_the_database_of_the_store() {
    let Some(cluster) = cluster() else { return };
    let place = Place::new();
    let url = cluster.url("runs");
    let world = Arc::new(tokio::task::block_in_place(|| PgWorld::open(&url)).unwrap());
    let store = StoreDatabase::default();
    store.set(world.clone());
    let login = |user: &str, database: &str| {
        at(url.replace("durhai@", &format!("{user}@")).replace("/postgres?", &format!("/{database}?")))
    };
    let databases = [
        ("own", DatabasePlace::Store),
        ("main", login("durhai", "postgres")),
        ("app", login("app", "postgres")),
        ("granted", login("granted", "postgres")),
        ("other", login("durhai", "other")),
    ];
    let step_env = StepEnvHandle::new(using(databases, &store));
    let twice = Arc::new(Twice(BuiltinSteps::new(step_env.clone())));
    let shared: Arc<dyn World> = world.clone();
    let host = place.host_in(shared, step_env, |builder| builder.steps(twice)).await;
    // Not within a transaction, and so by no step.
    let psql = std::process::Command::new(cluster.bin().join("psql"))
        .args([&cluster.url("x").replace("?schema=x", ""), "-qc", "create database other"])
        .status();
    assert!(psql.expect("psql is there").success());
    for sql in [
        "create table account (number int)",
        "create role app login",
        "create role granted login",
        "grant insert, select on account to app, granted",
        "grant usage on schema runs to granted",
        "alter role granted set timezone = 'Asia/Tokyo'",
    ] {
        call(&host, "sql.execute", &json!({ "database": "own", "sql": sql })).await.unwrap();
    }
    call(&host, "sql.execute", &json!({ "database": "other", "sql": "create table account (number int)" }))
        .await
        .unwrap();
    for (database, times) in [("own", 1), ("main", 1), ("app", 2), ("granted", 1), ("other", 2)] {
        let run = start(
            &host,
            "twice",
            &json!({ "database": database, "sql": "insert into account values (7) returning number" }),
            json!({}),
        )
        .await;
        let done = json!({ "count": 1, "rows": [{ "number": 7 }] });
        assert_eq!(ended(&run).await.unwrap(), json!([done, done]), "{database}");
        let sql = json!({ "database": database, "sql": "select count(*)::int as count from account" });
        assert_eq!(call(&host, "sql.query", &sql).await.unwrap(), json!([{ "count": times }]), "{database}");
        let told: Vec<_> =
            log(&run).await.into_iter().filter(|(level, _)| level == "warn").map(|(_, text)| text).collect();
        match database {
            "app" => {
                assert!(told.len() == 1 && told[0].contains("grant usage on schema \"runs\" to \"app\""), "{told:?}")
            }
            _ => assert!(told.is_empty(), "{database}: {told:?}"),
        }
        if database != "other" {
            call(&host, "sql.execute", &json!({ "database": "own", "sql": "truncate account" })).await.unwrap();
        }
    }
    // A login sees and writes its own records only, and none of the tables.
    for (sql, why) in [
        ("select * from runs.transaction_result", "permission denied"),
        ("insert into runs.transaction_result values ('', 'x', 1, '')", "permission denied"),
    ] {
        let failure = call(&host, "sql.execute", &json!({ "database": "granted", "sql": sql })).await.unwrap_err();
        assert!(failure.message.contains(why), "{failure:?}");
    }
    let others =
        json!({ "database": "own", "sql": "select token from runs.transaction_result where login = '' limit 1" });
    let token = call(&host, "sql.query", &others).await.unwrap()[0]["token"].clone();
    let sql = json!({ "database": "granted", "sql": "select runs.result_1($1) as it", "params": [token] });
    assert_eq!(call(&host, "sql.query", &sql).await.unwrap(), json!([{ "it": null }]));
    // A step that fails leaves nothing, and its next attempt begins anew.
    let failing = json!({ "database": "own", "statements": ["insert into account values (1)", "select 1 / 0"] });
    assert!(call(&host, "sql.execute", &failing).await.unwrap_err().message.contains("division by zero"));
    let sql = json!({ "database": "own", "sql": "select count(*)::int as count from account" });
    assert_eq!(call(&host, "sql.query", &sql).await.unwrap(), json!([{ "count": 0 }]));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_in_rhai_and_what_is_not_granted() {
    let Some(cluster) = cluster() else { return };
    let place = Place::new();
    let steps = r#"
fn make() { sql::execute("main", "create table if not exists line (a int, b text)"); sql::execute("main", [#{ sql: "insert into line values ($1, $2)", params: [1, "x"] }, "insert into line values (2, 'y')"]) }
fn read(input) { sql::query("main", "select a, b from line where a > $1 order by a", [input]) }
fn caught() { try { sql::query("main", "select nothing") } catch (e) { return [e.fatal, e.data.code]; } }
"#;
    place.write("scripts/steps/d.rhai", steps);
    let mut config = using([("main", at(cluster.url("unused")))], &StoreDatabase::default());
    let host = place.host(config.clone()).await;
    assert_eq!(
        call(&host, "d.make", &json!(null)).await.unwrap(),
        json!([{ "count": 1, "rows": [] }, { "count": 1, "rows": [] }])
    );
    assert_eq!(call(&host, "d.read", &json!(1)).await.unwrap(), json!([{ "a": 2, "b": "y" }]));
    assert_eq!(call(&host, "d.caught", &json!(null)).await.unwrap(), json!([true, "42703"]));
    host.shutdown().await;

    config.permissions.sql = SqlGrant::parse(Some("shop")).unwrap();
    let host = place.host(config).await;
    for (step, input) in [("sql.query", json!("select 1")), ("sql.execute", json!("select 1")), ("d.read", json!(1))] {
        let failure = call(&host, step, &input).await.unwrap_err();
        assert!(failure.message.contains("grant it with --allow-sql=main"), "{step}: {}", failure.message);
    }
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_a_secret_that_can_be_changed() {
    let Some(cluster) = cluster() else { return };
    let place = Place::new();
    let plain = place.host(using([("main", at(cluster.url("unused")))], &StoreDatabase::default())).await;
    let world: Arc<dyn World> = Arc::new(MemoryWorld::new());
    call(&plain, "sql.execute", &json!("create role clerk login password 'first-password'")).await.unwrap();
    cluster.ask_for_passwords("clerk").expect("the server asks for passwords");
    place.write("secret", "wrong-password");
    let mut config = using([], &StoreDatabase::default());
    let url = cluster.url("unused").replace("durhai@", "clerk@");
    config.databases = BTreeMap::from([("main".to_owned(), DatabasePlace::At { url, password: Some("db".into()) })]);
    config.secrets.insert("db".into(), SecretSource::File(place.path("secret")));
    let step_env = StepEnvHandle::new(config);
    let host = place.host_in(world, step_env, |builder| builder).await;
    let who = json!("select current_user::text as who");
    let failure = call(&host, "sql.query", &who).await.unwrap_err();
    assert_eq!(failure.attempts, 3, "it may be mended meanwhile");
    assert!(
        failure.message.contains("password authentication failed") && !failure.message.contains("wrong-password"),
        "{failure:?}"
    );
    for password in ["first-password", "second-password"] {
        place.write("secret", password);
        assert_eq!(call(&host, "sql.query", &who).await.unwrap(), json!([{ "who": "clerk" }]));
        call(&plain, "sql.execute", &json!("alter role clerk password 'second-password'")).await.unwrap();
    }
    host.shutdown().await;
    plain.shutdown().await;
}
