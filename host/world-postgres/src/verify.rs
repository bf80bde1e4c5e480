//! Whether what is stored fits together.

use std::sync::Arc;
use std::time::Duration;

use durhai_world::WorldError;

use crate::failure::Failure;
use crate::server::Server;
use crate::text::unescaped;
use crate::wire::Wire;

/// Looks at one moment of everything, while hosts go on.
pub fn all(server: &Arc<Server>, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
    let mut wire = Wire::connect(server, Duration::MAX).map_err(Failure::into_world)?;
    checked(&mut wire, report).map_err(Failure::into_world)
}

fn checked(wire: &mut Wire, report: &mut dyn FnMut(String)) -> Result<(), Failure> {
    wire.batch("begin isolation level repeatable read read only")?;
    for row in wire.rows(
        "select coalesce(r.id, x.key::text), x.want from (select key, first, lag(first + count, 1, 1::bigint) over (partition by key order by first) want \
         from @.chunk) x left join @.run r using (key) where x.first <> x.want or r.key is null",
        &[],
    )? {
        report(format!("run {}: event {} is missing in its log", row.get::<_, String>(0), row.get::<_, i64>(1)));
    }
    for row in wire.rows(
        "select r.id, h.key is not null from @.run r left join @.head h using (key) where (h.key is null) <> (r.status between 4 and 7)",
        &[],
    )? {
        let what = if row.get(1) { "has ended, and can still be claimed" } else { "has not ended, and no host can claim it" };
        report(format!("run {} {what}", row.get::<_, String>(0)));
    }
    for row in wire.rows(
        "select r.id from @.head h join @.run r using (key) where h.due is distinct from case \
           when h.host is not null then null \
           when r.status <> 8 and exists (select 1 from @.message m where m.key = h.key and m.urgent) then 0 \
           when h.admission = 1 then null \
           when r.status <> 8 and (r.status <> 0 or r.wake_at is null) and exists (select 1 from @.message m where m.key = h.key) then 0 \
           else r.wake_at end",
        &[],
    )? {
        report(format!("run {} is due at another moment than its row and its inbox say", row.get::<_, String>(0)));
    }
    for row in wire.rows(
        "select coalesce(l.key, x.limit_key), l.key is null or l.admitted <> x.admitted or l.members <> x.members, l.admitted < l.size and x.waiting > 0 \
         from @.run_limit l full join (select r.limit_key, count(*) members, count(*) filter (where h.admission = 2) admitted, \
           count(*) filter (where h.admission = 1) waiting from @.head h join @.run r using (key) where r.limit_key is not null group by 1) x \
         on x.limit_key = l.key where l.key is null or x.limit_key is null or l.admitted <> x.admitted or l.members <> x.members \
           or (l.admitted < l.size and x.waiting > 0)",
        &[],
    )? {
        let (key, counts): (String, Option<bool>) = (unescaped(row.get(0)), row.get(1));
        report(match counts {
            Some(false) => format!("runs wait under the concurrency limit {key:?} although there is room"),
            _ => format!("the concurrency limit {key:?} counts other runs than there are"),
        });
    }
    for row in wire.rows(
        "select r.id from @.head h join @.run r using (key) full join @.waiting w on w.key = h.key \
         where (h.admission = 1) is distinct from (w.key is not null) and (h.admission = 1 or w.key is not null)",
        &[],
    )? {
        let run: Option<String> = row.get(0);
        report(format!("run {} stands in no queue, or in one it does not wait in", run.as_deref().unwrap_or("?")));
    }
    for row in wire.rows(
        "select w.text from (select workflow, version, status, sum(n) n from @.run_count group by 1, 2, 3) c \
         full join (select workflow, version, status, count(*) n from @.run group by 1, 2, 3) x using (workflow, version, status) \
         left join @.name w on w.id = workflow where coalesce(c.n, 0) <> coalesce(x.n, 0)",
        &[],
    )? {
        let workflow: Option<String> = row.get(0);
        report(format!("the runs of workflow {:?} are counted wrongly", workflow.map(|name| unescaped(&name)).unwrap_or_default()));
    }
    for row in
        wire.rows("select token from @.hook k where not exists (select 1 from @.head h where h.key = k.key)", &[])?
    {
        report(format!("the hook with the token {:?} belongs to no run that goes on", unescaped(row.get(0))));
    }
    wire.batch("commit")
}
