// The axes of a chart: round numbers, powers of ten and round dates, and what is written beside them.

import { grouped } from "./numbers.js";

/** Round numbers between `low` and `high`, and how many decimals they need. */
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((one) => one * power >= rough) * power;
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high; at++) found.push(at * step);
  const places = Math.max(0, -Math.floor(Math.log10(step)));
  return { found, step, places: step * 10 ** places % 1 > 1e-6 ? places + 1 : places };
}

const SUFFIXES = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"], [1, ""]];

/** The names of ticks, all with the same suffix or all plain. */
function labels({ found, step, places }, short) {
  if (!short) return found.map((at) => fixed(at, Math.min(places, 18)));
  const most = Math.max(...found.map(Math.abs), 0);
  const [size, suffix] = SUFFIXES.find(([size]) => most >= size) ?? SUFFIXES[SUFFIXES.length - 1];
  const needed = Math.max(0, Math.ceil(-Math.log10(step / size) - 1e-9));
  const exactly = (step / size) * 10 ** needed % 1 > 1e-6 ? needed + 1 : needed;
  return found.map((at) => (at === 0 ? "0" : `${fixed(at / size, Math.min(exactly, 18))}${suffix}`));
}

function fixed(number, places) {
  const [whole, rest] = number.toFixed(places).split(".");
  return rest ? `${grouped(whole)}.${rest}` : grouped(whole);
}

/** Where the marks of a value axis stand between `start` and `end`, and their names; log axes are given as powers of ten. */
export function levels(start, end, wanted, logarithmic, short) {
  if (!logarithmic) {
    const round = ticks(start, end, wanted);
    return { at: round.found, names: labels(round, short) };
  }
  if (end - start < 0.7) {
    const round = ticks(10 ** start, 10 ** end, wanted);
    return { at: round.found.map(Math.log10), names: labels(round, short) };
  }
  const steps = end - start > wanted / 2 ? [1] : end - start > wanted / 3 ? [1, 3] : [1, 2, 5];
  const every = Math.max(1, Math.ceil((end - start) / wanted));
  const found = [];
  for (let power = Math.floor(start); power <= end; power++) {
    for (const step of steps) if (power % every === 0 || steps.length > 1) found.push(step * 10 ** power);
  }
  const seen = found.filter((one) => Math.log10(one) >= start && Math.log10(one) <= end);
  return { at: seen.map(Math.log10), names: seen.map((one) => alone(one)) };
}

/** A power of ten, or a small multiple of one, by itself. */
function alone(value) {
  const [size, suffix] = SUFFIXES.find(([one]) => value >= one) ?? [1, ""];
  return value >= 1 ? `${Number((value / size).toPrecision(3))}${suffix}` : String(Number(value.toPrecision(3)));
}

/** A value in five figures, or in three and a suffix where it is large. */
export const figures = (value) => (Math.abs(value) >= 1e4 ? alone(value) : value.toPrecision(5));

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY];
const MONTHS = [1, 2, 3, 6, 12, 24, 60, 120];
const WIDTH = 96;

/**
 * Round dates between two epochs: where they are on an axis of epochs, and their names. `clock` has `epochs`, their end
 * `times` in milliseconds, and whether it is `local`; where times are missing or not in order there are no dates.
 */
export function dates({ epochs, times, local }, start, end, width) {
  const none = { at: [], names: [] };
  const inside = [];
  for (let i = 0; i < epochs.length; i++) if (epochs[i] >= start && epochs[i] <= end) inside.push(i);
  if (inside.length < 2) return none;
  const [first, last] = [inside[0], inside[inside.length - 1]];
  const ordered = inside.every((i) => !Number.isNaN(times[i]) && (i === first || times[i] > times[i - 1]));
  if (!ordered) return none;
  const wanted = Math.max(2, Math.floor(width / WIDTH));
  const found = rounded(times[first], times[last], wanted, local);
  let i = first;
  const at = found.map(({ time }) => {
    while (i < last - 1 && times[i + 1] < time) i++;
    return epochs[i] + ((time - times[i]) / (times[i + 1] - times[i])) * (epochs[i + 1] - epochs[i]);
  });
  return { at, names: found.map(({ name }) => name) };
}

/** Round moments from `from` to `to`, at most `wanted`, each named by what is new in it. */
function rounded(from, to, wanted, local) {
  const step = STEPS.find((one) => (to - from) / one <= wanted);
  const zone = local ? undefined : "UTC";
  const time = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" });
  const day = new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short" });
  const month = new Intl.DateTimeFormat("en-GB", { timeZone: zone, month: "short", year: "numeric" });
  const found = [];
  if (!step) {
    const months = MONTHS.find((one) => (to - from) / (30.4 * DAY * one) <= wanted) ?? 120;
    const begin = new Date(from);
    for (let year = begin.getUTCFullYear(), index = 0; ; index += months) {
      const at = local ? new Date(year, index, 1).getTime() : Date.UTC(year, index, 1);
      if (at > to) return found;
      if (at >= from) found.push({ time: at, name: month.format(at) });
    }
  }
  const offset = (at) => (local ? new Date(at).getTimezoneOffset() * MINUTE : 0);
  let before = "";
  for (let at = Math.ceil((from - offset(from)) / step) * step + offset(from); at <= to; at += step) {
    const date = day.format(at);
    const fresh = date !== before;
    found.push({ time: at, name: step >= DAY ? date : fresh ? `${date} ${time.format(at)}` : time.format(at) });
    before = date;
  }
  return found;
}
