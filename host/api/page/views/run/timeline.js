// The timeline of a run: a row for each call, grouped by task, on one axis of time.

import { fill, h, styles, text, throttle, toast } from "../../lib/dom.js";
import { duration, moment, number, precise } from "../../lib/format.js";
import { go, link } from "../../lib/router.js";
import { virtual } from "../../lib/virtual.js";
import { Places, texts } from "./texts.js";
import { callBars, laneBars, runBars, Window } from "./timeline/bars.js";
import { detail, outside } from "./timeline/detail.js";
import { hover } from "./timeline/hover.js";
import { isOpen, Model } from "./timeline/model.js";
import { counted, groupName, kindOf, lasted, nameOf, sentence, taskName } from "./timeline/names.js";
import { above, extent, rows as rowsOf } from "./timeline/rows.js";
import { scale as scaleOf } from "./timeline/scale.js";
import { zooming } from "./timeline/zoom.js";

const ROW = 28;
/** How often bars that grow are drawn anew, in milliseconds. */
const TICK = 250;
const COMPRESS = "durhai-timeline-compress";

export function panel({ feed, signal, query }) {
  const model = new Model();
  const chosen = new Map();
  const view = { from: 0, to: 1 };
  let compress = localStorage.getItem(COMPRESS) !== "no";
  let places = null;
  let list = [];
  let scale = scaleOf([], Date.now(), compress);
  let window_ = null;
  let shown = null;
  let drawnStructure = -1;

  const axis = h("div", { class: "tl-axis", "aria-hidden": "true" });
  const grid = h("div", { class: "tl-grid", "aria-hidden": "true" });
  const beside = h("div", { class: "tl-beside" });
  const state = h("span", { class: "faint tl-count" });
  const rows = virtual({
    count: 0, height: ROW, label: "Calls of the run", key: (index) => list[index]?.key ?? index,
    row: (index) => change(h("div", { class: "tl-row" }, h("div", { class: "tl-label" }), h("div", { class: "tl-track" })), index),
    change, open: (index) => act(list[index]),
  });
  rows.element.classList.add("tl-rows");
  const frame = h("div", { class: "tl-frame" }, axis, grid, rows.element);
  const zoom = zooming({ frame, axis, rows: rows.element, view, signal, changed: () => draw(), seen: () => {
    const { from, to } = rows.range;
    const box = rows.element.getBoundingClientRect();
    // Rows are made around what is seen too.
    const first = Math.max(from, Math.floor(rows.element.scrollTop / ROW));
    const last = Math.min(to, Math.ceil((rows.element.scrollTop + Math.min(box.height, innerHeight - box.top)) / ROW));
    let [start, end] = [1, 0];
    for (const row of list.slice(first, last)) {
      if (row.kind === "run") continue;
      const { from: began, to: ended } = facts(row);
      start = Math.min(start, scale.at(began));
      end = Math.max(end, scale.at(ended ?? window_.now));
    }
    return end > start ? [start, end] : null;
  } });
  const switcher = h("input", { type: "checkbox", id: "tl-compress", checked: compress, onchange: (event) => {
    compress = event.target.checked;
    localStorage.setItem(COMPRESS, compress ? "yes" : "no");
    Object.assign(view, { from: 0, to: 1 });
    draw();
  } });
  const followed = h("input", { type: "checkbox", id: "tl-follow", checked: feed.live && !query.get("step"), onchange: () => draw() });
  const follow = h("label", { class: "row" }, followed, "Follow the end");
  rows.element.addEventListener("wheel", (event) => !event.ctrlKey && event.deltaY < 0 && (followed.checked = false), { passive: true });
  const element = h("div", { class: "tl" },
    h("div", { class: "row tl-tools" }, state, follow,
      h("label", { class: "row" }, switcher, "Compress idle time"),
      zoom.buttons),
    h("div", { class: "tl-main" }, frame, beside));

  hover(rows.element, (node) => list.find(({ key }) => key === node.virtualKey), tip, signal);

  // ---- what is shown ----

  const nowOf = () => model.ended ?? Math.max(Date.now(), model.moments.at(-1)?.at ?? 0);

  function draw() {
    if (!element.isConnected || !model.moments.length) return;
    const now = nowOf();
    scale = scaleOf(model.moments, now, compress);
    const pixels = axis.clientWidth || 800;
    window_ = new Window(scale, view.from, view.to, pixels, now);
    if (drawnStructure !== model.structure) {
      drawnStructure = model.structure;
      list = rowsOf(model, chosen);
      rows.update(list.length);
    }
    rows.refresh();
    follow.hidden = !feed.live;
    if (followed.checked && feed.live) rows.element.scrollTop = rows.element.scrollHeight;
    marks(pixels);
    text(state, `${counted(model.calls.size, "call")} in ${duration(now - (model.created ?? now))}${feed.complete ? "" : `, ${number(feed.events.length)} of ${number(feed.run.events)} events loaded`}`);
  }

  function marks(pixels) {
    const ticks = scale.ticks(view.from, view.to, pixels);
    const place = (x) => `${((x - view.from) / (view.to - view.from)) * 100}%`;
    const nodes = [];
    const lines = [];
    for (const tick of ticks) {
      const node = h("span", { class: tick.gap ? "tl-gap" : "tl-tick", title: precise(tick.at) }, tick.text);
      const line = h("span", { class: tick.gap ? "tl-gap-band" : "tl-line" });
      for (const one of [node, line]) {
        styles(one, { left: place(Math.max(tick.x, tick.gap ? view.from : tick.x)) });
        if (tick.gap) styles(one, { width: `${((Math.min(tick.x1, view.to) - Math.max(tick.x, view.from)) / (view.to - view.from)) * 100}%` });
      }
      nodes.push(node);
      lines.push(line);
    }
    fill(axis, nodes);
    fill(grid, lines);
    // The axis ends where the tracks end, whether or not there is a scroll bar.
    styles(frame, { "--bar": `${rows.element.offsetWidth - rows.element.clientWidth}px` });
  }

  /** What a row says of itself. */
  function facts(row) {
    const now = window_?.now ?? nowOf();
    if (row.kind === "run") return { name: feed.run.workflow, from: model.created, to: model.ended, state: feed.run.status, now };
    if (row.kind === "call") {
      const name = nameOf(row.call, places);
      return { name: row.task ? `${taskName(row.task, places)} · ${name}` : name, from: row.call.from, to: row.call.to, state: row.call.state, now };
    }
    const node = row.group ?? row.task;
    const found = extent(node, now);
    const open = found.state === "running" || found.state === "asking";
    const name = row.group ? groupName(row.group, places) : `task ${taskName(row.task, places)}`;
    // Those who lost a race are cancelled: it went as it should.
    if (name === "race" && found.state === "cancelled") found.state = "completed";
    if (row.group?.timer?.fired) found.state = "timeout";
    return { ...found, to: open ? null : found.to, name, now };
  }

  function change(node, index) {
    const row = list[index];
    if (!row) return node;
    const known = facts(row);
    const [label, track] = node.children;
    const wanted = `${row.key} ${row.open} ${row.depth} ${known.name} ${known.state} ${row.group?.tasks.length} ${known.calls} ${row.call?.attempts?.length} ${row.call?.until}`;
    if (label.dataset.of !== wanted) {
      label.dataset.of = wanted;
      fill(label, labelOf(row, known));
      styles(label, { "--depth": String(row.depth) });
      node.classList.toggle("tl-top", row.kind === "run");
    }
    const took = label.lastChild;
    text(took, known.to === null ? duration(lasted(known, known.now)) : duration(known.to - known.from));
    node.classList.toggle("chosen", shown === row.key);
    node.setAttribute("aria-label", sentence(row, known));
    if (window_) fill(track, row.kind === "run" ? runBars(model, feed.run, window_) : row.kind === "call" ? callBars(row.call, window_) : row.open && row.kind === "group" ? null : laneBars(row.group ?? row.task, window_));
    return node;
  }

  function labelOf(row, known) {
    const folds = row.open !== undefined;
    const child = row.call?.run_id;
    return [
      h("span", { class: "tl-twisty", "aria-hidden": "true" }, folds ? (row.open ? "▾" : "▸") : ""),
      h("span", { class: `tl-dot ${known.state}` }),
      h("span", { class: "tl-name" },
        row.call && kindOf(row.call) ? h("span", { class: "faint" }, `${kindOf(row.call)} `) : null,
        child ? h("a", { href: link(["runs", child]), title: `Run ${child}`, tabindex: "-1" }, known.name) : known.name,
        row.kind === "group" ? h("span", { class: "faint" }, ` ${counted(row.group.tasks.length, "task")}`) : null,
        row.kind === "task" && !row.open ? h("span", { class: "faint" }, ` ${counted(known.calls, "call")}`) : null,
        row.call?.until && isOpen(row.call) ? h("span", { class: "faint" }, ` until ${moment(row.call.until)}`) : null,
        row.call?.attempts?.length > 1 ? h("span", { class: "tl-tries" }, `×${row.call.attempts.length}`) : null),
      h("span", { class: "tl-id mono" }, row.kind === "run" ? "" : row.key),
      h("span", { class: "tl-took" }),
    ];
  }

  function tip(row, target) {
    const seq = Number(target.dataset.seq);
    const mark = seq && (row.call?.marks ?? model.marks).find((one) => one.seq === seq);
    if (mark) return [h("strong", {}, mark.text), h("div", {}, `${precise(mark.at)}, event ${number(seq)}`)];
    const known = facts(row);
    const call = row.call;
    const error = call?.error ?? call?.attempts?.findLast(({ error: one }) => one)?.error;
    return [
      h("strong", {}, known.name), h("div", {}, sentence(row, { ...known, name: null }).replace(/^, /, "")),
      call?.site ? h("div", { class: "mono" }, call.site) : null,
      error ? h("div", { class: "wrong" }, `${error.kind}: ${error.message}`.slice(0, 300)) : null,
    ];
  }

  // ---- what can be done ----

  function act(row) {
    if (!row) return;
    if (row.open !== undefined) fold(row, !row.open);
    else go(link(["runs", feed.id], { step: row.key }), { replace: true });
  }

  function fold(row, open) {
    chosen.set(row.key, open);
    drawnStructure = -1;
    draw();
  }

  /** Shows a call beside, and in the list if it is hidden there. */
  function choose(id, reveal = false) {
    shown = id;
    if (id) followed.checked = false;
    const call = id && model.calls.get(id);
    const close = () => {
      go(link(["runs", feed.id]), { replace: true });
      if (rows.current >= 0) rows.focus(rows.current);
    };
    fill(beside, call ? detail(call, { feed, places, signal, close }) : id === "run" ? outside(model, { feed, close }) : null);
    element.classList.toggle("with-detail", Boolean(beside.firstChild));
    detailOf = call && { call, state: call.state, attempts: call.attempts?.length };
    if (id && reveal) {
      for (const key of above(id)) chosen.set(key, true);
      drawnStructure = -1;
    }
    draw();
    const index = id && reveal ? list.findIndex(({ key }) => key === id) : -1;
    if (index >= 0) rows.reveal(index);
  }
  let detailOf = null;
  let pending = query.get("step");

  rows.element.addEventListener("click", (event) => {
    const node = event.target.closest(".tl-row");
    if (!node || event.target.closest("a") || zoom.dragged()) return;
    act(list.find(({ key }) => key === node.virtualKey));
  });
  rows.element.addEventListener("keydown", (event) => {
    const row = list[rows.current];
    if (event.key === "Escape" && shown) return go(link(["runs", feed.id]), { replace: true });
    if (row?.open === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    const open = { ArrowRight: true, ArrowLeft: false }[event.key];
    if (open === undefined || open === row.open) return;
    event.preventDefault();
    fold(row, open);
  });

  // ---- what happens ----

  const soon = throttle(120, () => {
    model.take(feed.events);
    if (feed.complete) model.waits(feed.run.waiting_for, feed.run.events === model.seen);
    if (pending && (model.calls.has(pending) || pending === "run" || feed.complete)) {
      const there = model.calls.has(pending) || pending === "run";
      if (!there) toast(`The log has no call ${pending}.`);
      choose(there ? pending : null, true);
      pending = null;
    } else draw();
    // What is shown beside went on.
    if (detailOf && (detailOf.call.state !== detailOf.state || detailOf.call.attempts?.length !== detailOf.attempts)) choose(shown);
  });
  // While the past is loaded, what is drawn is drawn again for every page: not more often than one can look at.
  const slowly = throttle(600, soon);
  for (const name of ["events", "run", "complete"]) feed.addEventListener(name, () => (feed.complete || model.seen === 0 ? soon : slowly)(), { signal });
  const timer = setInterval(() => !document.hidden && !element.closest("[hidden]") && feed.live && model.openCalls.size && draw(), TICK);
  const size = new ResizeObserver(() => draw());
  size.observe(frame);
  signal.addEventListener("abort", () => (clearInterval(timer), size.disconnect()), { once: true });
  // Names of tasks are read in the source, which is another one after a move to another version.
  let version = null;
  function read() {
    if (version === feed.run.version) return;
    version = feed.run.version;
    texts(feed.run).then((files) => {
      if (signal.aborted) return;
      places = new Places(files, feed.run.workflow);
      for (const label of rows.element.querySelectorAll(".tl-label")) delete label.dataset.of;
      draw();
    }, () => {});
  }
  feed.addEventListener("run", read, { signal });
  read();

  return {
    element,
    shown: soon,
    update(wanted) {
      const step = wanted.get("step");
      if (step !== shown) choose(step, step !== null && list[rows.current]?.key !== step);
      else draw();
    },
  };
}

