// A trace, and what there was to see at each of its moments. Only every so often the whole state is kept; any other moment is
// made from the one kept before it.

import { Blocks, holds } from "./blocks.js";

/** Events between two kept states, at least. */
const APART = 256;
/** Events that are kept; what comes behind is not looked at. */
export const MOST = 300_000;

const GROUP = /^(?:\d+ branches|race of \d+|with_timeout\()/;

/**
 * Everything that was seen, in order. `add(event)`; `at(index)` gives the state right after an event.
 *
 * A state is `{ index, tasks }`, tasks by path: `{ path, n, frames, loops, call }`, frames outermost first: `{ function, file, line,
 * column, variables, returned, threw }`, a variable `{ name, value, old, at }` with `at` the event that changed it last; `call` is
 * `{ at, answer }`, places of events.
 */
export class Traced {
  constructor(files = {}) {
    this.events = [];
    /** Places of statements. */
    this.lines = [];
    /** Places where calls were made, and where they were answered. */
    this.made = [];
    this.stops = { of: 0, places: [] };
    /** Places of changes by variable. */
    this.changes = new Map();
    /** Of the answer to each call. */
    this.answers = new Map();
    this.files = files;
    this.full = false;
    this.end = null;
    this.blocks = new Map();
    this.strings = new Map();
    this.waiting = new Map();
    this.#restart();
  }

  #restart() {
    this.kept = [];
    this.next = APART;
    this.head = fresh();
    this.cursor = null;
  }

  /** Takes the texts, which may come later than the events. */
  setFiles(files) {
    this.files = files;
    this.blocks.clear();
    const { events } = this;
    this.#restart();
    for (let index = 0; index < events.length; index += 1) this.#advance(index);
  }

  add(event) {
    if (this.events.length >= MOST) {
      this.full = true;
      return;
    }
    const index = this.events.length;
    this.events.push(event);
    if (event.type === "line") {
      event.source = this.#same(event.source);
      event.file = this.#same(event.file);
      this.lines.push(index);
    } else if (event.type === "changed") {
      const known = this.changes.get(event.name);
      if (known) known.push(index);
      else this.changes.set(event.name, [index]);
    } else if (event.type === "called") {
      this.waiting.set(event.task, index);
      this.made.push(index);
    } else if (event.type === "answered" || event.type === "failed") {
      const call = this.waiting.get(event.task);
      if (call !== undefined) {
        this.waiting.delete(event.task);
        this.answers.set(call, index);
        this.made.push(index);
      }
    }
    this.#advance(index);
  }

  /** Places of durable calls: where one was answered, or made where it was not. */
  get calls() {
    if (this.stops.of !== this.made.length) this.stops = { of: this.made.length, places: this.made.filter((index) => !this.answers.has(index)) };
    return this.stops.places;
  }

  #advance(index) {
    // What is kept in all stays in proportion to the events, however many tasks there are.
    if (index >= this.next) {
      this.kept.push(copy(this.head));
      this.head.own.clear();
      this.next = index + Math.max(APART, this.head.tasks.size);
    }
    this.#apply(this.head, index);
  }

  /** The state right after an event. It is the caller's until the next call, and must not be changed. */
  at(index) {
    if (this.cursor === null || this.cursor.index > index || index - this.cursor.index > 2 * APART) {
      let [low, high] = [0, this.kept.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (this.kept[middle].index <= index) low = middle + 1;
        else high = middle;
      }
      const from = low ? this.kept[low - 1] : fresh();
      if (this.cursor === null || this.cursor.index > index || from.index > this.cursor.index) this.cursor = copy(from);
    }
    while (this.cursor.index < index) this.#apply(this.cursor, this.cursor.index + 1);
    return this.cursor;
  }

  #apply(state, index) {
    const event = this.events[index];
    state.index = index;
    const task = own(state, event.task);
    task.n = event.n;
    task.loops = event.loops ?? [];
    const { frames } = task;
    if (frames.length > event.depth + 1) frames.length = event.depth + 1;
    if (event.type === "entered" && frames.length === event.depth + 1) frames.pop();
    while (frames.length <= event.depth) frames.push({ function: event.type === "entered" ? event.function : "", file: "", line: 0, column: 0, variables: [] });
    const frame = frames[event.depth];
    switch (event.type) {
      case "line":
        if (task.group !== null) this.#close(state, task);
        frame.file = event.file;
        this.#leave(frame, event);
        frame.line = event.line;
        frame.column = event.column;
        if (task.call !== null && task.call.n !== event.n) task.call = null;
        break;
      case "changed":
        change(frame, event, index);
        break;
      case "returned":
        frame.returned = event.value;
        break;
      case "threw":
        frame.threw = event.error;
        break;
      case "called":
        task.call = { at: index, n: event.n, answer: null };
        if (event.step_id && GROUP.test(event.call)) task.group = event.step_id;
        break;
      case "answered": case "failed":
        if (task.call) task.call = { ...task.call, answer: index };
        break;
    }
  }

  /** A group that was waited for is over: so are its tasks, and those that they opened. */
  #close(state, task) {
    const below = `${task.group}.`;
    for (const path of state.tasks.keys()) if (path.startsWith(below)) state.tasks.delete(path);
    task.group = null;
  }

  /** A statement begins: what was declared in blocks that were left is gone. */
  #leave(frame, { file, line, column, loops = NONE }) {
    if (frame.variables.some((one) => !within(one.loops, loops))) frame.variables = frame.variables.filter((one) => within(one.loops, loops));
    const blocks = this.#blocksOf(file);
    if (!blocks) return;
    const { variables } = frame;
    for (let at = 0; at < variables.length; at += 1) {
      const one = variables[at];
      if (one.scope !== undefined) continue;
      // Seen before the first statement: a parameter, or what a task was given.
      const scope = frame.line === 0 ? null : blocks.scope(one.name, frame);
      variables[at] = { ...one, scope: scope === undefined ? blocks.around(line, column) : scope };
    }
    if (variables.some((one) => !holds(one.scope, line, column))) frame.variables = variables.filter((one) => holds(one.scope, line, column));
  }

  #blocksOf(file) {
    if (!this.blocks.has(file)) {
      const text = this.text(file);
      this.blocks.set(file, text === undefined ? null : new Blocks(text));
    }
    return this.blocks.get(file);
  }

  /** The text of a file as a trace names it. */
  text(file) {
    return this.files[file] ?? this.files[file.replace(/\.rhai$/, "")];
  }

  #same(text) {
    const known = this.strings.get(text);
    if (known !== undefined) return known;
    this.strings.set(text, text);
    return text;
  }

  /** The place of a statement by its number; that of the next one where it was not seen. */
  statement(n) {
    let [low, high] = [0, this.lines.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.events[this.lines[middle]].n < n) low = middle + 1;
      else high = middle;
    }
    return this.lines[Math.min(low, this.lines.length - 1)] ?? 0;
  }
}

function change(frame, event, index) {
  const { variables } = frame;
  const made = { name: event.name, value: event.new, old: event.old, at: index, loops: event.loops ?? NONE };
  if (event.old !== undefined) {
    const place = variables.findLastIndex((one) => one.name === event.name);
    if (place >= 0) {
      variables[place] = { ...made, scope: variables[place].scope, loops: variables[place].loops };
      return;
    }
  }
  variables.push(made);
}

const NONE = [];

/** Whether a place is still in the passes of the loops in which something was declared. */
function within(declared, now) {
  if (declared.length > now.length) return false;
  for (let at = declared.length - 1; at >= 0; at -= 1) {
    const [one, other] = [declared[at], now[at]];
    if (one.pass !== other.pass || one.line !== other.line || one.column !== other.column) return false;
  }
  return true;
}

const fresh = () => ({ index: -1, tasks: new Map(), own: new Set() });

/** The task as one that this state alone has: what another state has too is copied before it is changed. */
function own(state, path) {
  let task = state.tasks.get(path);
  if (task && state.own.has(path)) return task;
  task = task
    ? { ...task, frames: task.frames.map((frame) => ({ ...frame, variables: [...frame.variables] })) }
    : { path, n: 0, frames: [], loops: NONE, call: null, group: null };
  state.tasks.set(path, task);
  state.own.add(path);
  return task;
}

/** A copy that shares its tasks until one of them changes. */
const copy = (state) => ({ index: state.index, tasks: new Map(state.tasks), own: new Set() });
