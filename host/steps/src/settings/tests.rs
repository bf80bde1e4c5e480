use super::*;
use crate::declared::{ProgramStep, ServiceStep};
use crate::http::Roots;
use crate::permissions::{Access, PathGrant, Permissions, Refusal};
use crate::secrets::source::SecretSource;
use durhai::{Rate, RetryPolicy};
use std::fs;
#[cfg(unix)]
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const EVERYTHING: &str = r#"
env_file = "vars.env"

[steps."http.get"]
concurrency = 4
shared = true
rate = "100/s"
retry = { max_attempts = 5, initial = "250ms", factor = 3, max = 30, jitter = 0, unless = ["timeout"] }
timeout = "1h 30m"

[steps."shop.*"]
retry = false
timeout = 2.5

[steps."shop.pay"]

[steps.resize]
command = ["python3", "resize.py", ""]
cwd = "pictures"
env = { QUALITY = "80" }
secrets = { API_KEY = "api" }
description = "Makes a picture smaller."
retry = true

[steps.here]
command = ["./here.sh"]

[steps.score]
url = "https://score.example:9000/v1?x=1"
headers = { X-Team = "blue" }
secrets = { X-Key = "api" }
bearer = "api"
timeout = "10s"

[permissions]
read = ["data", "/srv"]
write = true
net = ["api.example.com:443"]
exec = ["sh", "bin/tool"]
env = ["HOME"]
sql = ["main"]

[databases.main]
store = true

[databases.shop]
url = "postgres://shop@db.example/shop?sslrootcert=/etc/ca.pem&sslmode=disable"
password = "api"

[secrets]
api = { env = "API_KEY" }
signing = { file = "keys/signing" }

[http]
roots = "bundled"
ca_file = "ca.pem"
proxy = true
"#;

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

#[cfg(unix)]
#[test]
fn what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    fs::write(root.join("vars.env"), "FROM_FILE=yes\n").unwrap();
    fs::create_dir(root.join("bin")).unwrap();
    fs::write(root.join("bin/tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("bin/tool"), PermissionsExt::from_mode(0o755)).unwrap();
    let settings = Settings::parse(root.join("durhai.toml"), EVERYTHING).unwrap();

    let rules = settings.rules();
    let retry = RetryPolicy {
        max_attempts: 5,
        initial: 250,
        factor: 3.0,
        max: 30_000,
        jitter: 0.0,
        unless: vec!["timeout".into()],
    };
    let rule = StepRule {
        concurrency: Some(4),
        shared: true,
        rate: Some(Rate { count: 100, per: Duration::from_secs(1) }),
        retry: Some(retry),
        timeout: Some(Duration::from_secs(5_400)),
    };
    assert_eq!(rules["http.get"], rule);
    let timeout = Some(Duration::from_millis(2_500));
    assert_eq!(rules["shop.*"], StepRule { retry: Some(RetryPolicy::never()), timeout, ..StepRule::default() });
    assert_eq!(rules["shop.pay"], StepRule::default());
    assert_eq!(rules["resize"].retry, Some(RetryPolicy::default()));

    let config = settings.step_env(&Given::default()).unwrap();
    let program = ProgramStep {
        command: vec!["python3".into(), "resize.py".into(), String::new()],
        cwd: root.join("pictures"),
        env: texts(&[("QUALITY", "80")]),
        secrets: texts(&[("API_KEY", "api")]),
        description: "Makes a picture smaller.".into(),
    };
    assert_eq!(config.declared["resize"], Declared::Program(program));
    let Declared::Program(here) = &config.declared["here"] else { panic!("no program") };
    assert_eq!((&here.command[0][..], &here.cwd), ("./here.sh", &root));
    let service = ServiceStep {
        url: "https://score.example:9000/v1?x=1".into(),
        headers: texts(&[("X-Team", "blue")]),
        secrets: texts(&[("X-Key", "api")]),
        bearer: Some("api".into()),
        timeout: Some(Duration::from_secs(10)),
        description: String::new(),
    };
    assert_eq!(config.declared["score"], Declared::Service(service));
    assert_eq!(config.declared.len(), 3);

    let tool = root.join("bin/tool");
    assert_eq!(config.permissions.program(tool.to_str().unwrap(), ""), Ok(tool));
    assert!(config.permissions.program("sh", "/bin").is_ok());
    assert!(config.permissions.program("ls", "/bin").is_err());
    let Permissions { read, write, .. } = &config.permissions;
    assert_eq!(*read, PathGrant::Paths(vec![root.join("data"), "/srv".into()]));
    assert_eq!(*write, PathGrant::Everything);
    assert_eq!(config.environment.get("FROM_FILE"), Some("yes"));
    assert_eq!(config.secrets["api"], SecretSource::Env("API_KEY".into()));
    assert_eq!(config.secrets["signing"], SecretSource::File(root.join("keys/signing")));
    let shop = DatabasePlace::At {
        url: "postgres://shop@db.example/shop?sslrootcert=/etc/ca.pem&sslmode=disable".into(),
        password: Some("api".into()),
    };
    assert_eq!((&config.databases["main"], &config.databases["shop"]), (&DatabasePlace::Store, &shop));
    assert!(config.permissions.guarded.contains(&"/etc/ca.pem".into()));
    assert!(config.permissions.database("main").is_ok() && config.permissions.database("shop").is_err());
    let http = &config.http;
    assert_eq!((http.roots, &http.ca_file, http.proxy), (Roots::Bundled, &Some(root.join("ca.pem")), true));
}

#[test]
// Over 80 lines: a table of cases.
fn every_mistake_has_its_place() {
    let table = [
        // The form.
        ("[stesp.a]", "1:2", "stesp"),
        ("\n[steps.a]\nconcurency = 4", "3:1", "concurency"),
        ("[steps.a]\nconcurrency = \"4\"", "2:15", "string"),
        ("[steps.a]\nconcurrency = 0", "2:15", "nonzero"),
        ("[steps.a]\nconcurrency = -1", "2:15", "-1"),
        ("[steps.a]\nrate = \"100\"", "2:8", "100/s"),
        ("[steps.a]\nrate = 100", "2:8", "string"),
        ("[steps.a]\nrate = \"ä/s\" x", "2:14", ""),
        ("[steps.a", "1:9", ""),
        ("steps = 4", "1:9", ""),
        ("[steps.http.get]\nconcurrency = 1", "1:13", "[steps.\"http.get\"]"),
        ("[steps.a]\n[steps.a]", "2:8", "duplicate"),
        ("[steps]\na = 1", "2:5", "integer"),
        // Rules.
        ("[steps.a]\ntimeout = \"soon\"", "2:11", "\"1h 30m\""),
        ("[steps.a]\ntimeout = 0", "2:11", "longer than nothing"),
        ("[steps.a]\ntimeout = true", "2:11", "a duration like \"30s\""),
        ("[steps.a]\nretry = 3", "2:9", "{ max_attempts = 5"),
        ("[steps.a]\nretry = { max_attempts = 0 }", "2:26", "nonzero"),
        ("[steps.a]\nretry = { attempts = 3 }", "2:11", "max_attempts"),
        ("[steps.a]\nretry = { initial = \"x\" }", "2:21", "no duration"),
        ("[steps.a]\nretry = { factor = 0.5 }", "2:20", "at least 1"),
        ("[steps.a]\nretry = { factor = nan }", "2:20", "at least 1"),
        ("[steps.a]\nretry = { jitter = 2 }", "2:20", "from 0 to 1"),
        ("[steps.a.retry]\nmax = -1", "2:7", "negative"),
        ("[steps.\"a*b\"]", "1:8", "at the end"),
        ("[steps.\"\"]", "1:8", "needs a name"),
        // Declared steps.
        ("[steps.a]\ncommand = \"ls -l\"", "2:11", "[\"python3\", \"resize.py\"]"),
        ("[steps.a]\ncommand = []", "2:11", "empty"),
        ("[steps.a]\ncommand = [\" \"]", "2:12", "empty"),
        ("[steps.a]\ncommand = [\"ls\", 1]", "2:18", "string"),
        ("[steps.a]\ncommand = [\"ls\", \"\\u0000\"]", "2:18", "zero byte"),
        ("[steps.a]\ncommand = [\"ls\"]\nurl = \"http://x\"", "3:7", "has both"),
        ("[steps.\"a.*\"]\ncommand = [\"ls\"]", "1:8", "many steps"),
        ("[steps.\"file.read\"]\ncommand = [\"cat\"]", "1:8", "built-in"),
        ("[steps.a]\ncommand = [\"ls\"]\nheaders = {}", "3:11", "only a step with a `url`"),
        ("[steps.a]\ncommand = [\"ls\"]\nbearer = \"x\"", "3:10", "only a step with a `url`"),
        ("[steps.a]\ncommand = [\"ls\"]\nenv = { \"A=B\" = \"1\" }", "3:9", "name of a variable"),
        ("[steps.a]\ncommand = [\"ls\"]\nenv = { A = 1 }", "3:13", "string"),
        ("[steps.a]\ncommand = [\"ls\"]\nsecrets = { A = \"a b\" }", "3:17", "name of a secret"),
        (
            "[steps.a]\ncommand = [\"ls\"]\nenv = { A = \"1\" }\nsecrets = { A = \"a\" }",
            "4:13",
            "in `env` and in `secrets`",
        ),
        ("[steps.a]\nurl = \"score\"", "2:7", "no URL"),
        ("[steps.a]\nurl = \"ftp://x/\"", "2:7", "http://"),
        ("[steps.a]\nurl = \"https://\"", "2:7", "host"),
        ("[steps.a]\nurl = \"https://u:p@x/\"", "2:7", "password"),
        ("[steps.a]\nurl = \"http://x\"\ncwd = \"x\"", "3:7", "only a step with a `command`"),
        ("[steps.a]\nurl = \"http://x\"\nenv = { A = \"1\" }", "3:7", "only a step with a `command`"),
        ("[steps.a]\nurl = \"http://x\"\nheaders = { \"a b\" = \"1\" }", "3:13", "name of a header"),
        ("[steps.a]\nurl = \"http://x\"\nheaders = { a = \"1\\r\\nb: 2\" }", "3:17", "handed over"),
        ("[steps.a]\nurl = \"http://x\"\nheaders = { A = \"1\" }\nsecrets = { a = \"s\" }", "4:13", "in `headers` and"),
        ("[steps.a]\nurl = \"http://x\"\nbearer = \"\"", "3:10", "name of a secret"),
        ("[steps.a]\nurl = \"http://x\"\nbearer = \"s\"\nheaders = { AUTHORIZATION = \"1\" }", "3:10", "Authorization"),
        ("[steps.a]\ndescription = \"x\"", "2:15", "no `command` and no `url`"),
        ("[steps.a]\nenv = { A = \"1\" }", "2:7", "no `command` and no `url`"),
        // The rest.
        ("[permissions]\nred = true", "2:1", "red"),
        ("[permissions]\nread = \"data\"", "2:8", "true, false or a list"),
        ("[permissions]\nread = [1]", "2:9", "string"),
        ("[permissions]\nread = [\"a\", \"\"]", "2:14", "empty"),
        ("[permissions]\nwrite = [\"~/out\"]", "2:10", "shells"),
        ("[permissions]\nall = 1", "2:7", "boolean"),
        ("[secrets]\na = \"text\"", "2:5", "string"),
        ("[secrets]\na = {}", "2:5", "either `env`"),
        ("[secrets]\na = { env = \"A\", file = \"b\" }", "2:5", "either `env`"),
        ("[secrets]\na = { env = \"\" }", "2:13", "name of a variable"),
        ("[secrets]\na = { path = \"b\" }", "2:7", "path"),
        ("[secrets]\n\"a b\" = { env = \"A\" }", "2:1", "name of a secret"),
        ("[databases.main]", "1:1", "`store = true`"),
        ("[databases]\nmain = \"postgres://x@y/z\"", "2:8", "expected a table"),
        ("[databases.main]\nurl = \"mysql://x@y/z\"", "2:7", "expected postgres://"),
        ("[databases.main]\nurl = \"postgres://x:secret@y/z\"", "2:7", "the name of a secret"),
        ("[databases.main]\nurl = \"postgres://x@y/z?password=secret\"", "2:7", "the name of a secret"),
        ("[databases.main]\nurl = \"postgres://x:secret@y:1,z:2/z\"", "2:7", "the name of a secret"),
        ("[databases.main]\nurl = \"postgres://x@y/z?sslrootcert=ca.pem\"", "2:7", ""),
        ("[databases.main]\nurl = \"postgres://x@y/z\"\npassword = \"a b\"", "3:12", "name of a secret"),
        ("[databases.main]\nurl = \"postgres://x@y/z\"\nstore = true", "1:1", "no `url`"),
        ("[databases.\"a.b\"]\nstore = true", "1:12", "name of a database"),
        ("[databases.main]\ntimeout = 1", "2:1", "timeout"),
        ("[http]\nroots = \"mine\"", "2:9", "bundled"),
        ("[http]\ntimeout = 3", "2:1", "timeout"),
        ("env_file = true", "1:12", "string"),
        ("\tenv_file = 3", "1:13", "string"),
    ];
    for (text, place, part) in table {
        let error = Settings::parse("x.toml", text).expect_err(text).to_string();
        assert!(error.starts_with(&format!("x.toml:{place}: ")), "{text:?}\n{error}");
        assert!(error.contains(part), "no {part:?} in {error}");
        let caret = error.lines().find(|line| line.trim() == "^").expect("a caret");
        let column: usize = place.split_once(':').expect("two numbers").1.parse().expect("a number");
        assert_eq!(caret.chars().count(), column + 2, "{error}");
    }
}

#[test]
fn what_the_machine_says_has_its_place_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.toml");
    for (text, place) in [
        ("env_file = \"none.env\"", "1:12"),
        ("[permissions]\nnet = [\"ok.example\", \"http://x/\"]", "2:22"),
        ("[permissions]\nread = [\"ok\", \"none/../x\"]", "2:15"),
    ] {
        let settings = Settings::parse(&file, text).expect(text);
        let error = settings.step_env(&Given::default()).expect_err(text).to_string();
        assert!(error.starts_with(&format!("{}:{place}: ", file.display())), "{error}");
    }
    let given = Given { env_file: Some(folder.path().join("none.env")), ..Given::default() };
    let error = Settings::default().step_env(&given).unwrap_err().to_string();
    assert!(error.contains("none.env"), "{error}");
    let error = Settings::read(folder.path().join("none.toml")).unwrap_err().to_string();
    assert!(error.contains("none.toml: the settings cannot be read"), "{error}");
}

#[test]
fn what_is_given_and_what_the_file_grants_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let settings = Settings::parse(root.join("durhai.toml"), "[permissions]\nread = [\"a\"]\nenv = true").unwrap();
    let permissions = Permissions { read: PathGrant::paths([root.join("b")]).unwrap(), ..Permissions::none() };
    let given = Given { permissions, ..Given::default() };
    let found = settings.step_env(&given).unwrap().permissions;
    assert_eq!(found.read, PathGrant::Paths(vec![root.join("b"), root.join("a")]));
    assert_eq!(found.write, PathGrant::Nothing);
    assert_eq!(found.env, Permissions::all().env);
}

/// The settings in `conf/`, reached through a link; secrets, variables and data that exist and that do not.
#[cfg(unix)]
#[test]
fn what_decides_over_permissions_is_out_of_their_reach() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    for path in ["conf/keys", "scripts/sub", "data"] {
        fs::create_dir_all(root.join(path)).unwrap();
    }
    let text = "env_file = \"a.env\"\n[secrets]\nhere = { file = \"keys/here\" }\nlater = { file = \"keys/later\" }\n";
    fs::write(root.join("conf/settings"), text).unwrap();
    fs::write(root.join("conf/a.env"), "").unwrap();
    fs::write(root.join("conf/keys/here"), "s3cr3t!").unwrap();
    std::os::unix::fs::symlink("../conf/settings", root.join("scripts/durhai.toml")).unwrap();
    std::os::unix::fs::symlink("data", root.join("link")).unwrap();
    let everywhere = PathGrant::paths([&root]).unwrap();
    let permissions = Permissions { read: everywhere.clone(), write: everywhere, ..Permissions::none() };
    let given = Given {
        permissions,
        env_file: Some(root.join("conf/a.env")),
        sealed: vec![root.join("data/later/store"), root.join("link/host.json")],
        ..Given::default()
    };
    let mut source = SettingsSource::folders([root.join("scripts"), root.join("other")]).given(given.clone());
    // The folder of the settings is that of the link, by whose name they were found.
    for path in ["a.env", "keys/here"] {
        let path = root.join("scripts").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let permissions = source.load().unwrap().1.permissions;
    for path in [
        "scripts/durhai.toml",
        "scripts/sub/durhai.toml",
        "scripts/sub/../durhai.toml",
        "scripts/Durhai.Toml",
        "new/scripts/durhai.toml",
        "other/durhai.toml",
        "conf/settings",
        "conf/a.env",
        "scripts/a.env",
        "scripts/.env",
        "scripts/keys/here",
        "scripts/keys/later",
        "data/later/store",
        "data/later/store/db",
        "data/host.json",
        "link/host.json",
    ] {
        for access in [Access::Read, Access::Write] {
            let path = root.join(path);
            let path = path.to_str().unwrap();
            let found = permissions.resolve(access, path);
            assert!(matches!(&found, Err(Refusal::Denied(why)) if why.contains("out of reach")), "{path}: {found:?}");
            let found = permissions.resolve_entry(access, path);
            assert!(matches!(found, Err(Refusal::Denied(_))), "{path}: {found:?}");
        }
    }
    // Removing the link would let its place be taken.
    let entry = |path: &str| permissions.resolve_entry(Access::Write, root.join(path).to_str().unwrap());
    assert!(matches!(entry("link"), Err(Refusal::Denied(_))));
    assert!(entry("scripts/x.rhai").is_ok());
    assert!(permissions.resolve(Access::Write, root.join("data/other").to_str().unwrap()).is_ok());

    for (all, text) in [(Permissions::all(), ""), (Permissions::none(), "[permissions]\nall = true")] {
        fs::write(root.join("conf/settings"), text).unwrap();
        let given = Given { permissions: all, ..given.clone() };
        let permissions = SettingsSource::folders([root.join("scripts")]).given(given).load().unwrap().1.permissions;
        assert!(permissions.resolve(Access::Write, root.join("scripts/durhai.toml").to_str().unwrap()).is_ok());
    }
}

#[cfg(unix)]
#[test]
fn what_trusted_steps_run_is_not_theirs_to_change() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    fs::write(root.join("resize.py"), "").unwrap();
    fs::write(root.join("real.sh"), "").unwrap();
    std::os::unix::fs::symlink("real.sh", root.join("link.sh")).unwrap();
    let text = "[permissions]\nread = [\".\"]\nwrite = [\".\"]\n[steps.a]\ncommand = [\"sh\", \"resize.py\", \"x\"]\n\
        [steps.b]\ncommand = [\"./link.sh\"]\n[steps.c]\ncommand = [\"bin/later\"]\n\
        [steps.d]\ncommand = [\"sh\", \"later.sh\", \"--rules=rules.json\", \"-c\", \"parts\"]\n[http]\nca_file = \"ca.pem\"\n";
    let settings = Settings::parse(root.join("durhai.toml"), text).unwrap();
    let permissions = settings.step_env(&Given::default()).unwrap().permissions;
    let may = |access, path: &str| permissions.resolve_entry(access, root.join(path).to_str().unwrap()).is_ok();
    // What is not there yet would run as well, once it was written.
    for path in
        ["resize.py", "real.sh", "link.sh", "bin/later", "later.sh", "later.sh/__main__.py", "rules.json", "ca.pem"]
    {
        assert!(may(Access::Read, path) && !may(Access::Write, path), "{path}");
    }
    assert!(["x", "other.py", "bin/more", "parts/a.txt"].iter().all(|path| may(Access::Write, path)));
}

#[test]
fn the_first_file_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    [&a, &b].iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let mut source = SettingsSource::folders([&a, &b]);
    assert_eq!(source.found(), None);
    assert!(source.load().unwrap().0.is_empty());
    fs::write(b.join("durhai.toml"), "[steps.b]\n").unwrap();
    assert_eq!(source.load().unwrap().0.keys().collect::<Vec<_>>(), ["b"]);
    fs::write(a.join("durhai.toml"), "[steps.a]\n").unwrap();
    assert_eq!(source.load().unwrap().0.keys().collect::<Vec<_>>(), ["a"]);
    let one = folder.path().join("one.toml");
    assert!(SettingsSource::file(&one).load().is_err());
    fs::write(&one, "[steps.one]\n").unwrap();
    assert_eq!(SettingsSource::file(&one).load().unwrap().0.keys().collect::<Vec<_>>(), ["one"]);
}
