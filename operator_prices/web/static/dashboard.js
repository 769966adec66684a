// The dashboard: it loads, keeps itself up to date, and shows what the address names.

import { all, find, link, make, say, update } from "./elements.js";
import { askFreshness, connection, freshness, latest, notices } from "./glance.js";
import { Errands, listen as listenLive } from "./live.js";
import { amount, grouped, moment, nothing, unknown } from "./numbers.js";
import { chooseFirst, controlOperators, list } from "./operators.js";
import { epochPage, more, operatorFacts, operatorPage } from "./pages.js";
import { alone, ask, dark, data, detail, json, stale, state } from "./state.js";
import { forget, fullScreen, listen as listenChart } from "./tips.js";
import { asChosen, brushed, charts, legend, look, outline, paint, redraw, reset, shared, shift, show, zoom } from "./view.js";

/** How often to ask whether stored epochs were repaired, or more of them are in quarantine. */
const POLL = 60_000;

/** How often to ask whether the source is still there. */
const FRESHEN = 15_000;

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

// ---- pages

/** What had the focus when a page was opened, and what the charts showed. */
let opener = null;
let left = null;

function open(epoch) {
  if (document.fullscreenElement) document.exitFullscreen();
  const wanted = `#/epoch/${epoch}`;
  if (location.hash === wanted) route(true);
  else location.hash = wanted;
}

/** An operator's page has charts of its own history; the view of the others is kept until it closes. */
function scene(id, points) {
  const entered = state.only !== id;
  if (state.only === null && id !== null && state.drawn?.length) left = { start: shared.start, end: shared.end, chosen: asChosen() };
  const chosen = !entered && data()?.length && asChosen();
  state.only = id;
  state.own = id === null || !points?.length ? null : alone(id, points);
  if (!data()?.length) return;
  const { epochs, length } = data();
  if (id === null && left) {
    if (left.chosen) reset();
    else look(left.start, left.end);
    left = null;
  } else if (state.own && entered) {
    if (state.operators.some((one) => one.operatorId === id && one.isActive)) reset();
    else look(epochs[0] - 0.5, epochs[length - 1] + 0.5);
  } else if (chosen) reset();
  outline();
  legend();
  redraw();
}

async function content(kind, id) {
  if (id === null) return [make("h1", { tabindex: "-1" }, "There is no such page"), make("p", {}, link("Overview", "#/"))];
  if (kind === "epoch") {
    const parts = await epochPage(id);
    return () => {
      scene(null);
      return parts;
    };
  }
  const told = await operatorFacts(id);
  return () => {
    scene(id, told.points);
    return operatorPage(id, told);
  };
}

/** Show what the address names; after `moved` the focus follows, otherwise it is the same page brought up to date. */
async function route(moved = false) {
  const wanted = location.hash;
  if (wanted && !wanted.startsWith("#/")) return;
  const [, kind, text] = wanted.split("/");
  const page = find("#page");
  const id = /^\d{1,10}$/.test(text ?? "") ? Number(text) : null;
  const paged = kind === "operator" || kind === "epoch";
  const name = `${kind === "epoch" ? "Epoch" : "Operator"} ${id}`;
  if (paged && page.hidden) opener = document.activeElement.closest("a, button, input, [tabindex]");
  let parts = [];
  if (paged) {
    try {
      parts = await content(kind, id);
    } catch (error) {
      if (!moved && page.dataset.of === wanted && !error.refused) throw error; // what is shown stays, until it can be renewed
      parts = [make("p", { class: "crumbs" }, link("Overview", "#/")), make("h1", { tabindex: "-1" }, name), make("p", { class: "notice" }, error.message)];
      if (kind === "operator") scene(null);
    }
    if (wanted !== location.hash) return;
  } else if (state.only !== null || left) scene(null);
  const same = page.dataset.of === wanted;
  find("#cards").hidden = paged;
  find("#operators").hidden = kind === "operator";
  page.hidden = !paged;
  document.title = paged && id !== null ? `${name} · Operator prices` : "Operator prices";
  parts = (typeof parts === "function" ? parts() : parts).filter((part) => part !== null);
  if (same) update(page, ...parts);
  else page.replaceChildren(...parts);
  page.dataset.of = wanted;
  cues();
  if (!moved) return;
  forget();
  if (paged) {
    page.scrollIntoView({ block: "start" });
    page.querySelector("h1").focus({ preventScroll: true });
  } else {
    const back = opener?.isConnected && opener.getClientRects().length ? opener : find("#title");
    back.focus();
  }
  say(document.title);
}

// ---- loading, and what arrives live

async function carryOut({ load, renew, follow, epochs: arrived }) {
  const started = !state.drawn?.length;
  if (load) document.body.dataset.loading = "true";
  try {
    const before = { chosen: started || load || (state.own ? false : asChosen()), last: started ? -1 : state.drawn.epochs[state.drawn.length - 1], range: state.range };
    const [status, operators] = await Promise.all([json("api/status"), json("api/operators")]);
    const drawn = await ask({ ...question(started || load, renew, arrived), incomplete: status.incomplete });
    stale();
    take(status, operators, follow);
    state.drawn = drawn;
    document.body.dataset.epochs = String(drawn.length);
    await Promise.all([latest(), route(), askFreshness()]);
    moved(before, load && before.range === state.range);
    told(before, arrived, follow);
  } finally {
    if (!errands.due?.load) delete document.body.dataset.loading;
  }
  redraw();
}

/** Which epochs to ask for; with `renew`, from which on those that are not among them are gone. */
function question(all, renew, arrived) {
  if (all) return { url: `api/epochs?limit=${state.range}`, renew: null };
  const { epochs, length } = state.drawn;
  const [first, last] = [epochs[0], epochs[length - 1]];
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
  if (!had.size) chooseFirst();
  else if (everyone) for (const one of operators) state.shown.add(one.operatorId);
  freshness();
  notices();
  list();
}

/** Move the view with what came: the chosen range stays the chosen range, and the end stays in view. */
function moved(before, load) {
  if (!data()?.length) return;
  outline();
  if (load || before.chosen) {
    if (!state.own || load) reset();
    if (left) left.chosen = true;
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
}

const errands = new Errands(carryOut, trouble);

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

// ---- the theme, the controls

function theme(name) {
  document.documentElement.dataset.theme = name;
  const other = name === "dark" ? "light" : "dark";
  find("#theme").textContent = other === "dark" ? "Dark" : "Light";
  find("#theme").setAttribute("aria-label", `Switch to the ${other} theme`);
}

const system = matchMedia("(prefers-color-scheme: dark)");
theme(localStorage.getItem("theme") ?? (system.matches ? "dark" : "light"));

/** Print everything again, in another unit or another colour. */
function again() {
  redraw();
  list();
  if (state.status) Promise.all([latest(), route(), tabulate()]).catch((error) => say(error.message));
}

/** A table that is wider than its place says so by fading out at the side. */
function cues() {
  for (const one of all(".scroll")) one.classList.toggle("wider", one.scrollWidth - one.clientWidth - one.scrollLeft > 4);
}

function controls() {
  system.addEventListener("change", ({ matches }) => {
    if (localStorage.getItem("theme") !== null) return;
    theme(matches ? "dark" : "light");
    paint();
    again();
  });
  find("#theme").addEventListener("click", () => {
    theme(dark() ? "light" : "dark");
    localStorage.setItem("theme", document.documentElement.dataset.theme);
    paint();
    again();
  });
  for (const input of all('input[name="range"]')) {
    input.addEventListener("change", () => {
      state.range = input.value;
      errands.add({ load: true });
    });
  }
  for (const name of ["unit", "price"]) {
    for (const input of all(`input[name="${name}"]`)) {
      input.addEventListener("change", () => {
        state[name] = input.value;
        again();
      });
    }
  }
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
  find("#as-table").addEventListener("toggle", tabulate);
  addEventListener("hashchange", () => route(true));
  addEventListener("resize", () => {
    redraw();
    cues();
  });
  document.addEventListener("scroll", cues, { capture: true, passive: true });
  document.addEventListener("visibilitychange", () => {
    freshen();
    poll();
  });
}

async function begin() {
  for (const [kind, chart] of Object.entries(charts)) listenChart(kind, chart, open);
  controls();
  controlOperators();
  brushed();
  fullScreen(redraw);
  await show(tabulate);
  errands.add({ load: true });
  freshen();
  listenLive(connected, (epoch) => errands.add({ epochs: [epoch] }));
  setInterval(freshen, FRESHEN);
  setInterval(poll, POLL);
}

begin().catch((error) => {
  find("#trouble").hidden = false;
  find("#trouble").textContent = `The page could not be drawn: ${error.message}`;
});
