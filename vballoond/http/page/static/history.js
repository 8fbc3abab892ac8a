/** What was measured in the last quarter of an hour, in the order in which it came. Pure. */

export const KEPT_MS = 15 * 60_000;
const MOST_SAMPLES = 2048; // sizes come at most once a second

/**
 * @typedef {object} Sample
 * @property {number} at  milliseconds since 1970, by the daemon's clock
 * @property {Record<string, number>} values
 */

/** A balloon's samples. A curve is a staircase: what was measured holds until the next measurement. */
export class History {
  /** @type {Sample[]} */
  #samples = [];

  get samples() {
    return this.#samples;
  }

  /**
   * One that is told again, after a lost connection, takes its place in time.
   * @param {number} at
   * @param {Record<string, number|null|undefined>} values
   */
  add(at, values) {
    const known = Object.entries(values).filter(([, value]) => typeof value === "number");
    const sample = { at, values: /** @type {Record<string, number>} */ (Object.fromEntries(known)) };
    let place = this.#samples.length;
    while (place > 0 && this.#samples[place - 1].at > at) place -= 1;
    this.#samples.splice(place, 0, sample);
    this.#forget(this.#samples[this.#samples.length - 1].at - KEPT_MS);
  }

  /**
   * What a curve shows between two times: its steps, the one that holds at the beginning first.
   * @param {string} name
   * @param {number} from
   * @param {number} to
   * @returns {[number, number][]} times and values
   */
  steps(name, from, to) {
    /** @type {[number, number][]} */
    const steps = [];
    for (const { at, values } of this.#samples) {
      const value = values[name];
      if (value === undefined || at > to) continue;
      if (at <= from) steps[0] = [from, value];
      else steps.push([at, value]);
    }
    return steps;
  }

  /**
   * What held at a time; undefined before the first measurement.
   * @param {string} name
   * @param {number} at
   */
  valueAt(name, at) {
    for (let place = this.#samples.length - 1; place >= 0; place -= 1) {
      const sample = this.#samples[place];
      if (sample.at <= at && sample.values[name] !== undefined) return sample.values[name];
    }
    return undefined;
  }

  /**
   * The last sample of each curve that is older stays: it says what held at the beginning.
   * @param {number} oldest
   */
  #forget(oldest) {
    if (this.#samples.length < 2 || (this.#samples[1].at > oldest && this.#samples.length <= MOST_SAMPLES)) return;
    let gone = this.#samples.findIndex((sample) => sample.at > oldest) - 1;
    gone = Math.max(gone, this.#samples.length - MOST_SAMPLES);
    const held = Object.assign({}, ...this.#samples.slice(0, gone + 1).map((sample) => sample.values));
    this.#samples.splice(0, gone + 1, { at: this.#samples[gone].at, values: held });
  }
}
