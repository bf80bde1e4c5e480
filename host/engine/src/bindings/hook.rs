//! `hook`: an address that the outside can send payloads to.

use durhai_core::replay::{Answer, Call};
use rhai::{Dynamic, Engine, NativeCallContext};
use serde_json::json;

use super::args::{self, invalid};
use crate::errors::thrown::{Thrown, throw};
use crate::run::ask::ask;
use crate::run::current;
use crate::values::convert::{self, Budget};
use crate::values::handles::HookHandle;

/// The longest token, in bytes.
const TOKEN: usize = 128;

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("hook", |ctx: NativeCallContext<'_>| hook(&ctx, &Dynamic::UNIT))
        .register_fn("hook", |ctx: NativeCallContext<'_>, options: Dynamic| hook(&ctx, &options))
        .register_type_with_name::<HookHandle>("hook")
        .register_get("token", |hook: &mut HookHandle| hook.0.token.clone())
        .register_get("url", |hook: &mut HookHandle| hook.0.url.clone())
        // By value: a method that borrowed the variable would hold it while it waits, and no other task could close it.
        .register_fn("wait", |ctx: NativeCallContext<'_>, hook: HookHandle| wait(&ctx, &hook, &Dynamic::UNIT))
        .register_fn("wait", |ctx: NativeCallContext<'_>, hook: HookHandle, options: Dynamic| {
            wait(&ctx, &hook, &options)
        })
        .register_fn("close", |ctx: NativeCallContext<'_>, hook: HookHandle| -> Result<(), Thrown> {
            ask(&ctx, || Ok(Call::CloseHook { hook: hook.0.id.clone() }), |_, _| ()).map(drop)
        });
}

fn hook(ctx: &NativeCallContext<'_>, options: &Dynamic) -> Result<HookHandle, Thrown> {
    match ask(ctx, || opening(ctx, options), |_, _| ())? {
        Answer::Hook(hook) => Ok(HookHandle(hook.into())),
        answer => unreachable!("a hook was answered with {answer:?}"),
    }
}

fn opening(ctx: &NativeCallContext<'_>, options: &Dynamic) -> Result<Call, Thrown> {
    let (mut token, mut info) = (None, json!({}));
    if !options.is_unit() {
        for (key, value) in args::options("hook", options, &["token", "schema", "metadata"])? {
            match key.as_str() {
                "token" if value.is_unit() => {}
                "token" => token = Some(checked(args::text("hook: option `token`", &value)?)?),
                "schema" => info["schema"] = args::schema(ctx, "hook: option `schema`", &value)?.document().clone(),
                _ => {
                    let budget = current::run(ctx, |state| Budget::from(state.replay.limits()))?;
                    info["metadata"] = convert::to_value(&value, "metadata", budget).map_err(throw)?;
                }
            }
        }
    }
    Ok(Call::Hook { token, info })
}

fn wait(ctx: &NativeCallContext<'_>, hook: &HookHandle, options: &Dynamic) -> Result<Dynamic, Thrown> {
    ask(ctx, || waiting(hook, options), |_, _| ()).map(args::value_of)
}

fn waiting(hook: &HookHandle, options: &Dynamic) -> Result<Call, Thrown> {
    let mut timeout = None;
    if !options.is_unit() {
        for (_, value) in args::options("wait", options, &["timeout"])? {
            timeout = Some(args::millis("wait: option `timeout`", &value)?);
        }
    }
    Ok(Call::WaitHook { hook: hook.0.id.clone(), timeout })
}

/// A token stands in an address as it is.
fn checked(token: String) -> Result<String, Thrown> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.:~".contains(c);
    match token.len() {
        1..=TOKEN if token.chars().all(legal) => Ok(token),
        1..=TOKEN => {
            invalid(format!("hook: option `token` may hold letters, digits and - _ . : ~ only, found {token:?}"))
        }
        length => invalid(format!("hook: option `token` must have 1 to {TOKEN} characters, found {length}")),
    }
}
