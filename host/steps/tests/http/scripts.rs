//! The module `http` of steps in scripts.

use durhai_testkit::PATIENCE;
use serde_json::json;

use super::Place;
use super::server::{Seen, Server, answer};

fn reply(seen: &Seen, _: usize) -> super::server::Reply {
    match &*seen.target {
        "/number" => answer(200, &[("content-type", "application/json")], "[1, 1.5, null]"),
        "/huge" => answer(200, &[("content-type", "application/json")], "18446744073709551615"),
        "/missing" => answer(404, &[("content-type", "application/json")], r#"{ "code": "gone" }"#),
        "/busy" => answer(503, &[], "busy"),
        _ => answer(200, &[], format!("{} {} {}", seen.method, seen.target, seen.body)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_module_speaks_as_the_built_in_steps_do() {
    let server = Server::start(reply).await;
    let place = Place::granted("127.0.0.1").await;
    // Body of a function with the parameter `url`, and its value or a part of the error.
    let table = [
        ("http::get(url + \"/a\").body", Ok(json!("GET /a "))),
        ("http::get(url, #{ query: #{ a: 1 } }).body", Ok(json!("GET /?a=1 "))),
        ("http::post(url, #{ json: #{ a: () } }).body", Ok(json!("POST / {\"a\":null}"))),
        ("http::put(url, #{ form: #{ a: \"b c\" } }).body", Ok(json!("PUT / a=b+c"))),
        ("http::patch(url, #{ body: \"x\" }).body", Ok(json!("PATCH / x"))),
        ("http::delete(url).body", Ok(json!("DELETE / "))),
        ("http::head(url).status", Ok(json!(200))),
        ("http::request(\"options\", url).body", Ok(json!("OPTIONS / "))),
        (
            "let r = http::get(url + \"/number\"); [r.encoding, r.body, type_of(r.body[0])]",
            Ok(json!(["json", [1, 1.5, null], "i64"])),
        ),
        ("http::get(url).headers[\"content-length\"]", Ok(json!("6"))),
        (
            "try { http::get(url + \"/missing\") } catch (e) { return [e.fatal, e.data.status, e.data.body.code]; }",
            Ok(json!([true, 404, "gone"])),
        ),
        (
            "try { http::get(url + \"/busy\") } catch (e) { return [e.fatal, e.data.status, e.data.body]; }",
            Ok(json!([false, 503, "busy"])),
        ),
        (
            "try { http::get(\"http://other.test/\") } catch (e) { return [e.fatal, e.message]; }",
            Ok(json!([true, "connecting to other.test:80 is not allowed: grant it with --allow-net=other.test:80"])),
        ),
        ("http::get(url + \"/missing\", #{ expect: 404 }).status", Ok(json!(404))),
        ("http::get(url + \"/missing\")", Err("/missing answered 404 Not Found: { \"code\": \"gone\" }")),
        ("http::get(url, #{ retries: 1 })", Err("no option \"retries\"")),
        ("http::get(url, #{ url: url })", Err("the URL is the first argument")),
        ("http::get(url, #{ json: |x| x })", Err("$.json: a value of type Fn")),
        ("http::request(\"no way\", url)", Err("\"no way\" is no HTTP method")),
        ("http::get(url + \"/huge\")", Err("body: 18446744073709551615 does not fit into 64 bits: send it as text")),
    ];
    for (body, wanted) in table {
        place.script("table", &format!("fn row(url) {{ {body} }}"));
        let view = place.run("table.row", json!(server.url(""))).await;
        match wanted {
            Ok(value) => assert_eq!((view.output, view.error), (value, None), "{body}"),
            Err(part) => {
                let error = view.error.unwrap();
                assert!(error.message.contains(part), "{body}: {}", error.message);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_nobody_catches_decides_over_the_step() {
    let place = Place::granted("127.0.0.1").await;
    place.script("plain", "fn get(url) { http::get(url).body }");
    for (path, attempts) in [("/missing", 1), ("/busy", 4)] {
        let server = Server::start(reply).await;
        let error = place.fails("plain.get", json!(server.url(path))).await;
        assert_eq!((error.attempts, server.seen().len()), (attempts, attempts as usize));
        assert!(error.data["status"].is_number(), "{:?}", error.data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_asks_can_undo_what_it_did_when_it_is_cancelled() {
    let server = Server::start(reply).await;
    let place = Place::granted("127.0.0.1").await;
    let script = r#"
        fn book(url) {
            if is_cancelled() { return; }
            http::post(url + "/book");
            while !is_cancelled() { sleep(1_000) }
            http::delete(url + "/book");
            http::post(url + "/told")
        }
    "#;
    place.script("room", script);
    let run = place.start("booked", "room.book", &json!(server.url("")), 1).await;
    server.came().await;
    run.cancel("enough").await.unwrap();
    for _ in 0..2 {
        tokio::time::timeout(PATIENCE, server.came()).await.expect("the script tidies up");
    }
    let seen: Vec<_> = server.seen().into_iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
    assert_eq!(seen, ["POST /book", "DELETE /book", "POST /told"]);
}
