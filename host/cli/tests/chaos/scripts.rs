//! What the runs do: each effect is a line in a journal, with the run, the step and the process that made it.

use std::path::Path;

/// Children of each parent, and steps of each child.
pub const CHILDREN: usize = 10;
pub const STEPS: usize = 15;

/// Runs that may be inside at a time.
pub const LIMIT: usize = 2;

const PARENT: &str = r#"
    let all = [];
    for i in 0..input { all.push(|| run_workflow("child", #{ parent: 1 }, #{ id: `${run_id()}-${i}` })); }
    let ended = parallel(all);
    let word = wait_for("go", #{ timeout: "1 hour" });
    let address = hook(#{ token: `hook-${run_id()}` });
    let request = address.wait(#{ timeout: "1 hour" });
    use_step("mark.mark", #{ run: run_id(), step: `told-${word}-${request.body}` });
    ended.len()
"#;

const CHILD: &str = r#"
    const WORKFLOW = #{ on_reload: "upgrade" };
    // Edit NUMBER.
    let done = 0;
    for i in 0..STEPS {
        use_step("mark.mark", #{ run: run_id(), step: `s${i}` });
        done += 1;
        if i % 3 == 1 { sleep("150ms"); }
    }
    try { use_step("mark.mark", #{ run: run_id(), step: "once" }, #{ once: true }); }
    catch (error) { if error.kind != "interrupted" { throw error; } }
    emit(done);
    done
"#;

const LIMITED: &str = r#"
    const WORKFLOW = #{ concurrency: #{ limit: LIMIT } };
    use_step("mark.mark", #{ run: run_id(), step: "in" });
    sleep("80ms");
    use_step("mark.mark", #{ run: run_id(), step: "out" });
"#;

const TICK: &str = r#"
    const WORKFLOW = #{ schedule: #{ cron: "* * * * * *", overlap: "allow", missed: "once" } };
    use_step("mark.mark", #{ run: run_id(), step: "tick" });
"#;

/// One write a line: what several processes append does not mix. It goes on for a while after its effect, so that deaths come in between.
const MARK: &str = r#"
fn mark(input) {
    file::append("JOURNAL", input.run + " " + input.step + " " + env::get("CHAOS_HOST") + "\n");
    let rest = 0;
    while rest < 20000 { rest += 1; }
    1
}
"#;

pub fn write(folder: &Path, journal: &Path, steps: usize) {
    let scripts = folder.join("scripts");
    std::fs::create_dir_all(scripts.join("steps")).expect("a folder");
    for (name, text) in [("parent", PARENT), ("limited", LIMITED), ("tick", TICK), ("steps/mark", MARK)] {
        let text = text.replace("JOURNAL", &journal.display().to_string()).replace("LIMIT", &LIMIT.to_string());
        std::fs::write(scripts.join(format!("{name}.rhai")), text).expect("written");
    }
    edit(folder, 0, steps);
}

/// Saves another text of the children, which those that are under way go on with.
pub fn edit(folder: &Path, number: u64, steps: usize) {
    let text = CHILD.replace("NUMBER", &number.to_string()).replace("STEPS", &steps.to_string());
    // In one piece: two hosts look at it.
    let next = folder.join("child.next");
    std::fs::write(&next, text).expect("written");
    std::fs::rename(next, folder.join("scripts/child.rhai")).expect("renamed");
}
