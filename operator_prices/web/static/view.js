// The charts, and which epochs of them are in view.

import { Chart, Linked, Overview, lower, thinned } from "./charts.js";
import { all, find, make, update } from "./elements.js";
import { compare, grouped } from "./numbers.js";
import { data, ids, named, operator, state, swatch, tint, weight } from "./state.js";

export const shared = new Linked();
export const charts = {
  stake: new Chart(find("#chart-stake"), shared),
  price: new Chart(find("#chart-price"), shared),
  reward: new Chart(find("#chart-reward"), shared),
};
const overview = new Overview(find("#chart-overview"), shared);

const LEGEND = 8;

/** Called after the charts were drawn. */
let after = () => {};

export async function show(then) {
  after = then;
  shared.heard = redraw;
  for (const chart of [...Object.values(charts), overview]) {
    chart.paint();
    await chart.show();
  }
}

/** Indexes of the first and last epoch in view. */
export function bounds() {
  const { epochs } = data();
  const first = Math.max(0, lower(epochs, Math.ceil(shared.start)));
  const last = Math.min(epochs.length - 1, lower(epochs, Math.floor(shared.end) + 1) - 1);
  return [first, last];
}

let pending = 0;
let turn = 0;

/** Draw what is in view: one chart per frame, so that the page answers in between. */
export function redraw() {
  turn = 0;
  if (!pending && data()?.length) pending = requestAnimationFrame(draw);
}

function draw() {
  pending = 0;
  const kinds = Object.keys(charts);
  if (turn < kinds.length) {
    drawn(kinds[turn++]);
    pending = requestAnimationFrame(draw);
    return;
  }
  overview.follow();
  const { epochs } = data();
  const [first, last] = bounds();
  const text = last < first ? "No epoch in view" : `Epochs ${grouped(epochs[first])} to ${grouped(epochs[last])}`;
  const { dataset } = document.body;
  dataset.first = String(epochs[first] ?? "");
  dataset.last = String(epochs[last] ?? "");
  dataset.series = String(ids().length);
  find("#view").textContent = text;
  brush(text, first, last);
  if (!dataset.loading) for (const input of all('input[name="range"]')) input.checked = asChosen() && input.value === state.range;
  after();
}

/** In which unit, and by how much smaller than in AI3, the values of a chart are drawn. */
function measure(kind, most) {
  if (kind === "price") {
    return state.price === "worth"
      ? [(x) => 1 / x, "AI3 of stake behind a share"]
      : [(x) => x, "shares per AI3 of stake: perquintill / 10¹⁸"];
  }
  const which = kind === "reward" ? "" : state.only === null ? ", active" : ", with what is not active";
  if (state.unit === "ai3") return [(x) => x, `AI3${which}`];
  const power = most > 0 ? Math.max(0, 3 * Math.floor(Math.log10(most * 1e18) / 3)) : 0;
  const raised = String(power).replace(/./g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);
  const factor = 10 ** (18 - power);
  return [(x) => x * factor, power ? `10${raised} Shannons${which}` : `Shannons${which}`];
}

let shapes = {};

/** What is drawn for an operator at the epoch with this index, NaN where nothing is. */
export function height(kind, id, index) {
  const { ids: known, length } = data();
  const place = known.indexOf(id);
  return place < 0 ? NaN : shapes[kind](data()[kind][place * length + index]);
}

function drawn(kind) {
  const source = data();
  const { epochs, length } = source;
  const [first, last] = bounds();
  const chosen = ids();
  const chart = charts[kind];
  const series = { xs: [], ys: [], color: [] };
  let most = 0;
  for (const id of last < first ? [] : chosen) {
    const place = source.ids.indexOf(id);
    if (place < 0) continue;
    const [xs, ys] = thinned(epochs, source[kind], place * length, Math.max(0, first - 1), Math.min(length - 1, last + 1), chart.parts(chosen.length));
    for (const one of ys) if (one > most) most = one;
    series.xs.push(xs);
    series.ys.push(ys);
    series.color.push(tint(id));
  }
  const [shape, unit] = measure(kind, most);
  shapes[kind] = shape;
  series.ys = series.ys.map((ys) => ys.map(shape));
  find(`#card-${kind} .unit`).textContent = unit;
  const within = (epoch) => epoch >= shared.start && epoch <= shared.end;
  chart.draw(series, (state.status?.incomplete ?? []).filter(within).slice(0, 400), kind !== "price");
}

/** Draw again what does not change with the view. */
export function outline() {
  if (data()?.length) overview.draw(data().epochs, data().totals);
}

export function paint() {
  for (const chart of [...Object.values(charts), overview]) chart.paint();
  redraw();
}

// ---- what is in view

export function look(start, end) {
  const { epochs, length } = data();
  if (!length) return;
  const low = epochs[0] - 0.5;
  const high = epochs[length - 1] + 0.5;
  const width = Math.min(Math.max(end - start, 2), high - low);
  const from = Math.min(Math.max(start, low), high - width);
  shared.setv({ start: from, end: from + width });
}

function chosen() {
  const { epochs, length } = data();
  const first = state.range === "all" ? 0 : Math.max(0, length - Number(state.range));
  return [epochs[first] - 0.5, epochs[length - 1] + 0.5];
}

/** Whether the view is the chosen range. */
export function asChosen() {
  const [start, end] = chosen();
  return Math.abs(shared.start - start) < 0.25 && Math.abs(shared.end - end) < 0.25;
}

export function reset() {
  if (data()?.length) look(...chosen());
}

export function zoom(factor) {
  const middle = (shared.start + shared.end) / 2;
  const half = ((shared.end - shared.start) * factor) / 2;
  look(middle - half, middle + half);
}

export function shift(share) {
  const by = (shared.end - shared.start) * share;
  look(shared.start + by, shared.end + by);
}

// ---- the window on the whole, by keyboard

function brush(text, first, last) {
  const { epochs, length } = data();
  const slider = find("#chart-overview");
  slider.setAttribute("aria-valuemin", String(epochs[0]));
  slider.setAttribute("aria-valuemax", String(epochs[length - 1]));
  slider.setAttribute("aria-valuenow", String(epochs[Math.min(last, first)] ?? epochs[0]));
  slider.setAttribute("aria-valuetext", text);
}

export function brushed() {
  find("#chart-overview").addEventListener("keydown", (event) => {
    if (!data()?.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const { epochs, length } = data();
    const width = shared.end - shared.start;
    const step = event.shiftKey ? 1 : Math.max(1, Math.round(width / 10));
    const moves = {
      ArrowLeft: () => look(shared.start - step, shared.end - step),
      ArrowDown: () => look(shared.start - step, shared.end - step),
      ArrowRight: () => look(shared.start + step, shared.end + step),
      ArrowUp: () => look(shared.start + step, shared.end + step),
      PageDown: () => shift(-1),
      PageUp: () => shift(1),
      Home: () => look(epochs[0] - 0.5, epochs[0] - 0.5 + width),
      End: () => look(epochs[length - 1] + 0.5 - width, epochs[length - 1] + 0.5),
      "+": () => zoom(0.5),
      "-": () => zoom(2),
      0: reset,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    moves[event.key]();
  });
}

// ---- whose line is which

export function legend() {
  const known = data() ? ids().map((id) => operator(id) ?? { operatorId: id, isActive: false }) : [];
  const largest = known.sort((a, b) => compare(weight(a), weight(b), -1) || a.operatorId - b.operatorId);
  const chips = largest.slice(0, LEGEND).map(({ operatorId: id }) => make("a", { class: "chip", href: `#/operator/${id}`, "data-key": id }, swatch(id), named(id)));
  const more = largest.length - LEGEND;
  if (more > 0) chips.push(make("span", { class: "none", "data-key": "more" }, `and ${more} more in the table below`));
  if (!chips.length) chips.push(make("span", { class: "none" }, "No operator is chosen in the table below"));
  update(find("#legend"), ...chips);
}
