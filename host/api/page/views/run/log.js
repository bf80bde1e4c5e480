// The log of a run: every event, each of which opens to all it holds.

import { h, text, throttle } from "../../lib/dom.js";
import { duration, number, precise, utc } from "../../lib/format.js";
import { json } from "../../lib/json.js";
import { link } from "../../lib/router.js";
import { virtual } from "../../lib/virtual.js";
import { toEnd } from "./end.js";
import { words } from "./events.js";
import { placeLink } from "./place.js";

/** The height of a row as run.css has it: what is guessed right need not be measured again. */
const ROW = 27;
const ROW_NARROW = 45;

export function panel({ feed, signal, query }) {
  let list = [];
  let taken = 0;
  let filter = { type: "", step: "", text: "" };
  const open = new Set();
  const types = new Map();

  const type = h("select", { id: "log-type", "aria-label": "Type of event", onchange: () => look() }, h("option", { value: "" }, "All types"));
  const step = h("input", { id: "log-step", placeholder: "Call: 4.1", "aria-label": "Call and those below it", size: 9, autocomplete: "off" });
  const words_ = h("input", { id: "log-text", type: "search", placeholder: "Text", "aria-label": "Text in events", size: 16 });
  const jump = h("input", { id: "log-seq", inputmode: "numeric", placeholder: "Event", "aria-label": "Go to event number", size: 7, autocomplete: "off" });
  const followed = h("input", { type: "checkbox", id: "log-follow" });
  const state = h("span", { class: "faint tl-count", role: "status" });
  const rows = virtual({
    count: 0, height: matchMedia("(max-width: 760px)").matches ? ROW_NARROW : ROW, measure: true, label: "Events", key: (index) => list[index]?.seq ?? index,
    row: (index) => make(list[index]), open: (index) => toggle(list[index].seq),
  });
  rows.element.classList.add("log-rows");
  const element = h("div", { class: "log" },
    h("form", { class: "row log-tools", onsubmit: (event) => (event.preventDefault(), event.submitter ?? document.activeElement === jump ? reach(Number(jump.value)) : null) }, state,
      type, step, words_, jump, h("label", { class: "row" }, followed, "Follow the end")),
    rows.element);
  followed.checked = feed.live && !query.get("seq");

  function make(event) {
    const opened = open.has(event.seq);
    const node = h("div", { class: `log-row ${tone(event)}`, "aria-expanded": String(opened) },
      h("div", { class: "log-line" },
        h("span", { class: "log-seq mono" }, number(event.seq)),
        h("time", { class: "log-at", datetime: utc(event.at), title: `${utc(event.at)} (UTC)` }, precise(event.at)),
        h("span", { class: "log-since", title: "Since the start" }, `+${duration(event.at - feed.events[0].at)}`),
        h("span", { class: "log-type mono" }, event.type),
        h("span", { class: "log-step mono" }, event.step_id ?? ""),
        h("span", { class: "log-brief" }, words(event))));
    if (opened) node.append(whole(event));
    return node;
  }

  function whole(event) {
    const { site, ...fields } = event;
    return h("div", { class: "log-open" },
      h("div", { class: "row" },
        site ? h("span", {}, "asked for at ", placeLink(feed.run, site)) : null,
        event.step_id ? h("a", { href: link(["runs", feed.id], { step: event.step_id }) }, "in the timeline") : null,
        event.run_id && event.type.startsWith("child") ? h("a", { href: link(["runs", event.run_id]) }, `run ${event.run_id}`) : null,
        event.next ? h("a", { href: link(["runs", event.next]) }, `run ${event.next}`) : null,
        h("a", { href: link(["runs", feed.id], { tab: "log", seq: event.seq }) }, "link to this event")),
      json(fields, { open: 2, whole: async () => {
        const { site: _, ...all } = await feed.event(event.seq);
        return all;
      }, label: `event ${event.seq}` }));
  }

  function toggle(seq, opened = !open.has(seq)) {
    if (opened) open.add(seq);
    else open.delete(seq);
    rows.refresh();
  }

  rows.element.addEventListener("click", (event) => {
    const line = event.target.closest(".log-line");
    if (!line || String(getSelection())) return;
    toggle(line.parentElement.virtualKey);
  });

  // ---- which events ----

  const fits = (event) => (!filter.type || event.type === filter.type)
    && (!filter.step || event.step_id === filter.step || event.step_id?.startsWith(`${filter.step}.`))
    && (!filter.text || textOf(event).includes(filter.text));

  function look() {
    filter = { type: type.value, step: step.value.trim(), text: words_.value.trim().toLowerCase() };
    list = [];
    taken = 0;
    take();
  }

  function take() {
    const filtered = filter.type || filter.step || filter.text;
    const { events } = feed;
    for (let at = taken; at < events.length; at += 1) {
      const event = events[at];
      if (!types.has(event.type)) {
        types.set(event.type, true);
        type.append(h("option", { value: event.type }, event.type));
      }
      if (!filtered || fits(event)) list.push(event);
    }
    taken = events.length;
    rows.update(list.length);
    text(state, filtered ? `${number(list.length)} of ${number(taken)} events` : `${number(taken)} events${feed.complete ? "" : ` of ${number(feed.run.events)}`}`);
    if (followed.checked && list.length && !element.closest("[hidden]")) toEnd(rows);
  }

  /** Goes to an event; filters that hide it are dropped. */
  function reach(seq) {
    if (!Number.isInteger(seq) || seq < 1) return;
    if (seq > feed.events.length && !feed.complete) return (pending = seq);
    pending = null;
    let index = list.findIndex((event) => event.seq === seq);
    if (index < 0 && seq <= feed.events.length) {
      type.value = step.value = words_.value = "";
      look();
      index = list.findIndex((event) => event.seq === seq);
    }
    if (index < 0) return text(state, `There is no event ${seq}: the log has ${number(feed.events.length)}.`);
    followed.checked = false;
    open.add(seq);
    rows.refresh();
    rows.focus(index);
    // Its height is known once it was seen.
    requestAnimationFrame(() => requestAnimationFrame(() => {
      const node = rows.element.querySelector(".virtual-row.current");
      if (node) rows.element.scrollTop = node.offsetTop - 60;
    }));
  }
  let pending = Number(query.get("seq")) || null;

  const typed = throttle(200, look);
  for (const field of [step, words_]) field.addEventListener("input", typed);
  jump.addEventListener("change", () => reach(Number(jump.value)));
  followed.addEventListener("change", () => followed.checked && toEnd(rows));
  // A user who scrolls away from the end wants to read there.
  rows.element.addEventListener("wheel", (event) => event.deltaY < 0 && (followed.checked = false), { passive: true });
  const soon = throttle(120, () => {
    take();
    if (pending) reach(pending);
  });
  for (const name of ["events", "complete"]) feed.addEventListener(name, soon, { signal });

  return {
    element,
    shown: () => requestAnimationFrame(soon),
    update(wanted) {
      const seq = Number(wanted.get("seq"));
      if (seq) reach(seq);
      else take();
    },
  };
}

const texts = new WeakMap();

/** What is searched in an event, made once. */
function textOf(event) {
  let found = texts.get(event);
  if (found === undefined) texts.set(event, (found = JSON.stringify(event).toLowerCase()));
  return found;
}

function tone({ type, error }) {
  if (type === "run_failed" || (error && error.kind !== "cancelled" && type !== "step_retrying")) return "is-bad";
  if (type === "step_retrying") return "is-retry";
  return type.startsWith("run_") ? "is-run" : "";
}

