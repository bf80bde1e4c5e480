// Who a run is and how it stands: one look, all of it current.

import { copyButton } from "../../lib/copy.js";
import { fill, h, text, toast } from "../../lib/dom.js";
import { duration, number, relative, short, status, time, utc, whole } from "../../lib/format.js";
import { key } from "../../lib/keys.js";
import { link } from "../../lib/router.js";

/** Relatives named in the head; the rest is in the timeline or the list. */
const NAMED = 6;

export function head({ feed, signal }) {
  const badge = h("span", { class: "run-status" });
  const said = h("span", { class: "soft run-said" });
  const lasted = h("span", { class: "number" });
  const facts = h("div", { class: "run-facts" });
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
    if (badge.dataset.status !== run.status) {
      badge.dataset.status = run.status;
      fill(badge, status(run.status));
      act();
    }
    text(said, run.status_text ?? "");
    const wanted = JSON.stringify([run, children()]);
    if (facts.dataset.of !== wanted) {
      facts.dataset.of = wanted;
      fill(facts, known(run, lasted), relatives(run, children()));
    }
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

  // Children are known from the log; detached ones belong to nobody.
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
    warn();
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

  feed.addEventListener("run", draw, { signal });
  const timer = setInterval(() => !document.hidden && feed.live && tick(), 500);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  draw();
  return node;
}

/** What ticks shows whole seconds: a changing third digit tells nobody anything. */
export const coarse = (ms) => (ms < 1000 ? Math.max(ms, 0) : ms - (ms % 1000));

function known(run, lasted) {
  const fact = (name, ...what) => h("div", { class: "fact" }, h("span", { class: "fact-name" }, name), h("span", {}, what));
  return [
    fact("Workflow", h("a", { href: link(["workflows", run.workflow]) }, run.workflow)),
    run.started_at ? fact("Started", h("span", { title: utc(run.started_at) }, whole(run.started_at)), " ", h("span", { class: "faint" }, time(run.started_at, relative)))
      : fact("Created", h("span", { title: utc(run.created_at) }, whole(run.created_at))),
    run.ended_at ? fact("Ended", time(run.ended_at, whole)) : null,
    fact(run.started_at ? "Duration" : "Waiting", lasted),
    fact("Version", h("a", { class: "mono", href: link(["workflows", run.workflow], { version: run.version }), title: run.version }, short(run.version))),
    fact("Events", h("a", { href: link(["runs", run.id], { tab: "log" }) }, number(run.events))),
    run.attempt > 1 ? fact("Attempt", number(run.attempt)) : null,
    run.priority ? fact("Priority", number(run.priority)) : null,
    run.timeout ? fact("Timeout", duration(run.timeout)) : null,
    Object.keys(run.tags).length ? fact("Tags", Object.entries(run.tags).map(([name, value]) => [
      h("a", { class: "tag", href: link(["runs"], { tag: `${name}:${value}` }) }, `${name}: ${value}`), " "])) : null,
  ];
}

function relatives(run, children) {
  const to = (id) => h("a", { class: "mono", href: link(["runs", id]) }, id);
  const fact = (name, ...what) => h("div", { class: "fact" }, h("span", { class: "fact-name" }, name), h("span", {}, what));
  const several = (list, all) => [
    list.slice(0, NAMED).map((one, at) => [at ? ", " : "", to(one.id ?? one), one.name ? h("span", { class: "faint" }, ` ${one.name}${one.detached ? ", detached" : ""}`) : ""]),
    list.length > NAMED ? h("a", { href: all }, ` and ${number(list.length - NAMED)} more`) : null,
  ];
  return [
    run.parent ? fact("Parent", to(run.parent)) : null,
    run.previous ? fact("Continues", to(run.previous)) : null,
    run.next ? fact("Goes on as", to(run.next)) : null,
    run.origin ? fact("Forked from", run.origin.file ? `${run.origin.run} in ${run.origin.file}` : to(run.origin.run), ` up to event ${number(run.origin.seq)}`) : null,
    run.forks?.length ? fact("Forks", several(run.forks, link(["runs"], { workflow: run.workflow }))) : null,
    children.length ? fact("Children", several(children, link(["runs"], { parent: run.id }))) : null,
  ];
}
