/** Reading something again, however often it is asked for: never twice at a time, and with a rest in between. */
import { Lost, Refused } from "./api.js";

/** Reads when asked to; what is asked while it reads or rests is read once, afterwards. */
export class Refresh {
  #asked = false;
  #busy = false;

  /**
   * @param {() => Promise<void>} read  may fail as Api.request does: then everything stays as it was
   * @param {number} restMs
   */
  constructor(read, restMs) {
    this.read = read;
    this.restMs = restMs;
  }

  /** Read, at once if nothing is under way. */
  async ask() {
    this.#asked = true;
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#asked) {
        this.#asked = false;
        await this.#readOnce();
        await new Promise((resolve) => setTimeout(resolve, this.restMs));
      }
    } finally {
      this.#busy = false;
    }
  }

  async #readOnce() {
    try {
      await this.read();
    } catch (error) {
      // The daemon is gone, of which the stream of events tells, or it says no, which asking again does not change.
      if (!(error instanceof Lost || error instanceof Refused)) throw error;
    }
  }
}
