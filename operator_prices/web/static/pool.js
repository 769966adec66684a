// The nominators of an operator on its page: how many, who holds how much, and what came and went.

import { link, make, table } from "./elements.js";
import { amount, grouped, nothing, percent, unknown } from "./numbers.js";
import { json, state } from "./state.js";

const LARGEST = 20;
/** Of how many epochs what came and went is shown. */
const FLOWS = 500;
const NUMBER = true;

const cell = (...children) => make("td", {}, ...children);
const number = (...children) => make("td", { class: "number" }, ...children);

/** The largest nominators and the latest flows; null where nominators are left out. */
export async function poolFacts(id) {
  const since = Math.max(0, (state.status?.lastEpoch ?? 0) - FLOWS + 1);
  try {
    const [nominators, flows] = await Promise.all([json(`api/operators/${id}/nominators?limit=${LARGEST}`), json(`api/operators/${id}/flows?from=${since}`)]);
    return { nominators, flows };
  } catch (error) {
    if (error.refused) return null;
    throw error;
  }
}

/** A part of a whole as decimal text, cut after 18 digits. */
function part(shares, whole) {
  if (unknown(whole) || BigInt(whole) === 0n) return null;
  const digits = String((BigInt(shares) * 10n ** 18n) / BigInt(whole)).padStart(19, "0");
  return `${digits.slice(0, -18)}.${digits.slice(-18)}`;
}

export function poolParts(id, told) {
  if (!told || told.nominators.epoch === null) return [];
  const { nominators, flows } = told;
  return [
    make("h2", {}, "Nominators"),
    make("p", { class: "unit" }, `${grouped(nominators.nominatorCount)} at epoch ${grouped(nominators.epoch)}. `, link("CSV", `api/operators/${id}/nominators?format=csv&limit=1000`), " of the largest 1,000"),
    ...(nominators.nominatorCount ? [distribution(nominators), largest(nominators)] : []),
    make("h2", {}, "Deposits and withdrawals"),
    make("p", { class: "unit" }, `In the last ${FLOWS} epochs. `, link("CSV", `api/operators/${id}/flows?format=csv`), " of all"),
    flowing([...flows].reverse()),
  ];
}

/** How much of the pool the largest hold: a bar for each group. */
function distribution({ shares, largest: held, nominatorCount }) {
  const groups = [[1, "The largest"], [10, "The largest 10"], [100, "The largest 100"]].filter(([count]) => count === 1 || count / 10 < nominatorCount);
  const rows = groups.map(([count, name]) => {
    const told = part(held[count], shares);
    return make("div", {}, make("dt", {}, name), make("dd", {},
      make("span", { class: "bar", "aria-hidden": "true", style: `--part:${told === null ? 0 : Math.min(1, Number(told))}` }),
      told === null ? nothing("unknown") : percent(told, 2)));
  });
  return make("dl", { class: "bars", "data-key": "distribution" }, ...rows);
}

function largest({ nominators }) {
  const rows = nominators.map((one) => make("tr", { "data-key": one.nominator },
    make("th", { scope: "row" }, make("a", { href: `#/nominators/${one.address ?? one.nominator}`, title: one.nominator }, make("code", {}, one.address ?? one.nominator))),
    number(unknown(one.shareOfPool) ? nothing("unknown") : percent(one.shareOfPool)),
    number(amount(one.stake, state.unit)),
    number(amount(one.pending, state.unit)),
    number(amount(one.unlocking, state.unit))));
  return table("Largest nominators", [["Account"], ["Of the pool", NUMBER], ["Stake", NUMBER], ["Pending", NUMBER], ["Unlocking", NUMBER]], rows, "max-height:320px");
}

function flowing(flows) {
  if (!flows.length) return make("p", { class: "none" }, "Nothing was paid in or out in them.");
  const counted = (count, told) => (unknown(count) ? nothing("unknown") : count ? make("span", {}, amount(told, state.unit), make("span", { class: "from" }, `${grouped(count)}×`)) : nothing("–"));
  const rows = flows.map((flow) => make("tr", { "data-key": `f${flow.epoch}` },
    make("th", { scope: "row" }, link(grouped(flow.epoch), `#/epoch/${flow.epoch}`)),
    number(counted(flow.deposits, flow.paidIn)),
    number(counted(flow.withdrawals, flow.withdrawn)),
    number(counted(flow.unlocks, flow.paidOut)),
    number(unknown(flow.tax) ? nothing("unknown") : flow.tax === "0" ? nothing("–") : amount(flow.tax, state.unit))));
  return table("Deposits and withdrawals", [["Epoch"], ["Paid in", NUMBER], ["Withdrawn", NUMBER], ["Paid out", NUMBER], ["Tax to the owner", NUMBER]], rows, "max-height:320px");
}
