// All runs: filtered by what the address says, live, however many there are.

import { api } from "../lib/api.js";
import { dialog, problem } from "../lib/dialog.js";
import { fill, h, say, text, throttle } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { key } from "../lib/keys.js";
import { go, link } from "../lib/router.js";
import { virtual } from "../lib/virtual.js";
import { filterBar } from "./runs/bar.js";
import { BULK, bulk } from "./runs/bulk.js";
import { countable, empty, read } from "./runs/filter.js";
import { changeRow, makeRow, tickRow } from "./runs/row.js";
import { RunSource } from "./runs/source.js";

/** Rows before the end of what is loaded at which more is asked for. */
const AHEAD = 300;
/** Runs that can be selected by one click. */
const MOST = 20_000;
const narrow = matchMedia("(max-width: 720px)");

export function view({ query, signal }) {
  let filter = read(query);
  let census = null;
  let workflows = null;
  const selected = new Set();
  let lastPicked = null;

  const bar = filterBar();
  const total = h("span", { class: "soft", role: "status" });
  const fresh = h("button", { type: "button", class: "primary fresh", hidden: true, onclick: () => {
    scrollTo({ top: 0 });
    source.reload();
  } });
  const all = h("input", { type: "checkbox", "aria-label": "Select all that are loaded", onclick: () => pickAll(all.checked) });
  const heading = h("div", { role: "rowgroup", class: "run-head" }, h("div", { class: "run-row", role: "row", "aria-rowindex": 1 },
    h("span", { role: "columnheader", class: "r-box" }, all),
    ["Status", "Workflow", "Run"].map((name) => h("span", { role: "columnheader", class: `r-${{ Run: "id" }[name] ?? name.toLowerCase()}` }, name)),
    h("span", { role: "columnheader", class: "r-news" }, "What is going on"),
    h("span", { role: "columnheader", class: "r-time" }, "Started"),
    h("span", { role: "columnheader", class: "r-spent" }, "Took")));
  const table = h("div", { class: "run-table", role: "table", "aria-label": "Runs" }, heading);
  const below = h("div", { class: "below" });
  const bulkBar = h("div", { class: "bulk", role: "region", "aria-label": "Selected runs", hidden: true });
  const startButton = h("button", { type: "button", class: "primary", onclick: () => start() }, "Start a run");
  const element = h("div", { class: "runs" },
    h("div", { class: "head" }, h("h1", {}, "Runs"), total, h("div", { class: "end" }, startButton)),
    bar.element, bulkBar, h("div", { class: "fresh-place" }, fresh), table, below);

  const source = new RunSource({
    signal,
    visible: () => [list.range.from, list.range.to],
    top: () => scrollY < 200 && !document.hidden,
  });

  let list;
  const build = () => {
    list?.element.remove();
    list = virtual({
      role: "table",
      offset: 1,
      count: source.runs.length,
      height: narrow.matches ? 78 : 37,
      key: (index) => source.runs[index].id,
      row: (index) => makeRow(source.runs[index], { picked: (id) => selected.has(id), pick }),
      change: (node, index) => changeRow(node, source.runs[index]),
      open: (index) => go(link(["runs", source.runs[index].id])),
      seen: ({ to }) => {
        source.seen();
        if (to > source.runs.length - AHEAD) source.more();
      },
    });
    table.append(list.element);
  };
  build();
  narrow.addEventListener("change", build, { signal });

  const draw = () => {
    const { runs, complete, loading, error } = source;
    table.hidden = runs.length === 0;
    table.setAttribute("aria-rowcount", String(complete ? runs.length + 1 : -1));
    list.update(runs.length);
    list.refresh();
    drawTotal();
    drawBulk();
    if (error) fill(below, problem(error), h("button", { type: "button", onclick: () => source.again() }, "Try again"));
    else if (loading && !runs.length) fill(below, h("p", { class: "busy" }, "Loading …"));
    else if (!runs.length) fill(below, nothing());
    else fill(below, h("p", { class: "busy" }, complete ? "That is all." : "Loading older runs …"));
    if (list.range.to > runs.length - AHEAD) source.more();
  };
  const drawTotal = () => {
    const counted = census && countable(filter)
      ? census.filter((entry) => (!filter.workflow || entry.workflow === filter.workflow) && (!filter.status.length || filter.status.includes(entry.status)))
        .reduce((sum, entry) => sum + entry.runs, 0)
      : null;
    const n = counted ?? source.runs.length;
    text(total, source.loading && !source.runs.length ? "" : `${number(n)}${counted === null && !source.complete ? "+" : ""}`);
  };
  source.addEventListener("change", draw);
  source.addEventListener("fresh", () => {
    fresh.hidden = source.waiting === 0;
    const many = source.waitingMore ? `${number(source.waiting)}+` : number(source.waiting);
    text(fresh, `${many} new ${source.waiting === 1 ? "run" : "runs"}`);
  });

  const count = throttle(2000, async () => {
    const health = await api.get("/health", { signal }).catch(() => null);
    if (!health?.runs || signal.aborted) return;
    census = health.runs;
    bar.counts(census);
    drawTotal();
  });
  source.addEventListener("told", () => !document.hidden && count());

  const loadWorkflows = throttle(500, async () => {
    const answer = await api.get("/workflows", { signal }).catch(() => null);
    if (!answer || signal.aborted) return;
    workflows = answer.workflows;
    bar.workflows(workflows.map((one) => one.name));
    if (!source.runs.length) draw();
  });
  const nothing = () => {
    if (!empty(filter)) {
      return h("div", { class: "empty" }, h("h2", {}, "No run fits these filters"), h("a", { class: "button", href: "#/runs" }, "Clear the filters"));
    }
    if (workflows?.length === 0) {
      return h("div", { class: "empty" }, h("h2", {}, "No workflow yet"),
        h("p", {}, "A workflow is a .rhai file in the folder this host serves. This makes one there, and the host finds it by itself:"),
        h("pre", {}, "durhai new hello"));
    }
    return h("div", { class: "empty" }, h("h2", {}, "No run yet"), h("p", {}, "Start one here, or from a shell:"),
      h("pre", {}, `durhai start ${workflows?.find((one) => one.version)?.name ?? "hello"} --input '{}'`),
      h("button", { type: "button", class: "primary", onclick: () => start() }, "Start a run"));
  };

  async function start() {
    const { startRun } = await import("../lib/actions.js");
    const names = workflows ?? (await api.get("/workflows")).workflows;
    const usable = names.filter((one) => one.version);
    if (!usable.length) return void go("#/workflows");
    const known = usable.find((one) => one.name === filter.workflow) ?? (usable.length === 1 ? usable[0] : null);
    if (known) return void startRun(known);
    const select = h("select", { id: "which", autofocus: true }, usable.map((one) => h("option", { value: one.name }, one.name)));
    const which = await dialog({
      title: "Start a run", submit: "Next",
      content: h("div", { class: "field" }, h("label", { for: "which" }, "Workflow"), select),
      done: () => usable.find((one) => one.name === select.value),
    });
    if (which) startRun(which);
  }

  // Selection.
  function pick(id, event) {
    const runs = source.runs;
    const on = !selected.has(id);
    if (event?.shiftKey && lastPicked !== null) {
      const [a, b] = [lastPicked, id].map((one) => runs.findIndex((run) => run.id === one)).sort((x, y) => x - y);
      for (const run of runs.slice(Math.max(0, a), b + 1)) selected[on ? "add" : "delete"](run.id);
    } else selected[on ? "add" : "delete"](id);
    lastPicked = id;
    list.refresh();
    drawBulk();
  }
  function pickAll(on) {
    selected.clear();
    if (on) for (const run of source.runs) selected.add(run.id);
    list.refresh();
    drawBulk();
  }
  async function loadAll(button) {
    button.disabled = true;
    while (!source.complete && !source.error && source.runs.length < MOST && !signal.aborted) {
      await source.more();
      text(button, `${number(source.runs.length)} …`);
      // Another call may be loading.
      if (source.loading) await new Promise((done) => source.addEventListener("change", done, { once: true }));
    }
    pickAll(true);
  }
  function drawBulk() {
    const chosen = selected.size ? source.runs.filter((run) => selected.has(run.id)) : [];
    bulkBar.hidden = chosen.length === 0;
    all.checked = chosen.length > 0 && chosen.length === source.runs.length;
    all.indeterminate = chosen.length > 0 && !all.checked;
    if (!chosen.length) return void fill(bulkBar);
    const now = `${chosen.length} ${BULK.map((action) => chosen.filter(action.fits).length)} ${all.checked && !source.complete}`;
    if (bulkBar.dataset.now === now && bulkBar.childElementCount) return;
    bulkBar.dataset.now = now;
    fill(bulkBar,
      h("strong", { role: "status" }, `${number(chosen.length)} selected`),
      BULK.map((action) => {
        const fitting = chosen.filter(action.fits).length;
        return fitting ? h("button", { type: "button", class: action.danger ? "danger" : null, onclick: () => act(action) }, `${action.label} ${number(fitting)}`) : null;
      }),
      all.checked && !source.complete
        ? h("button", { type: "button", class: "quiet", onclick: (event) => loadAll(event.currentTarget) }, "Select older ones too") : null,
      h("button", { type: "button", class: "quiet", onclick: () => pickAll(false) }, "Select none"));
  }
  async function act(action) {
    const done = await bulk(action, source.runs.filter((run) => selected.has(run.id)));
    if (!done) return;
    for (const id of done) selected.delete(id);
    if (action.name === "delete") source.remove(done);
    else source.touch(done);
    count();
    drawBulk();
  }

  key("j", "Next run", () => list.move(1), signal);
  key("k", "Run before", () => list.move(-1), signal);
  key("x", "Select the run", () => {
    const run = source.runs[list.current];
    if (!run) return;
    pick(run.id);
    say(selected.has(run.id) ? "selected" : "not selected");
  }, signal);
  key("Escape", "Select none", () => pickAll(false), signal);
  key("n", "Start a run", start, signal);

  const clock = setInterval(() => {
    if (document.hidden) return;
    for (const node of list.element.querySelectorAll(".run-row")) if (!node.run.run.ended_at) tickRow(node);
  }, 1000);
  signal.addEventListener("abort", () => clearInterval(clock));

  bar.show(filter);
  source.show(filter);
  loadWorkflows();
  source.addEventListener("workflow", loadWorkflows);
  count();

  return {
    title: "Runs",
    element,
    update(next) {
      filter = read(next);
      selected.clear();
      lastPicked = null;
      scrollTo({ top: 0 });
      bar.show(filter);
      drawBulk();
      source.show(filter);
    },
  };
}
