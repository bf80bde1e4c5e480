// Workflows that start by themselves: when, how the last start ended, and whether they are held.

import { api, follow, part } from "../lib/api.js";
import { problem } from "../lib/dialog.js";
import { fill, h, reconcile, text, throttle } from "../lib/dom.js";
import { number, relative, status, time, utc, whole } from "../lib/format.js";
import { link } from "../lib/router.js";

const OVERLAP = {
  skip: "skips a time while the run before is still going on",
  allow: "starts whether or not the run before has ended",
  queue: "starts after the run before has ended",
};

export function view({ signal }) {
  let schedules = null;
  /** The status of the last run of each, by its id. */
  const last = new Map();
  const total = h("span", { class: "soft" });
  const list = h("ul", { class: "flows" });
  const below = h("div", {});
  const element = h("div", {}, h("div", { class: "head" }, h("h1", {}, "Schedules"), total), list, below);

  const draw = () => {
    text(total, number(schedules.length));
    // Those that are due next come first, those that are held last.
    const order = [...schedules].sort((a, b) => (a.next ?? Infinity) - (b.next ?? Infinity) || (a.workflow < b.workflow ? -1 : 1));
    reconcile(list, order, (one) => one.workflow, () => h("li", { class: "card schedule" }), change);
    fill(below, schedules.length ? null : h("div", { class: "empty" }, h("h2", {}, "No workflow has a schedule"),
      h("p", {}, "Give one to a workflow in its header, and save the file:"),
      h("pre", {}, 'const WORKFLOW = #{\n    schedule: "0 9 * * MON-FRI",\n};')));
  };

  const change = (node, one) => {
    const now = JSON.stringify([one, last.get(one.last_run)]);
    if (node.dataset.now === now) return;
    node.dataset.now = now;
    const upcoming = one.upcoming ?? (one.next ? [one.next] : []);
    const run = last.get(one.last_run);
    // The button that was pressed may be made anew: the focus goes to the new one.
    const focused = node.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    fill(node,
      h("div", { class: "flow-head" },
        h("h2", {}, h("a", { href: link(["workflows", one.workflow]) }, one.workflow)),
        h("code", {}, one.cron), h("span", { class: "soft" }, one.timezone),
        one.paused ? h("span", { class: "status waiting" }, "paused") : null,
        one.queued ? h("span", { class: "status suspended" }, `${number(one.queued)} queued`) : null,
        h("span", { class: "end row" },
          one.paused
            ? button("resume", "Resume", one, (it, actions) => actions.resumeSchedule(it))
            : button("pause", "Pause", one, (it, actions) => actions.pauseSchedule(it)),
          button("trigger", "Run now", one, (it, actions) => actions.triggerSchedule(it)))),
      h("div", { class: "schedule-facts" },
        h("dl", { class: "facts" },
          h("dt", {}, "Last run"), h("dd", {}, one.last_run
            ? [h("a", { href: link(["runs", one.last_run]) }, time(one.last, whole)), " ", run ? status(run) : null, " ", h("span", { class: "faint" }, time(one.last, relative))]
            : h("span", { class: "soft" }, "none yet")),
          h("dt", {}, "All runs"), h("dd", {}, h("a", { href: link(["runs"], { tag: `schedule:${one.workflow}` }) }, "Runs it started")),
          h("dt", {}, "Overlap"), h("dd", { class: "soft" }, `${one.overlap}: ${OVERLAP[one.overlap] ?? ""}`),
          h("dt", {}, "Missed"), h("dd", { class: "soft" }, one.missed === "once" ? "once: times that passed while no host was there are made up for by one run" : "skip: times that passed while no host was there are left out")),
        h("div", {}, h("h3", {}, "Next"), upcoming.length
          ? h("ol", { class: "ticks" }, upcoming.map((at) => h("li", {}, time(at, whole), h("span", { class: "faint" }, time(at, relative)), h("span", { class: "faint mono utc" }, utc(at).slice(0, 16).replace("T", " "), " UTC"))))
          : h("p", { class: "soft" }, one.paused ? "It is paused. Resume it, or run it now." : "It is never due again."))));
    if (focused) node.querySelector(focused === "trigger" ? "[data-action=trigger]" : "[data-action=pause], [data-action=resume]")?.focus();
  };

  const button = (name, label, one, call) => h("button", { type: "button", dataset: { action: name }, "aria-label": `${label}: ${one.workflow}`, onclick: async (event) => {
    const pressed = event.currentTarget;
    pressed.disabled = true;
    await call(one, await import("../lib/actions.js"));
    pressed.disabled = false;
    pressed.focus();
    load();
  } }, label);

  async function load() {
    try {
      ({ schedules } = await api.get("/schedules", { signal }));
    } catch (error) {
      if (signal.aborted || schedules) return;
      return void fill(below, problem(error), h("button", { type: "button", onclick: load }, "Try again"));
    }
    draw();
    const runs = schedules.map((one) => one.last_run).filter((id) => id && !["completed", "failed", "cancelled"].includes(last.get(id)));
    await Promise.all(runs.slice(0, 30).map(async (id) => {
      const run = await api.get(`/runs/${part(id)}`, { query: { value_bytes: 16 }, signal }).catch(() => null);
      if (run) last.set(id, run.status);
    }));
    if (!signal.aborted) draw();
  }

  const soon = throttle(1500, () => !document.hidden && load());
  follow("/changes", { signal, on: soon }).catch(() => {});
  // A time passes without anything else happening.
  const clock = setInterval(() => {
    if (!document.hidden && schedules?.some((one) => one.next && one.next < Date.now())) soon();
  }, 2000);
  signal.addEventListener("abort", () => clearInterval(clock));
  fill(below, h("p", { class: "busy" }, "Loading …"));
  load();
  return { title: "Schedules", element };
}
