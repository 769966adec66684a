// Taking along what is seen: the numbers as CSV, the chart as PNG or SVG, the address of the chart alone.

import { query } from "./address.js";
import { all, find, make, say } from "./elements.js";
import { moment } from "./numbers.js";
import { usual } from "./operators.js";
import { picture } from "./picture.js";
import { lines, TITLES } from "./series.js";
import { data, ids, named, state, tint } from "./state.js";
import { bounds, shared } from "./view.js";

const SIZE = { width: 1200, height: 630 };
const SHARPNESS = 2;

/** The chart of `kind` in view as an SVG document. */
function drawn(kind) {
  const { epochs, times } = data();
  const [first, last] = bounds();
  const found = lines(kind, shared.start, shared.end, SIZE.width);
  const entries = found.series.ids.map((id) => ({ name: named(id), color: tint(id) }));
  const span = [first, last].map((at) => `${epochs[at]}${Number.isNaN(times[at]) ? "" : ` (${moment(times[at])} UTC)`}`).join(" to ");
  return picture({ ...SIZE, title: TITLES[kind], note: `${found.unit}; epochs ${span}`, found, entries, clock: { epochs, times, local: state.time === "local" }, start: shared.start, end: shared.end });
}

/** All that the API knows, to the last digit, of the operators and the epochs in view. */
function numbers() {
  const { epochs } = data();
  const [first, last] = bounds();
  const chosen = ids();
  const which = chosen.length === state.operators.length ? "" : `&operators=${chosen.join(",")}`;
  return `api/share-prices?format=csv&from=${epochs[first]}&to=${epochs[last]}${which}`;
}

function download(name, href) {
  const link = make("a", { href, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

const svgBlob = (kind) => new Blob([drawn(kind)], { type: "image/svg+xml" });

async function png(kind) {
  const picture = new Image();
  picture.src = URL.createObjectURL(svgBlob(kind));
  await picture.decode();
  const canvas = make("canvas", { width: SIZE.width * SHARPNESS, height: SIZE.height * SHARPNESS });
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(picture.src);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

/** The address of the chart alone, to be framed; an epoch range in view is fixed, else the newest are shown. */
export function embedded(kind) {
  const view = new URLSearchParams(query(usual()));
  view.set("chart", kind);
  if (!view.has("operators")) view.set("operators", ids().join(","));
  return new URL(`embed?${String(view).replaceAll("%2C", ",")}`, location.href).href;
}

async function save(kind, form) {
  const [first, last] = bounds().map((at) => data().epochs[at]);
  const name = `${kind}-${first}-${last}.${form}`;
  if (form === "csv") download(name, numbers());
  else if (form === "embed") open(embedded(kind), "_blank", "noopener");
  else {
    const blob = form === "png" ? await png(kind) : svgBlob(kind);
    const address = URL.createObjectURL(blob);
    download(name, address);
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }
}

export function saving() {
  for (const menu of all(".save")) {
    menu.addEventListener("click", ({ target }) => {
      const { save: form } = target.dataset;
      if (!form || !data()?.length || !ids().length) return;
      menu.open = false;
      save(menu.dataset.kind, form).catch((error) => say(`It could not be saved: ${error.message}`));
    });
  }
  document.addEventListener("click", ({ target }) => {
    for (const menu of all(".save[open]")) if (!menu.contains(target)) menu.open = false;
  });
  document.addEventListener("keydown", ({ key }) => {
    const menu = find(".save[open]");
    if (key !== "Escape" || !menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}
