// What of a series is drawn: as many points as there are pixels, and nothing where nothing is known.

/**
 * The smallest and largest value of each run of points that share a pixel, in their order. Where epochs are missing
 * between two points there is a NaN, so that no line spans them.
 */
export function thinned(xs, ys, offset, first, last, pixels) {
  const count = last - first + 1;
  const outX = [];
  const outY = [];
  let before = -1;
  const push = (i) => {
    if (before >= 0 && xs[i] - xs[before] > i - before) {
      outX.push(xs[before]);
      outY.push(NaN);
    }
    outX.push(xs[i]);
    outY.push(ys[offset + i]);
    before = i;
  };
  if (count <= 2 * pixels) {
    for (let i = first; i <= last; i++) push(i);
    return [outX, outY];
  }
  const step = count / pixels;
  for (let bucket = 0; bucket < pixels; bucket++) {
    const from = first + Math.floor(bucket * step);
    const until = Math.min(last + 1, first + Math.floor((bucket + 1) * step));
    let low = -1;
    let high = -1;
    for (let i = from; i < until; i++) {
      const value = ys[offset + i];
      if (Number.isNaN(value)) continue;
      if (low < 0 || value < ys[offset + low]) low = i;
      if (high < 0 || value > ys[offset + high]) high = i;
    }
    if (low < 0) push(from);
    else {
      push(Math.min(low, high));
      if (low !== high) push(Math.max(low, high));
    }
  }
  return [outX, outY];
}

/** The points that no line reaches: both neighbours are unknown. */
export function lonely({ xs, ys, color }) {
  const found = { x: [], y: [], color: [] };
  ys.forEach((values, series) => {
    for (let i = 0; i < values.length; i++) {
      if (Number.isNaN(values[i]) || !Number.isNaN(values[i - 1] ?? NaN) || !Number.isNaN(values[i + 1] ?? NaN)) continue;
      found.x.push(xs[series][i]);
      found.y.push(values[i]);
      found.color.push(color[series]);
    }
  });
  return found;
}

/** Runs of known neighbours as shapes that stand on zero: what is unknown is a hole, not a slope down to it. */
export function shapes(xs, ys) {
  const found = { xs: [], ys: [] };
  let run = [];
  const close = () => {
    if (!run.length) return;
    const [left, right] = [xs[run[0]] - 0.5, xs[run[run.length - 1]] + 0.5];
    const top = run.map((i) => ys[i]);
    found.xs.push([left, left, ...run.map((i) => xs[i]), right, right]);
    found.ys.push([0, top[0], ...top, top[top.length - 1], 0]);
    run = [];
  };
  ys.forEach((value, i) => {
    if (Number.isNaN(value)) close();
    else run.push(i);
  });
  close();
  return found;
}

/** The first index whose epoch is at least `epoch`. */
export function lower(epochs, epoch) {
  let low = 0;
  let high = epochs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (epochs[middle] < epoch) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The least and the greatest of all known values. */
export function extent(ys) {
  let low = Infinity;
  let high = -Infinity;
  for (const values of ys) {
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return { low, high };
}
