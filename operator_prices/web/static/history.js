// The worker that loads and keeps the history, so that the page never waits for millions of digits.
// It hands out floats to draw with, and the exact strings for whatever is printed.

let rows = [];

/** Rows that were asked for before all was known that it takes to merge them, by their address. */
const early = new Map();

async function fetched(url) {
  const answer = await fetch(url, { cache: "no-cache" });
  if (!answer.ok) throw new Error((await answer.json()).detail ?? answer.statusText);
  return answer.json();
}

onmessage = async ({ data: { job, url, renew, incomplete, ahead, start, end } }) => {
  if (ahead) {
    const rows = fetched(url);
    rows.catch(() => {}); // whoever takes them hears of it
    early.set(url, rows);
    return;
  }
  try {
    if (start !== undefined) {
      postMessage({ job, exact: rows.slice(start, end).map(told) });
      return;
    }
    const fresh = early.get(url) ?? fetched(url);
    early.delete(url);
    merge(await fresh, renew, new Set(incomplete));
    const drawn = series();
    postMessage({ job, drawn }, buffers(drawn));
  } catch (error) {
    postMessage({ job, error: error.message });
  }
};

/** Take fresh rows in; with `renew`, epochs from there on that are not among them are gone. */
function merge(fresh, renew, incomplete) {
  const kept = renew === undefined ? rows : rows.filter((row) => row.epoch < (renew ?? fresh[0]?.epoch ?? 0));
  const known = new Map(kept.map((row) => [row.epoch, row]));
  for (const row of fresh) known.set(row.epoch, row);
  rows = [...known.values()].sort((a, b) => a.epoch - b.epoch);
  for (const row of rows) row.rewarded = rewarded(row, incomplete.has(row.epoch));
}

/**
 * Whether the rewards of an epoch are known. The old shape has a 0 for each of the operators 0 to 3, known or
 * not: it counts for nothing where others' are missing, or where an incomplete epoch has no reward at all.
 */
function rewarded(row, incomplete) {
  if (!row.rewards) return false;
  if (row.meta.rewardsHasAny) return true;
  return !incomplete && Object.keys(row.operatorStakes ?? {}).every((id) => (row.rewards[id] ?? null) !== null);
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
    times: Float64Array.from(rows, (row) => row.timestamp ?? NaN),
    totals: Float64Array.from(rows, (row) => number(row.totalStake)),
    meanStake: new Float64Array(length),
    meanReward: new Float64Array(length),
    meanPrice: new Float64Array(length),
    stake: blank(),
    reward: blank(),
    price: blank(),
  };
  rows.forEach((row, index) => {
    const defaulted = new Set(row.meta.sharePricesDefaulted);
    const sum = { stake: 0, reward: 0, shares: 0, priced: 0, count: 0 };
    for (const id in row.operatorStakes) {
      const at = place.get(id) * length + index;
      const stake = number(row.operatorStakes[id]);
      drawn.stake[at] = stake;
      sum.stake += stake;
      sum.count++;
      if (row.rewarded) {
        drawn.reward[at] = number(row.rewards[id]);
        sum.reward += drawn.reward[at];
      }
      if (!defaulted.has(id)) {
        const price = number(row.operatorSharePrices?.[id]);
        drawn.price[at] = price;
        if (!Number.isNaN(price)) {
          sum.shares += price * stake;
          sum.priced += stake;
        }
      }
    }
    drawn.meanStake[index] = sum.count ? sum.stake / sum.count : NaN;
    drawn.meanReward[index] = sum.count && row.rewarded ? sum.reward / sum.count : NaN;
    drawn.meanPrice[index] = sum.priced ? sum.shares / sum.priced : NaN;
  });
  return drawn;
}

const number = (text) => (text === null || text === undefined ? NaN : Number(text) / 1e18);

function buffers(drawn) {
  return Object.values(drawn).filter(ArrayBuffer.isView).map((view) => view.buffer);
}

function told(row) {
  let rewards = row.rewarded ? 0n : null;
  for (const id of new Set([...Object.keys(row.operatorStakes ?? {}), ...Object.keys(row.rewards ?? {})])) {
    const one = row.rewards?.[id] ?? null;
    rewards = rewards === null || one === null ? null : rewards + BigInt(one);
  }
  return {
    epoch: row.epoch,
    timestamp: row.timestamp,
    totalStake: row.totalStake,
    rewards: rewards === null ? null : String(rewards),
    operators: row.operators,
  };
}
