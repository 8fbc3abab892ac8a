/** Hands on the frame map: wheel, drag, pinch and keys become changes of its view. */
import { GUTTER } from "./map_painter.js";

const WHEEL_STEP = 100;
const PINCH_STEP = 1.5;

/**
 * @typedef {object} MapHands
 * @property {import("./map_view.js").MapView} view
 * @property {() => void} moved  the view is another one
 * @property {(frame: number|null) => void} point  a cell is pointed at
 */

/** Listens to a canvas. */
export class MapInput {
  #wheel = 0;
  /** @type {Map<number, {x: number, y: number}>} */
  #pointers = new Map();
  #dragged = 0;
  #spread = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {MapHands} hands
   */
  constructor(canvas, hands) {
    this.canvas = canvas;
    this.hands = hands;
    canvas.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.#onDown(event));
    canvas.addEventListener("pointermove", (event) => this.#onMove(event));
    for (const kind of ["pointerup", "pointercancel", "pointerleave"]) {
      canvas.addEventListener(kind, (event) => this.#onUp(/** @type {PointerEvent} */ (event)));
    }
    canvas.addEventListener("dblclick", (event) => this.#zoom(2, this.#frameAt(event)));
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    canvas.addEventListener("focus", () => hands.point(hands.view.cursor));
    canvas.addEventListener("blur", () => hands.point(null));
  }

  /** @param {{offsetX: number, offsetY: number}} event */
  #frameAt({ offsetX, offsetY }) {
    return this.hands.view.frameAt(offsetX - GUTTER, offsetY);
  }

  /**
   * @param {number} steps
   * @param {number|null} frame
   */
  #zoom(steps, frame) {
    if (!this.hands.view.zoom(steps, frame ?? this.hands.view.cursor)) return false;
    this.hands.moved();
    return true;
  }

  /** @param {WheelEvent} event */
  #onWheel(event) {
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 33 : event.deltaY;
    if (Math.sign(pixels) !== Math.sign(this.#wheel)) this.#wheel = 0;
    this.#wheel += pixels;
    const steps = Math.trunc(this.#wheel / WHEEL_STEP);
    this.#wheel -= steps * WHEEL_STEP;
    // Where there is nothing more to zoom, the page scrolls.
    if (!steps || this.#zoom(-steps, this.#frameAt(event))) event.preventDefault();
  }

  /** @param {PointerEvent} event */
  #onDown(event) {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    this.#dragged = 0;
    this.#spread = this.#distance();
    const frame = this.#frameAt(event);
    if (frame === null) return;
    this.hands.view.setCursor(frame);
    this.hands.point(frame);
  }

  /** @param {PointerEvent} event */
  #onMove(event) {
    const pointer = this.#pointers.get(event.pointerId);
    if (!pointer) {
      this.hands.point(this.#frameAt(event));
      return;
    }
    const down = event.offsetY - pointer.y;
    Object.assign(pointer, { x: event.offsetX, y: event.offsetY });
    if (this.#pointers.size === 2) this.#pinch();
    else this.#drag(down);
  }

  /** @param {number} pixels */
  #drag(pixels) {
    this.#dragged += pixels;
    const rows = Math.trunc(this.#dragged / this.hands.view.cell);
    this.#dragged -= rows * this.hands.view.cell;
    if (rows && this.hands.view.pan(-rows)) this.hands.moved();
  }

  #pinch() {
    const distance = this.#distance();
    const ratio = distance / Math.max(1, this.#spread);
    if (ratio < PINCH_STEP && ratio > 1 / PINCH_STEP) return;
    this.#spread = distance;
    const [a, b] = [...this.#pointers.values()];
    this.#zoom(ratio > 1 ? 1 : -1, this.#frameAt({ offsetX: (a.x + b.x) / 2, offsetY: (a.y + b.y) / 2 }));
  }

  #distance() {
    const [a, b] = [...this.#pointers.values()];
    return b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  }

  /** @param {PointerEvent} event */
  #onUp(event) {
    this.#pointers.delete(event.pointerId);
    this.#spread = this.#distance();
    if (event.type === "pointerleave" && document.activeElement !== this.canvas) this.hands.point(null);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { view } = this.hands;
    const page = view.columns * view.rows;
    const cells = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -view.columns,
      ArrowDown: view.columns,
      PageUp: -page,
      PageDown: page,
      Home: -Infinity,
      End: Infinity,
    }[event.key];
    const zoom = { "+": 1, "=": 1, "-": -1, _: -1 }[event.key];
    if (cells !== undefined) view.moveCursor(cells);
    else if (zoom) view.zoom(zoom);
    else if (event.key === "0") view.showAll();
    else return;
    event.preventDefault();
    this.hands.moved();
    this.hands.point(view.cursor);
  }
}
