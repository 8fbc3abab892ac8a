/**
 * The list of balloons: a row each, with a bar of its memory. Rows are made once and then only their figures change, at
 * most once for each picture of the screen; those that are not in view cost no layout (style.css).
 */
import { byId, make, oncePerPicture, setPart, setText } from "./elements.js";
import { bytes, count } from "./units.js";

/** @typedef {import("./store.js").Balloon} Balloon */

/** By which a state is told without its colour. */
export const STATE_MARKS = { running: "●", waiting: "○", paused: "‖", broken: "✕" };
const STATE_ORDER = ["broken", "paused", "waiting", "running"];

/** @type {Record<string, (balloon: Balloon) => number>} */
const FIRST_BY = {
  name: () => 0,
  state: (balloon) => STATE_ORDER.indexOf(balloon.state),
  actual: (balloon) => -balloon.actual_bytes,
  resident: (balloon) => -(balloon.resident_bytes ?? -1),
  memory: (balloon) => -(balloon.memory_bytes ?? -1),
  moving: (balloon) => (isMoving(balloon) ? 0 : 1),
};

/** @param {Balloon} balloon */
export function isMoving(balloon) {
  return balloon.resize !== null && !balloon.resize.ended_at;
}

/**
 * Those that match, in order; those that are equal in it by name.
 * @param {Iterable<Balloon>} balloons
 * @param {string} words  all of which stand in the name or the state
 * @param {string} order  a key of FIRST_BY
 */
export function arranged(balloons, words, order) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const first = FIRST_BY[order];
  return [...balloons]
    .filter((balloon) => wanted.every((word) => `${balloon.name} ${balloon.state} ${balloon.transport}`.includes(word)))
    .sort((a, b) => first(a) - first(b) || a.name.localeCompare(b.name, "en", { numeric: true }));
}

/** The list. `onChoose` is told which balloon is chosen. */
export class BalloonList {
  /** @type {Map<string, Row>} */
  #rows = new Map();
  /** @type {Set<string>} */
  #changed = new Set();
  /** @type {string[]} */
  #order = [];
  #list = byId("balloons");
  #search = /** @type {HTMLInputElement} */ (byId("search"));
  #sort = /** @type {HTMLSelectElement} */ (byId("sort"));
  #draw = oncePerPicture(() => this.#drawNow());
  #arrange = true;
  /** @type {string|null} */
  chosen = null;

  /**
   * @param {import("./store.js").Store} store
   * @param {(name: string) => void} onChoose
   */
  constructor(store, onChoose) {
    this.store = store;
    this.onChoose = onChoose;
    store.onChange((name) => {
      if (name === null || this.#sort.value !== "name" || this.#search.value) this.#arrange = true;
      for (const each of name === null ? store.balloons.keys() : [name]) this.#changed.add(each);
      this.#draw();
    });
    this.#search.addEventListener("input", () => this.#rearrange());
    this.#sort.addEventListener("change", () => this.#rearrange());
    this.#list.addEventListener("click", (event) => {
      const row = /** @type {HTMLElement} */ (event.target).closest("li");
      if (row?.dataset.name) this.choose(row.dataset.name);
    });
    this.#list.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** @param {string} name */
  choose(name) {
    if (this.chosen !== name) {
      this.chosen = name;
      for (const [each, row] of this.#rows) row.mark(each === name);
      this.onChoose(name);
    }
    const row = this.#rows.get(name);
    if (!row) return;
    this.#list.setAttribute("aria-activedescendant", row.element.id);
    row.element.scrollIntoView({ block: "nearest" });
  }

  #rearrange() {
    this.#arrange = true;
    this.#draw();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
    const step = steps[/** @type {keyof steps} */ (event.key)];
    if (step === undefined || !this.#order.length || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const at = Math.max(0, Math.min(this.#order.length - 1, this.#order.indexOf(this.chosen ?? "") + step));
    this.choose(this.#order[at]);
  }

  #drawNow() {
    for (const name of this.#changed) {
      const balloon = this.store.balloons.get(name);
      if (!balloon) continue;
      if (!this.#rows.has(name)) this.#rows.set(name, new Row(name, name === this.chosen));
      this.#rows.get(name)?.show(balloon);
    }
    this.#changed.clear();
    if (!this.#arrange) return;
    this.#arrange = false;
    for (const [name, row] of this.#rows) {
      if (this.store.balloons.has(name)) continue;
      row.element.remove();
      this.#rows.delete(name);
    }
    this.#place(arranged(this.store.balloons.values(), this.#search.value, this.#sort.value).map(({ name }) => name));
  }

  /** @param {string[]} order */
  #place(order) {
    const none = byId("balloons-none");
    none.hidden = order.length > 0;
    setText(none, this.store.balloons.size ? "No balloon matches." : "There are no balloons yet.");
    if (order.length === this.#order.length && order.every((name, at) => name === this.#order[at])) {
      if (this.#list.childElementCount === order.length) return;
    }
    this.#order = order;
    const rows = order.map((name) => /** @type {Row} */ (this.#rows.get(name)).element);
    this.#list.replaceChildren(...rows);
  }
}

/** One balloon in the list. */
class Row {
  /**
   * @param {string} name
   * @param {boolean} chosen
   */
  constructor(name, chosen) {
    this.element = make("li", "row");
    this.element.id = `row-${name}`;
    this.element.dataset.name = name;
    this.element.setAttribute("role", "option");
    this.state = make("span", "mark");
    this.bar = make("span", "bar");
    this.bar.append(make("span", "bar-resident"), make("span", "bar-actual"), make("span", "bar-target"));
    this.bar.setAttribute("aria-hidden", "true");
    this.sizes = make("span", "row-sizes");
    this.resident = make("span", "row-resident");
    this.element.append(this.state, make("span", "row-name", name), this.sizes, this.bar, this.resident);
    this.mark(chosen);
  }

  /** @param {boolean} chosen */
  mark(chosen) {
    this.element.setAttribute("aria-selected", String(chosen));
  }

  /** @param {Balloon} balloon */
  show(balloon) {
    const { memory_bytes: memory, actual_bytes: actual, target_bytes: target, resident_bytes: resident } = balloon;
    this.element.dataset.state = balloon.state;
    this.element.classList.toggle("moving", isMoving(balloon));
    this.element.classList.toggle("apart", actual !== target);
    setText(this.state, STATE_MARKS[/** @type {keyof STATE_MARKS} */ (balloon.state)] ?? "?");
    this.state.title = balloon.reason ? `${balloon.state}: ${balloon.reason}` : balloon.state;
    this.state.setAttribute("aria-label", balloon.state);
    setText(this.sizes, actual === target ? bytes(actual) : `${bytes(actual)} → ${bytes(target)}`);
    setText(this.resident, resident === null ? "" : `${bytes(resident)} of ${bytes(memory)} resident`);
    const whole = memory ?? Math.max(target, actual, 1);
    setPart(this.bar, "--resident", (resident ?? 0) / whole);
    setPart(this.bar, "--actual", actual / whole);
    setPart(this.bar, "--target", target / whole);
  }
}

/**
 * All balloons together, for the head of the page.
 * @param {Iterable<Balloon>} balloons
 */
export function totals(balloons) {
  const all = [...balloons];
  const sum = (/** @type {(balloon: Balloon) => number|null} */ of) =>
    all.reduce((total, balloon) => total + (of(balloon) ?? 0), 0);
  return {
    balloons: count(all.length),
    memory: bytes(sum((balloon) => balloon.memory_bytes)),
    actual: bytes(sum((balloon) => balloon.actual_bytes)),
    resident: bytes(sum((balloon) => balloon.resident_bytes)),
    broken: count(all.filter((balloon) => balloon.state === "broken").length),
  };
}
