// A text editor for scripts: the browser's own text area, so that typing, undo, selection and screen readers work as
// everywhere, with its text coloured by a layer below it that holds only the lines in sight.

import { nodes, parts } from "./code.js";
import { fill, h, say, styles } from "./dom.js";

/** The height of a line in pixels, as actions.css has it. */
const LINE = 20;
const INDENT = "    ";

/**
 * An editor. `change(text)` is called after each change, `submit()` on Ctrl+Enter.
 *
 * Tab indents and Shift+Tab takes it back; after Escape, Tab leaves. Ctrl+/ makes lines a comment or takes that back.
 * Gives `{ element, text, mark(marks), reveal(line, column), focus() }`; `text` can be set; `marks` are `{ line, kind, text }` with
 * the kinds of `code`.
 */
export function editor({ text = "", label = "Script", readonly = false, change, submit } = {}) {
  const area = h("textarea", {
    class: "editor-text", "aria-label": `${label}. Tab indents; Escape, then Tab, leaves.`, "aria-multiline": "true", wrap: "off", readonly,
    spellcheck: "false", autocapitalize: "off", autocomplete: "off", autocorrect: "off", translate: "no",
  });
  const layer = h("div", { class: "editor-layer", "aria-hidden": "true" });
  const inside = h("div", { class: "editor-lines" });
  layer.append(inside);
  const gutter = h("div", { class: "editor-gutter", "aria-hidden": "true" });
  const numbers = h("div", { class: "editor-lines" });
  gutter.append(numbers);
  const element = h("div", { class: readonly ? "editor readonly" : "editor" }, gutter, h("div", { class: "editor-body" }, layer, area));

  area.value = text;
  let lines = [];
  let marks = new Map();
  let here = -1;
  let leaving = false;
  let waiting = 0;

  const read = () => {
    lines = parts(area.value);
    styles(element, { "--digits": String(lines.length).length });
  };
  const draw = () => {
    waiting = 0;
    const { scrollTop, scrollLeft, clientHeight } = area;
    const from = Math.max(0, Math.floor(scrollTop / LINE) - 5);
    const to = Math.min(lines.length, Math.ceil((scrollTop + clientHeight) / LINE) + 5);
    const shown = [];
    const counted = [];
    for (let at = from; at < to; at += 1) {
      const found = marks.get(at + 1);
      const kind = found ? ` is-${found.kind}` : "";
      const place = { top: `${at * LINE}px` };
      shown.push(h("div", { class: `editor-line${kind}${at === here ? " is-caret" : ""}`, style: place }, nodes(lines[at]),
        found?.text ? h("span", { class: `line-note ${found.kind}` }, found.text.split("\n")[0]) : null));
      counted.push(h("div", { class: `editor-number${kind}${at === here ? " is-caret" : ""}`, style: place }, String(at + 1)));
    }
    fill(inside, shown);
    fill(numbers, counted);
    styles(inside, { transform: `translate(${-scrollLeft}px, ${-scrollTop}px)` });
    styles(numbers, { transform: `translateY(${-scrollTop}px)` });
  };
  const soon = () => (waiting ||= requestAnimationFrame(draw));
  const changed = () => {
    read();
    caret();
    // In the same frame as the character that was typed.
    draw();
    change?.(area.value);
  };
  const caret = () => {
    const at = document.activeElement === area ? lineOf(area.selectionEnd) : -1;
    if (at === here) return;
    here = at;
    soon();
  };
  const lineOf = (offset) => {
    let count = 0;
    for (let at = area.value.indexOf("\n"); at >= 0 && at < offset; at = area.value.indexOf("\n", at + 1)) count += 1;
    return count;
  };

  /** Replaces a part as if it had been typed, so that it can be undone. */
  const replace = (from, to, by) => {
    area.setSelectionRange(from, to);
    document.execCommand(by ? "insertText" : "delete", false, by);
  };

  /** Changes the lines that are selected, `edit(line)` giving another one; the selection stays on them. */
  const lineByLine = (edit) => {
    const { value, selectionStart, selectionEnd } = area;
    const from = value.lastIndexOf("\n", selectionStart - 1) + 1;
    // A selection that ends at the beginning of a line does not mean that line.
    const last = selectionEnd > selectionStart && value[selectionEnd - 1] === "\n" ? selectionEnd - 1 : selectionEnd;
    const end = value.indexOf("\n", last);
    const to = end < 0 ? value.length : end;
    const before = value.slice(from, to);
    const after = edit(before.split("\n")).join("\n");
    if (after === before) return;
    replace(from, to, after);
    if (selectionStart === selectionEnd) {
      const place = Math.max(from, selectionStart + after.length - before.length);
      area.setSelectionRange(place, place);
    } else area.setSelectionRange(from, from + after.length);
  };
  const indent = (all) => all.map((line) => (line.trim() ? INDENT + line : line));
  const outdent = (all) => all.map((line) => line.replace(/^(\t| {1,4})/, ""));
  const comment = (all) => {
    const full = all.filter((line) => line.trim());
    if (full.every((line) => /^\s*\/\//.test(line))) return all.map((line) => line.replace(/^(\s*)\/\/ ?/, "$1"));
    const depth = Math.min(...full.map((line) => /^\s*/.exec(line)[0].length));
    return all.map((line) => (line.trim() ? `${line.slice(0, depth)}// ${line.slice(depth)}` : line));
  };

  const enter = () => {
    const { value, selectionStart: from, selectionEnd: to } = area;
    const line = value.slice(value.lastIndexOf("\n", from - 1) + 1, from);
    const depth = /^[ \t]*/.exec(line)[0];
    const opens = /[{([|]\s*$/.test(line) && !/\|\|?[^|]*\|\s*$/.test(line);
    const closes = /^[ \t]*[})\]]/.test(value.slice(to));
    replace(from, to, `\n${depth}${opens ? INDENT : ""}${opens && closes ? `\n${depth}` : ""}`);
    if (opens && closes) {
      const place = area.selectionEnd - depth.length - 1;
      area.setSelectionRange(place, place);
    }
  };
  /** A brace that closes goes back to the depth of what it closes. */
  const closing = (brace) => {
    const { value, selectionStart: from, selectionEnd: to } = area;
    const start = value.lastIndexOf("\n", from - 1) + 1;
    if (from !== to || !/^[ \t]+$/.test(value.slice(start, from))) return false;
    replace(start, to, value.slice(start, from).replace(/(\t| {1,4})$/, "") + brace);
    return true;
  };

  area.addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey;
    if (event.key === "Escape" && !leaving) {
      event.preventDefault();
      event.stopPropagation();
      leaving = true;
      say("Tab leaves the editor now.");
      return;
    }
    if (event.key !== "Tab" && event.key !== "Escape" && event.key !== "Shift") leaving = false;
    if (command && event.key === "Enter" && submit) {
      event.preventDefault();
      submit();
    }
    if (readonly || event.isComposing) return;
    if (event.key === "Tab" && !leaving && !command && !event.altKey) {
      event.preventDefault();
      if (event.shiftKey) lineByLine(outdent);
      else if (area.selectionStart !== area.selectionEnd) lineByLine(indent);
      else {
        const column = area.selectionStart - area.value.lastIndexOf("\n", area.selectionStart - 1) - 1;
        replace(area.selectionStart, area.selectionEnd, INDENT.slice(column % INDENT.length));
      }
    } else if (command && event.key === "/") {
      event.preventDefault();
      lineByLine(comment);
    } else if (event.key === "Enter" && !command && !event.altKey && !event.shiftKey) {
      event.preventDefault();
      enter();
    } else if ("})]".includes(event.key) && !command && closing(event.key)) event.preventDefault();
  });
  area.addEventListener("blur", () => ((leaving = false), caret()));
  area.addEventListener("focus", caret);
  area.addEventListener("input", changed);
  area.addEventListener("scroll", draw, { passive: true });
  area.addEventListener("selectionchange", caret);
  new ResizeObserver(soon).observe(area);
  read();

  return {
    element,
    get text() {
      return area.value;
    },
    set text(value) {
      if (value === area.value) return;
      area.value = value;
      read();
      draw();
    },
    mark(next) {
      marks = new Map(next.map((mark) => [mark.line, mark]));
      soon();
    },
    /** Scrolls to a line, from 1, and puts the caret there. */
    reveal(line, column = 1) {
      let at = 0;
      for (let count = 1; count < line; count += 1) {
        const end = area.value.indexOf("\n", at);
        if (end < 0) break;
        at = end + 1;
      }
      const end = area.value.indexOf("\n", at);
      const place = Math.min(at + column - 1, end < 0 ? area.value.length : end);
      area.setSelectionRange(place, place);
      const top = (line - 1) * LINE;
      if (top < area.scrollTop + LINE || top > area.scrollTop + area.clientHeight - 3 * LINE) area.scrollTop = top - area.clientHeight / 3;
      caret();
      soon();
    },
    focus: () => area.focus({ preventScroll: true }),
  };
}
