use std::fs;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::known::{LONGEST, MANY_FORMS};
use crate::{Environment, Permissions, SecretSource, StepEnvConfig, StepEnvHandle};

const KEY: &str = "s3cr3t/K+y\"ü";

fn step_env(variables: &[(&str, &str)], secrets: &[(&str, SecretSource)]) -> StepEnvHandle {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    StepEnvHandle::new(StepEnvConfig {
        permissions: Permissions::none(),
        environment: Environment::from_iter(variables),
        secrets: secrets.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect(),
        ..StepEnvConfig::default()
    })
}

#[test]
fn a_secret_is_hidden_however_it_is_written() {
    let mask = step_env(&[("DURHAI_SECRET_STRIPE", KEY)], &[]).mask();
    let hex: String = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let table = [
        KEY.to_owned(),
        serde_json::json!(KEY).to_string(),
        "s3cr3t%2FK%2By%22%C3%BC".into(),
        "s3cr3t%2fK%2by%22%c3%bc".into(),
        STANDARD.encode(KEY),
        URL_SAFE_NO_PAD.encode(KEY),
        hex.to_uppercase(),
        hex,
    ];
    for form in table {
        let hidden = mask(&format!("a {form} b {form}")).unwrap_or_else(|| panic!("{form} is not hidden"));
        let plain = hidden.replace('"', "");
        assert_eq!(plain, "a [secret stripe] b [secret stripe]", "{form}");
    }
    // Inside something longer the letters at both ends belong to it and to what stands beside it.
    for user in ["u", "us", "use", "user"] {
        let basic = STANDARD.encode(format!("{user}:{KEY}:more"));
        let hidden = mask(&basic).unwrap_or_else(|| panic!("{basic} is not hidden"));
        assert!(hidden.contains("[secret stripe]") && hidden.len() < "[secret stripe]".len() + 20, "{hidden}");
    }
    let key = "0123456789abcdef-".repeat(MANY_FORMS / 16);
    let mask_key = step_env(&[("DURHAI_SECRET_KEY", &key)], &[]).mask();
    for user in ["u", "us", "use"] {
        let hidden = mask_key(&STANDARD.encode(format!("{user}:{key}"))).expect("it is hidden");
        assert!(hidden.contains("[secret key]") && hidden.len() < "[secret key]".len() + 10, "{hidden}");
    }
    let long = format!("{KEY}{KEY}{KEY}{KEY}{KEY}{KEY}");
    let mask_long = step_env(&[("DURHAI_SECRET_LONG", &long)], &[]).mask();
    let text = STANDARD.encode(&long);
    let (first, rest) = text.split_at(76);
    assert_eq!(mask_long(&format!("{first}\n{rest}\n")).as_deref(), Some("[secret long]\n[secret long]\n"));
    for innocent in ["", "s3cr3", "stripe", "[secret stripe]", "nothing"] {
        assert_eq!(mask(innocent), None, "{innocent}");
    }
}

#[test]
fn secrets_that_overlap_leave_nothing_behind() {
    let mask = step_env(
        &[("A", "abcdef"), ("B", "cdefghij"), ("C", "hijklmnopqr"), ("D", "abcdefxyz")],
        &["A", "B", "C", "D"].map(|name| (name, SecretSource::Env(name.into()))),
    )
    .mask();
    for (text, wanted) in [
        ("-abcdef-", "-[secret A]-"),
        ("-abcdefghij-", "-[secret B]-"),
        ("-abcdefghijklmnopqr-", "-[secret C]-"),
        ("-abcdefxyz-", "-[secret D]-"),
        ("-abcdefabcdef-", "-[secret A][secret A]-"),
    ] {
        assert_eq!(mask(text).as_deref(), Some(wanted));
    }
}

#[test]
fn excerpts() {
    let known = step_env(&[("DURHAI_SECRET_A", "abcdef")], &[]).current().known.clone();
    for (text, most, whole, wanted) in [
        ("", 4, true, ""),
        ("tea", 4, true, "tea"),
        ("tea", 3, true, "tea"),
        ("tea", 3, false, "te…"),
        ("tea", 2, true, "te…"),
        ("tüe", 2, true, "t…"),
        ("-abcdef-", 20, true, "-[secret A]-"),
        ("-abcdef-", 4, true, "-[se…"),
        ("-abcdef", 20, false, "-[secret A]…"),
        ("--abcd", 6, false, "--…"),
        ("--abcd", 6, true, "--abcd"),
        ("--abcd", 4, true, "--…"),
    ] {
        let wanted = wanted.replace("[secret A]", "[secret a]");
        assert_eq!(known.excerpt(text, most, whole), wanted, "{text} {most} {whole}");
    }
}

#[test]
fn what_is_cut_off_shows_no_beginning_of_a_secret() {
    let step_env = step_env(&[("DURHAI_SECRET_A", "abcdef")], &[]);
    for (text, wanted) in [("x abcdef", "x [secret a]"), ("x abcde", "x "), ("x a", "x "), ("x abcdex", "x abcdex")] {
        assert_eq!(step_env.current().known.hide_cut(text), wanted);
    }
}

#[test]
fn a_file_is_read_each_time_and_what_stood_in_it_stays_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let step_env = step_env(&[], &[("pem", SecretSource::File(path.clone()))]);
    let mask = step_env.mask();
    assert!(step_env.current().secret("pem").unwrap_err().is_misconfigured());
    fs::write(&path, "-- begin --\nfirst line of it\n\r\n").unwrap();
    assert_eq!(step_env.current().secret("pem").unwrap(), "-- begin --\nfirst line of it\n");
    fs::write(&path, "rotated\r\n").unwrap();
    assert_eq!(step_env.current().secret("pem").unwrap(), "rotated");
    // Logs know lines only.
    for text in ["first line of it", "rotated", "-- begin --\nfirst line of it\n"] {
        assert_eq!(mask(text).as_deref(), Some("[secret pem]"));
    }
    step_env.replace(StepEnvConfig::default());
    assert_eq!(mask("rotated").as_deref(), Some("[secret pem]"));
}

#[test]
fn what_is_wrong_is_said_without_the_value() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("binary"), b"\xff\xfe secret").unwrap();
    fs::write(folder.path().join("long"), "x".repeat(LONGEST + 1)).unwrap();
    let file = |name: &str| SecretSource::File(folder.path().join(name));
    let step_env = step_env(
        &[("SHORT", "abcde"), ("DURHAI_SECRET_", "nameless")],
        &[
            ("short", SecretSource::Env("SHORT".into())),
            ("unset", SecretSource::Env("NOT_SET".into())),
            ("missing", file("missing")),
            ("binary", file("binary")),
            ("long", file("long")),
        ],
    );
    for (name, wanted) in [
        ("short", "shorter than 6 bytes"),
        ("unset", "NOT_SET, the variable that the settings name for it, is not set"),
        ("missing", "No such file"),
        ("binary", "no UTF-8"),
        ("long", "longer than 16384 bytes"),
        ("my-key", "or set DURHAI_SECRET_MY_KEY; there are binary, long, missing, short, unset"),
        ("", "there is no secret \"\""),
    ] {
        let error = step_env.current().secret(name).unwrap_err();
        assert!(error.is_misconfigured() && error.message().contains(wanted), "{name}: {error}");
        assert!(!error.message().contains("abcde") && !error.message().contains("xxxx"), "{error}");
    }
}
