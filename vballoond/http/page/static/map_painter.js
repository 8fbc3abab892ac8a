/** Draws a view of the frame map: addresses, cells, the cursor, and the pages that have just moved. */
import { colour, sharp } from "./canvas.js";
import { ABSENT, GUESTS, ISOLATED, NO_MEMORY, shades } from "./frame_states.js";
import { address } from "./units.js";

/** Pixels on the left, for addresses. */
export const GUTTER = 80;
const FLASH_MS = 2000;
const MOST_FLASHES = 64;

/** @typedef {import("./map_view.js").MapView} MapView */

/**
 * What is known of a cell.
 * @typedef {object} Known
 * @property {(frame: number, scale: number) => number|undefined} density
 * @property {(frame: number, scale: number) => number|undefined} state
 */

/** Draws on one canvas. */
export class MapPainter {
  #cells = document.createElement("canvas");
  /** @type {Uint32Array[]} */
  #shades = [];
  /** @type {{from: number, to: number, at: number}[]} */
  #flashes = [];
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.look();
  }

  /** The colors may be others. */
  look() {
    this.#shades = shades();
  }

  /** @param {[number, number][]} pairs of frames: from where to where a page moved */
  flash(pairs) {
    const at = performance.now();
    this.#flashes.push(...pairs.slice(-MOST_FLASHES).map(([from, to]) => ({ from, to, at })));
    this.#flashes.splice(0, this.#flashes.length - MOST_FLASHES);
  }

  /**
   * @param {MapView} view
   * @param {Known} known
   * @param {number|null} pointed  the first frame of the cell that is read
   * @returns {boolean} whether it has to be drawn again soon, because something fades
   */
  draw(view, known, pointed) {
    const { context } = sharp(this.canvas);
    this.#drawCells(context, view, known);
    this.#drawAddresses(context, view);
    if (pointed !== null) this.#drawFrame(context, view, pointed);
    return this.#drawFlashes(context, view);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {MapView} view
   * @param {Known} known
   */
  #drawCells(context, view, known) {
    const { columns, rows, cell } = view;
    Object.assign(this.#cells, { width: columns, height: rows });
    const small = /** @type {CanvasRenderingContext2D} */ (this.#cells.getContext("2d"));
    const image = small.createImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    for (let at = 0, frame = view.top; at < pixels.length; at += 1, frame += view.scale) {
      pixels[at] = this.#pixel(frame, view, known);
    }
    small.putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.#cells, GUTTER, 0, columns * cell, rows * cell);
    if (cell >= 8) drawGrid(context, view);
  }

  /**
   * @param {number} frame
   * @param {MapView} view
   * @param {Known} known
   */
  #pixel(frame, { scale, space }, known) {
    if (frame + scale <= space.first || frame >= space.end) return 0;
    const density = known.density(frame, scale);
    if (density === undefined || density === NO_MEMORY) return this.#shades[ABSENT][0];
    const state = known.state(frame, scale);
    // A balloon page that is being migrated is still held, and the guest says that it is isolated.
    if (state === ISOLATED && scale === 1) return this.#shades[ISOLATED][0];
    return this.#shades[state !== undefined && state <= ISOLATED ? state : GUESTS][density];
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {MapView} view
   */
  #drawAddresses(context, view) {
    context.font = `11px ${getComputedStyle(this.canvas).getPropertyValue("--mono")}`;
    context.textBaseline = "top";
    context.fillStyle = colour("--quiet");
    const every = 2 ** Math.ceil(Math.log2(Math.max(1, 18 / view.cell)));
    for (let row = 0; row < view.rows; row += every) {
      const frame = view.top + row * view.rowFrames;
      if (frame < view.space.end) context.fillText(address(frame), 0, row * view.cell);
    }
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {MapView} view
   * @param {number} frame
   */
  #drawFrame(context, view, frame) {
    const place = view.placeOf(frame);
    if (!place) return;
    const { cell } = view;
    context.lineWidth = 3;
    context.strokeStyle = colour("--panel");
    context.strokeRect(GUTTER + place.x - 1.5, place.y - 1.5, cell + 3, cell + 3);
    context.lineWidth = 1.5;
    context.strokeStyle = colour("--text");
    context.strokeRect(GUTTER + place.x - 1.5, place.y - 1.5, cell + 3, cell + 3);
  }

  /**
   * An arrow from where a page was to where it is; a mark where only one end is to be seen.
   * @param {CanvasRenderingContext2D} context
   * @param {MapView} view
   */
  #drawFlashes(context, view) {
    const now = performance.now();
    this.#flashes = this.#flashes.filter(({ at }) => now - at < FLASH_MS);
    context.strokeStyle = context.fillStyle = colour("--moved");
    context.lineWidth = 1.5;
    for (const { from, to, at } of this.#flashes) {
      context.globalAlpha = this.#calm.matches ? 1 : 1 - (now - at) / FLASH_MS;
      drawMove(context, centreOf(view, from), centreOf(view, to));
    }
    context.globalAlpha = 1;
    return this.#flashes.length > 0;
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {MapView} view
 */
function drawGrid(context, { columns, rows, cell }) {
  context.fillStyle = colour("--panel");
  for (let column = 0; column <= columns; column += 1) context.fillRect(GUTTER + column * cell - 0.5, 0, 1, rows * cell);
  for (let row = 0; row <= rows; row += 1) context.fillRect(GUTTER, row * cell - 0.5, columns * cell, 1);
}

/**
 * @param {MapView} view
 * @param {number} frame
 */
function centreOf(view, frame) {
  const place = view.placeOf(frame);
  return place && { x: GUTTER + place.x + view.cell / 2, y: place.y + view.cell / 2 };
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {{x: number, y: number}|null} from
 * @param {{x: number, y: number}|null} to
 */
function drawMove(context, from, to) {
  if (from && to) {
    const angle = Math.atan2(to.y - from.y, to.x - from.x);
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    for (const side of [2.6, -2.6]) {
      context.moveTo(to.x, to.y);
      context.lineTo(to.x + 7 * Math.cos(angle + side), to.y + 7 * Math.sin(angle + side));
    }
    context.stroke();
  }
  if (from) context.strokeRect(from.x - 4, from.y - 4, 8, 8);
  if (!to) return;
  context.beginPath();
  context.arc(to.x, to.y, 4, 0, 2 * Math.PI);
  context.fill();
}
