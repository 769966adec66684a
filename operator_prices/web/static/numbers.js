// Amounts as text, from decimal strings by BigInt alone: what is printed is exact or cut, not rounded.

const AI3 = 10n ** 18n;

/** Digits in groups of three. */
export function grouped(digits) {
  return String(digits).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** [integer part, decimals] of a decimal string of 10^-18ths. */
export function scaled(text) {
  const value = BigInt(text);
  const positive = value < 0n ? -value : value;
  const whole = grouped(positive / AI3);
  return [value < 0n ? `-${whole}` : whole, String(positive % AI3).padStart(18, "0")];
}

export const unknown = (text) => text === null || text === undefined;

/** All of an amount, with its unit. */
export function exact(text, unit) {
  if (unknown(text)) return "unknown";
  if (unit === "shannons") return `${grouped(text)} Shannons`;
  return `${scaled(text).join(".")} AI3`;
}

/** An amount for a cell: the decimals are quieter, and all there. */
export function amount(text, unit) {
  if (unknown(text)) return nothing("unknown");
  if (unit === "shannons") return document.createTextNode(grouped(text));
  return decimals(...scaled(text));
}

/** An amount for a narrow place: it breaks between groups of digits and nowhere else. */
export function broken(text, unit) {
  if (unknown(text)) return nothing("unknown");
  if (unit !== "shannons") return amount(text, unit);
  const cell = document.createElement("span");
  cell.className = "long";
  const groups = grouped(text).split(",");
  groups.forEach((group, index) => {
    if (index) cell.append(document.createElement("wbr"));
    cell.append(index < groups.length - 1 ? `${group},` : group);
  });
  return cell;
}

/** A price of scale 10^18, as a number of 1 and some. */
export function ratio(text, absent = "none") {
  return unknown(text) ? nothing(absent) : document.createTextNode(scaled(text).join("."));
}

/** The same cut short behind the digits that tell it from 1, which stand out. */
export function gist(text) {
  if (unknown(text)) return nothing("unknown");
  const [whole, rest] = scaled(text);
  const same = /^(0*|9*)/.exec(rest)[0].length;
  const shown = Math.min(18, same + 4);
  const cell = document.createElement("span");
  cell.title = `${whole}.${rest}`;
  const lead = document.createElement("span");
  lead.className = "lead";
  lead.textContent = `${whole}.${rest.slice(0, same)}`;
  cell.append(lead, rest.slice(same, shown), shown < 18 ? "…" : "");
  return cell;
}

function decimals(whole, rest) {
  const cell = document.createElement("span");
  const small = document.createElement("span");
  small.className = "decimals";
  small.textContent = `.${rest}`;
  cell.append(whole, small);
  return cell;
}

export function nothing(text) {
  const cell = document.createElement("span");
  cell.className = "none";
  cell.textContent = text;
  return cell;
}

/** The sum of decimal strings; null if one of them, or all of it, is unknown. */
export function total(texts) {
  let sum = 0n;
  for (const text of texts) {
    if (unknown(text)) return null;
    sum += BigInt(text);
  }
  return String(sum);
}

/** A fraction in decimal text as percent, cut after `places`: "0.0123456" is "1.234 %". */
export function percent(text, places = 3) {
  const sign = text.startsWith("-") ? "-" : "";
  const [whole, rest = ""] = text.replace("-", "").split(".");
  const digits = whole + rest.padEnd(18, "0");
  const point = whole.length + 2;
  const shown = digits.slice(0, point).replace(/^0+(?=\d)/, "");
  return `${sign}${grouped(shown)}.${digits.slice(point, point + places)} %`;
}

/** A comparison of decimal strings, unknown ones last in either direction. */
export function compare(a, b, direction) {
  if (unknown(a)) return unknown(b) ? 0 : 1;
  if (unknown(b)) return -1;
  return a < b ? -direction : a > b ? direction : 0;
}

/** A time stamp in milliseconds, in UTC; the first generation of old snapshots has none. */
export function moment(milliseconds) {
  if (unknown(milliseconds)) return "an unknown time";
  return new Date(milliseconds).toISOString().replace("T", " ").slice(0, 19);
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const UNITS = [[31_556_952, "years"], [2_629_746, "months"], [86_400, "days"], [3_600, "hours"], [60, "minutes"]];

/** How long ago something was, in its largest unit of which there are two or more, with the day where that is long. */
export function ago(milliseconds, passed) {
  const seconds = Math.max(0, Math.round(passed / 1000));
  const [size, name] = UNITS.find(([unit]) => seconds >= 2 * unit) ?? [1, "seconds"];
  const words = `${Math.floor(seconds / size)} ${name} ago`;
  if (size < 86_400) return words;
  const day = new Date(milliseconds);
  return `${words}, on ${day.getUTCDate()} ${MONTHS[day.getUTCMonth()]} ${day.getUTCFullYear()}`;
}
