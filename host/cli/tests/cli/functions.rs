//! Functions that another program adds to scripts: known to the commands that cannot load it.

use std::fs;

use crate::folder::Folder;

const ORDER: &str = "let paid = use_step(\"t.echo\", price(input, 2));\npaid + 1";

#[test]
fn functions_of_another_program_are_declared_and_have_stand_ins() {
    let folder = Folder::new();
    let toml = |text: &str| fs::write(folder.path().join("scripts/durhai.toml"), text).expect("written");
    folder.script("order", ORDER);
    let test =
        "fn test_it() {\n    mock(\"t.echo\", |paid| paid);\n    expect(start(\"order\", 5)).completed(11);\n}\n";
    folder.script("order.test", test);

    // Unknown, named, declared.
    let found = folder.durhai(&["check", "scripts/order.rhai"]).is(1);
    assert!(found.stdout.contains("unknown-function"), "{found:?}");
    folder.durhai(&["check", "scripts/order.rhai", "--assume-function", "price/2"]).is(0);
    let found = folder.durhai(&["check", "scripts/order.rhai", "--assume-function", "price/1"]).is(1);
    assert!(found.stdout.contains("price"), "{found:?}");
    toml("[functions]\nprice = 2\n");
    folder.durhai(&["check", "scripts/order.rhai"]).is(0);

    // What is missing is said where it is called.
    let failed = folder.durhai(&["test", "scripts/order.test.rhai", "--no-crash"]).is(1);
    assert!(failed.stdout.contains("price/2 is a function of the program"), "{failed:?}");
    folder.durhai(&["run", "echo", "--id", "r", "-q"]).is(0);
    let replayed = folder.durhai(&["replay", "r", "--script", "scripts/order.rhai"]);
    assert!(format!("{replayed:?}").contains("price/2 is a function of the program"), "{replayed:?}");

    // A test brings its own, a folder one for all.
    folder.script("order.test", &format!("fn function_price(x, n) {{ x * n }}\n{test}"));
    folder.durhai(&["test", "scripts/order.test.rhai"]).is(0);
    folder.script("order.test", test);
    folder.script("_stubs", "fn price(x, n) { twice(x) }\nfn twice(x) { x + x }");
    toml("[functions]\nprice = \"_stubs.rhai\"\n");
    folder.durhai(&["test", "scripts/order.test.rhai"]).is(0);
    folder.durhai(&["check", "scripts/order.rhai"]).is(0);
    let replayed = folder.durhai(&["replay", "r", "--script", "scripts/order.rhai"]);
    assert!(!format!("{replayed:?}").contains("price/2 is a function"), "{replayed:?}");

    // A host that serves does not take stand-ins, and says what it misses.
    let (mut serving, _) = folder.serve(&[]);
    let report = serving.json(|line| line["event"] == "doubtful" && line["workflow"] == "order");
    assert!(report["findings"][0].as_str().is_some_and(|text| text.contains("price")), "{report}");

    for (text, why) in [
        ("[functions]\nprice = \"none.rhai\"\n", "durhai.toml:2"),
        ("[functions]\nprice = \"steps/t.rhai\"\n", "has no function price"),
        ("[functions]\nprice = -1\n", "number of arguments"),
        ("[functions]\nprice = {}\n", "how many arguments it takes"),
        ("[functions]\n\"a.b\" = 1\n", "no name of a function"),
    ] {
        toml(text);
        folder.durhai(&["check", "scripts/order.rhai"]).is(2).says(why);
    }
}
