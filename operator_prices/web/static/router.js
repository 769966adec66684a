// Pages within the page: what the address names behind its #, and the way back.

import { cues, find, link, make, say, update } from "./elements.js";
import { multiples } from "./multiples.js";
import { accounts, nominatorFacts, nominatorPage } from "./nominators.js";
import { epochPage, feed, operatorFacts, operatorPage } from "./pages.js";
import { alone, data, state } from "./state.js";
import { forget } from "./tips.js";
import { asChosen, legend, look, outline, redraw, reset, shared } from "./view.js";

/** What had the focus when a page was opened, and what the charts showed. */
let opener = null;
let left = null;

/** What is to be remembered of a view that was left to follow the newest epochs, not to stay where it was. */
export const follow = () => { if (left) left.chosen = true; };

/** Show the page of an epoch. */
export function open(epoch) {
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
  multiples();
  redraw();
}

async function content(kind, id, text) {
  if (kind === "nominators") {
    const told = await nominatorFacts(accounts(text));
    return () => {
      scene(null);
      return nominatorPage(told);
    };
  }
  if (id === null) return [make("h1", { tabindex: "-1" }, "There is no such page"), make("p", {}, "An operator or an epoch is named by its number: ", link("overview", "#/"))];
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

function failed(name, { refused, message }) {
  return [
    make("p", { class: "crumbs" }, link("Overview", "#/")),
    make("h1", { tabindex: "-1" }, refused ? `${name} is not known` : name),
    make("p", { class: "notice" }, message),
    refused ? make("p", {}, "What is stored is in the ", link("overview of all operators", "#/"), ".") : null,
  ];
}

/** Show what the address names; after `moved` the focus follows, otherwise it is the same page brought up to date. */
export async function route(moved = false) {
  const wanted = location.hash;
  if (wanted && !wanted.startsWith("#/")) return;
  const [, kind, text] = wanted.split("/");
  const page = find("#page");
  const id = /^\d{1,10}$/.test(text ?? "") ? Number(text) : null;
  const paged = ["operator", "epoch", "nominators"].includes(kind);
  const name = kind === "nominators" ? "Nominators" : `${kind === "epoch" ? "Epoch" : "Operator"} ${id}`;
  if (paged && page.hidden) opener = document.activeElement.closest("a, button, input, [tabindex]");
  let parts = [];
  if (paged) {
    try {
      parts = await content(kind, id, text);
    } catch (error) {
      if (!moved && page.dataset.of === wanted && !error.refused) throw error; // what is shown stays, until it can be renewed
      parts = failed(name, error);
      if (kind === "operator") scene(null);
    }
    if (wanted !== location.hash) return;
  } else if (state.only !== null || left) scene(null);
  const same = page.dataset.of === wanted;
  find("#cards").hidden = paged;
  find("#operators").hidden = kind === "operator";
  page.hidden = !paged;
  document.body.dataset.page = paged ? kind : "overview";
  document.title = paged && (id !== null || kind === "nominators") ? `${name} · Operator prices` : "Operator prices";
  syndicate(kind === "operator" && id !== null ? feed(id) : null, name);
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

/** Tell feed readers of the feed that belongs to what is shown. */
function syndicate(href, title) {
  const known = find('link[rel="alternate"]');
  if (href === null) known?.remove();
  else if (known?.getAttribute("href") !== href) {
    known?.remove();
    document.head.append(make("link", { rel: "alternate", type: "application/atom+xml", title: `${title}: events`, href }));
  }
}
