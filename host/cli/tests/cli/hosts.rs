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
    let c = Folder::new();
    c.script("echo", "\"tried\"");
    assert_eq!(c.durhai(&["run", "echo", "--store", &url]).is(0).stdout, "\"tried\"\n");
    assert_eq!(b.durhai(&["start", "echo", "--input", "8", "--wait"]).is(0).stdout, "8\n");
}
