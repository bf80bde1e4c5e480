// All workflows: what they do, whether their text serves, and what runs of them are under way.

import { api, follow, part } from "../lib/api.js";
import { problem } from "../lib/dialog.js";
import { fill, h, reconcile, text, throttle } from "../lib/dom.js";
import { LIVE, number, relative, short, time } from "../lib/format.js";
import { go, here, link } from "../lib/router.js";
import { behindText, compatLine } from "./workflow/compat.js";
import { scheduleText } from "./workflow/facts.js";
import { summary } from "../lib/prose.js";

export function view({ query, signal }) {
  let workflows = null;
  let error = null;
  let census = [];
  const schedules = new Map();
  /** The last compatibility report, by workflow. */
  const reports = new Map();

  const search = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter by name or description", autocomplete: "off", value: query.get("q") ?? "",
    oninput: () => go(link(["workflows"], { q: search.value }), { replace: true }) });
  const total = h("span", { class: "soft" });
  const list = h("ul", { class: "flows" });
  const below = h("div", {});
  const element = h("div", {},
    h("div", { class: "head" }, h("h1", {}, "Workflows"), total, h("div", { class: "end" }, search)), list, below);

  const draw = () => {
    if (error) return void fill(below, problem(error), h("button", { type: "button", onclick: load }, "Try again"));
    if (!workflows) return void fill(below, h("p", { class: "busy" }, "Loading …"));
    const wanted = search.value.trim().toLowerCase();
    const found = workflows.filter((one) => `${one.name}\n${one.description}`.toLowerCase().includes(wanted));
    // What does not load comes first: an operator has to mend it.
    found.sort((a, b) => Number(Boolean(b.error)) - Number(Boolean(a.error)) || (a.name < b.name ? -1 : 1));
    text(total, number(workflows.length));
    reconcile(list, found, (one) => one.name, () => h("li", { class: "card flow" }), change);
    if (!workflows.length) {
      fill(below, h("div", { class: "empty" }, h("h2", {}, "No workflow yet"),
        h("p", {}, "Each .rhai file in the folder this host serves is a workflow. This makes one; the host finds it within a second:"),
        h("pre", {}, "durhai new hello")));
    } else if (!found.length) {
      fill(below, h("div", { class: "empty" }, h("h2", {}, `No workflow has “${search.value}” in its name or description`),
        h("a", { class: "button", href: "#/workflows" }, "Show all")));
    } else fill(below);
  };

  const change = (node, one) => {
    const counts = census.filter((entry) => entry.workflow === one.name);
    const report = reports.get(one.name);
    const next = schedules.get(one.name);
    const now = JSON.stringify([one, counts, report, next]);
    if (node.dataset.now === now) return;
    node.dataset.now = now;
    const place = link(["workflows", one.name]);
    fill(node,
      h("div", { class: "flow-head" },
        h("h2", {}, h("a", { href: place }, one.name)),
        one.error ? h("span", { class: "status failed" }, one.version ? "last save does not load" : "does not load") : null,
        one.version ? h("a", { class: "mono faint", href: link(["workflows", one.name], { tab: "source" }), title: `Version ${one.version}` }, short(one.version)) : null,
        h("span", { class: "end" }, one.version ? h("button", { type: "button", "aria-label": `Start ${one.name}`, onclick: () => start(one) }, "Start") : null)),
      one.description ? h("p", { class: "soft flow-text" }, summary(one.description)) : null,
      h("div", { class: "row flow-facts" }, liveText(one, counts), countText(one, counts), next ? scheduled(next) : one.header?.schedule ? h("span", {}, scheduleText(one.header.schedule)) : null),
      one.error ? h("pre", { class: "compiler", tabindex: 0, role: "region", "aria-label": `What the compiler says about ${one.name}` }, one.error) : null,
      one.warnings?.length ? h("pre", { class: "compiler", tabindex: 0, role: "region", "aria-label": `What a check finds in ${one.name}` }, one.warnings.join("\n")) : null,
      one.behind ? h("p", { class: "compat-line" }, behindText(one.behind)) : null,
      report ? h("p", { class: "compat-line" }, compatLine(report), " ", h("a", { href: link(["workflows", one.name], { tab: "report" }) }, "Report")) : null);
  };

  async function start(one) {
    const { startRun } = await import("../lib/actions.js");
    startRun(one);
  }

  async function load() {
    try {
      ({ workflows } = await api.get("/workflows", { signal }));
      error = null;
    } catch (caught) {
      if (signal.aborted) return;
      error = workflows ? null : caught;
    }
    draw();
    if (!workflows) return;
    const [health, all] = await Promise.all(["/health", "/schedules"].map((path) => api.get(path, { signal }).catch(() => null)));
    if (signal.aborted) return;
    census = health?.runs ?? [];
    schedules.clear();
    for (const one of all?.schedules ?? []) schedules.set(one.workflow, one);
    draw();
    // Only for those with runs on another version does a report still matter.
    for (const one of workflows.filter(({ name, live }) => !reports.has(name) && (live ?? []).some((entry) => !entry.serving)).slice(0, 40)) {
      const detail = await api.get(`/workflows/${part(one.name)}`, { signal }).catch(() => null);
      if (signal.aborted) return;
      reports.set(one.name, detail?.gate ?? null);
    }
    draw();
  }

  const soon = throttle(400, load);
  const later = throttle(3000, () => !document.hidden && load());
  let hello = false;
  follow("/changes", { signal, on: ({ event, data }) => {
    if (event === "workflow") {
      if (data.event === "gated") reports.set(data.workflow, data);
      soon();
    } else if (event === "runs") later();
    else if (hello) soon();
    else hello = true;
  } }).catch(() => {});
  draw();
  load();

  return { title: "Workflows", element, update: () => {
    search.value = here().query.get("q") ?? "";
    draw();
  } };
}

function liveText({ name, live = [] }) {
  if (!live.length) return h("span", { class: "faint" }, "no live run");
  return h("span", { class: "row" }, live.map((entry) => h("a", {
    class: entry.serving ? "live-count" : "live-count old", href: link(["runs"], { workflow: name, version: entry.version, status: LIVE }),
    title: entry.serving ? "Live runs with the version that serves" : "Live runs with an older version",
  }, `${number(entry.runs)} live`, entry.serving ? null : h("span", { class: "mono" }, ` ${short(entry.version)}`))));
}

function countText({ name }, counts) {
  const of = (status) => counts.filter((entry) => entry.status === status).reduce((sum, entry) => sum + entry.runs, 0);
  return ["parked", "failed", "completed"].filter(of).map((status) =>
    h("a", { class: `count-${status}`, href: link(["runs"], { workflow: name, status }) }, `${number(of(status))} ${status}`));
}

function scheduled(one) {
  return h("span", {}, h("code", {}, one.cron), " ", one.paused ? h("span", { class: "tag" }, "paused") : one.next ? time(one.next, relative) : null);
}
