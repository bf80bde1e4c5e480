// The log run again, statement by statement: a slider over everything that was seen.

import { api, lines, part } from "../../lib/api.js";
import { Wrong, problem } from "../../lib/dialog.js";
import { fill, h, say, text, throttle } from "../../lib/dom.js";
import { number } from "../../lib/format.js";
import { link } from "../../lib/router.js";
import { MOST, Traced } from "../../lib/traced.js";
import { fits } from "./fits.js";
import { texts } from "./texts.js";
import { moment } from "./trace/moment.js";
import { rows } from "./trace/rows.js";
import { askResult, askScript } from "./trace/whatif.js";

/** Bytes of one value. */
const VALUE = 400;
const MODES = [["calls", "durable calls"], ["lines", "statements"], ["all", "everything"]];
const SPEEDS = [[1, "1 a second"], [3, "3 a second"], [10, "10 a second"], [30, "30 a second"]];

export function panel({ id, feed, signal, query }) {
  let traced = null;
  let files = {};
  let place = -1;
  let before = -1;
  let mode = "calls";
  let playing = null;
  let loading = null;
  let wantedN = Number(query.get("n")) || 0;
  let touched = false;
  const set = new Map();
  let script;
  let edited = {};
  let seen = 0;

  const slider = h("input", { type: "range", min: 0, max: 0, step: 1, class: "trace-slider", "aria-label": "Moment" });
  const where = h("p", { class: "trace-where", "aria-live": "off" });
  const by = h("select", { "aria-label": "The slider moves by", onchange: () => ((mode = by.value), range()) }, MODES.map(([name, label]) => h("option", { value: name }, label)));
  const speed = h("select", { "aria-label": "Speed" }, SPEEDS.map(([value, label]) => h("option", { value: String(value), selected: value === 3 }, label)));
  const button = (label, name, call, keys) => h("button", { type: "button", class: "icon", "aria-label": name, title: keys ? `${name} (${keys})` : name, onclick: () => (stop(), call()) }, label);
  const play = h("button", { type: "button", onclick: () => (playing ? stop() : start()) }, "Play");
  const again = h("button", { type: "button", class: "small", hidden: true, onclick: () => load({ keep: true }) });
  const whatIf = h("button", { type: "button", onclick: () => otherScript() }, "What if …");
  const controls = h("div", { class: "row trace-controls" },
    button("«", "First", () => step("first"), "Home"), button("‹", "One back", () => step(-1), "←"), play, button("›", "One on", () => step(1), "→"), button("»", "Last", () => step("last"), "End"),
    h("label", { class: "row" }, h("span", { class: "soft" }, "by"), by), speed, again, h("span", { class: "end row" }, whatIf));
  const banner = h("div", {});
  const state = h("p", { class: "faint", role: "status" });
  const outcome = h("div", {});
  const now = moment({ id, search: (name) => list.search(name), alter, redraw: () => draw() });
  const list = rows({ go: (index) => (stop(), go(index)) });
  const expression = h("input", { class: "mono", "aria-label": "Expression", placeholder: "items.len()", spellcheck: "false", autocomplete: "off" });
  const value = h("div", { class: "trace-value", "aria-live": "polite" });
  const evaluate = h("form", { class: "trace-evaluate", onsubmit: (event) => (event.preventDefault(), evaluated()) },
    h("h3", {}, "Evaluate"), h("div", { class: "row" }, expression, h("button", { type: "submit", class: "small" }, "Evaluate")), value);
  now.side.append(evaluate);
  const element = h("div", { class: "trace" }, banner, h("div", { class: "trace-top" }, slider, controls, where), state,
    h("div", { class: "trace-body" }, now.source, now.side, list.element), outcome);

  /** The moments that the slider stops at. */
  function stops(of = mode) {
    if (!traced) return [];
    if (of === "all") return { length: traced.events.length, all: true };
    return of === "lines" ? traced.lines : traced.calls;
  }
  const stopAt = (of, index) => (stops(of).all ? index : stops(of)[index]);
  /** How many stops are not behind an event. */
  function reached(of, index) {
    const all = stops(of);
    if (all.all) return index + 1;
    let [low, high] = [0, all.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (all[middle] <= index) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  slider.addEventListener("input", () => {
    stop();
    const at = Number(slider.value);
    go(at === 0 && mode !== "all" ? 0 : mode === "all" ? at : stopAt(mode, at - 1));
  });

  function range() {
    // Before the first stop there is the beginning.
    const most = mode === "all" ? Math.max(0, (traced?.events.length ?? 1) - 1) : stops().length;
    slider.max = String(most);
    slider.value = String(mode === "all" ? Math.max(place, 0) : reached(mode, place));
  }

  /** `from`: what has changed since that moment is marked; else what the statement changed. */
  function go(index, { quiet = false, from } = {}) {
    if (!traced?.events.length) return;
    touched ||= !quiet;
    const next = Math.max(0, Math.min(traced.events.length - 1, index));
    before = from ?? next;
    place = next;
    now.follow();
    draw();
  }

  let frame = 0;
  const draw = () => (frame ||= requestAnimationFrame(paint));
  function paint() {
    frame = 0;
    if (!traced?.events.length || place < 0 || !element.isConnected) return;
    const event = traced.events[place];
    range();
    // Where a statement begins, what the one before it changed is of interest.
    const own = traced.lines[reached("lines", place) - (event.type === "line" ? 2 : 1)] ?? -1;
    now.draw(traced, place, Math.min(before, own));
    list.at(place);
    const top = traced.at(place).tasks.get(event.task)?.frames.at(-1);
    const words = [`${number(reached("calls", place))} of ${number(traced.calls.length)} calls`, `statement ${number(event.n)} of ${number(traced.lines.length)}`,
      event.task ? `task ${event.task}` : null, top?.file ? `${top.file}:${top.line}` : null].filter(Boolean).join(" · ");
    text(where, words);
    slider.setAttribute("aria-valuetext", words);
    remember(event.n);
    outcome.hidden = place < traced.events.length - 1;
  }
  const remember = throttle(400, (n) => {
    if (signal.aborted || !element.isConnected || element.closest("[hidden]") || !location.hash.includes("tab=trace")) return;
    history.replaceState(null, "", link(["runs", id], { tab: "trace", n }));
  });

  function step(by, of = mode) {
    if (!traced?.events.length) return;
    if (by === "first") return go(0);
    if (by === "last") return go(traced.events.length - 1);
    const at = reached(of, place);
    if (by > 0) return go(at < stops(of).length ? stopAt(of, at) : traced.events.length - 1, { from: place });
    const on = at > 0 && stopAt(of, at - 1) === place;
    const back = on ? at - 2 : at - 1;
    go(back >= 0 ? stopAt(of, back) : 0);
  }

  function start() {
    if (!traced?.events.length) return;
    if (place >= traced.events.length - 1) go(0);
    play.textContent = "Pause";
    const tick = () => {
      playing = setTimeout(tick, 1000 / Number(speed.value));
      if (place >= traced.events.length - 1) stop();
      else step(1);
    };
    playing = setTimeout(tick, 0);
  }
  function stop() {
    clearTimeout(playing);
    playing = null;
    play.textContent = "Play";
  }

  document.addEventListener("keydown", (event) => {
    if (!element.isConnected || element.closest("[hidden]") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("dialog, textarea, select, input:not([type=range]), .virtual, .code")) return;
    const how = { ArrowLeft: -1, ArrowRight: 1, Home: "first", End: "last" }[event.key];
    if (how === undefined) return;
    event.preventDefault();
    stop();
    step(how, event.shiftKey ? "lines" : mode);
  }, { signal });

  async function load({ keep = false } = {}) {
    loading?.abort();
    stop();
    const mine = (loading = new AbortController());
    const end = () => mine.abort();
    signal.addEventListener("abort", end, { once: true });
    if (keep && place >= 0) wantedN = traced.events[place].n;
    const fresh = new Traced({ ...files, ...edited });
    traced = fresh;
    place = before = -1;
    touched = false;
    seen = 0;
    again.hidden = true;
    now.forget();
    fill(outcome);
    const show = throttle(120, () => {
      if (mine.signal.aborted) return;
      list.take(fresh);
      range();
      text(state, `${number(fresh.events.length)} seen …`);
      if (wantedN && !touched && fresh.events.length && fresh.events.at(-1).n > wantedN) arrive();
      else if (place < 0) go(0, { quiet: true });
    });
    try {
      const options = { value_bytes: VALUE };
      if (script) options.script = script;
      if (set.size) options.set = Object.fromEntries(set);
      for await (const event of lines("POST", `/runs/${part(id)}/trace`, { body: options, signal: mine.signal })) {
        if (event.type === "end") fresh.end = event.replay;
        else if (event.type === "error") throw new Wrong(event.detail);
        else fresh.add(event);
        if (fresh.full) break;
        show();
      }
      if (mine.signal.aborted) return;
      list.take(fresh);
      text(state, fresh.full ? `The first ${number(MOST)} things are here; \`durhai replay ${id} --trace\` shows the rest.`
        : fresh.events.length ? "" : "Nothing of the script has run yet.");
      if (fresh.end) (seen = fresh.end.events), finished(fresh.end);
      if (fresh.events.length) {
        if (wantedN && !touched) arrive();
        else if (!touched) go(fresh.events.length - 1, { quiet: true });
        else draw();
      }
      say("The trace is there.");
    } catch (error) {
      if (!mine.signal.aborted) fill(outcome, problem(error)), (outcome.hidden = false), text(state, "");
    } finally {
      signal.removeEventListener("abort", end);
      // A stream that is not read to its end is closed.
      mine.abort();
    }
  }

  function arrive() {
    const n = wantedN;
    wantedN = 0;
    go(traced.statement(n), { quiet: true });
    touched = true;
  }

  function finished(view) {
    const { element: node } = fits(view, { show: (site) => {
      const found = /^(?:.+:)?(\d+):\d+$/.exec(site);
      if (found) say(`Line ${found[1]}`);
    } });
    fill(outcome, h("h3", {}, "Result"), node);
  }

  async function alter(step) {
    const found = await askResult(feed, step, set);
    if (!found) return;
    set.set(step, found.value);
    told();
    load({ keep: true });
  }

  async function otherScript() {
    const found = await askScript(feed, files, edited);
    if (!found) return;
    ({ script, files: edited } = found);
    told();
    load({ keep: true });
  }

  /** Says that this is not what happened. */
  function told() {
    const parts = [...set].map(([step, result]) => h("span", {}, "step ", h("span", { class: "mono" }, step), " = ", h("span", { class: "mono" }, JSON.stringify(result).slice(0, 80))));
    if (script) parts.push(h("span", {}, "another script (", Object.keys(edited).join(", "), ")"));
    fill(banner, parts.length ? h("div", { class: "notice ask" }, h("div", { class: "row" }, h("strong", {}, "What if: "), parts.map((one, at) => [at ? ", " : "", one]),
      h("button", { type: "button", class: "small", onclick: () => (set.clear(), (script = undefined), (edited = {}), told(), load({ keep: true })) }, "Back to what happened"))) : null);
  }

  async function evaluated() {
    if (!traced?.events.length) return;
    const { n } = traced.events[place];
    const options = { stop: { at: "statement", n }, value_bytes: 4000 };
    if (expression.value.trim()) options.evaluate = expression.value.trim();
    if (script) options.script = script;
    if (set.size) options.set = Object.fromEntries(set);
    fill(value, h("p", { class: "faint" }, "…"));
    try {
      const { stopped } = await api.post(`/runs/${part(id)}/replay`, options, { signal });
      if (!stopped) throw new Wrong("The run does not come to that statement.");
      fill(value, stopped.value_error ? h("p", { class: "wrong prewrap" }, stopped.value_error) : null,
        stopped.value ? h("pre", { class: "cut" }, stopped.value) : null,
        h("details", { class: "more", open: !options.evaluate }, h("summary", {}, "All variables, whole"), h("dl", { class: "facts" },
          stopped.variables.map((one) => [h("dt", { class: "mono" }, one.name), h("dd", { class: "mono prewrap" }, one.value)]))),
        h("p", { class: "hint faint" }, `Just before statement ${number(n)}, line ${stopped.line}.`));
    } catch (error) {
      if (!signal.aborted) fill(value, problem(error));
    }
  }

  feed.addEventListener("events", () => {
    if (!seen || loading?.signal.aborted === false) return;
    const more = feed.events.length - seen;
    again.hidden = more <= 0;
    text(again, `${number(more)} new ${more === 1 ? "event" : "events"}: look again`);
  }, { signal });
  signal.addEventListener("abort", stop, { once: true });

  (async () => {
    try {
      files = await texts(feed.run);
    } catch {
      // Without texts the lines that the trace brings are shown in the list.
    }
    if (!signal.aborted) load();
  })();

  return {
    element,
    update(wanted) {
      const n = Number(wanted.get("n"));
      if (!n || !traced?.events.length || traced.events[place]?.n === n) return draw();
      stop();
      go(traced.statement(n));
    },
  };
}
