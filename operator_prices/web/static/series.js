// The lines of a chart: what is drawn of each operator and of their mean, in which unit and on which scale.

import { css } from "./hues.js";
import { grouped } from "./numbers.js";
import { lower, thinned } from "./points.js";
import { data, ids, state, tint } from "./state.js";

export const TITLES = { stake: "Stake", price: "Share price", reward: "Rewards" };
const MEANS = { stake: "meanStake", price: "meanPrice", reward: "meanReward" };

/** Indexes of the first and last epoch from `start` to `end`. */
export function within({ epochs }, start, end) {
  const first = Math.max(0, lower(epochs, Math.ceil(start)));
  const last = Math.min(epochs.length - 1, lower(epochs, Math.floor(end) + 1) - 1);
  return [first, last];
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

/** The chosen scale over `plain`; an index is 100 at the first epoch in view where a series has a value. */
function scaled(plain, values, offset, first, last) {
  if (state.scale === "log") return (x) => (plain(x) > 0 ? Math.log10(plain(x)) : NaN);
  if (state.scale !== "index") return plain;
  for (let i = first; i <= last; i++) {
    const base = plain(values[offset + i]);
    if (Number.isFinite(base) && base !== 0) return (x) => (100 * plain(x)) / base;
  }
  return () => NaN;
}

/** The mean of all operators at the epochs of `source`: on an operator's page, of those that are loaded. */
function meanOf(kind, source) {
  if (source[MEANS[kind]]) return source[MEANS[kind]];
  const { epochs, length, [MEANS[kind]]: known } = state.drawn;
  return Float64Array.from(source.epochs, (epoch) => {
    const at = lower(epochs, epoch);
    return at < length && epochs[at] === epoch ? known[at] : NaN;
  });
}

/**
 * Everything that a chart of `kind` draws between two epochs, in `parts` parts of the width: `series` and `means` as
 * columns of lines, the `unit`, the function `height` of operator and index, and how its axis is to be labelled.
 */
export function lines(kind, start, end, parts, wanted = ids()) {
  const source = data();
  const { epochs, length } = source;
  const [first, last] = within(source, start, end);
  const [from, to] = [Math.max(0, first - 1), Math.min(length - 1, last + 1)];
  const raw = [];
  let most = 0;
  for (const id of last < first ? [] : wanted) {
    const place = source.ids.indexOf(id);
    if (place < 0) continue;
    const [xs, ys] = thinned(epochs, source[kind], place * length, from, to, parts);
    for (const one of ys) if (one > most) most = one;
    raw.push({ id, place, xs, ys });
  }
  const [plain, name] = measure(kind, most);
  const shapes = new Map(raw.map(({ id, place }) => [id, scaled(plain, source[kind], place * length, first, last)]));
  const series = { ids: raw.map(({ id }) => id), xs: raw.map(({ xs }) => xs), ys: raw.map(({ id, ys }) => ys.map(shapes.get(id))), color: raw.map(({ id }) => tint(id)) };
  return {
    series,
    means: state.mean && raw.length ? mean(kind, source, plain, [first, last, from, to], parts) : { xs: [], ys: [], color: [] },
    unit: state.scale === "index" ? `index, 100 at epoch ${grouped(epochs[first] ?? 0)}` : state.scale === "log" ? `${name}, logarithmic` : name,
    logarithmic: state.scale === "log",
    short: kind !== "price",
    height: (id, index) => {
      const place = source.ids.indexOf(id);
      return place < 0 || !shapes.has(id) ? NaN : shapes.get(id)(source[kind][place * length + index]);
    },
  };
}

function mean(kind, source, plain, [first, last, from, to], parts) {
  const values = meanOf(kind, source);
  const shape = scaled(plain, values, 0, first, last);
  const [xs, ys] = thinned(source.epochs, values, 0, from, to, parts);
  return { xs: [xs], ys: [ys.map(shape)], color: [css("--text")] };
}
