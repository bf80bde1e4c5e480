//! A toy script language and a toy engine for it, so that `Replay` is tested without Rhai.
//!
//! `step a; all { step b | sleep 50 }; try { wait go } catch { step undo }`. A failed call ends the task unless a
//! `try` catches it; the task then fails with the same error.

use std::collections::HashMap;

use durhai_core::options::ChildOptions;
use durhai_core::replay::{
    Answer, BODY, Call, Command, Continue, GroupKey, GroupKind, Input, Limits, Next, Outcome, Reply, RunStep,
    StartChild, TaskKey, Verdict, Wake,
};
use durhai_core::{Event, Failure, FailureKind, Replay, RetryPolicy, RunId, Site, StepId, StepOptions, Value};

#[derive(Debug, Clone)]
pub enum Op {
    Call(Call),
    Group(GroupKind, usize, Vec<Vec<Op>>),
    Join(usize),
    CancelTask(usize),
    Try(Vec<Op>, Vec<Op>),
    Fail,
    /// Of the hook that the task opened n-th: waits for a payload, or closes it.
    HookWait(usize),
    HookClose(usize),
    /// Set a key of the state and emit it.
    Show(String),
}

/// Reads a program.
pub fn parse(text: &str) -> Vec<Op> {
    let spaced =
        ["{", "}", "|", ";"].iter().fold(text.to_owned(), |text, sign| text.replace(sign, &format!(" {sign} ")));
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut at = 0;
    let ops = block(&words, &mut at);
    assert_eq!(at, words.len(), "all of {text:?} is read");
    ops
}

fn block(words: &[&str], at: &mut usize) -> Vec<Op> {
    let mut ops = Vec::new();
    while *at < words.len() && !["}", "|"].contains(&words[*at]) {
        let word = words[*at];
        *at += 1;
        let mut arg = || {
            *at += 1;
            words[*at - 1]
        };
        match word {
            ";" => {}
            "step" | "once" => {
                let name = arg();
                let options = StepOptions {
                    retry: RetryPolicy { max_attempts: 2, initial: 100, jitter: 0.0, ..RetryPolicy::default() },
                    once: word == "once",
                    ..StepOptions::default()
                };
                ops.push(Op::Call(Call::Step { name: name.into(), input: Value::from(name), options }));
            }
            "sleep" => ops.push(Op::Call(Call::Sleep(Wake::After(arg().parse().unwrap())))),
            "wait" => ops.push(Op::Call(Call::WaitFor { signal: arg().into(), timeout: None, schema: None })),
            "waitfor" => {
                let signal = arg().into();
                ops.push(Op::Call(Call::WaitFor { signal, timeout: Some(arg().parse().unwrap()), schema: None }));
            }
            "poll" => ops.push(Op::Call(Call::PollSignal { signal: arg().into() })),
            "hook" => {
                let token = Some(arg().to_owned()).filter(|token| token != "_");
                ops.push(Op::Call(Call::Hook { token, info: Value::Null }));
            }
            "hookwait" => ops.push(Op::HookWait(arg().parse().unwrap())),
            "hookclose" => ops.push(Op::HookClose(arg().parse().unwrap())),
            "ask" => {
                let label = Some(arg().to_owned());
                let timeout = Some(arg().parse().unwrap()).filter(|timeout| *timeout > 0);
                ops.push(Op::Call(Call::Suspend { payload: Value::from("ok?"), label, schema: Value::Null, timeout }));
            }
            "child" | "start" => {
                let workflow = arg().into();
                let (input, options) = (Value::from(1), ChildOptions::default());
                ops.push(Op::Call(match word {
                    "child" => Call::Child { workflow, input, options },
                    _ => Call::Start { workflow, input, options },
                }));
            }
            "again" => ops.push(Op::Call(Call::Continue { input: Value::from("next") })),
            "show" => ops.push(Op::Show(arg().into())),
            "join" => ops.push(Op::Join(arg().parse().unwrap())),
            "cancel" => ops.push(Op::CancelTask(arg().parse().unwrap())),
            "fail" => ops.push(Op::Fail),
            "all" => ops.push(Op::Group(GroupKind::All, usize::MAX, branches(words, at))),
            "two" => ops.push(Op::Group(GroupKind::All, 2, branches(words, at))),
            "settle" => ops.push(Op::Group(GroupKind::Settle, usize::MAX, branches(words, at))),
            "race" => ops.push(Op::Group(GroupKind::Race, usize::MAX, branches(words, at))),
            "spawn" => ops.push(Op::Group(GroupKind::Spawn, 1, branches(words, at))),
            "timeout" => {
                let ms = arg().parse().unwrap();
                ops.push(Op::Group(GroupKind::Timeout(ms), 1, branches(words, at)));
            }
            "try" => {
                let body = branches(words, at).remove(0);
                assert_eq!(words[*at], "catch");
                *at += 1;
                ops.push(Op::Try(body, branches(words, at).remove(0)));
            }
            other => panic!("{other:?} is no word of the toy language"),
        }
    }
    ops
}

fn branches(words: &[&str], at: &mut usize) -> Vec<Vec<Op>> {
    assert_eq!(words[*at], "{");
    let mut all = Vec::new();
    while words[*at] != "}" {
        *at += 1;
        all.push(block(words, at));
    }
    *at += 1;
    all
}

/// One instruction after `try` was flattened.
#[derive(Debug, Clone)]
enum Code {
    Op(Op),
    Enter(usize),
    Leave,
    Jump(usize),
}

fn flatten(ops: &[Op], code: &mut Vec<Code>) {
    for op in ops {
        let Op::Try(body, catch) = op else {
            code.push(Code::Op(op.clone()));
            continue;
        };
        let enter = code.len();
        code.push(Code::Leave);
        flatten(body, code);
        code.push(Code::Leave);
        let jump = code.len();
        code.push(Code::Leave);
        code[enter] = Code::Enter(code.len());
        flatten(catch, code);
        code[jump] = Code::Jump(code.len());
    }
}

struct Thread {
    code: Vec<Code>,
    at: usize,
    handlers: Vec<usize>,
    handles: Vec<GroupKey>,
    hooks: Vec<StepId>,
}

/// The toy engine: threads over one replay.
pub struct Machine {
    pub replay: Replay,
    program: Vec<Op>,
    threads: HashMap<TaskKey, Thread>,
    closures: HashMap<GroupKey, Vec<Vec<Op>>>,
    failures: HashMap<(GroupKey, usize), Failure>,
    branch_of: HashMap<TaskKey, (GroupKey, usize)>,
    /// The world's side: attempts it was asked to make.
    pub running: Vec<RunStep>,
    /// Children it was asked to begin, and told that nobody waits for them.
    pub children: Vec<StartChild>,
    pub ended_children: Vec<String>,
    pub successor: Option<Continue>,
    /// What became visible.
    pub shown: Vec<String>,
    /// Tokens that other runs have.
    pub taken: HashMap<String, RunId>,
    /// Whether it says at once what became of hooks and detached runs; workflows whose name begins with `no` are unknown.
    pub answers: bool,
    pub history: Vec<Event>,
}

impl Machine {
    pub fn new(program: &[Op], history: Vec<Event>) -> Self {
        let replay = Replay::new(history.clone(), Limits::default()).unwrap();
        Machine {
            replay,
            program: program.to_vec(),
            threads: HashMap::new(),
            closures: HashMap::new(),
            failures: HashMap::new(),
            branch_of: HashMap::new(),
            running: Vec::new(),
            children: Vec::new(),
            ended_children: Vec::new(),
            successor: None,
            shown: Vec::new(),
            taken: HashMap::from([("taken".to_owned(), RunId::new("other").unwrap())]),
            answers: true,
            history,
        }
    }

    /// Lets everything run until it waits, and takes what came of it.
    pub fn turn(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            self.go_on();
            let turn = self.replay.take();
            self.history.extend(turn.events.iter().cloned());
            events.extend(turn.events);
            self.shown.extend(turn.emitted.into_iter().map(|emitted| emitted.value.to_string()));
            let answers: Vec<_> = turn.commands.into_iter().filter_map(|command| self.command(command)).collect();
            if answers.is_empty() {
                return events;
            }
            self.replay.answer(answers);
        }
    }

    fn go_on(&mut self) {
        loop {
            match self.replay.next() {
                Next::Begin => {
                    let program = self.program.clone();
                    self.spawn(BODY, &program);
                    self.go(BODY, None);
                }
                Next::Branch { task, group, index } => {
                    let ops = self.closures[&group][index].clone();
                    self.branch_of.insert(task, (group, index));
                    self.spawn(task, &ops);
                    self.go(task, None);
                }
                Next::Resume { task, answer } => self.go(task, Some(answer)),
                Next::Idle | Next::Stop => break,
            }
        }
    }

    /// Does what a command says; the answer, if one is due before the turn is over.
    fn command(&mut self, command: Command) -> Option<Input> {
        match command {
            Command::RunStep(step) => self.running.push(step),
            Command::CancelStep(id) => self.running.retain(|step| step.step_id != id),
            Command::OpenHook { step_id, token, .. } if self.answers => {
                let token = token.unwrap_or_else(|| format!("made-for-{step_id}"));
                return Some(match self.taken.get(&token) {
                    Some(run_id) => Input::HookConflict { step_id, token, run_id: run_id.clone() },
                    None => Input::HookOpened { step_id, url: format!("/hooks/{token}"), token },
                });
            }
            Command::StartChild(child) if child.detached && self.answers => {
                return Some(match child.workflow.starts_with("no") {
                    true => Input::Child {
                        step_id: child.step_id,
                        run: None,
                        result: Err(Failure::new(FailureKind::ChildFailed, "there is no such workflow")),
                    },
                    false => Input::Started { step_id: child.step_id, run_id: child.run_id },
                });
            }
            Command::OpenHook { .. } | Command::CloseHook { .. } => {}
            Command::StartChild(child) if child.detached => {}
            Command::StartChild(child) => self.children.push(child),
            Command::EndChild { run_id, .. } => self.ended_children.push(run_id.to_string()),
            Command::Continue(next) => self.successor = Some(*next),
        }
        None
    }

    pub fn diverged(&self) -> Option<String> {
        match self.replay.verdict() {
            Some(Verdict::Diverged(divergence)) => Some(divergence.to_string()),
            _ => None,
        }
    }

    fn spawn(&mut self, task: TaskKey, ops: &[Op]) {
        let mut code = Vec::new();
        flatten(ops, &mut code);
        self.threads.insert(task, Thread { code, at: 0, handlers: Vec::new(), handles: Vec::new(), hooks: Vec::new() });
    }

    fn go(&mut self, task: TaskKey, answer: Option<Answer>) {
        let mut answer = answer;
        loop {
            if let Some(Answer::Hook(hook)) = &answer {
                self.threads.get_mut(&task).unwrap().hooks.push(hook.id.clone());
            }
            if let Some(answer) = answer.take()
                && let Some(failure) = self.failure_of(answer)
            {
                let thread = self.threads.get_mut(&task).unwrap();
                match thread.handlers.pop() {
                    Some(handler) => thread.at = handler,
                    None => return self.end(task, Err(failure)),
                }
            }
            let thread = self.threads.get_mut(&task).unwrap();
            let Some(code) = thread.code.get(thread.at).cloned() else {
                return self.end(task, Ok(Value::from("done")));
            };
            thread.at += 1;
            let site = Site { file: None, line: thread.at as u32, column: 1 };
            let reply = match code {
                Code::Enter(handler) => {
                    thread.handlers.push(handler);
                    continue;
                }
                Code::Leave => {
                    thread.handlers.pop();
                    continue;
                }
                Code::Jump(to) => {
                    thread.at = to;
                    continue;
                }
                Code::Op(Op::Call(call)) => self.replay.call(task, call, site),
                Code::Op(Op::Join(handle)) => {
                    let group = thread.handles[handle];
                    self.replay.call(task, Call::Join(group), site)
                }
                Code::Op(Op::CancelTask(handle)) => {
                    let group = thread.handles[handle];
                    self.replay.cancel_group(group);
                    continue;
                }
                Code::Op(Op::HookWait(hook)) => {
                    let hook = self.hook(task, hook);
                    self.replay.call(task, Call::WaitHook { hook, timeout: None }, site)
                }
                Code::Op(Op::HookClose(hook)) => {
                    let hook = self.hook(task, hook);
                    self.replay.call(task, Call::CloseHook { hook }, site)
                }
                Code::Op(Op::Show(what)) => {
                    let before = self.replay.get_state("shown").and_then(Value::as_str).unwrap_or_default().to_owned();
                    self.replay.set_state("shown", Value::from(format!("{before}{what}"))).unwrap();
                    self.replay.emit("out", Value::from(what)).unwrap();
                    continue;
                }
                Code::Op(Op::Fail) => {
                    Reply::Now(Answer::Failure(Box::new(Failure::new(FailureKind::Thrown, "on purpose"))))
                }
                Code::Op(Op::Group(kind, concurrency, branches)) => {
                    let call = Call::Open { kind, size: branches.len(), concurrency };
                    let reply = self.replay.call(task, call, site);
                    if let Reply::Wait(Some(group)) | Reply::Now(Answer::Opened(group)) = &reply {
                        self.closures.insert(*group, branches);
                    }
                    reply
                }
                Code::Op(Op::Try(..)) => unreachable!("flattened"),
            };
            match reply {
                Reply::Now(Answer::Opened(group)) => self.threads.get_mut(&task).unwrap().handles.push(group),
                Reply::Now(now) => answer = Some(now),
                Reply::Wait(_) | Reply::Stop => return,
            }
        }
    }

    /// A branch that opened none means those of the body.
    fn hook(&self, task: TaskKey, index: usize) -> StepId {
        let of = |task| self.threads.get(&task).and_then(|thread: &Thread| thread.hooks.get(index)).cloned();
        of(task).or_else(|| of(BODY)).unwrap_or_else(|| panic!("task {task} has no hook {index}"))
    }

    fn failure_of(&self, answer: Answer) -> Option<Failure> {
        match answer {
            Answer::Failure(failure) => Some(*failure),
            Answer::Decided(group, Outcome::Failed(index)) => {
                Some(self.failures.get(&(group, index)).cloned().unwrap_or_else(|| Failure::cancelled("never began")))
            }
            Answer::Decided(group, Outcome::Won(index)) => self.failures.get(&(group, index)).cloned(),
            _ => None,
        }
    }

    fn end(&mut self, task: TaskKey, result: Result<Value, Failure>) {
        self.threads.remove(&task);
        if let (Some(branch), Err(failure)) = (self.branch_of.get(&task), &result) {
            self.failures.insert(*branch, failure.clone());
        }
        self.replay.ended(task, result);
    }
}
