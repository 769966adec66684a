// The colours of operators, and those of the theme.

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const HUES = ["#3454d1", "#d9822b", "#178a5e", "#b8336a", "#7a52c7", "#0f8ea8", "#6f8f12", "#5b6b8c"];
const HUES_DARK = ["#8aa2ff", "#ffb468", "#5fd6a0", "#ff8ab8", "#bda2ff", "#58cfe6", "#c3dc6a", "#a9b6d6"];

/** A colour for an operator: its own, one of eight, or one of as many as are needed. */
export function color(id, own, dark) {
  if (own) return own;
  const hues = dark ? HUES_DARK : HUES;
  if (id < hues.length) return hues[id];
  return `hsl(${((id * 137.508) % 360).toFixed(1)} ${58 + (id % 3) * 9}% ${dark ? 66 + (id % 2) * 6 : 40 + (id % 2) * 7}%)`;
}
