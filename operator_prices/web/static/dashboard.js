// The dashboard: what is chosen, and what that makes of the page.

import { Chart, Linked, Overview, color, lower, thinned } from "/static/charts.js";
import { ago, amount, compare, exact, grouped, moment, nothing, percent, ratio, scaled } from "/static/numbers.js";

const find = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];

const state = {
  range: "200",
  unit: "ai3",
  price: "worth",
  shown: new Set(),
  sort: { by: "stake", direction: -1 },
  search: "",
  operators: [],
  status: null,
  drawn: null,
  only: null,
  cursor: null,
};

// ---- the history, kept by a worker

const worker = new Worker("/static/history.js");
const waiting = new Map();
let jobs = 0;

worker.onmessage = ({ data }) => {
  const { resolve, reject } = waiting.get(data.job);
  waiting.delete(data.job);
  if (data.error) reject(new Error(data.error));
  else resolve(data.drawn ?? data.exact);
};

function ask(question) {
  const job = ++jobs;
  return new Promise((resolve, reject) => {
    waiting.set(job, { resolve, reject });
    worker.postMessage({ job, ...question });
  });
}

async function json(url) {
  const answer = await fetch(url, { cache: "no-cache" });
  const said = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(said.detail ?? answer.statusText), { status: answer.status });
  return said;
}

const details = new Map();

/** Everything about one epoch, exactly; the last few hundred asked for are kept. */
function detail(epoch) {
  if (!details.has(epoch)) {
    const asked = json(`/api/epochs/${epoch}`);
    asked.catch(() => details.delete(epoch));
    details.set(epoch, asked);
    if (details.size > 400) details.delete(details.keys().next().value);
  }
  return details.get(epoch);
}

// ---- small builders: text only, never markup

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const dark = () => document.documentElement.dataset.theme === "dark";
const operator = (id) => state.operators.find((one) => one.operatorId === id);
const named = (id) => operator(id)?.name || `Operator ${id}`;
const tint = (id) => color(id, operator(id)?.color, dark());
const swatch = (id) => make("span", { class: "swatch", style: `background:${tint(id)}`, "aria-hidden": "true" });
const say = (text) => { find("#announce").textContent = text; };

function badge(status) {
  const kind = { Registered: "good", Deregistered: "", Deactivated: "", Slashed: "bad", PendingSlash: "bad", InvalidBundle: "bad" }[status] ?? "warn";
  return make("span", { class: `badge ${kind}` }, status ?? "unknown");
}

function earned(told, key = "return") {
  if (!told) return nothing("too short");
  const text = percent(told[key]);
  return make("span", { class: told[key].startsWith("-") ? "down" : "up", title: told[key] }, text);
}

// ---- the charts

const shared = new Linked();
const charts = {
  stake: new Chart(find("#chart-stake"), shared),
  price: new Chart(find("#chart-price"), shared),
  reward: new Chart(find("#chart-reward"), shared),
};
const overview = new Overview(find("#chart-overview"), shared);

function ids() {
  if (state.only !== null) return [state.only];
  return state.drawn.ids.filter((id) => state.shown.has(id));
}

function bounds() {
  const { epochs } = state.drawn;
  const first = Math.max(0, lower(epochs, Math.ceil(shared.start)));
  const last = Math.min(epochs.length - 1, lower(epochs, Math.floor(shared.end) + 1) - 1);
  return [first, last];
}

function value(kind) {
  if (kind === "price") return state.price === "worth" ? (x) => 1 / x : (x) => x;
  return state.unit === "shannons" ? (x) => x * 1e18 : (x) => x;
}

let pending = 0;
let turn = 0;

/** Draw what is in view: one chart per frame, so that the page answers in between. */
function redraw() {
  turn = 0;
  if (!pending && state.drawn?.length) pending = requestAnimationFrame(draw);
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
  const { epochs } = state.drawn;
  const [first, last] = bounds();
  document.body.dataset.first = String(epochs[first] ?? "");
  document.body.dataset.last = String(epochs[last] ?? "");
  document.body.dataset.series = String(ids().length);
  find("#view").textContent = last < first ? "No epoch in view" : `Epochs ${grouped(epochs[first])} to ${grouped(epochs[last])}`;
  if (find("#as-table").open) tabulate();
}

function drawn(kind) {
  const { epochs, length } = state.drawn;
  const [first, last] = bounds();
  const chosen = ids();
  const chart = charts[kind];
  const series = { xs: [], ys: [], color: [] };
  const shape = value(kind);
  for (const id of chosen) {
    const offset = state.drawn.ids.indexOf(id) * length;
    if (offset < 0 || last < first) continue;
    const from = Math.max(0, first - 1);
    const until = Math.min(length - 1, last + 1);
    const [xs, ys] = thinned(epochs, state.drawn[kind], offset, from, until, chart.parts(chosen.length));
    series.xs.push(xs);
    series.ys.push(ys.map(shape));
    series.color.push(tint(id));
  }
  const within = (epoch) => epoch >= shared.start && epoch <= shared.end;
  chart.draw(series, (state.status?.incomplete ?? []).filter(within).slice(0, 400));
}

function look(start, end) {
  const { epochs, length } = state.drawn;
  const low = epochs[0] - 0.5;
  const high = epochs[length - 1] + 0.5;
  const width = Math.min(Math.max(end - start, 2), high - low);
  const from = Math.min(Math.max(start, low), high - width);
  shared.setv({ start: from, end: from + width });
}

function whole() {
  const { epochs, length } = state.drawn;
  look(epochs[0] - 0.5, epochs[length - 1] + 0.5);
}

function zoom(factor) {
  const middle = (shared.start + shared.end) / 2;
  const half = ((shared.end - shared.start) * factor) / 2;
  look(middle - half, middle + half);
}

function shift(share) {
  const by = (shared.end - shared.start) * share;
  look(shared.start + by, shared.end + by);
}

function units() {
  for (const one of all('[data-unit="amount"]')) one.textContent = state.unit === "ai3" ? "AI3" : "Shannons (10^-18 AI3)";
  for (const one of all('[data-unit="price"]')) one.textContent = state.price === "worth" ? "AI3 of stake behind a share" : "shares per AI3 of stake; perquintill / 10^18";
  charts.stake.format(state.unit === "ai3" ? "short" : "plain");
  charts.reward.format(state.unit === "ai3" ? "short" : "plain");
  charts.price.format("plain");
}

function paint() {
  for (const chart of [...Object.values(charts), overview]) chart.paint();
  units();
  redraw();
}

// ---- tooltips, by mouse and by keyboard

const tip = find("#tip");
let asked = 0;

async function inspect(kind, epoch, place) {
  state.cursor = epoch;
  for (const chart of Object.values(charts)) chart.point(epoch);
  const turn = ++asked;
  let told;
  try {
    told = await detail(epoch);
  } catch (error) {
    if (turn === asked) say(error.message);
    return;
  }
  if (turn !== asked) return;
  const amounts = { stake: told.operatorActiveStakes, reward: told.rewards, price: state.price === "worth" ? told.stakePerShare : told.sharePricesPerq }[kind];
  const lines = ids()
    .filter((id) => amounts[id] !== undefined)
    .map((id) => [id, BigInt(amounts[id])])
    .sort((a, b) => compare(a[1], b[1], -1));
  const print = (text) => (kind === "price" ? (state.price === "worth" ? scaled(text).join(".") : grouped(text)) : exact(text, state.unit));
  const rows = lines.slice(0, 12).map(([id, text]) => {
    const source = kind === "price" && told.priceSources[id] === "derived" ? " derived" : "";
    return make("tr", {}, make("td", {}, swatch(id), ` ${named(id)}`), make("td", { class: "number" }, print(text), make("span", { class: "none" }, source)));
  });
  const title = { stake: "Stake", reward: "Rewards", price: "Share price" }[kind];
  tip.replaceChildren(
    make("h3", {}, `Epoch ${grouped(epoch)} · ${moment(told.timestamp)} UTC`),
    make("p", { class: "none" }, told.complete === false ? `${title}, incomplete: part of this epoch is in quarantine` : title),
    make("table", {}, make("tbody", {}, ...rows)),
    lines.length > 12 ? make("p", { class: "none" }, `and ${lines.length - 12} more; Enter or a click opens the epoch`) : null,
  );
  if (!lines.length) tip.append(make("p", { class: "none" }, "No value of a shown operator"));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(6, Math.min(place.x + 16, innerWidth - box.width - 6))}px`;
  tip.style.top = `${Math.max(6, Math.min(place.y + 16, innerHeight - box.height - 6))}px`;
  if (place.spoken) {
    say(`Epoch ${epoch}. ${title}: ${lines.slice(0, 5).map(([id, text]) => `${named(id)} ${print(text)}`).join(", ") || "no value"}`);
  }
}

function forget() {
  asked++;
  tip.hidden = true;
  for (const chart of Object.values(charts)) chart.unpoint();
}

function nearest(x) {
  const { epochs, length } = state.drawn;
  const at = lower(epochs, x);
  const before = epochs[Math.max(0, at - 1)];
  const after = epochs[Math.min(length - 1, at)];
  return x - before < after - x ? before : after;
}

function listen(kind, chart) {
  const { element } = chart;
  let frame = 0;
  element.addEventListener("pointermove", (event) => {
    if (event.buttons || frame) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      const x = state.drawn?.length ? chart.at(event.clientX) : null;
      if (x === null) forget();
      else inspect(kind, nearest(x), { x: event.clientX, y: event.clientY });
    });
  });
  element.addEventListener("pointerleave", () => {
    cancelAnimationFrame(frame);
    frame = 0;
    forget();
  });
  element.addEventListener("blur", forget);
  element.addEventListener("dblclick", whole);
  let pressed = 0;
  element.addEventListener("pointerdown", (event) => { pressed = event.clientX; });
  element.addEventListener("click", (event) => {
    if (Math.abs(event.clientX - pressed) > 4 || event.detail > 1 || !state.drawn?.length) return;
    const x = chart.at(event.clientX);
    if (x !== null) location.hash = `#/epoch/${nearest(x)}`;
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
    if (!state.drawn?.length) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
    const { epochs } = state.drawn;
    const [first, last] = bounds();
    if (event.key in steps || event.key === "Home" || event.key === "End") {
      event.preventDefault();
      const now = state.cursor === null ? last : lower(epochs, state.cursor);
      const next = event.key === "Home" ? first : event.key === "End" ? last : Math.min(Math.max(now + steps[event.key], first), last);
      const box = element.getBoundingClientRect();
      inspect(kind, epochs[next], { x: box.left + 80, y: box.top + 10, spoken: true });
    } else if (event.key === "Enter" && state.cursor !== null) location.hash = `#/epoch/${state.cursor}`;
    else if (event.key === "+") zoom(0.5);
    else if (event.key === "-") zoom(2);
    else if (event.key === "0") whole();
    else if (event.key === "Escape") forget();
  });
  const card = element.closest(".card");
  card.querySelector(".full").addEventListener("click", async () => {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await card.requestFullscreen();
  });
}

// ---- tables

function sorted() {
  const { by, direction } = state.sort;
  const key = {
    id: (one) => one.operatorId,
    status: (one) => one.status,
    stake: (one) => (one.stake === null ? null : BigInt(one.stake)),
    tax: (one) => one.nominationTax,
    annualized: (one) => ratioOf(longest(one)?.annualized),
  }[by] ?? ((one) => ratioOf(one.returns[by]?.return));
  const words = state.search.trim().toLowerCase();
  const matching = (one) => [`operator ${one.operatorId}`, one.name, one.owner, one.status].some((text) => text?.toLowerCase().includes(words));
  return state.operators
    .filter((one) => !words || matching(one))
    .sort((a, b) => compare(key(a), key(b), direction) || a.operatorId - b.operatorId);
}

/** A decimal text as an integer of its 18 digits, to be compared exactly. */
function ratioOf(text) {
  return text === undefined ? null : BigInt(text.replace(".", ""));
}

const longest = (one) => one.returns["30d"] ?? one.returns["7d"] ?? one.returns["1d"];

function list() {
  const rows = sorted().map((one) => {
    const id = one.operatorId;
    const box = make("input", { type: "checkbox", "aria-label": `Show ${named(id)}`, "data-toggle": id });
    box.checked = state.shown.has(id);
    box.addEventListener("change", () => {
      if (box.checked) state.shown.add(id);
      else state.shown.delete(id);
      box.closest("tr").classList.toggle("off", !box.checked);
      count();
      redraw();
    });
    return make("tr", { class: box.checked ? "" : "off", "data-operator": id },
      make("td", {}, box),
      make("th", { scope: "row" }, swatch(id), make("a", { href: `#/operator/${id}`, style: "margin-left:8px" }, named(id))),
      make("td", {}, badge(one.status)),
      make("td", { class: "number", title: exact(one.stake, "shannons") }, amount(one.stake, state.unit)),
      make("td", { class: "number" }, earned(one.returns["1d"])),
      make("td", { class: "number" }, earned(one.returns["7d"])),
      make("td", { class: "number" }, earned(one.returns["30d"])),
      make("td", { class: "number" }, earned(longest(one), "annualized")),
      make("td", { class: "number" }, one.nominationTax === null ? nothing("unknown") : `${one.nominationTax} %`));
  });
  if (!rows.length) rows.push(make("tr", {}, make("td", { colspan: 9, class: "none" }, state.search ? "No operator matches" : "No operator is stored yet")));
  find("#rows").replaceChildren(...rows);
  for (const head of all("th[data-sort]")) {
    const order = head.dataset.sort === state.sort.by ? (state.sort.direction > 0 ? "ascending" : "descending") : "none";
    head.setAttribute("aria-sort", order);
  }
  count();
}

function count() {
  find("#shown").textContent = `${state.shown.size} of ${state.operators.length} shown`;
}

async function tabulate() {
  const [first, last] = bounds();
  const rows = await ask({ start: Math.max(first, last - 199), end: last + 1 });
  find("#epochs").replaceChildren(...rows.reverse().map((row) => make("tr", {},
    make("th", { scope: "row" }, make("a", { href: `#/epoch/${row.epoch}` }, grouped(row.epoch))),
    make("td", {}, moment(row.timestamp)),
    make("td", { class: "number" }, amount(row.totalStake, state.unit)),
    make("td", { class: "number" }, amount(row.rewards, state.unit)),
    make("td", { class: "number" }, row.operators === null ? nothing("unknown") : grouped(row.operators)))));
}

function card(title, big, note) {
  return make("div", { class: "fact" }, make("h2", {}, title), make("p", { class: "big" }, big), make("p", { class: "note" }, note));
}

async function latest() {
  const { lastEpoch } = state.status;
  if (lastEpoch === null) {
    find("#cards").replaceChildren(card("Latest epoch", "none", "nothing is stored yet"));
    return;
  }
  const told = await detail(lastEpoch);
  const rewards = Object.values(told.rewards).reduce((sum, one) => sum + BigInt(one), 0n);
  const active = state.operators.filter((one) => one.isActive).length;
  find("#cards").replaceChildren(
    card("Latest epoch", grouped(lastEpoch), `${moment(told.timestamp)} UTC${told.timestampFromChain ? "" : ", as a legacy snapshot says"}`),
    card("Total stake", amount(told.totalStake, state.unit), state.unit === "ai3" ? "AI3, active operators" : "Shannons, active operators"),
    card("Rewards of the epoch", amount(String(rewards), state.unit), state.unit === "ai3" ? "AI3, before tax" : "Shannons, before tax"),
    card("Stake per share", told.networkStakePerShare === null ? nothing("unknown") : amount(told.networkStakePerShare, "ai3"), "of all operators together"),
    card("Operators", grouped(active), `active, ${grouped(state.operators.length)} ever seen`));
}

function freshness() {
  const { lastEpoch, lastTimestamp } = state.status;
  find("#fresh-text").textContent = lastEpoch === null ? "No epoch is stored yet" : `Epoch ${grouped(lastEpoch)} · ended ${ago(lastTimestamp)}`;
}

function few(epochs) {
  const links = epochs.slice(0, 12).flatMap((epoch, index) => [index ? ", " : "", make("a", { href: `#/epoch/${epoch}` }, grouped(epoch))]);
  return epochs.length > 12 ? [...links, ` and ${epochs.length - 12} more`] : links;
}

function notices() {
  const { incomplete, quarantined, gaps, skipped, lastTimestampFromChain, lastEpoch } = state.status;
  const lines = [];
  if (incomplete.length) {
    lines.push(make("p", { class: "notice bad" }, `${incomplete.length === 1 ? "One epoch is" : `${grouped(incomplete.length)} epochs are`} incomplete, marked by dotted lines: what could not be understood is in quarantine, and shown as unknown. `, ...few(incomplete)));
  }
  const other = quarantined.filter(({ epoch }) => epoch !== null && !incomplete.includes(epoch)).map(({ epoch }) => epoch);
  if (other.length) lines.push(make("p", { class: "notice" }, "Values of these epochs are in quarantine: ", ...few(other)));
  if (gaps.length) lines.push(make("p", { class: "notice" }, `Missing epochs: ${gaps.slice(0, 8).map(([a, b]) => (a === b ? a : `${a} to ${b}`)).join(", ")}${gaps.length > 8 ? ` and ${gaps.length - 8} more gaps` : ""}`));
  if (skipped.length) lines.push(make("p", { class: "notice" }, `Skipped by the chain itself: ${skipped.slice(0, 12).join(", ")}${skipped.length > 12 ? ` and ${skipped.length - 12} more` : ""}`));
  if (lastEpoch !== null && !lastTimestampFromChain) lines.push(make("p", { class: "notice" }, "The latest time stamp is the clock of a legacy snapshot, not the chain's."));
  find("#notices").hidden = !lines.length;
  find("#notices").replaceChildren(...lines);
}

// ---- pages of one operator and of one epoch

function facts(pairs) {
  return make("dl", { class: "facts" }, ...pairs.map(([name, told]) => make("div", {}, make("dt", {}, name), make("dd", {}, told ?? nothing("unknown")))));
}

const link = (text, href) => make("a", { href }, text);

async function operatorPage(id) {
  const told = await json(`/api/operators/${id}`);
  const from = Math.max(0, (told.epoch ?? 0) - 199);
  const points = told.epoch === null ? [] : await json(`/api/operators/${id}/share-prices?from=${from}`);
  const spans = [["1d", "1 day"], ["7d", "7 days"], ["30d", "30 days"]];
  const returns = spans.map(([key, name]) => {
    const one = told.returns[key];
    return make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "number" }, earned(one)), make("td", { class: "number" }, earned(one, "annualized")),
      make("td", {}, one ? make("span", {}, link(grouped(one.fromEpoch), `#/epoch/${one.fromEpoch}`), " to ", link(grouped(one.toEpoch), `#/epoch/${one.toEpoch}`)) : nothing("history too short")));
  });
  return [
    make("p", { class: "crumbs" }, link("Overview", "#/"), link("CSV", `/api/operators/${id}/share-prices?format=csv`), link("Parquet", `/api/operators/${id}/share-prices?format=parquet`), link("JSON", `/api/operators/${id}/share-prices`)),
    make("h1", {}, swatch(id), named(id), badge(told.status), told.isActive ? make("span", { class: "badge good" }, "active") : make("span", { class: "badge" }, "not active")),
    facts([
      ["Id", String(id)],
      ["Stake", amount(told.stake, state.unit)],
      ["Active stake", amount(told.activeStake, state.unit)],
      ["Nomination tax", told.nominationTax === null ? null : `${told.nominationTax} %`],
      ["First epoch", told.firstSeenEpoch === null ? null : link(grouped(told.firstSeenEpoch), `#/epoch/${told.firstSeenEpoch}`)],
      ["Last epoch", told.lastSeenEpoch === null ? null : link(grouped(told.lastSeenEpoch), `#/epoch/${told.lastSeenEpoch}`)],
      ["Stake per share", ratio(told.stakePerShare)],
      ["Share price, perquintill", told.sharePricePerq === null ? null : `${grouped(told.sharePricePerq)} (${told.source})`],
      ["Minimum nominator stake", amount(told.minimumNominatorStake, state.unit)],
      ["Owner", make("code", {}, told.owner ?? "unknown")],
      ["Signing key", make("code", {}, told.signingKey ?? "unknown")],
    ]),
    make("h2", {}, "Returns on stake"),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Returns" }, make("table", {}, make("thead", {}, make("tr", {}, ...["Over", "Return", "Annualized", "Epochs"].map((name, index) => make("th", { scope: "col", class: index === 1 || index === 2 ? "number" : "" }, name)))), make("tbody", {}, ...returns))),
    make("h2", {}, `History, the last ${grouped(points.length)} epochs`),
    make("div", { class: "scroll", style: "max-height:320px", tabindex: "0", role: "region", "aria-label": "History" }, make("table", {},
      make("thead", {}, make("tr", {}, ...["Epoch", "Stake", "Reward", "Stake per share", "Perquintill", "Source", "Tax", "Status"].map((name, index) => make("th", { scope: "col", class: index > 0 && index < 5 ? "number" : "" }, name)))),
      make("tbody", {}, ...points.reverse().map((point) => make("tr", {},
        make("th", { scope: "row" }, link(grouped(point.epoch), `#/epoch/${point.epoch}`)),
        make("td", { class: "number" }, amount(point.stake, state.unit)),
        make("td", { class: "number" }, amount(point.reward, state.unit)),
        make("td", { class: "number" }, ratio(point.stakePerShare)),
        make("td", { class: "number" }, point.sharePricePerq === null ? nothing("none") : grouped(point.sharePricePerq)),
        make("td", {}, point.source ?? nothing("none")),
        make("td", {}, point.nominationTax === null ? nothing("unknown") : `${point.nominationTax} %`),
        make("td", {}, badge(point.status))))))),
  ];
}

async function epochPage(epoch) {
  const told = await detail(epoch);
  const known = new Set([...Object.keys(told.operatorStakes), ...Object.keys(told.sharePricesPerq)]);
  const rows = [...known].map(Number).sort((a, b) => a - b).map((id) => make("tr", {},
    make("th", { scope: "row" }, swatch(id), " ", link(named(id), `#/operator/${id}`)),
    make("td", {}, badge(told.statuses[id])),
    make("td", { class: "number" }, amount(told.operatorStakes[id], state.unit)),
    make("td", { class: "number" }, amount(told.rewards[id], state.unit)),
    make("td", { class: "number" }, ratio(told.stakePerShare[id])),
    make("td", { class: "number" }, told.sharePricesPerq[id] === undefined ? nothing("none") : grouped(told.sharePricesPerq[id])),
    make("td", {}, told.priceSources[id] ?? nothing("none"))));
  const block = (number, hash) => (number === null ? null : make("span", {}, `${grouped(number)} `, make("code", {}, hash ?? "")));
  return [
    make("p", { class: "crumbs" }, link("Overview", "#/"),
      told.previous === null ? null : link(`Epoch ${grouped(told.previous)}, before`, `#/epoch/${told.previous}`),
      told.next === null ? null : link(`Epoch ${grouped(told.next)}, after`, `#/epoch/${told.next}`),
      link("CSV", `/api/epochs/${epoch}?format=csv`), link("JSON", `/api/epochs/${epoch}`)),
    make("h1", {}, `Epoch ${grouped(epoch)}`,
      told.complete === true ? make("span", { class: "badge good" }, "complete") : told.complete === false ? make("span", { class: "badge bad" }, "incomplete") : make("span", { class: "badge warn" }, "not verified"),
      make("span", { class: "badge" }, told.source ?? "unknown source")),
    told.quarantined.length ? make("div", { class: "notice bad" }, "In quarantine, and unknown below:", make("ul", {}, ...told.quarantined.map((one) => make("li", {}, make("code", {}, one.item), `: ${one.reason}`)))) : null,
    facts([
      ["Ended", `${moment(told.timestamp)} UTC${told.timestampFromChain ? "" : " (clock of a legacy snapshot)"}`],
      ["End block", block(told.endBlock, told.endHash)],
      ["Transition block", block(told.transitionBlock, told.transitionHash)],
      ["Spec version", told.specVersion === null ? null : String(told.specVersion)],
      ["Total stake", amount(told.totalStake, state.unit)],
      ["Total shares", told.totalShares === null ? null : grouped(told.totalShares)],
      ["Stake per share of all", ratio(told.networkStakePerShare)],
      ["Storage fee fund", amount(told.storageFees, state.unit)],
      ["Treasury funds", amount(told.treasuryFunds, state.unit)],
      ["Chain rewards", amount(told.chainRewards, state.unit)],
      ["Operators", told.operatorCount === null ? null : grouped(told.operatorCount)],
    ]),
    make("h2", {}, "Operators in this epoch"),
    make("div", { class: "scroll", style: "max-height:420px", tabindex: "0", role: "region", "aria-label": "Operators in this epoch" }, make("table", {},
      make("thead", {}, make("tr", {}, ...["Operator", "Status", "Stake", "Reward", "Stake per share", "Perquintill", "Source"].map((name, index) => make("th", { scope: "col", class: index > 1 && index < 6 ? "number" : "" }, name)))),
      make("tbody", {}, ...rows))),
  ];
}

async function route() {
  const [, kind, text] = location.hash.split("/");
  const page = find("#page");
  const number = /^\d{1,10}$/.test(text ?? "") ? Number(text) : null;
  const before = state.only;
  state.only = kind === "operator" ? number : null;
  const builder = { operator: operatorPage, epoch: epochPage }[kind];
  find("#cards").hidden = Boolean(builder);
  find("#operators").hidden = kind === "operator";
  page.hidden = !builder;
  page.className = "card";
  document.title = builder && number !== null ? `${kind === "epoch" ? "Epoch" : "Operator"} ${number} · Operator prices` : "Operator prices";
  if (builder) {
    const asked = location.hash;
    let content;
    try {
      content = number === null ? [make("p", {}, "There is no such page. "), link("Overview", "#/")] : await builder(number);
    } catch (error) {
      content = [make("p", { class: "crumbs" }, link("Overview", "#/")), make("p", { class: "notice" }, error.message)];
    }
    if (asked !== location.hash) return;
    page.replaceChildren(...content.filter(Boolean));
    forget();
    page.scrollIntoView({ block: "start" });
    say(document.title);
  } else page.replaceChildren();
  if (before !== state.only) redraw();
}

// ---- loading, and what arrives live

async function load() {
  document.body.dataset.loading = "true";
  try {
    state.drawn = await ask({ url: `/api/epochs?limit=${state.range}` });
  } finally {
    delete document.body.dataset.loading;
  }
  document.body.dataset.epochs = String(state.drawn.length);
  if (!state.drawn.length) return;
  overview.draw(state.drawn.epochs, state.drawn.totals);
  if (state.range === "all") whole();
  else {
    const { epochs, length } = state.drawn;
    look(epochs[Math.max(0, length - Number(state.range))] - 0.5, epochs[length - 1] + 0.5);
  }
  redraw();
}

async function refresh() {
  [state.operators, state.status] = await Promise.all([json("/api/operators"), json("/api/status")]);
  freshness();
  notices();
  list();
  await latest();
}

let arrivals = Promise.resolve();

async function arrived({ epoch, timestamp }) {
  const known = state.drawn?.length ? state.drawn.epochs[state.drawn.length - 1] : -1;
  const following = !state.drawn?.length || shared.end >= known;
  const width = shared.end - shared.start;
  details.clear();
  const had = new Set(state.operators.map((one) => one.operatorId));
  state.drawn = await ask({ url: `/api/epochs?from=${epoch}&to=${epoch}` });
  await refresh();
  for (const one of state.operators) if (!had.has(one.operatorId)) state.shown.add(one.operatorId);
  if (had.size !== state.operators.length) list();
  document.body.dataset.epochs = String(state.drawn.length);
  overview.draw(state.drawn.epochs, state.drawn.totals);
  const last = state.drawn.epochs[state.drawn.length - 1];
  if (following && epoch === last) look(last + 0.5 - Math.max(width, 2), last + 0.5);
  redraw();
  say(`Epoch ${epoch} has arrived, ended ${moment(timestamp)} UTC`);
}

function live() {
  const dot = find("#live-dot");
  const stream = new EventSource("/api/stream");
  stream.addEventListener("open", () => { dot.dataset.state = "live"; dot.title = "Live"; });
  stream.addEventListener("error", () => { dot.dataset.state = "lost"; dot.title = "Not connected, trying again"; });
  stream.addEventListener("epoch", (event) => {
    const told = JSON.parse(event.data);
    arrivals = arrivals.then(() => arrived(told)).catch(fail);
  });
}

function fail(error) {
  find("#notices").hidden = false;
  find("#notices").prepend(make("p", { class: "notice bad", role: "alert" }, `The numbers could not be loaded: ${error.message}`));
}

// ---- the theme, the controls

function theme(name) {
  document.documentElement.dataset.theme = name;
  const button = find("#theme");
  const other = name === "dark" ? "light" : "dark";
  button.textContent = other === "dark" ? "Dark" : "Light";
  button.setAttribute("aria-label", `Switch to the ${other} theme`);
}

const system = matchMedia("(prefers-color-scheme: dark)");
theme(localStorage.getItem("theme") ?? (system.matches ? "dark" : "light"));

function recolored() {
  paint();
  list();
  route();
}

function controls() {
  system.addEventListener("change", ({ matches }) => {
    if (localStorage.getItem("theme") === null) {
      theme(matches ? "dark" : "light");
      recolored();
    }
  });
  find("#theme").addEventListener("click", () => {
    theme(dark() ? "light" : "dark");
    localStorage.setItem("theme", document.documentElement.dataset.theme);
    recolored();
  });
  for (const input of all('input[name="range"]')) {
    input.addEventListener("change", () => {
      state.range = input.value;
      load().catch(fail);
    });
  }
  for (const name of ["unit", "price"]) {
    for (const input of all(`input[name="${name}"]`)) {
      input.addEventListener("change", () => {
        state[name] = input.value;
        units();
        redraw();
        list();
        latest().catch(fail);
        route();
      });
    }
  }
  find("#zoom-in").addEventListener("click", () => zoom(0.5));
  find("#zoom-out").addEventListener("click", () => zoom(2));
  find("#earlier").addEventListener("click", () => shift(-0.5));
  find("#later").addEventListener("click", () => shift(0.5));
  find("#reset").addEventListener("click", whole);
  find("#search").addEventListener("input", ({ target }) => {
    state.search = target.value;
    list();
  });
  for (const head of all("th[data-sort] button")) {
    head.addEventListener("click", () => {
      const by = head.parentElement.dataset.sort;
      const falling = !["id", "status", "tax"].includes(by);
      state.sort = by === state.sort.by ? { by, direction: -state.sort.direction } : { by, direction: falling ? -1 : 1 };
      list();
    });
  }
  const choose = (chosen) => {
    state.shown = new Set(chosen.map((one) => one.operatorId));
    list();
    redraw();
  };
  find("#show-all").addEventListener("click", () => choose(state.operators));
  find("#show-none").addEventListener("click", () => choose([]));
  find("#show-top").addEventListener("click", () => {
    const stake = (one) => (one.stake === null || !one.isActive ? null : BigInt(one.stake));
    choose([...state.operators].sort((a, b) => compare(stake(a), stake(b), -1)).slice(0, 8));
  });
  find("#as-table").addEventListener("toggle", ({ target }) => { if (target.open && state.drawn?.length) tabulate(); });
  addEventListener("hashchange", route);
  addEventListener("resize", redraw);
  document.addEventListener("fullscreenchange", () => setTimeout(redraw, 120));
}

async function begin() {
  for (const [kind, chart] of Object.entries(charts)) listen(kind, chart);
  controls();
  shared.heard = redraw;
  for (const chart of [...Object.values(charts), overview]) {
    chart.paint();
    await chart.show();
  }
  units();
  await refresh();
  state.shown = new Set(state.operators.map((one) => one.operatorId));
  list();
  await load();
  await route();
  live();
  setInterval(freshness, 15000);
  document.body.dataset.ready = "true";
}

begin().catch(fail);
