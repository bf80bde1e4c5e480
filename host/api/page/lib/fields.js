// The fields of a form. Each is `{ element, title, read(wrong), mark(message), clear(), find(path, exact), focus() }`: `read` gives
// the value, undefined where nothing is entered, and adds `{ at, message }` to `wrong` for what cannot be right.

import { h } from "./dom.js";
import { scalar } from "./scalars.js";
import { initial, kindOf, looksLike, nameOf } from "./schema.js";

let ids = 0;
export const uid = () => `field-${(ids += 1)}`;

/** Levels of fields within fields; what is deeper is written as JSON. */
const DEEP = 12;

/**
 * The field of a schema. `required`: it is part of the value in any case; `top`: the form itself, which has no frame of its own.
 */
export function field(schema, { root, name, value, required = false, top = false, depth = 0 }) {
  const found = depth > DEEP ? { kind: "any", schema: {}, nullable: false } : kindOf(schema, root);
  const given = value === undefined ? initial(found.schema) : value;
  const context = { root, name, value: given, required, top, depth };
  // A group that may be missing is opened by who wants it; thus schemas that contain themselves end.
  if ((found.kind === "object" || found.kind === "choice") && !required) return optional(found, context);
  return build(found, context);
}

function build(found, context) {
  switch (found.kind) {
    case "object": return object(found, context);
    case "array": return array(found, context);
    case "choice": return choice(found, context);
    default: return scalar(found, { ...context, id: uid() });
  }
}

/** A frame with a heading, a hint and a place for what is wrong with the whole. */
function frame({ schema, nullable }, { name, top, required }, ...content) {
  const id = uid();
  const wrong = h("p", { class: "wrong", id: `${id}-wrong` });
  const title = schema.title ?? name;
  const element = h("fieldset", { class: top ? "group top-group" : "group", "aria-describedby": `${id}-wrong` },
    h("legend", { class: top ? "hidden" : null }, title, required || top ? null : h("span", { class: "faint" }, " optional")),
    schema.description && !top ? h("p", { class: "hint" }, schema.description) : null, ...content, wrong);
  return { element, title, mark: (message) => (wrong.textContent = wrong.textContent ? `${wrong.textContent}\n${message}` : message), unmark: () => (wrong.textContent = ""), nullable };
}

function object(found, context) {
  const { schema } = found;
  const { root, value, depth } = context;
  const known = schema.properties ?? {};
  const needed = new Map((schema.required ?? []).map((name, at) => [name, at]));
  const given = value && typeof value === "object" && !Array.isArray(value) ? value : {};
  // The host gives names by the alphabet; what has to be there comes first, in the order in which the schema demands it.
  const place = ([name]) => needed.get(name) ?? needed.size;
  const order = Object.entries(known).sort((one, other) => place(one) - place(other));
  const fields = new Map(order.map(([name, part]) =>
    [name, field(part, { root, name, value: given[name], required: needed.has(name), depth: depth + 1 })]));
  const others = Object.keys(given).filter((name) => !(name in known));
  const more = schema.additionalProperties;
  const open = (more && typeof more === "object") || more === true || (more === undefined && !Object.keys(known).length);
  const extra = open || others.length
    ? pairs(more && typeof more === "object" ? more : {}, { root, depth, value: Object.fromEntries(others.map((name) => [name, given[name]])) }) : null;
  const around = frame(found, context, [...fields.values()].map((one) => one.element), extra?.element);
  const self = {
    ...around,
    read(wrong) {
      const entries = [...fields].map(([name, one]) => [name, one.read(wrong)]);
      entries.push(...(extra?.read(wrong) ?? []));
      return Object.fromEntries(entries.filter(([, inner]) => inner !== undefined));
    },
    clear() {
      around.unmark();
      for (const one of fields.values()) one.clear();
      extra?.clear();
    },
    find([first, ...rest], exact) {
      if (first === undefined) return self;
      return fields.get(first)?.find(rest, exact) ?? extra?.find(first, rest, exact) ?? (exact ? null : self);
    },
    focus: () => ([...fields.values()][0] ?? extra)?.focus(),
  };
  return self;
}

/** Rows of a name and a value, for maps. */
function pairs(schema, { root, depth, value }) {
  const rows = [];
  const list = h("div", { class: "rows" });
  const add = (name, inner) => {
    const id = uid();
    const key = h("input", { id, value: name, autocomplete: "off", spellcheck: "false", "aria-label": "Name" });
    const one = field(schema, { root, name: "value", value: inner, required: true, depth: depth + 1 });
    const row = { key, one };
    row.element = h("div", { class: "pair" }, key, one.element, remove("this entry", () => {
      rows.splice(rows.indexOf(row), 1);
      row.element.remove();
      button.focus();
    }));
    rows.push(row);
    list.append(row.element);
    return row;
  };
  const button = h("button", { type: "button", class: "small", onclick: () => add("", undefined).key.focus() }, "+ Add an entry");
  for (const [name, inner] of Object.entries(value)) add(name, inner);
  const at = (row, message) => ({ title: "Name", focus: () => row.key.focus(), mark: () => (row.key.setAttribute("aria-invalid", "true"), row.one.mark(message)) });
  return {
    element: h("div", { class: "stack" }, list, button),
    read(wrong) {
      const seen = new Set();
      return rows.filter((row) => row.key.value !== "" || row.one.read([]) !== undefined).map((row) => {
        const name = row.key.value;
        if (!name) wrong.push({ at: at(row, "Give it a name."), message: "Give it a name." });
        else if (seen.has(name)) wrong.push({ at: at(row, "This name is there twice."), message: "This name is there twice." });
        seen.add(name);
        return [name, row.one.read(wrong)];
      });
    },
    clear: () => rows.forEach((row) => (row.key.removeAttribute("aria-invalid"), row.one.clear())),
    find: (name, rest, exact) => rows.find((row) => row.key.value === name)?.one.find(rest, exact),
    focus: () => (rows[0]?.key ?? button).focus(),
  };
}

const remove = (what, call) => h("button", { type: "button", class: "quiet icon", "aria-label": `Remove ${what}`, title: `Remove ${what}`, onclick: call }, "×");

function array(found, context) {
  const { schema } = found;
  const { root, name, value, required, depth } = context;
  const inner = schema.items ?? {};
  const items = [];
  const list = h("ol", { class: "items" });
  const button = h("button", { type: "button", class: "small", onclick: () => add(undefined).one.focus() }, `+ Add ${inner.title ?? `to ${schema.title ?? name}`}`);
  let touched = value !== undefined;
  const renumber = () => items.forEach((item, index) => {
    item.number.textContent = String(index + 1);
    item.up.disabled = index === 0;
    item.down.disabled = index === items.length - 1;
  });
  const move = (item, step) => {
    const index = items.indexOf(item);
    items.splice(index, 1);
    items.splice(index + step, 0, item);
    list.insertBefore(item.element, items[index + step + 1]?.element ?? null);
    renumber();
    const again = step < 0 ? item.up : item.down;
    (again.disabled ? (step < 0 ? item.down : item.up) : again).focus();
  };
  function add(one) {
    touched = true;
    const item = { number: h("span", { class: "faint mono" }), one: field(inner, { root, name: inner.title ?? "Entry", value: one, required: true, depth: depth + 1 }) };
    item.up = h("button", { type: "button", class: "quiet icon", "aria-label": "Move up", title: "Move up", onclick: () => move(item, -1) }, "↑");
    item.down = h("button", { type: "button", class: "quiet icon", "aria-label": "Move down", title: "Move down", onclick: () => move(item, 1) }, "↓");
    item.element = h("li", { class: "item" }, item.number, item.one.element, h("span", { class: "tools" }, item.up, item.down, remove("this entry", () => {
      items.splice(items.indexOf(item), 1);
      item.element.remove();
      renumber();
      button.focus();
    })));
    items.push(item);
    list.append(item.element);
    renumber();
    return item;
  }
  const begin = Array.isArray(value) ? value : Array.from({ length: required ? Math.min(schema.minItems ?? 0, 20) : 0 });
  begin.forEach(add);
  touched = value !== undefined;
  const around = frame(found, context, list, button);
  const self = {
    ...around,
    read(wrong) {
      const read = items.map((item) => item.one.read(wrong)).map((one) => (one === undefined ? null : one));
      if (!required && !touched && !read.length) return undefined;
      if (schema.minItems > read.length) wrong.push({ at: self, message: `At least ${schema.minItems} are needed.` });
      if (schema.maxItems < read.length) wrong.push({ at: self, message: `At most ${schema.maxItems} are allowed.` });
      if (schema.uniqueItems && new Set(read.map((one) => JSON.stringify(one))).size < read.length) wrong.push({ at: self, message: "The same entry is there twice." });
      return read;
    },
    clear() {
      around.unmark();
      for (const item of items) item.one.clear();
    },
    find([first, ...rest], exact) {
      if (first === undefined) return self;
      return items[Number(first)]?.one.find(rest, exact) ?? (exact ? null : self);
    },
    focus: () => (items.length ? items[0].one.focus() : button.focus()),
  };
  return self;
}

/** One of several schemas; the branch that fits what is given comes first. */
function choice(found, context) {
  const { branches, nullable, schema } = found;
  const { root, name, value, depth } = context;
  const id = uid();
  const place = h("div", {});
  let inner = null;
  const names = branches.map((branch, index) => nameOf(branch, index, root));
  if (nullable) names.push("null");
  const select = h("select", { id, "aria-label": `${schema.title ?? name}: which form`, onchange: () => choose(select.selectedIndex) }, names.map((one) => h("option", {}, one)));
  const choose = (index, given) => {
    select.selectedIndex = index;
    inner = index < branches.length ? field({ ...branches[index], title: names[index] }, { root, name, value: given, required: true, depth: depth + 1 }) : null;
    place.replaceChildren(...(inner ? [inner.element] : []));
  };
  const fits = value === undefined ? 0 : value === null && nullable ? branches.length : branches.findIndex((branch) => looksLike(value, branch, root));
  choose(Math.max(fits, 0), value);
  const around = frame(found, context, select, place);
  const self = {
    ...around,
    read: (wrong) => (inner ? inner.read(wrong) : null),
    clear: () => (around.unmark(), inner?.clear()),
    find: (path, exact) => (path.length && inner ? inner.find(path, exact) : self),
    focus: () => select.focus(),
  };
  return self;
}

/** A group that is missing until the user adds it. */
function optional(found, context) {
  const title = found.schema.title ?? context.name;
  const element = h("div", { class: "optional" });
  let inner = null;
  const open = (value) => {
    inner = build(found, { ...context, value });
    const button = h("button", { type: "button", class: "small quiet", onclick: () => (close(), add.focus()) }, `Remove ${title}`);
    inner.element.append(button);
    element.replaceChildren(inner.element);
  };
  const wrong = h("p", { class: "wrong" });
  const add = h("button", { type: "button", class: "small", onclick: () => (open(undefined), inner.focus()) }, `+ ${title}`);
  const close = () => {
    inner = null;
    element.replaceChildren(add, h("span", { class: "hint" }, found.schema.description ?? ""), wrong);
  };
  if (context.value === undefined || context.value === null) close();
  else open(context.value);
  const self = {
    element,
    title,
    read: (into) => inner?.read(into),
    mark: (message) => (inner ? inner.mark(message) : (wrong.textContent = message)),
    clear: () => ((wrong.textContent = ""), inner?.clear()),
    find: (path, exact) => inner?.find(path, exact) ?? (exact && path.length ? null : self),
    focus: () => (inner ?? add).focus(),
  };
  return self;
}
