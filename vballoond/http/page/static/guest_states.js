/**
 * What the guest itself says of its frames, which only a modelled guest does: read once a second while the map is near
 * enough to show it.
 */
import { Lost, Refused } from "./api.js";
import { ABSENT, BALLOONED, STATES } from "./frame_states.js";
import { readPalettePng } from "./palette_png.js";

export const MOST_FRAMES = 2 ** 20;
const INTERVAL_MS = 1000;
const ASKED = STATES.slice(0, ABSENT).join(",");

/**
 * For each cell the state that most of its frames are in; ballooned ones do not count, of which the densities tell.
 * @param {Uint8Array} codes  of frames
 * @param {number} scale  frames in a cell
 */
export function prevailing(codes, scale) {
  if (scale === 1) return codes;
  const cells = new Uint8Array(Math.ceil(codes.length / scale)).fill(BALLOONED);
  const counts = new Uint32Array(STATES.length);
  for (let cell = 0; cell < cells.length; cell += 1) {
    counts.fill(0);
    const end = Math.min(codes.length, (cell + 1) * scale);
    for (let frame = cell * scale; frame < end; frame += 1) counts[codes[frame]] += 1;
    let most = 0;
    for (let code = 0; code < BALLOONED; code += 1) {
      if (counts[code] > most) [most, cells[cell]] = [counts[code], code];
    }
    if (!most && counts[ABSENT]) cells[cell] = ABSENT;
  }
  return cells;
}

/** Reads the states of the frames that are to be seen. `changed` is called with each answer. */
export class GuestStates {
  first = 0;
  /** @type {Uint8Array|null} */
  codes = null;
  #cells = new Uint8Array(0);
  #cellScale = 0;
  /** @type {{name: string, first: number, count: number}|null} */
  #wanted = null;
  #timer = 0;
  #reading = false;

  /**
   * @param {import("./api.js").Api} api
   * @param {() => void} changed
   */
  constructor(api, changed) {
    this.api = api;
    this.changed = changed;
  }

  /**
   * Read this window from now on; null: none.
   * @param {{name: string, first: number, count: number}|null} wanted
   */
  want(wanted) {
    const same = wanted?.name === this.#wanted?.name && wanted?.first === this.#wanted?.first;
    if (same && wanted?.count === this.#wanted?.count) return;
    if (wanted?.name !== this.#wanted?.name || !wanted) this.#forget();
    this.#wanted = wanted;
    clearTimeout(this.#timer);
    if (wanted && !this.#reading) this.#read();
  }

  /**
   * The state that prevails in a cell; undefined where it is not known.
   * @param {number} frame
   * @param {number} scale
   */
  at(frame, scale) {
    if (!this.codes || frame < this.first || frame >= this.first + this.codes.length) return undefined;
    if (this.#cellScale !== scale) {
      this.#cells = prevailing(this.codes, scale);
      this.#cellScale = scale;
    }
    return this.#cells[Math.floor((frame - this.first) / scale)];
  }

  #forget() {
    this.codes = null;
    this.#cellScale = 0;
  }

  async #read() {
    const wanted = this.#wanted;
    if (!wanted) return;
    this.#reading = true;
    const { name, first, count } = wanted;
    try {
      if (!document.hidden) {
        const query = `format=png&scale=1&width=1024&first=${first}&count=${count}&state=${ASKED}`;
        const answer = await this.api.request(`/v1/balloons/${name}/frames?${query}`);
        const { codes } = await readPalettePng(await answer.arrayBuffer());
        if (this.#wanted?.name === name) this.#take(first, codes.subarray(0, count));
      }
    } catch (error) {
      if (!(error instanceof Lost || error instanceof Refused || error instanceof TypeError)) throw error;
      this.#forget();
    } finally {
      this.#reading = false;
      if (this.#wanted === wanted) this.#timer = setTimeout(() => this.#read(), INTERVAL_MS);
      else this.#read();
    }
  }

  /**
   * @param {number} first
   * @param {Uint8Array} codes
   */
  #take(first, codes) {
    this.first = first;
    this.codes = codes;
    this.#cellScale = 0;
    this.changed();
  }
}
