// Forms from JSON Schema.

import { Wrong } from "./dialog.js";
import { fill, h, say } from "./dom.js";
import { exact, whyNot } from "./exact.js";
import { field, uid } from "./fields.js";
import { kindOf } from "./schema.js";

/**
 * Fields for what a schema describes, and a switch to the same as JSON text; only that where there is no schema.
 *
 * Gives `{ element, read(), set(value), show(message), focus() }`. `read()` gives the value, undefined where nothing was
 * entered, or marks each wrong field, goes to the first and throws. `show(message)` puts what the host said at the fields it
 * is about (`/items/0: "sku" is a required property; …`) and says whether it found any.
 */
export function form(schema, { value, label = "Input", raw = true } = {}) {
  const usual = schema !== undefined && schema !== null && schema !== true && kindOf(schema, schema).kind !== "any";
  let mode = null;
  const place = h("div", {});
  const asFields = h("button", { type: "button", onclick: () => turn(fields) }, "Form");
  const asText = h("button", { type: "button", onclick: () => turn(text) }, "JSON");
  const element = h("div", { class: "form" },
    usual && raw ? h("div", { class: "switch", role: "group", "aria-label": `${label}: how it is entered` }, asFields, asText) : null, place);

  function wear(next, given) {
    mode = next(given);
    fill(place, mode.element);
    asFields.setAttribute("aria-pressed", String(next === fields));
    asText.setAttribute("aria-pressed", String(next === text));
  }

  function turn(next) {
    if (mode.make === next) return;
    const now = mode.peek();
    if (now === NO) return;
    wear(next, now);
    mode.focus();
  }

  function fields(given) {
    const root = field(schema, { root: schema, name: label, value: given, required: true, top: true });
    return {
      make: fields,
      element: root.element,
      peek: () => root.read([]),
      focus: () => root.focus(),
      read() {
        root.clear();
        const wrong = [];
        const read = root.read(wrong);
        if (!wrong.length) return read;
        for (const { at, message } of wrong) at.mark(message);
        wrong[0].at.focus();
        throw new Wrong(wrong.length === 1 ? `${wrong[0].at.title}: ${wrong[0].message}` : `${wrong.length} fields are not right yet; they are marked.`);
      },
      show(entries) {
        root.clear();
        const placed = entries.map(({ path, message }) => {
          const missing = /^"([^"]+)" is a required property$/.exec(message);
          const at = (missing && root.find([...path, missing[1]], true)) || root.find(path);
          at.mark(missing && at.title !== root.title ? "This is needed." : message);
          return at;
        });
        placed[0]?.focus();
        return placed.length > 0;
      },
    };
  }

  function text(given) {
    const id = uid();
    const wrong = h("p", { class: "wrong", id: `${id}-wrong` });
    const area = h("textarea", {
      id, rows: 8, spellcheck: "false", autocapitalize: "off", "aria-describedby": `${id}-hint ${id}-wrong`,
      value: given === undefined ? "" : JSON.stringify(given, null, 2),
    });
    area.addEventListener("input", () => mark(""));
    const mark = (message) => {
      wrong.textContent = message;
      if (message) area.setAttribute("aria-invalid", "true");
      else area.removeAttribute("aria-invalid");
    };
    const parse = () => {
      if (!area.value.trim()) return undefined;
      return exact(area.value);
    };
    return {
      make: text,
      element: h("div", { class: "field" }, h("label", { for: id }, `${label} (JSON)`), area,
        h("p", { class: "hint", id: `${id}-hint` }, usual ? "The same as in the form, as text." : "Any JSON; empty is null."), wrong),
      focus: () => area.focus(),
      peek() {
        try {
          return parse();
        } catch (error) {
          mark(whyNot(error));
          area.focus();
          return NO;
        }
      },
      read() {
        mark("");
        try {
          return parse();
        } catch (error) {
          mark(whyNot(error));
          area.focus();
          throw new Wrong(`${label} is no JSON.`);
        }
      },
      show(entries) {
        mark(entries.map(({ path, message }) => (path.length ? `/${path.join("/")}: ${message}` : message)).join("\n"));
        area.focus();
        return entries.length > 0;
      },
    };
  }

  wear(usual ? fields : text, value);
  return {
    element,
    read: () => mode.read(),
    focus: () => mode.focus(),
    set(other) {
      wear(usual ? fields : text, other);
      say(`${label} is filled in`);
    },
    show: (message) => mode.show(entries(message)),
  };
}

const NO = Symbol("no value");

/** `the input does not fit the workflow "order": /id: "x" is too short; …` as a list of paths and messages. */
export function entries(message) {
  const found = /^the (?:input|data|payload|output) does not fit [^:]*: ([\s\S]*)$/.exec(message);
  if (!found) return [];
  const list = [];
  for (const piece of found[1].split("; ")) {
    const at = /^(\/[^:]*): ([\s\S]*)$/.exec(piece);
    if (at) list.push({ path: at[1].slice(1).split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~")), message: at[2] });
    else list.push({ path: [], message: piece });
  }
  return list;
}
