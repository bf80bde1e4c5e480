// Times, lengths and sizes as people read them.

import { h, text } from "./dom.js";

const DAY = 86_400_000;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const ago = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const fine = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
const count = new Intl.NumberFormat();

/** `12,345` */
export const number = (value) => count.format(value);

/** The exact moment, for the title of an element: `2026-11-23T15:18:05.123Z`. */
export const utc = (ms) => new Date(ms).toISOString();

/** `14:03:22` today, `Nov 3, 14:03` before. */
export function moment(ms) {
  const day = (at) => new Date(at).toDateString();
  return (day(ms) === day(Date.now()) ? clock : date).format(ms);
}

/** `14:03:22.120` */
export const precise = (ms) => fine.format(ms);

/** In the local zone with date and seconds. */
export const whole = (ms) => full.format(ms);

/** `3 min ago`, `in 2 hr` */
export function relative(ms) {
  const wait = ms - Date.now();
  const size = Math.abs(wait);
  if (size < 60_000) return ago.format(Math.round(wait / 1000), "second");
  if (size < 3_600_000) return ago.format(Math.round(wait / 60_000), "minute");
  if (size < DAY) return ago.format(Math.round(wait / 3_600_000), "hour");
  return ago.format(Math.round(wait / DAY), "day");
}

/** `350 ms`, `1.24 s`, `3 min 20 s`, `2 d 4 h` */
export function duration(ms) {
  if (ms === null || ms === undefined) return "";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const parts = [[DAY, "d"], [3_600_000, "h"], [60_000, "min"], [1000, "s"]];
  const first = parts.findIndex(([size]) => ms >= size);
  const [[big, bigName], small] = [parts[first], parts[first + 1]];
  const rest = small ? Math.floor((ms % big) / small[0]) : 0;
  return `${Math.floor(ms / big)} ${bigName}${rest ? ` ${rest} ${small[1]}` : ""}`;
}

/** `1.4 KiB` */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at ? value.toFixed(1) : value} ${units[at]}`;
}

/**
 * A moment as an element: local time as text, exact UTC on hover. `show` is `moment`, `precise`, `whole`, or `relative`, which
 * keeps itself up to date.
 */
export function time(ms, show = moment) {
  if (ms === null || ms === undefined) return h("span", { class: "faint" }, "–");
  const node = h("time", { datetime: utc(ms), title: `${utc(ms)} (UTC)` }, show(ms));
  if (show === relative) node.dataset.relative = String(ms);
  return node;
}

// One timer for all relative times of the page.
setInterval(() => {
  if (document.hidden) return;
  for (const node of document.querySelectorAll("time[data-relative]")) text(node, relative(Number(node.dataset.relative)));
}, 1000);

/** `aa96d1c2` of a version. */
export const short = (version) => version?.slice(0, 8) ?? "";

/** JSON on one line, cut. */
export function brief(value, most = 120) {
  const whole = value === undefined ? "" : typeof value === "object" && value && "$cut" in value ? `${value.start} …` : JSON.stringify(value);
  return whole.length > most ? `${whole.slice(0, most)} …` : whole;
}

/** Every status of a run, in the order lists show them; the first ones are live. */
export const STATUSES = ["pending", "running", "waiting", "suspended", "parked", "completed", "failed", "cancelled", "continued"];
export const LIVE = STATUSES.slice(0, 5);

/** A status as it is shown everywhere. */
export const status = (name) => h("span", { class: `status ${name}` }, name);
