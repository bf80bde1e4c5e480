//! Several hosts on one database, each with a folder of its own.

use durhai_world_postgres::cluster::Cluster;
use serde_json::json;

use crate::folder::Folder;

#[test]
fn hosts_on_one_database_know_each_other() {
    let Some(cluster) = Cluster::start(&[]).expect("a server") else {
        eprintln!("skipped: there is no PostgreSQL here (apt-get install postgresql)");
        return;
    };
    let url = cluster.url("hosts");
    let serve = |folder: &Folder, more: &[&str]| folder.serve(&[&["--store", &url, "--lease", "2s"], more].concat());
    let (a, b) = (Folder::new(), Folder::new());
    let (mut first, _) = serve(&a, &[]);
    b.script("echo", "\"new\"");
    let (mut second, told) = serve(&b, &[]);
    assert!(told["workflows"].as_array().expect("a list").iter().all(|one| one["behind"].is_null()), "{told}");
    first.json(|line| line["event"] == "loaded" && line["workflow"] == "echo");
    assert_eq!(a.durhai(&["start", "echo", "--wait"]).is(0).stdout, "\"new\"\n");
    a.durhai(&["workflows"]).is(0).says("this host has version").says("--take-over");

    // Who holds a run, seen from both.
    a.durhai(&["start", "gate", "--id", "g"]).is(0);
    let holder = |folder: &Folder| folder.durhai(&["show", "g", "--json"]).is(0).json()["holder"].clone();
    let (here, there) = (holder(&a), holder(&b));
    assert_eq!((&here["here"], &there["here"]), (&json!(true), &json!(false)));
    assert_eq!((&here["id"], &here["label"]), (&there["id"], &there["label"]));
    let process = format!("process {}", first.child.id());
    assert!(here["label"].as_str().expect("a text").ends_with(&process), "{here}");
    assert!(b.durhai(&["show", "g"]).is(0).stdout.contains(&process));
    let hosts = |folder: &Folder, more: &[&str]| {
        let hosts = folder.durhai(&[&["hosts", "--json"], more].concat()).is(0).json()["hosts"].clone();
        hosts
            .as_array()
            .expect("a list")
            .iter()
            .map(|host| (host["runs"].clone(), host["here"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(hosts(&a, &[]), [(json!(1), json!(true)), (json!(0), json!(false))]);
    assert_eq!(hosts(&b, &[]), [(json!(1), json!(false)), (json!(0), json!(true))]);
    // From anywhere, without a host that answers.
    assert_eq!(hosts(&Folder::new(), &["--store", &url]), [(json!(1), json!(false)), (json!(0), json!(false))]);

    // It comes back with what it had, and has all hosts serve it.
    first.signal("-TERM");
    assert_eq!(first.wait().code, Some(0));
    let (_first, told) = serve(&a, &["--take-over"]);
    assert!(told["workflows"].as_array().expect("a list").iter().all(|one| one["behind"].is_null()), "{told}");
    second.json(|line| line["event"] == "loaded" && line["workflow"] == "echo");
    let old = b.durhai(&["start", "echo", "--input", "7", "--wait"]).is(0);
    assert_eq!(old.stdout, "7\n");
    // What is tried out runs as it is, and changes nothing for them.
    let texts = b.durhai(&["workflows", "--json"]).is(0).json();
    let c = Folder::new();
    c.script("echo", "\"tried\"");
    assert_eq!(c.durhai(&["run", "echo", "--store", &url]).is(0).stdout, "\"tried\"\n");
    assert_eq!(b.durhai(&["start", "echo", "--input", "8", "--wait"]).is(0).stdout, "8\n");
    // The same of what is left for the hosts: the run has the text that was named, and others do not get it.
    c.script("echo", "\"left\"");
    c.durhai(&["start", "echo", "--store", &url, "--id", "left"]).is(0);
    assert_eq!(b.durhai(&["start", "echo", "--id", "left", "--wait"]).is(0).stdout, "\"left\"\n");
    assert_eq!(b.durhai(&["start", "echo", "--input", "9", "--wait"]).is(0).stdout, "9\n");
    assert_eq!(b.durhai(&["workflows", "--json"]).is(0).json(), texts);
}

/// What a load balancer and a collector of metrics hear through an outage of the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_says_that_its_database_is_away() {
    let Some(mut cluster) = Cluster::start(&[]).expect("a server") else {
        eprintln!("skipped: there is no PostgreSQL here (apt-get install postgresql)");
        return;
    };
    let url = cluster.url("away");
    let folder = Folder::new();
    let (_host, told) = folder.serve(&["--store", &url, "--lease", "3s"]);
    let address = told["address"].as_str().expect("an address").to_owned();
    let client = reqwest::Client::new();
    let get = async |path: &str| {
        let answer = client.get(format!("{address}{path}")).send().await.expect("it answers");
        (answer.status().as_u16(), answer.text().await.expect("a text"))
    };
    let until = async |status: u16| {
        let began = std::time::Instant::now();
        loop {
            let (found, text) = get("/readyz").await;
            if found == status {
                return text;
            }
            assert!(began.elapsed().as_secs() < 60, "{found}: {text}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    until(200).await;
    assert_eq!(folder.durhai(&["start", "echo", "--wait", "--input", "1"]).is(0).stdout, "1\n");
    cluster.kill().expect("it ends");
    let why = until(503).await;
    assert!(why.contains("has not answered for") || why.contains("has not heard of this host"), "{why}");
    // The process is well: nobody has to start it again.
    assert_eq!(get("/healthz").await.0, 200);
    cluster.begin().expect("it starts again");
    until(200).await;
    assert_eq!(folder.durhai(&["start", "echo", "--wait", "--input", "2"]).is(0).stdout, "2\n");
    let (_, metrics) = get("/metrics").await;
    let value = |name: &str| -> f64 {
        let line =
            metrics.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}"));
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    };
    assert!(value("durhai_link_reconnects_total") >= 1.0 && value("durhai_link_resumes_total") >= 1.0, "{metrics}");
    assert_eq!((value("durhai_host_ready"), value("durhai_world_silence_seconds")), (1.0, 0.0));
    assert!(value("durhai_link_batches_total") >= 2.0 && value("durhai_hosts") >= 1.0);
}
