/**
 * Which part of a guest's memory the map shows, and where each frame is on it. Pure.
 *
 * The map is like a dump of memory: row by row, from left to right, a cell for `scale` frames. Columns and scale are powers
 * of two, so each row begins at a round address, and blocks of 2 MiB or 1 GiB stand below each other. Zooming in halves
 * the scale until a cell is one frame; then cells get larger and columns fewer.
 */

/**
 * Guest memory, from its first frame up to its end; there may be holes in it.
 * @typedef {{first: number, end: number}} Space
 */

const LEAST_CELL = 4; // pixels
const LARGEST_CELL = 32;
export const LARGEST_SCALE = 2 ** 32;

/** A view. It is changed by its methods; whoever draws reads what it is now. */
export class MapView {
  /** @type {Space} */
  space = { first: 0, end: 0 };
  /** Frames in a cell. */
  scale = 1;
  /** The first frame of the first row. */
  top = 0;
  /** Pixels of a cell. */
  cell = LEAST_CELL;
  columns = 64;
  rows = 1;
  /** A frame, which the keyboard moves. */
  cursor = 0;
  #width = 256;
  #height = 256;
  #baseColumns = 64;
  #magnified = 0;

  get rowFrames() {
    return this.columns * this.scale;
  }

  /** The frames that are to be seen, from row to row. */
  get first() {
    return this.top;
  }

  get count() {
    return this.rows * this.rowFrames;
  }

  /** Whether all of the memory is to be seen. */
  get whole() {
    return this.top <= this.space.first && this.top + this.count >= this.space.end;
  }

  /**
   * @param {Space} space
   * @returns {boolean} whether it is another one, of which all is shown
   */
  setSpace(space) {
    if (space.first === this.space.first && space.end === this.space.end) return false;
    this.space = space;
    this.cursor = space.first;
    this.showAll();
    return true;
  }

  /**
   * @param {number} width  pixels that are there
   * @param {number} height
   */
  resize(width, height) {
    if (width === this.#width && height === this.#height) return;
    const whole = this.whole;
    [this.#width, this.#height] = [width, height];
    this.#baseColumns = 2 ** Math.max(4, Math.floor(Math.log2(Math.max(1, width / LEAST_CELL))));
    if (whole) this.showAll();
    else this.#lay(this.top, 0);
  }

  /** The smallest scale at which everything is to be seen. */
  showAll() {
    this.#magnified = 0;
    this.scale = 1;
    this.#cells();
    while (this.scale < LARGEST_SCALE && this.#rowsOfSpace() > this.rows) this.scale *= 2;
    this.#lay(this.space.first, 0);
  }

  /**
   * Zoom so that a frame stays at its height.
   * @param {number} steps  above 0: nearer
   * @param {number} [frame]
   * @returns {boolean} whether anything changed
   */
  zoom(steps, frame = this.cursor) {
    const before = [this.scale, this.#magnified].join();
    const row = Math.max(0, Math.min(this.rows - 1, Math.floor((frame - this.top) / this.rowFrames)));
    const y = row * this.cell;
    for (let step = 0; step < Math.abs(steps); step += 1) this.#zoomOnce(steps > 0);
    this.#lay(frame, Math.min(this.rows - 1, Math.floor(y / this.cell)));
    return before !== [this.scale, this.#magnified].join();
  }

  /** @param {number} rows  above 0: towards the end */
  pan(rows) {
    const before = this.top;
    this.#lay(this.top + rows * this.rowFrames, 0);
    return this.top !== before;
  }

  /**
   * Move so that a frame is in the middle.
   * @param {number} frame
   */
  centre(frame) {
    this.#lay(frame, this.rows >> 1);
  }

  /**
   * Move the cursor by cells, and the view with it where it leaves that.
   * @param {number} cells
   */
  moveCursor(cells) {
    const aligned = Math.floor(this.cursor / this.scale) * this.scale;
    this.setCursor(aligned + cells * this.scale);
  }

  /** @param {number} frame */
  setCursor(frame) {
    this.cursor = Math.max(this.space.first, Math.min(this.space.end - 1, frame));
    if (this.cursor < this.top) this.#lay(this.cursor, 0);
    else if (this.cursor >= this.top + this.count) this.#lay(this.cursor, this.rows - 1);
  }

  /**
   * The first frame of the cell at a point; null beside the memory.
   * @param {number} x
   * @param {number} y
   */
  frameAt(x, y) {
    const [column, row] = [Math.floor(x / this.cell), Math.floor(y / this.cell)];
    if (column < 0 || column >= this.columns || row < 0 || row >= this.rows) return null;
    const frame = this.top + row * this.rowFrames + column * this.scale;
    return frame + this.scale > this.space.first && frame < this.space.end ? frame : null;
  }

  /**
   * Where the cell of a frame is, in pixels; null where it is not to be seen.
   * @param {number} frame
   * @returns {{x: number, y: number}|null}
   */
  placeOf(frame) {
    if (frame < this.top || frame >= this.top + this.count) return null;
    const at = Math.floor((frame - this.top) / this.scale);
    return { x: (at % this.columns) * this.cell, y: Math.floor(at / this.columns) * this.cell };
  }

  /** @param {boolean} nearer */
  #zoomOnce(nearer) {
    if (nearer && this.scale > 1) this.scale /= 2;
    else if (nearer) {
      if (this.columns > 8 && this.cell * 2 <= LARGEST_CELL) this.#magnified += 1;
    } else if (this.#magnified) this.#magnified -= 1;
    else if (this.#rowsOfSpace() > this.rows && this.scale < LARGEST_SCALE) this.scale *= 2;
    this.#cells();
  }

  #cells() {
    const least = Math.max(LEAST_CELL, Math.floor(this.#width / this.#baseColumns));
    this.columns = Math.max(8, this.#baseColumns / 2 ** this.#magnified);
    this.cell = least * 2 ** this.#magnified;
    this.rows = Math.max(1, Math.floor(this.#height / this.cell));
  }

  #rowsOfSpace() {
    const row = this.rowFrames;
    return Math.ceil(this.space.end / row) - Math.floor(this.space.first / row);
  }

  /**
   * Show the row of a frame as the row that is given, as far as the memory goes.
   * @param {number} frame
   * @param {number} atRow
   */
  #lay(frame, atRow) {
    this.#cells();
    const row = this.rowFrames;
    const first = Math.floor(this.space.first / row);
    const last = Math.max(first, Math.ceil(this.space.end / row) - this.rows);
    this.top = Math.min(last, Math.max(first, Math.floor(frame / row) - atRow)) * row;
  }
}
