/** The panel of policies: who acts, who is in shadow, what is reserved, what was decided and why. */
import { DecisionList } from "./decision_list.js";
import { Differences } from "./differences.js";
import { byId, make, oncePerPicture, setText } from "./elements.js";
import { PolicyBlock } from "./policy_block.js";
import { ProblemBox } from "./problem_box.js";
import { Reservations } from "./reservations.js";
import { duration, plural, timeOfDay } from "./units.js";

const MOST_NAMED = 8;

/** @typedef {import("./policy_feed.js").PolicyView} PolicyView */

/**
 * Balloons that were set by hand, in a sentence; "" where there are none.
 * @param {PolicyView} view
 */
export function leftAlone({ left_alone: balloons }) {
  if (!balloons.length) return "";
  const named = balloons.slice(0, MOST_NAMED).map((/** @type {any} */ each) => `${each.balloon} until ${timeOfDay(each.until)}`);
  const more = balloons.length > MOST_NAMED ? `, and ${balloons.length - MOST_NAMED} more` : "";
  return `Set by hand, left alone: ${named.join(", ")}${more}`;
}

/** The panel. */
export class Policy {
  #acting = new PolicyBlock("acting");
  #shadow = new PolicyBlock("in shadow");
  #differences = new Differences();
  #decisions = new DecisionList();
  #reservations = new Reservations();
  #notLoaded = "";
  #draw = oncePerPicture(() => this.#drawNow());

  /**
   * @param {import("./policy_feed.js").PolicyFeed} feed
   * @param {import("./store.js").Store} store
   */
  constructor(feed, store) {
    this.feed = feed;
    this.store = store;
    this.#shadow.element.append(this.#differences.element);
    byId("policy-chosen").append(this.#acting.element, this.#shadow.element);
    feed.onChange(() => this.#draw());
  }

  /** Draw again what changes with time alone. */
  tick() {
    if (this.feed.reservations.length) this.#draw();
  }

  #drawNow() {
    this.#reservations.show(this.feed.reservations, this.store.now);
    const view = this.feed.view;
    if (!view) return;
    byId("policy-none").hidden = true;
    byId("policy-known").hidden = false;
    const listed = new Map(view.available.map((/** @type {any} */ each) => [each.name, each]));
    this.#acting.show(view.active, listed.get(view.active.name));
    this.#shadow.element.hidden = !view.shadow;
    if (view.shadow) {
      this.#shadow.show(view.shadow, listed.get(view.shadow.name));
      this.#differences.show(view.shadow.differences);
    }
    const alone = leftAlone(view);
    byId("policy-alone").hidden = !alone;
    setText(byId("policy-alone"), alone);
    this.#drawNotLoaded(view.problems);
    setText(byId("policy-interval"), view.active.name === "static" && !view.shadow ? "" : `a round every ${duration(view.interval_s)}`);
    this.#decisions.show(this.feed.rounds);
  }

  /** @param {Record<string, string>} problems by file or package */
  #drawNotLoaded(problems) {
    const text = JSON.stringify(problems);
    if (text === this.#notLoaded) return;
    this.#notLoaded = text;
    const origins = Object.entries(problems);
    byId("policy-problems").hidden = !origins.length;
    setText(byId("policy-problems-count"), `${plural(origins.length, "file or package", "files or packages")} could not be loaded`);
    byId("policy-problems-list").replaceChildren(...origins.map(notLoadedLine));
  }
}

/** @param {[string, string]} entry */
function notLoadedLine([origin, problem]) {
  const line = make("li");
  const box = new ProblemBox();
  box.show(problem);
  line.append(make("p", "said", origin), box.element);
  return line;
}
