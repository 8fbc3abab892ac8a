/**
 * Server-sent events out of a stream of text, by WHATWG HTML section 9.2.6. Pure.
 *
 * EventSource cannot send a token in a header, and a token never stands in an address, so events are read with fetch.
 */

/**
 * @typedef {object} ServerSentEvent
 * @property {string} id    empty where the event has none
 * @property {string} kind  "message" where the event has none
 * @property {string} text  its data lines
 */

/** Takes text in pieces of any size and gives the events that are complete. */
export class EventParser {
  #rest = "";
  #id = "";
  #kind = "";
  /** @type {string[]} */
  #lines = [];
  /** How long to wait before coming again, in milliseconds; null while the other side has not said. */
  retryMs = /** @type {number|null} */ (null);

  /**
   * @param {string} piece
   * @returns {ServerSentEvent[]}
   */
  feed(piece) {
    const text = this.#rest + piece;
    const events = [];
    let start = 0;
    for (;;) {
      const end = text.slice(start).search(/\r\n|\n|\r(?!$)/);
      if (end < 0) break;
      const at = start + end;
      const event = this.#line(text.slice(start, at));
      if (event) events.push(event);
      start = at + (text.startsWith("\r\n", at) ? 2 : 1);
    }
    this.#rest = text.slice(start);
    return events;
  }

  /** @param {string} line */
  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#lines.push(value);
    else if (field === "event") this.#kind = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    return null;
  }

  #dispatch() {
    const event = this.#lines.length
      ? { id: this.#id, kind: this.#kind || "message", text: this.#lines.join("\n") }
      : null;
    this.#kind = "";
    this.#lines = [];
    return event;
  }
}
