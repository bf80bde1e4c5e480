// What there is to see at one moment of a trace: the source with its place, variables, calls of functions, the durable call.

import { code } from "../../../lib/code.js";
import { fill, h, text } from "../../../lib/dom.js";
import { link } from "../../../lib/router.js";

/** Characters of a variable that are shown; all of it on hover and by "Evaluate". */
const LONG = 240;

/**
 * The three parts of a moment. `search(name)` looks for the changes of a variable; `alter(step)` asks for another result.
 * `draw(traced, index, since)`: right after event `index`; what changed behind event `since` is marked.
 */
export function moment({ id, search, alter, redraw }) {
  const source = h("div", { class: "trace-source" });
  const tasks = h("div", { class: "trace-tasks", role: "group", "aria-label": "Tasks" });
  const variables = h("div", { class: "trace-variables" });
  const stack = h("div", { class: "trace-stack" });
  const call = h("div", { class: "trace-call" });
  const codes = new Map();
  let file = null;
  /** The task and the frame that were chosen; null: that of the event, and the innermost. */
  let task = null;
  let depth = null;

  function show(traced, name, marks, line) {
    let shown = codes.get(name);
    if (!shown) {
      const body = traced.text(name);
      shown = body === undefined ? h("p", { class: "empty" }, `The text of ${name} is not stored.`) : code(body, { label: name });
      codes.set(name, shown);
    }
    if (file !== shown) {
      file = shown;
      fill(source, h("p", { class: "mono trace-file" }, name), shown);
    }
    shown.mark?.(marks);
    if (line && shown.mark) bring(shown, line);
  }

  function draw(traced, index, since) {
    const event = traced.events[index];
    const state = traced.at(index);
    if (task !== null && !state.tasks.has(task)) task = null;
    const of = state.tasks.get(task ?? event.task);
    const frames = of.frames;
    const at = depth === null ? frames.length - 1 : Math.min(depth, frames.length - 1);
    const frame = frames[at];

    const marks = [];
    for (const other of state.tasks.values()) {
      if (other === of || !other.call || other.call.answer !== null) continue;
      const top = other.frames.at(-1);
      if (top?.file === frame.file && top.line) marks.push({ line: top.line, kind: "waiting", text: `task ${other.path || "main"} waits` });
    }
    for (const [up, one] of frames.entries()) {
      if (up !== at && one.file === frame.file && one.line) marks.push({ line: one.line, kind: "note" });
    }
    if (frame.line) marks.push({ line: frame.line, kind: "here", text: noteOf(traced, event, of, frame) });
    if (frame.file) show(traced, frame.file, marks.slice(-40), frame.line);
    else file?.mark?.([]);

    drawTasks(state, of);
    drawVariables(frame, since);
    drawStack(of, at);
    drawCall(traced, of);
  }

  function drawTasks(state, shown) {
    tasks.hidden = state.tasks.size < 2;
    if (tasks.hidden) return;
    const many = [...state.tasks.values()];
    const near = Math.max(0, many.indexOf(shown) - 20);
    fill(tasks, many.slice(near, near + 40).map((one) => h("button", {
      type: "button", class: "small mono", "aria-pressed": String(one === shown), title: one.call && one.call.answer === null ? "waits" : null,
      onclick: () => ((task = one.path), (depth = null), redraw()),
    }, one.path || "main", one.call && one.call.answer === null ? " …" : "")),
    many.length > 40 ? h("span", { class: "faint" }, `of ${many.length} tasks`) : null,
    task === null ? null : h("button", { type: "button", class: "small quiet", onclick: () => ((task = depth = null), redraw()) }, "follow"));
  }

  function drawVariables(frame, since) {
    const seen = new Map();
    for (const one of frame.variables) {
      seen.delete(one.name);
      seen.set(one.name, one);
    }
    // The header of the workflow is in its text; it is not looked for here.
    const rows = [...seen.values()].filter((one) => one.name !== "WORKFLOW").reverse();
    fill(variables, h("h3", {}, "Variables"), rows.length ? h("table", {}, h("tbody", {}, rows.map((one) => {
      const changed = one.at > since;
      return h("tr", { class: changed ? "changed" : null },
        h("th", { scope: "row" }, h("button", { type: "button", class: "link mono", title: `All changes of ${one.name}`, onclick: () => search(one.name) }, one.name)),
        h("td", { class: "mono", title: one.value.length > LONG ? one.value : null }, one.value.length > LONG ? `${one.value.slice(0, LONG)} …` : one.value,
          changed && one.old !== undefined ? h("span", { class: "was" }, ` was ${one.old}`) : null,
          changed && one.old === undefined ? h("span", { class: "was" }, " new") : null));
    }))) : h("p", { class: "soft" }, "None yet."));
  }

  function drawStack({ frames, path, loops }, at) {
    const shown = frames.map((frame, index) => ({ frame, index })).reverse();
    fill(stack, h("h3", {}, "Where it is"),
      h("ol", {}, shown.map(({ frame, index }) => h("li", {}, h("button", {
        type: "button", class: index === at ? "link mono current" : "link mono", "aria-current": index === at ? "true" : null,
        onclick: () => ((depth = index === frames.length - 1 ? null : index), redraw()),
      }, `${frame.function ? `${frame.function}()` : path ? `task ${path}` : "workflow"}  ${frame.file ? `${frame.file}:${frame.line}` : "before its first statement"}`),
      frame.returned === undefined ? null : h("span", { class: "mono soft" }, ` = ${frame.returned}`),
      frame.threw === undefined ? null : h("span", { class: "mono wrong" }, ` ${frame.threw}`)))),
      loops.length ? h("p", { class: "soft" }, loops.map((loop) => h("span", { class: "tag" }, `loop in line ${loop.line}: pass ${loop.pass}`))) : null);
  }

  function drawCall(traced, of) {
    if (!of.call) return fill(call);
    const asked = traced.events[of.call.at];
    const answer = of.call.answer === null ? null : traced.events[of.call.answer];
    const step = asked.step_id;
    fill(call, h("h3", {}, "Durable call", step ? [" ", h("a", { class: "mono", href: link(["runs", id], { step }) }, step)] : null),
      h("p", { class: "mono prewrap" }, asked.call, asked.input ? h("span", { class: "soft" }, ` with ${asked.input}`) : null),
      answer ? h("p", { class: answer.type === "failed" ? "mono prewrap wrong" : "mono prewrap" }, answer.type === "failed" ? answer.error : `= ${answer.value}`)
        : h("p", { class: "soft" }, asked.new ? "The log does not have it: it would be made now." : "No answer at this moment."),
      answer && step && !/^(sleep|hook\()/.test(asked.call) ? h("button", { type: "button", class: "small", onclick: () => alter(step) }, "What if it had been another result?") : null);
  }

  return {
    source,
    side: h("div", { class: "trace-side" }, tasks, call, variables, stack),
    draw,
    follow: () => (task = depth = null),
    /** Other texts are shown from now on. */
    forget() {
      codes.clear();
      file = null;
      fill(source);
    },
    empty: (message) => text(source, message),
  };
}

/** What just happened, for the line where it did. */
function noteOf(traced, event, of, frame) {
  const pass = of.loops.at(-1);
  const parts = [];
  if (event.task === of.path) {
    if (event.type === "changed" && frame === of.frames.at(-1)) parts.push(`${event.name} = ${short(event.new)}`);
    else if (event.type === "answered") parts.push(`= ${short(event.value)}`);
    else if (event.type === "failed") parts.push(short(event.error));
    else if (event.type === "returned") parts.push(`${event.function}() = ${short(event.value)}`);
    else if (event.type === "threw") parts.push(`${event.function}(): ${short(event.error)}`);
  }
  if (pass) parts.push(`pass ${pass.pass}`);
  return parts.join(" · ");
}

const short = (value) => (value.length > 80 ? `${value.slice(0, 80)} …` : value);

/** Scrolls the source, and only it, so that a line is well in sight. */
function bring(element, line) {
  const row = element.querySelector(`[data-line="${line}"]`);
  if (!row) return element.reveal(line);
  const top = row.offsetTop;
  const { scrollTop, clientHeight } = element;
  if (top < scrollTop + 40 || top + 60 > scrollTop + clientHeight) element.scrollTop = top - clientHeight / 2;
}
