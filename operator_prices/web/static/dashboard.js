// The dashboard: it loads, keeps itself up to date, and shows what the address names.

import { keep, moved as elsewhere, read } from "./address.js";
import { all, cues, find, link, make, say, update } from "./elements.js";
import { askFreshness, connection, freshness, latest, notices } from "./glance.js";
import { Errands, listen as listenLive } from "./live.js";
import { came, failed } from "./loading.js";
import { multiples } from "./multiples.js";
import { controlNominators } from "./nominators.js";
import { amount, grouped, moment, nothing, unknown } from "./numbers.js";
import { chooseWanted, controlOperators, list, usual } from "./operators.js";
import { more } from "./pages.js";
import { follow, open, route } from "./router.js";
import { saving } from "./save.js";
import { ask, askAhead, dark, data, json, stale, state } from "./state.js";
import { fullScreen, listen as listenChart } from "./tips.js";
import { asChosen, brushed, charts, look, outline, paint, redraw, reset, shared, shift, show, zoom } from "./view.js";

/** How often to ask whether stored epochs were repaired, or more of them are in quarantine. */
const POLL = 60_000;

/** How often to ask whether the source is still there. */
const FRESHEN = 15_000;

/** How long a page keeps its pictures while its width changes. */
const RESIZED = 200;
let resized = 0;

/** The most rows of the charts as a table. */
const ROWS = 200;

async function tabulate() {
  if (!find("#as-table").open || !state.drawn?.length) return;
  const { epochs } = state.drawn;
  const within = (epoch) => epoch >= shared.start && epoch <= shared.end;
  const first = epochs.findIndex(within);
  const last = first < 0 ? -1 : epochs.findLastIndex(within);
  const count = first < 0 ? 0 : last - first + 1;
  const rows = count ? await ask({ start: Math.max(first, last - ROWS + 1), end: last + 1 }) : [];
  find("#cut").textContent = count > ROWS ? `The last ${ROWS} of the ${grouped(count)} epochs in view; zoom in to reach the others.` : `All ${grouped(count)} epochs in view.`;
  update(find("#epochs"), ...rows.reverse().map((row) => make("tr", { "data-key": row.epoch },
    make("th", { scope: "row" }, link(grouped(row.epoch), `#/epoch/${row.epoch}`)),
    make("td", {}, moment(row.timestamp)),
    make("td", { class: "number" }, amount(row.totalStake, state.unit)),
    make("td", { class: "number" }, amount(row.rewards, state.unit)),
    make("td", { class: "number" }, unknown(row.operators) ? nothing("unknown") : grouped(row.operators)))));
  cues();
}

// ---- loading, and what arrives live

async function carryOut({ load, renew, follow: newer, epochs: arrived }) {
  const started = !state.drawn?.length;
  if (load) document.body.dataset.loading = "true";
  try {
    const before = { chosen: started || load || (state.own ? false : asChosen()), last: started ? -1 : state.drawn.epochs[state.drawn.length - 1], range: state.range };
    const asked = question(started || load, renew, arrived);
    if (started) askAhead(asked.url); // before it is known what is incomplete
    const [status, operators] = await Promise.all([json("api/status"), json("api/operators")]);
    const drawn = await ask({ ...asked, incomplete: status.incomplete });
    stale();
    state.drawn = drawn;
    take(status, operators, newer);
    came("#legend", "#operators", "#charts");
    document.body.dataset.epochs = String(drawn.length);
    moved(before, load && before.range === state.range);
    redraw();
    await Promise.all([latest().then(() => came("#cards")), route(), askFreshness()]);
    told(before, arrived, newer);
  } finally {
    if (!errands.due?.load) delete document.body.dataset.loading;
  }
  redraw();
}

/** Which epochs to ask for; with `renew`, from which on those that are not among them are gone. */
function question(all, renew, arrived) {
  if (!state.drawn?.length) return { url: `api/epochs?limit=${state.range}`, renew: null };
  const { epochs, length } = state.drawn;
  const [first, last] = [epochs[0], epochs[length - 1]];
  if (all && state.range === "all" && !renew) return { url: `api/epochs?to=${first - 1}` };
  if (all && length < Number(state.range)) return { url: `api/epochs?limit=${state.range}`, renew: null };
  if (renew) return { url: `api/epochs?from=${first}`, renew: first };
  const wanted = state.range === "all" || length < Number(state.range) ? arrived : arrived.filter((epoch) => epoch >= first);
  const from = Math.min(last + 1, ...wanted);
  const to = Math.max(from, ...wanted);
  return { url: wanted.length ? `api/epochs?from=${from}&to=${to}` : `api/epochs?from=${last + 1}` };
}

function take(status, operators, follow) {
  const had = new Set(state.operators.map((one) => one.operatorId));
  const everyone = had.size > 0 && [...had].every((id) => state.shown.has(id));
  state.operators = operators;
  state.status = status;
  if (!follow || state.version === null) state.version = status.version; // what else changed meanwhile, the next poll finds
  if (!had.size) chooseWanted();
  else if (everyone) for (const one of operators) state.shown.add(one.operatorId);
  freshness();
  notices();
  list();
}

/** Move the view with what came: the chosen range stays the chosen range, and the end stays in view. */
function moved(before, load) {
  if (!data()?.length) return;
  outline();
  if (before.last < 0 && state.epochs && state.only === null) {
    aim();
    return;
  }
  if (load || before.chosen) {
    if (!state.own || load) reset();
    follow();
    return;
  }
  const last = state.drawn.epochs[state.drawn.length - 1];
  const width = shared.end - shared.start;
  if (!state.own && last > before.last && shared.end >= before.last) look(last + 0.5 - Math.max(width, 2), last + 0.5);
}

function told(before, arrived, follow) {
  const { lastEpoch, lastTimestamp } = state.status;
  if (before.last < 0 || lastEpoch === null || (!arrived.length && !(follow && lastEpoch > before.last))) return;
  const count = new Set(arrived).size;
  const ended = `ended ${moment(lastTimestamp)} UTC`;
  say(count > 1 ? `${count} epochs have arrived, the latest is ${lastEpoch}, ${ended}` : `Epoch ${arrived[0] ?? lastEpoch} has arrived, ${ended}`);
}

function trouble(error, pause) {
  const notice = find("#trouble");
  notice.hidden = error === null;
  notice.textContent = error === null ? "" : `The numbers could not be loaded: ${error.message}. Trying again in ${Math.round(pause / 1000)} seconds.`;
  if (error === null) document.body.dataset.ready = "true";
  else failed();
}

const errands = new Errands(carryOut, trouble);

/** Load what the chosen range needs; what is in view until then was not chosen by anybody. */
function reload() {
  document.body.dataset.loading = "true";
  errands.add({ load: true });
}

function connected(yes) {
  connection(yes);
  if (yes) errands.add({ follow: true });
}

/** Ask again how fresh the data is; when nobody answers, what is shown says so by its age and the lost stream. */
function freshen() {
  if (!document.hidden) askFreshness().catch(freshness);
}

async function poll() {
  if (document.hidden || errands.busy) return;
  try {
    const { version } = await json("api/status");
    if (version !== state.version) errands.add({ renew: true });
  } catch {
    errands.add({ follow: true }); // fails as well, and says so until it does not
  }
}

/** Show the epochs that the address names, loading those before the chosen range where it names such. */
function aim() {
  const [first, last] = state.epochs;
  look(first - 0.5, last + 0.5);
  if (first >= data().epochs[0] || state.range === "all") return;
  state.range = "all";
  reload();
}

// ---- the theme, the controls, the address

const system = matchMedia("(prefers-color-scheme: dark)");

function theme() {
  const name = state.theme ?? localStorage.getItem("theme") ?? (system.matches ? "dark" : "light");
  if (document.documentElement.dataset.theme === name) return;
  document.documentElement.dataset.theme = name;
  const other = name === "dark" ? "light" : "dark";
  find("#theme").textContent = other === "dark" ? "Dark" : "Light";
  find("#theme").setAttribute("aria-label", `Switch to the ${other} theme`);
  if (charts.stake) paint();
}

/** Print everything again, in another unit or another colour. */
function again() {
  multiples();
  redraw();
  list();
  if (state.status) Promise.all([latest(), route(), tabulate()]).catch((error) => say(error.message));
}

/** Note the view down in the address; `step` is one to come back to. */
function note(step) {
  if (state.only === null && state.drawn?.length && !document.body.dataset.loading) {
    const { epochs } = state.drawn;
    const seen = Array.from(epochs).filter((epoch) => epoch >= shared.start && epoch <= shared.end);
    state.epochs = asChosen() || !seen.length ? null : [seen[0], seen[seen.length - 1]];
  }
  if (state.operators.length) keep(usual(), step);
}

const CHOICES = ["range", "unit", "price", "scale", "layout", "measure", "time"];

/** Bring the controls in line with the state. */
function reflect() {
  for (const name of CHOICES) for (const input of all(`input[name="${name}"]`)) input.checked = input.value === state[name];
  find("#mean").checked = state.mean;
  find("#search").value = state.search;
  theme();
}

/** Take the view of the address, when one goes back or forward to it. */
function revisit() {
  if (!elsewhere()) return;
  const { range } = state;
  read();
  reflect();
  if (state.operators.length) chooseWanted();
  if (state.range !== range && !(range === "all" && state.epochs)) reload();
  else if (data()?.length && state.only === null) {
    if (state.epochs) aim();
    else reset();
  }
  again();
}

function controls() {
  system.addEventListener("change", () => {
    theme();
    again();
  });
  find("#theme").addEventListener("click", () => {
    state.theme = dark() ? "light" : "dark";
    localStorage.setItem("theme", state.theme);
    theme();
    again();
    note(true);
  });
  for (const name of CHOICES) {
    for (const input of all(`input[name="${name}"]`)) {
      input.addEventListener("change", () => {
        state[name] = input.value;
        if (name === "range") {
          state.epochs = null;
          reload();
        } else again();
        keep(usual(), true);
      });
    }
  }
  find("#mean").addEventListener("change", ({ target }) => {
    state.mean = target.checked;
    again();
    note(true);
  });
  const press = (id, action) => find(id).addEventListener("click", () => { if (data()?.length) action(); });
  press("#zoom-in", () => zoom(0.5));
  press("#zoom-out", () => zoom(2));
  press("#earlier", () => shift(-0.5));
  press("#later", () => shift(0.5));
  press("#reset", reset);
  find(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // its address would be that of another page
    find("#main").focus();
  });
  find("#page").addEventListener("click", ({ target }) => {
    if (!target.closest("[data-more]")) return;
    more();
    route();
  });
  controlNominators(route);
  find("#as-table").addEventListener("toggle", tabulate);
  addEventListener("popstate", revisit);
  addEventListener("hashchange", () => route(true));
  addEventListener("resize", () => {
    redraw();
    cues();
    clearTimeout(resized);
    if (document.body.dataset.page === "nominators") resized = setTimeout(route, RESIZED);
  });
  document.addEventListener("scroll", cues, { capture: true, passive: true });
  document.addEventListener("visibilitychange", () => {
    freshen();
    poll();
  });
}

/** The library that draws the charts; it is asked for first and waited for last. */
const library = new Promise((done) => {
  if (globalThis.Bokeh?.Plotting) done();
  else addEventListener("DOMContentLoaded", done);
});

async function begin() {
  read();
  reflect();
  reload();
  freshen();
  controls();
  saving();
  controlOperators((step) => {
    multiples();
    note(step);
  });
  brushed();
  await library;
  await show(() => {
    tabulate();
    multiples();
    note(false);
  });
  for (const [kind, chart] of Object.entries(charts)) listenChart(kind, chart, open);
  fullScreen(redraw);
  listenLive(connected, (epoch) => errands.add({ epochs: [epoch] }));
  setInterval(freshen, FRESHEN);
  setInterval(poll, POLL);
}

begin().catch((error) => {
  find("#trouble").hidden = false;
  find("#trouble").textContent = `The page could not be drawn: ${error.message}`;
});
