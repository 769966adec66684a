// The charts, and which epochs of them are in view.

import { Chart, Linked, Overview } from "./charts.js";
import { all, find, make, update } from "./elements.js";
import { compare, grouped } from "./numbers.js";
import { lines, TITLES, within } from "./series.js";
import { data, ids, named, operator, state, swatch, weight } from "./state.js";

export const shared = new Linked();
/** The charts by what they show, once the library that draws them has come. */
export const charts = {};
let overview = null;

const LEGEND = 8;

/** Called after the charts were drawn. */
let after = () => {};

/** Make the charts, those at the top first; what is known by then is drawn in each at once. */
export async function show(then) {
  after = then;
  shared.heard = redraw;
  overview = new Overview(find("#chart-overview"), shared);
  overview.paint();
  for (const kind of Object.keys(TITLES)) {
    const chart = new Chart(find(`#chart-${kind}`), shared);
    chart.paint();
    await chart.show();
    charts[kind] = chart;
    watch(chart, kind);
    redraw();
    if (kind === "stake") {
      await overview.show();
      outline();
    }
    await new Promise((done) => { requestAnimationFrame(() => setTimeout(done)); });
  }
}

/** Indexes of the first and last epoch in view. */
export const bounds = () => within(data(), shared.start, shared.end);

let pending = 0;
let turn = 0;

/** Charts that are on the screen, or soon will be; the others are drawn when they come there. */
const visible = new Set();
const stale = new Set();

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const { kind } = target.dataset;
    if (!isIntersecting) visible.delete(kind);
    else {
      visible.add(kind);
      if (stale.has(kind)) redraw();
    }
  }
}, { rootMargin: "200px" });

function watch(chart, kind) {
  chart.element.dataset.kind = kind;
  stale.add(kind);
  seen.observe(chart.element);
}

/** Draw what is in view: one chart per frame, so that the page answers in between. */
export function redraw() {
  turn = 0;
  if (!pending && charts.stake && data()?.length) pending = requestAnimationFrame(draw);
}

function draw() {
  pending = 0;
  const kinds = Object.keys(charts);
  while (turn < kinds.length) {
    const kind = kinds[turn++];
    stale.add(kind);
    if (!visible.has(kind)) continue;
    stale.delete(kind);
    drawn(kind);
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

const heights = {};

/** What is drawn for an operator at the epoch with this index, NaN where nothing is. */
export const height = (kind, id, index) => heights[kind]?.(id, index) ?? NaN;

function drawn(kind) {
  const chart = charts[kind];
  const found = lines(kind, shared.start, shared.end, chart.parts(ids().length));
  heights[kind] = found.height;
  find(`#card-${kind} .unit`).textContent = found.unit;
  const seen = (epoch) => epoch >= shared.start && epoch <= shared.end;
  const { epochs, times } = data();
  chart.draw(found, (state.status?.incomplete ?? []).filter(seen).slice(0, 400), { epochs, times, local: state.time === "local" });
}

/** Draw again what does not change with the view. */
export function outline() {
  if (overview && data()?.length) overview.draw(data().epochs, data().totals);
}

export function paint() {
  for (const chart of [...Object.values(charts), overview]) chart?.paint();
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
  if (!data()) return;
  const known = ids().map((id) => operator(id) ?? { operatorId: id, isActive: false });
  const largest = known.sort((a, b) => compare(weight(a), weight(b), -1) || a.operatorId - b.operatorId);
  const chips = largest.slice(0, LEGEND).map(({ operatorId: id }) => make("a", { class: "chip", href: `#/operator/${id}`, "data-key": id }, swatch(id), named(id)));
  const more = largest.length - LEGEND;
  if (more > 0) chips.push(make("span", { class: "none", "data-key": "more" }, `and ${more} more in the table below`));
  if (!chips.length) chips.push(make("span", { class: "none" }, "No operator is chosen in the table below"));
  update(find("#legend"), ...chips);
}
