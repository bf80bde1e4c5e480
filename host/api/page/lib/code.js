// Source of workflows: colours, line numbers, and marks on lines.

import { fill, h, styles } from "./dom.js";

const KEYWORDS = new Set(("as break catch const continue do else export fn for global if import in is let loop private return switch this throw try until while").split(" "));
const CONSTANTS = new Set(["true", "false", "input", "WORKFLOW"]);

/** Calls that go into a run's log. */
const DURABLE = new Set((
  "use_step parallel foreach race task with_timeout sleep sleep_until now timestamp rand rand_float rand_bool shuffle sample uuid " +
  "wait_for poll_signal hook suspend run_workflow start_workflow continue_as_new set_state set_status emit").split(" "));

// Blank, comment to the end of the line, what opens a longer one, strings, a character, numbers, names, anything else.
const TOKEN = /[^\S\n]+|\n|\/\/[^\n]*|\/\*|(#+)"[^]*?"\1|"(?:\\[^]|[^"\\\n])*"?|`|'(?:\\[^\n][^'\n]*|[^'\\\n])'|0[xX][\da-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?|[\p{L}_][\p{L}\p{N}_]*|[^]/uy;

/** Lines of a block: what is not seen of a long text is plain text, a block being one node. */
const BLOCK = 60;
/** Up to this many lines all is made at once. */
const SMALL = 600;
/** The height of a line in pixels, as lists.css has it. */
const LINE = 20;

/**
 * The parts of each line, `[kind, text, kind, text, …]`; the kind of what has no colour is "". Comments nest, strings in
 * back quotes hold code.
 */
export function parts(source) {
  const text = source.replaceAll("\r\n", "\n");
  const lines = [[]];
  let line = lines[0];
  const add = (kind, part) => {
    if (!part) return;
    if (line.length && line[line.length - 2] === kind) line[line.length - 1] += part;
    else line.push(kind, part);
  };
  const push = (kind, piece) => {
    if (!piece.includes("\n")) return add(kind, piece);
    for (const [at, part] of piece.split("\n").entries()) {
      if (at) lines.push((line = []));
      add(kind, part);
    }
  };
  // One entry for each string in back quotes that is open around this place: how many braces are open in its `${`.
  const open = [];
  let before = "";
  let at = 0;
  const quoted = () => {
    const end = /\\[^]|\$\{|`/g;
    end.lastIndex = at;
    for (let found; (found = end.exec(text)); ) {
      if (found[0][0] === "\\") continue;
      push("string", text.slice(at, found.index));
      at = end.lastIndex;
      if (found[0] === "`") push("string", "`");
      else (push("hole", "${"), open.push(0));
      return;
    }
    push("string", text.slice(at));
    at = text.length;
  };
  while (at < text.length) {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text)[0];
    const start = at;
    at += token.length;
    if (token === "/*") {
      at = comment(text, at);
      push("comment", text.slice(start, at));
      continue;
    }
    if (token === "`") {
      push("string", token);
      quoted();
    } else if (token === "{" || token === "}") {
      if (token === "}" && open.at(-1) === 0) {
        open.pop();
        push("hole", token);
        quoted();
      } else {
        if (open.length) open[open.length - 1] += token === "{" ? 1 : -1;
        push("", token);
      }
    } else push(kind(token, before, text, at), token);
    if (token > " " && !token.startsWith("//")) before = token;
  }
  return lines;
}

function comment(text, at) {
  const edge = /\/\*|\*\//g;
  edge.lastIndex = at;
  let depth = 1;
  for (let found; depth && (found = edge.exec(text)); ) depth += found[0] === "/*" ? 1 : -1;
  return depth ? text.length : edge.lastIndex;
}

function kind(token, before, text, end) {
  const first = token[0];
  if (token.startsWith("//")) return "comment";
  if (first === '"' || (first === "'" && token.length > 1) || (first === "#" && token.length > 1)) return "string";
  if (first >= "0" && first <= "9") return "number";
  if (first < "A" || (first > "Z" && first < "_") || (first > "z" && first < "\u0080")) return "";
  const called = text[end] === "(" || (text[end] === " " && text[end + 1] === "(");
  if (before === ".") return called ? "function" : "";
  if (KEYWORDS.has(token)) return "keyword";
  if (CONSTANTS.has(token)) return "constant";
  if (called && before !== "fn" && before !== "::" && DURABLE.has(token)) return "durable";
  return called || before === "fn" ? "function" : "";
}

/** One line of `parts` as nodes. */
export function nodes(line) {
  const made = [];
  for (let at = 0; at < line.length; at += 2) {
    made.push(line[at] ? h("span", { class: `t-${line[at]}` }, line[at + 1]) : document.createTextNode(line[at + 1]));
  }
  return made;
}

/** The text with colours: an array with one array of nodes for each line. For lines shown alone; long texts: `code`. */
export function highlight(text) {
  return parts(text).map(nodes);
}

/**
 * A source with line numbers, as an element. Each line is a `.line[data-line]`.
 *
 * `marks`: `{ line, kind, text }`, `kind` one of "waiting", "error", "note", "here", "hit"; `text` is shown below the line.
 * The element has `mark(marks)`, which puts others in their place, and `reveal(line)`, which scrolls there and shows the
 * line for a moment. Texts of a megabyte are no problem: far lines are made when they come near.
 */
export function code(text, { label, marks = [], first = 1 } = {}) {
  const lines = parts(text);
  if (lines.length > 1 && lines.at(-1).length === 0) lines.pop();
  const element = h("div", { class: "code", tabindex: "0", role: "region", "aria-label": label ?? "Source" });
  element.style.setProperty("--digits", String(first + lines.length - 1).length);
  const inside = h("div", { class: "code-lines" });
  element.append(inside);

  let marked = new Map();
  const blocks = [];
  for (let from = 0; from < lines.length; from += BLOCK) {
    const to = Math.min(from + BLOCK, lines.length);
    blocks.push({ from, to, made: false, node: h("div", { class: "code-block" }) });
  }

  const decorate = (row, number) => {
    const found = marked.get(number) ?? [];
    row.className = ["line", ...new Set(found.map((mark) => `is-${mark.kind}`))].join(" ");
    for (const old of row.querySelectorAll(".line-note")) old.remove();
    for (const mark of found) if (mark.text) row.append(h("span", { class: `line-note ${mark.kind}` }, mark.text));
  };
  const make = (block) => {
    if (block.made) return;
    block.made = true;
    styles(block.node, { "min-height": "" });
    const rows = [];
    for (let at = block.from; at < block.to; at += 1) {
      const row = h("div", { class: "line", "data-line": first + at }, h("span", { class: "line-text" }, nodes(lines[at]), "\n"));
      if (marked.has(first + at)) decorate(row, first + at);
      rows.push(row);
    }
    fill(block.node, rows);
  };
  // As one text it can still be found by the browser's search, selected and copied.
  const flatten = (block) => {
    block.made = false;
    const height = block.node.offsetHeight || (block.to - block.from) * LINE;
    styles(block.node, { "min-height": `${height}px` });
    const plain = lines.slice(block.from, block.to).map((line) => line.filter((_, at) => at % 2).join(""));
    fill(block.node, h("div", { class: "code-far" }, plain.join("\n") + "\n"));
  };
  const row = (number) => {
    const block = blocks[Math.floor((number - first) / BLOCK)];
    if (!block) return null;
    make(block);
    return block.node.children[number - first - block.from] ?? null;
  };

  element.mark = (next) => {
    const before = marked;
    marked = new Map();
    for (const mark of next) marked.set(mark.line, [...(marked.get(mark.line) ?? []), mark]);
    for (const number of new Set([...before.keys(), ...marked.keys()])) {
      const block = blocks[Math.floor((number - first) / BLOCK)];
      if (block?.made) decorate(row(number), number);
    }
  };
  let shown = null;
  element.reveal = (number) => {
    const wanted = row(number);
    if (!wanted) return;
    shown?.classList.remove("revealed");
    shown = wanted;
    // The animation starts again only if the class was away for a moment.
    void wanted.offsetWidth;
    wanted.classList.add("revealed");
    requestAnimationFrame(() => bring(element, wanted));
  };

  element.mark(marks);
  if (lines.length <= SMALL) blocks.forEach(make);
  else {
    const near = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const block = blocks[Number(target.dataset.block)];
        if (isIntersecting) make(block);
        else if (block.made && !block.node.contains(document.activeElement)) flatten(block);
      }
    }, { rootMargin: "800px", scrollMargin: "800px" });
    for (const [at, block] of blocks.entries()) {
      block.node.dataset.block = at;
      flatten(block);
      near.observe(block.node);
    }
    make(blocks[0]);
  }
  inside.append(...blocks.map((block) => block.node));
  return element;
}

/** Scrolls only what is needed: the source itself if it scrolls, else the page; nothing if the line is in sight. */
function bring(element, line) {
  const place = line.getBoundingClientRect();
  if (element.scrollHeight > element.clientHeight + 1) {
    const box = element.getBoundingClientRect();
    if (place.top < box.top + LINE || place.bottom > box.bottom - LINE) {
      element.scrollTop += place.top - box.top - (element.clientHeight - place.height) / 2;
    }
  } else if (place.top < 80 || place.bottom > innerHeight - LINE) line.scrollIntoView({ block: "center" });
}
