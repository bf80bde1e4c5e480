// The address is the state: `#/runs?status=failed&workflow=order`. What one sees can be sent to other people.

/** `{ path: ["runs", "r1"], query: URLSearchParams }` of the address. */
export function here() {
  const text = location.hash.replace(/^#\/?/, "");
  const at = text.indexOf("?");
  const path = (at < 0 ? text : text.slice(0, at)).split("/").filter(Boolean).map(decode);
  return { path, query: new URLSearchParams(at < 0 ? "" : text.slice(at + 1)) };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The address of a place: `link(["runs", id], { tab: "log" })`. */
export function link(path, query = {}) {
  const params = new URLSearchParams();
  for (const [name, value] of query instanceof URLSearchParams ? query : Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") params.append(name, one);
    }
  }
  const search = params.toString();
  return "#/" + path.map(encodeURIComponent).join("/") + (search ? "?" + search : "");
}

/** Goes there; `replace`: without a step in the history (filters while one types). */
export function go(address, { replace = false } = {}) {
  if (location.hash === address) return;
  if (replace) {
    history.replaceState(null, "", address);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  } else location.hash = address;
}

/**
 * Shows views in `main`. `routes` is a list of `[pattern, load]`, a pattern like `["runs", ":id"]`; `load()` gives a module whose
 * `view(context)` gives `{ title, element, update?, focus? }`. `context`: `{ params, query, signal }`; `signal` is aborted when the
 * view is left, which ends its requests, streams and timers. If only the query changes, `update(query)` is called instead
 * of making the view anew.
 */
export function start(main, routes, changed) {
  let shown = null;
  async function show() {
    const { path, query } = here();
    const found = routes.map(([pattern, load]) => ({ params: fits(pattern, path), pattern, load })).find((r) => r.params);
    const key = JSON.stringify([found?.pattern, found?.params]);
    if (shown && shown.key === key && shown.view?.update) {
      shown.view.update(query);
      changed(path, shown.view.title);
      return;
    }
    shown?.stop.abort();
    const stop = new AbortController();
    const mine = (shown = { key, stop, view: null });
    const module = await (found ?? { load: () => import("../views/missing.js") }).load();
    if (shown !== mine) return;
    mine.view = module.view({ params: found?.params ?? {}, query, signal: stop.signal });
    main.replaceChildren(mine.view.element);
    window.scrollTo(0, 0);
    changed(path, mine.view.title);
    (mine.view.focus ?? main).focus({ preventScroll: true });
  }
  window.addEventListener("hashchange", show);
  return show();
}

function fits(pattern, path) {
  if (pattern.length !== path.length) return null;
  const params = {};
  for (const [at, want] of pattern.entries()) {
    if (want.startsWith(":")) params[want.slice(1)] = path[at];
    else if (want !== path[at]) return null;
  }
  return params;
}
