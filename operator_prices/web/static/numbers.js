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

/** All of an amount, with its unit. */
export function exact(text, unit) {
  if (text === null || text === undefined) return "unknown";
  if (unit === "shannons") return `${grouped(text)} Shannons`;
  return `${scaled(text).join(".")} AI3`;
}

/** An amount for a cell: the decimals are small, and all there. */
export function amount(text, unit) {
  if (text === null || text === undefined) return nothing("unknown");
  if (unit === "shannons") return document.createTextNode(grouped(text));
  return decimals(...scaled(text));
}

/** A price of scale 10^18, as a number of 1 and some. */
export function ratio(text) {
  if (text === null || text === undefined) return nothing("none");
  const [whole, rest] = scaled(text);
  return document.createTextNode(`${whole}.${rest}`);
}

function decimals(whole, rest) {
  const cell = document.createElement("span");
  cell.append(whole);
  const small = document.createElement("span");
  small.className = "decimals";
  small.textContent = `.${rest}`;
  cell.append(small);
  return cell;
}

export function nothing(text) {
  const cell = document.createElement("span");
  cell.className = "none";
  cell.textContent = text;
  return cell;
}

/** A fraction in decimal text as percent, cut after `places`: "0.0123456" is "1.23 %". */
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
  if (a === null || a === undefined) return b === null || b === undefined ? 0 : 1;
  if (b === null || b === undefined) return -1;
  return a < b ? -direction : a > b ? direction : 0;
}

/** A time stamp in milliseconds, in UTC. */
export function moment(milliseconds) {
  return new Date(milliseconds).toISOString().replace("T", " ").slice(0, 19);
}

export function ago(milliseconds) {
  const seconds = Math.max(0, Math.round((Date.now() - milliseconds) / 1000));
  for (const [size, name] of [[86400, "day"], [3600, "hour"], [60, "minute"]]) {
    if (seconds >= 2 * size) return `${grouped(Math.floor(seconds / size))} ${name}s ago`;
  }
  return `${seconds} seconds ago`;
}
