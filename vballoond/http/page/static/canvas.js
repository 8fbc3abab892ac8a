/** A canvas that is as sharp as the screen, and knows the colours of the style sheet. */

/**
 * Give a canvas as many pixels as it has on the screen.
 * @param {HTMLCanvasElement} canvas
 * @returns {{context: CanvasRenderingContext2D, width: number, height: number}} drawn on in CSS pixels
 */
export function sharp(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/**
 * A colour of the style sheet, which has another one in the dark.
 * @param {string} name of a custom property
 */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/**
 * Red, green and blue of a colour like "#2b5fc0".
 * @param {string} hex
 * @returns {[number, number, number]}
 */
export function parts(hex) {
  const number = Number.parseInt(hex.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}

/**
 * Call when the look of the page changes: its size, light and dark, the screen's sharpness.
 * @param {HTMLElement} element
 * @param {() => void} draw
 */
export function onLook(element, draw) {
  new ResizeObserver(draw).observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  window.addEventListener("resize", draw);
}
