// The texts of a run's version, and what calls stand around a place in them.

import { api, part } from "../../lib/api.js";
import { place } from "./place.js";

const loaded = new Map();

/** The files of a run's version by name, loaded once; null where they are not stored. */
export function texts(run) {
  if (!loaded.has(run.version)) {
    if (loaded.size > 8) loaded.delete(loaded.keys().next().value);
    const asked = api.get(`/workflows/${part(run.workflow)}/versions/${run.version}`).then(({ files }) => files);
    asked.catch(() => loaded.delete(run.version));
    loaded.set(run.version, asked);
  }
  return loaded.get(run.version);
}

const GROUPS = new Set(["parallel", "foreach", "race", "task", "with_timeout"]);
const TOKEN = /\/\/[^\n]*|\/\*|"(?:\\[^]|[^"\\])*"?|`|'(?:\\[^\n][^'\n]*|[^'\\\n])'|[\p{L}_][\p{L}\p{N}_]*|\n|[^]/gu;

/**
 * Where tasks are opened: `{ name, from, to, keys }` in the order of their beginning, places in characters; `keys` are the
 * places of the names of a map of closures.
 */
function groups(text) {
  const found = [];
  const open = [];
  let word = "";
  let block = 0;
  // Braces that are open in each string in back quotes around this place.
  const quotes = [];
  const quoted = () => {
    const end = /\\[^]|\$\{|`/g;
    end.lastIndex = TOKEN.lastIndex;
    for (let hit; (hit = end.exec(text)); ) {
      if (hit[0][0] === "\\") continue;
      TOKEN.lastIndex = end.lastIndex;
      if (hit[0] === "${") quotes.push(0);
      return;
    }
    TOKEN.lastIndex = text.length;
  };
  TOKEN.lastIndex = 0;
  for (let hit; (hit = TOKEN.exec(text)); ) {
    const token = hit[0];
    if (block) {
      if (token === "/" && text[hit.index + 1] === "*") block += 1;
      if (token === "*" && text[hit.index + 1] === "/") block -= 1;
      continue;
    }
    if (token === "/*") block = 1;
    else if (token === "`") quoted();
    else if (token === "(" || token === "[" || token === "{") {
      if (token === "{" && quotes.length) quotes[quotes.length - 1] += 1;
      const group = token === "(" && GROUPS.has(word) ? { name: word, from: hit.index - word.length, to: text.length, keys: [] } : null;
      if (group) found.push(group);
      open.push({ group, map: token === "{" && text[hit.index - 1] === "#" ? open.at(-1)?.group : null });
    } else if (token === ")" || token === "]" || token === "}") {
      if (token === "}" && quotes.length && quotes[quotes.length - 1]-- === 0) {
        quotes.pop();
        quoted();
        continue;
      }
      const closed = open.pop();
      if (closed?.group) closed.group.to = hit.index;
    } else if (token === ":" && word && open.at(-1)?.map) open.at(-1).map.keys.push({ name: word, at: hit.index });
    if (/^[\p{L}_]/u.test(token)) word = token;
    else if (token !== " ") word = token[0] === '"' ? token.slice(1, -1) : "";
  }
  return found;
}

/** What is known of places in the texts of a version: `calls(site)` and `called(site)`. */
export class Places {
  constructor(files, workflow) {
    this.files = files;
    this.workflow = workflow;
    this.known = new Map();
  }

  #file(site) {
    const found = place(site, this.workflow);
    const text = found && (this.files[found.file] ?? this.files[found.file.replace(/\.rhai$/, "")]);
    if (text === undefined || !found) return null;
    let file = this.known.get(found.file);
    if (!file) {
      const starts = [0];
      for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
      this.known.set(found.file, (file = { text, starts, groups: groups(text) }));
    }
    return { file, at: (file.starts[found.line - 1] ?? 0) + found.column - 1 };
  }

  /** The calls around a site that open tasks, outermost first: `{ name, key }`. */
  calls(site) {
    const found = this.#file(site);
    if (!found) return [];
    const { file, at } = found;
    return file.groups.filter(({ from, to }) => from < at && at < to)
      .map(({ name, keys }) => ({ name, key: keys.findLast((key) => key.at < at)?.name ?? null }));
  }

  /** The function that is called at a site: `wait_for`. */
  called(site) {
    const found = this.#file(site);
    return found && (/^[^\n(]*?(\w+)\s*\(/.exec(found.file.text.slice(found.at, found.at + 200))?.[1] ?? null);
  }

  /** The first argument of the call there, where it is a plain text. */
  argument(site) {
    const found = this.#file(site);
    return found && (/^[^\n(]*\(\s*"([^"\\\n]*)"/.exec(found.file.text.slice(found.at, found.at + 200))?.[1] ?? null);
  }
}

