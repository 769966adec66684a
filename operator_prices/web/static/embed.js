// One chart by itself, for the pages of other sites: what its address names, drawn anew when an epoch arrives.

import { read } from "./address.js";
import { find } from "./elements.js";
import { listen } from "./live.js";
import { ago, grouped } from "./numbers.js";
import { picture } from "./picture.js";
import { lines, TITLES, within } from "./series.js";
import { ask, ids, json, named, state, tint } from "./state.js";

/** The legend has this many operators at most, the largest. */
const LARGEST = 8;
const AGAIN = 10_000;

const kind = new URLSearchParams(location.search).get("chart") ?? "price";

/** Which epochs to ask for: those that the address names, or the newest. */
function epochs() {
  if (state.epochs) return `from=${state.epochs[0]}&to=${state.epochs[1]}`;
  return state.range === "all" ? "" : `limit=${state.range}`;
}

function choose() {
  const stake = (one) => (one.isActive ? BigInt(one.activeStake ?? 0) : -1n);
  const largest = [...state.operators].sort((a, b) => (stake(a) < stake(b) ? 1 : -1)).slice(0, LARGEST);
  const chosen = { all: state.operators, none: [] }[state.wanted] ?? (state.wanted ? state.operators.filter((one) => state.wanted.includes(one.operatorId)) : largest);
  state.shown = new Set(chosen.map((one) => one.operatorId));
}

async function load() {
  const [operators, fresh] = await Promise.all([json("api/operators"), json("api/freshness")]);
  state.operators = operators;
  choose();
  state.drawn = await ask({ url: `api/epochs?${epochs()}`, renew: 0, incomplete: [] });
  const late = ["late", "stopped"].includes(fresh.state) ? `${fresh.sentence} · ` : "";
  find("#fresh").textContent = fresh.lastEpoch === null ? "" : `${late}epoch ${grouped(fresh.lastEpoch)} ended ${ago(fresh.lastTimestamp, fresh.ageMilliseconds)}`;
  draw();
}

function draw() {
  if (!state.drawn?.length) return;
  const { epochs: known, times, length } = state.drawn;
  const place = find("#chart");
  const { clientWidth: width, clientHeight: height } = place;
  const [start, end] = [known[0] - 0.5, known[length - 1] + 0.5];
  const [first, last] = within(state.drawn, start, end);
  const found = lines(kind, start, end, Math.max(120, width));
  const entries = found.series.ids.map((id) => ({ name: named(id), color: tint(id) }));
  if (state.mean) entries.push({ name: "network mean", color: found.means.color[0] });
  const svg = picture({ width, height, title: TITLES[kind], note: `${found.unit}; epochs ${grouped(known[first])} to ${grouped(known[last])}`, found, entries, clock: { epochs: known, times, local: state.time === "local" }, start, end });
  const drawn = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  drawn.setAttribute("role", "img");
  drawn.setAttribute("aria-label", `${TITLES[kind]} of ${ids().map(named).join(", ")}`);
  place.replaceChildren(drawn);
  place.removeAttribute("aria-busy");
}

async function renew() {
  const trouble = find("#trouble");
  try {
    await load();
    trouble.hidden = true;
  } catch (error) {
    trouble.hidden = false;
    trouble.textContent = `The chart could not be loaded: ${error.message}`;
    setTimeout(renew, AGAIN);
  }
}

read();
document.documentElement.dataset.theme = state.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
find("#whole").href = `./${location.search}`;
if (!(kind in TITLES)) {
  find("#trouble").hidden = false;
  find("#trouble").textContent = `There is no chart ${kind}: name one of ${Object.keys(TITLES).join(", ")}.`;
} else {
  addEventListener("resize", draw);
  renew();
  listen(() => {}, renew);
}
