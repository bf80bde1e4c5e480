// A run as a row.

import { fill, h, text } from "../../lib/dom.js";
import { LIVE, brief, duration, moment, status, time, whole } from "../../lib/format.js";
import { link } from "../../lib/router.js";

const WAITS = { step: "step", retry: "tries again", sleep: "sleeps", signal: "signal", hook: "hook", suspend: "asks", child: "child", tasks: "tasks", task: "task" };

/** `signal approved`, `sleeps until 14:03` and so on, of an entry of `waiting_for`. */
export function waitText(wait) {
  const until = wait.until ? ` ${wait.kind === "retry" ? "at" : "until"} ${moment(wait.until)}` : "";
  const name = wait.kind === "hook" ? "" : wait.name ?? wait.run_id ?? "";
  return `${WAITS[wait.kind] ?? wait.kind}${name ? ` ${name}` : ""}${until}`;
}

/** What there is to know of a run at once: why it stands, what it waits for, how it ended. `[kind, text]` each. */
function news(run) {
  const found = [];
  if (run.status_text !== null && run.status_text !== undefined) found.push(["said", String(run.status_text)]);
  if (run.status === "parked" && run.reason) found.push(["bad", run.reason.split("\n")[0]]);
  if (run.error && run.status !== "completed") found.push([run.status === "cancelled" ? "" : "bad", run.error.message.split("\n")[0]]);
  if (LIVE.includes(run.status)) {
    const waits = run.waiting_for ?? [];
    if (waits.length) found.push(["", waits.slice(0, 2).map(waitText).join(", ") + (waits.length > 2 ? ` and ${waits.length - 2} more` : "")]);
  } else if (run.status === "completed" && run.output !== null) found.push(["output", `→ ${brief(run.output, 90)}`]);
  return found;
}

const spent = (run) => {
  const from = run.started_at ?? null;
  if (from === null) return "";
  return duration(Math.max(0, (run.ended_at ?? Date.now()) - from));
};

/** A row; `picked(id)` whether it is selected, `pick(id, event)` when its box is clicked. */
export function makeRow(run, { picked, pick }) {
  const box = h("input", { type: "checkbox", "aria-label": `Select ${run.id}`, tabindex: -1, onclick: (event) => pick(run.id, event) });
  const cells = {
    status: h("span", { role: "cell", class: "r-status" }),
    news: h("span", { role: "cell", class: "r-news" }),
    time: h("span", { role: "cell", class: "r-time" }),
    spent: h("span", { role: "cell", class: "r-spent" }),
  };
  const node = h("div", { class: "run-row" },
    h("span", { role: "cell", class: "r-box" }, box),
    cells.status,
    h("span", { role: "cell", class: "r-workflow" }, h("a", { href: link(["workflows", run.workflow]), tabindex: -1, title: run.workflow }, run.workflow)),
    h("span", { role: "cell", class: "r-id" }, h("a", { class: "mono", href: link(["runs", run.id]), title: run.id }, run.id)),
    cells.news, cells.time, cells.spent);
  node.run = { run, box, cells, before: null, picked };
  changeRow(node, run);
  return node;
}

/** Shows how the run is now; what is the same stays untouched. */
export function changeRow(node, run) {
  const it = node.run;
  it.run = run;
  it.box.checked = it.picked(run.id);
  node.classList.toggle("picked", it.box.checked);
  node.classList.toggle("gone", Boolean(run.gone));
  node.title = run.gone ? "It does not fit the filter any more; it leaves the list when it is loaded again." : "";
  const now = JSON.stringify([run.status, run.reason, run.status_text, run.error?.message, run.waiting_for, run.output, run.tags, run.started_at, run.ended_at]);
  if (now !== it.before) {
    it.before = now;
    fill(it.cells.status, status(run.status));
    const tags = Object.entries(run.tags ?? {});
    fill(it.cells.news,
      news(run).map(([kind, line]) => h("span", { class: `news ${kind}`, title: line }, line)),
      tags.slice(0, 3).map(([name, value]) => h("a", { class: "tag", tabindex: -1, href: link(["runs"], { tag: `${name}:${value}` }), title: `Runs with ${name}:${value}` }, `${name}:${value}`)),
      tags.length > 3 ? h("span", { class: "faint", title: tags.slice(3).map((tag) => tag.join(":")).join("\n") }, `+${tags.length - 3}`) : null);
    fill(it.cells.time, time(run.started_at ?? run.created_at));
  }
  tickRow(node);
}

/** The duration of what is still going on. */
export function tickRow(node) {
  const { run, cells } = node.run;
  text(cells.spent, spent(run));
  if (!cells.spent.title && run.started_at) cells.spent.title = `Since ${whole(run.started_at)}`;
}
