//! What steps may do: by flags, by `durhai.toml`, by both; and what they may not whatever was granted.

use serde_json::json;

use crate::folder::Folder;

fn write(folder: &Folder, path: &str, text: &str) {
    std::fs::write(folder.path().join(path), text).expect("a file");
}

#[test]
fn a_refusal_says_how_it_is_allowed() {
    let folder = Folder::new();
    let here = folder.path().canonicalize().expect("a folder").display().to_string();
    for (step, input, flag, line) in [
        (
            "file.write",
            json!({ "path": "out dir/x", "text": "a" }),
            format!("--allow-write='{here}/out dir/x'"),
            "write",
        ),
        ("file.read", json!({ "path": "a" }), format!("--allow-read={here}/a"), "read"),
        ("http.get", json!({ "url": "http://127.0.0.1:1/" }), "--allow-net=127.0.0.1:1".into(), "net"),
        ("exec.run", json!({ "program": "ls" }), "--allow-exec=ls".into(), "exec"),
        ("env.get", json!({ "name": "HOME" }), "--allow-env=HOME".into(), "env"),
        ("sql.query", json!({ "sql": "select 1" }), "--allow-sql=main".into(), "sql"),
    ] {
        folder.script("calls", &format!("use_step({step:?}, input)"));
        let run = ["run", "calls", "--input", &input.to_string()];
        let ended = folder.durhai(&run).is(1).says("is not allowed: grant it with --allow-");
        ended.says(&format!("To allow it: {flag} on the command line")).says(&format!("durhai.toml: {line} = ["));
        let bare = flag.replace('\'', "");
        let ended = folder.durhai(&[&run[..], &[bare.as_str()]].concat());
        assert!(!ended.stderr.contains("is not allowed"), "{ended:?}");
    }
}

#[test]
fn the_file_grants_and_the_flags_add() {
    let folder = Folder::new();
    ["a", "b", "c"].iter().for_each(|name| write(&folder, name, name));
    write(&folder, "durhai.toml", "[permissions]\nread = [\"a\"]\nenv = [\"HOME\"]\n");
    let read = |name: &str, flags: &[&str]| {
        let input = json!({ "path": name }).to_string();
        folder.durhai(&[&["step", "file.read", &input], flags].concat())
    };
    assert_eq!(read("a", &[]).is(0).stdout, "\"a\"\n");
    read("b", &[]).is(1).says("--allow-read=");
    assert_eq!(read("b", &["--allow-read=b"]).is(0).stdout, "\"b\"\n");
    assert_eq!(read("a", &["--allow-read=b"]).is(0).stdout, "\"a\"\n");
    read("c", &["--allow-read=b", "--allow-net", "--allow-exec", "--allow-env"]).is(1).says("--allow-read=");
    assert_eq!(read("c", &["--allow-read=b", "--allow-read=c"]).is(0).stdout, "\"c\"\n");
    folder.durhai(&["step", "env.get", "{\"name\":\"HOME\"}"]).is(0);
    folder.durhai(&["step", "env.get", "{\"name\":\"PATH\"}"]).is(1).says("--allow-env=PATH");
    for (flag, said) in [
        ("--allow-net=http://x", "--allow-net"),
        ("--allow-exec=no-such-program-here", "no-such-program-here"),
        ("--allow-read=none/../x", "--allow-read"),
    ] {
        folder.durhai(&["step", "t.echo", flag]).is(2).says(said);
    }
}

#[cfg(unix)]
#[test]
fn what_decides_is_out_of_reach() {
    let folder = Folder::new();
    write(
        &folder,
        "durhai.toml",
        "env_file = \"vars\"\n[secrets]\nkey = { file = \"key\" }\n[permissions]\nread = true\n",
    );
    write(&folder, "vars", "A=1\n");
    write(&folder, "key", "open-sesame\n");
    write(&folder, "token", "s3cr3t\n");
    std::os::unix::fs::symlink(".", folder.path().join("loop")).expect("a link");
    folder.script("read", "use_step(\"file.read\", input)");
    folder.durhai(&["run", "echo", "-q"]).is(0);
    for path in [
        "durhai.toml",
        "loop/durhai.toml",
        "scripts/durhai.toml",
        "scripts/billing/durhai.toml",
        ".env",
        "vars",
        "key",
        "loop/scripts/../key",
        ".durhai/host.json",
        ".durhai/store/db",
        ".durhai/new",
    ] {
        for (step, input) in [
            ("file.read", json!({ "path": path })),
            ("file.write", json!({ "path": path, "text": "" })),
            ("file.remove", json!({ "path": path })),
        ] {
            let args = ["step", step, &input.to_string(), "--allow-write=.", "--allow-exec", "--allow-net"];
            folder.durhai(&args).is(1).says("is out of reach for steps");
        }
    }
    assert!(folder.path().join("durhai.toml").exists() && folder.path().join("key").exists());
    let (_host, _) = folder.serve(&["--token-file", "token", "--allow-write"]);
    for path in ["token", ".durhai/host.json", ".durhai/store/conf"] {
        let input = json!({ "path": path }).to_string();
        folder.durhai(&["start", "read", "--input", &input, "--wait"]).is(1).says("is out of reach for steps");
    }
    // Where everything is allowed a program could do it anyway.
    let input = json!({ "path": "key" }).to_string();
    folder.durhai(&["step", "file.read", &input, "-A"]).is(0);
    write(&folder, "durhai.toml", "[permissions]\nall = true\n");
    folder.durhai(&["step", "file.read", &input]).is(0);
}
