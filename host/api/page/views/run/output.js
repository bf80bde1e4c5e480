// The streams that a run emits to, each read live.

import { api, follow } from "../../lib/api.js";
import { fill, h, reconcile, text, throttle } from "../../lib/dom.js";
import { problem } from "../../lib/dialog.js";
import { number, precise, utc } from "../../lib/format.js";
import { isCut, json } from "../../lib/json.js";
import { link } from "../../lib/router.js";
import { virtual } from "../../lib/virtual.js";
import { toEnd } from "./end.js";

const PAGE = 1000;
const BRIEF = 1000;
const MAIN = "default";

export function panel({ id, feed, signal, query }) {
  const tabs = h("nav", { class: "tabs", "aria-label": "Streams" });
  const place = h("div", {});
  const element = h("div", { class: "log" }, tabs, place);
  let wanted = query.get("stream");
  let current = null;
  let stop = null;

  function show(streams) {
    const name = wanted ?? streams.find((one) => one.name === MAIN)?.name ?? streams[0]?.name ?? MAIN;
    tabs.hidden = streams.length < 2;
    reconcile(tabs, streams, (one) => one.name, (one) => h("a", { href: link(["runs", id], { tab: "output", stream: one.name }) }),
      (node, one) => {
        text(node, `${one.name} (${number(one.entries)})`);
        if (one.name === name) node.setAttribute("aria-current", "page");
        else node.removeAttribute("aria-current");
      });
    if (current === name) return;
    current = name;
    stop?.abort();
    stop = new AbortController();
    signal.addEventListener("abort", () => stop.abort(), { once: true });
    fill(place, stream(name, feed, stop.signal));
  }
  async function look() {
    try {
      show((await api.get(`${feed.path}/streams`, { signal })).streams);
    } catch (error) {
      if (!signal.aborted && current === null) fill(place, problem(error));
    }
  }
  // New streams come with events; which one it was is not known.
  feed.addEventListener("run", throttle(1000, () => !signal.aborted && look()), { signal });
  look();
  return {
    element,
    update(next) {
      wanted = next.get("stream");
      look();
    },
  };
}

function stream(name, feed, signal) {
  const list = [];
  let done = false;
  let plain = false;
  const state = h("span", { class: "faint tl-count", role: "status" });
  const followed = h("input", { type: "checkbox", checked: feed.live });
  const texty = h("input", { type: "checkbox" });
  const empty = h("div", { class: "empty", hidden: true });
  const rows = virtual({ count: 0, height: 27, measure: true, label: `Values of ${name}`, row: (index) => make(list[index]) });
  rows.element.classList.add("log-rows");
  const whole = async (index) => (await api.get(`${feed.path}/output`, { query: { stream: name, from: index, limit: 1 }, signal })).entries[0].value;
  function make({ index, at, value }) {
    const shown = plain && typeof value === "string" ? h("div", { class: "out-text" }, value)
      : json(value, { open: 0, copy: !isCut(value), whole: () => whole(index), label: `value ${index}` });
    return h("div", { class: "out-row" }, h("span", { class: "log-seq mono" }, number(index)),
      h("time", { class: "log-at", datetime: utc(at), title: `${utc(at)} (UTC)` }, precise(at)), shown);
  }
  const draw = throttle(100, () => {
    if (signal.aborted) return;
    rows.update(list.length);
    text(state, `${number(list.length)} values`);
    empty.hidden = list.length > 0 || !done;
    text(empty, "Nothing was emitted yet. emit(value) in the script writes to this stream.");
    if (followed.checked && list.length) toEnd(rows);
  });
  const take = (entries) => {
    for (const entry of entries) if (entry.index === list.length) list.push(entry);
    draw();
  };
  texty.addEventListener("change", () => {
    plain = texty.checked;
    rows.refresh();
  });
  followed.addEventListener("change", draw);
  rows.element.addEventListener("wheel", (event) => event.deltaY < 0 && (followed.checked = false), { passive: true });
  const node = h("div", { class: "log" },
    h("div", { class: "row log-tools" }, state, h("label", { class: "row" }, texty, "Text as it is"), h("label", { class: "row" }, followed, "Follow the end")), empty, rows.element);
  (async () => {
    try {
      for (let next = 0; next !== null && next !== undefined; ) {
        const page = await api.get(`${feed.path}/output`, { query: { stream: name, from: next, limit: PAGE, value_bytes: BRIEF }, signal });
        take(page.entries);
        next = page.next;
      }
      done = true;
      draw();
      if (feed.live) await follow(`${feed.path}/output`, { query: { stream: name, from: list.length, value_bytes: BRIEF }, signal, on: ({ event, data }) => event === "message" && take([data]) });
    } catch (error) {
      if (!signal.aborted) fill(empty, problem(error)), (empty.hidden = false);
    }
  })();
  return node;
}
