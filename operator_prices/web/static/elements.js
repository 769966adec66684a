// Elements of the page: built from text, never from markup, and brought up to date in place.

import { nothing, percent } from "./numbers.js";

export const find = (selector) => document.querySelector(selector);
export const all = (selector) => [...document.querySelectorAll(selector)];
export const say = (text) => { find("#announce").textContent = text; };

/** An element; attributes that are null, undefined or false, and children that are null, are left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const link = (text, href) => make("a", { href }, text);

/**
 * Make the children of `parent` equal to `fresh`, keeping the elements that are there: with them the focus, the
 * selection and how far they are scrolled. Children with the same `data-key` are the same, wherever they stand.
 */
export function update(parent, ...fresh) {
  const focused = document.activeElement;
  children(parent, fresh.filter((child) => child !== null && child !== undefined));
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

function children(parent, fresh) {
  const keyed = new Map();
  for (const child of parent.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let at = parent.firstChild;
  for (const one of fresh) {
    const wanted = typeof one === "string" ? document.createTextNode(one) : one;
    const key = wanted.dataset?.key;
    const old = key ? keyed.get(key) : at && !at.dataset?.key && alike(at, wanted) ? at : null;
    if (!old) {
      parent.insertBefore(wanted, at);
      continue;
    }
    if (old === at) at = at.nextSibling;
    else parent.insertBefore(old, at);
    change(old, wanted);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName;

function change(old, wanted) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!wanted.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of [...wanted.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if ("checked" in wanted) old.checked = wanted.checked;
  children(old, [...wanted.childNodes]);
}

/** A table that scrolls by itself and can be reached by keyboard; numbers stand to the right. */
export function table(name, heads, rows, style) {
  const head = heads.map(([text, number]) => make("th", { scope: "col", class: number ? "number" : "" }, text));
  return make("div", { class: "scroll", style, tabindex: "0", role: "region", "aria-label": name, "data-key": name },
    make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)));
}

export function facts(pairs) {
  return make("dl", { class: "facts" }, ...pairs.map(([name, told]) => make("div", {}, make("dt", {}, name), make("dd", {}, told ?? nothing("unknown")))));
}

/** What the chain calls a status, in words, and how it is coloured. */
const STATUSES = {
  Registered: ["registered", "good"],
  Deregistered: ["deregistered", ""],
  Deactivated: ["deactivated", ""],
  Slashed: ["slashed", "bad"],
  PendingSlash: ["slash pending", "bad"],
  InvalidBundle: ["made an invalid bundle", "bad"],
};

export const worded = (status) => STATUSES[status]?.[0] ?? status ?? "unknown";

export function badge(status, kind) {
  const [words, usual] = STATUSES[status] ?? [status ?? "unknown", "warn"];
  return make("span", { class: `badge ${kind ?? usual}`, title: words === status ? null : status }, words);
}

/** A return, or why there is none. */
export function earned(told, key = "return") {
  if (!told) return make("span", { class: "none", title: "the history is too short" }, "–", make("span", { class: "hidden" }, "history too short"));
  return make("span", { class: told[key].startsWith("-") ? "down" : "up", title: told[key] }, percent(told[key]));
}

/** A table that is wider than its place says so by fading out at the side. */
export function cues() {
  for (const one of all(".scroll")) one.classList.toggle("wider", one.scrollWidth - one.clientWidth - one.scrollLeft > 4);
}
