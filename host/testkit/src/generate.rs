//! Workflow scripts made from a seed, whose output does not depend on when and how often their host dies.
//!
//! What they call: `work` gives a number made from its input; `flaky` fails once or twice before it does the same;
//! `broken` always fails; `single` may run once only, and its result is not used. Their output and what they print
//! depend on the seed alone, so every run of a script must agree with every other.

use std::fmt::Write;

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0, below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n.max(1)
    }
}

/// A script and what must be done from outside for it to end.
#[derive(Debug, Clone)]
pub struct Script {
    pub source: String,
    /// Signals it waits for, with the payload to send; `true`: sent when it starts, before it waits.
    pub signals: Vec<(String, i64, bool)>,
}

/// Makes a script. The same seed makes the same one.
pub fn generate(seed: u64) -> Script {
    let mut maker =
        Maker { rng: Rng::new(seed), text: String::new(), signals: Vec::new(), marks: 0, room: 14, repeated: 0 };
    maker.text.push_str(concat!(
        "fn helper(x) { let y = use_step(\"work\", x); if y % 2 == 0 { y } else { y + use_step(\"work\", y) } }\n",
        "let out = [];\n",
    ));
    maker.block(0);
    maker.line(0, "print(`end ${out.len()}`);");
    maker.line(0, "out");
    Script { source: maker.text, signals: maker.signals }
}

struct Maker {
    rng: Rng,
    text: String,
    signals: Vec<(String, i64, bool)>,
    marks: u64,
    /// Statements that may still be made, so that nesting does not explode.
    room: u64,
    /// In how many bodies this is that run side by side: there, who gets a signal would depend on the time.
    repeated: u32,
}

impl Maker {
    fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.text, "{:1$}{text}", "", depth * 4);
    }

    fn mark(&mut self) -> u64 {
        self.marks += 1;
        self.marks
    }

    fn block(&mut self, depth: usize) {
        for _ in 0..=(1 + self.rng.below(if depth == 0 { 6 } else { 2 })) {
            if self.room == 0 {
                break;
            }
            self.room -= 1;
            self.statement(depth);
        }
    }

    /// A closure that gives what its own block put out.
    fn branch(&mut self, depth: usize, head: &str, tail: &str) {
        self.line(depth, &format!("{head} {{ let out = [];"));
        self.block(depth + 1);
        self.line(depth, &format!("out }}{tail}"));
    }

    // Long because it is a table: an arm for each kind of statement.
    fn statement(&mut self, depth: usize) {
        let n = self.mark();
        let kinds = if depth >= 3 { 10 } else { 19 };
        match self.rng.below(kinds) {
            0 | 1 => self.line(depth, &format!("out.push(use_step(\"work\", {n}));")),
            2 => self.line(depth, &format!("out.push(use_step(\"flaky\", {n}, #{{ retry: #{{ max_attempts: 4 }} }}));")),
            3 => self.line(
                depth,
                &format!("try {{ use_step(\"broken\", {n}, #{{ retry: #{{ max_attempts: 2, initial: 0.5 }} }}) }} catch (e) {{ out.push(e.kind); }}"),
            ),
            4 => self.line(depth, &format!("try {{ use_step(\"single\", {n}, #{{ once: true }}); }} catch (e) {{ }}")),
            5 => {
                let length = ["\"3h\"", "0.25", "\"30 days\"", "0"][self.rng.below(4) as usize];
                self.line(depth, &format!("sleep({length});"));
            }
            6 => self.line(depth, "out.push([rand(0..1000), uuid(), rand_bool()]);"),
            7 => self.line(depth, "let a = [1, 2, 3, 4, 5]; a.shuffle(); out.push(a); out.push(a.sample());"),
            8 => self.line(depth, &format!("print(\"mark {n}\"); out.push(helper({n}));")),
            9 if self.repeated > 0 => self.line(depth, &format!("out.push(use_step(\"work\", {n}));")),
            9 => {
                let early = self.rng.below(2) == 0;
                let sent = self.rng.below(5) > 0;
                // In a loop the name is asked for more than once: then the timeout answers.
                let name = format!("go-{n}");
                self.line(depth, &format!("out.push(wait_for(\"{name}\", #{{ timeout: \"900 days\" }}));"));
                if sent {
                    self.signals.push((name, n as i64 * 7, early));
                }
            }
            10 => {
                let times = 1 + self.rng.below(3);
                self.line(depth, &format!("for i in 0..{times} {{ out.push(use_step(\"work\", i * 100 + {n}));"));
                self.block(depth + 1);
                self.line(depth, "}");
            }
            11 => {
                self.line(depth, "if rand_bool() {");
                self.block(depth + 1);
                self.line(depth, "} else {");
                self.block(depth + 1);
                self.line(depth, "}");
            }
            12 => {
                self.line(depth, "out.push(parallel([");
                for _ in 0..=self.rng.below(3) {
                    self.branch(depth + 1, "||", ",");
                }
                self.line(depth, "]));");
            }
            13 => {
                let width = 1 + self.rng.below(3);
                let items: Vec<_> = (0..=self.rng.below(4)).map(|i| n * 10 + i).collect();
                self.line(depth, &format!("out.push(foreach({items:?}, |x|"));
                self.line(depth + 1, "{ let out = [use_step(\"work\", x)];");
                self.repeated += 1;
                self.block(depth + 2);
                self.repeated -= 1;
                self.line(depth + 1, &format!("out }}, #{{ concurrency: {width} }}));"));
            }
            14 => {
                let winner = self.rng.below(2);
                let (a, b) = if winner == 0 { ("1h", "1h 1s") } else { ("2h", "59s") };
                self.line(
                    depth,
                    &format!(
                        "{{ let r = race([|| {{ try {{ sleep(\"{a}\"); {n} }} catch (e) {{ print(\"lost {n}\"); use_step(\"work\", {n}); throw e; }} }}, || {{ sleep(\"{b}\"); -{n} }}]); out.push([r.winner, r.value]); }}"
                    ),
                );
            }
            15 => {
                self.line(depth, "out.push(with_timeout(\"4000 days\",");
                self.branch(depth + 1, "||", "));");
            }
            16 => self.line(
                depth,
                &format!("try {{ with_timeout(\"{}s\", || {{ use_step(\"work\", {n}); sleep(\"1 day\"); }}); }} catch (e) {{ out.push(e.kind); }}", n + 1),
            ),
            17 => {
                self.line(depth, "{ let t = task(");
                self.branch(depth + 1, "||", ");");
                self.block(depth + 1);
                self.line(depth, "out.push(t.join()); }");
            }
            _ => self.line(
                depth,
                &format!(
                    "try {{ parallel([|| use_step(\"broken\", {n}, #{{ retry: #{{ max_attempts: 2 }} }}), || {{ try {{ sleep(\"300 days\") }} catch (e) {{ print(\"undo {n}\"); use_step(\"work\", {n}); throw e; }} }}]); }} catch (e) {{ out.push(e.kind); }}"
                ),
            ),
        }
    }
}
