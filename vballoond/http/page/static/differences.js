/** Where the policy in shadow wishes something else than the one that acts. */
import { make, setText } from "./elements.js";
import { bytes, plural } from "./units.js";

const MOST_SHOWN = 50;

/** @param {Record<string, any>} difference */
function differenceLine(difference) {
  const line = make("li");
  const head = make("p", "decision-head");
  const way = `${bytes(difference.shadow_bytes)} instead of ${bytes(difference.acting_bytes)}`;
  head.append(make("b", "said", difference.balloon), make("span", "way", way));
  line.append(head, make("p", "said quiet", difference.shadow_reason ?? "it has no wish"));
  return line;
}

/** The list, folded. */
export class Differences {
  element = make("details");
  #folded = make("summary");
  #list = make("ul", "differences");
  #shown = "";

  constructor() {
    this.element.append(this.#folded, this.#list);
  }

  /** @param {Record<string, any>[]} differences */
  show(differences) {
    const text = JSON.stringify(differences);
    if (text === this.#shown) return;
    this.#shown = text;
    const count = differences.length;
    setText(this.#folded, count ? `Wishes something else for ${plural(count, "balloon")}` : "Wishes the same");
    const lines = differences.slice(0, MOST_SHOWN).map(differenceLine);
    if (count > MOST_SHOWN) lines.push(make("li", "quiet", `and ${count - MOST_SHOWN} more`));
    this.#list.replaceChildren(...lines);
  }
}
