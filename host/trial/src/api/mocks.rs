//! Mocks: what stands for steps.

use std::rc::Rc;

use durhai::StepError;
use rhai::{Dynamic, Engine, EvalAltResult, NativeCallContext, Position};

use super::{Hand, context, refuse};
use crate::context::{Mock, Thrown, Verdict, duration, mock, wait};
use crate::values::to_json;

pub fn register(engine: &mut Engine, hand: &Hand) {
    let add = |hand: &Hand, at: Position, step: &str, made: Result<Mock, String>| -> Result<(), Thrown> {
        let context = context(hand, at)?;
        let mock = made.map_err(|why| refuse(at, why))?;
        context.with(at, |test_run| {
            test_run.steps().mocked.insert(step.into());
            test_run.delays.remove(step);
            Ok(())
        })?;
        context.mocks.borrow_mut().insert(step.into(), mock);
        Ok(())
    };
    let h = hand.clone();
    engine.register_fn("mock", move |ctx: NativeCallContext<'_>, step: &str, value: Dynamic| {
        add(&h, ctx.call_position(), step, mock(&value))
    });
    let h = hand.clone();
    engine.register_fn("mock_fail", move |ctx: NativeCallContext<'_>, step: &str, message: &str| {
        add(&h, ctx.call_position(), step, Ok(Mock::Fail(message.into())))
    });
    let times = move |h: &Hand, at: Position, step: &str, times: i64, message: &str, then: &Dynamic| {
        let times = u32::try_from(times).map_err(|_| refuse(at, format!("{times} is no number of failures")))?;
        let made = mock(then).map(|then| Mock::FailTimes(times, message.into(), Rc::new(then)));
        add(h, at, step, made)
    };
    let h = hand.clone();
    engine.register_fn("fail_times", move |ctx: NativeCallContext<'_>, step: &str, n: i64, then: Dynamic| {
        times(&h, ctx.call_position(), step, n, "it fails, as the test wants", &then)
    });
    let h = hand.clone();
    engine.register_fn(
        "fail_times",
        move |ctx: NativeCallContext<'_>, step: &str, n: i64, message: &str, then: Dynamic| {
            times(&h, ctx.call_position(), step, n, message, &then)
        },
    );
    let h = hand.clone();
    engine.register_fn(
        "mock_delay",
        move |ctx: NativeCallContext<'_>, step: &str, delay: Dynamic, value: Dynamic| -> Result<(), Thrown> {
            let at = ctx.call_position();
            let delay = duration(&delay).map_err(|why| refuse(at, why))?;
            add(&h, at, step, mock(&value))?;
            context(&h, at)?.with(at, |test_run| {
                test_run.delays.insert(step.into(), delay);
                Ok(())
            })
        },
    );
    for name in ["use_real", "allow"] {
        let h = hand.clone();
        engine.register_fn(name, move |ctx: NativeCallContext<'_>, pattern: &str| -> Result<(), Thrown> {
            let at = ctx.call_position();
            context(&h, at)?.with(at, |test_run| {
                test_run.steps().real.insert(pattern.into());
                Ok(())
            })
        });
    }
    // How an attempt ends, as in a step.
    let verdict = |error: StepError| -> Result<Dynamic, Thrown> {
        Err(EvalAltResult::ErrorRuntime(Dynamic::from(Verdict(error)), Position::NONE).into())
    };
    engine.register_fn("fatal", move |message: &str| verdict(StepError::fatal(message)));
    engine.register_fn("fatal", move |message: &str, data: Dynamic| {
        verdict(StepError::fatal(message).data(to_json(&data).unwrap_or_default()))
    });
    engine.register_fn("retry_after", move |after: Dynamic, message: &str| match duration(&after) {
        Ok(ms) => verdict(StepError::retry(message).retry_after(wait(ms))),
        Err(why) => Err(refuse(Position::NONE, why)),
    });
}
