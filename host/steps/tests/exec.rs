//! `exec.run` and the module `exec`: programs under permissions.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;

use crate::place::{Place, call, ended, environment, everything, gone, log, names, start, until};
use durhai::{FailureKind, Value};
use durhai_steps::{ExecGrant, PathGrant, Permissions, StepEnvConfig};
use serde_json::json;

/// The built-in step and the function of scripts.
const BOTH: [&str; 2] = ["exec.run", "t.run"];

fn sh(script: &str, more: Value) -> Value {
    let mut input = json!({ "program": "sh", "args": ["-c", script] });
    input.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    input
}

#[tokio::test]
async fn what_a_program_gives() {
    let place = Place::new();
    let mut config = everything(&[("TZ", "UTC"), ("LC_ALL", "C"), ("APP_A", "a"), ("APP_B", "b"), ("OTHER", "o")]);
    config.permissions.env = names(&["APP_A"]);
    config.permissions.read = PathGrant::paths([&place.root]).unwrap();
    let host = place.host(config).await;
    let ok = |stdout: &str| json!({ "status": 0, "stdout": stdout, "stderr": "" });
    let table = [
        (json!({ "program": "true" }), ok("")),
        (sh("echo one; echo two", json!({})), ok("one\ntwo\n")),
        (sh("echo one; echo two >&2; echo three >&2", json!({})), {
            json!({ "status": 0, "stdout": "one\n", "stderr": "two\nthree" })
        }),
        // Never a shell: what would mean something to one is text.
        (json!({ "program": "printf", "args": ["%s|", "$HOME", "`id`", "a b", "*", "; id", ""] }), {
            ok("$HOME|`id`|a b|*|; id||")
        }),
        (json!({ "program": "printf", "args": ["%s|", 1, 2.5, true] }), ok("1|2.5|true|")),
        (json!({ "program": "cat", "stdin": "text\n" }), ok("text\n")),
        (json!({ "program": "cat", "stdin": "" }), ok("")),
        (json!({ "program": "cat", "stdin": { "a": [1] } }), ok("{\"a\":[1]}")),
        (json!({ "program": "cat", "stdin": { "a": [1.5, null] }, "output": "json" }), {
            json!({ "status": 0, "stdout": { "a": [1.5, null] }, "stderr": "" })
        }),
        (json!({ "program": "true", "output": "json" }), json!({ "status": 0, "stdout": null, "stderr": "" })),
        (sh(r"printf '\377\000x'", json!({ "output": "base64" })), ok("/wB4")),
        (sh("exit 3", json!({ "expect": [0, 3] })), json!({ "status": 3, "stdout": "", "stderr": "" })),
        (json!({ "program": "pwd", "cwd": place.text("scripts") }), ok(&(place.text("scripts") + "\n"))),
        (sh("echo $TZ $LC_ALL $APP_A $APP_B $OTHER", json!({})), ok("UTC C a\n")),
        (sh("echo $APP_A $NEW $N", json!({ "env": { "APP_A": "mine", "NEW": "new", "N": 5 } })), ok("mine new 5\n")),
        (
            sh(
                "echo $DURHAI_STEP_ID $DURHAI_ATTEMPT; test $DURHAI_IDEMPOTENCY_KEY = $DURHAI_RUN_ID/$DURHAI_STEP_ID",
                json!({ "env": { "DURHAI_ATTEMPT": 9 } }),
            ),
            ok("1 1\n"),
        ),
        (sh("expr length $TRACEPARENT", json!({})), ok("55\n")),
        (sh("echo $TRACEPARENT", json!({ "env": { "TRACEPARENT": "mine" } })), ok("mine\n")),
        (sh("yes | head -c 1100000", json!({ "max_output": 2_097_152 })), ok(&"y\n".repeat(550_000))),
        (sh("echo done", json!({ "timeout": "1m" })), ok("done\n")),
    ];
    for step in BOTH {
        for (input, wanted) in &table {
            let found = call(&host, step, input).await.unwrap_or_else(|error| panic!("{step} {input}: {error:?}"));
            assert!(found == *wanted, "{step} {input}: {found}");
        }
    }
    for (step, wanted) in [
        ("t.bytes", json!(" ff ff ff\n")),
        ("t.plain", json!("1 2.5 true a b\n")),
        ("t.caught", json!(["sh ended with exit status 3: why", 3, false])),
    ] {
        assert_eq!(call(&host, step, &Value::Null).await.unwrap(), wanted, "{step}");
    }
    host.shutdown().await;
}

#[tokio::test]
async fn what_goes_wrong() {
    let place = Place::new();
    place.write("script", "#!/no/such/interpreter\n");
    let mut config = everything(&[]);
    config.permissions.read = PathGrant::paths([&place.root]).unwrap();
    let host = place.host(config).await;
    // Attempts of at most 3, and a part of the message.
    let table = [
        (sh("exit 3", json!({})), 3, "sh ended with exit status 3"),
        (sh("echo first >&2; echo the reason >&2; echo >&2; exit 75", json!({})), 3, "status 75: the reason"),
        (sh("exit 1", json!({ "expect": [3] })), 3, "status 1"),
        (sh("exit 0", json!({ "expect": [1] })), 3, "status 0"),
        (sh("kill -9 $$", json!({})), 3, "sh was killed by signal 9"),
        (sh("sleep 1000", json!({ "timeout": "50ms" })), 3, "sh took longer than 50ms and was ended"),
        (sh("sleep 1000", json!({ "timeout": 0.05 })), 3, "sh took longer than 50ms and was ended"),
        (sh("no-such-program-at-all", json!({})), 1, "status 127"),
        (sh("exit 126", json!({})), 1, "status 126"),
        (sh("yes", json!({})), 1, "sh wrote more than 1048576 bytes to stdout"),
        (sh("echo 12345", json!({ "max_output": 5 })), 1, "sh wrote more than 5 bytes"),
        (sh("true", json!({ "max_output": 2_097_153 })), 1, "2097152 bytes at most"),
        (sh(r"printf 'ab\377'", json!({})), 1, "no UTF-8 text (byte 2): take it with output: \"base64\""),
        (sh("echo '{]'", json!({ "output": "json" })), 1, "no JSON (key must be a string at line 1 column 2): {]"),
        (sh("true", json!({ "output": "xml" })), 1, "unknown variant `xml`"),
        (sh("echo '{\"id\":123456789012345678901234567890}'", json!({ "output": "json" })), 1, {
            "output.id: 123456789012345678901234567890 does not fit into 64 bits: send it as text"
        }),
        (sh("true", json!({ "tiemout": 5 })), 1, "unknown field `tiemout`"),
        (sh("true", json!({ "timeout": "soon" })), 1, "\"soon\" is no duration"),
        (sh("true", json!({ "timeout": 0 })), 1, "`timeout` is 0: no program is that fast"),
        (sh("true", json!({ "timeout": [1] })), 1, "`timeout`: an array is no duration"),
        (sh("true", json!({ "timeout": -1 })), 1, "negative"),
        (sh("true", json!({ "env": { "A": [] } })), 1, "expected text, a number or a truth value"),
        (sh("true", json!({ "env": { "A": "a" }, "secrets": { "A": "a" } })), 1, "stands in env and in secrets"),
        (json!({ "program": "echo", "args": ["a\0b"] }), 1, "zero byte"),
        (json!({ "program": "no-such-program" }), 1, "there is no program no-such-program in the folders of PATH (/"),
        (json!({ "program": "/no/such" }), 1, "there is no program at /no/such: No such file"),
        (json!({ "program": place.text("scripts") }), 1, "this is no file"),
        (json!({ "program": place.text("script") }), 1, "not executable"),
        (json!({ "program": "true", "cwd": place.text("nowhere") }), 1, "true cannot run in"),
        (json!({ "program": "true", "cwd": place.text("script") }), 1, "this is no folder"),
    ];
    for step in BOTH {
        for (input, attempts, wanted) in &table {
            let failure = call(&host, step, input).await.unwrap_err();
            assert!(failure.message.contains(wanted), "{step} {input}: {failure:?}");
            assert_eq!((failure.kind, failure.attempts), (FailureKind::StepFailed, *attempts), "{step} {input}");
        }
    }
    let failure = call(&host, "exec.run", &json!({ "program": "true", "args": "text" })).await.unwrap_err();
    assert!(failure.message.contains("invalid type: string \"text\", expected a sequence"), "{failure:?}");
    let input = sh("echo out; echo err >&2; exit 3", json!({}));
    let data = call(&host, "exec.run", &input).await.unwrap_err().data;
    assert_eq!(data, json!({ "status": 3, "stdout": "out\n", "stderr": "err" }));
    let data = call(&host, "exec.run", &sh("kill -15 $$", json!({}))).await.unwrap_err().data;
    assert_eq!(data["signal"], 15);
    host.shutdown().await;
}

/// `bin/` and `later/` are the folders of PATH; `tool` of `bin/` is granted by its name, `own/direct` by its path.
fn playground() -> (Place, StepEnvConfig) {
    let place = Place::new();
    for folder in ["bin", "later", "own", "data", "closed"] {
        fs::create_dir(place.path(folder)).unwrap();
    }
    for (link, target) in [
        ("bin/tool", "../hop"),
        ("hop", "/bin/sh"),
        ("bin/other", "/bin/sh"),
        ("later/tool", "/bin/sh"),
        ("later/late", "/bin/sh"),
        ("later/direct", "/bin/sh"),
        ("own/direct", "/bin/sh"),
        ("own/beside", "/bin/sh"),
        ("data/tool", "/bin/sh"),
        ("data/out", "../closed"),
        ("data/linked", "../bin/tool"),
        ("again", "bin"),
    ] {
        symlink(target, place.path(link)).unwrap();
    }
    let path = format!("{}:{}:.::data", place.text("bin"), place.text("later"));
    let exec = ExecGrant::parse(Some(&format!("tool,{}", place.text("own/direct"))), &path).unwrap();
    let permissions = Permissions {
        exec,
        read: PathGrant::paths([place.path("data")]).unwrap(),
        // The folder of the test and no more: what is outside must be safe from a test that fails.
        write: PathGrant::paths([&place.root]).unwrap(),
        env: names(&["APP_*", "ONE"]),
        ..Permissions::none()
    };
    let variables = [("PATH", &*path), ("APP_A", "a"), ("ONE", "1"), ("HOME", "/"), ("ONE_MORE", "2"), ("SECRET", "x")];
    let environment = environment(&variables);
    (place, StepEnvConfig { permissions, environment, ..StepEnvConfig::default() })
}

#[tokio::test]
// Over 80 lines: a table of cases.
async fn only_what_was_granted_runs() {
    let (place, config) = playground();
    let host = place.host(config).await;
    let within = |name: &str| name.replace("ROOT", &place.text(""));
    for step in BOTH {
        for asked in ["tool", "ROOTbin/tool", "ROOTbin/../bin/./tool", "ROOTagain/tool", "ROOTown/direct"] {
            let asked = within(asked);
            let input = json!({ "program": asked, "args": ["-c", "echo $0"] });
            let found = call(&host, step, &input).await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
            // What runs is called what it was granted as, whatever it is a link to.
            let wanted = if asked.contains("direct") { "own/direct" } else { "bin/tool" };
            assert_eq!(found["stdout"], place.text(wanted) + "\n", "{asked}");
        }
        let table = [
            "other",
            "late",
            "direct",
            "beside",
            "sh",
            "/bin/sh",
            "/usr/bin/env",
            "env",
            "./tool",
            "../tool",
            "bin/tool",
            "ROOTbin/other",
            "ROOTlater/tool",
            "ROOTlater/late",
            "ROOTlater/direct",
            "ROOTdata/tool",
            "ROOTown/beside",
            "ROOTown/../bin/other",
            "ROOTbin/../later/tool",
            "ROOTdata/linked",
            "ROOTagain/other",
            "ROOTBIN/tool",
            "ROOTbin/Tool",
            "Tool",
            "TOOL",
            "tool ",
            " tool",
            "tool\n",
            "\ttool",
            "too",
            "toolx",
            "t*",
            "*",
            "tool;sh",
            "tool -c id",
            "$(sh)",
            "`sh`",
            "~/tool",
            "|sh",
            "no-such-program",
            "ROOTno/such",
            "ROOTbin",
            "ROOTbin/",
            "/",
            ".",
            "..",
            "-c",
            "PATH=/bin sh",
            "tool,sh",
            "ROOTbin/tool,/bin/sh",
        ];
        for asked in table {
            let asked = within(asked);
            let failure = call(&host, step, &json!({ "program": asked, "args": ["-c", "true"] })).await.unwrap_err();
            let wanted = format!("running {asked} is not allowed: grant it with --allow-exec={asked}");
            assert_eq!((&failure.message, failure.attempts), (&wanted, 1), "{step}");
        }
        for asked in ["", "tool\0", "\0", "ROOTbin/tool\0sh"] {
            let failure = call(&host, step, &json!({ "program": within(asked) })).await.unwrap_err();
            assert!(failure.message.contains("is no name of a program"), "{step} {asked:?}: {failure:?}");
            assert_eq!(failure.attempts, 1);
        }
        for (variable, wanted) in [
            ("LD_PRELOAD", "--allow-exec"),
            ("LD_LIBRARY_PATH", "--allow-exec"),
            ("ld_preload", "--allow-exec"),
            ("DYLD_INSERT_LIBRARIES", "--allow-exec"),
            ("PATH", "--allow-exec"),
            ("HOME", "--allow-exec"),
            ("IFS", "--allow-exec"),
            ("ENV", "--allow-exec"),
            ("BASH_ENV", "--allow-exec"),
            ("RIPGREP_CONFIG_PATH", "--allow-exec"),
            ("HGRCPATH", "--allow-exec"),
            ("GTK_MODULES", "--allow-exec"),
            ("BASH_FUNC_ls%%", "--allow-exec"),
            ("PYTHONPATH", "--allow-exec"),
            ("PYTHONSTARTUP", "--allow-exec"),
            ("NODE_OPTIONS", "--allow-exec"),
            ("PERL5OPT", "--allow-exec"),
            ("RUBYOPT", "--allow-exec"),
            ("GIT_SSH_COMMAND", "--allow-exec"),
            ("RUSTC_WRAPPER", "--allow-exec"),
            ("PAGER", "--allow-exec"),
            ("", "is no name of a variable"),
            ("A=B", "is no name of a variable"),
            ("A\0", "is no name of a variable"),
        ] {
            let failure = call(&host, step, &json!({ "program": "tool", "env": { variable: "x" } })).await.unwrap_err();
            assert!(failure.message.contains(wanted), "{step} {variable}: {failure:?}");
            assert_eq!(failure.attempts, 1);
            let input = json!({ "program": "tool", "secrets": { variable: "none" } });
            assert!(call(&host, step, &input).await.unwrap_err().message.contains(wanted), "{step} {variable}");
        }
        for folder in ["ROOT", "ROOTclosed", "ROOTdata/out", "ROOTdata/../closed", "/", "..", "ROOTno-such"] {
            let failure = call(&host, step, &json!({ "program": "tool", "cwd": within(folder) })).await.unwrap_err();
            assert!(failure.message.contains("grant it with --allow-read="), "{step} {folder}: {failure:?}");
            assert_eq!(failure.attempts, 1);
        }
    }
    // Only what may be read reaches the program.
    let input = json!({ "program": "tool", "args": ["-c", "echo $APP_A$ONE$ONE_MORE$SECRET"] });
    let found = call(&host, "exec.run", &input);
    assert_eq!(found.await.unwrap()["stdout"], "a1\n");
    host.shutdown().await;
}

#[tokio::test]
async fn nothing_runs_where_nothing_was_granted() {
    let place = Place::new();
    let config = StepEnvConfig { environment: environment(&[]), ..StepEnvConfig::default() };
    let host = place.host(config).await;
    for step in BOTH {
        for asked in ["sh", "/bin/sh", "no-such-program"] {
            let failure = call(&host, step, &json!({ "program": asked })).await.unwrap_err();
            assert_eq!(failure.message, format!("running {asked} is not allowed: grant it with --allow-exec={asked}"));
        }
    }
    host.shutdown().await;
}

#[tokio::test]
async fn a_granted_program_stays_what_it_was() {
    let (place, config) = playground();
    let host = place.host(config).await;
    // Writing the whole folder was granted; but not these, and not the link between one of them and its target.
    for name in ["bin/tool", "hop", "own/direct", "again/tool"] {
        let path = place.text(name);
        for step in ["file.write", "file.append", "file.remove"] {
            let mut input = json!({ "path": path });
            if step != "file.remove" {
                input["text"] = "#!/bin/sh\nid\n".into();
            }
            let failure = call(&host, step, &input).await.unwrap_err();
            let wanted = "is not allowed: steps may run";
            assert!(failure.message.contains(wanted) && failure.attempts == 1, "{step} {path}: {failure:?}");
        }
    }
    // What is put in front of it in PATH later does not run.
    let input = json!({ "program": "tool", "args": ["-c", "true"] });
    fs::remove_file(place.path("bin/tool")).unwrap();
    let failure = call(&host, "exec.run", &input).await.unwrap_err();
    assert!(failure.message.contains("cannot be run now: No such file"), "{failure:?}");
    symlink("/bin/cat", place.path("bin/tool")).unwrap();
    let failure = call(&host, "exec.run", &input).await.unwrap_err();
    assert!(failure.message.contains("and leads to") && failure.attempts == 1, "{failure:?}");
    host.shutdown().await;
}

#[test]
fn grants() {
    let (place, _) = playground();
    let path = place.text("bin");
    let parse = |list: &str| ExecGrant::parse(Some(list), &path);
    assert_eq!(ExecGrant::parse(None, ""), Ok(ExecGrant::Everything));
    assert_eq!(parse("").unwrap().and(parse("tool").unwrap()), parse(",tool,").unwrap());
    assert_eq!(ExecGrant::Nothing.and(parse("tool").unwrap()), parse("tool").unwrap());
    assert_eq!(ExecGrant::Everything.and(parse("tool").unwrap()), ExecGrant::Everything);
    place.write("plain", "");
    for (list, wanted) in [
        ("tool,missing", format!("there is no program missing in the folders of PATH ({path})")),
        ("/no/such/tool", "there is no program at /no/such/tool: No such file or directory (os error 2)".into()),
        (&place.text("plain"), format!("there is no program at {}: this file is not executable", place.text("plain"))),
        (&place.text("bin"), format!("there is no program at {}: this is no file", place.text("bin"))),
        (".", "there is no program at .: this is a folder".into()),
    ] {
        assert_eq!(parse(list), Err(wanted), "{list}");
    }
    assert!(ExecGrant::parse(Some("tool"), "").unwrap_err().contains("PATH, where it is looked for, is empty"));
}

#[tokio::test]
async fn variables() {
    let (place, config) = playground();
    let host = place.host(config).await;
    let get = async |input: Value| call(&host, "env.get", &input).await;
    for (input, wanted) in [
        (json!({ "name": "ONE" }), json!("1")),
        (json!({ "name": "APP_A" }), json!("a")),
        (json!({ "name": "APP_A", "default": "b" }), json!("a")),
        (json!({ "name": "APP_NONE", "default": "b" }), json!("b")),
        (json!({ "name": "APP_NONE", "default": null }), Value::Null),
    ] {
        assert_eq!(get(input.clone()).await.unwrap(), wanted, "{input}");
    }
    let found = call(&host, "t.names", &Value::Null).await.unwrap();
    assert_eq!(found, json!(["a", "no", true, false, 7]));
    let refused = "is not allowed: grant it with --allow-env=";
    for step in ["env.get", "t.name"] {
        for (name, wanted) in [
            ("HOME", refused),
            ("PATH", refused),
            ("SECRET", refused),
            ("NOT_SET", refused),
            ("ONE_MORE", refused),
            ("ON", refused),
            ("one", refused),
            ("One", refused),
            (" ONE", refused),
            ("ONE ", refused),
            ("APP", refused),
            ("app_A", refused),
            ("XAPP_A", refused),
            ("*", refused),
            ("O*", refused),
            ("ONE,HOME", refused),
            ("$ONE", refused),
            ("${HOME}", refused),
            ("DURHAI_TOKEN", refused),
            ("DURHAI_SECRET_X", refused),
            ("", "is no name of a variable"),
            ("ONE=1", "is no name of a variable"),
            ("ONE\0", "is no name of a variable"),
            ("APP_*", "the variable APP_* is not set"),
            ("APP_NONE", "the variable APP_NONE is not set"),
        ] {
            let failure = call(&host, step, &json!({ "name": name })).await.unwrap_err();
            assert!(failure.message.contains(wanted), "{step} {name:?}: {failure:?}");
            assert!(wanted != refused || failure.message.ends_with(&format!("--allow-env={name}")), "{failure:?}");
            assert_eq!(failure.attempts, 1, "{step} {name:?}");
        }
    }
    let failure = get(json!({ "name": "ONE", "nmae": 1 })).await.unwrap_err();
    assert!(failure.message.contains("unknown field `nmae`"), "{failure:?}");
    host.shutdown().await;
}

#[tokio::test]
async fn what_nobody_reads_does_no_harm() {
    let place = Place::new();
    let host = place.host(everything(&[])).await;
    let much = "x".repeat(1_000_000);
    for script in ["true", "exec <&-; sleep 0.01", "head -c 1 >/dev/null"] {
        let found = call(&host, "exec.run", &sh(script, json!({ "stdin": much }))).await.unwrap();
        assert_eq!(found["status"], 0, "{script}");
    }
    let found = call(&host, "exec.run", &json!({ "program": "cat", "stdin": much })).await.unwrap();
    assert_eq!(found["stdout"], much);
    host.shutdown().await;
}

#[tokio::test]
async fn stderr_goes_to_the_log_as_far_as_it_is_of_use() {
    let place = Place::new();
    let host = place.host(everything(&[])).await;
    let script = "printf 'one\\r\\n\\ntwo' >&2";
    let run = start(&host, "exec.run", &sh(script, json!({})), json!({})).await;
    assert_eq!(ended(&run).await.unwrap()["stderr"], "one\n\ntwo");
    let line = |text: &str| ("info".to_owned(), text.to_owned());
    assert_eq!(log(&run).await, [line("one"), line(""), line("two")]);

    let script = "head -c 100000 /dev/zero | tr '\\0' x >&2; echo >&2; i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done >&2";
    let run = start(&host, "exec.run", &sh(script, json!({})), json!({})).await;
    let stderr = ended(&run).await.unwrap()["stderr"].as_str().unwrap().to_owned();
    assert!(stderr.len() <= 64 * 1024 && stderr.ends_with("line 2998\nline 2999"), "{}", stderr.len());
    let lines = log(&run).await;
    assert_eq!((lines.len(), &*lines[1_000].1), (1_001, "2001 more lines are not shown"));
    assert_eq!(lines[0].1, "x".repeat(4_096) + " … (95904 bytes are not shown)");
    host.shutdown().await;
}

/// The program starts another one that would run on, and says so.
fn with_child(place: &Place, more: &str) -> String {
    let id = place.text("id");
    format!("sleep 1000 & echo $! > {id}.new; mv {id}.new {id}; echo begun >> {}; {more}", place.text("journal"))
}

#[tokio::test]
async fn the_whole_group_ends() {
    let place = Place::new();
    let host = place.host(everything(&[])).await;
    for step in BOTH {
        // At the time limit of the call, of the step, at the end of the program itself, and when it writes too much.
        for (script, more, options, wanted) in [
            ("wait", json!({ "timeout": "1s" }), json!({ "retry": false }), "sh took longer than 1s"),
            ("wait", json!({}), json!({ "retry": false, "timeout": "1s" }), "longer than 1s"),
            ("yes", json!({}), json!({ "retry": false }), "more than 1048576 bytes"),
            ("exit 4", json!({}), json!({ "retry": false }), "status 4"),
            ("exit 0", json!({}), json!({ "retry": false }), ""),
        ] {
            let input = sh(&with_child(&place, script), more);
            match ended(&start(&host, step, &input, options).await).await {
                Ok(_) => assert_eq!(wanted, ""),
                Err(failure) => {
                    assert!(!wanted.is_empty() && failure.message.contains(wanted), "{script}: {failure:?}")
                }
            }
            gone(&place.path("id")).await;
            fs::remove_file(place.path("id")).unwrap();
        }
        fs::remove_file(place.path("journal")).unwrap();
    }
    host.shutdown().await;
}

#[tokio::test]
async fn a_cancelled_program_may_put_its_things_in_order() {
    let place = Place::new();
    let host = place.host(everything(&[])).await;
    for (step, name) in [("exec.run", "a"), ("t.run", "b")] {
        let tidy = format!("trap 'echo tidied >> {}; exit 0' TERM; wait", place.text(name));
        let input = sh(&with_child(&place, &tidy), json!({}));
        let run = start(&host, step, &input, json!({})).await;
        place.lines("journal", 1).await;
        run.cancel("enough").await.unwrap();
        assert_eq!(ended(&run).await.unwrap_err().kind, FailureKind::Cancelled);
        assert_eq!(place.lines(name, 1).await, ["tidied"]);
        gone(&place.path("id")).await;
        fs::remove_file(place.path("journal")).unwrap();
    }
    host.shutdown().await;
}

#[tokio::test]
async fn a_script_that_asks_can_run_programs_when_it_is_cancelled() {
    let place = Place::new();
    let script = r#"
        fn hold(file) {
            if is_cancelled() { return; }
            let note = |word| exec::run("sh", ["-c", `echo ${word} >> "$0"`, file]);
            note.call("held");
            while !is_cancelled() { sleep(1_000) }
            note.call("freed")
        }
    "#;
    place.write("scripts/steps/lock.rhai", script);
    let host = place.host(everything(&[])).await;
    let run = start(&host, "lock.hold", &place.text("lock").into(), json!({})).await;
    place.lines("lock", 1).await;
    run.cancel("enough").await.unwrap();
    assert_eq!(place.lines("lock", 2).await, ["held", "freed"]);
    host.shutdown().await;
}

#[tokio::test]
async fn one_that_does_not_listen_is_killed() {
    let place = Place::new();
    let host = place.host(everything(&[])).await;
    let deaf = format!("echo $$ > {}; trap '' TERM; while :; do sleep 1000; done", place.text("own-id"));
    let input = sh(&with_child(&place, &deaf), json!({}));
    let run = start(&host, "exec.run", &input, json!({})).await;
    place.lines("own-id", 1).await;
    run.cancel("enough").await.unwrap();
    gone(&place.path("id")).await;
    gone(&place.path("own-id")).await;
    host.shutdown().await;
}

#[tokio::test]
async fn nothing_is_left_when_the_future_is_dropped() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let deaf = format!("echo $$ > {}; trap '' TERM; while :; do sleep 1000; done", place.text("own-id"));
    let input = sh(&with_child(&place, &deaf), json!({}));
    let host = std::sync::Arc::new(place.host(everything(&[])).await);
    let (within, asked) = (host.clone(), input);
    let task = runtime.spawn(async move { within.call_step("exec.run", asked).await.map(drop) });
    place.lines("own-id", 1).await;
    task.abort();
    // The program itself, whose parent this process is, leaves not even an entry in the list.
    let entry = std::path::PathBuf::from(format!("/proc/{}", place.read("own-id").trim()));
    until("no entry of the program", || (!entry.exists()).then_some(())).await;
    gone(&place.path("id")).await;
    runtime.shutdown_background();
    host.shutdown().await;
}
