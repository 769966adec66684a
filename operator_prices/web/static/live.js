// What arrives while the page is open: it is done one thing at a time, and again until it works.

import { Stream } from "./source.js";

const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;

/** Epochs that come one after another are fetched together: after so long without a new one, or so long at most. */
const QUIET = 250;
const BURST = 2_500;

/** How often a visible page tells the shared stream that it is still there. */
const BEAT = 20_000;

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Errands wait for the one under way, as one; `carryOut` does them, `told` hears of success (null) or failure. */
export class Errands {
  constructor(carryOut, told) {
    this.carryOut = carryOut;
    this.told = told;
    this.due = null;
    this.busy = false;
    this.wake = () => {};
  }

  /** Any of: `load` the chosen range, `renew` what is loaded, `follow` what is newer, and `epochs` that arrived. */
  add(errand) {
    this.merge(errand);
    this.wake();
    if (!this.busy) this.work();
  }

  merge({ load = false, renew = false, follow = false, epochs = [] }) {
    const due = this.due ?? { load: false, renew: false, follow: false, epochs: [] };
    this.due = { load: due.load || load, renew: due.renew || renew, follow: due.follow || follow, epochs: [...due.epochs, ...epochs] };
  }

  async work() {
    this.busy = true;
    let pause = FIRST_PAUSE;
    while (this.due) {
      await this.gathered();
      const errand = this.due;
      this.due = null;
      try {
        await this.carryOut(errand);
        this.told(null);
        pause = FIRST_PAUSE;
      } catch (error) {
        this.merge(errand);
        this.told(error, pause);
        const woken = new Promise((done) => { this.wake = done; });
        await Promise.race([sleep(pause), woken]);
        this.wake = () => {};
        pause = Math.min(2 * pause, LONGEST_PAUSE);
      }
    }
    this.busy = false;
  }

  async gathered() {
    const until = performance.now() + BURST;
    for (let known = 0; !this.due.load && this.due.epochs.length > known && performance.now() < until;) {
      known = this.due.epochs.length;
      await sleep(QUIET);
    }
  }
}

/**
 * Listen for new epochs while the page is visible; `connected` hears true or false, `arrived` the number of an epoch.
 * All tabs of a browser share one stream, since it has but six connections to a server; a browser without shared
 * workers shows one tab at a time, and so has one stream as well.
 */
export function listen(connected, arrived) {
  const address = new URL("api/stream", location.href).href;
  const heard = ({ open, epoch }) => {
    if (open !== undefined) connected(open);
    if (epoch !== undefined) arrived(epoch);
  };
  let watch = own(address, heard);
  if (globalThis.SharedWorker) {
    const alone = watch;
    watch = shared(address, heard, () => {
      watch = alone;
      look();
    });
  }
  const look = () => watch(document.visibilityState === "visible");
  document.addEventListener("visibilitychange", look);
  addEventListener("pagehide", () => watch(false));
  addEventListener("pageshow", look);
  look();
}

/** By the worker of all tabs; `failed` is called where a browser cannot run it. */
function shared(address, heard, failed) {
  const worker = new SharedWorker(new URL("stream.js", import.meta.url), { type: "module", name: address });
  worker.onerror = failed;
  worker.port.onmessage = ({ data }) => heard(data);
  let watching = false;
  const tell = () => worker.port.postMessage({ address, watching });
  setInterval(() => { if (watching) tell(); }, BEAT);
  return (visible) => {
    watching = visible;
    tell();
  };
}

function own(address, heard) {
  const stream = new Stream(address, heard);
  return (visible) => (visible ? stream.open() : stream.close());
}
