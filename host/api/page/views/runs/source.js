// The runs that fit a filter: loaded by pages as far as the user has scrolled, and kept up to date while they are looked at.

import { api, follow, part, pause } from "../../lib/api.js";
import { throttle } from "../../lib/dom.js";
import { asked, fits } from "./filter.js";

/** Runs of the first page, and at most of one after it: pages double, so that the way to the end takes few of them. */
const FIRST = 100;
const MOST = 1000;
/** Bytes of an input or output: what a row shows of it. */
const VALUES = 160;
/** Rows that are asked for one by one; are there more, pages are. */
const SINGLE = 8;

/**
 * `runs` is the list, newest first; a run that does not fit the filter any more has `gone`. "change" is fired when it is another
 * one, "fresh" when `waiting` is (how many new runs are not shown yet), "told" when anything happened to runs, "workflow" when a file
 * of the scripts folder was saved.
 * `visible()` gives the rows that are seen, `[from, to]`; `top()` whether new runs may appear by themselves.
 */
export class RunSource extends EventTarget {
  runs = [];
  /** There are no more to be loaded. */
  complete = false;
  loading = false;
  error = null;
  /** New runs that are not shown; `waitingMore`: and others. */
  waiting = 0;
  waitingMore = false;

  #known = new Map();
  #stale = new Set();
  #next = null;
  #filter = null;
  #signal;
  #visible;
  #top;
  #asking = 0;
  #follow = null;
  #look = throttle(1000, () => this.#lookForNew());
  #freshen = throttle(700, () => this.#update());

  constructor({ signal, visible, top }) {
    super();
    this.#signal = signal;
    this.#visible = visible;
    this.#top = top;
  }

  /** Shows what fits another filter. */
  async show(filter) {
    const again = this.#filter?.workflow !== filter.workflow || !this.#follow;
    this.#filter = filter;
    if (again) this.#listen();
    await this.reload();
  }

  /** Everything from the first page on. */
  async reload() {
    const mine = ++this.#asking;
    this.loading = true;
    this.error = null;
    this.#say("change");
    try {
      const page = await this.#page({ limit: FIRST });
      if (mine !== this.#asking) return;
      this.runs = page.runs;
      this.#known = new Map(page.runs.map((run) => [run.id, run]));
      this.#stale.clear();
      this.#next = page.next;
      this.complete = !page.next;
      this.#noneWaiting();
    } catch (error) {
      if (mine !== this.#asking || this.#signal.aborted) return;
      this.error = error;
    }
    this.loading = false;
    this.#say("change");
  }

  /** The page behind what is there. */
  async more() {
    if (this.loading || this.complete || this.error) return;
    const mine = this.#asking;
    this.loading = true;
    try {
      const page = await this.#page({ limit: Math.min(MOST, 2 * this.runs.length), cursor: this.#next });
      if (mine !== this.#asking) return;
      for (const run of page.runs) {
        if (this.#known.has(run.id)) continue;
        this.#known.set(run.id, run);
        this.runs.push(run);
      }
      this.#next = page.next;
      this.complete = !page.next;
    } catch (error) {
      if (mine !== this.#asking || this.#signal.aborted) return;
      this.error = error;
    }
    this.loading = false;
    this.#say("change");
  }

  /** After an error. */
  again() {
    if (!this.runs.length) return this.reload();
    this.error = null;
    return this.more();
  }

  /** Removes rows of runs that are deleted. */
  remove(ids) {
    const gone = new Set(ids);
    for (const id of gone) this.#known.delete(id);
    this.runs = this.runs.filter((run) => !gone.has(run.id));
    this.#say("change");
  }

  /** Something was done to these runs: they are looked at again. */
  touch(ids) {
    for (const id of ids) this.#stale.add(id);
    this.#freshen();
  }

  /** Rows have come into sight: some of them may have changed meanwhile. */
  seen() {
    if (this.#stale.size) this.#freshen();
  }

  #say(name) {
    this.dispatchEvent(new Event(name));
  }

  #page(more) {
    return api.get("/runs", { query: { ...asked(this.#filter), value_bytes: VALUES, ...more }, signal: this.#signal });
  }

  #listen() {
    this.#follow?.abort();
    this.#follow = new AbortController();
    const stop = AbortSignal.any([this.#signal, this.#follow.signal]);
    let hello = null;
    follow("/changes", {
      query: { workflow: this.#filter.workflow },
      signal: stop,
      on: ({ event, data }) => {
        if (event === "runs") this.#changes(data);
        else if (event === "workflow") this.#say("workflow");
        else if (event === "hello") {
          // The first one tells nothing new; a later one follows a break: anything may have happened.
          if (hello) this.#everything();
          hello = data;
        }
      },
    }).catch(async (error) => {
      // A host of an older version has no such stream: it is asked now and then.
      if (error.status !== 404) return;
      while (!stop.aborted) {
        await pause(3000, stop);
        if (!stop.aborted && !document.hidden) this.#everything();
      }
    });
  }

  #everything() {
    for (const run of this.runs) this.#stale.add(run.id);
    this.#freshen();
    this.#look();
    this.#say("told");
  }

  #changes({ runs, more }) {
    let seen = false;
    let fresh = more;
    for (const { id, status } of runs) {
      const run = this.#known.get(id);
      if (!run) fresh ||= !this.#filter.status.length || this.#filter.status.includes(status);
      else {
        run.status = status;
        run.gone = !fits(this.#filter, run);
        this.#stale.add(id);
        seen = true;
      }
    }
    if (more) for (const run of this.runs) if (!run.ended_at) this.#stale.add(run.id);
    if (seen) this.#say("change");
    if (seen || more) this.#freshen();
    if (fresh) this.#look();
    this.#say("told");
  }

  /** Asks for the rows in sight that have changed. */
  async #update() {
    const [from, to] = this.#visible();
    const wanted = this.runs.slice(from, to).filter((run) => this.#stale.has(run.id));
    for (const run of wanted) this.#stale.delete(run.id);
    if (!wanted.length) return;
    const mine = this.#asking;
    const ask = async (run) => {
      try {
        this.#take(run, await api.get(`/runs/${part(run.id)}`, { query: { value_bytes: VALUES }, signal: this.#signal }));
      } catch (error) {
        if (error.status === 404) this.remove([run.id]);
      }
    };
    if (wanted.length <= SINGLE) await Promise.all(wanted.map(ask));
    else {
      // One look at the stretch of time they were made in, rather than at each.
      const first = this.runs[from].created_at;
      const last = wanted.at(-1).created_at;
      const query = { workflow: this.#filter.workflow, since: last, until: first + 1, limit: 1000, value_bytes: VALUES };
      const page = await api.get("/runs", { query, signal: this.#signal }).catch(() => null);
      const found = new Map(page?.runs.map((run) => [run.id, run]));
      for (const run of wanted) if (found.has(run.id)) this.#take(run, found.get(run.id));
      // They were deleted, or the host has another store now.
      if (page && !page.next) this.remove(wanted.filter((run) => !found.has(run.id)).map((run) => run.id));
    }
    if (mine === this.#asking && !this.#signal.aborted) this.#say("change");
  }

  #take(run, now) {
    for (const name of Object.keys(run)) if (!(name in now)) delete run[name];
    Object.assign(run, now, { gone: !fits(this.#filter, now) });
  }

  async #lookForNew() {
    if (this.#signal.aborted || this.error) return;
    const mine = this.#asking;
    const newest = this.runs[0]?.created_at;
    const top = this.#top();
    // In a list of certain statuses an old run can be new: the first page says it. Else only later ones can be.
    const narrow = !top && !this.#filter.status.length && newest;
    const page = await this.#page(narrow ? { limit: FIRST, since: newest } : { limit: FIRST }).catch(() => null);
    if (!page || mine !== this.#asking) return;
    const fresh = page.runs.filter((run) => !this.#known.has(run.id));
    if (!this.#top()) {
      this.waiting = fresh.length;
      this.waitingMore = fresh.length === FIRST;
      return this.#say("fresh");
    }
    this.#merge(page);
    this.#noneWaiting();
    this.#say("change");
  }

  /** Puts a new first page in place of what was there. */
  #merge(page) {
    const fresh = page.runs.filter((run) => !this.#known.has(run.id));
    if (page.next && fresh.length === page.runs.length && this.runs.length) {
      // There may be others between this page and what was there: the list begins anew.
      this.runs = page.runs;
      this.#known = new Map(page.runs.map((run) => [run.id, run]));
      this.#stale.clear();
      this.#next = page.next;
      this.complete = false;
      return;
    }
    for (const run of page.runs) {
      const old = this.#known.get(run.id);
      if (old) this.#take(old, run);
      else this.#known.set(run.id, run);
      this.#stale.delete(run.id);
    }
    if (!fresh.length) return;
    // Those of before that are as young as this page, and the page, in the order of their making.
    const oldest = page.runs.at(-1).created_at;
    let end = this.runs.findIndex((run) => run.created_at < oldest);
    if (end < 0) end = this.runs.length;
    const both = [...fresh, ...this.runs.slice(0, end)].sort((a, b) => b.created_at - a.created_at || (a.id < b.id ? 1 : -1));
    this.runs = both.concat(this.runs.slice(end));
  }

  #noneWaiting() {
    this.waiting = 0;
    this.waitingMore = false;
    this.#say("fresh");
  }
}
