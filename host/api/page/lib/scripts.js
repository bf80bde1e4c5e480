// Editing the texts of a version: one editor with a tab for each file, what was changed, and where a text is wrong.

import { difference } from "./diff.js";
import { fill, h } from "./dom.js";
import { editor } from "./editor.js";

const even = (text) => text.replaceAll("\r\n", "\n");

/**
 * `files` by name as a version has them, `main` the workflow's own. `change()` is called after each change.
 *
 * Gives `{ element, script(), changed(), files(), wrong(message), clear(), show(file, line), reset() }`: `script()` is what the API takes, or
 * undefined where nothing was changed; `wrong` marks the lines that a message of the compiler names.
 */
export function scripts(files, { main, edited = {}, change, submit }) {
  const original = Object.fromEntries(Object.entries(files).map(([name, text]) => [name, even(text)]));
  const names = Object.keys(original).sort((one, other) => rank(one) - rank(other) || one.localeCompare(other));
  function rank(name) {
    return name === main ? 0 : name.startsWith("std/") ? 2 : 1;
  }
  const now = { ...original, ...edited };
  const marks = new Map();
  let shown = main in original ? main : names[0];
  const pen = editor({
    text: now[shown], label: shown, submit,
    change(text) {
      now[shown] = text;
      if (marks.delete(shown)) pen.mark([]);
      label();
      change?.();
    },
  });
  const tabs = h("div", { class: "tabs", role: "group", "aria-label": "Files" });
  const buttons = new Map(names.map((name) => [name, h("button", { type: "button", class: "mono", onclick: () => open(name) }, name)]));
  const look = h("button", { type: "button", class: "small", "aria-pressed": "false", onclick: () => compare(look.getAttribute("aria-pressed") !== "true") }, "Changes");
  const back = h("button", { type: "button", class: "small quiet", onclick: () => self.reset() }, "Undo all");
  const place = h("div", { class: "editor-place" }, pen.element);
  tabs.append(...buttons.values(), h("span", { class: "tabs-end" }, look, back));

  const altered = () => names.filter((name) => now[name] !== original[name]);
  function label() {
    for (const [name, button] of buttons) {
      const text = now[name] === original[name] ? name : `${name} •`;
      if (button.textContent !== text) button.textContent = text;
      button.title = now[name] === original[name] ? "" : "changed";
      if (marks.has(name)) button.dataset.wrong = "";
      else delete button.dataset.wrong;
      if (name === shown) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    const any = altered().length > 0;
    look.disabled = back.disabled = !any;
    if (!any) compare(false);
  }
  function open(name) {
    compare(false);
    shown = name;
    pen.text = now[name];
    pen.element.querySelector("textarea").setAttribute("aria-label", `${name}. Tab indents; Escape, then Tab, leaves.`);
    pen.mark(marks.get(name) ?? []);
    label();
  }
  function compare(on) {
    look.setAttribute("aria-pressed", String(on));
    if (on) fill(place, h("div", { class: "differences" }, altered().map((name) => difference(original[name], now[name], name))));
    else if (!pen.element.isConnected || place.firstChild !== pen.element) fill(place, pen.element);
  }
  const self = {
    element: h("div", { class: "scripts" }, tabs, place),
    changed: () => altered().length > 0,
    files: () => Object.fromEntries(altered().map((name) => [name, now[name]])),
    script() {
      if (!altered().length) return undefined;
      // A file that was not changed is given as it is stored, to the last byte.
      const given = (name) => (now[name] === original[name] ? files[name] : now[name]);
      const modules = Object.fromEntries(names.filter((name) => name !== main).map((name) => [name.replace(/\.rhai$/, ""), given(name)]));
      return { source: given(main), modules };
    },
    clear() {
      marks.clear();
      pen.mark([]);
      label();
    },
    wrong(message) {
      self.clear();
      for (const [, file, line, column, text] of message.matchAll(/^(\S+?):(\d+):(\d+): error: (.*)$/gm)) {
        const name = [file, `${file}.rhai`].find((one) => one in now);
        if (!name) continue;
        marks.set(name, [...(marks.get(name) ?? []), { line: Number(line), column: Number(column), kind: "error", text }]);
      }
      const first = [...marks][0];
      if (!first) return;
      open(first[0]);
      pen.reveal(first[1][0].line, first[1][0].column);
      pen.focus();
    },
    show(file, line) {
      const name = [file ?? main, `${file}.rhai`].find((one) => one in now);
      if (!name) return;
      if (name !== shown) open(name);
      compare(false);
      requestAnimationFrame(() => pen.reveal(line));
    },
    reset() {
      Object.assign(now, original);
      open(shown);
      self.clear();
      change?.();
    },
  };
  label();
  return self;
}
