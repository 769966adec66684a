// Pointing at charts: tooltips by mouse, by finger and by keyboard.

import { find, make, say } from "./elements.js";
import { compare, exact, grouped, moment, scaled, unknown } from "./numbers.js";
import { lower } from "./points.js";
import { TITLES } from "./series.js";
import { data, detail, ids, named, state, swatch, tint } from "./state.js";
import { bounds, charts, height, look, reset, shared, zoom } from "./view.js";

const tip = find("#tip");
const LINES = 12;

/** How near to the first tap, in pixels, a second one is meant for the same epoch. */
const FINGER = 32;

let asked = 0;
let tapped = null;

/** What a chart says of an epoch, by operator. */
function amounts(kind, told) {
  if (kind === "reward") return told.rewards;
  if (kind === "price") return state.price === "worth" ? told.stakePerShare : told.sharePricesPerq;
  return state.only === null ? told.operatorActiveStakes : told.operatorStakes;
}

function print(kind, text) {
  if (kind !== "price") return exact(text, state.unit);
  return state.price === "worth" ? scaled(text).join(".") : grouped(text);
}

async function inspect(kind, epoch, place) {
  state.cursor = epoch;
  for (const chart of Object.values(charts)) {
    chart.point(epoch);
    chart.single(epoch, null);
  }
  const near = place.level === undefined ? null : nearestLine(kind, epoch, place.level);
  if (near !== null) charts[kind].single(epoch, height(kind, near, lower(data().epochs, epoch)), tint(near));
  const turn = ++asked;
  let told;
  try {
    told = await detail(epoch);
  } catch (error) {
    if (turn === asked) say(error.message);
    return;
  }
  if (turn !== asked) return;
  const values = amounts(kind, told) ?? {};
  const lines = ids()
    .filter((id) => !unknown(values[id]))
    .map((id) => [id, BigInt(values[id])])
    .sort((a, b) => compare(a[1], b[1], -1));
  const shown = lines.filter(([id], index) => index < LINES || id === near);
  const rows = shown.map(([id, text]) => {
    const source = kind === "price" && told.priceSources?.[id] === "derived" ? make("span", { class: "none" }, " derived") : null;
    return make("tr", { class: id === near ? "near" : "" },
      make("td", {}, swatch(id), ` ${named(id)}`, id === near && lines.length > 1 ? make("span", { class: "hidden" }, " (nearest)") : null),
      make("td", { class: "number" }, print(kind, text), source));
  });
  const more = lines.length - shown.length;
  const doubt = told.complete === false ? ", incomplete: part of this epoch is in quarantine" : "";
  const parts = [
    make("h3", {}, `Epoch ${grouped(epoch)} · ${moment(told.timestamp)} UTC`),
    make("p", { class: "none" }, `${TITLES[kind]}${doubt}`),
    rows.length ? make("table", {}, make("tbody", {}, ...rows)) : make("p", { class: "none" }, "Unknown, or no value, of every shown operator"),
    more > 0 ? make("p", { class: "none" }, `and ${more} more`) : null,
    place.hint ? make("p", { class: "none" }, place.hint) : null,
  ];
  tip.replaceChildren(...parts.filter((part) => part !== null));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const beside = (at, size, room) => Math.max(6, at + 16 + size + 6 <= room ? at + 16 : Math.min(at - 16 - size, room - size - 6));
  tip.style.left = `${beside(place.x, box.width, innerWidth)}px`;
  tip.style.top = `${beside(place.y, box.height, innerHeight)}px`;
  if (place.spoken) {
    const few = lines.slice(0, 5).map(([id, text]) => `${named(id)} ${print(kind, text)}`).join(", ");
    say(`Epoch ${epoch}. ${TITLES[kind]}${doubt}: ${few || "no value"}${lines.length > 5 ? `, and ${lines.length - 5} more` : ""}`);
  }
}

/** The operator whose line is nearest to `level`, in pixels from the top of the chart. */
function nearestLine(kind, epoch, level) {
  const index = lower(data().epochs, epoch);
  let best = null;
  let distance = Infinity;
  for (const id of ids()) {
    const away = Math.abs(charts[kind].height(height(kind, id, index)) - level);
    if (away < distance) [best, distance] = [id, away];
  }
  return best;
}

export function forget() {
  asked++;
  tapped = null;
  tip.hidden = true;
  for (const chart of Object.values(charts)) chart.unpoint();
}

function nearest(x) {
  const { epochs, length } = data();
  const at = lower(epochs, x);
  const before = epochs[Math.max(0, at - 1)];
  const after = epochs[Math.min(length - 1, at)];
  return x - before < after - x ? before : after;
}

/** Follow the pointer and the keys on a chart; `open` shows an epoch. */
export function listen(kind, chart, open) {
  const { element } = chart;
  const point = (event, hint) => {
    const x = data()?.length ? chart.at(event.clientX) : null;
    if (x === null) {
      forget();
      return null;
    }
    const epoch = nearest(x);
    inspect(kind, epoch, { x: event.clientX, y: event.clientY, level: event.clientY - element.getBoundingClientRect().top, hint });
    return epoch;
  };
  let frame = 0;
  element.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch" || event.buttons || frame) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      point(event);
    });
  });
  element.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "touch") return; // a finger leaves at once; its tip stays
    cancelAnimationFrame(frame);
    frame = 0;
    forget();
  });
  element.addEventListener("blur", forget);
  let pressed = 0;
  element.addEventListener("pointerdown", (event) => { pressed = event.clientX; });
  element.addEventListener("click", (event) => {
    if (Math.abs(event.clientX - pressed) > 4 || !data()?.length) return;
    if (event.pointerType !== "touch") {
      const x = chart.at(event.clientX);
      if (x !== null && event.detail < 2) open(nearest(x));
      return;
    }
    const again = tapped?.kind === kind && Math.hypot(event.clientX - tapped.x, event.clientY - tapped.y) < FINGER;
    if (again) open(tapped.epoch);
    else {
      const epoch = point(event, "Tap again to open this epoch");
      tapped = epoch === null ? null : { kind, epoch, x: event.clientX, y: event.clientY };
    }
  });
  element.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const x = chart.at(event.clientX);
    if (x === null) return;
    const factor = event.deltaY > 0 ? 1.25 : 0.8;
    look(x - (x - shared.start) * factor, x + (shared.end - x) * factor);
  }, { passive: false });
  element.addEventListener("keydown", (event) => {
    if (!data()?.length) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
    const { epochs } = data();
    const [first, last] = bounds();
    if (event.key in steps || event.key === "Home" || event.key === "End") {
      event.preventDefault();
      const now = state.cursor === null ? last : lower(epochs, state.cursor);
      const next = event.key === "Home" ? first : event.key === "End" ? last : Math.min(Math.max(now + steps[event.key], first), last);
      const box = element.getBoundingClientRect();
      inspect(kind, epochs[next], { x: box.left + chart.across(epochs[next]), y: box.top + 10, spoken: true });
    } else if (event.key === "Enter" && state.cursor !== null) open(state.cursor);
    else if (event.key === "+") zoom(0.5);
    else if (event.key === "-") zoom(2);
    else if (event.key === "0") reset();
    else if (event.key === "Escape") forget();
  });
}

/** A chart that fills the screen takes what belongs to it along. */
export function fullScreen(then) {
  for (const { element } of Object.values(charts)) {
    const card = element.closest(".card");
    card.querySelector(".full").addEventListener("click", async () => {
      if (document.fullscreenElement) await document.exitFullscreen();
      else await card.requestFullscreen();
    });
  }
  const legend = find("#legend");
  const home = legend.nextElementSibling;
  document.addEventListener("fullscreenchange", () => {
    const card = document.fullscreenElement;
    forget();
    (card ?? document.body).append(tip);
    if (card) card.querySelector("header").after(legend);
    else home.before(legend);
    for (const button of document.querySelectorAll(".full")) button.textContent = button.closest(".card") === card ? "Leave full screen" : "Full screen";
    setTimeout(then, 120);
  });
}
