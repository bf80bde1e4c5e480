// One workflow: what its header says, its runs, its source, its versions and what differs between them, and the result of the last save.

import { api, follow, part } from "../lib/api.js";
import { problem } from "../lib/dialog.js";
import { fill, h, throttle } from "../lib/dom.js";
import { LIVE, number, short, time, whole } from "../lib/format.js";
import { key } from "../lib/keys.js";
import { link } from "../lib/router.js";
import { facts } from "./workflow/facts.js";
import { behindText, compatLine, compatReport } from "./workflow/compat.js";
import { recentRuns } from "./workflow/recent.js";
import { sourcePanel } from "./workflow/source.js";
import { versionsPanel } from "./workflow/versions.js";
import { prose } from "../lib/prose.js";

const TABS = [["", "Overview"], ["source", "Source"], ["versions", "Versions"], ["report", "Reload report"]];

export function view({ params, query, signal }) {
  const name = params.name;
  let shown = null;
  let versions = null;
  let schedule = null;
  let at = query;
  /** The panel that is shown: `{ tab, element, update? }`. */
  let panel = null;

  const top = h("div", { class: "stack" });
  const tabs = h("nav", { class: "tabs", "aria-label": "Parts of the workflow" });
  const place = h("div", { class: "panel" });
  const element = h("div", { class: "stack" }, top, tabs, place);
  const tab = () => (TABS.some(([one]) => one === at.get("tab")) ? at.get("tab") : "");

  const drawTop = () => {
    const older = (shown.live ?? []).filter((entry) => !entry.serving).reduce((sum, entry) => sum + entry.runs, 0);
    fill(top,
      h("p", { class: "crumbs" }, h("a", { href: "#/workflows" }, "Workflows"), " / "),
      h("div", { class: "head" }, h("h1", {}, name),
        shown.version ? h("a", { class: "mono faint", title: `Version ${shown.version}`, href: link(["workflows", name], { tab: "source" }) }, short(shown.version)) : h("span", { class: "status failed" }, "does not load"),
        h("div", { class: "end" },
          h("a", { class: "button", href: link(["runs"], { workflow: name }) }, "Runs"),
          older ? h("button", { type: "button", onclick: () => migrate() }, `Migrate ${number(older)} older …`) : null,
          shown.version ? h("button", { type: "button", class: "primary", onclick: () => start() }, "Start") : null)),
      shown.error ? h("div", { class: "notice bad", role: "alert" },
        h("p", {}, shown.version ? "The last save does not load; the version before it serves on. Save the file again when it is put right." : "The text in the folder does not load, so nothing can be started. Save the file again when it is put right."),
        h("pre", { class: "compiler", tabindex: 0, role: "region", "aria-label": "What the compiler says" }, shown.error)) : null,
      shown.behind ? h("div", { class: "notice ask" }, h("p", {}, behindText(shown.behind)), h("p", { class: "soft" },
        "Bring the text here up to date. To have this one serve in all hosts, save it once more changed, or start a host that has it with --take-over.")) : null,
      tab() !== "report" && shown.gate && (!shown.gate.served || shown.gate.diverging + shown.gate.failing + shown.gate.unreadable > 0)
        ? h("div", { class: `notice ${shown.gate.served ? "ask" : "bad"}` }, h("p", {}, compatLine(shown.gate), " ", h("a", { href: link(["workflows", name], { tab: "report" }) }, "Report"))) : null);
    fill(tabs, TABS.map(([one, label]) => h("a", { href: link(["workflows", name], { tab: one }), "aria-current": one === tab() ? "page" : null }, label,
      one === "versions" && versions ? h("span", { class: "faint" }, ` ${number(versions.length)}`) : null)));
  };

  const recent = recentRuns({ query: { workflow: name }, signal });
  const overview = () => {
    const side = h("div", { class: "stack" });
    const draw = () => fill(side,
      prose(shown.description, "card prose"),
      h("div", { class: "card" }, h("h2", {}, "Live runs"), liveRuns()),
      h("div", { class: "card" }, h("h2", {}, "Header"), facts(shown.header) ?? h("p", { class: "soft" }, "None: the defaults hold. A const WORKFLOW = #{ … } at its top sets schema, schedule, retries, timeout and more."),
        schedule ? h("p", { class: "schedule-line" }, schedule.paused ? "Its schedule is paused." : ["Due next ", time(schedule.next, whole), "."], " ", h("a", { href: "#/schedules" }, "Schedules")) : null));
    draw();
    recent.load();
    return { element: h("div", { class: "columns" }, side, h("div", { class: "card" }, h("div", { class: "head" }, h("h2", {}, "Recent runs"), h("span", { class: "end" }, h("a", { href: link(["runs"], { workflow: name }) }, "All of them"))), recent.element)), update: draw };
  };
  const liveRuns = () => {
    const all = shown.live ?? [];
    if (!all.length) return h("p", { class: "soft" }, "None.");
    return h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "Version"), h("th", { class: "number" }, "Live runs"), h("th", {}, h("span", { class: "hidden" }, "Differences")))), h("tbody", {}, all.map((entry) => h("tr", {},
      h("td", {}, h("a", { class: "mono", href: link(["workflows", name], { tab: "source", version: entry.version }), title: entry.version }, short(entry.version)), entry.serving ? " serves" : ""),
      h("td", { class: "number" }, h("a", { href: link(["runs"], { workflow: name, version: entry.version, status: LIVE }) }, number(entry.runs))),
      h("td", {}, entry.serving || !shown.version ? "" : h("a", { href: link(["workflows", name], { tab: "versions", a: entry.version, b: shown.version }) }, "What changed"))))));
  };

  const make = {
    "": overview,
    source: () => sourcePanel({ name, versions: () => versions, signal }),
    versions: () => versionsPanel({ name, versions: () => versions, signal }),
    report: () => {
      const inside = h("div", {});
      let before;
      return { element: inside, update: () => {
        const now = JSON.stringify(shown.gate);
        if (now !== before) fill(inside, compatReport(shown.gate, shown));
        before = now;
      } };
    },
  };
  const drawPanel = () => {
    if (panel?.tab !== tab()) {
      panel = { tab: tab(), ...make[tab()]() };
      fill(place, panel.element);
    }
    panel.update?.(at);
  };

  async function load() {
    try {
      shown = await api.get(`/workflows/${part(name)}`, { signal });
      ({ versions } = await api.get(`/workflows/${part(name)}/versions`, { signal }).catch(() => ({ versions: [] })));
      if (shown.header?.schedule) schedule = (await api.get("/schedules", { signal }).catch(() => null))?.schedules.find((one) => one.workflow === name) ?? null;
    } catch (error) {
      if (signal.aborted) return;
      fill(tabs);
      return void fill(place, error.status === 404
        ? h("div", { class: "empty" }, h("h1", {}, name), h("p", {}, "There is no workflow of this name: its file may have been removed or renamed. Runs of it are kept."),
          h("div", { class: "row" }, h("a", { class: "button", href: link(["runs"], { workflow: name }) }, "Its runs"), h("a", { class: "button", href: "#/workflows" }, "All workflows")))
        : [problem(error), h("button", { type: "button", onclick: load }, "Try again")]);
    }
    if (signal.aborted) return;
    drawTop();
    drawPanel();
  }

  async function start() {
    const { startRun } = await import("../lib/actions.js");
    await startRun(shown);
  }
  async function migrate() {
    const { migrateWorkflow } = await import("../lib/actions.js");
    if (await migrateWorkflow(shown)) load();
  }
  key("n", "Start a run", () => shown?.version && start(), signal);

  const soon = throttle(400, load);
  const later = throttle(2500, () => {
    if (document.hidden) return;
    load();
  });
  let hello = false;
  follow("/changes", { query: { workflow: name }, signal, on: ({ event, data }) => {
    if (event === "workflow" && data.workflow === name) soon();
    else if (event === "runs") {
      recent.soon();
      later();
    } else if (event === "hello") {
      if (hello) soon();
      hello = true;
    }
  } }).catch(() => {});
  fill(place, h("p", { class: "busy" }, "Loading …"));
  load();

  return { title: name, element, update(next) {
    at = next;
    if (!shown) return;
    drawTop();
    drawPanel();
  } };
}
