// The view in the address: all that is chosen, so that it can be sent to others, and gone back to.

import { state } from "./state.js";

/** What can be chosen from a few, the usual choice first; what is usual is left out of the address. */
const CHOICES = {
  range: ["200", "50", "100", "all"],
  unit: ["ai3", "shannons"],
  price: ["worth", "perq"],
  scale: ["linear", "log", "index"],
  layout: ["together", "each"],
  measure: ["price", "stake", "reward"],
  time: ["utc", "local"],
  theme: [null, "light", "dark"],
};
const SORT = "-stake";
const EPOCHS = /^(\d{1,10})-(\d{1,10})$/;

/** The query that the state agrees with. */
let current = null;

/** Whether the address has another view than the state: one went back or forward, and not only behind the #. */
export const moved = () => location.search !== current;

/** Take the view that an address names into the state; what it does not name, or cannot mean, is as usual. */
export function read() {
  current = location.search;
  const given = new URLSearchParams(current);
  for (const [name, choices] of Object.entries(CHOICES)) state[name] = choices.includes(given.get(name)) ? given.get(name) : choices[0];
  state.mean = given.get("mean") === "1";
  const sort = /^(-?)(id|status|stake|1d|7d|30d|annualized|tax)$/.exec(given.get("sort") ?? SORT) ?? [null, "-", "stake"];
  state.sort = { by: sort[2], direction: sort[1] ? -1 : 1 };
  state.search = given.get("search") ?? "";
  const epochs = EPOCHS.exec(given.get("epochs") ?? "");
  state.epochs = epochs && Number(epochs[1]) <= Number(epochs[2]) ? [Number(epochs[1]), Number(epochs[2])] : null;
  const operators = given.get("operators");
  if (operators === null) state.wanted = null;
  else if (operators === "all" || operators === "none") state.wanted = operators;
  else state.wanted = operators.split(",").filter((id) => /^\d{1,10}$/.test(id)).map(Number);
}

/** The same as the query of an address, empty where everything is as usual; `usual` are the operators shown at first. */
export function query(usual) {
  const found = new URLSearchParams();
  for (const [name, choices] of Object.entries(CHOICES)) if (state[name] !== choices[0]) found.set(name, state[name]);
  if (state.mean) found.set("mean", "1");
  const sort = `${state.sort.direction < 0 ? "-" : ""}${state.sort.by}`;
  if (sort !== SORT) found.set("sort", sort);
  if (state.search) found.set("search", state.search);
  if (state.epochs) found.set("epochs", state.epochs.join("-"));
  const operators = named(usual);
  if (operators !== null) found.set("operators", operators);
  const text = String(found).replaceAll("%2C", ",");
  return text ? `?${text}` : "";
}

function named(usual) {
  if (!state.operators.length) return state.wanted === null ? null : String(state.wanted);
  const { shown } = state;
  if (shown.size === usual.size && [...shown].every((id) => usual.has(id))) return null;
  if (!shown.size) return "none";
  if (shown.size === state.operators.length) return "all";
  return [...shown].sort((a, b) => a - b).join(",");
}

/** Write the view into the address: as a step that one can go back from, or in place of the present one. */
export function keep(usual, step) {
  current = query(usual);
  const address = `${location.pathname}${current}${location.hash}`;
  if (address === `${location.pathname}${location.search}${location.hash}`) return;
  if (step) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}
