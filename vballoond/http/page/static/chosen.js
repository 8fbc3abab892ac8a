/** The chosen balloon: its head, and the parts of the page that show one balloon. */
import { STATE_MARKS } from "./balloons.js";
import { byId, oncePerPicture, setText } from "./elements.js";
import { bytes, count, exactBytes } from "./units.js";

/** @typedef {import("./store.js").Balloon} Balloon */

/**
 * A part of the page that shows one balloon.
 * @typedef {object} Part
 * @property {(balloon: Balloon, now: number) => void} show
 */

/** Shows the chosen balloon, and follows it. */
export class Chosen {
  /** @type {string|null} */
  #name = null;
  #draw = oncePerPicture(() => this.#drawNow());

  /**
   * @param {import("./store.js").Store} store
   * @param {Part[]} parts
   */
  constructor(store, parts) {
    this.store = store;
    this.parts = parts;
    store.onChange((name) => {
      if (name === null || name === this.#name) this.#draw();
    });
  }

  /** @param {string|null} name */
  choose(name) {
    this.#name = name;
    this.#draw();
  }

  /** Draw again what changes with time alone. */
  tick() {
    this.#draw();
  }

  #drawNow() {
    const balloon = this.#name === null ? undefined : this.store.balloons.get(this.#name);
    byId("nothing").hidden = balloon !== undefined;
    byId("chosen").hidden = balloon === undefined;
    setText(byId("nothing"), this.#name === null ? "No balloon is chosen." : `There is no balloon ${this.#name} any more.`);
    if (!balloon) return;
    this.#drawHead(balloon);
    for (const part of this.parts) part.show(balloon, this.store.now);
  }

  /** @param {Balloon} balloon */
  #drawHead(balloon) {
    setText(byId("name"), balloon.name);
    const state = byId("state");
    state.dataset.state = balloon.state;
    setText(state, `${STATE_MARKS[/** @type {keyof STATE_MARKS} */ (balloon.state)] ?? "?"} ${balloon.state}`);
    setText(byId("transport"), [balloon.transport, ...(balloon.features?.negotiated ?? [])].join(" · "));
    byId("reason").hidden = !balloon.reason;
    setText(byId("reason"), balloon.reason ? `Broken: ${balloon.reason}` : "");
    setText(byId("figure-target"), exactBytes(balloon.target_bytes));
    setText(byId("figure-actual"), exactBytes(balloon.actual_bytes));
    setText(byId("figure-resident"), bytes(balloon.resident_bytes));
    setText(byId("figure-memory"), bytes(balloon.memory_bytes));
    setText(byId("figure-reclaimed"), bytes(balloon.reclaimed_bytes));
    setText(byId("figure-migrated"), `${count(balloon.counters?.migrated_frames ?? 0)} pages`);
  }
}
