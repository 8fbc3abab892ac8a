/** What policies have to do with the chosen balloon: the newest decision about it, and whether they leave it alone. */
import { decisionLines } from "./decision.js";
import { byId, make, setText } from "./elements.js";
import { bytes, timeOfDay } from "./units.js";

const PATIENCE_MS = 500; // for whoever walks through the list

/** @typedef {import("./policy_feed.js").PolicyView} PolicyView */

/**
 * What else is to be said of a balloon, a sentence each.
 * @param {PolicyView|null} view
 * @param {string} balloon
 */
export function notesOn(view, balloon) {
  const notes = [];
  const alone = view?.left_alone.find((/** @type {any} */ each) => each.balloon === balloon);
  if (alone) notes.push(`Set by hand: policies leave it alone until ${timeOfDay(alone.until)}.`);
  const other = view?.shadow?.differences.find((/** @type {any} */ each) => each.balloon === balloon);
  if (other) {
    const why = other.shadow_reason ? `: ${other.shadow_reason}` : "";
    notes.push(`In shadow, ${view?.shadow.name} wishes ${bytes(other.shadow_bytes)}${why}`);
  }
  return notes;
}

/** Shows them. */
export class BalloonDecision {
  #part = byId("policy-part");
  #decision = byId("policy-decision");
  #notes = byId("policy-notes");
  #shown = "";
  #balloon = "";
  #since = 0;

  /** @param {import("./policy_feed.js").PolicyFeed} feed */
  constructor(feed) {
    this.feed = feed;
  }

  /** @param {import("./store.js").Balloon} balloon */
  show(balloon) {
    const { name } = balloon;
    if (this.#balloon !== name) [this.#balloon, this.#since] = [name, Date.now()];
    else if (Date.now() - this.#since > PATIENCE_MS) this.feed.lookFor(name);
    const known = this.feed.about(name);
    const notes = notesOn(this.feed.view, name);
    const text = JSON.stringify([name, known?.round.number, known?.round.at, notes]);
    if (text === this.#shown) return;
    this.#shown = text;
    this.#part.hidden = !known && !notes.length;
    setText(byId("policy-when"), known ? `${timeOfDay(known.round.at)}, ${known.round.policy}` : "");
    this.#decision.replaceChildren(...(known ? [decisionLines(known.decision, false)] : []));
    this.#notes.replaceChildren(...notes.map((note) => make("li", "said", note)));
  }
}
