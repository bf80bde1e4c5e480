//! A program as a step: input as JSON on stdin, output as JSON on stdout.

use std::path::Path;
use std::sync::Arc;

use durhai::{StepContext, StepError, Value};

use super::ProgramStep;
use crate::attempt::Caller;
use crate::exec::{Ending, Job, MOST_OUTPUT, failed, for_declared, in_json, run};
use crate::permissions::find;
use crate::step_env::StepEnv;

/// What a program says that wants to be run again (`EX_TEMPFAIL` of sysexits.h).
const TRY_AGAIN: i32 = 75;

/// One attempt. Exit status 0 is done, 75 asks for another attempt, as does the end by a signal; anything else is fatal.
pub async fn call(
    step_env: Arc<StepEnv>,
    step: ProgramStep,
    context: StepContext,
    input: Value,
) -> Result<Value, StepError> {
    let caller = Caller::new(&context);
    let ProgramStep { command, cwd, env, secrets, .. } = step;
    let mut words = command.into_iter();
    let Some(name) = words.next() else {
        return Err(StepError::fatal(format!("the command of the step {} is empty", caller.step)));
    };
    let search = step_env.environment.get("PATH").unwrap_or_default();
    // A path, not a name: from the folder it runs in, whatever the host's own folder is.
    let place = match name.contains(['/', std::path::MAIN_SEPARATOR]) {
        true => cwd.join(Path::new(&name)).display().to_string(),
        false => name.clone(),
    };
    let job = Job {
        file: find(&place, search).map_err(|why| StepError::fatal(format!("the step {}: {why}", caller.step)))?,
        name,
        args: words.collect(),
        stdin: input.to_string().into_bytes(),
        cwd: if cwd.as_os_str().is_empty() { ".".into() } else { cwd },
        variables: for_declared(&step_env, &caller, env, &secrets)?,
        timeout: None,
        max_output: MOST_OUTPUT,
    };
    let name = job.name.clone();
    let tell = |line| caller.log("info", line, Value::Null);
    let done = run(job, &step_env.known, &tell, context.cancelled()).await?;
    match done.ending {
        Ending::Status(0) => in_json(&name, &done.stdout, &step_env),
        Ending::Status(TRY_AGAIN) | Ending::Signal(_) => Err(failed(&step_env, &name, &done, StepError::retry)),
        Ending::Status(_) => Err(failed(&step_env, &name, &done, StepError::fatal)),
    }
}
