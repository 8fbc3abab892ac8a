/** What a policy decided, and why, the newest first. Until one decides something, the place for it says so. */
import { eventLine } from "./events.js";
import { byId } from "./elements.js";

const MOST_DECISIONS = 100;

/** The panel of decisions. */
export class Policy {
  #list = byId("policy");

  /** @param {import("./store.js").DaemonEvent} event */
  add(event) {
    if (event.kind !== "policy") return;
    // A decision says which balloon; several may come together.
    const decisions = Array.isArray(event.decisions) ? event.decisions : [event];
    this.#list.prepend(...decisions.map((decision) => eventLine({ ...event, ...decision })));
    while (this.#list.childElementCount > MOST_DECISIONS) this.#list.lastElementChild?.remove();
    this.#list.hidden = false;
    byId("policy-none").hidden = true;
  }
}
