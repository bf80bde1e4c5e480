// Making and changing elements. Text is always text: nothing here reads HTML, so nothing that a script, an input or a log
// line contains can become markup.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "g", "line", "rect", "circle", "polyline", "polygon", "text", "use", "title", "defs", "clipPath"]);

/**
 * An element: `h("button", { class: "primary", onclick: go, disabled: busy }, "Start")`.
 *
 * Attributes that are null or false are left out, true gives an empty one; `on…` is a listener; `style` is a map of
 * properties (custom ones too); `dataset` a map; `ref` is called with the element. Children may be nodes, text, numbers,
 * null and nested arrays.
 */
export function h(tag, props, ...children) {
  const node = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "ref") value(node);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") styles(node, value);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name === "value" && "value" in node) node.value = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  add(node, children);
  return node;
}

/** Appends children, as `h` takes them. */
export function add(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(node, child);
    else node.append(child instanceof Node ? child : plain(String(child)));
  }
}

/** Characters that turn the direction of letters; those that open an isolated stretch, and that which closes one. */
const TURNS = /[\u202a-\u202e\u2066-\u2069]/g;
const [OPENS, CLOSES] = [/[\u2066-\u2068]/, "\u2069"];

/** Text that turns the direction of letters turns its own only, not those of what stands beside it. */
function plain(value) {
  const turns = value.match(TURNS);
  if (!turns) return value;
  const node = document.createElement("bdi");
  let open = 0;
  const fits = turns.every((sign) => (open += OPENS.test(sign) ? 1 : sign === CLOSES ? -1 : 0) >= 0) && open === 0;
  // What closes more or less than it opens would reach out of its element: it is shown as what it is.
  node.textContent = fits ? value : value.replace(TURNS, (sign) => `\\u${sign.charCodeAt(0).toString(16)}`);
  return node;
}

/** Puts other children in place of those that are there. */
export function fill(node, ...children) {
  const fragment = document.createDocumentFragment();
  add(fragment, children);
  node.replaceChildren(fragment);
  return node;
}

/** Sets style properties; the page's policy forbids style attributes, not this. */
export function styles(node, properties) {
  for (const [name, value] of Object.entries(properties)) node.style.setProperty(name, value);
}

/** Changes the text only if it is another one: screen readers and selections stay undisturbed. */
export function text(node, value) {
  const wanted = String(value ?? "");
  if (node.textContent !== wanted) node.replaceChildren(plain(wanted));
}

/**
 * Brings the children of `parent` to the order of `items` without making those anew that are there: `make(item)` gives a new
 * element, `update(element, item)` changes one. Focus, selection and scrolling stay.
 */
export function reconcile(parent, items, key, make, update) {
  const known = new Map();
  for (const child of parent.children) if (child.dataset.key !== undefined) known.set(child.dataset.key, child);
  let before = null;
  for (const item of items) {
    const name = String(key(item));
    let node = known.get(name);
    if (node) known.delete(name);
    else {
      node = make(item);
      node.dataset.key = name;
    }
    update?.(node, item);
    const place = before ? before.nextSibling : parent.firstChild;
    if (node !== place) parent.insertBefore(node, place);
    before = node;
  }
  for (const gone of known.values()) gone.remove();
}

/** Calls at most once every `ms`, the last call always. */
export function throttle(ms, call) {
  let timer = null;
  let last = 0;
  return (...args) => {
    clearTimeout(timer);
    const wait = last + ms - Date.now();
    const run = () => {
      last = Date.now();
      call(...args);
    };
    if (wait <= 0) run();
    else timer = setTimeout(run, wait);
  };
}

/** Says something to those who do not see the page. While a dialog is open only what is in it is heard. */
export function say(message) {
  const around = [...document.querySelectorAll("dialog[open]")].at(-1);
  let place = around ? around.querySelector(":scope > .said") : document.getElementById("said");
  if (!place) around.append((place = h("div", { class: "said hidden", role: "status", "aria-live": "polite" })));
  place.textContent = "";
  requestAnimationFrame(() => (place.textContent = message));
}

/** A short message in the corner; errors stay until they are closed. */
export function toast(message, { error = false, link = null } = {}) {
  const close = () => node.remove();
  const node = h("div", { class: error ? "toast bad" : "toast", role: error ? "alert" : null },
    h("span", {}, message, link ? " " : null, link),
    h("button", { class: "quiet icon", type: "button", "aria-label": "Close", onclick: close }, "×"));
  document.getElementById("toasts").append(node);
  if (!error) setTimeout(close, 6000);
}
