// What is stored, at a glance: the newest epoch in figures, how fresh it is, and what is missing.

import { find, link, make, update } from "./elements.js";
import { ago, broken, gist, grouped, moment, total } from "./numbers.js";
import { detail, json, state } from "./state.js";

function card(title, big, note) {
  return make("div", { class: "fact", "data-key": title }, make("h2", {}, title), make("p", { class: "big" }, big), make("p", { class: "note" }, note));
}

/** The newest epoch in figures. */
export async function latest() {
  const { lastEpoch } = state.status;
  if (lastEpoch === null) {
    update(find("#cards"), card("Latest epoch", "none", "nothing is stored yet"));
    return;
  }
  const told = await detail(lastEpoch);
  const rewarded = new Set([...Object.keys(told.operatorActiveStakes ?? {}), ...Object.keys(told.rewards ?? {})]);
  const nobody = told.complete === false && !rewarded.size;
  const rewards = told.rewards && !nobody ? total([...rewarded].map((id) => told.rewards[id])) : null;
  const active = state.operators.filter((one) => one.isActive).length;
  const unit = state.unit === "ai3" ? "AI3" : "Shannons";
  update(find("#cards"),
    card("Latest epoch", grouped(lastEpoch), `${moment(told.timestamp)} UTC${told.timestampFromChain ? "" : ", as a legacy snapshot says"}`),
    card("Total stake", broken(told.totalStake, state.unit), `${unit}, active operators`),
    card("Rewards of the epoch", broken(rewards, state.unit), `${unit}, before tax`),
    card("Stake per share", gist(told.networkStakePerShare), "AI3, all operators together"),
    card("Operators", grouped(active), `active, ${grouped(state.operators.length)} ever seen`));
}

/** How the dot is coloured in each state that the API tells. */
const STATES = { current: "live", past: "past", late: "late", stopped: "lost", unknown: "idle", empty: "idle" };

/** What was said of the source, when it was said, and whether new epochs can reach us. */
let fresh = null;
let connected = null;

export async function askFreshness() {
  fresh = { ...(await json("api/freshness")), at: performance.now() };
  freshness();
}

export function connection(yes) {
  connected = yes;
  freshness();
}

/** How old the newest epoch is, and whether it should be newer: never green over what is late. */
export function freshness() {
  if (state.status) {
    const { lastEpoch, lastTimestamp } = state.status;
    const age = fresh?.lastTimestamp === lastTimestamp && fresh.at ? fresh.ageMilliseconds + performance.now() - fresh.at : Date.now() - lastTimestamp;
    find("#fresh-text").textContent = lastEpoch === null ? "No epoch is stored yet" : `Epoch ${grouped(lastEpoch)} · ended ${ago(lastTimestamp, age)}`;
  }
  if (connected === null || (connected && !fresh)) return;
  const [shown, text] = connected ? [STATES[fresh.state], fresh.state === "current" ? "Live" : fresh.sentence] : ["lost", "Not connected, trying again"];
  find("#live-dot").dataset.state = shown;
  find("#fresh").dataset.state = shown;
  if (find("#connection").textContent !== text) find("#connection").textContent = text;
}

function few(epochs) {
  const links = epochs.slice(0, 12).flatMap((epoch, index) => [index ? ", " : "", link(grouped(epoch), `#/epoch/${epoch}`)]);
  return epochs.length > 12 ? [...links, ` and ${epochs.length - 12} more`] : links;
}

/** What is missing or not understood, each with links to its epochs. */
export function notices() {
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
  update(find("#notices"), ...lines);
}
