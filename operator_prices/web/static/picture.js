// A chart as an SVG document, for files and for the pages of others: what is seen, with its axes and its legend.

import { dates, levels } from "./axes.js";
import { css } from "./hues.js";
import { grouped } from "./numbers.js";
import { extent } from "./points.js";

const MARGIN = { left: 72, right: 18, top: 52, bottom: 46 };
const ROW = 20;
const LETTER = 7.2;

const escaped = (text) => String(text).replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`);
const round = (number) => Math.round(number * 100) / 100;

/** The course of a line in the drawing language of SVG; it is interrupted where a value is unknown. */
export function course(xs, ys, across, height) {
  let path = "";
  let pen = "M";
  ys.forEach((value, i) => {
    if (Number.isNaN(value)) pen = "M";
    else {
      path += `${pen}${round(across(xs[i]))} ${round(height(value))}`;
      pen = "L";
    }
  });
  return path;
}

/** The legend's entries in rows that fit the width. */
function legend(entries, width) {
  const rows = [[]];
  let used = 0;
  for (const entry of entries) {
    const size = 26 + entry.name.length * LETTER;
    if (used + size > width && rows[rows.length - 1].length) {
      rows.push([]);
      used = 0;
    }
    rows[rows.length - 1].push({ ...entry, at: used });
    used += size;
  }
  return rows;
}

/** The document as text: `found` is what `lines` gives, `entries` the names and colours of the legend. */
export function picture({ title, note, found, entries, clock, start, end, width, height }) {
  const ink = { card: css("--card"), text: css("--text"), soft: css("--soft"), grid: css("--grid"), line: css("--line") };
  const rows = legend(entries, width - 2 * MARGIN.right);
  const bottom = height - MARGIN.bottom - rows.length * ROW;
  const right = width - MARGIN.right;
  const { low, high } = extent([...found.series.ys, ...found.means.ys]);
  const room = (high - low) * 0.06 || Math.abs(high) * 1e-6 || 1;
  const [least, most] = low <= high ? [low - room, high + room] : [0, 1];
  const across = (x) => MARGIN.left + ((x - start) / (end - start)) * (right - MARGIN.left);
  const up = (y) => bottom - ((y - least) / (most - least)) * (bottom - MARGIN.top);
  const text = (x, y, words, rest = "") => `<text x="${round(x)}" y="${round(y)}" fill="${ink.soft}" ${rest}>${escaped(words)}</text>`;
  const rule = (x1, y1, x2, y2, color) => `<path d="M${round(x1)} ${round(y1)}L${round(x2)} ${round(y2)}" stroke="${color}" fill="none"/>`;
  const value = low <= high ? levels(least, most, Math.max(3, Math.round((bottom - MARGIN.top) / 42)), found.logarithmic, found.short) : { at: [], names: [] };
  const days = dates(clock, start, end, right - MARGIN.left);
  const parts = [
    `<rect width="${width}" height="${height}" fill="${ink.card}"/>`,
    `<text x="${MARGIN.right}" y="24" fill="${ink.text}" font-size="16" font-weight="650">${escaped(title)}</text>`,
    text(MARGIN.right, 42, note),
    ...value.at.map((at, i) => rule(MARGIN.left, up(at), right, up(at), ink.grid) + text(MARGIN.left - 8, up(at) + 4, value.names[i], 'text-anchor="end"')),
    rule(MARGIN.left, bottom, right, bottom, ink.line),
    ...days.at.map((at, i) => rule(across(at), bottom, across(at), bottom + 5, ink.line) + text(across(at), bottom + 18, days.names[i], 'text-anchor="middle"')),
    text(MARGIN.left, bottom + 34, `epoch ${grouped(Math.max(0, Math.ceil(start)))}`),
    text(right, bottom + 34, `epoch ${grouped(Math.floor(end))}`, 'text-anchor="end"'),
    `<clipPath id="frame"><rect x="${MARGIN.left}" y="${MARGIN.top}" width="${right - MARGIN.left}" height="${bottom - MARGIN.top}"/></clipPath><g clip-path="url(#frame)" fill="none" stroke-linejoin="bevel">`,
    ...found.series.ys.map((ys, i) => `<path d="${course(found.series.xs[i], ys, across, up)}" stroke="${found.series.color[i]}" stroke-width="1.6"/>`),
    ...found.means.ys.map((ys, i) => `<path d="${course(found.means.xs[i], ys, across, up)}" stroke="${found.means.color[i]}" stroke-width="2" stroke-dasharray="7 4"/>`),
    "</g>",
    ...rows.flatMap((row, i) => row.map(({ at, name, color }) => {
      const y = height - (rows.length - i) * ROW + 6;
      return `<rect x="${MARGIN.right + at}" y="${y - 6}" width="14" height="4" rx="2" fill="${color}"/>${text(MARGIN.right + at + 19, y, name)}`;
    })),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12">${parts.join("")}</svg>`;
}
