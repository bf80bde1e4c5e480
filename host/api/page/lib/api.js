// The way to the host: requests, problems, the token, and streams that come back by themselves.

// Wherever the page is served: behind the path of an app, or of a proxy.
const BASE = new URL("../../api/v1", import.meta.url).pathname;
const TOKEN = "durhai-token";

/** What the API answers when it does not do what it was asked (RFC 9457), or that it could not be reached (`status` 0). */
export class Problem extends Error {
  constructor(document) {
    super(document.detail || document.title || "The request failed");
    this.name = "Problem";
    Object.assign(this, document);
  }
}

/** `connection.state`: "ok", "lost" (the host does not answer) or "locked" (it wants a token); "change" is fired. */
export const connection = Object.assign(new EventTarget(), { state: "ok" });

function became(state) {
  if (connection.state === state) return;
  connection.state = state;
  connection.dispatchEvent(new Event("change"));
}

let asking = null;
let ask = async () => null;

/** Who asks for the token: `ask(wrong)` gives the text, `wrong` if the one before did not fit. */
export function onLogin(handler) {
  ask = handler;
}

export function hasToken() {
  return sessionStorage.getItem(TOKEN) !== null;
}

export function forgetToken() {
  sessionStorage.removeItem(TOKEN);
}

/** Asks once, however many requests wait for the answer. */
function login(tried) {
  const now = sessionStorage.getItem(TOKEN);
  if (now !== null && now !== tried) return Promise.resolve();
  became("locked");
  asking ??= ask(tried !== null)
    .then((token) => sessionStorage.setItem(TOKEN, token))
    .finally(() => (asking = null));
  return asking;
}

/** `/runs` and `{ status: ["failed", "parked"], limit: 10 }` as an address. */
export function address(path, query = {}) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") params.append(name, one);
    }
  }
  const search = params.toString();
  return BASE + path + (search ? "?" + search : "");
}

/** A part of a path. */
export const part = encodeURIComponent;

async function send(method, path, { query, body, headers, signal, accept = "application/json" } = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const all = { Accept: accept, ...headers };
    if (token !== null) all.Authorization = `Bearer ${token}`;
    if (body !== undefined) all["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await fetch(address(path, query), {
        method, headers: all, signal, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store",
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      became("lost");
      throw new Problem({ status: 0, title: "The host does not answer", detail: "The host does not answer. Is it still running?" });
    }
    if (answer.status === 401) {
      await login(token);
      continue;
    }
    became("ok");
    if (answer.ok) return answer;
    const kind = answer.headers.get("Content-Type") ?? "";
    const document = kind.includes("json") ? await answer.json().catch(() => ({})) : {};
    throw new Problem({ status: answer.status, title: answer.statusText, ...document });
  }
}

async function json(method, path, options) {
  const answer = await send(method, path, options);
  return answer.status === 204 ? null : answer.json();
}

/** `api.get("/runs", { query, signal })`, `api.post("/runs", { workflow })`: JSON, or a `Problem` is thrown. */
export const api = {
  get: (path, options) => json("GET", path, options),
  post: (path, body = {}, options) => json("POST", path, { ...options, body }),
  remove: (path, options) => json("DELETE", path, options),
  /** A file, as a Blob: with a token a plain link would be refused. */
  blob: async (path, options) => (await send("GET", path, { ...options, accept: "*/*" })).blob(),
};

/** Gives each line of an NDJSON answer, parsed. */
export async function* lines(method, path, options) {
  const answer = await send(method, path, { ...options, accept: "application/x-ndjson" });
  let rest = "";
  for await (const text of chunks(answer)) {
    const found = (rest + text).split("\n");
    rest = found.pop();
    for (const line of found) if (line) yield JSON.parse(line);
  }
  if (rest.trim()) yield JSON.parse(rest);
}

async function* chunks(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * Follows a stream of server-sent events until `signal` is aborted or `on` returns false: `on({ event, id, data })`, `data`
 * parsed. A stream that breaks is asked for again, from the last id on; `reopened()` is called when it is there again, for
 * streams without ids. It ends by itself after `event: end`.
 */
export async function follow(path, { query, signal, on, reopened, lastId = null }) {
  let wait = 500;
  let times = 0;
  while (!signal.aborted) {
    try {
      const headers = lastId === null ? {} : { "Last-Event-ID": String(lastId) };
      const answer = await send("GET", path, { query, signal, headers, accept: "text/event-stream" });
      if (times++ > 0) reopened?.();
      for await (const message of messages(answer)) {
        wait = 500;
        if (message.id !== null) lastId = message.id;
        if (on(message) === false || message.event === "end") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      // The run is gone, or the request is wrong: asking again would not help.
      if (error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 429) throw error;
      became("lost");
    }
    await pause(wait * (0.8 + Math.random() * 0.4), signal);
    wait = Math.min(wait * 2, 8000);
  }
}

async function* messages(answer) {
  let rest = "";
  for await (const text of chunks(answer)) {
    const blocks = (rest + text).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const message = { event: "message", id: null, data: [] };
      for (const line of block.split("\n")) {
        const at = line.indexOf(":");
        if (at <= 0) continue;
        const value = line.slice(at + 1).replace(/^ /, "");
        const field = line.slice(0, at);
        if (field === "data") message.data.push(value);
        else if (field === "event" || field === "id") message[field] = value;
      }
      if (message.data.length) yield { ...message, data: JSON.parse(message.data.join("\n")) };
    }
  }
}

/** Resolves after that many milliseconds, or when `signal` is aborted. */
export function pause(ms, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });
}
