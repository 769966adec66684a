// What arrives while the page is open: it is done one thing at a time, and again until it works.

const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;

/** Epochs that come one after another are fetched together: after so long without a new one, or so long at most. */
const QUIET = 250;
const BURST = 2_500;

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

/** Listen for new epochs for ever; `connected` hears true or false, `arrived` the number of an epoch. */
export function listen(connected, arrived) {
  const stream = new EventSource("/api/stream");
  stream.addEventListener("open", () => connected(true));
  stream.addEventListener("epoch", (event) => arrived(JSON.parse(event.data).epoch));
  stream.addEventListener("error", () => {
    connected(false);
    if (stream.readyState !== EventSource.CLOSED) return; // it comes back by itself
    setTimeout(() => listen(connected, arrived), 3_000);
  });
}
