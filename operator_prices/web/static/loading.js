// What stands in the place of what has not come yet, and what does when it could not be had.

import { all, find } from "./elements.js";

/** What these elements show is there. */
export function came(...selectors) {
  for (const selector of selectors) find(selector).removeAttribute("aria-busy");
}

/** Nothing is shown as loading that has failed to load; it is tried again, and comes in its place. */
export function failed() {
  for (const element of all("[aria-busy]")) {
    element.removeAttribute("aria-busy");
    for (const place of element.querySelectorAll(".waiting")) {
      if (place.textContent) place.textContent = "The operators could not be loaded";
      else place.remove();
    }
  }
}
