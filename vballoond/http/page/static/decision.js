/** A decision about a balloon's size: from where to where, what was wished, and everybody's reasons. */
import { make } from "./elements.js";
import { changeText, reasonOf, wayOf, wishOf } from "./policy_words.js";

/**
 * @param {import("./policy_feed.js").Decision} decision
 * @param {boolean} [named]  whether it says whose it is
 */
export function decisionLines(decision, named = true) {
  const element = make("div", decision.from_bytes === decision.target_bytes ? "decision stays" : "decision moves");
  const head = make("p", "decision-head");
  if (named) head.append(make("b", "said", decision.balloon));
  head.append(make("span", "way", wayOf(decision)));
  const wish = wishOf(decision);
  if (wish) head.append(make("span", "quiet", wish));
  element.append(head, make("p", "said quiet", reasonOf(decision)));
  if (decision.changes?.length) {
    const rules = make("ul", "rules");
    rules.setAttribute("aria-label", "What the guard made of it");
    rules.append(...decision.changes.map((/** @type {Record<string, any>} */ change) => make("li", "said", changeText(change))));
    element.append(rules);
  }
  return element;
}
