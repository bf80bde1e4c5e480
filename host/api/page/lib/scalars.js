// Fields for one value: text, numbers, choices, yes and no, and JSON for what has no field of its own.

import { h } from "./dom.js";
import { exact } from "./exact.js";

/** A field of a kind that `kindOf` found. */
export function scalar(found, context) {
  const control = { string, number, boolean, enum: listed, any: json }[found.kind](found, context);
  return framed(found, context, control);
}

/** `control`: `{ input, get() }`; `get` gives the value or undefined, or throws what is wrong. */
function framed({ schema, nullable }, { id, name, required }, { input, get, inline = false }) {
  const title = schema.title ?? name;
  const hint = hintOf(schema);
  const wrong = h("p", { class: "wrong", id: `${id}-wrong` });
  input.id = id;
  input.setAttribute("aria-describedby", hint ? `${id}-hint ${id}-wrong` : `${id}-wrong`);
  if (required && !inline) input.setAttribute("aria-required", "true");
  const label = h("label", { for: id }, title, required ? null : h("span", { class: "faint" }, " optional"));
  const self = {
    element: h("div", { class: inline ? "field inline" : "field" }, inline ? [input, label] : [label, input],
      hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null, wrong),
    title,
    read(into) {
      try {
        const value = get();
        if (value === undefined && required) {
          if (nullable) return null;
          throw new Error("This is needed.");
        }
        return value;
      } catch (error) {
        into.push({ at: self, message: error.message });
        return undefined;
      }
    },
    mark(message) {
      wrong.textContent = message;
      input.setAttribute("aria-invalid", "true");
    },
    clear() {
      wrong.textContent = "";
      input.removeAttribute("aria-invalid");
    },
    find: (path, exact) => (exact && path.length ? null : self),
    focus: () => input.focus(),
  };
  input.addEventListener("input", self.clear);
  return self;
}

function hintOf(schema) {
  const parts = [schema.description];
  if (schema.examples?.length) parts.push(`For example ${schema.examples.slice(0, 3).map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join(", ")}`);
  if (schema.deprecated) parts.push("Not used any more");
  if (schema.pattern) parts.push(`Must match ${schema.pattern}`);
  // A full stop behind a pattern would be read as a part of it.
  return parts.filter(Boolean).map((part) => (/[.!?]$/.test(part) || part.startsWith("Must match ") ? part : `${part}.`)).join(" ");
}

const INPUTS = { date: "date", time: "time", email: "email", uri: "url", "date-time": "datetime-local", password: "password" };

function string({ schema }, { value, required }) {
  const type = schema.writeOnly ? "password" : INPUTS[schema.format] ?? "text";
  const many = type === "text" && (schema.maxLength > 200 || ["multi-line", "multiline", "textarea", "markdown"].includes(schema.format)
    || schema.contentMediaType || (typeof value === "string" && value.includes("\n")));
  const input = h(many ? "textarea" : "input", {
    type: many ? null : type, rows: many ? 4 : null, step: type === "datetime-local" || type === "time" ? 1 : null,
    autocomplete: "off", spellcheck: many ? null : "false", value: typeof value === "string" ? shownText(type, value) : "",
  });
  // A moment that is not changed is given back as it was, with its zone and its fractions.
  const [before, written] = [value, input.value];
  return {
    input,
    get() {
      const text = input.value;
      if (input.validity?.badInput) throw new Error("This is not complete.");
      if (typeof before === "string" && text === written && text !== "") return before;
      if (text === "") return required && schema.minLength === 0 ? "" : undefined;
      if (input.validity?.typeMismatch) throw new Error(type === "email" ? "This is no e-mail address." : "This is no address like https://example.org.");
      const length = [...text].length;
      if (schema.minLength > length) throw new Error(`At least ${schema.minLength} characters are needed; there are ${length}.`);
      if (schema.maxLength < length) throw new Error(`At most ${schema.maxLength} characters are allowed; there are ${length}.`);
      if (schema.pattern && !matches(schema.pattern, text)) throw new Error(`It must match ${schema.pattern}`);
      if (type === "datetime-local") return new Date(text).toISOString();
      return text;
    },
  };
}

function shownText(type, value) {
  if (type !== "datetime-local") return value;
  const at = new Date(value);
  if (Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/** A pattern that this browser cannot read is left to the host. */
function matches(pattern, text) {
  try {
    return new RegExp(pattern, "u").test(text);
  } catch {
    return true;
  }
}

function number({ schema, integer }, { value }) {
  const input = h("input", {
    type: "number", min: schema.minimum ?? null, max: schema.maximum ?? null, step: schema.multipleOf ?? (integer ? 1 : "any"),
    inputmode: integer ? "numeric" : "decimal", autocomplete: "off", value: typeof value === "number" ? String(value) : "",
  });
  return {
    input,
    get() {
      if (input.validity.badInput) throw new Error("This is no number.");
      if (input.value === "") return undefined;
      const read = Number(input.value);
      if (integer && !Number.isInteger(read)) throw new Error("A whole number is needed.");
      if (integer && !Number.isSafeInteger(read)) throw new Error(`This page can send whole numbers up to ${Number.MAX_SAFE_INTEGER}.`);
      if (read < schema.minimum) throw new Error(`At least ${schema.minimum}.`);
      if (read > schema.maximum) throw new Error(`At most ${schema.maximum}.`);
      if (read <= schema.exclusiveMinimum) throw new Error(`More than ${schema.exclusiveMinimum}.`);
      if (read >= schema.exclusiveMaximum) throw new Error(`Less than ${schema.exclusiveMaximum}.`);
      if (schema.multipleOf) {
        const times = read / schema.multipleOf;
        if (Math.abs(times - Math.round(times)) > 1e-9) throw new Error(`A multiple of ${schema.multipleOf} is needed.`);
      }
      return read;
    },
  };
}

/** A box to tick where there are two answers; a list where no answer is one too. */
function boolean(found, { value, required }) {
  if (!required && value === undefined) {
    return listed({ ...found, values: [true, false], names: ["yes", "no"] }, { value, required });
  }
  const input = h("input", { type: "checkbox" });
  input.checked = value === true;
  return { input, inline: true, get: () => input.checked };
}

function listed({ values, names, nullable }, { value, required }) {
  const all = nullable && !values.includes(null) ? [...values, null] : values;
  const at = value === undefined ? -1 : all.findIndex((one) => JSON.stringify(one) === JSON.stringify(value));
  const only = required && all.length === 1;
  const blank = !only && (!required || at < 0);
  const input = h("select", {}, blank ? h("option", { value: "" }, required ? "Choose …" : "") : null,
    all.map((one, index) => h("option", { value: String(index), selected: index === at }, names[index] ?? "null")));
  return { input, get: () => (input.value === "" ? undefined : all[Number(input.value)]) };
}

function json(_, { value }) {
  const input = h("textarea", { rows: 3, spellcheck: "false", value: value === undefined ? "" : JSON.stringify(value, null, 2), placeholder: "JSON" });
  return {
    input,
    get() {
      if (!input.value.trim()) return undefined;
      try {
        return exact(input.value);
      } catch (error) {
        throw error instanceof SyntaxError ? new Error(`This is no JSON (text needs quotes): ${error.message}`) : error;
      }
    },
  };
}
