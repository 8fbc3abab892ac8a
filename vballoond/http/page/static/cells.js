/** A part of a frame map: a byte for each cell of `scale` frames, which says how much of it the balloon holds. Pure. */
import { ALL_HELD, NO_MEMORY } from "./frame_states.js";

/** Cells one after another, from the frame `first` on. */
export class Cells {
  /**
   * @param {number} first
   * @param {number} scale
   * @param {Uint8Array} densities
   */
  constructor(first, scale, densities) {
    this.first = first;
    this.scale = scale;
    this.densities = densities;
  }

  get end() {
    return this.first + this.scale * this.densities.length;
  }

  /**
   * Take densities that came as changes; what is beside this part is left out.
   * @param {[number, string][]} changes  first frames, and cells from there on in base64
   */
  change(changes) {
    for (const [first, base64] of changes) {
      const text = atob(base64);
      const start = Math.round((first - this.first) / this.scale);
      for (let at = Math.max(0, -start); at < text.length && start + at < this.densities.length; at += 1) {
        this.densities[start + at] = text.charCodeAt(at);
      }
    }
  }

  /**
   * Take ranges that came as changes of single frames.
   * @param {{first: number, count: number, ballooned: boolean}[]} ranges
   */
  changeRanges(ranges) {
    for (const { first, count, ballooned } of ranges) {
      const [start, end] = [Math.max(first, this.first), Math.min(first + count, this.end)];
      if (start < end) this.densities.fill(ballooned ? ALL_HELD : 0, start - this.first, end - this.first);
    }
  }

  /**
   * How much of a cell of any scale is held, as well as this part knows it; undefined where it knows nothing.
   * @param {number} frame  the first of the cell
   * @param {number} scale
   */
  density(frame, scale) {
    const from = Math.floor((frame - this.first) / this.scale);
    if (scale <= this.scale) return this.densities[from];
    const to = Math.min(this.densities.length, Math.floor((frame + scale - this.first) / this.scale));
    if (to <= 0 || from >= this.densities.length) return undefined;
    let [sum, cells] = [0, 0];
    for (let at = Math.max(0, from); at < to; at += 1) {
      if (this.densities[at] === NO_MEMORY) continue;
      sum += this.densities[at];
      cells += 1;
    }
    if (!cells) return NO_MEMORY;
    // None and all are said exactly: a little is never rounded to none, and nearly all is not all.
    if (sum === 0 || sum === ALL_HELD * cells) return sum / cells;
    return Math.min(ALL_HELD - 1, Math.max(1, Math.round(sum / cells)));
  }
}
