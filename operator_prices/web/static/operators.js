// The table of operators: sorted, searched, and where lines are chosen.

import { all, badge, earned, find, link, make, update } from "./elements.js";
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

/** Choose the operators that are shown when the page opens. */
export function chooseFirst() {
  choose(state.operators.length > MANY ? largest() : state.operators);
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

export function list() {
  const rows = sorted().map((one) => {
    const id = one.operatorId;
    const box = make("input", { type: "checkbox", "aria-label": `Show ${named(id)}`, "data-toggle": id });
    box.checked = state.shown.has(id);
    return make("tr", { class: box.checked ? "" : "off", "data-operator": id, "data-key": id },
      make("td", { class: "pick" }, box),
      make("th", { scope: "row" }, swatch(id), link(named(id), `#/operator/${id}`)),
      make("td", {}, badge(one.status)),
      make("td", { class: "number", title: exact(one.isActive ? one.activeStake : one.stake, "shannons") }, stake(one)),
      make("td", { class: "number" }, earned(one.returns["1d"])),
      make("td", { class: "number" }, earned(one.returns["7d"])),
      make("td", { class: "number" }, earned(one.returns["30d"])),
      make("td", { class: "number" }, annualized(one)),
      make("td", { class: "number" }, unknown(one.nominationTax) ? nothing("unknown") : `${one.nominationTax} %`));
  });
  if (!rows.length) rows.push(make("tr", {}, make("td", { colspan: 9, class: "none" }, state.search ? "No operator matches" : "No operator is stored yet")));
  update(find("#rows"), ...rows);
  for (const head of all("th[data-sort]")) {
    const order = head.dataset.sort === state.sort.by ? (state.sort.direction > 0 ? "ascending" : "descending") : "none";
    head.setAttribute("aria-sort", order);
  }
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

export function controlOperators() {
  find("#search").addEventListener("input", ({ target }) => {
    state.search = target.value;
    list();
  });
  find("#rows").addEventListener("change", ({ target }) => {
    const id = Number(target.dataset.toggle);
    if (target.checked) state.shown.add(id);
    else state.shown.delete(id);
    target.closest("tr").classList.toggle("off", !target.checked);
    count();
    redraw();
  });
  for (const head of all("th[data-sort] button")) {
    head.addEventListener("click", () => {
      const by = head.parentElement.dataset.sort;
      const falling = !["id", "status", "tax"].includes(by);
      state.sort = by === state.sort.by ? { by, direction: -state.sort.direction } : { by, direction: falling ? -1 : 1 };
      list();
    });
  }
  const changed = () => {
    list();
    redraw();
  };
  find("#show-all").addEventListener("click", () => {
    for (const one of state.operators.filter(matches)) state.shown.add(one.operatorId);
    changed();
  });
  find("#show-none").addEventListener("click", () => {
    for (const one of state.operators.filter(matches)) state.shown.delete(one.operatorId);
    changed();
  });
  find("#show-top").addEventListener("click", () => {
    choose(largest());
    changed();
  });
}
