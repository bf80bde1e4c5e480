// How the host is: whether it does its work, how much of it, and what needs an operator.

import { api, follow, pause } from "../lib/api.js";
import { problem } from "../lib/dialog.js";
import { fill, h, reconcile, text, throttle } from "../lib/dom.js";
import { STATUSES, number, relative, status, time, whole } from "../lib/format.js";
import { link } from "../lib/router.js";
import { EVERY, charts } from "./health/charts.js";
import { doctor } from "./health/doctor.js";
import { parkedRuns } from "./health/parked.js";
import { longestWaits } from "./health/longest.js";
import { hostList } from "./health/hosts.js";

const GAUGES = [
  ["live", "Runs in memory", "Their fibers stand where the scripts wait."],
  ["evicted", "Evicted", "Fibers dropped while their runs waited, to save memory; the runs are rebuilt when they go on."],
  ["rebuilt", "Rebuilt", "Runs made again from their logs: after a start of the host, or an eviction."],
];

export function view({ signal }) {
  const state = h("div", {});
  const rates = charts();
  const gauges = h("dl", { class: "tallies" }, GAUGES.map(([name, label, what]) => h("div", { title: what, dataset: { name } }, h("dt", {}, label), h("dd", {}, "–"))));
  const census = h("section", { class: "card", hidden: true }, h("h2", {}, "Runs by status"));
  const counts = h("ul", { class: "census" });
  const busiest = h("div", { class: "scroll-x", tabindex: 0, role: "region", "aria-label": "Runs by workflow" });
  census.append(counts, busiest);
  const broken = h("section", { class: "card", hidden: true }, h("h2", {}, "Workflows that do not load"));
  const brokenList = h("ul", { class: "stack" });
  broken.append(brokenList);
  const parked = parkedRuns({ signal });
  const longest = longestWaits({ signal });
  const hosts = hostList({ signal });
  const element = h("div", { class: "stack health" }, h("div", { class: "head" }, h("h1", {}, "Health")), state, rates.element, gauges,
    h("div", { class: "columns even" }, h("div", { class: "stack" }, parked.element, broken, doctor({ signal })), h("div", { class: "stack" }, hosts.element, census, longest.element)));

  const drawState = (health) => {
    const now = JSON.stringify([health.ok, health.error, health.warnings, health.version, health.started_at]);
    if (state.dataset.now === now) return;
    state.dataset.now = now;
    fill(state, h("div", { class: health.ok ? "notice good" : "notice bad", role: "status" },
      h("p", {}, h("strong", {}, health.ok ? "The host does its work." : "The host cannot do its work."), " ",
        `durhai ${health.version}, up since `, time(health.started_at, whole), " (", time(health.started_at, relative), ")"),
      health.error ? h("pre", {}, health.error) : null,
      health.warnings?.length ? h("pre", {}, health.warnings.join("\n")) : null,
      health.ok ? null : h("p", { class: "soft" }, "Runs go on when the reason is gone; nothing that was recorded is lost. Starting the host again is safe.")));
  };
  const drawCensus = (entries) => {
    census.hidden = false;
    const by = (name) => entries.reduce((all, entry) => all.set(entry[name], (all.get(entry[name]) ?? 0) + entry.runs), new Map());
    const statuses = by("status");
    reconcile(counts, STATUSES.filter((name) => statuses.get(name)), (name) => name,
      (name) => h("li", {}, h("a", { href: link(["runs"], { status: name }) }, status(name), h("strong", {}))),
      (node, name) => text(node.querySelector("strong"), number(statuses.get(name))));
    const now = JSON.stringify(entries);
    if (busiest.dataset.now === now) return;
    busiest.dataset.now = now;
    const used = STATUSES.filter((name) => statuses.get(name));
    const of = new Map(entries.map((entry) => [`${entry.workflow}\n${entry.status}`, entry.runs]));
    const workflows = [...by("workflow")].sort((a, b) => b[1] - a[1]).slice(0, 30);
    fill(busiest, workflows.length ? h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "Workflow"), used.map((name) => h("th", { class: "number" }, name)))),
      h("tbody", {}, workflows.map(([workflow]) => h("tr", {}, h("td", {}, h("a", { href: link(["workflows", workflow]) }, workflow)),
        used.map((name) => h("td", { class: "number" }, of.get(`${workflow}\n${name}`)
          ? h("a", { href: link(["runs"], { workflow, status: name }) }, number(of.get(`${workflow}\n${name}`))) : h("span", { class: "faint" }, "0"))))))) : h("p", { class: "soft" }, "No run yet."));
  };

  async function poll() {
    while (!signal.aborted) {
      if (!document.hidden) {
        try {
          const health = await api.get("/health", { signal });
          drawState(health);
          rates.add(health.stats, health.now);
          for (const node of gauges.children) text(node.querySelector("dd"), number(health.stats[node.dataset.name]));
          if (health.runs) drawCensus(health.runs);
          hosts.load();
        } catch (error) {
          if (signal.aborted) return;
          delete state.dataset.now;
          fill(state, problem(error));
        }
      }
      await pause(EVERY, signal);
    }
  }
  async function loadBroken() {
    const answer = await api.get("/workflows", { signal }).catch(() => null);
    if (!answer) return;
    const wrong = answer.workflows.filter((one) => one.error);
    broken.hidden = wrong.length === 0;
    reconcile(brokenList, wrong, (one) => one.name, () => h("li", {}), (node, one) => {
      if (node.dataset.now === one.error) return;
      node.dataset.now = one.error;
      fill(node, h("h3", {}, h("a", { href: link(["workflows", one.name]) }, one.name), h("span", { class: "faint" }, one.version ? " (the version before serves)" : "")),
        h("pre", { class: "compiler", tabindex: 0, role: "region", "aria-label": `What the compiler says about ${one.name}` }, one.error));
    });
  }

  const soon = throttle(2500, () => {
    if (document.hidden) return;
    parked.load();
    waits();
  });
  const waits = throttle(15_000, () => longest.load());
  const files = throttle(500, loadBroken);
  follow("/changes", { signal, on: ({ event }) => (event === "runs" ? soon() : (files(), soon())) }).catch(() => {});
  poll();
  loadBroken();
  soon();
  return { title: "Health", element };
}
