/**
 * Whether the daemon answers. While it does not, everything on the page is greyed and its age is said: what is shown is
 * the last that was known.
 */
import { byId, setText } from "./elements.js";
import { duration, timeOfDay } from "./units.js";

/** Says how the connection is. Calls nobody; `tick` has it count. */
export class Connection {
  #element = byId("connection");
  /** @type {{since: number, againAt: number}|null} */
  #lost = null;
  #lastHeard = 0;

  /** Something was heard. */
  heard() {
    this.#lastHeard = Date.now();
  }

  /** It answers. */
  live() {
    this.heard();
    this.#lost = null;
    this.#show("live", "live");
  }

  /** @param {number} waitMs after which it is asked again */
  lost(waitMs) {
    this.#lost ??= { since: this.#lastHeard || Date.now(), againAt: 0 };
    this.#lost.againAt = Date.now() + waitMs;
    this.tick();
  }

  /** @param {string} why */
  refused(why) {
    this.#lost = null;
    this.#show("lost", `The daemon refused: ${why}`);
  }

  /** A second has passed. */
  tick() {
    if (!this.#lost) return;
    const age = duration((Date.now() - this.#lost.since) / 1000);
    const again = Math.max(0, Math.ceil((this.#lost.againAt - Date.now()) / 1000));
    const heard = this.#lastHeard ? `since ${timeOfDay(this.#lost.since)}, ${age} ago` : "yet";
    this.#show("lost", `No answer ${heard}; again ${again ? `in ${again} s` : "now"}`);
  }

  /**
   * @param {"live"|"lost"} state
   * @param {string} text
   */
  #show(state, text) {
    this.#element.dataset.state = state;
    document.body.classList.toggle("stale", state === "lost");
    byId("retry").hidden = state !== "lost";
    setText(byId("connection-text"), text);
  }
}
