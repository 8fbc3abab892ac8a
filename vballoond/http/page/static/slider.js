/**
 * Setting a target: by a slider, or by a number. One request for each decision: when the pointer lets go, or on Enter;
 * the arrow keys only choose. Escape goes back to the target that holds.
 */
import { Lost, Refused } from "./api.js";
import { byId, setText } from "./elements.js";
import { bytes, exactBytes, MIB } from "./units.js";

/** @typedef {import("./store.js").Balloon} Balloon */

/**
 * Between what sizes a target may be, in MiB.
 * @param {Balloon} balloon
 */
export function boundsOf(balloon) {
  const least = Math.ceil((balloon.min_bytes ?? 0) / MIB);
  const most = Math.floor((balloon.max_bytes ?? balloon.memory_bytes ?? Math.max(balloon.target_bytes, 1024 * MIB)) / MIB);
  return { least, most: Math.max(least, most) };
}

/**
 * What a decision asks of the daemon.
 * @param {number} mib
 * @param {boolean} settle
 * @param {string} deadline  seconds; empty: none
 */
export function changeOf(mib, settle, deadline) {
  /** @type {Record<string, any>} */
  const change = { target_mib: mib };
  if (settle) change.settle = true;
  if (deadline.trim() !== "") change.deadline_s = Number(deadline);
  return change;
}

/** The slider and the number of the chosen balloon. */
export class Slider {
  #slider = /** @type {HTMLInputElement} */ (byId("slider"));
  #number = /** @type {HTMLInputElement} */ (byId("target"));
  #settle = /** @type {HTMLInputElement} */ (byId("settle"));
  #deadline = /** @type {HTMLInputElement} */ (byId("deadline"));
  #error = byId("resize-error");
  #byPointer = false;
  #choosing = false;
  #sending = 0;
  /** @type {Balloon|null} */
  #balloon = null;

  /**
   * @param {import("./api.js").Api} api
   * @param {import("./store.js").Store} store
   */
  constructor(api, store) {
    this.api = api;
    this.store = store;
    this.#slider.addEventListener("pointerdown", () => (this.#byPointer = true));
    this.#slider.addEventListener("pointercancel", () => (this.#byPointer = false));
    this.#slider.addEventListener("input", () => this.#choose(this.#slider));
    this.#slider.addEventListener("change", () => {
      if (this.#byPointer) this.#send();
      this.#byPointer = false;
    });
    this.#number.addEventListener("input", () => this.#choose(this.#number));
    for (const input of [this.#slider, this.#number]) {
      input.addEventListener("keydown", (event) => this.#onKey(event));
    }
    byId("resize-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  /** @param {Balloon} balloon */
  show(balloon) {
    if (this.#balloon?.name !== balloon.name) this.#forget();
    this.#balloon = balloon;
    const { least, most } = boundsOf(balloon);
    for (const input of [this.#slider, this.#number]) {
      input.min = String(least);
      input.max = String(most);
    }
    setText(byId("slider-min"), bytes(least * MIB));
    setText(byId("slider-max"), bytes(most * MIB));
    if (!this.#choosing && !this.#sending) this.#put(balloon.target_bytes / MIB);
  }

  #forget() {
    this.#choosing = false;
    this.#byPointer = false;
    this.#sending = 0;
    this.#say("");
  }

  /** @param {HTMLInputElement} by */
  #choose(by) {
    this.#choosing = true;
    this.#say("");
    const other = by === this.#slider ? this.#number : this.#slider;
    other.value = by.value;
    this.#describe();
  }

  /** @param {number} mib */
  #put(mib) {
    if (this.#slider.value !== String(Math.round(mib))) this.#slider.value = String(Math.round(mib));
    const text = Number.isInteger(mib) ? String(mib) : mib.toFixed(2);
    if (this.#number.value !== text) this.#number.value = text;
    this.#describe();
  }

  #describe() {
    this.#slider.setAttribute("aria-valuetext", exactBytes(Number(this.#number.value) * MIB));
    byId("resize-form").classList.toggle("choosing", this.#choosing);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.key === "Enter") {
      event.preventDefault();
      this.#send();
    } else if (event.key === "Escape" && this.#balloon) {
      this.#choosing = false;
      this.#say("");
      this.#put(this.#balloon.target_bytes / MIB);
    }
  }

  async #send() {
    const balloon = this.#balloon;
    if (!balloon) return;
    const mib = Number(this.#number.value);
    if (this.#number.value === "" || !Number.isInteger(mib) || mib < 0) {
      this.#say("A target is a whole number of MiB.");
      return;
    }
    this.#choosing = false;
    this.#sending += 1;
    this.#describe();
    const change = changeOf(mib, this.#settle.checked, this.#deadline.value);
    try {
      this.store.put(await this.api.patch(`/v1/balloons/${balloon.name}`, change));
    } catch (error) {
      if (!(error instanceof Lost || error instanceof Refused)) throw error;
      if (this.#balloon?.name === balloon.name) this.#refused(error);
    } finally {
      this.#sending = Math.max(0, this.#sending - 1);
      if (this.#balloon) this.show(this.#balloon);
    }
  }

  /** @param {Lost|Refused} error */
  #refused(error) {
    const limit = error instanceof Refused ? error.problem.limit_bytes : undefined;
    this.#say(limit === undefined ? `Not set: ${error.message}` : `Not set: ${error.message} (limit ${bytes(limit)})`);
  }

  /** @param {string} text */
  #say(text) {
    this.#error.hidden = text === "";
    setText(this.#error, text);
  }
}
