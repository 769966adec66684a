// The worker that loads and keeps the history, so that the page never waits for millions of digits.
// It hands out floats to draw with, and the exact strings for whatever is printed.

let rows = [];

onmessage = async ({ data: { job, url, start, end } }) => {
  try {
    if (start !== undefined) {
      postMessage({ job, exact: rows.slice(start, end).map(told) });
      return;
    }
    const answer = await fetch(url, { cache: "no-cache" });
    if (!answer.ok) throw new Error((await answer.json()).detail ?? answer.statusText);
    merge(await answer.json());
    const drawn = series();
    postMessage({ job, drawn }, buffers(drawn));
  } catch (error) {
    postMessage({ job, error: error.message });
  }
};

function merge(fresh) {
  const known = new Map(rows.map((row) => [row.epoch, row]));
  for (const row of fresh) known.set(row.epoch, row);
  rows = [...known.values()].sort((a, b) => a.epoch - b.epoch);
}

function series() {
  const ids = new Set();
  for (const row of rows) for (const id in row.operatorStakes) ids.add(id);
  const sorted = [...ids].sort((a, b) => a - b);
  const place = new Map(sorted.map((id, index) => [id, index]));
  const length = rows.length;
  const blank = () => new Float64Array(sorted.length * length).fill(NaN);
  const drawn = {
    ids: sorted.map(Number),
    length,
    epochs: Float64Array.from(rows, (row) => row.epoch),
    totals: Float64Array.from(rows, (row) => (row.totalStake === null ? NaN : Number(row.totalStake) / 1e18)),
    stake: blank(),
    reward: blank(),
    price: blank(),
  };
  rows.forEach((row, index) => {
    const defaulted = new Set(row.meta.sharePricesDefaulted);
    for (const id in row.operatorStakes) {
      const at = place.get(id) * length + index;
      drawn.stake[at] = Number(row.operatorStakes[id]) / 1e18;
      const reward = row.rewards[id];
      if (reward !== undefined) drawn.reward[at] = Number(reward) / 1e18;
      const price = row.operatorSharePrices[id];
      if (price !== undefined && !defaulted.has(id)) drawn.price[at] = Number(price) / 1e18;
    }
  });
  return drawn;
}

function buffers(drawn) {
  return Object.values(drawn).filter(ArrayBuffer.isView).map((view) => view.buffer);
}

function told(row) {
  let rewards = 0n;
  for (const id in row.rewards) rewards += BigInt(row.rewards[id]);
  return {
    epoch: row.epoch,
    timestamp: row.timestamp,
    totalStake: row.totalStake,
    rewards: String(rewards),
    operators: row.operators,
  };
}
