// One run, followed: what is known of it, its events and its lines, for all panels together. A run has one stream of events
// open while it is live and looked at, and one of lines once a panel wants them: browsers allow few at a time.

import { api, follow, part, pause, Problem } from "../../lib/api.js";
import { throttle } from "../../lib/dom.js";
import { LIVE } from "../../lib/format.js";

const PAGE = 1000;
/** Pages asked for at a time. */
const ABREAST = 3;
/** Values of events are cut: rows show their beginning, and opening one loads the whole. */
const BRIEF = 240;
/** Input, output and state as the head of the view shows them. */
const SHOWN = 8192;
/** What changed without an event (an operator's `unpark`, a fork) is seen after this many milliseconds. */
const LOOK = 5000;

/**
 * Follows a run until `signal` is aborted. Gives an EventTarget with
 * - `run`: the latest RunView, values cut (null until "run" was fired first);
 * - `events`: by `seq`, so that `events[seq - 1]` is the event, values cut; `complete` once all of the past is there;
 * - `lines`: of the script's log, empty until `wantLines()` was called; `linesComplete`.
 * It fires "run", "events" and "lines" (with `first`, the index of the first new one), "complete", and "gone" (with `problem`).
 */
export function openFeed(id, signal) {
  const feed = new Feed(id, signal);
  feed.open();
  return feed;
}

class Feed extends EventTarget {
  constructor(id, signal) {
    super();
    Object.assign(this, { id, signal, path: `/runs/${part(id)}`, run: null, events: [], complete: false, lines: [], linesComplete: false });
    this.told = { events: 0, lines: 0 };
    this.tellEvents = throttle(80, () => this.#tell("events"));
    this.tellLines = throttle(80, () => this.#tell("lines"));
    this.looked = { at: 0, took: 0, timer: null };
    signal.addEventListener("abort", () => clearTimeout(this.looked.timer), { once: true });
  }

  /** Whether anything can still happen. */
  get live() {
    return this.run !== null && LIVE.includes(this.run.status);
  }

  /** The whole event, values uncut. */
  async event(seq) {
    const answer = await api.get(`${this.path}/events`, { query: { from: seq, limit: 1 }, signal: this.signal });
    return answer.events[0];
  }

  /** The run with its values uncut. */
  whole() {
    return api.get(this.path, { signal: this.signal });
  }

  /** Reads the run again, soon. One with thousands of open tasks takes its time: it is read less often. */
  refresh() {
    if (this.looked.timer || this.signal.aborted) return;
    const wait = this.looked.at + Math.max(400, this.looked.took * 6) - Date.now();
    this.looked.timer = setTimeout(async () => {
      await this.#look();
      this.looked.timer = null;
    }, Math.max(0, wait));
  }

  async open() {
    try {
      await this.#look();
      if (!this.run || this.signal.aborted) return;
      await this.#past(this.run.events);
      this.#poll();
      await this.#follow();
    } catch (problem) {
      this.#gone(problem);
    }
  }

  /** Loads the lines of the script's log, and follows them while the run is live. */
  async wantLines() {
    if (this.wanted) return;
    this.wanted = true;
    try {
      for (let next = 0; next !== null && next !== undefined; ) {
        const page = await api.get(`${this.path}/logs`, { query: { from: next, limit: PAGE, value_bytes: BRIEF * 4 }, signal: this.signal });
        this.#takeLines(page.lines);
        next = page.next;
      }
      this.linesComplete = true;
      this.#tell("lines", true);
      await this.#whileSeen((signal) => follow(`${this.path}/logs`, {
        query: { from: this.lines.length, value_bytes: BRIEF * 4 }, signal,
        on: ({ event, data }) => event === "message" && this.#takeLines([data]),
      }));
    } catch (problem) {
      this.wanted = false;
      this.#gone(problem);
    }
  }

  async #look() {
    try {
      const began = Date.now();
      const run = await api.get(this.path, { query: { value_bytes: SHOWN }, signal: this.signal });
      Object.assign(this.looked, { at: Date.now(), took: Date.now() - began });
      const before = JSON.stringify(this.run);
      this.run = run;
      if (JSON.stringify(run) !== before) this.dispatchEvent(new Event("run"));
    } catch (problem) {
      // Not there any more, or never was; a host that does not answer is asked again.
      if (problem instanceof Problem && problem.status >= 400 && problem.status < 500) this.#gone(problem);
      else if (!this.signal.aborted && this.run === null) {
        await pause(1000, this.signal);
        if (!this.signal.aborted) await this.#look();
      }
    }
  }

  /** Reads the events that are there, several pages at a time. */
  async #past(count) {
    const pages = Math.max(1, Math.ceil(count / PAGE));
    const asked = new Map();
    const ask = (page) => {
      if (page < pages && !asked.has(page)) asked.set(page, this.#page(page * PAGE + 1));
    };
    for (let page = 0; page < pages; page += 1) {
      // The first alone: something is to be seen soon.
      for (let ahead = 0; ahead < (page ? ABREAST : 1); ahead += 1) ask(page + ahead);
      this.#takeEvents((await asked.get(page)).events, page === 0);
      asked.delete(page);
    }
    for (;;) {
      const { events, next } = await this.#page(this.events.length + 1);
      this.#takeEvents(events);
      if (!next) break;
    }
    this.complete = true;
    this.#tell("events", true);
    this.dispatchEvent(new Event("complete"));
  }

  async #page(from) {
    for (let wait = 500; ; wait = Math.min(wait * 2, 8000)) {
      try {
        return await api.get(`${this.path}/events`, { query: { from, limit: PAGE, value_bytes: BRIEF }, signal: this.signal });
      } catch (problem) {
        if (this.signal.aborted || (problem instanceof Problem && problem.status >= 400 && problem.status < 500)) throw problem;
        await pause(wait, this.signal);
      }
    }
  }

  #follow() {
    return this.#whileSeen((signal) => follow(`${this.path}/events`, {
      query: { from: this.events.length + 1, value_bytes: BRIEF }, signal,
      on: ({ event, data }) => {
        if (event === "message") this.#takeEvents([data]);
        this.refresh();
      },
    }));
  }

  /** Keeps a stream open while the page is seen: a browser allows six to one host, all tabs together. */
  async #whileSeen(open) {
    while (!this.signal.aborted && this.live) {
      if (document.hidden) await once(document, "visibilitychange", this.signal);
      if (this.signal.aborted) return;
      const stop = new AbortController();
      const end = () => stop.abort();
      let timer = null;
      const hide = () => {
        clearTimeout(timer);
        if (document.hidden) timer = setTimeout(end, 15_000);
      };
      this.signal.addEventListener("abort", end, { once: true });
      document.addEventListener("visibilitychange", hide);
      try {
        await open(stop.signal);
      } finally {
        clearTimeout(timer);
        document.removeEventListener("visibilitychange", hide);
        this.signal.removeEventListener("abort", end);
      }
      // The stream came to the end of the run; whether that is known already or not.
      await this.#look();
      if (this.live) await pause(500, this.signal);
    }
  }

  async #poll() {
    while (!this.signal.aborted) {
      await pause(LOOK, this.signal);
      if (this.signal.aborted) return;
      if (!document.hidden && this.live) await this.#look();
    }
  }

  #takeEvents(events, now = false) {
    // What comes again after a break is known.
    for (const event of events) if (event.seq === this.events.length + 1) this.events.push(event);
    if (now) this.#tell("events");
    else this.tellEvents();
  }

  #takeLines(lines) {
    for (const line of lines) if (line.index === this.lines.length) this.lines.push(line);
    this.tellLines();
  }

  #tell(what, always = false) {
    if (this.signal.aborted) return;
    const first = this.told[what];
    if (first === this[what].length && !always) return;
    this.told[what] = this[what].length;
    this.dispatchEvent(Object.assign(new Event(what), { first }));
  }

  #gone(problem) {
    if (this.signal.aborted) return;
    this.problem = problem;
    this.dispatchEvent(Object.assign(new Event("gone"), { problem }));
  }
}

function once(target, name, signal) {
  return new Promise((done) => {
    target.addEventListener(name, done, { once: true, signal });
    signal.addEventListener("abort", done, { once: true });
  });
}
