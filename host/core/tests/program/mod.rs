//! A toy script language and a toy engine for it, so that `Replay` is tested without Rhai.
//!
//! `step a; all { step b | sleep 50 }; try { wait go } catch { step undo }`. A failed call ends the task unless a
//! `try` catches it; the task then fails with the same error.

use std::collections::HashMap;

use durhai_core::replay::{
    Answer, BODY, Call, Command, GroupKey, GroupKind, Limits, Next, Outcome, Reply, RunStep, TaskKey, Verdict, Wake,
};
use durhai_core::{Event, Failure, Kind, Replay, RetryPolicy, Site, StepOptions, Value};

#[derive(Debug, Clone)]
pub enum Op {
    Call(Call),
    Group(GroupKind, usize, Vec<Vec<Op>>),
    Join(usize),
    CancelTask(usize),
    Try(Vec<Op>, Vec<Op>),
    Fail,
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
            "wait" => ops.push(Op::Call(Call::WaitFor { signal: arg().into(), timeout: None })),
            "waitfor" => {
                let signal = arg().into();
                ops.push(Op::Call(Call::WaitFor { signal, timeout: Some(arg().parse().unwrap()) }));
            }
            "poll" => ops.push(Op::Call(Call::PollSignal { signal: arg().into() })),
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
            history,
        }
    }

    /// Lets everything run until it waits, and takes what came of it.
    pub fn turn(&mut self) -> Vec<Event> {
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
        let turn = self.replay.take();
        for command in turn.commands {
            match command {
                Command::RunStep(step) => self.running.push(step),
                Command::CancelStep(id) => self.running.retain(|step| step.step_id != id),
            }
        }
        self.history.extend(turn.events.iter().cloned());
        turn.events
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
        self.threads.insert(task, Thread { code, at: 0, handlers: Vec::new(), handles: Vec::new() });
    }

    fn go(&mut self, task: TaskKey, answer: Option<Answer>) {
        let mut answer = answer;
        loop {
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
                Code::Op(Op::Fail) => Reply::Now(Answer::Failure(Failure::new(Kind::Thrown, "on purpose"))),
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

    fn failure_of(&self, answer: Answer) -> Option<Failure> {
        match answer {
            Answer::Failure(failure) => Some(failure),
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
