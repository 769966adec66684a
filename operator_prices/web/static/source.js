// The stream of new epochs: opened and closed at will, and opened again when the server ends it.

const AGAIN = 3_000;

export class Stream {
  /** `heard` is told `{ open }` when the stream comes and goes, and `{ epoch }` for each that arrives. */
  constructor(address, heard) {
    this.address = address;
    this.heard = heard;
    this.source = null;
    this.later = 0;
  }

  get connected() {
    return this.source?.readyState === EventSource.OPEN;
  }

  open() {
    if (this.source) return;
    clearTimeout(this.later);
    const source = new EventSource(this.address);
    this.source = source;
    source.addEventListener("open", () => this.heard({ open: true }));
    source.addEventListener("epoch", (event) => this.heard({ epoch: JSON.parse(event.data).epoch }));
    source.addEventListener("error", () => {
      if (this.source !== source) return;
      this.heard({ open: false });
      if (source.readyState !== EventSource.CLOSED) return; // it comes back by itself
      this.source = null;
      this.later = setTimeout(() => this.open(), AGAIN);
    });
  }

  close() {
    clearTimeout(this.later);
    this.source?.close();
    this.source = null;
  }
}
