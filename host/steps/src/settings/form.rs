//! The form of the file: what may stand where. What values mean together is looked at later.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use durhai::{Rate, RetryPolicy, duration};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::http::Roots;

/// The whole file. What it does not know is an error.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "tables like [permissions]", default)]
pub struct Form {
    pub env_file: Option<Spanned<PathBuf>>,
    /// By the name of a step, or the beginning of some with a `*` behind it.
    pub steps: BTreeMap<Spanned<String>, Step>,
    pub permissions: Granted,
    pub secrets: BTreeMap<Spanned<String>, Spanned<Secret>>,
    pub http: Http,
    /// By name.
    pub databases: BTreeMap<Spanned<String>, Spanned<Database>>,
    /// What another program adds to scripts, by name.
    pub functions: BTreeMap<Spanned<String>, Spanned<Function>>,
}

/// `price = 2`, `vat = [1, 2]`, `discount = "stubs.rhai"`
#[derive(Debug, Clone)]
pub enum Function {
    /// How many arguments its forms take.
    Arguments(Vec<usize>),
    /// A script with functions of this name in its place.
    StandIn(PathBuf),
}

/// `[steps."http.get"]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table like { concurrency = 4, retry = false }", default)]
pub struct Step {
    /// Attempts at a time in this host.
    pub concurrency: Option<NonZeroU32>,
    /// `concurrency` counts for all hosts together.
    pub shared: bool,
    /// Attempts that begin in a while: `"100/s"`.
    #[serde(deserialize_with = "rate")]
    pub rate: Option<Rate>,
    pub retry: Option<Retry>,
    pub timeout: Option<Length>,
    pub description: Option<Spanned<String>>,
    pub secrets: Option<Spanned<Texts>>,
    pub command: Option<Spanned<Words>>,
    pub cwd: Option<Spanned<PathBuf>>,
    pub env: Option<Spanned<Texts>>,
    pub url: Option<Spanned<String>>,
    pub headers: Option<Spanned<Texts>>,
    pub bearer: Option<Spanned<String>>,
}

pub type Texts = BTreeMap<Spanned<String>, Spanned<String>>;

/// A program and its arguments.
#[derive(Debug, Clone)]
pub struct Words(pub Vec<Spanned<String>>);

/// A length of time that is not nothing.
#[derive(Debug, Clone, Copy)]
pub struct Length(pub Duration);

#[derive(Debug, Clone)]
pub struct Retry(pub RetryPolicy);

/// `[permissions]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table like { read = [\"data\"] }", default)]
pub struct Granted {
    pub all: bool,
    pub read: Grant,
    pub write: Grant,
    pub net: Grant,
    pub exec: Grant,
    pub env: Grant,
    pub sql: Grant,
}

#[derive(Debug, Clone, Default)]
pub enum Grant {
    #[default]
    Nothing,
    Everything,
    List(Vec<Spanned<String>>),
}

/// `stripe = { env = "STRIPE_KEY" }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table like { env = \"NAME\" } or { file = \"PATH\" }")]
pub struct Secret {
    pub env: Option<Spanned<String>>,
    pub file: Option<Spanned<PathBuf>>,
}

/// `[databases.main]`
#[derive(Debug, Clone, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table like { url = \"postgres://USER@HOST/DATABASE\", password = \"SECRET\" }"
)]
pub struct Database {
    pub url: Option<Spanned<String>>,
    /// The name of a secret.
    pub password: Option<Spanned<String>>,
    /// The database that the host keeps its runs in.
    #[serde(default)]
    pub store: bool,
}

/// `[http]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table like { proxy = true }", default)]
pub struct Http {
    #[serde(deserialize_with = "roots")]
    pub roots: Roots,
    pub ca_file: Option<Spanned<PathBuf>>,
    pub proxy: bool,
}

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rate>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Rate::parse(&text).map(Some).map_err(D::Error::custom)
}

fn roots<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Roots, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "both" => Ok(Roots::Both),
        "system" => Ok(Roots::System),
        "bundled" => Ok(Roots::Bundled),
        other => Err(D::Error::custom(format!("{other:?} is none of \"both\", \"system\" and \"bundled\""))),
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Words;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the program and its arguments as a list, like [\"python3\", \"resize.py\"]")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Words, A::Error> {
                list(seq).map(Words)
            }
        }
        deserializer.deserialize_any(List)
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Grant;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a list like [\"a\", \"b\"]")
            }
            fn visit_bool<E: Error>(self, all: bool) -> Result<Grant, E> {
                Ok(if all { Grant::Everything } else { Grant::Nothing })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Grant, A::Error> {
                list(seq).map(Grant::List)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de> Deserialize<'de> for Function {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Function;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "how many arguments it takes, like 2 or [1, 2], or a script that has it, like \"stubs.rhai\"",
                )
            }
            fn visit_i64<E: Error>(self, count: i64) -> Result<Function, E> {
                let count =
                    usize::try_from(count).map_err(|_| E::custom(format!("{count} is no number of arguments")))?;
                Ok(Function::Arguments(vec![count]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Function, A::Error> {
                let mut counts = Vec::new();
                while let Some(count) = seq.next_element()? {
                    counts.push(count);
                }
                Ok(Function::Arguments(counts))
            }
            fn visit_str<E: Error>(self, path: &str) -> Result<Function, E> {
                Ok(Function::StandIn(path.into()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match millis(deserializer)? {
            0 => Err(D::Error::custom("it must be longer than nothing")),
            ms => Ok(Length(Duration::from_millis(ms))),
        }
    }
}

impl<'de> Deserialize<'de> for Retry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Retry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("false or a table like { max_attempts = 5, initial = \"1s\" }")
            }
            fn visit_bool<E: Error>(self, again: bool) -> Result<Retry, E> {
                Ok(Retry(if again { RetryPolicy::default() } else { RetryPolicy::never() }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Retry, A::Error> {
                let policy = Policy::deserialize(MapAccessDeserializer::new(map))?;
                let usual = RetryPolicy::default();
                let mut whole = RetryPolicy {
                    max_attempts: policy.max_attempts.map_or(usual.max_attempts, NonZeroU32::get),
                    factor: policy.factor.unwrap_or(usual.factor),
                    jitter: policy.jitter.unwrap_or(usual.jitter),
                    unless: policy.unless,
                    ..usual
                };
                whole.say_waits(policy.initial, policy.max);
                Ok(Retry(whole))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// As in the header of a workflow.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table like { max_attempts = 5, initial = \"1s\" }", default)]
struct Policy {
    max_attempts: Option<NonZeroU32>,
    #[serde(deserialize_with = "some_millis")]
    initial: Option<u64>,
    #[serde(deserialize_with = "factor")]
    factor: Option<f64>,
    #[serde(deserialize_with = "some_millis")]
    max: Option<u64>,
    #[serde(deserialize_with = "fraction")]
    jitter: Option<f64>,
    unless: Vec<String>,
}

fn factor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    match f64::deserialize(deserializer)? {
        factor if factor >= 1.0 && factor.is_finite() => Ok(Some(factor)),
        other => Err(D::Error::custom(format!("{other} is no factor: it must be at least 1"))),
    }
}

fn fraction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    match f64::deserialize(deserializer)? {
        part if (0.0..=1.0).contains(&part) => Ok(Some(part)),
        other => Err(D::Error::custom(format!("{other} is no fraction: it must be from 0 to 1"))),
    }
}

fn some_millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    millis(deserializer).map(Some)
}

/// A number of seconds, or text like `"1h 30m"`.
fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Any;
    impl Visitor<'_> for Any {
        type Value = u64;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration like \"30s\", or a number of seconds")
        }
        fn visit_i64<E: Error>(self, seconds: i64) -> Result<u64, E> {
            self.visit_f64(seconds as f64)
        }
        fn visit_f64<E: Error>(self, seconds: f64) -> Result<u64, E> {
            duration::from_seconds(seconds).map_err(E::custom)
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            duration::parse(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_any(Any)
}

fn list<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Vec<Spanned<String>>, A::Error> {
    let mut all = Vec::new();
    while let Some(text) = seq.next_element()? {
        all.push(text);
    }
    Ok(all)
}
