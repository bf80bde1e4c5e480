// The texts that a run executes: where it waits, where it failed, how often it came to each call.

import { code } from "../../lib/code.js";
import { fill, h, throttle } from "../../lib/dom.js";
import { problem } from "../../lib/dialog.js";
import { number, relative, short } from "../../lib/format.js";
import { link } from "../../lib/router.js";
import { fileOf, place } from "./place.js";
import { texts } from "./texts.js";

export function panel({ id, feed, signal, query }) {
  const tabs = h("nav", { class: "tabs", "aria-label": "Files" });
  const body = h("div", {}, h("p", { class: "busy" }, "Loading the source …"));
  const element = h("div", { class: "log" }, tabs, body);
  const own = fileOf(feed.run.workflow);
  /** By file, line and column: how many calls were made there. */
  const reached = new Map();
  let seen = 0;
  let files = null;
  let shown = null;
  let node = null;
  let version = null;

  async function load() {
    version = feed.run.version;
    try {
      files = await texts(feed.run);
      if (signal.aborted) return;
      shown = null;
      show();
    } catch (error) {
      if (!signal.aborted) fill(body, problem(error));
    }
  }

  function show() {
    if (!files) return;
    const wanted = query.get("file");
    const names = Object.keys(files).sort((a, b) => Number(b === own) - Number(a === own) || a.localeCompare(b));
    const name = names.find((one) => one === wanted || one === fileOf(wanted ?? own)) ?? names[0];
    tabs.hidden = names.length < 2;
    fill(tabs, names.map((one) => h("a", { class: "mono", href: link(["runs", id], { tab: "source", file: one === own ? null : one }), "aria-current": one === name ? "page" : null }, one)));
    if (shown !== name) {
      shown = name;
      node = code(files[name], { label: `${name}, version ${short(version)}`, marks: marks(name) });
      node.classList.add("run-source");
      fill(body, node);
    }
    const line = Number(query.get("line")) || firstWait(name);
    if (line) requestAnimationFrame(() => node.reveal(line));
  }

  const here = (site, name) => {
    const found = place(site, feed.run.workflow);
    return found && same(found.file, name) ? found.line : null;
  };

  function firstWait(name) {
    for (const { site } of feed.run.waiting_for) {
      const line = here(site, name);
      if (line) return line;
    }
    const error = feed.run.error?.place;
    return error && same(fileOf(error.file), name) ? error.line : null;
  }

  function marks(name) {
    const { run } = feed;
    const list = [];
    const waits = new Map();
    for (const wait of run.waiting_for) {
      const line = here(wait.site, name);
      if (!line) continue;
      const what = waiting(wait);
      const group = waits.get(line) ?? new Map();
      group.set(what, (group.get(what) ?? 0) + 1);
      waits.set(line, group);
    }
    for (const [line, group] of waits) {
      list.push({ line, kind: "waiting", text: [...group].map(([what, count]) => (count > 1 ? `${number(count)} tasks: ${what}` : what)).join("\n") });
    }
    for (let error = run.error; error; error = error.cause) {
      if (error.place && same(fileOf(error.place.file), name)) list.push({ line: error.place.line, kind: "error", text: `${error.kind}: ${error.message}`.split("\n")[0] });
    }
    for (const [line, columns] of reached.get(name) ?? []) {
      const text = times([...columns].sort(([a], [b]) => a - b).map(([, count]) => count));
      if (text || !waits.has(line)) list.push({ line, kind: "hit", text });
    }
    return list;
  }

  function take() {
    for (; seen < feed.events.length; seen += 1) {
      const event = feed.events[seen];
      const found = event.site && place(event.site, feed.run.workflow);
      if (!found) continue;
      let lines = reached.get(found.file);
      if (!lines) reached.set(found.file, (lines = new Map()));
      let columns = lines.get(found.line);
      if (!columns) lines.set(found.line, (columns = new Map()));
      columns.set(found.column, (columns.get(found.column) ?? 0) + 1);
    }
  }

  const draw = throttle(500, () => {
    if (signal.aborted) return;
    take();
    if (version !== feed.run.version) return load();
    if (node) node.mark(marks(shown));
  });
  for (const name of ["events", "run", "complete"]) feed.addEventListener(name, draw, { signal });
  take();
  load();
  return {
    element,
    update(next) {
      query = next;
      show();
    },
  };
}

const same = (a, b) => a === b || a.replace(/\.rhai$/, "") === b;

/** How often the calls of one line were reached, from left to right. */
function times(counts) {
  if (counts.every((count) => count === 1)) return null;
  if (counts.length === 1) return `reached ${number(counts[0])} times`;
  if (counts.every((count) => count === counts[0])) return `each of its ${counts.length} calls reached ${number(counts[0])} times`;
  return `its calls reached ${counts.map((count) => number(count)).join(", ")} times`;
}

/** What a task does at its line, as text. */
function waiting({ kind, name, until, run_id: run }) {
  const end = until ? `, ${{ sleep: "wakes", retry: "again" }[kind] ?? "until"} ${relative(until)}` : "";
  const what = { step: `runs step ${name}`, retry: `waits to try step ${name} again`, sleep: "sleeps", signal: `waits for signal ${name}`, hook: "waits for a call of its hook",
    suspend: `asks a person${name ? `: ${name}` : ""}`, child: `waits for child ${run}`, tasks: "waits for its tasks", task: "waits for a task" }[kind] ?? kind;
  return what + end;
}
