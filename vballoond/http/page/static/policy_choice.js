/**
 * Choosing a policy, in a dialog: which, with which settings, and what it would do now. Enter asks what it would do, which
 * changes nothing; who acts changes by the buttons that say so. What the daemon refuses is said in place.
 */
import { Lost, Refused } from "./api.js";
import { byId, make } from "./elements.js";
import { planResult } from "./plan_result.js";
import { ProblemBox } from "./problem_box.js";
import { SettingsForm } from "./settings_form.js";
import { NoValue } from "./settings_schema.js";

/**
 * The settings with which a policy is at work, if it is.
 * @param {Record<string, any>} view  as the API has it
 * @param {string} name
 */
export function settingsAtWork(view, name) {
  if (view.active.name === name) return view.active.settings;
  return view.shadow?.name === name ? view.shadow.settings : {};
}

/** The dialog. */
export class PolicyChoice {
  #dialog = /** @type {HTMLDialogElement} */ (byId("policy-dialog"));
  #list = byId("policy-list");
  #error = new ProblemBox();
  #result = byId("policy-result");
  #name = "";
  #busy = false;
  /** Which answer is still wanted: another choice, or a changed setting, makes those under way worthless. */
  #question = 0;
  /** @type {SettingsForm|null} */
  #form = null;

  /**
   * @param {import("./api.js").Api} api
   * @param {import("./policy_feed.js").PolicyFeed} feed
   */
  constructor(api, feed) {
    this.api = api;
    this.feed = feed;
    byId("policy-error").append(this.#error.element);
    byId("policy-choose").addEventListener("click", () => this.open());
    byId("policy-close").addEventListener("click", () => this.#dialog.close());
    byId("policy-act").addEventListener("click", () => this.#change((form) => ({ name: this.#name, settings: form.read() })));
    byId("policy-shade").addEventListener("click", () => this.#change((form) => ({ shadow: { name: this.#name, settings: form.read() } })));
    byId("policy-unshade").addEventListener("click", () => this.#change(() => ({ shadow: null })));
    byId("policy-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#dryRun();
    });
    byId("policy-settings").addEventListener("input", () => this.#clear());
  }

  /** Begin with what is so now. */
  open() {
    const view = this.feed.view;
    if (!view || this.#dialog.open) return;
    byId("policy-unshade").hidden = !view.shadow;
    const acting = view.available.find((/** @type {any} */ each) => each.name === view.active.name) ?? view.available[0];
    const choices = view.available.map((/** @type {any} */ each) => this.#choice(each, view, each === acting));
    this.#list.replaceChildren(make("legend", "", "Policies"), ...choices);
    this.#choose(acting?.name ?? "");
    this.#dialog.showModal();
    /** @type {HTMLElement|null} */ (this.#list.querySelector("input:checked"))?.focus();
  }

  /**
   * @param {Record<string, any>} listed
   * @param {Record<string, any>} view
   * @param {boolean} chosen
   */
  #choice(listed, view, chosen) {
    const label = make("label", "policy-option");
    const radio = make("input");
    radio.type = "radio";
    radio.name = "policy";
    radio.checked = chosen;
    radio.addEventListener("change", () => this.#choose(listed.name));
    const words = make("span", "policy-option-words");
    const head = make("span", "policy-head");
    head.append(make("b", "said", listed.name), make("span", "said quiet", listed.origin));
    if (listed.name === view.active.name) head.append(make("span", "policy-mark", "acts"));
    if (listed.name === view.shadow?.name) head.append(make("span", "policy-mark", "in shadow"));
    words.append(head, make("span", "said quiet", listed.summary));
    label.append(radio, words);
    return label;
  }

  /** @param {string} name */
  #choose(name) {
    const view = this.feed.view;
    const listed = view?.available.find((/** @type {any} */ each) => each.name === name);
    this.#name = name;
    this.#clear();
    this.#form = listed && view ? new SettingsForm(listed.settings_schema, settingsAtWork(view, name)) : null;
    const legend = make("legend", "said", `Settings of ${name}`);
    byId("policy-settings").replaceChildren(legend, ...(this.#form ? [this.#form.element] : []));
  }

  #clear() {
    this.#question += 1;
    this.#error.show(null);
    this.#form?.mark("");
    this.#result.replaceChildren();
  }

  async #dryRun() {
    await this.#ask(async (form) => {
      const plan = await this.api.send("POST", "/v1/policy/plan", { name: this.#name, settings: form.read() });
      return () => {
        this.#result.replaceChildren(planResult(plan));
        this.#result.scrollIntoView({ block: "nearest" });
      };
    });
  }

  /** @param {(form: SettingsForm) => Record<string, any>} change  gives the body */
  async #change(change) {
    await this.#ask(async (form) => {
      this.feed.put(await this.api.send("PUT", "/v1/policy", change(form)));
      return () => this.#dialog.close();
    });
  }

  /** @param {(form: SettingsForm) => Promise<() => void>} ask  gives what is shown, if it is still wanted */
  async #ask(ask) {
    if (this.#busy || !this.#form) return;
    this.#clear();
    const question = this.#question;
    this.#setBusy(true);
    try {
      const show = await ask(this.#form);
      if (question === this.#question) show();
    } catch (error) {
      if (!(error instanceof Lost || error instanceof Refused || error instanceof NoValue)) throw error;
      if (question === this.#question) this.#refuse(error.message);
    } finally {
      this.#setBusy(false);
    }
  }

  /** @param {string} detail */
  #refuse(detail) {
    this.#error.show(detail);
    this.#error.element.scrollIntoView({ block: "nearest" });
    this.#form?.mark(detail);
  }

  /** @param {boolean} busy */
  #setBusy(busy) {
    this.#busy = busy;
    this.#dialog.setAttribute("aria-busy", String(busy));
  }
}
