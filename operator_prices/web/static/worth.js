// The worth of accounts over time as a picture of its own: a line for each, and a mark for each payment.

import { dates, levels } from "./axes.js";
import { course } from "./picture.js";
import { extent } from "./points.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 300;
const MARGIN = { left: 64, right: 14, top: 12, bottom: 44 };

/** The shapes of the marks, around a point: into the position, out of it, and paid out to the account. */
const MARKS = {
  in: { path: (x, y) => `M${x} ${y - 7}l6 10h-12z`, name: "deposited" },
  out: { path: (x, y) => `M${x} ${y + 7}l6 -10h-12z`, name: "withdrawn" },
  paid: { path: (x, y) => `M${x - 5} ${y - 5}h10v10h-10z`, name: "paid out" },
};

function shape(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const round = (number) => Math.round(number * 10) / 10;

/**
 * The picture for so many pixels of width, called `title`. Each of `accounts` has a `name`, a `color`, the columns
 * `epochs`, `times` and `values`, and `marks` as `{ kind, epoch, text }`.
 */
export function worthPicture(title, accounts, width, local) {
  const known = accounts.filter(({ epochs }) => epochs.length);
  const clock = merged(known);
  const [start, end] = [clock.epochs[0] - 0.5, clock.epochs[clock.epochs.length - 1] + 0.5];
  const { low, high } = extent(known.map(({ values }) => values));
  const [least, most] = low <= high ? [Math.min(0, low), Math.max(0, high)] : [0, 1];
  const room = (most - least) * 0.06 || 1;
  const [base, top] = [least < 0 ? least - room : 0, most + room];
  const [right, bottom] = [width - MARGIN.right, HEIGHT - MARGIN.bottom];
  const across = (x) => MARGIN.left + ((x - start) / (end - start)) * (right - MARGIN.left);
  const up = (y) => bottom - ((y - base) / (top - base)) * (bottom - MARGIN.top);
  const svg = shape("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label(title, known, clock), class: "worth" });
  const value = levels(base, top, 6, false, true);
  value.at.forEach((at, i) => svg.append(
    shape("path", { d: `M${MARGIN.left} ${round(up(at))}H${right}`, class: "grid" }),
    shape("text", { x: MARGIN.left - 8, y: round(up(at)) + 4, "text-anchor": "end" }, value.names[i])));
  const days = dates({ ...clock, local }, start, end, right - MARGIN.left);
  days.at.forEach((at, i) => svg.append(shape("text", { x: round(across(at)), y: bottom + 17, "text-anchor": "middle" }, days.names[i])));
  svg.append(
    shape("path", { d: `M${MARGIN.left} ${bottom}H${right}`, class: "axis" }),
    shape("text", { x: MARGIN.left, y: bottom + 35 }, `epoch ${clock.epochs[0]}`),
    shape("text", { x: right, y: bottom + 35, "text-anchor": "end" }, `epoch ${clock.epochs[clock.epochs.length - 1]}`));
  for (const { epochs, values, color } of known) svg.append(shape("path", { d: course(epochs, values, across, up), fill: "none", stroke: color, "stroke-width": 1.8, "stroke-linejoin": "bevel" }));
  for (const account of known) for (const mark of account.marks) svg.append(marked(account, mark, across, up));
  return svg;
}

function marked({ epochs, values, color }, { kind, epoch, text }, across, up) {
  const value = values[epochs.indexOf(epoch)];
  const [x, y] = [round(across(epoch)), round(up(Number.isNaN(value) ? 0 : value))];
  return shape("path", { d: MARKS[kind].path(x, y), class: "mark", fill: kind === "in" ? color : "var(--card)", stroke: color, "data-mark": kind }, shape("title", {}, text));
}

/** All epochs of all accounts, each with its time. */
function merged(accounts) {
  const times = new Map(accounts.flatMap(({ epochs, times }) => epochs.map((epoch, i) => [epoch, times[i]])));
  const epochs = [...times.keys()].sort((a, b) => a - b);
  return { epochs, times: epochs.map((epoch) => times.get(epoch)) };
}

function label(title, accounts, { epochs }) {
  const counted = Object.entries(MARKS).map(([kind, { name }]) => [name, accounts.reduce((sum, { marks }) => sum + marks.filter((one) => one.kind === kind).length, 0)]);
  const marks = counted.filter(([, count]) => count).map(([name, count]) => `${count} times ${name}`).join(", ");
  return `${title} of ${accounts.map(({ name }) => name).join(" and ")} from epoch ${epochs[0]} to ${epochs[epochs.length - 1]}${marks ? `: ${marks}` : ""}. The numbers are in the tables below.`;
}

/** What the marks mean, as a line of text with their shapes. */
export function legendOfMarks() {
  return Object.entries(MARKS).map(([kind, { path, name }]) => {
    const icon = shape("svg", { width: 16, height: 16, "aria-hidden": "true", class: "worth" }, shape("path", { d: path(8, 8), class: "mark", fill: kind === "in" ? "var(--soft)" : "var(--card)", stroke: "var(--soft)" }));
    const item = document.createElement("span");
    item.append(icon, ` ${name}`);
    return item;
  });
}
