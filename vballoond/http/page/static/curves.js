/**
 * Curves over time: staircases, since what was measured holds until the next measurement. They differ in dashes as well
 * as in colour. A cursor reads values: under the pointer, or moved by the arrow keys.
 */
import { colour, onLook, sharp } from "./canvas.js";
import { byId, make, oncePerPicture, setText } from "./elements.js";
import { bytes, timeOfDay } from "./units.js";

/** @typedef {import("./store.js").Balloon} Balloon */

export const CURVES = [
  { name: "resident", title: "resident", dash: [], width: 1.5 },
  { name: "actual", title: "actual", dash: [], width: 2 },
  { name: "target", title: "target", dash: [5, 3], width: 1.5 },
  { name: "free", title: "guest free", dash: [1.5, 2.5], width: 1.5 },
  { name: "available", title: "guest available", dash: [7, 2, 1.5, 2], width: 1.5 },
];
const LEFT = 62;
const BOTTOM = 18;
const TOP = 6;

/**
 * The top of the scale: whole steps of a power of two, at most four of them.
 * @param {number} most  the largest value
 * @returns {{top: number, step: number}}
 */
export function scaleFor(most) {
  let step = 1 << 20;
  while (step * 4 < most) step *= 2;
  return { top: Math.max(1, Math.ceil(most / step)) * step, step };
}

/**
 * Times at which the axis has a mark, and what it says.
 * @param {number} from
 * @param {number} to
 * @param {number} most  as many as there is room for
 * @returns {[number, string][]}
 */
export function timeMarks(from, to, most) {
  const span = to - from;
  const step = [10, 20, 30, 60, 120, 180, 300].map((s) => s * 1000).find((ms) => span / ms <= most) ?? 600_000;
  /** @type {[number, string][]} */
  const marks = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) marks.push([at, timeOfDay(at)]);
  return marks;
}

/** The curves of the chosen balloon. */
export class Curves {
  #canvas = /** @type {HTMLCanvasElement} */ (byId("curves"));
  #minutes = 5;
  #name = "";
  #now = 0;
  /** How long before now the cursor stands, in ms; null: there is none. @type {number|null} */
  #cursorAgo = null;
  #draw = oncePerPicture(() => this.#drawNow());

  /** @param {import("./store.js").Store} store */
  constructor(store) {
    this.store = store;
    this.#makeLegend();
    for (const button of document.querySelectorAll("[data-minutes]")) {
      button.addEventListener("click", () => this.#span(/** @type {HTMLElement} */ (button)));
    }
    this.#canvas.addEventListener("pointermove", (event) => this.#point(event));
    this.#canvas.addEventListener("pointerdown", (event) => this.#point(event));
    this.#canvas.addEventListener("pointerleave", () => this.#cursor(null));
    this.#canvas.addEventListener("blur", () => this.#cursor(null));
    this.#canvas.addEventListener("keydown", (event) => this.#onKey(event));
    onLook(this.#canvas, this.#draw);
  }

  /**
   * @param {Balloon} balloon
   * @param {number} now
   */
  show(balloon, now) {
    this.#name = balloon.name;
    this.#now = now;
    this.#draw();
  }

  #makeLegend() {
    for (const { name, title } of CURVES) {
      const item = make("li");
      item.append(make("span", `key key-${name}`), title);
      byId("curves-legend").append(item);
    }
  }

  /** @param {HTMLElement} pressed */
  #span(pressed) {
    this.#minutes = Number(pressed.dataset.minutes);
    for (const button of document.querySelectorAll("[data-minutes]")) {
      button.setAttribute("aria-pressed", String(button === pressed));
    }
    this.#draw();
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const width = this.#canvas.clientWidth - LEFT;
    const part = Math.min(1, Math.max(0, (event.offsetX - LEFT) / width));
    this.#cursor((1 - part) * this.#minutes * 60_000);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const span = this.#minutes * 60_000;
    const ago = this.#cursorAgo ?? 0;
    const to = { ArrowLeft: ago + span / 60, ArrowRight: ago - span / 60, Home: span, End: 0 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#cursor(Math.min(span, Math.max(0, to)));
  }

  /** @param {number|null} ago */
  #cursor(ago) {
    this.#cursorAgo = ago;
    this.#draw();
  }

  #drawNow() {
    const { context, width, height } = sharp(this.#canvas);
    if (!this.#name || width <= LEFT) return;
    const [from, to] = [this.#now - this.#minutes * 60_000, this.#now];
    const history = this.store.history(this.#name);
    const shown = CURVES.map((curve) => ({ ...curve, steps: history.steps(curve.name, from, to) }));
    const most = Math.max(1, ...shown.flatMap(({ steps }) => steps.map(([, value]) => value)));
    const scale = scaleFor(most);
    const place = {
      x: (/** @type {number} */ at) => LEFT + ((at - from) / (to - from)) * (width - LEFT - 1),
      y: (/** @type {number} */ value) => TOP + (1 - value / scale.top) * (height - TOP - BOTTOM),
    };
    this.#drawAxes(context, place, scale, from, to, width, height);
    for (const curve of shown) drawCurve(context, place, curve, to);
    this.#drawCursor(context, place, to, height);
    for (const { name, steps } of shown) byId("curves-legend").classList.toggle(`without-${name}`, !steps.length);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {{x: (at: number) => number, y: (value: number) => number}} place
   * @param {{top: number, step: number}} scale
   * @param {number} from
   * @param {number} to
   * @param {number} width
   * @param {number} height
   */
  #drawAxes(context, place, scale, from, to, width, height) {
    context.font = `11px ${getComputedStyle(this.#canvas).fontFamily}`;
    context.fillStyle = colour("--quiet");
    context.strokeStyle = colour("--line");
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (let value = 0; value <= scale.top; value += scale.step) {
      const y = Math.round(place.y(value)) + 0.5;
      stroke(context, [[LEFT, y], [width, y]]);
      context.fillText(value ? bytes(value) : "0", LEFT - 8, y);
    }
    context.textBaseline = "bottom";
    context.textAlign = "center";
    for (const [at, text] of timeMarks(from, to, Math.min(8, (width - LEFT) / 75))) {
      const x = place.x(at);
      if (x > LEFT + 24 && x < width - 24) context.fillText(text, x, height);
    }
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {{x: (at: number) => number, y: (value: number) => number}} place
   * @param {number} to
   * @param {number} height
   */
  #drawCursor(context, place, to, height) {
    const at = to - (this.#cursorAgo ?? 0);
    const history = this.store.history(this.#name);
    const known = CURVES.map((curve) => ({ ...curve, value: history.valueAt(curve.name, at) }));
    const values = known.filter(({ value }) => value !== undefined).map(({ title, value }) => `${title} ${bytes(value)}`);
    setText(byId("curves-reading"), `${this.#cursorAgo === null ? "now" : timeOfDay(at)}: ${values.join(" · ") || "nothing known"}`);
    if (this.#cursorAgo === null) return;
    const x = Math.round(place.x(at)) - 0.5;
    context.setLineDash([]);
    context.lineWidth = 1;
    context.strokeStyle = colour("--text");
    stroke(context, [[x, TOP], [x, height - BOTTOM]]);
    for (const { name, value } of known) {
      if (value === undefined) continue;
      context.fillStyle = colour(`--curve-${name}`);
      context.beginPath();
      context.arc(x, place.y(value), 3.5, 0, 2 * Math.PI);
      context.fill();
    }
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {{x: (at: number) => number, y: (value: number) => number}} place
 * @param {{name: string, dash: number[], width: number, steps: [number, number][]}} curve
 * @param {number} to
 */
function drawCurve(context, place, { name, dash, width, steps }, to) {
  if (!steps.length) return;
  /** @type {[number, number][]} */
  const line = [];
  for (const [at, value] of steps) {
    if (line.length) line.push([place.x(at), line[line.length - 1][1]]);
    line.push([place.x(at), place.y(value)]);
  }
  line.push([place.x(to), line[line.length - 1][1]]);
  context.strokeStyle = colour(`--curve-${name}`);
  context.lineWidth = width;
  context.lineJoin = "round";
  context.setLineDash(dash);
  stroke(context, line);
  context.setLineDash([]);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number][]} line
 */
function stroke(context, line) {
  context.beginPath();
  for (const [x, y] of line) context.lineTo(x, y);
  context.stroke();
}
