// Who a run is and how it stands: one look, all of it current.

import { copyButton } from "../../lib/copy.js";
import { fill, h, reconcile, text, toast } from "../../lib/dom.js";
import { duration, number, relative, short, status, time, utc, whole } from "../../lib/format.js";
import { key } from "../../lib/keys.js";
import { link } from "../../lib/router.js";

/** Relatives named in the head; the rest is in the timeline or the list. */
const NAMED = 6;

export function head({ feed, signal }) {
  const badge = h("span", { class: "run-status", role: "status" });
  const said = h("span", { class: "soft run-said" });
  const lasted = h("span", { class: "number" });
  const facts = h("div", { class: "run-facts" });
  const events = h("a", { href: link(["runs", feed.id], { tab: "log" }) });
  const buttons = h("div", { class: "end" });
  const warning = h("div", {});
  const node = h("header", {},
    h("p", { class: "crumbs" }, h("a", { href: "#/runs" }, "Runs"), " / ",
      h("a", { href: link(["runs"], { workflow: feed.run.workflow }) }, `of ${feed.run.workflow}`)),
    h("div", { class: "head" }, h("h1", {}, h("span", { class: "mono" }, feed.id), " ", copyButton(feed.id, "the id")), badge, said, buttons),
    facts, warning);

  function tick() {
    const { started_at: from, created_at: born, ended_at: end } = feed.run;
    if (end) text(lasted, duration(end - (from ?? born)));
    else text(lasted, from ? `${duration(coarse(Date.now() - from))} so far` : `since ${duration(coarse(Date.now() - born))}`);
  }
  function draw() {
    const { run } = feed;
    if (badge.dataset.status !== run.status || badge.dataset.retried !== (run.retried_as ?? "")) {
      badge.dataset.status = run.status;
      badge.dataset.retried = run.retried_as ?? "";
      fill(badge, status(run.status));
      act();
    }
    text(said, run.status_text ?? "");
    // Only what changed is made anew: the focus may be on one of them.
    reconcile(facts, [...known(run, lasted, events), ...relatives(run, children())].filter(Boolean), ({ name }) => name,
      ({ name }) => h("div", { class: "fact" }, h("span", { class: "fact-name" }, name), h("span", {})),
      (node, { of, what }) => {
        const wanted = JSON.stringify(of);
        if (node.dataset.of === wanted) return;
        node.dataset.of = wanted;
        fill(node.lastChild, what());
      });
    if (number(run.events) !== events.textContent) text(events, number(run.events));
    tick();
  }

  // The buttons change with the status, and their keys with them.
  let stop = null;
  async function act() {
    stop?.abort();
    const mine = (stop = new AbortController());
    signal.addEventListener("abort", () => mine.abort(), { once: true });
    const { actionsFor } = await import("../../lib/actions.js");
    if (mine.signal.aborted) return;
    const actions = actionsFor(feed.run);
    fill(buttons, actions.map((action) => {
      const run = async () => {
        try {
          await action.run();
        } catch (error) {
          toast(error.message, { error: true });
        }
        feed.refresh();
      };
      if (action.key) key(action.key, action.label, run, mine.signal);
      return h("button", {
        type: "button", class: action.primary ? "primary" : action.danger ? "danger" : null, onclick: run,
        "aria-keyshortcuts": action.key, title: action.key ? `${action.label} (${action.key})` : null,
      }, action.label);
    }));
  }

  // Children are known from the log; detached ones belong to no run.
  const found = new Map();
  let seen = 0;
  let cutBytes = 0;
  function children() {
    return [...found.values()];
  }
  feed.addEventListener("events", () => {
    for (; seen < feed.events.length; seen += 1) {
      const event = feed.events[seen];
      if (event.type === "child_started") found.set(event.run_id, { id: event.run_id, name: event.name, detached: event.detached });
      for (const field of ["input", "output", "payload", "data"]) cutBytes += event[field]?.$cut ?? 0;
    }
    if (feed.live) warn();
    draw();
  }, { signal });

  // The host writes a warning to the script's log at half of what a log may have: looked for where it is likely.
  let warned = false;
  function warn() {
    if (warned || !(feed.events.length >= 5000 || cutBytes > 5 << 20)) return;
    warned = true;
    feed.wantLines();
    const look = ({ first = 0 } = {}) => {
      const line = feed.lines.slice(first).find(({ level, message }) => level === "warn" && /^the log has .* half of what it may have/.test(message));
      if (line) fill(warning, h("div", { class: "notice ask", role: "status" }, h("p", {}, line.message[0].toUpperCase() + line.message.slice(1))));
    };
    feed.addEventListener("lines", look, { signal });
    look();
  }

  feed.addEventListener("run", () => {
    if (!feed.live) fill(warning);
    draw();
  }, { signal });
  const timer = setInterval(() => !document.hidden && feed.live && tick(), 500);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  draw();
  return node;
}

/** What ticks shows whole seconds: a changing third digit tells a reader nothing. */
export const coarse = (ms) => (ms < 1000 ? Math.max(ms, 0) : ms - (ms % 1000));

/** A fact: its name, what it is made of, and how it is shown. */
const fact = (name, of, what) => ({ name, of, what });

function known(run, lasted, events) {
  const tags = Object.entries(run.tags);
  return [
    fact("Workflow", run.workflow, () => h("a", { href: link(["workflows", run.workflow]) }, run.workflow)),
    run.started_at ? fact("Started", run.started_at, () => [h("span", { title: utc(run.started_at) }, whole(run.started_at)), " ", h("span", { class: "faint" }, time(run.started_at, relative))])
      : fact("Created", run.created_at, () => h("span", { title: utc(run.created_at) }, whole(run.created_at))),
    run.ended_at ? fact("Ended", run.ended_at, () => time(run.ended_at, whole)) : null,
    fact(run.started_at ? "Duration" : "Waiting", 0, () => lasted),
    run.place ? fact("Waits for", run.place, () => placeText(run.place)) : null,
    run.begins_at && !run.place && !run.started_at ? fact("Begins", run.begins_at, () => time(run.begins_at, whole)) : null,
    fact("Version", run.version, () => h("a", { class: "mono", href: link(["workflows", run.workflow], { version: run.version }), title: run.version }, short(run.version))),
    run.holder ? fact("Host", run.holder, () => h("a", { href: "#/health", title: run.holder.label }, run.holder.here ? "this one" : `${number(run.holder.id)}: ${run.holder.label}`)) : null,
    fact("Events", 0, () => events),
    run.attempt > 1 ? fact("Attempt", run.attempt, () => number(run.attempt)) : null,
    run.priority ? fact("Priority", run.priority, () => number(run.priority)) : null,
    run.timeout ? fact("Timeout", run.timeout, () => duration(run.timeout)) : null,
    tags.length ? fact("Tags", tags, () => tags.map(([name, value]) => [
      h("a", { class: "tag", href: link(["runs"], { tag: `${name}:${value}` }) }, `${name}: ${value}`), " "])) : null,
  ];
}

/** A place of its workflow's concurrency: how far it is, and who is inside. */
function placeText({ gate: of, limit, ahead, inside, holders }) {
  const before = ahead === 0 ? "it is the next" : `${number(ahead)} before it`;
  return [`a place of ${of} (concurrency ${number(limit)}), ${before}; inside: `,
    holders.slice(0, NAMED).map((id, at) => [at ? ", " : "", h("a", { class: "mono", href: link(["runs", id]) }, id)]),
    inside > NAMED ? ` and ${number(inside - Math.min(NAMED, holders.length))} more` : null];
}

function relatives(run, children) {
  const to = (id) => h("a", { class: "mono", href: link(["runs", id]) }, id);
  const several = (list, all) => [
    list.slice(0, NAMED).map((one, at) => [at ? ", " : "", to(one.id ?? one), one.name ? h("span", { class: "faint" }, ` ${one.name}${one.detached ? ", detached" : ""}`) : ""]),
    list.length > NAMED ? h("a", { href: all }, ` and ${number(list.length - NAMED)} more`) : null,
  ];
  const of = (list) => [list.slice(0, NAMED), list.length];
  return [
    run.parent ? fact("Parent", run.parent, () => to(run.parent)) : null,
    run.previous ? fact("Continues", run.previous, () => to(run.previous)) : null,
    run.next ? fact("Goes on as", run.next, () => to(run.next)) : null,
    run.retried_as ? fact("Tried again as", run.retried_as, () => to(run.retried_as)) : null,
    run.origin ? fact(run.retry_of ? "Tries again" : "Forked from", run.origin, () => [run.origin.file ? `${run.origin.run} in ${run.origin.file}` : to(run.origin.run), ` up to event ${number(run.origin.seq)}`]) : null,
    run.forks?.length ? fact("Forks", of(run.forks), () => several(run.forks, link(["runs"], { workflow: run.workflow }))) : null,
    children.length ? fact("Children", of(children), () => several(children, link(["runs"], { parent: run.id }))) : null,
  ];
}
