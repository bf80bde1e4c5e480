// What a run needs now, above everything else: an answer, an operator, a signal, or nothing but time.

import { fill, h, reconcile, toast } from "../../lib/dom.js";
import { number, relative, time, whole } from "../../lib/format.js";
import { link } from "../../lib/router.js";
import { parked } from "./parked.js";
import { placeLink } from "./place.js";
import { questions } from "./questions.js";

/** Kinds of waits shown one by one. */
const SHOWN = 6;

export function now({ feed, signal }) {
  const asked = h("div", { class: "stack" });
  const rest = h("div", {});
  const node = h("div", { class: "run-now" }, asked, rest);
  const list = h("ul", { class: "run-waits", "aria-label": "What it waits for" });
  questions({ feed, signal, place: asked });
  let drawn = null;
  let stop = null;
  function draw() {
    const { run } = feed;
    const wanted = JSON.stringify([run.status, run.reason, run.waiting_for, run.error?.step_id, run.next]);
    if (wanted === drawn) return;
    drawn = wanted;
    stop?.abort();
    stop = new AbortController();
    signal.addEventListener("abort", () => stop.abort(), { once: true });
    if (run.status === "parked") fill(rest, parked({ feed, signal: stop.signal }));
    else if (run.status === "failed") fill(rest, failed(feed));
    else if (run.status === "pending") fill(rest, h("p", { class: "soft" }, pending(run)));
    else if (run.status === "continued") fill(rest, h("p", { class: "soft" }, "It goes on as ", h("a", { class: "mono", href: link(["runs", run.next]) }, run.next), "."));
    else if (run.status === "cancelled") fill(rest, cancelled(feed, stop.signal));
    else if (feed.live) waits(feed, list, rest);
    else fill(rest);
  }
  feed.addEventListener("run", draw, { signal });
  draw();
  return node;
}

function pending(run) {
  return run.created_at > Date.now() ? "It begins later." : "It has not begun: it was started with a delay, or waits for its turn (concurrency of its workflow), or no host serves its workflow.";
}

/** Who cancelled it said why; the log has it. */
function cancelled(feed, signal) {
  const node = h("p", { class: "soft" });
  const look = () => {
    const end = feed.events.at(-1);
    if (end?.type === "run_cancelled") fill(node, end.reason ? `Cancelled: ${end.reason}` : "Cancelled without a reason.");
  };
  for (const name of ["complete", "events"]) feed.addEventListener(name, look, { signal });
  look();
  return node;
}

function failed(feed) {
  const { run } = feed;
  const at = run.error?.step_id ?? null;
  if (!at && !run.error?.place) return null;
  return h("div", { class: "row run-failed" },
    at ? doing(`Fork from the step that failed (${at})`, async () => (await import("./fork.js")).openFork(run, { at }), feed) : null,
    run.error?.place ? h("a", { class: "button", href: link(["runs", run.id], { tab: "source", line: run.error.place.line, file: run.error.place.file }) }, "The line in the source") : null);
}

/** A button that does something to a run, and says so if it cannot. */
export function doing(label, run, feed, kind = null) {
  const button = h("button", { type: "button", class: kind }, label);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await run();
    } catch (error) {
      toast(error.message, { error: true });
    }
    button.disabled = false;
    feed.refresh();
  });
  return button;
}

/** Two hundred branches that wait at one line are one entry. */
function grouped(list) {
  const groups = new Map();
  for (const wait of list) {
    const key = `${wait.kind} ${wait.kind === "hook" || wait.kind === "child" ? wait.step_id : wait.name} ${wait.site}`;
    const group = groups.get(key);
    if (!group) groups.set(key, { ...wait, key, count: 1 });
    else {
      group.count += 1;
      if (wait.until) group.until = Math.min(wait.until, group.until ?? Infinity);
    }
  }
  return [...groups.values()];
}

/** Brings the list of waits up to date. What stays the same stays in the document: a button must not go away under the pointer. */
function waits(feed, list, place) {
  const { run } = feed;
  const all = run.waiting_for.filter(({ kind }) => kind !== "suspend");
  const some = all.filter(({ kind }) => kind !== "tasks" && kind !== "task");
  // A task that waits for others adds nothing where the others are listed.
  const found = grouped(some.length || run.waiting_for.length > all.length ? some : all);
  if (!found.length) return fill(place);
  const shown = found.slice(0, SHOWN);
  if (found.length > SHOWN) shown.push({ more: found.length - SHOWN });
  reconcile(list, shown, ({ key, count, until, more }) => more ?? `${key} ${count} ${until}`, (wait) => wait.more
    ? h("li", { class: "faint" }, `and ${number(wait.more)} more kinds of waiting: see the timeline`)
    : h("li", {}, wait.count > 1 ? h("strong", {}, `${number(wait.count)} × `) : null, said(wait, feed), till(wait),
      wait.site ? h("span", { class: "faint" }, " at ", placeLink(run, wait.site)) : null, does(wait, feed)));
  if (place.firstChild !== list) fill(place, list);
}

/** What a task waits for, in words. */
export function said(wait, feed) {
  const name = h("code", {}, wait.name ?? "");
  switch (wait.kind) {
    case "step": return ["runs step ", name];
    case "retry": return ["will try step ", name, " again"];
    case "sleep": return "sleeps";
    case "signal": return ["waits for signal ", name];
    case "hook": return "waits for a call of its hook";
    case "suspend": return ["asks a person", wait.name ? [": ", name] : null];
    case "child": return ["waits for child ", h("a", { class: "mono", href: link(["runs", wait.run_id]) }, wait.run_id), " ", h("span", { class: "faint" }, wait.name ?? "")];
    case "tasks": return "waits for its tasks";
    case "task": return "waits for a task";
    default: return `waits (${wait.kind})`;
  }
}

function till({ kind, until, count }) {
  if (!until) return kind === "signal" || kind === "hook" ? h("span", { class: "faint" }, " without end") : null;
  const word = { sleep: "until", retry: "at", signal: "until", hook: "until" }[kind] ?? "until at most";
  return [count > 1 ? `, the first ${word} ` : ` ${word} `, time(until, whole), " (", time(until, relative), ")"];
}

function does(wait, feed) {
  const { run } = feed;
  if (wait.kind === "signal") return [" ", doing(`Send ${wait.name} …`, async () => (await import("../../lib/actions.js")).signalRun(run, { name: wait.name }), feed)];
  if (wait.kind === "hook") return [" ", hookUrl(wait, feed)];
  return null;
}

/** Its address is in the log, where the hook was opened. */
function hookUrl(wait, feed) {
  const place = h("span", { class: "row run-hook" });
  const look = () => {
    const opened = feed.events.find((event) => event.type === "hook_opened" && event.token === wait.name);
    if (!opened?.url) return false;
    import("../../lib/copy.js").then(({ copyButton }) => fill(place, h("code", {}, opened.url), copyButton(opened.url, "the address of the hook")));
    return true;
  };
  if (!look()) feed.addEventListener("complete", look, { once: true, signal: feed.signal });
  return place;
}
