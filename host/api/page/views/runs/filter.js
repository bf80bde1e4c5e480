// What the address says about which runs are shown, and as what it is asked of the API.

import { STATUSES } from "../../lib/format.js";

/** Times back from now that are offered, in milliseconds, by how they stand in the address. */
export const SPANS = { "15m": 900_000, "1h": 3_600_000, "24h": 86_400_000, "7d": 604_800_000, "30d": 2_592_000_000 };
export const SPAN_NAMES = { "15m": "last 15 minutes", "1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days", "30d": "last 30 days" };

/** `{ status: [], workflow, version, parent, tag: [], last, since, until }` of the query of an address. */
export function read(query) {
  const moment = (name) => {
    const text = query.get(name);
    if (!text) return null;
    const ms = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
    return Number.isFinite(ms) ? ms : null;
  };
  const last = query.get("last");
  return {
    status: query.getAll("status").filter((name) => STATUSES.includes(name)),
    workflow: query.get("workflow"),
    version: query.get("version"),
    parent: query.get("parent"),
    tag: query.getAll("tag").filter((tag) => tag.includes(":")),
    last: last in SPANS ? last : null,
    since: moment("since"),
    until: moment("until"),
  };
}

/** The other way: for `link`. */
export function write(filter) {
  const at = (ms) => (ms === null ? null : new Date(ms).toISOString());
  return { ...filter, since: at(filter.since), until: at(filter.until) };
}

/** The parameters of `GET /runs`. What is counted back from now begins anew with each look. */
export function asked({ status, workflow, version, parent, tag, last, since, until }) {
  return { status, workflow, version, parent, tag, since: last ? Date.now() - SPANS[last] : since, until };
}

export const empty = (filter) => Object.values(filter).every((value) => value === null || value.length === 0);

/** Only what the counts by workflow and status can say. */
export const countable = ({ version, parent, tag, last, since, until }) => !(version || parent || tag.length || last || since || until);

/** Whether a run is still one of those that are shown; times and parents do not change. */
export const fits = (filter, run) =>
  (filter.status.length === 0 || filter.status.includes(run.status)) && (!filter.version || filter.version === run.version);
