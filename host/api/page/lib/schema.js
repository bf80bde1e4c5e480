// JSON Schema 2020-12 as far as a form needs it: what kind of field a schema asks for, and whether one value is of that kind.
// The host checks the whole schema; nothing here decides whether a value is accepted.

/** Levels of references that are followed before a field is left to be written as JSON. */
const DEEP = 40;

const plain = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** Follows `$ref` within the document; what stands beside it is kept. A reference that leads nowhere gives `{}`. */
export function resolve(schema, root) {
  let at = schema;
  for (let times = 0; plain(at) && typeof at.$ref === "string" && times < DEEP; times += 1) {
    const { $ref, ...beside } = at;
    at = { ...(plain(lookup($ref, root)) ? lookup($ref, root) : {}), ...beside };
  }
  if (!plain(at)) return {};
  if (Array.isArray(at.allOf)) {
    const { allOf, ...own } = at;
    at = allOf.map((part) => resolve(part, root)).reduce(merge, own);
  }
  return at;
}

function lookup(ref, root) {
  if (!ref.startsWith("#")) return undefined;
  const parts = decodeURIComponent(ref.slice(1)).split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return parts.reduce((at, part) => (at && typeof at === "object" && Object.hasOwn(at, part) ? at[part] : undefined), root);
}

/** Two schemas that must both fit. */
export function merge(one, other) {
  const all = { ...one, ...other };
  if (one.properties || other.properties) all.properties = { ...one.properties, ...other.properties };
  if (one.required || other.required) all.required = [...new Set([...(one.required ?? []), ...(other.required ?? [])])];
  if (one.title && other.title) all.title = one.title;
  return all;
}

/**
 * What kind of field it is: `{ kind, schema, nullable, … }`, kind one of object, array, string, number, boolean, enum (with
 * `values` and `names`), choice (with `branches`) and any.
 */
export function kindOf(given, root) {
  let schema = resolve(given, root);
  let nullable = false;
  if (Array.isArray(schema.type)) {
    const types = schema.type.filter((type) => type !== "null");
    nullable = types.length < schema.type.length;
    if (types.length > 1) {
      return { kind: "choice", nullable, schema, branches: types.map((type) => ({ ...schema, type, title: type })) };
    }
    schema = { ...schema, type: types[0] ?? "null" };
  }
  if ("const" in schema) return { kind: "enum", schema, nullable, values: [schema.const], names: [schema.title ?? text(schema.const)] };
  if (Array.isArray(schema.enum)) {
    return { kind: "enum", schema, nullable: false, values: schema.enum, names: schema.enum.map(text) };
  }
  const several = Array.isArray(schema.oneOf) ? "oneOf" : Array.isArray(schema.anyOf) ? "anyOf" : null;
  if (several) return alternatives(schema, several, nullable, root);
  const type = schema.type ?? inferred(schema);
  switch (type) {
    case "object": return { kind: unusual(schema) ? "any" : "object", schema, nullable };
    case "array": return { kind: schema.prefixItems ? "any" : "array", schema, nullable };
    case "string": return { kind: "string", schema, nullable };
    case "integer": case "number": return { kind: "number", integer: type === "integer", schema, nullable };
    case "boolean": return { kind: "boolean", schema, nullable };
    case "null": return { kind: "enum", schema, nullable: false, values: [null], names: ["null"] };
    default: return { kind: "any", schema, nullable };
  }
}

function alternatives(schema, word, nullable, root) {
  const { [word]: list, ...rest } = schema;
  const parts = list.map((part) => resolve(part, root));
  const others = parts.filter((part) => part.type !== "null");
  nullable ||= others.length < parts.length;
  if (others.length && others.every((part) => "const" in part)) {
    return { kind: "enum", schema: rest, nullable, values: others.map((part) => part.const), names: others.map((part) => part.title ?? text(part.const)) };
  }
  // A branch that only says which fields are required goes with what stands around it.
  const branches = others.map((part) => {
    const { title, description, default: _, ...around } = rest;
    return { ...merge(around, part), title: part.title };
  });
  if (branches.length === 1) return { ...kindOf({ ...branches[0], title: rest.title ?? branches[0].title, description: rest.description ?? branches[0].description }, root), nullable };
  return branches.length ? { kind: "choice", schema: rest, nullable, branches } : { kind: "any", schema: rest, nullable };
}

function inferred(schema) {
  if (schema.properties || schema.additionalProperties !== undefined || schema.required) return "object";
  if (schema.items || schema.prefixItems) return "array";
  if (schema.pattern || schema.format || schema.minLength !== undefined || schema.maxLength !== undefined) return "string";
  if (schema.minimum !== undefined || schema.maximum !== undefined || schema.multipleOf !== undefined) return "number";
  return undefined;
}

const unusual = (schema) => Boolean(schema.patternProperties) && !schema.properties;

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** What a branch of a choice is called. */
export function nameOf(branch, index, root) {
  if (branch.title) return branch.title;
  const { kind, schema } = kindOf(branch, root);
  if (kind === "object") {
    const marks = Object.entries(schema.properties ?? {}).filter(([, part]) => plain(part) && "const" in part).map(([, part]) => text(part.const));
    const names = marks.length ? marks : schema.required ?? Object.keys(schema.properties ?? {});
    return names.length ? names.slice(0, 3).join(", ") : "object";
  }
  return kind === "any" ? `form ${index + 1}` : kind === "enum" ? "one of a list" : schema.type ?? kind;
}

/** Whether a value looks like what a schema asks for: enough to choose a branch. */
export function looksLike(value, given, root) {
  const { kind, schema, nullable, values, branches, integer } = kindOf(given, root);
  if (value === null) return nullable || kind === "any" || (kind === "enum" && values.includes(null));
  switch (kind) {
    case "enum": return values.some((one) => JSON.stringify(one) === JSON.stringify(value));
    case "choice": return branches.some((branch) => looksLike(value, branch, root));
    case "string": return typeof value === "string";
    case "boolean": return typeof value === "boolean";
    case "number": return typeof value === "number" && (!integer || Number.isInteger(value));
    case "array": return Array.isArray(value);
    case "object": return plain(value) && (schema.required ?? []).every((name) => name in value)
      && Object.entries(schema.properties ?? {}).every(([name, part]) => !(name in value) || looksLike(value[name], part, root));
    default: return true;
  }
}

/** What a form begins with where nothing is given; undefined: nothing. */
export function initial(schema) {
  if (schema.default !== undefined) return schema.default;
  return undefined;
}
