// The pages of one operator and of one epoch: each gives the elements it is made of.

import { badge, earned, facts, link, make, table } from "./elements.js";
import { amount, grouped, moment, nothing, ratio, unknown } from "./numbers.js";
import { poolFacts, poolParts } from "./pool.js";
import { detail, json, named, state, swatch } from "./state.js";

/** Rows of a history that are shown at first, and added each time more are asked for. */
const ROWS = 200;

const NUMBER = true;

const epochLink = (epoch) => (unknown(epoch) ? null : link(grouped(epoch), `#/epoch/${epoch}`));
const number = (...children) => make("td", { class: "number" }, ...children);
const cell = (...children) => make("td", {}, ...children);
const perquintill = (text) => (unknown(text) ? nothing("none") : grouped(text));

let history = { id: null, rows: ROWS };

export function more() {
  history.rows += ROWS;
}

/** The feed of what happens to an operator. */
export const feed = (id) => `api/operators/${id}/feed.atom`;

/** What is known of an operator, what has happened to it, all its points, from its first epoch to its last, and its nominators. */
export async function operatorFacts(id) {
  const asked = [`api/operators/${id}`, `api/operators/${id}/share-prices`, `api/operators/${id}/events`].map(json);
  const [told, points, events, pool] = await Promise.all([...asked, poolFacts(id)]);
  return { told, points, events, pool };
}

export function operatorPage(id, { told, points, events, pool }) {
  if (history.id !== id) history = { id, rows: ROWS };
  const prices = `api/operators/${id}/share-prices`;
  const past = !told.isActive && !unknown(told.epoch);
  const since = past ? ` as of epoch ${grouped(told.epoch)}` : "";
  const returns = [["1d", "1 day"], ["7d", "7 days"], ["30d", "30 days"]].map(([key, name]) => {
    const one = told.returns[key];
    return make("tr", {}, make("th", { scope: "row" }, name), number(earned(one)), number(earned(one, "annualized")),
      cell(one ? make("span", {}, epochLink(one.fromEpoch), " to ", epochLink(one.toEpoch)) : nothing("history too short")));
  });
  const shown = points.slice(-history.rows).reverse();
  const rows = shown.map((point) => make("tr", { "data-key": `h${point.epoch}` },
    make("th", { scope: "row" }, epochLink(point.epoch)),
    number(amount(point.stake, state.unit)),
    number(amount(point.reward, state.unit)),
    number(ratio(point.stakePerShare)),
    number(perquintill(point.sharePricePerq)),
    cell(point.source ?? nothing("none")),
    cell(unknown(point.nominationTax) ? nothing("unknown") : `${point.nominationTax} %`),
    cell(badge(point.status))));
  const left = points.length - shown.length;
  return [
    make("p", { class: "crumbs" }, link("Overview", "#/"), link("CSV", `${prices}?format=csv`), link("Parquet", `${prices}?format=parquet`), link("JSON", prices), link("Feed of events", feed(id))),
    make("h1", { tabindex: "-1" }, swatch(id), named(id), badge(told.status), told.isActive ? badge("active", "good") : badge(past ? `not active, last seen in epoch ${grouped(told.epoch)}` : "not active", "")),
    facts([
      ["Id", String(id)],
      [`Stake${since}`, amount(told.stake, state.unit)],
      [`Active stake${since}`, amount(told.activeStake, state.unit)],
      ["Nomination tax", unknown(told.nominationTax) ? null : `${told.nominationTax} %`],
      ["First epoch", epochLink(told.firstSeenEpoch)],
      ["Last epoch", epochLink(told.lastSeenEpoch)],
      [`Stake per share${since}`, ratio(told.stakePerShare)],
      ["Share price, perquintill", unknown(told.sharePricePerq) ? null : `${grouped(told.sharePricePerq)} (${told.source})`],
      ["Minimum nominator stake", amount(told.minimumNominatorStake, state.unit)],
      ["Owner", make("code", {}, told.owner ?? "unknown")],
      ["Signing key", make("code", {}, told.signingKey ?? "unknown")],
    ]),
    make("h2", {}, "Returns on stake"),
    table("Returns", [["Over"], ["Return", NUMBER], ["Annualized", NUMBER], ["Epochs"]], returns),
    make("h2", {}, "Events"),
    table("Events", [["Epoch"], ["End (UTC)"], ["What happened"]], events.map((event) =>
      make("tr", {}, make("th", { scope: "row" }, epochLink(event.epoch)), cell(unknown(event.timestamp) ? nothing("unknown") : moment(event.timestamp)), cell(event.text))), "max-height:260px"),
    ...poolParts(id, pool),
    make("h2", {}, "History"),
    make("p", { class: "unit" }, left > 0 ? `The last ${grouped(shown.length)} of ${grouped(points.length)} epochs` : `All of its ${grouped(points.length)} epochs`),
    table("History", [["Epoch"], ["Stake", NUMBER], ["Reward", NUMBER], ["Stake per share", NUMBER], ["Perquintill", NUMBER], ["Source"], ["Tax"], ["Status"]], rows, "max-height:340px"),
    left > 0 ? make("button", { type: "button", class: "button more", "data-more": true }, `Show ${grouped(Math.min(ROWS, left))} earlier epochs`) : null,
  ];
}

export async function epochPage(epoch) {
  const told = await detail(epoch);
  const known = new Set([told.operatorStakes, told.operatorActiveStakes, told.sharePricesPerq].flatMap((one) => Object.keys(one ?? {})));
  const rows = [...known].map(Number).sort((a, b) => a - b).map((id) => make("tr", { "data-key": `o${id}` },
    make("th", { scope: "row" }, swatch(id), link(named(id), `#/operator/${id}`)),
    cell(badge(told.statuses?.[id])),
    number(amount(told.operatorStakes?.[id], state.unit)),
    number(amount(told.rewards?.[id], state.unit)),
    number(ratio(told.stakePerShare?.[id])),
    number(perquintill(told.sharePricesPerq?.[id])),
    cell(told.priceSources?.[id] ?? nothing("none"))));
  const block = (at, hash) => (at === null ? null : make("span", {}, `${grouped(at)} `, make("code", {}, hash ?? "")));
  const misfits = told.quarantined.map((one) => make("li", {}, make("code", {}, one.item), `: ${one.reason}`));
  return [
    make("p", { class: "crumbs" }, link("Overview", "#/"),
      told.previous === null ? null : link(`Epoch ${grouped(told.previous)}, before`, `#/epoch/${told.previous}`),
      told.next === null ? null : link(`Epoch ${grouped(told.next)}, after`, `#/epoch/${told.next}`),
      link("CSV", `api/epochs/${epoch}?format=csv`), link("JSON", `api/epochs/${epoch}`)),
    make("h1", { tabindex: "-1" }, `Epoch ${grouped(epoch)}`,
      told.complete === true ? badge("complete", "good") : told.complete === false ? badge("incomplete", "bad") : badge("not verified", "warn"),
      badge(told.source ?? "unknown source", "")),
    misfits.length ? make("div", { class: "notice bad" }, "In quarantine, and unknown below:", make("ul", {}, ...misfits)) : null,
    facts([
      ["Ended", `${moment(told.timestamp)} UTC${told.timestampFromChain ? "" : " (clock of a legacy snapshot)"}`],
      ["End block", block(told.endBlock, told.endHash)],
      ["Transition block", block(told.transitionBlock, told.transitionHash)],
      ["Spec version", told.specVersion === null ? null : String(told.specVersion)],
      ["Total stake", amount(told.totalStake, state.unit)],
      ["Total shares", unknown(told.totalShares) ? null : grouped(told.totalShares)],
      ["Stake per share of all", ratio(told.networkStakePerShare, "unknown")],
      ["Storage fee fund", amount(told.storageFees, state.unit)],
      ["Treasury funds", amount(told.treasuryFunds, state.unit)],
      ["Chain rewards", amount(told.chainRewards, state.unit)],
      ["Operators", unknown(told.operatorCount) ? null : grouped(told.operatorCount)],
    ]),
    make("h2", {}, "Operators in this epoch"),
    table("Operators in this epoch", [["Operator"], ["Status"], ["Stake", NUMBER], ["Reward", NUMBER], ["Stake per share", NUMBER], ["Perquintill", NUMBER], ["Source"]], rows, "max-height:420px"),
  ];
}
