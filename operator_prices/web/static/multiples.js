// A small chart for each chosen operator, where one for all would be a tangle; only those on the screen are drawn.

import { figures } from "./axes.js";
import { find, link, make } from "./elements.js";
import { compare } from "./numbers.js";
import { course } from "./picture.js";
import { extent } from "./points.js";
import { lines, TITLES } from "./series.js";
import { data, ids, named, operator, state, swatch, tint, weight } from "./state.js";
import { shared } from "./view.js";

const WIDTH = 240;
const HEIGHT = 84;
const SVG = "http://www.w3.org/2000/svg";

const visible = new Set();
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) {
      visible.add(target);
      fill(target);
    } else visible.delete(target);
  }
}, { rootMargin: "150px" });

function shape(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function fill(figure) {
  const id = Number(figure.dataset.key);
  const found = lines(state.measure, shared.start, shared.end, WIDTH, [id]);
  const { low, high } = extent([...found.series.ys, ...found.means.ys]);
  const known = low <= high;
  const span = high - low || Math.abs(high) * 1e-6 || 1;
  const across = (x) => ((x - shared.start) / (shared.end - shared.start)) * WIDTH;
  const up = (y) => HEIGHT - 4 - ((y - low) / span) * (HEIGHT - 8);
  const strokes = found.series.ys.map((ys, i) => shape("path", { d: course(found.series.xs[i], ys, across, up), stroke: tint(id), "stroke-width": 1.6 }));
  const means = found.means.ys.map((ys, i) => shape("path", { d: course(found.means.xs[i], ys, across, up), stroke: found.means.color[i], "stroke-dasharray": "5 3" }));
  figure.querySelector("svg").replaceChildren(...strokes, ...means);
  const name = (value) => figures(found.logarithmic ? 10 ** value : value);
  figure.querySelector(".range").textContent = known ? `${name(low)} – ${name(high)}` : "unknown";
  find("#multiples .unit").textContent = `${TITLES[state.measure]}, ${found.unit}`;
}

function made(id) {
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", fill: "none", role: "img", "aria-label": `${TITLES[state.measure]} of ${named(id)}` });
  return make("figure", { "data-key": id }, make("figcaption", {}, swatch(id), link(named(id), `#/operator/${id}`), make("span", { class: "range" })), svg);
}

/** Show one chart each, or all together, as the state says; an operator's page always has the large ones. */
export function multiples() {
  const each = state.layout === "each" && state.only === null;
  find("#multiples").hidden = !each;
  find("#charts").hidden = each;
  if (!each || !data()?.length) return;
  const known = ids().map((id) => operator(id) ?? { operatorId: id, isActive: false });
  const order = known.sort((a, b) => compare(weight(a), weight(b), -1) || a.operatorId - b.operatorId).map((one) => one.operatorId);
  const grid = find("#each");
  const key = `${state.measure} ${order.join(",")}`;
  if (grid.dataset.of === key) {
    for (const figure of visible) fill(figure);
    return;
  }
  grid.dataset.of = key;
  seen.disconnect();
  visible.clear();
  grid.replaceChildren(...order.map(made));
  for (const figure of grid.children) seen.observe(figure);
}
