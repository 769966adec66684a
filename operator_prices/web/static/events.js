// What has happened to an operator, told by the differences between the rows of its epochs.

import { worded } from "./elements.js";
import { unknown } from "./numbers.js";

/** Events as `{ epoch, timestamp, text }`, the newest first; `bounds` are the first and the last stored epoch. */
export function events(points, bounds) {
  if (!points.length) return [];
  const found = [];
  const tell = ({ epoch, timestamp }, text) => found.push({ epoch, timestamp, text });
  const [first] = points;
  tell(first, first.epoch > bounds.first ? `Registered: its first epoch, ${worded(first.status)}` : `Already ${worded(first.status)} in the first stored epoch`);
  let status = first.status;
  let tax = first.nominationTax;
  let before = first;
  for (const point of points.slice(1)) {
    if (!unknown(point.status) && point.status !== status) {
      tell(point, unknown(status) ? `Status: ${worded(point.status)}` : `Status changed from ${worded(status)} to ${worded(point.status)}`);
      status = point.status;
    }
    if (!unknown(point.nominationTax) && point.nominationTax !== tax) {
      if (!unknown(tax)) tell(point, `Nomination tax ${point.nominationTax > tax ? "raised" : "lowered"} from ${tax} % to ${point.nominationTax} %`);
      tax = point.nominationTax;
    }
    before = point;
  }
  if (before.epoch < bounds.last) tell(before, "Its last epoch: the chain keeps no entry of it since");
  return found.reverse();
}
