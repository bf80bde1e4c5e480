// One run: its head, what it needs now, and its panels.

import { fill, h, text } from "../lib/dom.js";
import { problem } from "../lib/dialog.js";
import { key } from "../lib/keys.js";
import { go, link } from "../lib/router.js";
import { openFeed } from "./run/feed.js";
import { head } from "./run/head.js";
import { now } from "./run/now.js";
import { values } from "./run/values.js";

/** Panels by tab; `keep`: it stays while another one is shown, because it is dear to make or remembers where one was. */
const TABS = [
  { name: "timeline", label: "Timeline", load: () => import("./run/timeline.js"), keep: true },
  { name: "log", label: "Log", load: () => import("./run/log.js"), keep: true },
  { name: "lines", label: "Script log", load: () => import("./run/lines.js"), keep: true },
  { name: "output", label: "Output", load: () => import("./run/output.js") },
  { name: "state", label: "State", load: () => import("./run/state.js") },
  { name: "source", label: "Source", load: () => import("./run/source.js") },
  { name: "trace", label: "Trace", load: () => import("./run/trace.js"), keep: true },
];

export function view({ params: { id }, query, signal }) {
  const feed = openFeed(id, signal);
  const tabs = h("nav", { class: "tabs", "aria-label": "Views of the run" });
  const place = h("div", { class: "run-panel" });
  const body = h("div", { class: "run" }, h("p", { class: "busy" }, "Loading the run …"));
  const links = TABS.map(({ name, label }, at) => h("a", {
    href: link(["runs", id], name === "timeline" ? {} : { tab: name }), dataset: { tab: name }, "aria-keyshortcuts": String(at + 1),
  }, label));
  tabs.append(...links);
  TABS.forEach(({ label }, at) => key(String(at + 1), `Show ${label.toLowerCase()}`, () => go(links[at].getAttribute("href")), signal));

  const shown = new Map();
  let current = null;

  async function show(wanted) {
    const tab = TABS.find(({ name }) => name === wanted.get("tab")) ?? TABS[0];
    for (const anchor of links) {
      if (anchor.dataset.tab === tab.name) anchor.setAttribute("aria-current", "page");
      else anchor.removeAttribute("aria-current");
    }
    bring(links[TABS.indexOf(tab)]);
    if (current && current.tab !== tab) leave(current);
    let entry = shown.get(tab.name);
    if (!entry) {
      entry = { tab, stop: new AbortController(), element: h("section", { "aria-label": tab.label }, h("p", { class: "busy" }, "Loading …")), panel: null };
      signal.addEventListener("abort", () => entry.stop.abort(), { once: true });
      shown.set(tab.name, entry);
      place.append(entry.element);
    }
    current = entry;
    entry.element.hidden = false;
    entry.query = wanted;
    if (entry.panel) return entry.panel.update?.(wanted);
    if (entry.loading) return;
    entry.loading = true;
    try {
      const module = await tab.load();
      if (entry.stop.signal.aborted) return;
      entry.panel = module.panel({ id, feed, signal: entry.stop.signal, query: entry.query });
      fill(entry.element, entry.panel.element);
      entry.panel.shown?.();
    } catch (error) {
      shown.delete(tab.name);
      fill(entry.element, problem(error));
    }
  }

  function leave(entry) {
    entry.element.hidden = true;
    if (entry.tab.keep) return;
    entry.stop.abort();
    entry.element.remove();
    shown.delete(entry.tab.name);
  }

  feed.addEventListener("run", () => {
    fill(body, head({ feed, signal }), now({ feed, signal }), values({ feed, signal }), tabs, place);
    show(query);
    // A link to something in a panel shows the panel, where the head is long.
    if (query.get("tab") || query.get("step")) {
      requestAnimationFrame(() => tabs.getBoundingClientRect().top > innerHeight * 0.55 && tabs.scrollIntoView());
    }
  }, { once: true, signal });
  feed.addEventListener("gone", ({ problem: error }) => fill(body, gone(id, error)), { signal });

  return {
    title: id,
    element: body,
    update(wanted) {
      query = wanted;
      if (feed.run) show(wanted);
    },
  };
}

/** Scrolls a strip of tabs, where it is wider than the screen, so that the current one is seen. */
function bring(anchor) {
  const strip = anchor.parentElement;
  const [box, own] = [strip.getBoundingClientRect(), anchor.getBoundingClientRect()];
  if (own.left < box.left || own.right > box.right) strip.scrollLeft += own.left - box.left - 24;
}

function gone(id, error) {
  if (error?.status !== 404) return problem(error);
  const heading = h("h2");
  text(heading, `There is no run ${id}`);
  return h("div", { class: "empty" }, heading,
    h("p", {}, "It was deleted, or removed because its workflow keeps finished runs for some time only, or the id is another one."),
    h("a", { class: "button", href: "#/runs" }, "All runs"));
}
