/** What a policy would do now, as a table; those that it would move first. */
import { make } from "./elements.js";
import { alertLine } from "./decision_list.js";
import { changeText, reasonOf, settingText } from "./policy_words.js";
import { bytes, plural } from "./units.js";

const SIZES = [["now", "from_bytes"], ["wished", "wished_bytes"], ["would be", "target_bytes"]];
const MOST_ROWS = 200;
const MOST_ALERTS = 20;

/**
 * Its decisions, those that move something first.
 * @param {Record<string, any>[]} decisions
 */
export function moversFirst(decisions) {
  return [...decisions].sort((a, b) => Number(b.target_bytes !== b.from_bytes) - Number(a.target_bytes !== a.from_bytes));
}

/**
 * In a sentence.
 * @param {Record<string, any>} plan
 */
export function planSentence({ name, decisions }) {
  const moved = decisions.filter((/** @type {any} */ each) => each.target_bytes !== each.from_bytes).length;
  const wishes = decisions.length ? `has ${plural(decisions.length, "wish", "wishes")}` : "has no wishes";
  return `Now ${name} ${wishes} and would move ${moved ? plural(moved, "balloon") : "nothing"}. Nothing was changed.`;
}

/** @param {Record<string, any>} plan */
export function planResult(plan) {
  const element = make("div", "plan");
  element.append(make("p", "said", planSentence(plan)));
  if (plan.alerts.length) {
    const alerts = make("ul", "alerts");
    alerts.append(...plan.alerts.slice(0, MOST_ALERTS).map(alertLine));
    element.append(alerts);
  }
  if (plan.decisions.length) element.append(tableOf(moversFirst(plan.decisions)));
  if (plan.decisions.length > MOST_ROWS) element.append(make("p", "quiet", `and ${plan.decisions.length - MOST_ROWS} more`));
  const settings = Object.entries(plan.settings).map(([name, value]) => `${name} ${settingText(name, value)}`);
  if (settings.length) element.append(make("p", "said quiet", `With ${settings.join(", ")}`));
  return element;
}

/** @param {Record<string, any>[]} decisions */
function tableOf(decisions) {
  const frame = make("div", "plan-table");
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", "What it would do");
  const table = make("table");
  const head = make("tr");
  head.append(...["balloon", ...SIZES.map(([name]) => name), "why"].map((text) => make("th", "", text)));
  const body = make("tbody");
  body.append(...decisions.slice(0, MOST_ROWS).map(rowOf));
  const top = make("thead");
  top.append(head);
  table.append(top, body);
  frame.append(table);
  return frame;
}

/** @param {Record<string, any>} decision */
function rowOf(decision) {
  const row = make("tr", decision.target_bytes === decision.from_bytes ? "stays" : "moves");
  const sizes = SIZES.map(([name, key]) => {
    const cell = make("td", "size", bytes(decision[key]));
    cell.dataset.name = name; // told before it where the table is too narrow for columns
    return cell;
  });
  const why = make("td", "said", reasonOf(decision));
  for (const change of decision.changes) why.append(make("div", "said quiet", changeText(change)));
  row.append(make("td", "said", decision.balloon), ...sizes, why);
  return row;
}
