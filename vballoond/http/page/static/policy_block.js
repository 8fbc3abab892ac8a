/** One policy at work, acting or in shadow: its name, what it does, its settings, and how it does. */
import { make, setText } from "./elements.js";
import { settingText } from "./policy_words.js";
import { ProblemBox } from "./problem_box.js";

/**
 * Settings that are not their defaults first.
 * @param {Record<string, any>} settings
 * @param {Record<string, any>} schema
 */
export function settingsInOrder(settings, schema) {
  const properties = schema.properties ?? {};
  const entries = Object.entries({ ...defaultsOf(properties), ...settings }).map(([name, value]) => {
    const changed = Object.hasOwn(properties, name) && JSON.stringify(properties[name].default) !== JSON.stringify(value);
    return { name, text: settingText(name, value), changed };
  });
  return entries.sort((a, b) => Number(b.changed) - Number(a.changed));
}

/** @param {Record<string, any>} properties */
function defaultsOf(properties) {
  return Object.fromEntries(Object.entries(properties).map(([name, property]) => [name, property.default ?? null]));
}

/** Shows one. */
export class PolicyBlock {
  element = make("div", "policy-block");
  #name = make("strong", "said");
  #mark = make("span", "policy-mark");
  #summary = make("p", "said quiet");
  #fold = make("details");
  #folded = make("summary");
  #settings = make("dl", "settings");
  #problem = new ProblemBox();
  #shown = "";

  /** @param {string} role */
  constructor(role) {
    const head = make("p", "policy-head");
    head.append(make("span", "quiet", role), this.#name, this.#mark);
    this.#fold.append(this.#folded, this.#settings);
    this.element.append(head, this.#summary, this.#problem.element, this.#fold);
  }

  /**
   * @param {Record<string, any>} chosen
   * @param {Record<string, any>|undefined} listed  among those that are available
   */
  show(chosen, listed) {
    setText(this.#name, chosen.name);
    setText(this.#mark, chosen.set_aside ? "set aside" : chosen.problem ? "fails" : listed ? "" : "is not there");
    this.#mark.hidden = !this.#mark.textContent;
    setText(this.#summary, listed?.summary ?? "");
    this.#problem.show(chosen.problem);
    const settings = settingsInOrder(chosen.settings, listed?.settings_schema ?? {});
    this.#fold.hidden = settings.length === 0;
    const changed = settings.filter((each) => each.changed).length;
    setText(this.#folded, changed ? `Settings, ${changed} not as usual` : "Settings");
    if (this.#shown === JSON.stringify(settings)) return;
    this.#shown = JSON.stringify(settings);
    this.#settings.replaceChildren(...settings.map(settingRow));
  }
}

/** @param {{name: string, text: string, changed: boolean}} setting */
function settingRow({ name, text, changed }) {
  const row = make("div", changed ? "changed" : "");
  row.append(make("dt", "said", name), make("dd", "said", text));
  return row;
}
