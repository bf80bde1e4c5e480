// The frame of the page: routes, navigation, the login, the theme, keys.

import { connection, onLogin } from "./lib/api.js";
import { Wrong, dialog } from "./lib/dialog.js";
import { h, text } from "./lib/dom.js";
import { shortcuts } from "./lib/keys.js";
import { go, start } from "./lib/router.js";

const ROUTES = [
  [[], () => import("./views/runs.js")],
  [["runs"], () => import("./views/runs.js")],
  [["runs", ":id"], () => import("./views/run.js")],
  [["workflows"], () => import("./views/workflows.js")],
  [["workflows", ":name"], () => import("./views/workflow.js")],
  [["schedules"], () => import("./views/schedules.js")],
  [["health"], () => import("./views/health.js")],
];

onLogin(async (wrong) => {
  const field = h("input", { type: "password", id: "token", name: "token", autocomplete: "current-password", required: true, autofocus: true });
  await dialog({
    title: "This host wants a token",
    content: h("div", { class: "field" },
      h("label", { for: "token" }, "Token"),
      field,
      h("p", { class: "hint" }, "The one that the server was given: for durhai serve the text of its --token-file, or DURHAI_TOKEN. It is kept until this tab is closed."),
      wrong ? h("p", { class: "wrong", role: "alert" }, "That is not the token of this host.") : null),
    submit: "Log in",
    closable: false,
    done: () => {
      if (!field.value.trim()) throw new Wrong("Enter the token.");
      return true;
    },
  });
  return field.value.trim();
});

const said = document.getElementById("connection");
connection.addEventListener("change", () => {
  text(said, connection.state === "lost" ? "The host does not answer; trying again …" : "");
});

const theme = document.getElementById("theme");
const themes = ["auto", "light", "dark"];
function wear(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  theme.textContent = { auto: "◐", light: "☀", dark: "☾" }[name];
  theme.setAttribute("aria-label", `Colours: ${name}`);
  theme.title = `Colours: ${name}`;
}
let worn = localStorage.getItem("durhai-theme") ?? "auto";
wear(worn);
theme.addEventListener("click", () => {
  worn = themes[(themes.indexOf(worn) + 1) % themes.length];
  localStorage.setItem("durhai-theme", worn);
  wear(worn);
});

shortcuts({ go });

start(document.getElementById("main"), ROUTES, (path, title) => {
  document.title = title ? `${title} · durhai` : "durhai";
  for (const link of document.querySelectorAll("#nav a")) {
    const ours = link.hash === `#/${path[0] ?? "runs"}`;
    if (ours) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
});
