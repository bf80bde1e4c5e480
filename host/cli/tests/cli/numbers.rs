//! Numbers on the command line: exact, or refused with the place.

use serde_json::json;

use crate::folder::Folder;

const ASKS: &str = "[suspend(\"which?\"), wait_for(\"go\"), hook(#{ token: input }).wait().body]";

#[test]
fn every_command_takes_a_number_as_it_is_or_refuses_it() {
    let folder = Folder::new();
    folder.script("asks", ASKS);
    folder.durhai(&["run", "echo", "--id", "e", "--input", "1"]).is(0);
    folder.durhai(&["start", "asks", "--id", "a", "--input", "\"tok\""]).is(0);
    for (number, fits) in [
        ("9223372036854775807", true),
        ("-9223372036854775808", true),
        ("\"123456789012345678901234567890\"", true),
        ("9223372036854775808", false),
        ("123456789012345678901234567890", false),
    ] {
        let value = format!("{{\"order\":{{\"id\":{number}}}}}");
        std::fs::write(folder.path().join("in.json"), &value).expect("a file");
        let set = format!("1={value}");
        for (args, named) in [
            (&["run", "echo", "--input", &value][..], "--input: "),
            (&["run", "echo", "--input", "@in.json"], "--input from in.json: "),
            (&["start", "echo", "--input", &value], "--input: "),
            (&["step", "t.echo", &value], "the input: "),
            (&["signal", "a", "go", &value], "the payload: "),
            (&["replay", "e", "--set", &set], "--set 1: "),
            (&["fork", "e", "--after", "1", "--set", &set], "--set 1: "),
        ] {
            let ended = folder.durhai(args);
            match fits {
                true => drop(ended.is(0)),
                false => {
                    let said = format!("{named}order.id: {number} does not fit into 64 bits: send it as text");
                    ended.is(2).says(&said);
                }
            }
        }
        // What the commands for people and hooks say of it comes before they look for whom it is.
        if !fits {
            for (args, named) in [(["resume", "a"], "the answer: "), (["hook", "tok"], "the body: ")] {
                let ended = folder.durhai(&[args[0], args[1], &value]);
                ended.is(2).says(&format!("{named}order.id: {number} does not fit"));
            }
        }
        let ended = folder.durhai_with(&["run", "echo", "--input", "-"], &value);
        if fits {
            assert_eq!(ended.is(0).stdout.trim(), value);
        } else {
            ended.is(2).says("--input from standard input: order.id: ");
        }
    }
    assert_eq!(folder.durhai(&["show", "e", "--json"]).is(0).json()["input"], json!(1));
}

#[test]
fn tags_have_limits() {
    let folder = Folder::new();
    let long = format!("k={}", "v".repeat(257));
    let many: Vec<String> = (0..33).flat_map(|n| ["--tag".to_owned(), format!("k{n}=v")]).collect();
    let many: Vec<&str> = ["start", "echo"].into_iter().chain(many.iter().map(String::as_str)).collect();
    for (args, said) in [
        (&["start", "echo", "--tag", &long][..], "the value of the tag `k` has 257 bytes; it can have 256"),
        (&["run", "echo", "--tag", &long], "has 257 bytes; it can have 256"),
        (&many, "33 tags are given; a run can have 32"),
    ] {
        folder.durhai(args).is(2).says(said);
    }
    assert_eq!(folder.durhai(&["list", "--json"]).is(0).json()["runs"], json!([]));
}
