//! `[steps]`: rules for steps that there are, and steps that are declared.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;

use durhai::{StepRule, StepSource};
use toml::Spanned;
use url::Url;

use super::error::Wrong;
use super::form::{Step, Texts, Words};
use crate::builtin::BuiltinSteps;
use crate::declared::{Declared, ProgramStep, ServiceStep};
use crate::permissions::Permissions;

pub fn rule(step: &Step) -> StepRule {
    StepRule {
        concurrency: step.concurrency.map(NonZeroU32::get),
        shared: step.shared,
        rate: step.rate,
        retry: step.retry.as_ref().map(|retry| retry.0.clone()),
        timeout: step.timeout.map(|timeout| timeout.0),
    }
}

/// A name must be one that the host takes, see [`durhai::Host::set_step_rules`].
pub fn check_name(name: &Spanned<String>) -> Result<(), Wrong> {
    let stem = name.get_ref().strip_suffix('*');
    match stem.unwrap_or(name.get_ref()) {
        "" if stem.is_none() => Err(Wrong::at(name.span(), "a step needs a name")),
        stem if stem.contains('*') => Err(Wrong::at(name.span(), "one `*` may stand at the end of a name")),
        _ => Ok(()),
    }
}

/// The step that is declared under this name, if it is more than rules.
pub fn declared(name: &Spanned<String>, step: &Step, folder: &Path) -> Result<Option<Declared>, Wrong> {
    let declared = match (&step.command, &step.url) {
        (None, None) => return only_rules(name, step).map(|()| None),
        (Some(_), Some(url)) => {
            return Err(Wrong::at(url.span(), "a step has either a `command` or a `url`, this one has both"));
        }
        (Some(command), None) => Declared::Program(program(command, step, folder)?),
        (None, Some(url)) => Declared::Service(service(url, step)?),
    };
    if name.get_ref().contains('*') {
        let message = format!("{:?} stands for many steps, but a `command` or `url` makes one", name.get_ref());
        return Err(Wrong::at(name.span(), message));
    }
    if BuiltinSteps::new(Permissions::none()).knows(name.get_ref()) {
        let message = format!("{:?} is a built-in step: give yours another name", name.get_ref());
        return Err(Wrong::at(name.span(), message));
    }
    Ok(Some(declared))
}

fn program(command: &Spanned<Words>, step: &Step, folder: &Path) -> Result<ProgramStep, Wrong> {
    let not_here = |span| Wrong::at(span, "only a step with a `url` has this; this one has a `command`");
    if let Some(headers) = &step.headers {
        return Err(not_here(headers.span()));
    }
    if let Some(bearer) = &step.bearer {
        return Err(not_here(bearer.span()));
    }
    let words = &command.get_ref().0;
    match words.first() {
        None => return Err(Wrong::at(command.span(), "the command is empty: its first text is the program")),
        Some(program) if program.get_ref().trim().is_empty() => {
            return Err(Wrong::at(program.span(), "the name of the program is empty"));
        }
        Some(_) => {}
    }
    if let Some(word) = words.iter().find(|word| word.get_ref().contains('\0')) {
        return Err(Wrong::at(word.span(), "no argument can have a zero byte in it"));
    }
    let env = texts(step.env.as_ref(), Names::Variables)?;
    let secrets = secrets(step.secrets.as_ref(), Names::Variables)?;
    if let Some((name, _)) =
        step.secrets.iter().flat_map(Spanned::get_ref).find(|(key, _)| env.contains_key(key.get_ref()))
    {
        return Err(Wrong::at(name.span(), format!("{} is in `env` and in `secrets`", name.get_ref())));
    }
    Ok(ProgramStep {
        command: words.iter().map(|word| word.get_ref().clone()).collect(),
        cwd: step.cwd.as_ref().map_or_else(|| folder.to_path_buf(), |cwd| folder.join(cwd.get_ref())),
        env,
        secrets,
        description: description(step),
    })
}

fn service(url: &Spanned<String>, step: &Step) -> Result<ServiceStep, Wrong> {
    let not_here = |span| Wrong::at(span, "only a step with a `command` has this; this one has a `url`");
    if let Some(cwd) = &step.cwd {
        return Err(not_here(cwd.span()));
    }
    if let Some(env) = &step.env {
        return Err(not_here(env.span()));
    }
    check_url(url)?;
    let headers = texts(step.headers.as_ref(), Names::Headers)?;
    let secrets = secrets(step.secrets.as_ref(), Names::Headers)?;
    let same = |key: &str| headers.keys().any(|header| header.eq_ignore_ascii_case(key));
    let bearer = step.bearer.as_ref().map(secret_name).transpose()?;
    for (name, _) in step.secrets.iter().flat_map(Spanned::get_ref) {
        if same(name.get_ref()) {
            return Err(Wrong::at(name.span(), format!("{} is in `headers` and in `secrets`", name.get_ref())));
        }
    }
    if let Some(given) = &step.bearer
        && (same("authorization") || secrets.keys().any(|header| header.eq_ignore_ascii_case("authorization")))
    {
        return Err(Wrong::at(given.span(), "`bearer` makes the header Authorization, which is given as well"));
    }
    Ok(ServiceStep {
        url: url.get_ref().clone(),
        headers,
        secrets,
        bearer,
        timeout: step.timeout.map(|timeout| timeout.0),
        description: description(step),
    })
}

/// Nothing that only a declared step has.
fn only_rules(name: &Spanned<String>, step: &Step) -> Result<(), Wrong> {
    let found = [
        ("cwd", step.cwd.as_ref().map(Spanned::span)),
        ("env", step.env.as_ref().map(Spanned::span)),
        ("headers", step.headers.as_ref().map(Spanned::span)),
        ("bearer", step.bearer.as_ref().map(Spanned::span)),
        ("secrets", step.secrets.as_ref().map(Spanned::span)),
        ("description", step.description.as_ref().map(Spanned::span)),
    ];
    match found.into_iter().find_map(|(key, span)| Some((key, span?))) {
        None => Ok(()),
        Some((key, span)) => {
            let name = name.get_ref();
            Err(Wrong::at(
                span,
                format!("`{key}` is for a step that is made here: {name:?} has no `command` and no `url`"),
            ))
        }
    }
}

fn check_url(url: &Spanned<String>) -> Result<(), Wrong> {
    let text = url.get_ref();
    let bad = |why: &str| Err(Wrong::at(url.span(), format!("{text:?} is no URL of a service: {why}")));
    let parsed = match Url::parse(text) {
        Ok(parsed) => parsed,
        Err(why) => return bad(&why.to_string()),
    };
    match parsed.scheme() {
        "http" | "https" if !parsed.username().is_empty() || parsed.password().is_some() => {
            bad("a password in it would be seen: use `bearer` or `secrets`")
        }
        "http" | "https" => Ok(()),
        _ => bad("it must begin with http:// or https://"),
    }
}

/// What stands left of the `=` in a table of texts.
#[derive(Clone, Copy)]
enum Names {
    Variables,
    Headers,
}

impl Names {
    fn check(self, name: &str) -> Result<(), String> {
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        match self {
            Names::Variables => variable(name),
            Names::Headers if !name.is_empty() && name.chars().all(token) => Ok(()),
            Names::Headers => Err(format!("{name:?} cannot be the name of a header")),
        }
    }

    fn takes(self, value: &str) -> bool {
        match self {
            Names::Variables => !value.contains('\0'),
            Names::Headers => !value.chars().any(|c| c.is_control() && c != '\t'),
        }
    }
}

fn texts(given: Option<&Spanned<Texts>>, names: Names) -> Result<BTreeMap<String, String>, Wrong> {
    let all = given.iter().flat_map(|texts| texts.get_ref());
    all.map(|(key, value)| {
        names.check(key.get_ref()).map_err(|why| Wrong::at(key.span(), why))?;
        match names.takes(value.get_ref()) {
            true => Ok((key.get_ref().clone(), value.get_ref().clone())),
            false => Err(Wrong::at(value.span(), "there is a character in it that cannot be handed over")),
        }
    })
    .collect()
}

/// The same for names of secrets.
fn secrets(given: Option<&Spanned<Texts>>, names: Names) -> Result<BTreeMap<String, String>, Wrong> {
    given.iter().flat_map(|texts| texts.get_ref()).try_for_each(|(_, name)| secret_name(name).map(drop))?;
    texts(given, names)
}

pub fn secret_name(name: &Spanned<String>) -> Result<String, Wrong> {
    let text = name.get_ref();
    match !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
        true => Ok(text.clone()),
        false => {
            let message = format!("{text:?} cannot be the name of a secret: use letters, digits, `-`, `_` and `.`");
            Err(Wrong::at(name.span(), message))
        }
    }
}

pub fn variable(name: &str) -> Result<(), String> {
    match name.is_empty() || name.contains(['=', '\0']) {
        false => Ok(()),
        true => Err(format!("{name:?} cannot be the name of a variable")),
    }
}

fn description(step: &Step) -> String {
    step.description.as_ref().map(|text| text.get_ref().clone()).unwrap_or_default()
}
