// Keys. Single letters work where no text is typed; everything they do can be done with Tab and Enter too.

import { api } from "./api.js";
import { h } from "./dom.js";
import { link } from "./router.js";

const PLACES = { r: "#/runs", w: "#/workflows", s: "#/schedules", h: "#/health" };
const own = new Map();

/** A key of the view that is shown, until `signal` is aborted: `key("c", "Cancel the run", cancel, signal)`. */
export function key(name, what, run, signal) {
  const entry = { what, run };
  own.set(name, entry);
  signal.addEventListener("abort", () => own.get(name) === entry && own.delete(name), { once: true });
}

/** Listens for the keys of all views. */
export function shortcuts({ go }) {
  let waiting = false;
  document.getElementById("keys").addEventListener("click", help);
  document.getElementById("jump").addEventListener("click", () => jump(go));
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "k") {
      event.preventDefault();
      return jump(go);
    }
    const typing = event.target.closest("input, textarea, select, [contenteditable], dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = waiting && PLACES[event.key];
    waiting = event.key === "g";
    if (place) go(place);
    else if (event.key === "/") (event.preventDefault(), jump(go));
    else if (event.key === "?") help();
    else if (own.has(event.key)) (event.preventDefault(), own.get(event.key).run());
  });
}

function help() {
  const line = (keys, what) => h("tr", {}, h("td", {}, keys.map((name) => [h("kbd", {}, name), " "])), h("td", {}, what));
  const node = h("dialog", { "aria-label": "Keyboard shortcuts" }, h("div", { class: "inside" },
    h("h2", {}, "Keys"),
    h("table", {}, h("tbody", {},
      line(["/"], "Go to a run or a workflow"),
      line(["g", "r"], "Runs"), line(["g", "w"], "Workflows"), line(["g", "s"], "Schedules"), line(["g", "h"], "Health"),
      [...own].map(([name, { what }]) => line([name], what)),
      line(["?"], "These keys"), line(["Esc"], "Close"))),
    h("div", { class: "buttons" }, h("button", { type: "button", autofocus: true, onclick: () => node.close() }, "Close"))));
  show(node);
}

/** A box that leads to a run by its id, or to a workflow by its name. */
function jump(go) {
  const list = h("ul", { class: "jump-list", id: "jump-list", role: "listbox", "aria-label": "Places" });
  const input = h("input", {
    type: "search", placeholder: "Run id or workflow", "aria-label": "Run id or workflow", autofocus: true, autocomplete: "off",
    role: "combobox", "aria-expanded": "true", "aria-controls": "jump-list",
  });
  const node = h("dialog", { class: "jump", "aria-label": "Go to" }, h("div", { class: "inside" }, input, list));
  let found = [];
  let at = 0;
  let asked = 0;
  const pick = (index) => {
    if (!found[index]) return;
    node.close();
    go(found[index].to);
  };
  const draw = () => {
    list.replaceChildren(...found.map((place, index) => h("li", {
      role: "option", id: `jump-${index}`, "aria-selected": String(index === at), onclick: () => pick(index),
    }, h("span", { class: "mono" }, place.name), " ", h("span", { class: "faint" }, place.what))));
    if (found.length) input.setAttribute("aria-activedescendant", `jump-${at}`);
    else input.removeAttribute("aria-activedescendant");
  };
  const look = async () => {
    const wanted = input.value.trim();
    const mine = ++asked;
    const workflows = await api.get("/workflows").then((answer) => answer.workflows).catch(() => []);
    const places = workflows.filter(({ name }) => name.includes(wanted)).slice(0, 8)
      .map(({ name }) => ({ name, what: "workflow", to: link(["workflows", name]) }));
    if (wanted) {
      const run = await api.get(`/runs/${encodeURIComponent(wanted)}`, { query: { value_bytes: 64 } }).catch(() => null);
      if (run) places.unshift({ name: run.id, what: `run of ${run.workflow}, ${run.status}`, to: link(["runs", run.id]) });
    }
    if (mine !== asked) return;
    found = places;
    at = 0;
    draw();
  };
  input.addEventListener("input", look);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length) {
      event.preventDefault();
      at = (at + step + found.length) % found.length;
      draw();
    } else if (event.key === "Enter") (event.preventDefault(), pick(at));
  });
  look();
  show(node);
}

function show(node) {
  if (document.querySelector("dialog[open]")) return;
  node.addEventListener("close", () => node.remove());
  node.addEventListener("click", (event) => event.target === node && node.close());
  document.body.append(node);
  node.showModal();
}
