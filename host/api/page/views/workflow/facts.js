// What the header of a workflow says, for people.

import { h } from "../../lib/dom.js";
import { brief } from "../../lib/format.js";

const LENGTHS = "Numbers are seconds.";

export function scheduleText(schedule) {
  if (typeof schedule === "string") return [h("code", {}, schedule), " UTC"];
  return [h("code", {}, schedule.cron), ` ${schedule.timezone ?? "UTC"}`, schedule.overlap ? `, overlap: ${schedule.overlap}` : ""];
}

const amount = (value) => (typeof value === "number" ? h("span", { title: LENGTHS }, `${value} s`) : String(value));

const RETRY = { max_attempts: (n) => `${n} attempts`, initial: (wait) => `first wait ${wait}`, factor: (n) => `×${n}`, max: (wait) => `at most ${wait}`, jitter: (n) => `jitter ${n}`, unless: (all) => `not after ${all.join(", ")}` };

function retryText(retry) {
  if (retry === false) return "none";
  return Object.keys(RETRY).filter((name) => name in retry).map((name) => RETRY[name](retry[name])).join(", ");
}

function concurrencyText(limit) {
  if (typeof limit !== "object") return `${limit} at the same time`;
  return [`${limit.limit} at the same time`, limit.key ? [" for each ", h("code", {}, limit.key)] : null];
}

const ON_RELOAD = {
  pin: "pin: live runs stay on their version",
  upgrade: "upgrade: live runs that fit move to a new version",
  refuse: "refuse: a save that a live run does not fit is not served",
};

/** The header as a list of facts; null where it says nothing. */
export function facts(header) {
  if (!header || typeof header !== "object") return null;
  const shown = [
    ["schedule", "Schedule", scheduleText],
    ["timeout", "Timeout of a run", amount],
    ["retry", "Retries of steps", retryText],
    ["concurrency", "Concurrency", concurrencyText],
    ["retain", "Kept after the end", amount],
    ["on_reload", "On a save", (value) => ON_RELOAD[value] ?? value],
    ["input", "Input", schema],
    ["output", "Output", schema],
  ].filter(([name]) => header[name] !== undefined && header[name] !== null);
  if (!shown.length) return null;
  return h("dl", { class: "facts" }, shown.map(([name, label, show]) => [h("dt", {}, label), h("dd", {}, show(header[name]))]));
}

/** A JSON Schema: its properties as a table where it is an object, else a sentence; the whole below. */
function schema(of) {
  const whole = h("details", { class: "whole" }, h("summary", {}, "JSON Schema"), h("pre", {}, JSON.stringify(of, null, 2)));
  const properties = Object.entries(of?.properties ?? {});
  if (!properties.length) return [h("p", {}, kind(of), of?.description ? `: ${of.description}` : ""), whole];
  return [h("ul", { class: "schema" }, lines(of, 0)), whole];
}

function lines(of, depth) {
  const required = new Set(of.required ?? []);
  return Object.entries(of.properties ?? {}).map(([name, inner]) => {
    const nested = inner?.properties ? inner : inner?.items?.properties ? inner.items : null;
    return h("li", {},
      h("code", {}, name), required.has(name) ? h("span", { class: "needed", title: "required" }, " *") : null, " ",
      h("span", { class: "soft" }, kind(inner)), inner?.description ? h("span", {}, ` ${inner.description}`) : null,
      nested && depth < 3 ? h("ul", { class: "schema" }, lines(nested, depth + 1)) : null);
  });
}

/** `integer, 1 … 5`, `list of string`, `"a" or "b"` */
function kind(of) {
  if (of === true || of === undefined || of === null) return "anything";
  if (typeof of !== "object") return "nothing";
  if (of.const !== undefined) return brief(of.const, 60);
  if (Array.isArray(of.enum)) return of.enum.map((value) => brief(value, 30)).join(" or ");
  const choices = of.oneOf ?? of.anyOf;
  if (choices) return choices.map(kind).join(" or ");
  if (of.$ref) return String(of.$ref).split("/").at(-1);
  const names = [of.type ?? "anything"].flat();
  const name = names.map((one) => (one === "array" && of.items ? `list of ${kind(of.items)}` : one)).join(" or ");
  const [low, high] = [of.minimum ?? of.minLength ?? of.minItems, of.maximum ?? of.maxLength ?? of.maxItems];
  const range = low !== undefined && high !== undefined ? `, ${low} … ${high}` : low !== undefined ? `, at least ${low}` : high !== undefined ? `, at most ${high}` : "";
  const start = of.default !== undefined ? `, else ${brief(of.default, 40)}` : "";
  return `${name}${of.format ? ` (${of.format})` : ""}${of.pattern ? ` like ${of.pattern}` : ""}${range}${start}`;
}
