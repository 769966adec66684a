// The page of accounts that stake: what each has, has earned and can have back when; several side by side.

import { earned, facts, find, link, make, say, table } from "./elements.js";
import { color } from "./hues.js";
import { amount, exact, grouped, moment, nothing, unknown } from "./numbers.js";
import { dark, json, named, state, swatch } from "./state.js";
import { legendOfMarks, worthPicture } from "./worth.js";

/** About how many epochs a line is drawn from; those in which something was paid are always among them. */
const SAMPLE = 400;

/** How many accounts the browser remembers, and how many may stand side by side. */
const REMEMBERED = 12;
const SHOWN = 6;

const KEY = "nominators";
const NUMBER = true;

const cell = (...children) => make("td", {}, ...children);
const number = (...children) => make("td", { class: "number" }, ...children);
const epochLink = (epoch) => link(grouped(epoch), `#/epoch/${epoch}`);
const short = (address) => (address.length > 16 ? `${address.slice(0, 8)}…${address.slice(-5)}` : address);

/** The accounts that the browser remembers; it may be told to keep nothing. */
function remembered() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((one) => typeof one === "string") : [];
  } catch {
    return [];
  }
}

function remember(addresses) {
  try {
    localStorage.setItem(KEY, JSON.stringify(addresses.slice(0, REMEMBERED)));
  } catch {
    say("This browser keeps nothing: the accounts are in the address of the page alone");
  }
}

/** The accounts that an address of the page names. */
export const accounts = (text) => decodeURIComponent(text ?? "").split(",").map((one) => one.trim()).filter(Boolean);

/** Accounts and others beside them, each once: those that are shown, and those for which there is no room. */
function beside(shown, wanted) {
  const all = [...new Set([...shown, ...wanted])];
  return { names: all.slice(0, SHOWN), left: all.slice(SHOWN) };
}

const address = (names) => `#/nominators${names.length ? `/${names.map(encodeURIComponent).join(",")}` : ""}`;

/** What is known of each account: what it has, its history, or the sentence that says why not; and which are left out. */
export async function nominatorFacts(wanted) {
  const { names, left } = beside([], wanted);
  const asked = await Promise.all(names.map(async (name) => {
    const path = `api/nominators/${encodeURIComponent(name)}`;
    try {
      const [now, history] = await Promise.all([json(path), json(`${path}/history?sample=${SAMPLE}`)]);
      return { name, path, now, history };
    } catch (error) {
      if (!error.refused) throw error;
      return { name, path, sentence: error.message };
    }
  }));
  const told = asked.filter(({ now }, index) => !now || asked.findIndex((one) => one.now?.nominator === now.nominator) === index);
  const found = told.filter(({ now }) => now).map(({ now }) => now.address);
  if (found.length) remember([...found, ...remembered().filter((one) => !found.includes(one))]);
  return { told, left };
}

export function nominatorPage({ told, left }) {
  const known = told.filter(({ now }) => now);
  known.forEach((one, index) => { one.color = color(index, null, dark()); });
  return [
    make("p", { class: "crumbs" }, link("Overview", "#/")),
    make("h1", { tabindex: "-1" }, "Nominators"),
    field(told),
    left.length ? make("p", { class: "notice", "data-key": "left" }, `${SHOWN} accounts stand side by side at most: ${left.map(short).join(", ")} ${left.length === 1 ? "is" : "are"} left out until others are closed.`) : null,
    known.some(({ history }) => history.length) ? pictures(known) : null,
    told.length ? make("div", { class: "accounts", "data-key": "accounts" }, ...told.map((one) => account(one, told, left))) : make("p", { class: "none" }, "What an account has staked, has earned, and can have back when. Nothing of it leaves this browser but the question for its numbers."),
  ];
}

// ---- which accounts

function field(told) {
  const shown = told.map(({ name, now }) => now?.address ?? name);
  const others = remembered().filter((one) => !shown.includes(one));
  const full = told.length >= SHOWN;
  return make("div", { "data-key": "field" },
    make("form", { class: "ask", id: "ask" },
      make("label", { for: "account" }, told.length ? "Another account beside it" : "Address of an account"),
      make("input", { id: "account", name: "account", type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false", placeholder: "su… or 0x…", disabled: full }),
      make("button", { class: "button", type: "submit", disabled: full }, "Show")),
    others.length ? make("p", { class: "remembered", "data-key": "remembered" }, make("span", { class: "unit" }, "Remembered in this browser: "),
      ...others.flatMap((one) => [
        full ? make("span", { class: "chip", title: one }, short(one)) : make("a", { class: "chip", href: address([...shown, one]), title: one }, short(one)),
        make("button", { class: "button quiet", type: "button", "data-forget": one, "aria-label": `Forget ${short(one)}` }, "×"),
      ])) : null);
}

/** Follow the field and the buttons of the page. */
export function controlNominators(renew) {
  const page = find("#page");
  page.addEventListener("submit", (event) => {
    if (event.target.id !== "ask") return;
    event.preventDefault();
    const input = event.target.elements.account;
    const wanted = input.value.split(/[\s,]+/).filter(Boolean);
    if (!wanted.length) return;
    input.value = "";
    const [, , text] = location.hash.split("/");
    const { names, left } = beside(accounts(text), wanted);
    location.hash = address([...names, ...left]);
  });
  page.addEventListener("click", ({ target }) => {
    const { forget } = target.dataset;
    if (!forget) return;
    remember(remembered().filter((one) => one !== forget));
    renew();
    find("#account").focus();
  });
}

// ---- the pictures

const big = (text) => (unknown(text) ? NaN : Number(text) / 1e18);

/** The sum of a column over the rows of one epoch, unknown if one of them is. */
const sum = (rows, name) => (rows.some((row) => unknown(row[name])) ? null : rows.reduce((all, row) => all + BigInt(row[name]), 0n));

/** An account's epochs, and its worth and its gain at each, all operators together: those it has left have paid in and out, too. */
function columns({ now, history }) {
  const byEpoch = grouping(history);
  const latest = new Map();
  const first = new Map();
  const rows = [...byEpoch].map(([epoch, those]) => {
    for (const row of those) {
      latest.set(row.operatorId, row);
      if (!first.has(row.operatorId)) first.set(row.operatorId, row);
    }
    const worth = sum(those, "worth");
    const [paidIn, paidOut] = ["paidInTotal", "paidOutTotal"].map((name) => sum([...latest.values()], name));
    const begun = sum([...first.values()].filter((row) => unknown(row.paidIn)), "worth");
    const known = [worth, paidIn, paidOut, begun].every((amount) => amount !== null);
    return { epoch, timestamp: those[0].timestamp, worth, gain: known ? worth + paidOut - paidIn - begun : null };
  });
  return {
    name: short(now.address),
    epochs: rows.map(({ epoch }) => epoch),
    times: rows.map(({ timestamp }) => timestamp ?? NaN),
    worth: rows.map(({ worth }) => big(worth)),
    gain: rows.map(({ gain }) => big(gain)),
  };
}

function grouping(rows) {
  const found = new Map();
  for (const row of rows) {
    if (!found.has(row.epoch)) found.set(row.epoch, []);
    found.get(row.epoch).push(row);
  }
  return found;
}

/** What was paid or withdrawn, in the order of time: an unknown amount, too, but not all that was before the first known epoch. */
function payments(history) {
  const begun = new Set();
  return history.flatMap((row) => {
    const first = !begun.has(row.operatorId);
    begun.add(row.operatorId);
    const kinds = [["in", "Deposited", row.paidIn], ["out", "Withdrawn", row.withdrawnShares], ["paid", "Paid out", row.paidOut]];
    const those = kinds.every(([, , told]) => unknown(told)) ? [["all", "Paid in or out", null]] : kinds;
    return those.filter(([, , told]) => (unknown(told) ? !first : told !== "0")).map(([kind, what, told]) => ({ kind, what, told, row }));
  });
}

const said = ({ kind, told }) => (kind === "out" && !unknown(told) ? `${grouped(told)} shares` : exact(told, state.unit));

function pictures(known) {
  const width = Math.max(280, find("main").clientWidth - 2 * parseFloat(getComputedStyle(find("main")).paddingLeft) - 34);
  const told = known.map((one) => ({
    ...columns(one),
    color: one.color,
    marks: payments(one.history).filter(({ kind }) => kind !== "all").map((payment) => ({ kind: payment.kind, epoch: payment.row.epoch, text: `Epoch ${grouped(payment.row.epoch)}: ${payment.what} ${said(payment)}` })),
  }));
  const local = state.time === "local";
  return make("div", { "data-key": `pictures ${width}` },
    make("h2", {}, "Worth over time"),
    make("p", { class: "unit marks" }, "AI3: stake, pending, storage fee deposit and what is on its way out. ", ...legendOfMarks()),
    fresh(worthPicture("Worth", told.map((one) => ({ ...one, values: one.worth })), width, local)),
    make("h2", {}, "Gain"),
    make("p", { class: "unit" }, "AI3 that were not paid in"),
    fresh(worthPicture("Gain", told.map((one) => ({ ...one, values: one.gain, marks: [] })), width, local)));
}

/** A picture is replaced as a whole. */
function fresh(svg) {
  const place = make("div", { class: "picture" });
  place.append(svg);
  return place;
}

// ---- one account

function account({ name, path, now, history, sentence, color: tint }, told, left) {
  const rest = [...told.filter((one) => one.name !== name).map((one) => one.now?.address ?? one.name), ...left];
  const close = link("Close", address(rest));
  close.setAttribute("aria-label", `Close ${short(name)}`);
  if (!now) return make("section", { class: "account", "data-key": name, "aria-label": short(name) }, make("h2", {}, short(name)), make("p", { class: "notice" }, sentence), make("p", { class: "crumbs" }, close));
  const { total } = now;
  return make("section", { class: "account", "data-key": now.nominator, "aria-label": short(now.address) },
    make("h2", {}, make("span", { class: "swatch", style: `background:${tint}`, "aria-hidden": "true" }), ` ${short(now.address)}`),
    make("p", { class: "crumbs" }, link("CSV", `${path}/history?format=csv`), link("Parquet", `${path}/history?format=parquet`), link("JSON", path), close),
    facts([
      ["Address", make("code", {}, now.address)],
      ["Account", make("code", {}, now.nominator)],
      [`Worth at epoch ${grouped(now.epoch)}`, amount(total.worth, state.unit)],
      ["Staked", amount(total.stake, state.unit)],
      ["Pending deposit", amount(total.pending, state.unit)],
      ["Storage fee deposit", amount(total.storageFeeDeposit, state.unit)],
      ["On its way out", amount(total.leaving, state.unit)],
      ["Paid in", paidIn(total)],
      ["Paid out", amount(total.paidOut, state.unit)],
      ["Gain", gain(total)],
      ["Return on what was staked", unknown(total.return) ? nothing("unknown") : earned(total)],
      ["Annualized", unknown(total.annualized) ? nothing("less than a day, or unknown") : earned(total, "annualized")],
    ]),
    make("h3", {}, "By operator"),
    table(`Positions of ${short(now.address)}`, [["Operator"], ["Stake", NUMBER], ["Worth", NUMBER], ["Gain", NUMBER], ["Return", NUMBER], ["Since"]], now.positions.map(position)),
    ...locked(now),
    make("h3", {}, "What happened"),
    happened(now, history));
}

const paidIn = (one) => (unknown(one.knownSince) ? amount(one.paidIn, state.unit) : make("span", {}, amount(one.paidIn, state.unit), ` since epoch ${grouped(one.knownSince)}, unknown before`));

function gain(one) {
  if (unknown(one.gain)) return nothing("unknown");
  const cell = make("span", { class: one.gain.startsWith("-") ? "down" : "up" }, amount(one.gain, state.unit));
  return one.tax === "0" || unknown(one.tax) ? cell : make("span", {}, cell, " with a tax of ", amount(one.tax, state.unit));
}

function position(one) {
  const id = one.operatorId;
  return make("tr", { "data-key": `p${id}` },
    make("th", { scope: "row" }, swatch(id), link(named(id), `#/operator/${id}`)),
    number(amount(one.stake, state.unit)),
    number(amount(one.worth, state.unit)),
    number(gain(one)),
    number(unknown(one.return) ? nothing("unknown") : earned(one)),
    cell(epochLink(one.firstEpoch), unknown(one.endedEpoch) ? null : make("span", {}, ", ended ", epochLink(one.endedEpoch))));
}

/** What is locked until when. */
function locked(now) {
  const waiting = now.positions.flatMap((one) => [...one.unlocking, ...(one.withdrawing ? [one.withdrawing] : [])].map((told) => ({ id: one.operatorId, ...told })));
  if (!waiting.length) return [];
  const rows = waiting.map((one) => make("tr", {},
    make("th", { scope: "row" }, swatch(one.id), link(named(one.id), `#/operator/${one.id}`)),
    number(amount(one.amount, state.unit)),
    number(amount(one.storageFeeRefund, state.unit)),
    number(unknown(one.block) ? nothing("unknown") : grouped(one.block)),
    cell(when(one))));
  return [make("h3", {}, "Locked until"), table(`Locked of ${short(now.address)}`, [["Operator"], ["Amount", NUMBER], ["Storage fee refund", NUMBER], ["Domain block", NUMBER], ["Time, by the chain's pace"]], rows)];
}

function when({ due, estimatedTimestamp }) {
  if (due) return make("span", { class: "badge good" }, "can be unlocked now");
  if (unknown(estimatedTimestamp)) return nothing("unknown");
  return `about ${moment(estimatedTimestamp).slice(0, 16)} UTC`;
}

function happened(now, history) {
  const rows = payments(history).reverse().map(({ kind, what, told, row }) => make("tr", { "data-key": `${row.epoch} ${row.operatorId} ${kind}` },
    make("th", { scope: "row" }, epochLink(row.epoch)),
    cell(unknown(row.timestamp) ? nothing("unknown") : moment(row.timestamp).slice(0, 16)),
    cell(what),
    number(kind === "out" && !unknown(told) ? `${grouped(told)} shares` : amount(told, state.unit)),
    cell(link(named(row.operatorId), `#/operator/${row.operatorId}`))));
  if (!rows.length) return make("p", { class: "none" }, "Nothing was paid in or out in the epochs that are known.");
  return table(`Payments of ${short(now.address)}`, [["Epoch"], ["End (UTC)"], ["What"], ["Amount", NUMBER], ["Operator"]], rows, "max-height:300px");
}
