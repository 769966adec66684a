// What is chosen and what is known; whatever is asked of the server passes here.

import { make } from "./elements.js";
import { color } from "./hues.js";

export const state = {
  range: "200",
  epochs: null,
  unit: "ai3",
  price: "worth",
  scale: "linear",
  layout: "together",
  measure: "price",
  mean: false,
  time: "utc",
  theme: null,
  wanted: null,
  shown: new Set(),
  sort: { by: "stake", direction: -1 },
  search: "",
  operators: [],
  status: null,
  version: null,
  drawn: null,
  only: null,
  own: null,
  cursor: null,
};

const worker = new Worker(new URL("history.js", import.meta.url));
const waiting = new Map();
let jobs = 0;

worker.onmessage = ({ data: { job, error, drawn, exact } }) => {
  const { resolve, reject } = waiting.get(job);
  waiting.delete(job);
  if (error) reject(new Error(error));
  else resolve(drawn ?? exact);
};

const absolute = (url) => url && new URL(url, location.href).href;

/** Put a question to the worker that keeps the history; a relative address is one of this page. */
export function ask(question) {
  const job = ++jobs;
  return new Promise((resolve, reject) => {
    waiting.set(job, { resolve, reject });
    worker.postMessage({ job, ...question, url: absolute(question.url) });
  });
}

/** Have the worker fetch what it will be asked for next. */
export const askAhead = (url) => worker.postMessage({ url: absolute(url), ahead: true });

export async function json(url) {
  const answer = await fetch(url, { cache: "no-cache" });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const sentence = said.detail ?? `the server answers ${answer.status} ${answer.statusText}`;
    throw Object.assign(new Error(sentence), { refused: answer.status < 500 });
  }
  return said;
}

const details = new Map();

/** Everything about one epoch, exactly; the last few hundred asked for are kept. */
export function detail(epoch) {
  if (!details.has(epoch)) {
    const asked = json(`api/epochs/${epoch}`);
    asked.catch(() => details.delete(epoch));
    details.set(epoch, asked);
    if (details.size > 400) details.delete(details.keys().next().value);
  }
  return details.get(epoch);
}

export const stale = () => details.clear();

export const dark = () => document.documentElement.dataset.theme === "dark";
export const operator = (id) => state.operators.find((one) => one.operatorId === id);
export const named = (id) => operator(id)?.name || `Operator ${id}`;
export const tint = (id) => color(id, operator(id)?.color, dark());
export const swatch = (id) => make("span", { class: "swatch", style: `background:${tint(id)}`, "aria-hidden": "true" });

/** The stake that counts now, null where none does. */
export const weight = (one) => (one.isActive && one.activeStake !== null ? BigInt(one.activeStake) : null);

/** The series that the charts draw from: everyone's, or on an operator's page its own. */
export const data = () => state.own ?? state.drawn;

/** The operators whose lines are drawn. */
export const ids = () => (state.only === null ? data().ids.filter((id) => state.shown.has(id)) : [state.only]);

/** The series of one operator from its points, as the API tells them. */
export function alone(id, points) {
  const column = (name) => Float64Array.from(points, (point) => (point[name] === null ? NaN : Number(point[name]) / 1e18));
  const stake = column("stake");
  const epochs = Float64Array.from(points, (point) => point.epoch);
  const times = Float64Array.from(points, (point) => point.timestamp ?? NaN);
  return { ids: [id], length: points.length, epochs, times, totals: stake, stake, reward: column("reward"), price: column("sharePricePerq") };
}
