/** The newest rounds: what moved and why; what stayed, folded. Groups that are still the same keep their elements. */
import { decisionLines } from "./decision.js";
import { byId, make, setText } from "./elements.js";
import { ProblemBox } from "./problem_box.js";
import { grouped } from "./round_groups.js";
import { plural, timeOfDay } from "./units.js";

/** @typedef {import("./round_groups.js").Group} Group */

const MOST_SHOWN = 50; // decisions of a round, of those that move and of those that do not

/** The list. */
export class DecisionList {
  #list = byId("decisions");
  /** @type {Map<string, GroupLine>} */
  #lines = new Map();

  /** @param {import("./policy_feed.js").Round[]} rounds */
  show(rounds) {
    const groups = grouped(rounds);
    const lines = new Map(groups.map((group) => [group.key, this.#lines.get(group.key) ?? new GroupLine()]));
    for (const group of groups) lines.get(group.key)?.show(group);
    const order = [...lines.values()].map(({ element }) => element);
    // Only what is new is put in, so that what somebody unfolded or reads stays where it is.
    for (const [key, line] of this.#lines) if (!lines.has(key)) line.element.remove();
    order.forEach((element, at) => {
      if (this.#list.children[at] !== element) this.#list.insertBefore(element, this.#list.children[at] ?? null);
    });
    this.#lines = lines;
    this.#list.hidden = order.length === 0;
    byId("decisions-none").hidden = order.length > 0;
  }
}

/** One group of rounds. */
class GroupLine {
  element = make("li", "round");
  #time = make("time");
  #what = make("span", "said");
  #moved = make("div");
  #alerts = make("ul", "alerts");
  #problem = new ProblemBox();
  #fold = make("details", "stayed");
  #folded = make("summary");
  #stayed = make("div");
  #newest = "";

  constructor() {
    const head = make("p", "round-head quiet");
    head.append(this.#time, this.#what);
    this.#fold.append(this.#folded, this.#stayed);
    this.element.append(head, this.#problem.element, this.#alerts, this.#moved, this.#fold);
  }

  /** @param {Group} group */
  show(group) {
    const { newest, oldest, rounds } = group;
    setText(this.#time, rounds > 1 ? `${timeOfDay(oldest.at)} – ${timeOfDay(newest.at)}` : timeOfDay(newest.at));
    setText(this.#what, rounds > 1 ? `${newest.policy}, ${plural(rounds, "round")}` : newest.policy);
    this.#time.dateTime = newest.at;
    this.#time.title = newest.at;
    if (this.#newest === `${newest.number} ${newest.at}`) return;
    this.#newest = `${newest.number} ${newest.at}`;
    this.#fill(newest);
  }

  /** @param {import("./policy_feed.js").Round} round */
  #fill(round) {
    const moved = round.decisions.filter((/** @type {any} */ each) => each.from_bytes !== each.target_bytes);
    const stayed = round.decisions.filter((/** @type {any} */ each) => each.from_bytes === each.target_bytes);
    this.#problem.show(round.error);
    this.#alerts.replaceChildren(...round.alerts.slice(0, MOST_SHOWN).map(alertLine));
    this.#moved.replaceChildren(...lines(moved));
    this.#stayed.replaceChildren(...lines(stayed));
    this.#fold.hidden = stayed.length === 0;
    setText(this.#folded, `${plural(stayed.length, "balloon")} ${stayed.length === 1 ? "stays" : "stay"} as ${stayed.length === 1 ? "it is" : "they are"}`);
    if (!round.error && !round.decisions.length) this.#moved.replaceChildren(make("p", "quiet", "no wishes"));
  }
}

/** @param {import("./policy_feed.js").Decision[]} decisions */
function lines(decisions) {
  const shown = decisions.slice(0, MOST_SHOWN).map((decision) => decisionLines(decision));
  if (decisions.length > MOST_SHOWN) shown.push(make("div", "quiet", `and ${decisions.length - MOST_SHOWN} more`));
  return shown;
}

/** @param {Record<string, any>} alert */
export function alertLine(alert) {
  const line = make("li", "said", `${alert.balloon ?? "host"}: ${alert.message}`);
  line.dataset.level = alert.level;
  return line;
}
