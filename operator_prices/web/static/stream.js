// The worker that all tabs of a browser share: one stream for those of them that are visible, none for none.

import { Stream } from "./source.js";

/** A visible tab says so again this often; one that was not heard of for three times as long is gone. */
const BEAT = 20_000;

const watching = new Map();
let stream = null;

const tell = (message) => {
  for (const port of watching.keys()) port.postMessage(message);
};

function settle() {
  if (!stream) return;
  if (watching.size) stream.open();
  else stream.close();
}

onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    stream ??= new Stream(data.address, tell);
    if (!data.watching) watching.delete(port);
    else {
      const back = !watching.has(port);
      watching.set(port, Date.now());
      if (back && stream.connected) port.postMessage({ open: true }); // what it missed meanwhile, it fetches now
    }
    settle();
  };
};

setInterval(() => {
  for (const [port, seen] of watching) if (Date.now() - seen > 3 * BEAT) watching.delete(port);
  settle();
}, BEAT);
