/** Elements of the page. Text is only ever set as text, so nothing that a guest or a daemon says becomes markup. */

/**
 * Find what the page is known to have.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return /** @type {T} */ (found);
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} [className]
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

/**
 * Set text only where it is another one: screen readers and selections are left alone.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Set a CSS custom property; the style sheet says what it does.
 * @param {HTMLElement} element
 * @param {string} name
 * @param {number} part 0 to 1
 */
export function setPart(element, name, part) {
  const value = `${(100 * Math.min(1, Math.max(0, part))).toFixed(2)}%`;
  if (element.style.getPropertyValue(name) !== value) element.style.setProperty(name, value);
}

/**
 * Call at most once for each picture that the screen shows, however often it is asked to.
 * @param {() => void} draw
 */
export function oncePerPicture(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}
