// The table of operators: sorted, searched, and where lines are chosen.

import { badge, earned, find, link, make, update } from "./elements.js";
import { amount, compare, exact, grouped, nothing, unknown } from "./numbers.js";
import { named, state, swatch, weight } from "./state.js";
import { legend, redraw } from "./view.js";

/** With more operators than this the largest few are shown at first. */
const MANY = 12;
const LARGEST = 8;

const SPANS = [["30d", "30 d"], ["7d", "7 d"], ["1d", "1 d"]];

const SORTED = {
  id: (one) => one.operatorId,
  status: (one) => one.status,
  stake: weight,
  tax: (one) => one.nominationTax,
  annualized: (one) => digits(longest(one)?.told.annualized),
};

/** A decimal text as an integer of its 18 digits, to be compared exactly. */
const digits = (text) => (text === undefined ? null : BigInt(text.replace(".", "")));

/** The return over the longest span that there is, and which span that is. */
function longest(one) {
  const found = SPANS.find(([key]) => one.returns[key]);
  return found ? { told: one.returns[found[0]], span: found[1] } : null;
}

function matches(one) {
  const words = state.search.trim().toLowerCase();
  return !words || [`operator ${one.operatorId}`, one.name, one.owner, one.status].some((text) => text?.toLowerCase().includes(words));
}

/** Operators that are no longer active come last, however the others are sorted. */
function sorted() {
  const { by, direction } = state.sort;
  const key = SORTED[by] ?? ((one) => digits(one.returns[by]?.return));
  return state.operators
    .filter(matches)
    .sort((a, b) => Number(b.isActive) - Number(a.isActive) || compare(key(a), key(b), direction) || a.operatorId - b.operatorId);
}

const largest = () => [...state.operators].sort((a, b) => compare(weight(a), weight(b), -1)).slice(0, LARGEST);

/** The operators that are shown unless others are asked for. */
export const usual = () => new Set((state.operators.length > MANY ? largest() : state.operators).map((one) => one.operatorId));

/** Choose the operators that the address names. */
export function chooseWanted() {
  const { wanted } = state;
  if (wanted === null) state.shown = usual();
  else if (wanted === "all") choose(state.operators);
  else choose(wanted === "none" ? [] : state.operators.filter((one) => wanted.includes(one.operatorId)));
}

function choose(chosen) {
  state.shown = new Set(chosen.map((one) => one.operatorId));
}

function stake(one) {
  if (one.isActive) return amount(one.activeStake, state.unit);
  if (unknown(one.epoch)) return nothing("unknown");
  return make("span", { class: "past" }, amount(one.stake, state.unit), make("span", { class: "since" }, `as of epoch ${grouped(one.epoch)}`));
}

function annualized(one) {
  const found = longest(one);
  return found ? make("span", {}, earned(found.told, "annualized"), make("span", { class: "from" }, `from ${found.span}`)) : earned(null);
}

const number = (...children) => make("td", { class: "number" }, ...children);

/** The columns of the table: what sorts them, their title, and the cell of an operator. */
const COLUMNS = {
  pick: [null, "Shown", (one) => {
    const id = one.operatorId;
    const box = make("input", { type: "checkbox", "aria-label": `Show ${named(id)}`, "data-toggle": id });
    box.checked = state.shown.has(id);
    return make("td", { class: "pick" }, box);
  }],
  name: ["id", "Operator", ({ operatorId: id }) => make("th", { scope: "row" }, swatch(id), link(named(id), `#/operator/${id}`))],
  status: ["status", "Status", (one) => make("td", {}, badge(one.status))],
  stake: ["stake", "Active stake", (one) => make("td", { class: "number", title: exact(one.isActive ? one.activeStake : one.stake, "shannons") }, stake(one))],
  "1d": ["1d", "1 day", (one) => number(earned(one.returns["1d"]))],
  "7d": ["7d", "7 days", (one) => number(earned(one.returns["7d"]))],
  "30d": ["30d", "30 days", (one) => number(earned(one.returns["30d"]))],
  annualized: ["annualized", "Annualized", (one) => number(annualized(one))],
  tax: ["tax", "Tax", (one) => number(unknown(one.nominationTax) ? nothing("unknown") : `${one.nominationTax} %`)],
};
const WIDE = ["pick", "name", "status", "stake", "1d", "7d", "30d", "annualized", "tax"];

/** On a narrow screen the returns come first. */
const NARROW = ["pick", "name", "30d", "annualized", "7d", "tax", "1d", "stake", "status"];
const phone = matchMedia("(max-width: 640px)");
const columns = () => (phone.matches ? NARROW : WIDE).map((name) => COLUMNS[name]);

function heads() {
  const { by, direction } = state.sort;
  return columns().map(([sort, title]) => {
    if (!sort) return make("th", { scope: "col", class: "pick", "data-key": title }, make("span", { class: "hidden" }, title));
    const order = sort === by ? (direction > 0 ? "ascending" : "descending") : "none";
    const wide = !["id", "status"].includes(sort);
    return make("th", { scope: "col", "data-sort": sort, "data-key": sort, class: wide ? "number" : "", "aria-sort": order }, make("button", { type: "button" }, title));
  });
}

export function list() {
  if (state.status === null) return; // nobody has said yet which there are
  const rows = sorted().map((one) => make("tr", { class: state.shown.has(one.operatorId) ? "" : "off", "data-operator": one.operatorId, "data-key": one.operatorId },
    ...columns().map(([, , cell]) => cell(one))));
  if (!rows.length) rows.push(make("tr", {}, make("td", { colspan: 9, class: "none" }, state.search ? "No operator matches" : "No operator is stored yet")));
  update(find("#heads"), ...heads());
  update(find("#rows"), ...rows);
  const searching = state.search.trim() !== "";
  find("#show-all").textContent = searching ? "Show matches" : "All";
  find("#show-none").textContent = searching ? "Hide matches" : "None";
  count();
}

function count() {
  const known = state.operators.filter((one) => state.shown.has(one.operatorId));
  find("#shown").textContent = `${known.length} of ${state.operators.length} shown`;
  legend();
}

/** Follow the controls of the table; `changed` is called after each that changes the view. */
export function controlOperators(changed) {
  const place = () => {
    const table = find("#operators");
    if (phone.matches) find("#toolbar").before(table);
    else find("#as-table").before(table);
  };
  place();
  phone.addEventListener("change", () => {
    place();
    find("#rows").replaceChildren(); // cells that change their columns are others
    list();
  });
  find("#search").addEventListener("input", ({ target }) => {
    state.search = target.value;
    list();
    changed(false);
  });
  find("#rows").addEventListener("change", ({ target }) => {
    const id = Number(target.dataset.toggle);
    if (target.checked) state.shown.add(id);
    else state.shown.delete(id);
    target.closest("tr").classList.toggle("off", !target.checked);
    count();
    redraw();
    changed(true);
  });
  find("#heads").addEventListener("click", ({ target }) => {
    const by = target.closest("button")?.parentElement.dataset.sort;
    if (!by) return;
    const falling = !["id", "status", "tax"].includes(by);
    state.sort = by === state.sort.by ? { by, direction: -state.sort.direction } : { by, direction: falling ? -1 : 1 };
    list();
    changed(true);
  });
  const press = (id, act) => find(id).addEventListener("click", () => {
    act();
    list();
    redraw();
    changed(true);
  });
  press("#show-all", () => { for (const one of state.operators.filter(matches)) state.shown.add(one.operatorId); });
  press("#show-none", () => { for (const one of state.operators.filter(matches)) state.shown.delete(one.operatorId); });
  press("#show-top", () => choose(largest()));
}
